"""What a double click starts: the page, in the browser."""

import multiprocessing
import os
import sys

from nst_tf.terminal import cli


def main() -> int:
    multiprocessing.freeze_support()
    arguments = sys.argv[1:]
    if not arguments:
        print("nst_tf opens in the browser. Close this window to end it.")
        arguments = ["page", "--open"]
    return cli.main(arguments)


if __name__ == "__main__":
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    sys.exit(main())
