"""What goes into a run: read, sized and checked before any heavy work."""

import dataclasses
import functools
import math
import warnings
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any

import numpy as np
import tensorflow as tf

from nst_tf.engine import coloring
from nst_tf.engine.objective import Anchor, Places
from nst_tf.files import images
from nst_tf.files import weights as weights_
from nst_tf.machine.plan import Plan, resolve, scaled
from nst_tf.request.options import PICTURES, Options
from nst_tf.stylization import places as places_
from nst_tf.stylization import sources as sources_
from nst_tf.stylization.sources import Sources, identity, style_size

COLORS = functools.partial(images.fit, max_size=1024)  # what statistics need
SMALL = 0.4  # a style shorter than this, of the result, gets a warning


@dataclasses.dataclass(frozen=True)
class Inputs:
    """A stylisation ready to start: everything read, nothing computed."""

    options: Options
    content: np.ndarray  # float32 [h, w, 3], of the result's size, as seen
    styles: Sequence[np.ndarray]
    blend: Sequence[float]
    image: np.ndarray  # where the coarsest scale starts
    alpha: np.ndarray | None
    plan: Plan  # what this comes to on this machine
    sources: dict[str, Any]  # paths and digests, for the recipe
    # As the results show it: its chroma, or what is not painted.
    photograph: np.ndarray | None = None
    places: Places | None = None  # masks: see `places.read`
    # What the result should stay near: [h, w, 3], and where, [h, w].
    anchor: Anchor | None = None


def prepare(
    content,
    style,
    *,
    options: Options | None = None,
    reading: Future[Sources] | None = None,
    **overrides,
) -> Inputs:
    """Reads and checks everything a run needs, before any heavy work.

    `reading` is `sources.read` of the same, where that has begun.
    """
    options = (options or Options()).replace(**overrides)
    given = list(style) if isinstance(style, list | tuple) else [style]
    if style is None:
        given = []
    sources_.check(content, given, options)
    places_.check(options, len(given))
    weights_.check(options.weights, options.network)
    sources = (
        reading.result() if reading else sources_.read(content, given, options)
    )
    photograph, size = sources.content, sources.size
    _remark(photograph, "content")
    for picture in sources.styles:
        _remark(picture, "style")
    plan = resolve(size, options)
    if photograph:
        rgb, alpha = images.resize(photograph.rgb, size), photograph.alpha
    else:
        rgb, alpha = np.full((*size, 3), 0.5, "float32"), None
    _check_size("content" if photograph else "style", size, options)
    styles = [
        _style(picture, size, options, k)
        for k, picture in enumerate(sources.styles)
    ]
    places = places_.read(
        options,
        photograph,
        size,
        sources.styles,
        [style.shape[:2] for style in styles],
    )
    seen, styles = _colored(rgb, styles, options, places)
    shows = coloring.gives_chroma(options) or (
        places is not None and places.painted is not None
    )
    return Inputs(
        options=options,
        content=seen,
        styles=styles,
        blend=options.style_blend or (1.0,) * len(styles),
        image=_first_image(seen, styles, size, options),
        alpha=alpha,
        plan=plan,
        sources={**sources.identities, **_identities(options)},
        photograph=rgb if shows else None,
        places=places,
    )


def _identities(options: Options) -> dict[str, Any]:
    """Those of the pictures that options name; None where there is none."""
    named = options.pictures()
    found: dict[str, Any] = dict.fromkeys(PICTURES)
    for name, value in named.items():
        if isinstance(value, tuple):
            found[name] = [path and identity(path, name) for path in value]
        else:
            found[name] = identity(value, name)
    return found


def _colored(content, styles: list, options: Options, places: Places | None):
    """The content and the styles in the colours that the options ask for."""
    if not options.color_share():
        return content, styles
    image = None
    if options.color_image is not None:
        image = _read(options.color_image, "color_image", COLORS).rgb
    with tf.device("CPU"):  # its memory is there, and matrices are 3 x 3
        seen, styles = coloring.seen(content, styles, options, image, places)
        return np.asarray(seen), [np.asarray(style) for style in styles]


def _check_size(name: str, own, options: Options, size=None) -> None:
    """ValueError if a picture is too small at the coarsest scale."""
    largest, smallest = options.factors(size or own)[0], options.smallest
    if min(own) / largest < smallest:
        raise ValueError(
            f"`{name}` should be at least {smallest} x {smallest} pixels"
            + (" at the coarsest of its scales" if largest > 1 else "")
            + f"; received {own[1]} x {own[0]} (width x height) after "
            "--max_size. Use a larger picture"
            + (", fewer --scales" if largest > 1 else "")
            + " or a larger --max_size."
        )


def _read(source, name: str, wanted) -> images.Picture:
    picture = images.read(source, name, wanted)
    _remark(picture, name)
    return picture


def _remark(picture: images.Picture | None, name: str) -> None:
    if picture and picture.note:
        warnings.warn(f"`{name}`: {picture.note}", UserWarning, stacklevel=4)


def _style(picture: images.Picture, size, options, which: int) -> np.ndarray:
    fitted = style_size(picture.size, size, options, which)
    _check_size("style", fitted, options, size)
    largest = max(size) * min(1.0, options.style_scale_of(which))
    if max(fitted) < SMALL * largest:
        height, width = picture.size
        warnings.warn(
            f"`style` has {width} x {height} pixels beside a result of "
            f"{size[1]} x {size[0]}: strokes come out tiny. A larger file is "
            f"best; --style_scale={max(size) / max(height, width):.2g} "
            "enlarges this one to the result's size, and blurs it.",
            UserWarning,
            stacklevel=4,
        )
    return images.resize(picture.rgb, fitted)


def _first_image(content, styles, size, options: Options) -> np.ndarray:
    """Where the coarsest scale starts, float32 `[h, w, 3]` in [0, 1]."""
    coarse = scaled(size, options.factors(size)[0])
    if options.init == "content":
        return images.resize(content, coarse)
    if options.init == "style":
        return images.resize(_cover(styles[0], size), coarse)
    if options.init != "noise":
        picture = _read(
            options.init, "init", lambda own: _covering(own, size)
        ).rgb
        image = images.resize(_cover(picture, size), coarse)
        return np.asarray(coloring.paled(image, options))
    generator = np.random.default_rng(options.seed)
    if options.noise == "gaussian":
        noise = generator.normal(0.5, 0.25, (*coarse, 3)).clip(0, 1)
    else:
        noise = generator.random((*coarse, 3))
    noise = np.asarray(coloring.paled(noise, options))
    ratio = 1.0 if options.noise_ratio is None else options.noise_ratio
    mixed = ratio * noise + (1 - ratio) * images.resize(content, coarse)
    return mixed.astype("float32")


def _covering(own: images.Size, size: images.Size) -> images.Size:
    """The size of a picture of which a part is used at `size`."""
    scale = max(size[0] / own[0], size[1] / own[1])
    return math.ceil(own[0] * scale), math.ceil(own[1] * scale)


def _cover(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The largest centred part of the image with the aspect of `size`."""
    height, width = image.shape[:2]
    scale = min(height / size[0], width / size[1])
    rows, columns = round(size[0] * scale), round(size[1] * scale)
    top, left = (height - rows) // 2, (width - columns) // 2
    return image[top : top + rows, left : left + columns]
