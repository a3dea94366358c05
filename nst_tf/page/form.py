"""The form: the fields of `Options`, each as what it is filled in with.

A new option appears by itself, in its group, with its help, bounds, choices
and default. What could read a file of the server does not.
"""

import dataclasses
import html
import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import gradio as gr

from nst_tf.request import presets
from nst_tf.request.options import STATISTICS, Options, by_optimizer

STYLES = 4  # paintings, at most
# The presets in sight, in plain words; "" is no preset.
LOOKS = {
    "paint": "Calm",
    "abstract": "Bold",
    "fine": "Fine",
    "": "Classic",
}
Reach = tuple[float, float, float]  # where a slider begins, ends, how it steps
# What is in sight, and what comes first of the rest.
SIGHT: dict[str, tuple[str, Reach | None]] = {
    "strength": ("Strength", (0.05, 0.95, 0.05)),
    "max_size": ("Size (px)", (64, 2048, 32)),
}
FIRST: dict[str, tuple[str, Reach | None]] = {
    **SIGHT,
    "style_scale": ("Stroke size", (0.1, 4, 0.05)),
    "color": ("Colours", None),
    "steps": ("Steps", None),
    "print": ("Print", None),
}
# Where the help is not what a visitor would say.
PLAIN = {
    "style_scale": "1 is as the painting has them",
    "color": "whose colours: the painting's, or the photograph's",
    "steps": "more take longer and look finer",
    "print": "paper, as 30x20cm@300dpi",
}
SHORT = 48  # letters of a help that is in sight
# Options that may be a file's PATH, and the words that are none.
WORDS = {"init": ("content", "noise", "style")}
LARGE = 1000  # a bound above it is none that one meets
SHARES = "style_blend"  # given by the paintings' sliders


def fields() -> list[dataclasses.Field]:
    """The options that a visitor may choose, in their order."""
    return [
        field
        for field in dataclasses.fields(Options)
        if field.name in WORDS or "PATH" not in field.metadata["help"]
    ]


def names() -> list[str]:
    """The options that the form asks for, in the form's order."""
    every = [field.name for field in fields() if field.name != SHARES]
    first = [name for name in FIRST if name in every]
    return first + [name for name in every if name not in first]


def groups() -> dict[str, list[str]]:
    """The options that are folded, by group."""
    first = [name for name in FIRST if name not in SIGHT]
    found: dict[str, list[str]] = {"often turned": first}
    for field in fields():
        if field.name not in FIRST and field.name != SHARES:
            found.setdefault(field.metadata["group"], []).append(field.name)
    return found


def component(name: str, options: Options) -> gr.components.Component:
    """What the option is filled in with, its value in it."""
    field = {field.name: field for field in fields()}[name]
    reach = FIRST.get(name, ("", None))[1]
    value = shown(options)[name]
    about: dict[str, Any] = {
        "label": _label(name),
        "info": None if name in SIGHT else _brief(field),
        "elem_id": f"option-{name}",
        "min_width": 140,
    }
    choices = WORDS.get(name, field.metadata["choices"])
    if choices:
        empty = [("as usual", "")] if field.default is None else []
        listed = empty + [(choice, choice) for choice in choices]
        return gr.Dropdown(listed, value=value, filterable=False, **about)
    if isinstance(field.default, bool):
        return gr.Checkbox(value=value, **about)
    if reach:
        return gr.Slider(step=reach[2], **_slid(name, value), **about)
    if is_needed(field):
        about["minimum"], about["maximum"] = bounds(field)
        about["step"] = 1 if "int" in str(field.type) else 0.01
        return gr.Number(value=value, **about)
    if field.default is None:
        about["placeholder"] = "as usual"
    return gr.Textbox(value=value, max_lines=3, **about)


def shown(options: Options) -> dict[str, Any]:
    """The options as the form has them: numbers, choices, text."""
    usual = Options(
        network=options.network, style_statistic=options.style_statistic
    )
    return {
        field.name: _shown(
            field, getattr(options, field.name), getattr(usual, field.name)
        )
        for field in fields()
        if field.name != SHARES
    }


def updates(options: Options) -> list[dict[str, Any]]:
    """What brings options into the form, in the order of `names`.

    Last whether the strength is as usual.
    """
    values = shown(options)
    found = [gr.update(**_slid(name, values[name])) for name in names()]
    return [*found, gr.update(value=options.strength is None)]


def _slid(name: str, value: Any) -> dict[str, Any]:
    """A value; of a slider its ends, too, and its middle for none."""
    reach = FIRST.get(name, ("", None))[1]
    if not reach:
        return {"value": value}
    low, high, _ = reach
    if value == "":
        value = (low + high) / 2
    ends = {"minimum": min(low, value), "maximum": max(high, value)}
    return {"value": value, **ends}


