#!/usr/bin/env python3
"""Writes docs/api.md from the docstrings and the options' table.

    scripts/write_api.py

`tests/test_api.py` holds the page against what this would write.
"""

import dataclasses
import inspect
import itertools
import math
import re
import types
from pathlib import Path

import nst_tf
from nst_tf.request.options import Options, by_optimizer
from nst_tf.terminal.flags import GROUPS

PAGE = Path(__file__).resolve().parent.parent / "docs" / "api.md"
INTRODUCTION = """\
# The Python API

Written by `scripts/write_api.py` from the docstrings; do not edit. The names
below are all that `import nst_tf` promises. TensorFlow loads when the first of
them is used that needs it.

Pictures in are paths, encoded bytes, Pillow images or arrays; arrays are
uint8, or float in [0, 1], as `[h, w]`, `[h, w, 3]` or `[h, w, 4]`, RGB.
A mistake is a `ValueError` that names the argument in backticks.
"""
LISTS = "Args", "Attributes", "Raises"
SECTIONS = (*LISTS, "Returns", "Yields")


def page() -> str:
    """The whole page, as Markdown."""
    parts = [INTRODUCTION]
    for name in sorted(nst_tf.__all__, key=str.lower):
        parts += [entry(name, getattr(nst_tf, name))]
    return "\n".join(parts)


def own_functions(module: types.ModuleType) -> dict:
    """The public functions that a module defines, in its order."""
    return {
        key: value
        for key, value in vars(module).items()
        if inspect.isfunction(inspect.unwrap(value))
        and value.__module__ == module.__name__
        and not key.startswith("_")
    }


def own_members(owner: type) -> dict:
    """The methods and properties of a class that are for users."""
    kinds = types.FunctionType, property, classmethod
    return {
        key: value
        for key, value in vars(owner).items()
        if isinstance(value, kinds) and not key.startswith("_")
    }


def entry(name: str, value) -> str:
    """A heading, the call, what the docstring says, and what belongs to it."""
    text, sections = read(value)
    parts = [f"## {name}", text]
    items = told(sections)
    if isinstance(value, types.ModuleType):
        items += members(name, own_functions(value))
    elif isinstance(value, type):
        items = told(sections, f"{name}.") + members(name, own_members(value))
    else:
        parts = [f"## {name}", f"`{call(name, value)}`", text]
    parts += [table()] if value is Options else []
    parts += ["\n".join(items)] if items else []
    return "\n\n".join(parts) + "\n"


def members(owner: str, values: dict) -> list[str]:
    """What belongs to a module or a class, an item of a list each."""
    lines = []
    for key, value in values.items():
        name = f"{owner}.{key}"
        head = name if isinstance(value, property) else call(name, value)
        text, sections = read(value)
        lines += [f"- `{head}`: {' '.join(text.split())}"]
        lines += [f"  {line}" for line in told(sections)]
    return lines


def call(name: str, value) -> str:
    """How a function is called."""
    function = getattr(value, "__func__", value)
    parameters = [
        parameter.replace(annotation=parameter.empty)
        for key, parameter in inspect.signature(function).parameters.items()
        if key not in ("self", "cls")
    ]
    return f"{name}{inspect.Signature(parameters)}"


def read(value) -> tuple[str, dict[str, list[str]]]:
    """A docstring in Google's form: its text, and the lines of each section."""
    text: list[str] = []
    sections: dict[str, list[str]] = {}
    lines = text
    for line in (inspect.getdoc(value) or "").splitlines():
        if line.removesuffix(":") in SECTIONS and line.endswith(":"):
            lines = sections.setdefault(line.removesuffix(":"), [])
        else:
            lines.append(line)
    return "\n".join(text).strip(), sections


def told(sections: dict[str, list[str]], owner: str = "") -> list[str]:
    """Items of a list: arguments, what comes back, what is raised."""
    items = []
    for title, lines in sections.items():
        whole = " ".join(" ".join(lines).split())
        if title not in LISTS:
            items += [f"- {title}: {whole}"]
            continue
        before = "Raises " if title == "Raises" else ""
        of = owner if title == "Attributes" else ""
        pairs = []
        for line in lines:
            name = re.match(r"  ([\w*]+): (.*)", line)
            if name:
                pairs += [(name[1], name[2])]
            elif line.strip():
                pairs[-1] = pairs[-1][0], f"{pairs[-1][1]} {line.strip()}"
        for about, same in itertools.groupby(pairs, key=lambda pair: pair[1]):
            names = ", ".join(f"`{of}{name}`" for name, _ in same)
            items += [f"- {before}{names}: {about}"]
    return items


def table() -> str:
    """The options, group by group."""
    rows = ["| option | default | |", "| --- | --- | --- |"]
    for group, title in GROUPS.items():
        own = [
            f"| `{field.name}` | {default_of(field)} | {about(field)} |"
            for field in dataclasses.fields(Options)
            if field.metadata["group"] == group
        ]
        rows += [f"| **{title}** | | |", *own] if own else []
    return "\n".join(rows)


def default_of(field: dataclasses.Field) -> str:
    """As one would type it; an optimiser's own where that differs."""
    if own := by_optimizer(field.name):
        return own
    if field.name.endswith("_layers"):
        layers = getattr(Options(), field.name)
        return ", ".join(f"{name}: {value:g}" for name, value in layers)
    return f"`{getattr(Options(), field.name)!r}`"


def about(field: dataclasses.Field) -> str:
    """Its help, and what it may be."""
    text = field.metadata["help"]
    choices, low, high = map(field.metadata.get, ("choices", "low", "high"))
    if choices:
        return f"{text}: {', '.join(choices)}"
    if low is None:
        return text
    bounds = f"{low:.10g} to {high:.10g}"
    return f"{text} ({f'at least {low:g}' if high == math.inf else bounds})"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
