"""What a sweep varies: axes of choices, each a few options of its own."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from nst_tf.request.options import Options
from nst_tf.request.values import suggest


class Choice(NamedTuple):
    """What one column, or one row, has of its own."""

    label: str
    changes: Mapping[str, Any]  # options by name


Axis = Sequence[Choice]


def parse_axis(text: str) -> Axis:
    """`style_weight=4,40` -> an axis of two; `|` parts values with commas.

    Raises:
      ValueError: no option of that name, or no value.
    """
    name, equals, values = text.partition("=")
    known = [field.name for field in dataclasses.fields(Options)]
    if not equals or name not in known:
        raise ValueError(
            "`over` should be OPTION=VALUE,VALUE,... as in "
            f'style_weight=4,40,400; received "{text}".' + suggest(name, known)
        )
    parts = values.split("|" if "|" in values else ",")
    choices = [part.strip() for part in parts]
    if not all(choices) or len(set(choices)) < len(choices):
        raise ValueError(
            f'`over` should name each value once; received "{text}".'
        )
    return [Choice(f"{name} {value}", {name: value}) for value in choices]
