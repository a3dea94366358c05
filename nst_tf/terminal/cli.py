"""The command line: flags in, exit codes out. Nothing else reads flags."""

import contextlib
import os
import sys
import warnings
from collections.abc import Sequence
from typing import Any

from absl import flags as absl_flags

from nst_tf.machine import environment
from nst_tf.request import presets as presets_
from nst_tf.request.options import Options
from nst_tf.request.values import SMALLEST, suggest
from nst_tf.terminal import flags, streams

OK, FAILED, USAGE = 0, 1, 2


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit code."""
    argv = list(sys.argv[1:] if argv is None else argv)
    environment.prepare()
    streams.open_closed()
    for terminal in (sys.stdout, sys.stderr):
        _set(terminal, errors="backslashreplace")
    lasting: Any = streams.Lasting(sys.stderr)
    with contextlib.redirect_stderr(lasting), warnings.catch_warnings():
        warnings.simplefilter("always", UserWarning)
        warnings.showwarning = _show_warning
        try:
            code = _dispatch(argv)
            sys.stdout.flush()
            return code
        except BrokenPipeError:  # nst-tf show ... | head
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return OK
        except (ValueError, OSError, absl_flags.Error) as error:
            return _complain(str(error))
        except MemoryError:
            _complain("out of memory before anything was painted.")
            return FAILED
        except KeyboardInterrupt:
            _complain("stopped before anything was painted.")
            return 130


def _dispatch(argv: list[str]) -> int:
    if argv and argv[0] == "--version":
        from nst_tf import __version__

        print(f"nst_tf {__version__}")
        return OK
    if not argv or argv[0] in ("--help", "-h", "help"):
        print(_overview())
        return OK if argv else USAGE
    name, rest = argv[0], argv[1:]
    if name.startswith("-"):  # flags alone mean the main command
        name, rest = "stylize", argv
    if name not in COMMANDS:
        raise ValueError(
            f'there is no command "{name}".'
            + (suggest(name, COMMANDS) or f" Known: {', '.join(COMMANDS)}.")
        )
    if {"--help", "-h", "--helpfull"} & set(rest):
        print(f"{COMMANDS[name].__doc__}\n")
        print(flags.help_text(name, full="--helpfull" in rest))
        return OK
    return COMMANDS[name](rest)


def stylize(arguments: list[str]) -> int:
    """Paints a photograph in the manner of a painting."""
    given = flags.parse("stylize", arguments)
    from nst_tf.terminal import session

    return session.stylize(given)


def batch(arguments: list[str]) -> int:
    """Paints many pictures, on many processes or machines."""
    given = flags.parse("batch", arguments)
    options = _options(given)
    from nst_tf.terminal import batch as batch_

    return batch_.batch(given, options)


def video(arguments: list[str]) -> int:
    """Paints a clip, frame by frame, so that it does not flicker."""
    given = flags.parse("video", arguments)
    with environment.loading():
        from nst_tf.terminal import film

    return film.paint(given)


def export(arguments: list[str]) -> int:
    """Writes the whole stylisation as a SavedModel, to run without nst_tf."""
    given = flags.parse("export", arguments)
    fixed = {**given.flags}
    output = fixed.pop("output")
    fixed.pop("preset")
    if not output:
        raise ValueError(
            "`output` is missing. Give a folder to make, as in "
            "--output=models/nst/1."
        )
    options = _options(given)
    with environment.loading():
        from nst_tf.saved_model import export as export_
    recipe = export_.save(output, options=options, **fixed)
    inputs = ", ".join(recipe["signatures"]["serving_default"]["inputs"])
    print(f"Saved {output}: {inputs}")
    return OK


def plan(arguments: list[str]) -> int:
    """Tells tiles, memory and time of a run of some size, without running."""
    given = flags.parse("plan", arguments)
    options = _options(given)
    paper = options.paper
    if paper and given.flags["size"]:
        raise ValueError(
            "`print` says how large the result is, and so does `size`; "
            "received both. Leave one of them out."
        )
    if paper:
        size = paper.pixels((paper.height, paper.width))
    else:
        size = _size(given.flags["size"])
    with environment.loading():
        from nst_tf.machine import devices
        from nst_tf.stylization import forecast
    devices.select(given.flags["device"])
    if options.network != "vgg19_slim":  # what kernels hold does not count
        options = options.replace(weights="random")
    expected = forecast.forecast(size, options)
    scales, history = expected.plan.scales, expected.plan.history
    for scale, (height, width, steps) in enumerate(scales):
        pairs = f" with {history[scale]} pairs" if history else ""
        name = options.optimizer
        print(f"{width} x {height} px, {steps} steps of {name}{pairs}")
    print(f"{expected} on {expected.plan.device}")
    return OK


def recolor(arguments: list[str]) -> int:
    """Gives a finished picture the photograph's colours, without a run."""
    given = flags.parse("recolor", arguments)
    typed, output = given.options, given.flags["output"]
    if not given.flags["picture"]:
        raise ValueError(
            "`picture` is missing. Give what is to be recoloured, as in "
            "--picture=painted.png --content=photo.jpg."
        )
    if "color_image" not in typed:
        typed = {"color": given.flags["color"], **typed}
    with environment.loading():
        from nst_tf.files import encoding, record
        from nst_tf.stylization import recolor as recolor_
    suffix = encoding.check_suffix(output)
    read = [given.flags[name] for name in ("picture", "content", "color_image")]
    record.check_path(output, "output", (), [path for path in read if path])
    options = Options.from_dict(typed)
    picture = recolor_.recolor(*read[:2], options=options)
    # Without a recipe: --from would repeat the run and not this.
    data = encoding.encode(picture.rgb, suffix, None, picture.alpha)
    record.write(output, data)
    print(f"Saved {output}")
    return OK


