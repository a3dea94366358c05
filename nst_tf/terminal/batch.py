"""A batch at the terminal: a bar, the sum at the end, exit codes."""

import contextlib
import logging
import signal
import sys
import time
from collections.abc import Iterator

from tqdm import tqdm

from nst_tf.batches import batch as batch_
from nst_tf.batches import cluster, failures, stream
from nst_tf.request.options import Options
from nst_tf.terminal import flags
from nst_tf.terminal.session import STOPPED

OWN = "preset", "quiet"  # flags that are the terminal's
BAR = (
    "{percentage:3.0f}% |{bar}| {n_fmt}/{total_fmt} jobs{postfix}, "
    "{remaining} left"
)


def batch(given: flags.Given, options: Options) -> int:
    """Paints what was typed; returns the exit code."""
    asked = {n: given.flags[n] for n in given.flags if n not in OWN}
    order = batch_.batch(options=options, **asked)
    board = Board(order, given.flags["quiet"])
    try:
        with unlogged(), stop_signals(), order.crew() as crew:
            board.announce(crew)
            for finished in order.finished(crew):
                board.show(finished)
    except stream.Stopped as stopped:
        board.close()
        board.error(f"stopped: {stopped} What is finished stays.")
        return 1
    except Signal as stopped:
        board.close()
        board.error(
            f"stopped by {stopped.name}; what is finished stays, and the same "
            "command goes on from there."
        )
        return 128 + stopped.number
    board.close()
    return 1 if board.failed else 0


class Board:
    """What is told of a batch while it goes on."""

    def __init__(self, order: batch_.Order, quiet: bool):
        self._order, self._quiet = order, quiet
        self.painted = self.failed = self.before = 0
        self._notes: set[str] = set()
        self._started = time.monotonic()
        self._bar = tqdm(
            total=order.total,
            bar_format=BAR,
            disable=True if quiet else None,  # None: unless on a terminal
            dynamic_ncols=True,
        )

    def announce(self, crew: cluster.Crew) -> None:
        """Who works, and where to watch."""
        self._started = time.monotonic()
        where = f"{crew.threads() or 'no'} workers"
        if crew.seat.threads:
            where += f" of {crew.seat.threads} thread(s)"
        watch = f"; watch them at {crew.dashboard}" if crew.dashboard else ""
        self._say(f"{self._order.total} jobs, {where}{watch}")

    def show(self, finished: batch_.Finished) -> None:
        """Counts a job that came to its end."""
        self.failed += bool(finished.reason)
        self.painted += finished.painted
        self.before += not (finished.reason or finished.painted)
        for note in set(finished.notes) - self._notes:
            self._notes.add(note)
            self.error(f"warning: {note}")
        if finished.reason:
            self.error(f"{finished.job.name}: {finished.reason}")
        self._bar.set_postfix_str(self._counts(), refresh=False)
        self._bar.update()

    def close(self) -> None:
        """The sum of it all."""
        self._bar.close()
        text = f"{self.painted} painted{self._counts()}"
        if self.before:
            text += f", {self.before} were there already"
        if self.failed:
            text += f"; see {self._order.folder / failures.FILE}"
        self._say(text)

    def error(self, text: str) -> None:
        """Prints a line above the bar, quiet or not."""
        tqdm.write(f"nst-tf: {text}", file=sys.stderr)

    def _counts(self) -> str:
        hours = max(1e-9, time.monotonic() - self._started) / 3600
        failed = f"{self.failed} failed, " if self.failed else ""
        return f", {failed}{self.painted / hours:.0f} pictures/h"

    def _say(self, text: str) -> None:
        if not self._quiet:
            tqdm.write(text, file=sys.stderr)


@contextlib.contextmanager
def unlogged() -> Iterator[None]:
    """Dask logs each end of a connection at length; one line is enough."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)


class Signal(BaseException):
    """Ctrl-C or SIGTERM; no failure of any job."""

    def __init__(self, number: int):
        super().__init__(number)
        self.number, self.name = number, signal.Signals(number).name


@contextlib.contextmanager
def stop_signals() -> Iterator[None]:
    """The first one ends the batch in order, the second one at once."""

    def handle(number, _frame):
        for each in before:
            signal.signal(each, signal.SIG_DFL)
        raise Signal(number)

    before = {number: signal.signal(number, handle) for number in STOPPED}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
