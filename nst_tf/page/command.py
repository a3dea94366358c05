"""A recipe as a command: `nst-tf stylize ...`."""

import dataclasses
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from nst_tf.request.networks import NETWORKS
from nst_tf.request.options import Options


def command(recipe: Mapping[str, Any], names: Sequence[str]) -> str:
    """What to type for the same picture, beside the files that were sent.

    Args:
      recipe: of the picture.
      names: of the photograph, if there is one, and of the paintings.
    """
    options = Options.from_dict(recipe["options"])
    names = list(names)
    words = ["nst-tf", "stylize"]
    if recipe["inputs"]["content"] is not None and names:
        words.append(f"--content={names.pop(0)}")
    words += [f"--style={name}" for name in names]
    usual = Options()
    own = NETWORKS[options.network]
    layers = {"content_layers": own.content, "style_layers": own.style}
    for field in dataclasses.fields(Options):
        value = getattr(options, field.name)
        default = layers.get(field.name, getattr(usual, field.name))
        if _text(value) != _text(default):
            words += _flags(field.name, value)
    return shlex.join([*words, "--output=painted.png"])


def _flags(name: str, value: Any) -> list[str]:
    if isinstance(value, bool):
        return [f"--{'' if value else 'no'}{name}"]
    if name in ("content_mask", "style_mask"):
        return [f"--{name}={path}" for path in value]
    return [f"--{name}={_text(value)}"]


def _text(value: Any) -> str:
    if isinstance(value, tuple):
        return ",".join(
            f"{one[0]}:{one[1]!r}" if isinstance(one, tuple) else str(one)
            for one in value
        )
    if isinstance(value, Mapping):
        return ",".join(f"{name}:{share!r}" for name, share in value.items())
    return str(value)
