"""Looking at what the network sees, at the terminal."""

import os
import signal
import sys
import time

import tensorflow as tf

from nst_tf.files import record
from nst_tf.forecast import duration
from nst_tf.machine import devices
from nst_tf.study import patches as patches_
from nst_tf.terminal import flags
from nst_tf.terminal.session import STOPPED, stop_signals


class Bar:
    """How many of how many; on a terminal only, and not if quiet."""

    def __init__(self, what: str, quiet: bool):
        self._what, self._quiet = what, quiet
        self._live = not quiet and sys.stderr.isatty()
        self._mark: tuple[int, float] | None = None

    def show(self, count: int, total: int) -> None:
        """Draws it; the first one pays for starting, and is not timed."""
        if not self._live:
            return
        filled = 20 * count // total
        text = f"[{'#' * filled}{'.' * (20 - filled)}] {count}/{total}"
        text += f" {self._what}"
        if self._mark is None:
            self._mark = count, time.monotonic()
        elif count > self._mark[0]:
            each = (time.monotonic() - self._mark[1]) / (count - self._mark[0])
            text += f"  {duration((total - count) * each)} left"
        width = os.get_terminal_size(sys.stderr.fileno()).columns or 80
        print("\r\033[K" + text[: width - 1], end="", file=sys.stderr)
        sys.stderr.flush()

    def say(self, text: str) -> None:
        """Prints a line, unless quiet; the bar makes way."""
        if self._live:
            print("\r\033[K", end="", file=sys.stderr, flush=True)
        if not self._quiet:
            print(text, file=sys.stderr, flush=True)


def patches(given: flags.Given) -> int:
    """Looks through a folder; returns the exit code."""
    typed = given.flags
    if not typed["images"]:
        raise ValueError(
            "`images` is missing. Give a folder of pictures, as in "
            "--images=photos."
        )
    sources = patches_.listed(typed["images"])
    patches_.outputs(typed["output"], typed["layers"], sources)
    if typed["record"]:
        files = patches_.files(sources)
        record.check_path(typed["record"], "record", (".json",), files)
    tf.get_logger().setLevel("ERROR")
    devices.select(typed["device"])
    names = "layers", "units", "per_image", "max_size"
    asked = {**given.options, **{name: typed[name] for name in names}}
    bar = Bar("pictures", typed["quiet"])
    with stop_signals() as stopped:
        for found in patches_.search(sources, **asked):
            bar.show(found.count, found.total)
            if stopped or found.count == found.total:
                break
    for path in found.save(typed["output"]):
        bar.say(f"Saved {path}")
    if typed["record"]:
        found.save_record(typed["record"])
        bar.say(f"Saved {typed['record']}")
    if stopped:
        return _stopped(stopped[0], f"{found.count} of {found.total} pictures")
    return 0


def _stopped(number: int, done: str) -> int:
    received = signal.Signals(number)
    print(
        f"nst-tf: stopped by {received.name} after {done}; what there was by "
        "then is saved.",
        file=sys.stderr,
        flush=True,
    )
    return STOPPED[received]
