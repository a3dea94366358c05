"""Standard output and error, whatever became of them."""

import os
import sys
from typing import Any


def open_closed() -> None:
    """What was closed, as by `2>&-`, takes everything from now on."""
    hole = os.open(os.devnull, os.O_RDWR)
    while hole <= 2:
        hole = os.dup(hole)
    os.close(hole)
    for descriptor in range(3):  # a batch's workers have them, too
        os.set_inheritable(descriptor, True)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))


class Lasting:
    """A stream that outlives its reader: no picture is lost for a line.

    What it can no longer take, as a pipe without a reader, is dropped.
    """

    def __init__(self, stream: Any):
        self._stream = stream

    def write(self, text: str) -> int:
        """As a stream's own, but without an OSError."""
        try:
            self._stream.write(text)  # and some return None
        except OSError:
            self._drop()
        return len(text)

    def flush(self) -> None:
        """As a stream's own, but without an OSError."""
        try:
            self._stream.flush()
        except OSError:
            self._drop()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def _drop(self) -> None:
        """Also what is still in its buffer, and goes out at the end."""
        hole = os.open(os.devnull, os.O_WRONLY)
        os.dup2(hole, self._stream.fileno())
        os.close(hole)
