"""One stylisation at the terminal: progress, files, and nothing lost."""

import contextlib
import functools
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

from nst_tf.files import images, record, sizes
from nst_tf.machine import environment
from nst_tf.request import presets
from nst_tf.request.options import Options
from nst_tf.stylization import sources
from nst_tf.terminal import flags
from nst_tf.terminal.writers import Writers

if TYPE_CHECKING:
    from nst_tf.stylization.result import Result

STOPPED = {signal.SIGINT: 130, signal.SIGTERM: 143}
HANGUP = getattr(signal, "SIGHUP", None)  # the terminal has been closed
if HANGUP and signal.getsignal(HANGUP) != signal.SIG_IGN:  # as nohup has it
    STOPPED[HANGUP] = 129


def stylize(given: flags.Given) -> int:
    """Runs what was typed; returns the exit code."""
    typed = given.flags
    resume, past = None, None
    if typed["resume"]:
        resume = record.read_checkpoint(typed["resume"])
        past = resume[0]
        _check_resumed(given, past)
    elif typed["from"]:
        past = record.read_recipe(typed["from"])
    options = _options(given, past)
    content, styles, options = _sources(given, past, options)
    sources.check(content, styles, options)
    paths = [content, *styles, *options.picture_paths()]
    content, *styles = map(images.unpiped, (content, *styles))
    begin = _beginning(content, styles, options)
    writers = Writers(typed, paths)
    with environment.loading(begin) as reading:
        import tensorflow as tf

        from nst_tf.machine import devices
        from nst_tf.stylization import inputs as inputs_
        from nst_tf.stylization import run as run_
        from nst_tf.terminal.progress import Progress
    tf.get_logger().setLevel("ERROR")  # a retracing is no news to a painter
    devices.select(typed["device"])
    inputs = inputs_.prepare(
        content, styles or None, options=options, reading=reading
    )
    writers.check_size(inputs.plan.size)
    strides = writers.strides(sum(inputs.plan.schedule))
    run = run_.Run(inputs, strides, 1.0, resume)
    del content, styles, begin, reading, inputs, resume  # the run has them
    progress = Progress(run, typed["quiet"])
    with stop_signals() as stopped:
        return _follow(run, progress, writers, past, stopped)


def _beginning(content, styles, options) -> Callable[[], Future] | None:
    """What has a thread read them; ValueError if one is no picture.

    None where TensorFlow decodes one of them: it loads in one thread only.
    """
    fitted = functools.partial(sizes.fitted, options=options)
    late = False
    if content is not None:
        late = images.by_tensorflow(content, "content", fitted)
    for style in styles:
        late |= images.by_tensorflow(style, "style", lambda own: own)
    if late:
        return None

    def begin() -> Future[sources.Sources]:
        pool = ThreadPoolExecutor(1)
        reading = pool.submit(sources.read, content, styles, options)
        pool.shutdown(wait=False)
        return reading

    return begin


def _follow(run, progress, writers, past, stopped) -> int:
    """Consumes the run's results; whatever happens, the last is saved."""
    import tensorflow as tf

    from nst_tf.machine import memory

    result, code = None, 0
    try:
        for result in run:
            if progress.first:
                _compare_weights(past, result)
            progress.show(result)
            writers.take(result, run)
            if stopped or result.diverged:
                break
    except (tf.errors.ResourceExhaustedError, MemoryError):
        progress.say("")
        plan, tile = run.plan, run.plan.arithmetic.tile
        complain(memory.out_of_memory(plan.size, run.options, tile))
        code = 1
    except OSError as error:  # the disk is full, say: save what can be saved
        progress.say("")
        complain(f"stopped: {error}.")
        code = 1
    if stopped:
        code = STOPPED[stopped[0]]
    if result is None:
        complain("nothing was painted yet: nothing to save.")
        return code or 1
    if result.diverged:
        complain(result.divergence())
        code = 1
    for path, write in writers.finish(result, run):
        try:
            write()
        except OSError as error:  # others may lie where there is room
            reason = error.strerror or str(error)
            complain(f'"{path}" could not be written ({reason}).')
            code = code or 1
        else:
            progress.say(f"Saved {path}")
    if stopped:
        name = signal.Signals(stopped[0]).name
        complain(
            f"stopped by {name} after step {result.count}; the best picture "
            "so far is saved."
        )
    return code


@contextlib.contextmanager
def stop_signals() -> Iterator[list[int]]:
    """A list that the first Ctrl-C, SIGTERM or SIGHUP fills; two kill."""
    stopped: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield stopped  # which alone may handle signals
        return

    def handle(number, _frame):
        if stopped:
            raise KeyboardInterrupt
        stopped.append(number)

    before = {number: signal.signal(number, handle) for number in STOPPED}
    try:
        yield stopped
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _options(given: flags.Given, past: dict | None) -> Options:
    base = dict(past["options"]) if past else {}
    if given.flags["preset"]:
        base = presets.merge(base, presets.read(given.flags["preset"]))
    return Options.from_dict(presets.merge(base, given.options))


def _sources(given: flags.Given, past: dict | None, options: Options):
    """Content, styles and other pictures: typed, or those of the recipe."""
    content, styles = given.flags["content"], given.flags["style"] or []
    if past:
        inputs = past["inputs"]
        if content is None and inputs["content"]:
            content = _recorded(inputs["content"], "content")
        if not styles:
            styles = [_recorded(one, "style") for one in inputs["styles"]]
        for name, named in options.pictures().items():
            recorded = inputs.get(name)
            if name not in given.options and recorded:
                path = _again(recorded, named, getattr(options, name), name)
                options = options.replace(**{name: path})
    return content, styles, options


def _again(recorded, named, value, name: str):
    """The picture or pictures of an option, checked."""
    if not isinstance(named, tuple):
        return _recorded(recorded, name)
    return [
        _recorded(one, name) if path else word
        for one, path, word in zip(recorded, named, value, strict=True)
    ]


def _recorded(identity: dict, name: str) -> str:
    path = identity["path"]
    if path is None:
        raise ValueError(
            f"`{name}` of the recipe was no file. Give it with --{name}."
        )
    if not os.path.exists(path):
        raise ValueError(
            f'`{name}` of the recipe, "{path}", is not there any more. Give '
            f"it with --{name}."
        )
    if sources.identity(path, name)["sha256"] != identity["sha256"]:
        raise ValueError(
            f'`{name}` of the recipe, "{path}", has changed since. Give the '
            f"same file with --{name}."
        )
    return path


def _check_resumed(given: flags.Given, past: dict) -> None:
    """The same command with --resume is fine; other pictures are said later."""
    if given.flags["from"]:
        raise ValueError(
            "`from` starts anew and `resume` goes on; received both. Leave one "
            "of them out."
        )
    before = Options.from_dict(past["options"]).to_dict()
    for name, value in _options(given, past).to_dict().items():
        if name != "steps" and value != before[name]:
            raise ValueError(
                f"`{name}` cannot change in a resumed run: only --steps and "
                "the files to write can. Leave it out, or start anew with "
                "--init=PICTURE."
            )


def _compare_weights(past: dict | None, result: "Result") -> None:
    network = result.record["network"]
    before = past.get("network") if past else None
    if before and before["sha256"] != network["sha256"]:
        complain(
            f"warning: the recipe used weights {before['weights']} "
            f"({before['sha256'][:8]}), this run uses "
            f"{network['weights']} ({network['sha256'][:8]}): the picture "
            "will differ."
        )


def complain(text: str) -> None:
    """Prints a line, quiet or not."""
    print(f"nst-tf: {text}", file=sys.stderr, flush=True)
