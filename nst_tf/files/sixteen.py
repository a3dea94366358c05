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
# A TIFF's tags: where strips and tiles lie, with what it takes to read them;
# and what is in them.
_PARTS = {273, 279, 324, 325}
_LAYOUT = {256, 257, 259, 266, 278, 317, 322, 323} | _PARTS
_MEANING = {256, 257, 258, 262, 274, 277, 338, 339}
_lock = threading.Lock()


def png(
    pixels: np.ndarray,
    dpi: float | None = None,
    chunks: Iterable[tuple[bytes, bytes]] = (),
) -> bytes:
    """A PNG file of uint16 [h, w, 3 | 4]; `chunks` are a type and data each."""
    encoded = tensorflow().io.encode_png(pixels).numpy()
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
      bits, or is grey without alpha, which Pillow reads; or is CMYK, in planes
      or broken: Pillow says how.
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


def interleaved(image: Any) -> Image.Image:
    """A TIFF of 16 bits in planes, pixel by pixel; any other as it is.

    Pillow misreads it where it is not compressed.
    """
    tags = getattr(image, "tag_v2", {})
    if tags.get(284) != 2 or set(tags.get(258, ())) != {16} or not image.fp:
        return image
    planes = []
    for k in range(tags[277]):
        part = {}
        for tag in _PARTS & set(tags):
            count = len(tags[tag]) // tags[277]
            part[tag] = tags[tag][k * count : (k + 1) * count]
        planes.append(_grey(image.fp, tags, part))
    body = np.stack(planes, 2).astype("<u2").tobytes()
    kept = {tag: tags[tag] for tag in _MEANING & set(tags)}
    whole = {259: 1, 273: 8, 278: tags[257], 279: len(body)}
    found = _opened("<", bytes(8) + body, {**kept, **whole})
    found.info.update(image.info)
    return found


@contextlib.contextmanager
def unlimited() -> Iterator[None]:
    """None of Pillow's own limits on pixels, which warns at half of it."""
    with _lock:
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = limit


def in_colour(file: Any) -> bool:
    """Whether a PNG has 16 bits a channel, and more than a grey one's."""
    file.seek(24)
    bits, colour = file.read(2)
    return bits == 16 and colour != 0


def tensorflow() -> Any:
    """TensorFlow, loaded when it is first asked for."""
    importlib.import_module("nst_tf.backend")  # before TensorFlow
    return importlib.import_module("tensorflow")


def _chunk(kind: bytes, data: bytes) -> bytes:
    checked = struct.pack(">L", zlib.crc32(kind + data))
    return struct.pack(">L", len(data)) + kind + data + checked


def _read_png(image: Any, file) -> np.ndarray | None:
    if not in_colour(file):
        return None
    file.seek(0)
    library = tensorflow()
    several = 4 if image.has_transparency_data else 3
    try:
        pixels = library.io.decode_png(file.read(), several, "uint16")
    except library.errors.InvalidArgumentError:
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
    width, height = tags[256], tags[257]
    wide = tags.get(322, width)  # a tile, if there are any
    changes = {256: width * channels, 317: 1}
    if 322 in tags:
        changes[322] = wide * channels
    pixels = _grey(file, tags, changes).reshape(height, width, channels)
    if tags.get(317, 1) == 2:
        for left in range(0, width, wide):
            part = pixels[:, left : left + wide]
            np.add.accumulate(part, 1, np.uint16, part)
    if extra == (1,):  # multiplied by alpha
        share = np.maximum(pixels[..., 3:], 1) / np.float32(65535)
        pixels[..., :3] = np.minimum(np.rint(pixels[..., :3] / share), 65535)
    return pixels[..., :3] if extra == (0,) else pixels


def _grey(file, tags: Any, changes: Mapping) -> np.ndarray:
    """uint16 [h, w] of a TIFF, as if it were a grey one with other tags."""
    kept = {tag: tags[tag] for tag in _LAYOUT & set(tags)}
    own = {**kept, 258: 16, 262: 1, 277: 1, **changes}
    file.seek(0)
    order = "<" if tags.prefix == b"II" else ">"
    with unlimited():
        grey = _opened(order, file.read(), own)
        grey.load()
    return np.array(grey, "uint16")


def _opened(
    order: str, data: bytes, tags: Mapping[int, Any]
) -> TiffImagePlugin.TiffImageFile:
    """A TIFF's bytes, opened by a directory of other tags, at their end."""
    start = len(data) + 2 + 12 * len(tags) + 4
    rows = more = b""
    for tag, value in sorted(tags.items()):
        numbers = value if isinstance(value, tuple) else (value,)
        own = struct.pack(f"{order}{len(numbers)}L", *numbers)
        if len(numbers) > 1:
            place = struct.pack(f"{order}L", start + len(more))
            own, more = place, more + own
        rows += struct.pack(f"{order}HHL", tag, 4, len(numbers)) + own
    mark = b"II" if order == "<" else b"MM"
    head = struct.pack(f"{order}2sHL", mark, 42, len(data))
    count = struct.pack(f"{order}H", len(tags))
    whole = b"".join([head, data[8:], count, rows, bytes(4), more])
    return TiffImagePlugin.TiffImageFile(io.BytesIO(whole))
