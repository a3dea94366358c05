"""Other colours for a picture that is there already: no run, no network."""

import numpy as np

from nst_tf.engine import coloring
from nst_tf.files import images
from nst_tf.request.options import Options

ASPECT = 0.01  # by how much two pictures' aspects may differ


def recolor(
    picture, content=None, *, options: Options | None = None
) -> images.Picture:
    """The picture in the content's colours, or in a third picture's.

    Args:
      picture: what is to be recoloured, a finished picture or a painting;
        path, bytes, Pillow image or array, as all pictures.
      content: whose colours it gets. None with `color_image`.
      options: those named `color...` count; `color=luminance` otherwise,
        which needs a content that shows the same.

    Returns:
      The recoloured picture, of its own size.

    Raises:
      ValueError: a picture that cannot be read, is missing, or has another
        aspect; or options that ask for no change.
    """
    options = options or Options(color="luminance")
    if options.color == "style" and options.color_image is None:
        raise ValueError(
            "`color` should be content or luminance here; received style. "
            "Choose one, or give a --color_image=PATH."
        )
    if content is None and options.color_image is None:
        raise ValueError(
            "`content` is missing: the picture whose colours are wanted. Give "
            "it with --content, or --color_image=PATH."
        )
    own = images.read(picture, "picture")
    if options.color_image is not None:
        other = images.read(options.color_image, "color_image").rgb
    else:
        other = images.read(content, "content").rgb
    if options.color == "luminance":
        other = _of_its_size(other, own.rgb.shape)
        rgb = coloring.shown(own.rgb, other, options)
    else:
        rgb = coloring.seen(other, [own.rgb], options, other)[1][0]
    return own._replace(rgb=np.asarray(rgb))


def _of_its_size(image: np.ndarray, shape) -> np.ndarray:
    (height, width), (high, wide) = image.shape[:2], shape[:2]
    apart = abs(np.log(height * wide / (width * high)))
    # A pixel either way is rounding.
    if apart > ASPECT + 1 / min(high, wide):
        raise ValueError(
            "`content` should show the same as the picture: expected the "
            f"aspect of {wide} x {high} pixels, received {width} x {height}. "
            "Use --color=content, which takes any picture."
        )
    return images.resize(image, (high, wide))
