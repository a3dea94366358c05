"""`python -m nst_tf` is `nst-tf`."""

from nst_tf.terminal.cli import entry

if __name__ == "__main__":  # the processes of a batch read this file, too
    entry()
