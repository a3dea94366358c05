"""The content and the styles of a run: checked and read.

TensorFlow does not load for it, unless a file is one that only it decodes.
"""

import functools
import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from nst_tf.files import images, sizes
from nst_tf.request.options import Options

Identity = dict[str, str | None]


class Sources(NamedTuple):
    """What was read, none of it larger than a run has use for."""

    size: images.Size  # of the result
    content: images.Picture | None
    styles: list[images.Picture]
    identities: dict[str, Any]  # paths and digests, for the recipe


def check(content, styles: Sequence, options: Options) -> None:
    """ValueError where the options ask for what was not given."""
    if content is None and options.content_weight:
        raise ValueError(
            "`content` is missing. Give a photograph, or --content_weight=0 "
            "to paint without one."
        )
    if content is None and options.init == "content":
        raise ValueError(
            "`init` is content, but there is no `content`. Give one, or "
            "--init=noise or --init=style."
        )
    if content is None and (options.noise_ratio or 1.0) < 1:
        raise ValueError(
            "`noise_ratio` mixes noise with the `content`, which is missing. "
            "Give one, or leave noise_ratio out."
        )
    if not styles and (options.style_weight or content is None):
        raise ValueError(
            "`style` is missing. Give a painting, or --style_weight=0 to "
            "reconstruct the content without one."
        )
    if not styles and options.init == "style":
        raise ValueError("`init` is style, but there is no `style`.")
    if content is None and options.color != "style":
        raise ValueError(
            f"`color` is {options.color}, but there is no `content`. Give "
            "one, or a --color_image=PATH."
        )
    if not styles and (options.color_image or options.color == "content"):
        raise ValueError(
            f"`{'color_image' if options.color_image else 'color'}` recolours "
            "the `style`, which is missing. Give a painting, or leave it out."
        )
    for option, what in (("style_blend", "weight"), ("style_scales", "scale")):
        given = getattr(options, option)
        if given and len(given) != len(styles):
            raise ValueError(
                f"`{option}` should have a {what} for each style: expected "
                f"{len(styles)}, received {len(given)}."
            )


def read(content, styles: Sequence, options: Options) -> Sources:
    """Reads what `check` let pass.

    Args:
      content: as `images.read` takes it, or None.
      styles: alike.
      options: those that say how large each is used.

    Raises:
      ValueError: what is no picture.
    """
    content, *styles = map(images.unpiped, (content, *styles))
    fitted = functools.partial(sizes.fitted, options=options)
    photograph = size = None
    if content is not None:
        photograph = images.read(content, "content", fitted)
        size = fitted(photograph.size)

    def used(own: images.Size, which: int) -> images.Size:
        return style_size(own, size or fitted(own), options, which)

    pictures = [
        images.read(source, "style", functools.partial(used, which=which))
        for which, source in enumerate(styles)
    ]
    identities = {
        "content": None if content is None else identity(content, "content"),
        "styles": [identity(source, "style") for source in styles],
    }
    size = size or fitted(pictures[0].size)
    return Sources(size, photograph, pictures, identities)


def style_size(
    style: images.Size, size: images.Size, options: Options, which: int = 0
) -> images.Size:
    """Height and width at which a style is used beside a result of `size`.

    `which` of the styles it is, from 0.

    At scale 1 it is as long as the result, or as it is where it is smaller
    and nobody asked to enlarge; `style_scale` counts from there.
    """
    usual = max(size) if options.enlarges else min(max(size), max(style))
    wanted = round(usual * options.style_scale_of(which))
    wanted = max(wanted, min(options.smallest, usual))
    return images.fit(style, wanted, enlarge=True)


def identity(source, name: str) -> Identity:
    """Path and sha256 of an input; None if it is no file.

    Of a pipe that has been read there is neither.
    """
    if images.is_pipe(source):
        return {"path": None, "sha256": None}
    if isinstance(source, str | os.PathLike):
        try:
            with open(source, "rb") as file:
                digest = hashlib.file_digest(file, "sha256")
        except OSError as error:
            raise ValueError(
                f'`{name}`: "{source}" cannot be read ({error.strerror}).'
            ) from None
        path = str(Path(source).resolve())
        return {"path": path, "sha256": digest.hexdigest()}
    data = source
    if not isinstance(source, bytes):
        data = np.asarray(source).tobytes()
    return {"path": None, "sha256": hashlib.sha256(data).hexdigest()}
