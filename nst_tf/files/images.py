"""Files and bytes to image arrays; `encoding` has the way back.

Inside, a picture is float32 [h, w, 3], sRGB in [0, 1]. At the door it may be
rotated, transparent, 16 bits deep, CMYK or in another colour space.
"""

import contextlib
import difflib
import functools
import html
import io
import os
import re
import stat
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageCms

from nst_tf.files import profiles, sixteen, webp

File = str | os.PathLike | bytes  # a path, or all that is in it
Source = File | Image.Image | np.ndarray
Size = tuple[int, int]  # height, width

MAXIMUM_MEGAPIXELS = 200
SPARE = 3  # of what is wanted smaller, so many times as much is decoded
PART = 2**20  # numbers made whole at a time: a poster has 150 millions

_READABLE = ("JPEG", "MPO", "PNG", "WEBP", "TIFF", "AVIF", "BMP", "GIF")
_GIVE = "Give a JPEG, PNG, WebP, TIFF, AVIF, HEIC, BMP or GIF file."
# What a HEIC says it is, in its first box; phones write the first two.
_HEIF = (b"heic", b"mif1", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"msf1")
_TURNS = {  # by EXIF orientation
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_ASIDE = [_TURNS[orientation] for orientation in (5, 6, 7, 8)]
RECIPE = "<nst_tf:recipe>{}</nst_tf:recipe>"
_LANCZOS = Image.Resampling.LANCZOS


class Picture(NamedTuple):
    """A picture that has been read: float32 arrays in [0, 1] and a remark."""

    rgb: np.ndarray  # [h, w, 3], sRGB, as seen over white
    alpha: np.ndarray | None  # [h, w]; None where all of it is opaque
    note: str  # 'first of 12 frames used', or ''
    size: Size  # of the file; `rgb` is smaller where less was wanted


def read(
    source: Source,
    name: str = "image",
    wanted: Callable[[Size], Size] | None = None,
) -> Picture:
    """Read a file, the bytes of one, a Pillow image or an array.

    An array is [h, w] or [h, w, 1 | 3 | 4], uint8 or float in [0, 1]. What is
    no picture is a ValueError, whose one line blames the argument `name`.

    `wanted` tells of a picture's size that at which it will be used. What is
    much larger is shrunk as it is decoded, to `SPARE` times that.
    """
    wanted = wanted or (lambda size: size)
    source = unpiped(source)
    if isinstance(source, np.ndarray):
        return _from_array(source, name)
    if isinstance(source, Image.Image):
        return _from_pillow(source, source, name, wanted)
    with _open(source, name) as image:
        return _from_pillow(image, source, name, wanted)


def unpiped(source: Any) -> Any:
    """Return all that is in a pipe, which is read once; else `source`."""
    if is_pipe(source):
        with open(source, "rb") as pipe:
            return pipe.read()
    return source


def is_pipe(source: Any) -> bool:
    """Return whether a path is that of a pipe, as `/dev/stdin` may be."""
    if isinstance(source, str | os.PathLike):
        with contextlib.suppress(OSError, ValueError):  # said when it is opened
            return stat.S_ISFIFO(os.stat(source).st_mode)
    return False


def is_picture(path: str | os.PathLike) -> bool:
    """Return whether the suffix is that of a picture that `read` reads."""
    Image.init()
    kind = Image.registered_extensions().get(os.path.splitext(path)[1].lower())
    return kind in _READABLE


def size(source: File, name: str = "image") -> Size:
    """Return (h, w) as the file's header has it; no pixel is decoded."""
    with _open(source, name) as image:
        return image.height, image.width


def by_tensorflow(
    source: File, name: str, wanted: Callable[[Size], Size]
) -> bool:
    """Return whether TensorFlow may have to decode it, by its header."""
    image: Any
    with _open(source, name) as image:
        if image.format == "PNG" and sixteen.in_colour(image.fp):
            most = SPARE * max(wanted((image.height, image.width)))
            return min(image.size) // most <= 1  # or Pillow shrinks it
        return image.format == "WEBP"


def fit(size: Size, max_size: int, enlarge: bool = False) -> Size:
    """Return (h, w) with its long side at `max_size` and the aspect kept.

    0 keeps the size; so does a smaller picture unless told to `enlarge`.
    """
    if max_size < 0:
        raise ValueError(f"`max_size` should be 0 or more; received {max_size}")
    long = max(size)
    if max_size == 0 or (long <= max_size and not enlarge):
        return size
    # In integers halves always round up; in floats it would be luck.
    height, width = ((2 * n * max_size + long) // (2 * long) for n in size)
    return max(1, height), max(1, width)


def resize(image: np.ndarray, size: Size) -> np.ndarray:
    """Return [h, w] or [h, w, c] in size (h, w): float32, antialiased."""
    planes = np.asarray(image, np.float32).reshape(*image.shape[:2], -1)
    result = np.empty((*size, planes.shape[2]), np.float32)
    for i in range(planes.shape[2]):
        plane = Image.fromarray(np.ascontiguousarray(planes[..., i]))
        plane = plane.resize(size[::-1], _LANCZOS)
        # Lanczos overshoots at hard edges.
        np.clip(np.asarray(plane), 0, 1, out=result[..., i])
    return result.reshape(*size, *image.shape[2:])


def resize_mask(mask: np.ndarray, size: Size) -> np.ndarray:
    """Return [h, w] in size (h, w), without overshoot: black stays black."""
    if mask.shape == size:
        return mask
    plane = Image.fromarray(np.ascontiguousarray(mask, np.float32))
    plane = plane.resize(size[::-1], Image.Resampling.BILINEAR)
    return np.clip(np.asarray(plane), 0, 1)


def to_uint8(image: np.ndarray) -> np.ndarray:
    """Clip and round floats in [0, 1] to uint8; leave uint8 as it is."""
    image = np.asarray(image)
    return image if image.dtype == np.uint8 else whole(image, np.uint8)


def unit(image: Image.Image | np.ndarray, most: int = 255) -> np.ndarray:
    """Whole numbers from 0 to `most` as float32 in [0, 1]."""
    return np.divide(np.asarray(image), most, dtype=np.float32)


def whole(image: np.ndarray, kind: type) -> np.ndarray:
    """Floats in [0, 1] as whole numbers from 0 to the type's largest."""
    values, most = image.reshape(-1), np.iinfo(kind).max
    found: np.ndarray = np.empty(values.shape, kind)
    for begin in range(0, values.size, PART):
        part = slice(begin, begin + PART)
        found[part] = np.rint(np.clip(values[part], 0, 1) * most)
    return found.reshape(image.shape)


def recipe(source: File) -> str | None:
    """Return the recipe in a file's own metadata, None if there is none."""
    with _open(source, "source") as image:
        information = image.info
    if isinstance(text := information.get("nst_tf"), str):
        return str(text)
    for key in ("xmp", "comment"):
        if isinstance(value := information.get(key), bytes):
            found = re.search(RECIPE.format("(.*?)").encode(), value, re.S)
            if found:
                return html.unescape(found[1].decode("utf-8", "replace"))
    return None


def _wrong(name: str, problem: str, mend: str = _GIVE) -> ValueError:
    return ValueError(f"`{name}` should be a picture; {problem}. {mend}")


def _label(source: Source) -> str:
    if isinstance(source, bytes):
        return f"the file received ({len(source)} bytes)"
    if isinstance(source, str | os.PathLike):
        return repr(os.fsdecode(source))
    return f"the {type(source).__name__} received"


@contextlib.contextmanager
def _explained(source: Source, name: str) -> Iterator[None]:
    """Turn the many things that bad files raise into one line."""
    label, mend = _label(source), _GIVE
    try:
        yield
        return
    except MemoryError:
        raise
    except FileNotFoundError:
        problem, mend = f"there is no file {label}", _nearest(source)
    except Image.UnidentifiedImageError:
        problem = f"{label} is not one that Pillow can read"
    except Exception as error:
        reason = getattr(error, "strerror", None) or str(error)
        problem = f"{label} cannot be read ({' '.join(reason.split())})"
    raise _wrong(name, problem, mend)


def _nearest(path: Any) -> str:
    folder, file = os.path.split(os.fsdecode(path))
    with contextlib.suppress(OSError):
        others = set(os.listdir(folder or ".")) - {file}  # a link to nowhere
        near = difflib.get_close_matches(file, others, 1)
        return f"Did you mean {near[0]!r}?" if near else _GIVE
    return _GIVE


def _open(source: File, name: str) -> Image.Image:
    """Open a file, its pixels not yet decoded."""
    if not isinstance(source, File):
        raise _wrong(name, f"{_label(source)} is not one")
    file: Any = source
    if isinstance(source, bytes):
        file, empty = io.BytesIO(source), not source
    else:
        empty = os.path.isfile(source) and not os.path.getsize(source)
    if empty:
        raise _wrong(name, f"{_label(source)} is empty")
    with sixteen.unlimited(), _explained(source, name):
        Image.init()
        formats = [kind for kind in _READABLE if kind in Image.OPEN]
        try:
            return Image.open(file, formats=formats)
        except Image.UnidentifiedImageError:
            if not _is_heif(source):
                raise
    return _open_heif(source, name)


def _is_heif(source: File) -> bool:
    """By content: a HEIC may be called .png."""
    if isinstance(source, bytes):
        head = source[:12]
    else:
        with open(source, "rb") as file:
            head = file.read(12)
    return head[4:8] == b"ftyp" and head[8:] in _HEIF


def _open_heif(source: File, name: str) -> Image.Image:
    """Open a HEIC, upright and without EXIF orientation.

    The class is used as it is: registered with Pillow, it would change what
    everybody's `Image.open` takes.
    """
    try:
        from pillow_heif import HeifImageFile
    except ImportError:
        problem = f"{_label(source)} is a HEIC, which needs pillow-heif"
        raise _wrong(
            name, problem, "Install it: pip install pillow-heif."
        ) from None
    with _explained(source, name):
        file = io.BytesIO(source) if isinstance(source, bytes) else source
        return HeifImageFile(file)


def _from_pillow(
    image: Image.Image,
    source: File | Image.Image,
    name: str,
    wanted: Callable[[Size], Size],
) -> Picture:
    width, height = image.size
    problem = f"{_label(source)} has {width} x {height} pixels"
    if not width * height:
        raise _wrong(name, problem)
    if width * height > MAXIMUM_MEGAPIXELS * 1_000_000:
        limit = f"The limit is {MAXIMUM_MEGAPIXELS} megapixels: shrink it."
        raise _wrong(name, problem, limit)
    with _explained(source, name):
        frames = getattr(image, "n_frames", 1)
        which = "main" if image.format == "HEIF" else "first"
        notes = [f"{which} of {frames} frames used"] if frames > 1 else []
        image = sixteen.interleaved(image)
        file = getattr(image, "fp", None)
        if image.format == "PNG":
            _load_png(image)  # as `_turn` would
        turn = eight = _turn(image, notes)
        if turn is not None and image.format == "TIFF":
            image.load()  # and is turned
            (width, height), eight = image.size, None
        aside = eight in _ASIDE
        size = (width, height) if aside else (height, width)
        high, wide = (SPARE * side for side in wanted(size))
        most = (high, wide) if aside else (wide, high)
        smaller = min(width // most[0], height // most[1]) > 1
        deep = None if smaller else _read_deep(image, file)
        if deep is not None:
            return _from_deep(_turned(deep, turn), "; ".join(notes), size)
        box = None
        if smaller and not isinstance(source, Image.Image):
            if found := webp.draft(image, source, most):
                image, box = found
            elif drafted := image.draft(None, most):  # a JPEG's own way
                box = drafted[1]
        image.load()
        profile = image.info.get("icc_profile")
        if smaller:
            image = _reduced(image, most, box)
        if eight is not None:
            image = image.transpose(eight)
        if image.mode != "F":
            colours, alpha = _split(image)
            rgb = unit(_to_srgb(colours, profile, notes))
            return _over_white(rgb, alpha, "; ".join(notes), size)
    mend = (
        "Floats should be 0 to 1: divide them by what is white, 255 say, or "
        "save the picture with 8 or 16 bits."
    )
    return _from_array(np.asarray(image), name, mend)._replace(size=size)


def _from_array(
    array: np.ndarray,
    name: str,
    wanted: str = "Give [h, w] or [h, w, 1 | 3 | 4], uint8 or float in [0, 1].",
) -> Picture:
    channels = array.shape[2] if array.ndim == 3 else 1
    if array.ndim not in (2, 3) or channels not in (1, 3, 4) or not array.size:
        raise _wrong(name, f"received shape {list(array.shape)}", wanted)
    if array.dtype == np.uint8:
        values = unit(array)
    elif np.issubdtype(array.dtype, np.floating):
        values = array.astype(np.float32)
    else:
        raise _wrong(name, f"received {array.dtype}", wanted)
    low, high = values.min(), values.max()
    if not 0 <= low <= high <= 1:  # nor is it with NaN
        raise _wrong(name, f"received values {low:g} to {high:g}", wanted)
    values = values.reshape(*array.shape[:2], channels)
    alpha = values[..., 3].copy() if channels == 4 else None
    rgb = np.repeat(values, 3, 2) if channels == 1 else values[..., :3]
    return _over_white(np.ascontiguousarray(rgb), alpha, "", array.shape[:2])


def _read_deep(image: Image.Image, file: Any) -> np.ndarray | None:
    """uint16 [h, w, 1 to 4] in sRGB; None of what is to be had in 8 bits."""
    pixels = sixteen.read(image, file)
    if pixels is None and image.mode.startswith("I"):
        image.load()
        pixels = _grey(image)
    profile = image.info.get("icc_profile")
    if pixels is None or profile in (None, srgb_profile()):
        return pixels
    return profiles.converted(pixels, profile, srgb_profile())


def _from_deep(pixels: np.ndarray, note: str, size: Size) -> Picture:
    values, channels = unit(pixels, 65535), pixels.shape[2]
    alpha = values[..., -1].copy() if channels in (2, 4) else None
    rgb = values[..., :3] if channels > 2 else np.repeat(values[..., :1], 3, 2)
    return _over_white(np.ascontiguousarray(rgb), alpha, note, size)


def _turned(pixels: np.ndarray, turn: Image.Transpose | None) -> np.ndarray:
    if turn is None:
        return pixels
    planes = map(Image.fromarray, np.moveaxis(pixels, 2, 0).copy())
    return np.stack([np.asarray(one.transpose(turn)) for one in planes], 2)


def _over_white(
    rgb: np.ndarray, alpha: np.ndarray | None, note: str, size: Size
) -> Picture:
    """Composite in place, as a huge picture has no room for two copies."""
    if alpha is None or alpha.min() == 1:
        return Picture(rgb, None, note, size)
    # The network must see some colour there, and what a file hides under full
    # transparency is arbitrary. White is what a page would show.
    rgb -= 1
    rgb *= alpha[..., None]
    rgb += 1
    return Picture(rgb, alpha, note, size)


def _load_png(image: Any) -> None:
    """Decode its chunks, often of 8 kB, some hundreds at a time.

    Each time waits for Python's lock, which TensorFlow has while it loads.
    """
    one = image.load_read

    def several(size: int) -> bytes:
        parts = []
        try:
            while size > 0 and (part := one(size)):
                parts.append(part)
                size -= len(part)
        except Exception:  # the file ends here; what there is may be enough
            if not parts:
                raise
        return b"".join(parts)

    image.load_read, image.decodermaxblock = several, sixteen.BAND
    image.load()
    del image.load_read  # which knows the image: no circle may keep that


def _turn(image: Image.Image, notes: list[str]) -> Image.Transpose | None:
    # `exif_transpose` would also write the EXIF data anew, and so give up on
    # any other tag that is broken.
    try:
        orientation = image.getexif().get(0x0112, 1)
    except Exception:  # broken EXIF raises almost anything
        notes.append("broken EXIF ignored")
        return None
    return _TURNS.get(orientation)


def _reduced(
    image: Image.Image,
    size: tuple[int, int],
    box: tuple[float, float, float, float] | None,
) -> Image.Image:
    """In its own depth, of `size` (w, h); `box` is all of it, to the pixel."""
    if image.mode.startswith("I"):
        if "transparency" in image.info:  # a value, which means would blur
            return image
        image = image.convert("I")
    elif image.has_transparency_data:
        image = image.convert("RGBA")
    elif image.mode not in ("L", "RGB", "CMYK", "F"):
        image = image.convert("L" if image.mode == "1" else "RGB")
    # Alpha may be a mask, and Lanczos overshoots: what is black stays so.
    way = Image.Resampling.HAMMING if image.mode == "RGBA" else _LANCZOS
    small = image.resize(size, way, box, reducing_gap=2)
    if image.mode in ("I", "F"):  # which hold what is beyond white, too
        values = np.clip(np.asarray(small), *image.getextrema())
        small = Image.fromarray(values.astype(np.asarray(small).dtype))
    return small


def _split(image: Image.Image) -> tuple[Image.Image, np.ndarray | None]:
    """Return an 8-bit L, RGB or CMYK image and its alpha, float32 [h, w]."""
    if image.mode.startswith("I"):
        image = _eight_bit(image)
    grey = image.mode in ("1", "L", "LA")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        alpha = unit(image.getchannel("A"))
        return image.getchannel("R") if grey else image.convert("RGB"), alpha
    if image.mode not in ("L", "RGB", "CMYK"):
        image = image.convert("L" if grey else "RGB")
    return image, None


def _grey(image: Image.Image) -> np.ndarray:
    """uint16 [h, w, 1], or 2 with alpha; Pillow's `convert` would clip it."""
    values = np.asarray(image).astype(np.int32)
    if values.min() < 0 or values.max() > 65535:
        raise ValueError("its values do not fit into 16 bits")
    planes = [values]
    if (transparent := image.info.get("transparency")) is not None:
        planes.append(65535 * (values != transparent))
    return np.stack(planes, 2).astype(np.uint16)


def _eight_bit(image: Image.Image) -> Image.Image:
    values = (_grey(image).astype(np.int32) + 128) // 257
    return Image.fromarray(
        values.astype(np.uint8).squeeze(2)
        if values.shape[2] == 1
        else values.astype(np.uint8)
    )


def _to_srgb(
    image: Image.Image, profile: bytes | None, notes: list[str]
) -> Image.Image:
    if not profile:
        return image.convert("RGB")
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if image.mode == "L" and source.profile.xcolor_space == "RGB ":
            image = image.convert("RGB")
        target = ImageCms.createProfile("sRGB")
        transform = ImageCms.buildTransform(source, target, image.mode, "RGB")
        return transform.apply(image)  # perceptual is its default
    except (ImageCms.PyCMSError, OSError, ValueError):
        notes.append("unusable colour profile ignored")
        return image.convert("RGB")


@functools.cache
def srgb_profile() -> bytes:
    """The ICC profile that says sRGB, the same whenever it is made."""
    data = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    # Dated 2000-01-01, for equal pictures to make equal files.
    return data[:24] + bytes([7, 208, 0, 1, 0, 1]) + bytes(6) + data[36:]
