"""What a visitor gives: kept as it is, shown as the server reads it.

A browser shows no HEIC and no TIFF, and turns neither a WebP nor what only
XMP calls turned.
"""

import math
import threading
from pathlib import Path

from nst_tf.files import encoding, images, record
from nst_tf.page import folder

SIDE = 1280  # pixels, long side of a preview
MOST = 50_000_000  # pixels of a picture that is sent
_reading = threading.Lock()  # a large one takes a gigabyte


def shown(path: str | Path, name: str) -> str:
    """A new preview of a file: upright, sRGB; `folder.original` leads back.

    Raises:
      ValueError: it is no picture, or too large a one.
    """
    path = Path(path)
    data = path.read_bytes()
    size(data, name)
    with _reading:
        picture = images.read(data, name).rgb
        fitted = images.fit(picture.shape[:2], SIDE)
        small = encoding.encode(images.resize(picture, fitted), ".jpg")
    place = folder.fresh(folder.GIVEN)
    record.write(place / "original" / path.name, data)
    preview = place / f"{place.name}.{folder.SHOWN}"
    record.write(preview, small)
    return str(preview)


def size(data: bytes, name: str) -> tuple[int, int]:
    """Height and width of a picture; ValueError if it is no usual one."""
    found = images.size(data, name)
    if math.prod(found) > MOST:
        raise ValueError(
            f"`{name}` has {found[1]} x {found[0]} pixels; the page takes "
            f"{MOST / 1e6:g} megapixels. Shrink it."
        )
    return found
