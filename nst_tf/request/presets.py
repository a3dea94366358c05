"""The presets: flagfiles of a handful of options, chosen by name."""

import dataclasses
from pathlib import Path
from typing import Any

from nst_tf.request.options import OPTIMIZERS, Options
from nst_tf.request.values import suggest

WEIGHTS = "content_weight", "style_weight"  # what a strength stands for


def names() -> dict[str, str]:
    """Name and first line of every preset, in alphabetical order."""
    found = {}
    for path in sorted(_folder().glob("*.flags")):
        first = path.read_text(encoding="utf-8").splitlines()[0]
        found[path.stem] = first.lstrip("# ")
    return found


def read(name: str) -> dict[str, Any]:
    """The options that a preset sets; ValueError if there is none."""
    if name not in names():
        raise ValueError(
            f'`preset`: there is no "{name}".'
            + (suggest(name, names()) or f" Known: {', '.join(names())}.")
        )
    text = (_folder() / f"{name}.flags").read_text(encoding="utf-8")
    lines = (line.strip() for line in text.splitlines())
    return dict(_option(line) for line in lines if line[:1] not in ("", "#"))


def load(name: str | None = None, /, **typed) -> Options:
    """The options of a preset, by its name; single ones beside it win.

    As `preset("draft", steps=300)`; a ValueError if there is no such preset.
    """
    return Options.from_dict(merge(read(name) if name else {}, typed))


def merge(base: dict[str, Any], typed: dict[str, Any]) -> dict[str, Any]:
    """`typed` over `base`, less what of `base` another choice makes void."""
    base = dict(base)
    before = base.get("optimizer", Options.optimizer)
    if typed.get("optimizer", before) != before:
        for name in set().union(*OPTIMIZERS.values()):
            base.pop(name, None)
    if typed.get("print") is not None:
        base.pop("max_size", None)
        base.pop("enlarge", None)
    elif "max_size" in typed:
        base.pop("print", None)
    if "strength" in typed:
        for name in WEIGHTS:
            base.pop(name, None)
    elif set(WEIGHTS) & typed.keys():
        base.pop("strength", None)
    if typed.get("init", "noise") != "noise":
        base.pop("noise", None)
        base.pop("noise_ratio", None)
    if "color_image" in typed:
        base.pop("color", None)
    elif "color" in typed:
        base.pop("color_image", None)
        if typed["color"] == "style":
            base.pop("color_strength", None)
    return {**base, **typed}


def _option(line: str) -> tuple[str, Any]:
    """`--steps=50` -> ("steps", "50"); `--enlarge`, `--noenlarge` -> a bool."""
    name, given, value = line.removeprefix("--").partition("=")
    known = {field.name: field for field in dataclasses.fields(Options)}
    if given and name in known:
        return name, value
    for word in (name, name.removeprefix("no")):
        if word in known and isinstance(known[word].default, bool):
            return word, word == name
    raise ValueError(f'a preset has "{line}", which sets no option.')


def _folder() -> Path:
    """configs/, installed inside the package or beside it in a checkout."""
    package = Path(__file__).parents[1]
    inside, beside = package / "configs", package.parent / "configs"
    return inside if inside.is_dir() else beside
