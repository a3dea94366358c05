"""Where to paint, and what of a painting to learn: masks read and checked."""

import warnings
from collections.abc import Sequence

import numpy as np

from nst_tf.engine import tiles
from nst_tf.engine.objective import Places
from nst_tf.engine.sight import FEWEST
from nst_tf.files import images
from nst_tf.request.options import ALPHA, EVERYWHERE, Options

ASPECT = 0.01  # how far a mask's aspect may be from its picture's
Size = tuple[int, int]


def check(options: Options, styles: int) -> None:
    """ValueError where there is not a mask for each style."""
    for name in ("content_mask", "style_mask"):
        masks = getattr(options, name)
        if masks and len(masks) != styles:
            raise ValueError(
                f"`{name}` should be given once for each style: expected "
                f"{styles}, received {len(masks)}. For a style without one "
                f"give --{name}={EVERYWHERE}."
            )
    if options.mask == ALPHA and not styles and not options.content_weight:
        raise ValueError("`mask` is alpha, but there is no `content`.")


def read(
    options: Options,
    content: images.Picture | None,
    size: Size,
    styles: Sequence[images.Picture],
    sizes: Sequence[Size],
) -> Places | None:
    """The masks that the options name; None where they hide nothing.

    Args:
      options: the masks and `style_blend` count.
      content: as it was read.
      size: of the result.
      styles: as they were read.
      sizes: at which the styles are used.

    Returns:
      float32 arrays from 0 to 1: `painted` [h, w], `regions` [k, h, w],
      `styles` [h_k, w_k], `detail` [h, w], None each where all is white.

    Raises:
      ValueError: a mask that is no picture, black, or of another shape.
    """
    aspect = size if content is None else content.size
    painted = None
    if options.mask == ALPHA:
        if content is None or content.alpha is None:
            raise ValueError(
                "`mask` is alpha, but no pixel of `content` is transparent. "
                "Give a picture that has some, or a mask's PATH."
            )
        painted = images.resize_mask(content.alpha, size)
    elif options.mask is not None:
        painted = _mask(options.mask, "mask", aspect, size)
    regions = [
        _mask(path, "content_mask", aspect, size)
        for path in options.content_mask
    ]
    parts = [
        _mask(path, "style_mask", style.size, used)
        for path, style, used in zip(
            options.style_mask, styles, sizes, strict=False
        )
    ]
    detail = None
    if options.detail_mask is not None:
        detail = _mask(options.detail_mask, "detail_mask", aspect, size)
    if all(mask is None for mask in (painted, detail, *regions, *parts)):
        return None
    found = Places(
        painted,
        _shared(regions, options.style_blend, painted, size),
        parts if any(part is not None for part in parts) else (),
        detail,
    )
    _remark(found, options, size)
    return found


def _mask(path: str, name: str, shape: Size, size: Size) -> np.ndarray | None:
    """A mask at `size`, [h, w]; None if it is white."""
    if path == EVERYWHERE:
        return None
    picture = images.read(path, name)
    grey = picture.rgb.mean(-1)
    if picture.alpha is not None:  # it was read over white: now over black
        grey = np.clip(grey - (1 - picture.alpha), 0, 1)
    if not grey.any():
        raise ValueError(
            f'`{name}`: "{path}" is black all over, and white is what counts. '
            "Give one with some white."
        )
    height, width = picture.size
    stretch = height / width * shape[1] / shape[0]
    if abs(stretch - 1) > ASPECT:
        raise ValueError(
            f'`{name}`: "{path}" should have the shape of its picture, '
            f"{shape[1]} x {shape[0]}; received {width} x {height}. Draw it "
            "over that picture."
        )
    return None if grey.min() == 1 else images.resize_mask(grey, size)


def _shared(regions: list, blend, painted, size: Size) -> np.ndarray | None:
    """[k, h, w]: where masks overlap they share, as `style_blend` weighs them.

    Together they nowhere exceed what is painted.
    """
    if all(region is None for region in regions):
        return None
    ones = np.ones(size, "float32")
    masks = np.stack([ones if one is None else one for one in regions])
    shares = np.asarray(blend or [1.0] * len(masks), "float32")
    weighed = masks * shares[:, None, None]
    covered = np.minimum(masks.sum(0), 1) * (1 if painted is None else painted)
    total = weighed.sum(0)
    return weighed * (covered / np.where(total > 0, total, 1))


def _remark(places: Places, options: Options, size: Size) -> None:
    """Warns of layers at which a mask leaves too little to tell a style by."""
    largest = options.factors(size)[0]
    given = [("mask", places.painted)]
    if places.regions is not None:
        given = [("content_mask", region) for region in places.regions]
    given += [("style_mask", own) for own in places.styles]
    for name, mask in given:
        if mask is None:
            continue
        pixels = float(mask.sum()) / largest**2
        lost = [
            layer
            for layer, _ in options.used_layers()[1]
            if pixels / tiles.stride(layer) ** 2 < FEWEST
        ]
        if lost:
            warnings.warn(
                f"`{name}` leaves fewer than {FEWEST} positions of "
                f"{', '.join(lost)}"
                + (" at the coarsest scale" if largest > 1 else "")
                + ": what they say of the style is left out there.",
                UserWarning,
                stacklevel=5,
            )
