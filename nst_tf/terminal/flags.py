"""absl flags: what each command takes, and its help.

The flags of a stylisation are the fields of `Options` and the table below.
Standard library and absl only, so that --help answers at once.
"""

import dataclasses
import textwrap
from collections.abc import Callable
from typing import Any, NamedTuple

from absl import flags

from nst_tf.options import OPTIMIZERS, Options


class Flag(NamedTuple):
    """A flag that is no option: it does not decide the result."""

    name: str
    group: str
    help: str
    default: Any = None
    many: bool = False


GROUPS = {
    "pictures": "Pictures",
    "costs": "What is aimed at",
    "styles": "Styles",
    "start": "Where it starts",
    "optimiser": "Optimiser",
    "size": "Size and length",
    "network": "Network",
    "files": "Further files",
    "page": "Page",
    "machine": "Machine",
}
STYLIZE = (
    Flag("content", "pictures", "the photograph"),
    Flag("style", "pictures", "the painting; may be given again", many=True),
    Flag(
        "output",
        "pictures",
        "the result: .png .jpg .webp .tif .avif",
        "stylized.png",
    ),
    Flag("preset", "pictures", "a set of options; nst-tf presets lists them"),
    Flag("from", "pictures", "a result to run again; what is typed wins"),
    Flag("every", "files", "also save a picture each so many steps"),
    Flag("record", "files", "the recipe, as .json"),
    Flag("costs", "files", "the cost terms of each step, as .csv or .json"),
    Flag("plot", "files", "the cost terms drawn, as .png .svg or .pdf"),
    Flag("animation", "files", "the run, as .gif .webp or .png"),
    Flag("animation_width", "files", "its width in pixels", 480),
    Flag("frame_rate", "files", "its frames per second", 12),
    Flag("progression", "files", "one sheet of the pictures in order"),
    Flag("checkpoint", "files", "the state to resume from, as .npz"),
    Flag("checkpoint_every", "files", "steps, or seconds as 60s", "60s"),
    Flag("resume", "files", "a checkpoint to go on from"),
    Flag("device", "machine", "auto, cpu, gpu or gpu:N", "auto"),
    Flag("quiet", "machine", "print errors and warnings only", False),
)
EXPORT = (
    Flag("output", "files", "the folder to make, as models/nst/1"),
    Flag("preset", "files", "a set of options; nst-tf presets lists them"),
    Flag("styles", "styles", "how many styles a call takes", 1),
    Flag("reports", "size", "rows of costs at each scale, first and last", 11),
    Flag("max_pixels", "size", "refuse pictures of more; 0: any", 0),
    Flag("max_steps", "size", "refuse calls for more at a scale", 10**7),
    Flag(
        "weights_dtype",
        "network",
        "how the kernels are stored: float32, or float16 for half the size",
        "float32",
    ),
)
PLAN = (
    Flag("size", "size", "of the result, as 8000x6000"),
    Flag("preset", "size", "a set of options; nst-tf presets lists them"),
    Flag("device", "machine", "auto, cpu, gpu or gpu:N", "auto"),
)
PAGE = (
    Flag("host", "page", "the address to listen on", "127.0.0.1"),
    Flag("port", "page", "where; the first free one from 7860 by default"),
    Flag("open", "page", "also open the browser", False),
    Flag("auth_file", "page", "who may enter: a line NAME:PASSWORD each"),
    Flag("max_pixels", "page", "of a result, at most; 25 million by default"),
    Flag("max_steps", "page", "at a scale, at most; 5000 by default"),
    Flag("queue", "page", "how many may wait; 8 by default"),
    Flag("root_path", "page", "where a proxy has the page, as /paint"),
    Flag("share", "page", "let the world in, by Gradio's servers", False),
    Flag("device", "machine", "auto, cpu, gpu or gpu:N", "auto"),
)
# The commands with flags, and the options without a meaning to each.
FLAGS = {"stylize": STYLIZE, "export": EXPORT, "plan": PLAN, "page": PAGE}
VOID = {
    "stylize": (),
    "export": ("max_size",),
    "plan": ("max_size", "enlarge"),
    "page": tuple(field.name for field in dataclasses.fields(Options)),
}
# Arguments without a dash, and what they are.
POSITIONAL = {"show": "RESULT..."}


