"""One line on a terminal that is drawn anew; other lines make way for it."""

import sys

from tqdm import tqdm

FORMAT = "[{bar:20}] {n}/{total}  {desc}"
TIMED = FORMAT + "  {remaining} left"


class Bar:
    """How many of how many; on a terminal only, and not if quiet.

    Args:
      quiet: nothing at all is printed.
      format: as tqdm has it; `{remaining}` is the time left.
    """

    def __init__(self, quiet: bool, format: str = FORMAT):
        self._quiet = quiet
        self._line = tqdm(
            bar_format=format,
            ascii=".#",
            leave=False,
            delay=1e-9,  # seconds: not before `show`
            dynamic_ncols=True,
            disable=True if quiet else None,  # None: unless on a terminal
        )

    def show(self, count: int, total: int, words: str = "") -> None:
        """Draws the line."""
        self._line.total = total
        self._line.set_description_str(words, refresh=False)
        self._line.update(count - self._line.n)
        self._line.refresh()

    def say(self, text: str) -> None:
        """Prints a line, unless quiet."""
        self._line.clear()
        if not self._quiet:
            print(text, file=sys.stderr, flush=True)
