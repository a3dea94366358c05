"""What made a picture: its recipe, back into the form."""

import contextlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from nst_tf.files import record
from nst_tf.page import folder, form, pictures
from nst_tf.request import presets
from nst_tf.request.options import Options
from nst_tf.stylization.sources import identity

Samples = Mapping[str, Sequence[Path]]


def reuse(samples: Samples) -> Callable[..., list]:
    """The recipe shown fills in the form."""

    def fill(recipe, *payloads):
        return _filled(recipe, samples, payloads)

    return fill


def enlarge(samples: Samples) -> Callable[..., list]:
    """The recipe shown fills in the form, to be painted for a paper."""

    def fill(recipe, paper, *payloads):
        try:
            options = presets.merge(recipe["options"], {"print": paper or None})
            if not paper:
                raise ValueError("Choose a paper first.")
            Options.from_dict(options)
        except ValueError as error:
            raise gr.Error(str(error), print_exception=False) from None
        return _filled({**recipe, "options": options}, samples, payloads)

    return fill


def dropped(samples: Samples) -> Callable[..., list]:
    """The recipe of a file that was dropped fills in the form."""

    def read(payload, *payloads):
        try:
            folder.sent(payload, "file")
            recipe = record.read_recipe(payload["path"])
        except (ValueError, RecursionError) as error:
            return _unfilled(str(error).replace(payload["path"], "the file"))
        return _filled(recipe, samples, payloads)

    return read


def _unfilled(words: str) -> list:
    count = len(form.names()) + 4 + 2 * form.STYLES
    return [*[gr.skip()] * count, f"**{words}**"]


def _filled(recipe: Any, samples: Samples, payloads: Sequence) -> list:
    """Options, pictures and shares of a recipe, and what is missing."""
    try:
        options, left = form.taken(recipe["options"])
        inputs = recipe["inputs"]
        wanted = [inputs["content"], *inputs["styles"]]
        digests = [one and str(one["sha256"]) for one in wanted]
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        return _unfilled(f"The recipe cannot be read: {error}")
    known = _known(payloads)
    for path in (path for kind in samples.values() for path in kind):
        if (digest := _digest(path)) in digests and digest not in known:
            known[digest] = pictures.shown(path, "sample")
    content, *styles = [known.get(digest or "") for digest in digests]
    missing = [
        name
        for name, digest, path in zip(
            ["photograph", *["painting"] * len(styles)],
            digests,
            [content, *styles],
            strict=True,
        )
        if digest and not path
    ]
    padding = [None] * form.STYLES
    shares = [*(options.style_blend or [1.0] * len(styles)), *padding]
    words = "The form is filled in."
    if missing:
        words += f" Give the {' and the '.join(missing)} that it was made of."
    if left:
        words += f" Not on the page, left out: {', '.join(left)}."
    return [
        None,  # no look,
        "",  # and no other preset
        *form.updates(options),
        content,
        *[*styles, *padding][: form.STYLES],
        *[1.0 if share is None else share for share in shares][: form.STYLES],
        words,
    ]


def _known(payloads: Sequence) -> dict[str, str]:
    """Previews of what is in the form, by sha256."""
    found = {}
    for payload in payloads:
        with contextlib.suppress(ValueError):
            path = folder.original(payload, "picture")
            if path is not None:
                found[_digest(path)] = payload["path"]
    return found


def _digest(path: Path) -> str:
    return str(identity(path, "picture")["sha256"])
