"""absl flags: what is typed, and the help.

The flags of a stylisation are the fields of `Options` and those in `tables`.
Standard library and absl only, so that --help answers at once.
"""

import dataclasses
import itertools
import textwrap
from collections.abc import Callable
from typing import Any, NamedTuple

from absl import flags

from nst_tf.request.options import Options, by_optimizer
from nst_tf.terminal.tables import (
    FLAGS,
    GROUPS,
    MANY,
    POSITIONAL,
    TABLES,
    VOID,
    Flag,
)


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
    fields = *_fields_of(command), *dataclasses.fields(Options)
    known = {field.name for field in fields}
    options = {n: v for n, v in typed.items() if n in known}
    if {"print", "max_size"} <= set(options):
        raise ValueError(
            "`print` says how large the result is, and so does `max_size`; "
            "received both. Leave one of them out."
        )
    others = {
        flag.name: typed.get(flag.name, flag.default)
        for flag in _flags_of(command)
    }
    return Given(options, others, rest)


def help_text(command: str, full: bool = False) -> str:
    """A command's usage and its flags, grouped, with their defaults.

    Args:
      command: its name.
      full: all flags; those that are `first` otherwise.
    """
    usage = f"nst-tf {command} {POSITIONAL.get(command, '[--flag=value ...]')}"
    rows = [
        (f.group, f.first, _help_line(f.name, f.help, f.default))
        for f in _flags_of(command)
    ]
    for field in _fields_of(command):
        line = _help_line(field.name, _about(field), _default_text(field))
        rows.append((field.metadata["group"], field.metadata["first"], line))
    lines = [usage]
    for group, title in GROUPS.items():
        shown = [
            line for own, first, line in rows if own == group and first | full
        ]
        lines += ["", f"{title}:", *shown] if shown else []
    if not full and not all(first for _, first, _ in rows):
        lines += ["", f"--helpfull shows all {len(rows)} flags."]
    return "\n".join(lines)


def _flags_of(command: str) -> tuple[Flag, ...]:
    return FLAGS.get(command, ())


def _fields_of(command: str) -> list[dataclasses.Field]:
    if command not in VOID:
        return []
    void = VOID[command]
    tables = *TABLES.get(command, ()), Options
    fields = itertools.chain(*map(dataclasses.fields, tables))
    return [field for field in fields if field.name not in void]


def separate(table: Any, options: dict[str, Any]) -> tuple[dict, dict]:
    """Those of the options that a table of options has, and the others."""
    known = [field.name for field in dataclasses.fields(table)]
    own = {name: options[name] for name in options if name in known}
    return own, {n: v for n, v in options.items() if n not in own}


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
        define = flags.DEFINE_string
        if isinstance(field.default, bool):
            define = flags.DEFINE_boolean
        elif field.name in MANY:
            define = flags.DEFINE_multi_string
        define(field.name, None, _about(field), flag_values=values)
    return values


def _about(field: dataclasses.Field) -> str:
    choices = field.metadata["choices"]
    return field.metadata["help"] + (f": {', '.join(choices)}" * bool(choices))


def _default_text(field: dataclasses.Field) -> Any:
    if field.name.endswith("_layers"):
        layers = getattr(Options(), field.name)
        return ", ".join(f"{name}:{weight:g}" for name, weight in layers)
    if own := by_optimizer(field.name):
        return own
    value = getattr(Options(), field.name, field.default)
    return None if value == () else value


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
