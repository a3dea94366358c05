"""PNG and TIFF of 16 bits a channel, in colour: Pillow has them in 8 only.

Pixels are uint16 [h, w, 3 | 4]. Sources: PNG, third edition (W3C, 2025); TIFF,
revision 6.0 (Adobe, 1992), its deflate from Technical Note 2 of Photoshop.
"""

import io
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

BAND = 2**22  # bytes, about, that are packed at a time
INCH = 0.0254  # metres
_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_LEVEL = 6  # of deflate: as Pillow has it
# TIFF's types of values: number, how `struct` has them.
_SHORT, _LONG, _RATIONAL, _BYTES = (3, "H"), (4, "L"), (5, "LL"), (7, "s")


def png(
    pixels: np.ndarray,
    dpi: float | None = None,
    chunks: Iterable[tuple[bytes, bytes]] = (),
) -> bytes:
    """A PNG file; `chunks` are further ones, of a type and data each."""
    height, width, channels = pixels.shape
    colour = {3: 2, 4: 6}[channels]
    header = struct.pack(">2L5B", width, height, 16, colour, 0, 0, 0)
    file = io.BytesIO(_SIGNATURE)
    file.seek(0, io.SEEK_END)
    file.write(_chunk(b"IHDR", header))
    for kind, data in chunks:
        file.write(_chunk(kind, data))
    if dpi is not None:
        metre = round(dpi / INCH)
        file.write(_chunk(b"pHYs", struct.pack(">2LB", metre, metre, 1)))
    packer = zlib.compressobj(_LEVEL)
    above = np.zeros((1, width * channels * 2), np.uint8)
    for band in _bands(pixels):
        rows = np.ascontiguousarray(band, ">u2").view(np.uint8)
        rows = rows.reshape(len(band), -1)
        filtered = np.full((len(rows), rows.shape[1] + 1), 2, np.uint8)  # Up
        filtered[:, 1:] = rows - np.concatenate([above, rows[:-1]])
        file.write(_chunk(b"IDAT", packer.compress(filtered.tobytes())))
        above = rows[-1:]
    file.write(_chunk(b"IDAT", packer.flush()))
    file.write(_chunk(b"IEND", b""))
    return file.getvalue()


def tiff(
    pixels: np.ndarray,
    dpi: float | None = None,
    tags: Mapping[int, bytes] | None = None,
) -> bytes:
    """A TIFF file, deflated; `tags` are further ones, of bytes."""
    height, width, channels = pixels.shape
    file = io.BytesIO(b"II*\0\0\0\0\0")
    file.seek(0, io.SEEK_END)
    offsets, counts, rows = [], [], 1
    for band in _bands(pixels):
        rows = max(rows, len(band))
        steps = band.astype("<u2")
        steps[:, 1:] -= band[:, :-1]
        data = zlib.compress(steps.tobytes(), _LEVEL)
        offsets.append(file.tell())
        counts.append(file.write(data))
    values: dict[int, tuple[tuple[int, str], list]] = {
        256: (_LONG, [width]),
        257: (_LONG, [height]),
        258: (_SHORT, [16] * channels),
        259: (_SHORT, [8]),  # deflate
        262: (_SHORT, [2]),  # RGB
        273: (_LONG, offsets),
        277: (_SHORT, [channels]),
        278: (_LONG, [rows]),
        279: (_LONG, counts),
        317: (_SHORT, [2]),  # differences along a row
    }
    if dpi is not None:
        rational = [round(dpi * 1000), 1000]
        values |= {282: (_RATIONAL, rational), 283: (_RATIONAL, rational)}
        values |= {296: (_SHORT, [2])}  # an inch
    if channels == 4:
        values[338] = _SHORT, [2]  # alpha, colours not multiplied by it
    values |= {tag: (_BYTES, [data]) for tag, data in (tags or {}).items()}
    _write_tags(file, values)
    return file.getvalue()


def read(image: Any) -> np.ndarray | None:
    """The pixels of a file that Pillow has opened and not yet loaded.

    None of what is not of this kind, or of a kind that only others write.
    """
    file = getattr(image, "fp", None)
    reader = {"PNG": _read_png, "TIFF": _read_tiff}.get(image.format or "")
    if file is None or reader is None:
        return None
    place = file.tell()
    try:
        return reader(image, file)
    except (KeyError, ValueError, zlib.error, struct.error):
        return None  # Pillow says what is wrong with it
    finally:
        file.seek(place)


