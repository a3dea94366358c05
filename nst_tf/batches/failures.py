"""failures.csv: the jobs that have no picture, and why."""

import csv
import io
import time
from pathlib import Path

from nst_tf.batches.stream import Finished
from nst_tf.files import record

FILE = "failures.csv"
COLUMNS = ("output", "content", "style", "reason")
OFTEN = 5.0  # seconds between two writings of the file


class Failures:
    """A line for each job without a picture; a success takes its line away."""

    def __init__(self, folder: Path):
        self._path = folder / FILE
        self._rows = _read(self._path)  # by the output's name
        self._changed, self._written = False, time.monotonic()

    def take(self, finished: Finished) -> None:
        """Notes what became of a job; writes the file now and then."""
        name = record.printable(finished.job.name)
        if finished.reason:
            cells = finished.content, ";".join(finished.styles), finished.reason
            row = name, *map(record.printable, cells)
            self._changed |= self._rows.get(name) != row
            self._rows[name] = row
        elif self._rows.pop(name, None):
            self._changed = True
        if time.monotonic() - self._written > OFTEN:
            self.write()

    def write(self) -> None:
        """Brings the file up to date; without a failure there is none."""
        self._written = time.monotonic()
        if not self._changed:
            return
        self._changed = False
        if not self._rows:
            self._path.unlink(missing_ok=True)
            return
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerows([COLUMNS, *self._rows.values()])
        record.write(self._path, text.getvalue())


def _read(path: Path) -> dict[str, tuple[str, ...]]:
    try:
        with open(path, encoding="utf-8", newline="") as file:
            header, *rows = csv.reader(file)
    except (OSError, ValueError, csv.Error):  # none, or it is not ours
        return {}
    if tuple(header) != COLUMNS:
        return {}
    return {row[0]: tuple(row) for row in rows if len(row) == len(COLUMNS)}