def read(values: Mapping[str, Any]) -> dict[str, Any]:
    """What was filled in, as keyword arguments of `Options`.

    Raises:
      ValueError: an option that is not the visitor's to choose.
    """
    known = {field.name: field for field in fields()}
    found: dict[str, Any] = {}
    for name, value in values.items():
        if name not in known:
            raise ValueError(f"`{name}` is not an option of the page.")
        if value in ("", None) and known[name].default in (None, ()):
            value = known[name].default
        words = WORDS.get(name)
        if words and value not in words:
            raise ValueError(
                f"`{name}`: expected {', '.join(words)}; received "
                f'"{value}". The page reads no file of the server.'
            )
        found[name] = value
    return found


def weighed(values: Mapping[str, Any], as_usual: bool) -> dict[str, Any]:
    """The form's values with its strength, or as usual with its weights."""
    given = {name: v for name, v in values.items() if name != "strength"}
    if as_usual:
        return given
    return presets.merge(given, {"strength": values["strength"]})


def blend(shares: Sequence[float | None]) -> list[float] | tuple:
    """The shares of the paintings given, () where all are the same."""
    known = [1.0 if share is None else share for share in shares]
    same = all(share == known[0] for share in known)
    return () if same and (any(known) or not known) else known


def taken(options: Mapping[str, Any]) -> tuple[Options, list[str]]:
    """A recipe's options as far as the page has them, and what it left out.

    Raises:
      ValueError: they are no options.
    """
    if not isinstance(options, Mapping):
        raise ValueError("the recipe's options are no table.")
    known = {field.name for field in fields()}
    kept = {name: value for name, value in options.items() if name in known}
    left = []
    for name, default in Options().to_dict().items():
        given = options.get(name, default)
        foreign = name in WORDS and given not in WORDS[name]
        if (name not in known or foreign) and given != default:
            kept.pop(name, None)
            left.append(name)
    left += sorted(set(options) - set(Options().to_dict()))
    return Options.from_dict(kept), left


def _brief(field: dataclasses.Field) -> str:
    """One short line: in plain words, or the beginning of the help."""
    text = PLAIN.get(field.name, field.metadata["help"])
    for pause in (";", ":", ","):
        text = text.partition(pause)[0] if len(text) > SHORT else text
    return textwrap.shorten(text.replace("--", ""), SHORT, placeholder=" …")


def explained() -> str:
    """All there is to say of every option, as Markdown."""
    known = {field.name: field for field in fields()}
    return "\n".join(
        f"- **{_label(name)}** (`{name}`): {html.escape(_help(known[name]))}"
        for name in names()
    )


def _label(name: str) -> str:
    return FIRST.get(name, (name.replace("_", " ").capitalize(), None))[0]


def _help(field: dataclasses.Field) -> str:
    """The help, the bounds, and the default where the field shows none."""
    text = field.metadata["help"].replace(", or a file's PATH", "")
    text = text.replace("--", "")
    low, high = bounds(field)
    slides = FIRST.get(field.name, ("", None))[1]  # and shows its ends
    if not slides and low is not None and high is not None and high <= LARGE:
        text += f"; {low:g} to {high:g}"
    if field.name.endswith("_layers"):
        layers = getattr(Options(), field.name)
        text += ", of vgg19 " + ", ".join(f"{n}:{v:g}" for n, v in layers)
    usual = getattr(Options(), field.name, None)
    if field.name in STATISTICS[Options.style_statistic]:
        text += "; usually " + (
            f"{usual:g}" if is_number(field) else str(usual)
        )
    if own := by_optimizer(field.name):
        text += f"; usually {own}"
    return text


def bounds(field: dataclasses.Field) -> tuple[float | None, float | None]:
    """The least and the most of an option; None where there is no bound."""
    low, high = (field.metadata[bound] for bound in ("low", "high"))
    return low, None if high == math.inf else high


def is_number(field: dataclasses.Field) -> bool:
    """Whether an option is one number, or none."""
    kinds = str(getattr(field.type, "__name__", field.type))
    return kinds.removesuffix(" | None") in ("int", "float")


def is_needed(field: dataclasses.Field) -> bool:
    """Whether an option is one number, never none."""
    return is_number(field) and field.default is not None


def _shown(field: dataclasses.Field, value: Any, usual: Any) -> Any:
    if value is None or field.default is None and value == usual:
        return ""
    if field.name.endswith("_layers"):
        return ", ".join(f"{layer}:{weight!r}" for layer, weight in value)
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    slides = field.name in FIRST and is_number(field)
    if isinstance(value, bool) or is_needed(field) or slides:
        return value
    return str(value)
