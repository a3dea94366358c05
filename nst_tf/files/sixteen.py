"""PNG and TIFF of 16 bits a channel: Pillow has them in 8, unless grey.

TensorFlow reads and writes the PNG, and loads with the first of them. A TIFF in
colour is read as a grey one, three or four times as wide.
"""

import contextlib
import importlib
import io
import struct
import threading
import zlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from PIL import Image, TiffImagePlugin

BAND = 2**22  # bytes, about, that are packed at a time
INCH = 0.0254  # metres
_HEADER = 33  # bytes of a PNG's signature and first chunk
_lock = threading.Lock()


def png(
    pixels: np.ndarray,
    dpi: float | None = None,
    chunks: Iterable[tuple[bytes, bytes]] = (),
) -> bytes:
    """A PNG file of uint16 [h, w, 3 | 4]; `chunks` are a type and data each."""
    encoded = _tensorflow().io.encode_png(pixels).numpy()
    own = [_chunk(kind, data) for kind, data in chunks]
    if dpi is not None:
        metre = round(dpi / INCH)
        own.append(_chunk(b"pHYs", struct.pack(">2LB", metre, metre, 1)))
    return b"".join([encoded[:_HEADER], *own, encoded[_HEADER:]])


def tiff(
    pixels: np.ndarray,
    dpi: float | None = None,
    tags: Mapping[int, bytes] | None = None,
) -> bytes:
    """A TIFF file of uint16 [h, w, 3 | 4]; `tags` are more, of bytes."""
    height, width, channels = pixels.shape
    rows = max(1, BAND // pixels[0].nbytes)
    strips = []
    for top in range(0, height, rows):
        band = pixels[top : top + rows].astype("<u2")
        band[:, 1:] -= band[:, :-1].copy()
        strips.append(zlib.compress(band.tobytes()))
    directory = TiffImagePlugin.ImageFileDirectory_v2()
    sizes = [len(strip) for strip in strips]
    values: dict[int, Any] = {
        256: width,
        257: height,
        258: (16,) * channels,
        259: 8,  # deflate
        262: 2,  # RGB
        273: tuple(sum(sizes[:k]) for k in range(len(sizes))),
        277: channels,
        278: rows,
        279: tuple(sizes),
        317: 2,  # differences along a row
    }
    if dpi is not None:
        values |= {282: dpi, 283: dpi, 296: 2}  # an inch
    if channels == 4:
        values[338] = 2  # alpha, colours not multiplied by it
    for tag, value in {**values, **(tags or {})}.items():
        if isinstance(value, bytes):
            directory.tagtype[tag] = 7  # bytes
        directory[tag] = value
    file = io.BytesIO()
    directory.save(file)
    return b"".join([file.getvalue(), *strips])


def read(image: Image.Image, file: Any) -> np.ndarray | None:
    """The pixels of a file that Pillow has opened.

    Args:
      image: that Pillow made of it.
      file: its `fp`, which loading may have closed meanwhile.

    Returns:
      uint16 [h, w, 2 to 4], as they lie in the file. None of what has not 16
      bits, or is grey without alpha, which Pillow reads; or has its channels
      in planes, is CMYK, or is broken: Pillow says how.
    """
    reader = {"PNG": _read_png, "TIFF": _read_tiff}.get(image.format or "")
    if file is None or reader is None:
        return None
    with contextlib.ExitStack() as stack:
        if file.closed:
            file = stack.enter_context(open(file.name, "rb"))
        stack.callback(file.seek, file.tell())
        try:
            return reader(image, file)
        except (KeyError, OSError, ValueError, struct.error):
            return None


@contextlib.contextmanager
def unlimited() -> Iterator[None]:
    """None of Pillow's own limits on pixels, which warns at half of it."""
    with _lock:
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = limit


def _tensorflow() -> Any:
    importlib.import_module("nst_tf.backend")  # before TensorFlow
    return importlib.import_module("tensorflow")


def _chunk(kind: bytes, data: bytes) -> bytes:
    checked = struct.pack(">L", zlib.crc32(kind + data))
    return struct.pack(">L", len(data)) + kind + data + checked


def _read_png(image: Any, file) -> np.ndarray | None:
    file.seek(24)
    bits, colour = file.read(2)
    if bits != 16 or colour == 0:
        return None
    file.seek(0)
    tensorflow = _tensorflow()
    several = 4 if colour != 2 or "transparency" in image.info else 3
    try:
        pixels = tensorflow.io.decode_png(file.read(), several, "uint16")
    except tensorflow.errors.InvalidArgumentError:
        return None
    return pixels.numpy()


def _read_tiff(image: Any, file) -> np.ndarray | None:
    tags = image.tag_v2
    channels, extra = tags.get(277, 1), tags.get(338, ())
    if (
        tags.get(258) != (16,) * channels
        or (channels, *extra) not in ((3,), (4,), (4, 0), (4, 1), (4, 2))
        or (tags.get(262), tags.get(284, 1)) != (2, 1)
        or set(tags.get(339, (1,))) != {1}
    ):
        return None
    file.seek(0)
    width, height = tags[256], tags[257]
    wide = tags.get(322, width)  # a tile, if there are any
    changes = {258: 16, 262: 1, 274: 1, 277: 1, 317: 1}
    changes |= {256: width * channels, 322: wide * channels}
    with unlimited():
        data = io.BytesIO(_changed(file.read(), tags.prefix, changes))
        grey = TiffImagePlugin.TiffImageFile(data)
        grey.load()
    pixels = np.array(grey, "uint16").reshape(height, width, channels)
    if tags.get(317, 1) == 2:
        for left in range(0, width, wide):
            part = pixels[:, left : left + wide]
            np.add.accumulate(part, 1, np.uint16, part)
    if extra == (1,):  # multiplied by alpha
        share = np.maximum(pixels[..., 3:], 1) / np.float32(65535)
        pixels[..., :3] = np.minimum(np.rint(pixels[..., :3] / share), 65535)
    return pixels[..., :3] if extra == (0,) else pixels


def _changed(data: bytes, order: bytes, values: Mapping[int, int]) -> bytes:
    """A TIFF whose first directory has other numbers, and no extra samples."""
    sign, changed = "<" if order == b"II" else ">", bytearray(data)
    (place,) = struct.unpack_from(f"{sign}L", data, 4)
    (count,) = struct.unpack_from(f"{sign}H", data, place)
    for entry in range(place + 2, place + 2 + 12 * count, 12):
        (tag,) = struct.unpack_from(f"{sign}H", data, entry)
        if tag == 338:  # an empty text in its place
            struct.pack_into(f"{sign}HHLL", changed, entry, 337, 2, 1, 0)
        elif tag in (256, 322):  # of 32 bits
            own = tag, 4, 1, values[tag]
            struct.pack_into(f"{sign}HHLL", changed, entry, *own)
        elif tag in values:
            own = tag, 3, 1, values[tag]
            struct.pack_into(f"{sign}HHLH", changed, entry, *own)
    return bytes(changed)
