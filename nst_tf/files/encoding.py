"""Image arrays to the bytes of files, with recipes in them; none is written.

Pictures are uint8, or float in [0, 1], [h, w] or [h, w, 1 | 3], sRGB.
"""

import difflib
import html
import io
import math
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps
from PIL.PngImagePlugin import PngInfo

from nst_tf.files import images, sixteen

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".avif")
DEEP_SUFFIXES = (".png", ".tif", ".tiff")  # 16 bits a channel
ANIMATION_SUFFIXES = (".gif", ".webp", ".png")
# Pixels a side at most: of the format; of libjpeg, which stops a little before.
LARGEST = {".webp": 16383, ".jpg": 65500, ".jpeg": 65500, ".avif": 65535}

_QUALITY: dict[str, dict[str, Any]] = {
    "JPEG": {"quality": 95, "subsampling": "4:4:4"},
    "WEBP": {"quality": 95},
    "TIFF": {"compression": "tiff_lzw"},
    "AVIF": {"quality": 90, "subsampling": "4:4:4"},
}
_XMP = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/">'
    '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    '<rdf:Description rdf:about="" xmlns:nst_tf="urn:nst_tf">'
    f"{images.RECIPE}</rdf:Description></rdf:RDF></x:xmpmeta>"
)
_XMP_TAG, _ICC_TAG = 700, 34675  # of a TIFF
_JPEG_XMP_BYTES = 65_504  # a segment's 65,535, less its length and its name


def check_size(path: str | os.PathLike, size: images.Size) -> None:
    """ValueError where a file of that name cannot hold (h, w) pixels."""
    suffix = os.path.splitext(path)[1].lower()
    most = LARGEST.get(suffix, math.inf)
    if max(size) > most:
        raise ValueError(
            f"`output`: a {suffix} has at most {most} pixels a side; the "
            f"result has {size[1]} x {size[0]} (width x height). Give a .png "
            "or .tif, or a smaller --max_size."
        )


def check_suffix(
    path: str | os.PathLike,
    argument: str = "output",
    suffixes: Sequence[str] = SUFFIXES,
) -> str:
    """Return the suffix in lower case, '.png'; ValueError if unsuitable."""
    file = os.path.basename(path)
    stem, suffix = os.path.splitext(f"x{file}")  # so that '.png' has one too
    suffix, known = suffix.lower(), Image.registered_extensions()
    if suffix in suffixes and suffix in known:
        return suffix
    near = difflib.get_close_matches(suffix, suffixes, 1)
    hint = ""
    if suffix in suffixes:
        hint = " AVIF needs Pillow 11.3 or newer."
    elif near and suffix not in known:
        hint = f" Did you mean '{stem[1:]}{near[0]}'?"
    raise ValueError(
        f"`{argument}` should end in {', '.join(suffixes)}; "
        f"received {file!r}.{hint}"
    )


def check_depth(depth: int, suffix: str) -> int:
    """Return `depth`; ValueError if a file of that suffix cannot have it."""
    if depth not in (8, 16):
        raise ValueError(f"`depth` should be 8 or 16 bits; received {depth}.")
    if depth == 16 and suffix not in DEEP_SUFFIXES:
        raise ValueError(
            f"`depth` of 16 bits needs {' or '.join(DEEP_SUFFIXES)}; received "
            f"{suffix}. Choose one of these, or leave depth out."
        )
    return depth


def encode(
    image: np.ndarray,
    suffix: str,
    recipe: str | None = None,
    alpha: np.ndarray | None = None,
    dpi: float | None = None,
    depth: int = 8,
) -> bytes:
    """Return the bytes of an image file, tagged sRGB, with `recipe` in it.

    `image` is [h, w] or [h, w, 1 | 3], uint8 or float, as seen over white.
    With `alpha`, [h, w], the file over white shows `image` again, so that
    reading undoes writing; a JPEG, without alpha, holds just that view.
    `dpi`, pixels an inch, is said in a PNG, JPEG or TIFF, for printers; of
    `depth` 16, bits a channel, are PNG and TIFF, in colour.
    """
    suffix = check_suffix(suffix, "suffix")
    if check_depth(depth, suffix) == 16:
        return _save_deep(_deep(image, alpha), suffix, recipe, dpi)
    picture = _to_pillow(image)
    if alpha is not None:
        picture = _put_alpha(picture, alpha)
    if alpha is not None and suffix in (".jpg", ".jpeg"):
        white = Image.new("RGBA", picture.size, "white")
        picture = Image.alpha_composite(white, picture).convert("RGB")
    resolution = {} if dpi is None else {"dpi": (dpi, dpi)}
    return _save(picture, suffix, recipe, **resolution)


