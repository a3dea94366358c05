"""A still WebP made smaller: Pillow's decoder takes four times its pixels."""

import os

import numpy as np
from PIL import Image

from nst_tf.files import sixteen

Box = tuple[float, float, float, float]


def draft(
    image: Image.Image,
    source: str | os.PathLike | bytes,
    size: tuple[int, int],
) -> tuple[Image.Image, Box] | None:
    """As `Image.draft` for a JPEG: at a whole fraction of its size.

    Args:
      image: that Pillow made of the file.
      source: the file, or its bytes.
      size: (w, h) of which the fraction is to be twice, at least.

    Returns:
      An image with the same `info`, and the box of it that is all of the
      picture. None of what is no WebP, moves or is broken, and where
      TensorFlow does not read one (2.18).
    """
    if image.format != "WEBP" or getattr(image, "n_frames", 1) > 1:
        return None
    library = sixteen.tensorflow()
    if not hasattr(library.io, "decode_webp"):
        return None
    data = source
    if not isinstance(source, bytes):  # of which TensorFlow would make copies
        data = library.io.read_file(os.fsencode(os.path.abspath(source)))
    try:
        decoded = library.io.decode_webp(data, len(image.getbands()))
    except library.errors.InvalidArgumentError:
        return None
    pixels = np.asarray(memoryview(decoded))[0]
    wide, high = (
        max(1, own // asked // 2)
        for own, asked in zip(image.size, size, strict=True)
    )
    rows = high * max(1, sixteen.BAND // (high * pixels[0].nbytes))
    bands = [
        Image.fromarray(pixels[top : top + rows]).reduce((wide, high))
        for top in range(0, len(pixels), rows)
    ]
    found = Image.fromarray(np.concatenate([np.asarray(one) for one in bands]))
    found.info.update(image.info)
    return found, (0, 0, image.width / wide, image.height / high)