def patches(arguments: list[str]) -> int:
    """Shows which patches of your pictures excite the network's units."""
    given = flags.parse("patches", arguments)
    with environment.loading():
        from nst_tf.terminal import study

    return study.patches(given)


def sweep(arguments: list[str]) -> int:
    """Paints any options against any others: a labelled grid, a table."""
    given = flags.parse("sweep", arguments)
    with environment.loading():
        from nst_tf.terminal import study

    return study.sweep(given)


def figure(arguments: list[str]) -> int:
    """Draws a figure of the papers with your own pictures."""
    given = flags.parse("figure", arguments)
    with environment.loading():
        from nst_tf.terminal import study

    return study.figure(given)


def page(arguments: list[str]) -> int:
    """Opens a page to paint in the browser."""
    typed = dict(flags.parse("page", arguments).flags)
    for name, low, high in (
        ("port", 1, 65535),
        ("max_pixels", SMALLEST**2, 10**12),
        ("max_steps", 1, 10**7),
        ("queue", 1, 10**4),
    ):
        if typed[name] is not None:
            typed[name] = _whole(name, typed[name], low, high)
    with environment.loading():
        from nst_tf.page import server
    typed["open_browser"] = typed.pop("open")
    given = {name: v for name, v in typed.items() if v is not None}
    opened = server.launch(**given)
    print(f"The page: {opened.url}", flush=True)
    if opened.share_url:
        print(f"For all the world: {opened.share_url}", flush=True)
    opened.wait()
    return OK


def show(arguments: list[str]) -> int:
    """Prints the recipe that a result or an exported folder carries."""
    given = flags.parse("show", arguments)
    from nst_tf.files import record

    _set(sys.stdout, encoding="utf-8")  # as JSON is, everywhere
    for path in given.arguments:
        print(record.to_json(record.read_recipe(path)))
    return OK


def presets(arguments: list[str]) -> int:
    """Lists the presets."""
    flags.parse("presets", arguments)
    for name, about in presets_.names().items():
        print(f"{name:<12} {about}")
    return OK


COMMANDS: dict[str, Any] = {
    "stylize": stylize,
    "batch": batch,
    "video": video,
    "export": export,
    "plan": plan,
    "recolor": recolor,
    "patches": patches,
    "sweep": sweep,
    "figure": figure,
    "page": page,
    "show": show,
    "presets": presets,
}


def _options(given: flags.Given) -> Options:
    return presets_.load(given.flags["preset"], **given.options)


def _size(text: str | None) -> tuple[int, int]:
    """`8000x6000` -> (6000, 8000), height first."""
    width, _, height = (text or "").lower().partition("x")
    if width.isdecimal() and height.isdecimal():
        size = int(height), int(width)
        if SMALLEST <= min(size) and max(size) <= 10**6:
            return size
    raise ValueError(
        f"`size` should be width and height in pixels, at least {SMALLEST} "
        f'each, as --size=8000x6000; received "{text or ""}".'
    )


def _whole(name: str, text: Any, low: int, high: int) -> int:
    if str(text).isdecimal() and low <= int(text) <= high:
        return int(text)
    raise ValueError(
        f"`{name}` should be a whole number from {low} to {high}; "
        f'received "{text}".'
    )


def _overview() -> str:
    lines = [
        "Neural style transfer: paints a photograph in the manner of a "
        "painting.",
        "",
        "  nst-tf --content=photo.jpg --style=painting.jpg "
        "--output=painted.png",
        "",
        "Commands (nst-tf COMMAND --help tells more, --helpfull all):",
    ]
    for name, command in COMMANDS.items():
        lines.append(f"  {name:<10} {command.__doc__}")
    return "\n".join(lines)


def _complain(message: str) -> int:
    line = " ".join(str(message).split())
    print(f"nst-tf: {line}", file=sys.stderr)
    return USAGE


def _set(terminal, **settings: str) -> None:
    """Sets how text becomes bytes; a notebook's terminal has no such thing."""
    if hasattr(terminal, "reconfigure"):
        terminal.reconfigure(**settings)


def _show_warning(message, *_args, **_kwargs) -> None:
    print(f"nst-tf: warning: {message}", file=sys.stderr, flush=True)


def entry() -> None:
    """The console script."""
    sys.exit(main())