def encode_animation(
    frames: Sequence[np.ndarray],
    suffix: str,
    frames_per_second: float,
    recipe: str | None = None,
) -> bytes:
    """Return a GIF, WebP or APNG that loops, its last frame held for 2 s.

    Frames are as for `encode`, and brought to the size of the last one. A GIF
    counts in 1/100 s and goes no faster than 50 frames per second.
    """
    suffix = check_suffix(suffix, "suffix", ANIMATION_SUFFIXES)
    if not len(frames):
        raise ValueError("`frames` should hold a picture or more; received 0.")
    duration = _milliseconds(frames_per_second, suffix)
    size = _to_pillow(frames[-1]).size
    first, *others = (_frame(frame, size, suffix) for frame in frames)
    durations = [duration] * len(others) + [max(duration, 2000)]
    animation = {"save_all": True, "append_images": others, "loop": 0}
    return _save(first, suffix, recipe, duration=durations, **animation)


def contact_sheet(
    images: Sequence[np.ndarray],
    captions: Sequence[str],
    width: int = 1600,
    columns: int | None = None,
) -> np.ndarray:
    """Return uint8 [h, width, 3]: a grid of pictures, captions below them.

    Without `columns` there are about as many as rows, or one more.
    """
    if not len(images) or len(images) != len(captions):
        raise ValueError(
            "`captions` should be one for each picture; received "
            f"{len(captions)} for {len(images)}."
        )
    pictures = [_to_pillow(image) for image in images]
    rows = math.isqrt(len(pictures))
    columns = columns or math.ceil(len(pictures) / rows)
    rows = math.ceil(len(pictures) / columns)
    gap = max(4, width // 80)
    wide = (width - gap) // columns - gap
    high = round(wide * np.median([p.height / p.width for p in pictures]))
    points = max(10, min(width // 80, wide // 14))
    step = high + round(2.2 * points) + gap
    sheet = Image.new("RGB", (width, gap + rows * step), "#fafafa")
    for i, picture in enumerate(pictures):
        middle = gap + i % columns * (wide + gap) + wide // 2
        top = gap + i // columns * step
        picture = ImageOps.contain(
            picture, (wide, high), Image.Resampling.LANCZOS
        )
        left, above = middle - picture.width // 2, (high - picture.height) // 2
        sheet.paste(picture, (left, top + above))
        place = (middle, top + high + 0.7 * points)
        _write(sheet, captions[i], place, wide, points)
    return np.array(sheet)


def _write(
    sheet: Image.Image,
    text: str,
    place: tuple[float, float],
    wide: int,
    points: int,
) -> None:
    """Write a centered line, cut to `wide` pixels."""
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(points)
    text = " ".join(text.split())
    while len(text) > 1 and draw.textlength(text, font) > wide:
        text = text[:-2] + "…"
    draw.text(place, text, "#404040", font, anchor="ma")


def _to_pillow(image: np.ndarray) -> Image.Image:
    pixels = images.to_uint8(image)
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[..., 0]
    if not pixels.size or pixels.shape[2:] not in ((), (3,)) or pixels.ndim < 2:
        raise ValueError(
            "`image` should be [h, w] or [h, w, 1 | 3]; "
            f"received shape {list(pixels.shape)}."
        )
    return Image.fromarray(pixels).convert("RGB")


def _put_alpha(picture: Image.Image, alpha: np.ndarray) -> Image.Image:
    """Return RGBA, less the white that reading puts behind it."""
    opacity = images.to_uint8(alpha)
    if opacity.shape != picture.size[::-1]:
        raise ValueError(
            f"`alpha` should be {list(picture.size[::-1])}, as the image; "
            f"received shape {list(opacity.shape)}."
        )
    colours = _less_white(images.unit(picture), images.unit(opacity)[..., None])
    return Image.fromarray(np.dstack([images.to_uint8(colours), opacity]))


def _less_white(rgb: np.ndarray, share: np.ndarray) -> np.ndarray:
    return np.where(share > 0, 1 - (1 - rgb) / np.maximum(share, 1e-3), rgb)


def _deep(image: np.ndarray, alpha: np.ndarray | None) -> np.ndarray:
    """Return uint16 [h, w, 3 | 4]."""
    image = np.asarray(image)
    values = images.unit(image) if image.dtype == np.uint8 else image
    values = values.reshape(*values.shape[:2], -1)
    if values.shape[2] == 1:
        values = np.repeat(values, 3, 2)
    if alpha is None:
        return images.whole(values, np.uint16)
    opacity = images.whole(alpha, np.uint16)[..., None]
    colours = _less_white(values, images.unit(opacity, 65535))
    return np.concatenate([images.whole(colours, np.uint16), opacity], 2)


def _save_deep(
    pixels: np.ndarray, suffix: str, recipe: str | None, dpi: float | None
) -> bytes:
    if suffix == ".png":
        chunks = [(b"sRGB", b"\0")]
        if recipe is not None:
            text = b"nst_tf" + bytes(5) + recipe.encode()
            chunks.append((b"iTXt", text))
        return sixteen.png(pixels, dpi, chunks)
    tags = {_ICC_TAG: images.srgb_profile()}
    if recipe is not None:
        tags[_XMP_TAG] = _packet(recipe)
    return sixteen.tiff(pixels, dpi, tags)


def _frame(
    frame: np.ndarray, size: tuple[int, int], suffix: str
) -> Image.Image:
    picture = _to_pillow(frame)
    if picture.size != size:
        picture = picture.resize(size, Image.Resampling.LANCZOS)
    if suffix != ".gif":
        return picture
    # Its own palette and dithering: 47 dB after a slight blur in a trial on
    # 20 frames; 39 dB undithered, as Pillow does it, and 45 dB if shared.
    palette = picture.quantize(256, Image.Quantize.FASTOCTREE)
    return picture.quantize(palette=palette)


def _milliseconds(frames_per_second: float, suffix: str) -> int:
    if not 0 < frames_per_second <= 1000:
        raise ValueError(
            "`frames_per_second` should be above 0 and at most 1000; "
            f"received {frames_per_second}."
        )
    # Browsers take a GIF's 10 ms for carelessness and show it at 100.
    tick, least = (10, 20) if suffix == ".gif" else (1, 1)
    return max(least, tick * round(1000 / frames_per_second / tick))


def _save(
    picture: Image.Image, suffix: str, recipe: str | None, **options: Any
) -> bytes:
    kind = Image.registered_extensions()[suffix]
    file = io.BytesIO()
    options |= _QUALITY.get(kind, {}) | _metadata(kind, recipe)
    picture.save(file, kind, **options)
    return file.getvalue()


def _packet(recipe: str) -> bytes:
    return _XMP.format(html.escape(recipe, quote=False)).encode()


def _metadata(kind: str, recipe: str | None) -> dict[str, Any]:
    """Return the options that tag a file sRGB and put the recipe into it."""
    if kind == "PNG":
        chunks = PngInfo()
        chunks.add(b"sRGB", b"\0")
        if recipe is not None:
            chunks.add_itxt("nst_tf", recipe)
        return {"pnginfo": chunks}
    options: dict[str, Any] = {"icc_profile": images.srgb_profile()}
    if recipe is None:
        return options
    packet = _packet(recipe)
    if kind == "JPEG" and len(packet) > _JPEG_XMP_BYTES:
        raise ValueError(
            f"`recipe` should fit into the {_JPEG_XMP_BYTES} bytes that a JPEG "
            f"has for it; it takes {len(packet)}. Shorten it or write a PNG."
        )
    if kind == "TIFF":
        return options | {"tiffinfo": {_XMP_TAG: packet}}
    return options | {"comment" if kind == "GIF" else "xmp": packet}