class Given(NamedTuple):
    """What was typed: options, other flags, and arguments without a dash."""

    options: dict[str, Any]
    flags: dict[str, Any]
    arguments: list[str]


def parse(command: str, arguments: list[str]) -> Given:
    """Reads a command's arguments; absl's Error or ValueError if wrong."""
    values = _flag_values(command)
    rest = values([command, *arguments])[1:]
    if command in POSITIONAL and not rest:
        raise ValueError(f"expected {POSITIONAL[command]}; received nothing.")
    if command not in POSITIONAL and rest:
        raise ValueError(
            f'"{rest[0]}" is no flag; every flag begins with --, as in '
            "--content=photo.jpg."
        )
    typed = {n: values[n].value for n in values if values[n].present}
    options = {n: v for n, v in typed.items() if n in _option_names()}
    others = {
        flag.name: typed.get(flag.name, flag.default)
        for flag in _flags_of(command)
    }
    return Given(options, others, rest)


def help_text(command: str) -> str:
    """A command's usage and its flags, grouped, with their defaults."""
    usage = f"nst-tf {command} {POSITIONAL.get(command, '[--flag=value ...]')}"
    lines = [usage]
    grouped: dict[str, list[tuple[str, str, Any]]] = {}
    for flag in _flags_of(command):
        row = flag.name, flag.help, flag.default
        grouped.setdefault(flag.group, []).append(row)
    for field in _fields_of(command):
        row = field.name, _about(field), _default_text(field)
        grouped.setdefault(field.metadata["group"], []).append(row)
    for group, title in GROUPS.items():
        if group in grouped:
            lines += ["", f"{title}:"]
            lines += [_help_line(*row) for row in grouped[group]]
    return "\n".join(lines)


def _flags_of(command: str) -> tuple[Flag, ...]:
    return FLAGS.get(command, ())


def _fields_of(command: str) -> list[dataclasses.Field]:
    if command not in FLAGS:
        return []
    void = VOID[command]
    return [f for f in dataclasses.fields(Options) if f.name not in void]


def _option_names() -> list[str]:
    return [field.name for field in dataclasses.fields(Options)]


def _flag_values(command: str) -> flags.FlagValues:
    values = flags.FlagValues()
    flags.DEFINE_string("flagfile", "", "more flags", flag_values=values)
    define: Callable[..., Any]
    for flag in _flags_of(command):
        if flag.many:
            define = flags.DEFINE_multi_string
        elif isinstance(flag.default, bool):
            define = flags.DEFINE_boolean
        else:
            define = flags.DEFINE_string
        define(flag.name, None, flag.help, flag_values=values)
    for field in _fields_of(command):
        boolean = isinstance(field.default, bool)
        define = flags.DEFINE_boolean if boolean else flags.DEFINE_string
        define(field.name, None, _about(field), flag_values=values)
    return values


def _about(field: dataclasses.Field) -> str:
    choices = field.metadata["choices"]
    return field.metadata["help"] + (f": {', '.join(choices)}" * bool(choices))


def _default_text(field: dataclasses.Field) -> Any:
    if field.name.endswith("_layers"):
        layers = getattr(Options(), field.name)
        return ", ".join(f"{name}:{weight:g}" for name, weight in layers)
    own = {
        name: arguments[field.name]
        for name, arguments in OPTIMIZERS.items()
        if field.name in arguments
    }
    if len(own) > 1 and len(set(own.values())) > 1:
        return ", ".join(f"{name} {value:g}" for name, value in own.items())
    if own:
        return next(iter(own.values()))
    return None if field.default == () else field.default


def _help_line(name: str, about: str, default: Any) -> str:
    if default is not None:
        shown = f"{default:g}" if isinstance(default, float) else default
        shown = str(shown).lower() if isinstance(default, bool) else shown
        about = f"{about} ({shown})"
    return textwrap.fill(
        about,
        width=79,
        initial_indent=f"  --{name:<20} ",
        subsequent_indent=" " * 25,
        break_long_words=False,
        break_on_hyphens=False,
    )
