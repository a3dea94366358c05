"""Whose colours: what the network sees, and what is shown of its work.

Pictures in, pictures out, by Python or traced into the SavedModel; the
formulas are those of `formulas.color`. Images are `[..., h, w, 3]`.
"""

from collections.abc import Sequence

import tensorflow as tf

from nst_tf.engine.objective import WHOLE, Places
from nst_tf.formulas import color
from nst_tf.request.options import Options


def seen(
    content: tf.Tensor,
    styles: Sequence[tf.Tensor],
    options: Options,
    image: tf.Tensor | None = None,
    places: Places | None = None,
) -> tuple[tf.Tensor, list[tf.Tensor]]:
    """The content and the styles as the network is to see them.

    Args:
      content: of the size of the result.
      styles: each of its own size.
      options: those named `color...` count.
      image: the picture of `color_image`.
      places: whose masks, `[h, w]` or `[k, h, w]`, say which pixels' colours
        are those of a style, and of where it goes.
    """
    share = options.color_share()
    if not share:
        return content, list(styles)
    places = places or WHOLE
    goes = [places.painted] * len(styles)
    if places.regions is not None:
        goes = list(places.regions)
    learnt = places.styles or [None] * len(styles)
    mapped = []
    third = None if image is None else color.palette(image)
    for style, region, part in zip(styles, goes, learnt, strict=True):
        own = color.palette(style, part)
        aim = third or color.palette(content, region)
        if options.color != "luminance":
            mapped.append(color.recolored(style, own, aim, share))
            continue
        light = color.relit(color.luminance(style), own, aim, share)
        pale = _kept(options) * color.chroma(style)
        mapped.append(color.colored(light, pale))
    return paled(content, options), mapped


def paled(image: tf.Tensor, options: Options) -> tf.Tensor:
    """A picture as a run of `color=luminance` sees it: less chroma, or none."""
    if not gives_chroma(options):
        return image
    pale = _kept(options) * color.chroma(image)
    return color.colored(color.luminance(image), pale)


def shown(
    image: tf.Tensor, photograph: tf.Tensor, options: Options
) -> tf.Tensor:
    """What was painted, with the photograph's chroma; it has its size."""
    if not gives_chroma(options):
        return image
    mixed = _kept(options) * color.chroma(image)
    mixed += options.color_share() * color.chroma(photograph)
    return color.colored(color.luminance(image), mixed)


def gives_chroma(options: Options) -> bool:
    """Whether the content's chroma is put back into what was painted."""
    return options.color == "luminance" and options.color_share() > 0


def _kept(options: Options) -> float:
    # The painting's chroma is reduced twice, before the run and after it; the
    # second time drops what a run without chroma makes up.
    return (1 - options.color_share()) ** 0.5