def _bands(pixels: np.ndarray) -> Iterator[np.ndarray]:
    """The rows, some at a time."""
    rows = max(1, BAND // pixels[0].nbytes)
    for top in range(0, len(pixels), rows):
        yield pixels[top : top + rows]


def _chunk(kind: bytes, data: bytes) -> bytes:
    checked = struct.pack(">L", zlib.crc32(kind + data))
    return struct.pack(">L", len(data)) + kind + data + checked


def _write_tags(file: io.BytesIO, values: Mapping) -> None:
    """The directory, at the end, and its place at the beginning."""
    entries = []
    for tag, ((kind, code), given) in sorted(values.items()):
        if code == "s":
            data, count = given[0], len(given[0])
        else:
            count = len(given) // len(code)
            data = struct.pack(f"<{count * code}", *given)
        if len(data) > 4:
            place = file.tell()
            file.write(data + b"\0" * (len(data) % 2))
            data = struct.pack("<L", place)
        entries.append(
            struct.pack("<HHL", tag, kind, count) + data.ljust(4, b"\0")
        )
    file.write(b"\0" * (file.tell() % 2))
    place = file.tell()
    file.write(struct.pack("<H", len(entries)) + b"".join(entries) + bytes(4))
    file.seek(4)
    file.write(struct.pack("<L", place))


def _read_png(image: Any, file) -> np.ndarray | None:
    file.seek(len(_SIGNATURE))
    channels, packed = 0, []
    while True:
        length, kind = struct.unpack(">L4s", file.read(8))
        data = file.read(length)
        file.read(4)
        if kind == b"IHDR":
            _, _, bits, colour, _, _, laced = struct.unpack(">2L5B", data)
            channels = {2: 3, 6: 4}.get(colour, 0)
            if bits != 16 or not channels or laced:
                return None
        elif kind in (b"tRNS", b"eXIf"):  # transparent, or turned
            return None
        elif kind == b"IDAT":
            packed.append(data)
        elif kind == b"IEND":
            break
    height, each = image.height, 2 * channels
    stride = image.width * each
    data = _unpacked(b"".join(packed), height * (stride + 1))
    rows = np.frombuffer(data, np.uint8).reshape(height, stride + 1)
    result = np.empty((height, stride), np.uint8)
    above = np.zeros(stride, np.uint8)
    for row, own in zip(rows, result, strict=True):
        if row[0] > 2:  # Average and Paeth go byte by byte
            return None
        own[:] = row[1:]
        if row[0] == 1:
            pixels = own.reshape(-1, each)
            np.add.accumulate(pixels, 0, np.uint8, pixels)
        elif row[0] == 2:
            own += above
        above = own
    pixels = result.view(">u2").astype(np.uint16)
    return pixels.reshape(height, image.width, channels)


def _read_tiff(image: Any, file) -> np.ndarray | None:
    tags = image.tag_v2
    channels, packing = tags.get(277, 1), tags.get(259, 1)
    unpack: Callable[[bytes, int], bytes] | None = {
        1: lambda data, length: data[:length],
        8: _unpacked,
        32946: _unpacked,
    }.get(packing)
    if (
        tags.get(258) != (16,) * channels
        or unpack is None
        or (channels, tags.get(338, ())) not in ((3, ()), (4, (2,)))
        or (tags.get(262), tags.get(284, 1), tags.get(274, 1)) != (2, 1, 1)
        or set(tags.get(339, (1,))) != {1}
        or tags.get(317, 1) not in (1, 2)
    ):
        return None
    height, width = image.height, image.width
    kind = ">u2" if tags.prefix == b"MM" else "<u2"
    rows, parts = tags.get(278, height), list[np.ndarray]()
    for place, count in zip(_all(tags[273]), _all(tags[279]), strict=True):
        file.seek(place)
        here = min(rows, height - rows * len(parts))
        data = unpack(file.read(count), here * width * channels * 2)
        parts.append(np.frombuffer(data, kind).reshape(here, width, channels))
    pixels = np.concatenate(parts).astype(np.uint16)
    if tags.get(317, 1) == 2:
        np.add.accumulate(pixels, 1, np.uint16, pixels)
    return pixels if len(pixels) == height else None


def _all(value: int | Sequence[int]) -> Sequence[int]:
    return (value,) if isinstance(value, int) else value


def _unpacked(data: bytes, length: int) -> bytes:
    return zlib.decompressobj().decompress(data, length)
