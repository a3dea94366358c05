"""`python -m nst_tf` is `nst-tf`."""

from nst_tf.terminal.cli import entry

entry()
