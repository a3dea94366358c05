"""How large a result is. Does not load TensorFlow."""

from nst_tf.files import images
from nst_tf.request.options import Options


def fitted(size: tuple[int, int], options: Options) -> tuple[int, int]:
    """`(h, w)` to which a picture of `size` is painted: --max_size, --print."""
    if options.paper:
        return options.paper.pixels(size)
    return images.fit(size, options.max_size, options.enlarge)
