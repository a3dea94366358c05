#!/usr/bin/env python3
"""Writes docs/api.md from the docstrings and the options' table.

    scripts/write_api.py

`tests/test_api.py` holds the page against what this would write.
"""

import dataclasses
import inspect
import math
import re
import types
from pathlib import Path

import nst_tf
from nst_tf.request.options import OPTIMIZERS, Options
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


def page() -> str:
    """The whole page, as Markdown."""
    parts = [INTRODUCTION]
    for name in sorted(nst_tf.__all__, key=str.lower):
        value = getattr(nst_tf, name)
        if isinstance(value, types.ModuleType):
            parts += [f"## {name}\n", described(value)]
            for key, function in own_functions(value).items():
                parts += [entry(f"{name}.{key}", function, "###")]
        elif isinstance(value, type):
            parts += [f"## {name}\n", described(value)]
            parts += [table() if value is Options else ""]
            for key, member in vars(value).items():
                if is_documented(key, member):
                    parts += [entry(f"{name}.{key}", member, "###")]
        else:
            parts += [entry(name, value, "##")]
    return "\n".join(part for part in parts if part)


def own_functions(module: types.ModuleType) -> dict:
    """The public functions that a module defines, in its order."""
    return {
        key: value
        for key, value in vars(module).items()
        if inspect.isfunction(value)
        and value.__module__ == module.__name__
        and not key.startswith("_")
    }


def is_documented(name: str, member) -> bool:
    """Whether it is a method or property for users."""
    kinds = types.FunctionType, property, classmethod
    return isinstance(member, kinds) and not name.startswith("_")


def entry(name: str, value, level: str) -> str:
    """Heading, signature and docstring."""
    if isinstance(value, property):
        return f"{level} {name}\n\n{described(value)}"
    function = getattr(value, "__func__", value)
    parameters = [
        parameter.replace(annotation=parameter.empty)
        for key, parameter in inspect.signature(function).parameters.items()
        if key not in ("self", "cls")
    ]
    signature = str(inspect.Signature(parameters))
    return (
        f"{level} {name}\n\n```python\n{name}{signature}\n```\n\n"
        f"{described(value)}"
    )


def described(value) -> str:
    """A docstring in Google's form as Markdown."""
    lines, inside = [], False
    for line in (inspect.getdoc(value) or "").splitlines():
        if re.fullmatch(r"(Args|Attributes|Raises|Returns|Yields):", line):
            lines += [f"**{line.removesuffix(':')}**", ""]
            inside = line not in ("Returns:", "Yields:")
            continue
        item = re.match(r"  ([\w*]+): (.*)", line) if inside else None
        if item:
            line = f"- `{item[1]}`: {item[2]}"
        elif inside and line.startswith("    "):
            line = line[2:]
        elif line.startswith("  ") and not line.startswith("   "):
            line = line[2:]
        lines.append(line)
    return "\n".join(lines) + "\n"


def table() -> str:
    """The options, group by group."""
    parts = []
    for group, title in GROUPS.items():
        rows = [
            f"| `{field.name}` | {default_of(field)} | {about(field)} |"
            for field in dataclasses.fields(Options)
            if field.metadata["group"] == group
        ]
        if rows:
            parts += [
                f"**{title}**\n",
                "| | default | |",
                "| --- | --- | --- |",
            ]
            parts += [*rows, ""]
    return "\n".join(parts)


def default_of(field: dataclasses.Field) -> str:
    """As one would type it; an optimiser's own where that differs."""
    own = {
        name: arguments[field.name]
        for name, arguments in OPTIMIZERS.items()
        if field.name in arguments
    }
    if own:
        return ", ".join(
            f"{name} {value}" if isinstance(value, str) else f"{name} {value:g}"
            for name, value in own.items()
        )
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
