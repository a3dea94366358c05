"""A still WebP as an array: Pillow's decoder takes four times its pixels."""

from typing import Any

import numpy as np
from PIL import Image

from nst_tf.files import sixteen


def read(image: Image.Image, file: Any) -> Image.Image:
    """The pixels of a WebP that Pillow has opened, with what it says of them.

    Args:
      image: that Pillow made of it.
      file: its `fp`.

    Returns:
      `image` itself where it is no WebP, moves or is broken, and where
      TensorFlow does not read one (2.18).
    """
    if image.format != "WEBP" or getattr(image, "n_frames", 1) > 1:
        return image
    library = sixteen.tensorflow()
    if not hasattr(library.io, "decode_webp"):
        return image
    file.seek(0)
    try:
        pixels = library.io.decode_webp(file.read(), len(image.getbands()))
    except library.errors.InvalidArgumentError:
        return image
    found = Image.fromarray(np.asarray(memoryview(pixels))[0])
    found.info.update(image.info)
    return found
