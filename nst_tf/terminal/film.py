"""A clip at the terminal: a bar over frames, and nothing lost."""

from fractions import Fraction

import tensorflow as tf

from nst_tf.files import encoding, record
from nst_tf.machine import devices, memory
from nst_tf.request import presets
from nst_tf.terminal import flags, session
from nst_tf.terminal.bar import TIMED, Bar
from nst_tf.video import clips, contact
from nst_tf.video import paint as paint_
from nst_tf.video.folder import Folder
from nst_tf.video.settings import Settings

MOST = 0.9  # of the expected frames: fewer are told


def paint(given: flags.Given) -> int:
    """Runs what was typed; returns the exit code."""
    typed = given.flags
    content, style, output = typed["content"], typed["style"], typed["output"]
    if not content:
        raise ValueError(
            "`content` is missing. Give a clip, as in --content=clip.mp4."
        )
    own, pictures = flags.separate(Settings, given.options)
    settings = Settings(**own)
    options = presets.load(typed["preset"], **pictures)
    read = [content, *(style or []), *options.picture_paths()]
    record.check_path(output, "output", clips.SUFFIXES, read)
    sheet = typed["contact"]
    if sheet:
        encoding.check_suffix(sheet, "contact")
        record.check_path(sheet, "contact", (), read)
    tf.get_logger().setLevel("ERROR")
    devices.select(typed["device"])
    job = paint_.prepare(content, style, options, settings)
    kept = Folder(output, job.recipe)
    with session.stop_signals() as stopped:
        bar = _Frames(job, typed["quiet"])
        return _follow(job, kept, output, sheet, bar, stopped)


class _Ended(Exception):
    """The run has to stop before its end: exit code and reason."""


def _follow(
    job,
    kept: Folder,
    output: str,
    sheet: str | None,
    bar: "_Frames",
    stopped,
) -> int:
    """Paints all frames, then makes the clip of them."""
    try:
        times = _painted(job, kept, bar, stopped)
        clips.write(output, kept.frames(times), job.clip)
        bar.say(f"Saved {output}")
        if len(times) < MOST * (job.expected or 0):
            session.complain(
                f"warning: the clip ends after {len(times)} frames of about "
                f"{job.expected}; its file may be cut short."
            )
        if sheet:
            picture = contact.sheet(job.clip, kept, len(times))
            suffix = encoding.check_suffix(sheet, "contact")
            record.write(sheet, encoding.encode(picture, suffix))
            bar.say(f"Saved {sheet}")
        return 0
    except _Ended as ended:
        code, why = ended.args
    except (tf.errors.ResourceExhaustedError, MemoryError):
        plan, options = job.first.plan, job.first.options
        tile = plan.arithmetic.tile
        code, why = 1, memory.out_of_memory(plan.size, options, tile)
    except OSError as error:  # the disk is full, say
        code, why = 1, f"stopped: {error}."
    bar.say("")
    session.complain(why)
    if bar.done:
        session.complain(
            f"{bar.done} frames are in {kept.path}; the same command goes on "
            "from there."
        )
    return code


def _painted(job, kept, bar, stopped) -> list[Fraction]:
    """Paints; when each frame is shown."""
    times = []
    for painted in paint_.frames(job, kept, patience=1.0):
        bar.show(painted)
        result = painted.result
        if result and result.diverged:
            raise _Ended(1, result.divergence())
        if painted.done:
            times.append(painted.time)
        if stopped:
            why = f"stopped in frame {painted.number + 1}."
            raise _Ended(session.STOPPED[stopped[0]], why)
    return times


class _Frames:
    """How many frames are done, and how long the others will take."""

    def __init__(self, job: paint_.Job, quiet: bool):
        self.done = 0
        self._job, self._bar = job, Bar(quiet, TIMED)
        height, width = job.first.plan.size
        frames = f", about {job.expected} frames" if job.expected else ""
        self.say(f"{width} x {height} px{frames}")

    def show(self, painted: paint_.Painted) -> None:
        """Draws where the run is."""
        words = ""
        if painted.done:
            self.done = painted.number + 1
        elif painted.result:
            words = f"step {painted.result.count}/{painted.result.total}"
        total = max(self._job.expected or 0, self.done)
        self._bar.show(self.done, total, words)

    def say(self, text: str) -> None:
        """Prints a line, unless quiet."""
        self._bar.say(text)
