import functools
import io
import os
import pathlib
import re
import struct
import sys
import tracemalloc
import xml.etree.ElementTree
import zlib

import numpy as np
import pytest
from conftest import smooth as waves
from PIL import Image, ImageCms

from nst_tf.files import encoding, images, sixteen, webp

HAS_AVIF = ".avif" in Image.registered_extensions()
STILLS = [
    pytest.param(
        suffix,
        marks=pytest.mark.skipif(
            suffix == ".avif" and not HAS_AVIF, reason="Pillow without AVIF"
        ),
    )
    for suffix in encoding.SUFFIXES
]
LOSSLESS = (".png", ".tif", ".tiff")
TEXT = '{"beta": 1e4, "q": "<&>]]>\\"\'", "name": "Sternennacht – 星月夜 ä"}\n'


def smooth(height=24, width=32):
    """uint8 [h, w, 3], without symmetry, gentle enough for lossy formats."""
    y, x = np.mgrid[0:height, 0:width] / max(height, width)
    planes = [0.2 + 0.7 * x, 0.9 - 0.6 * y, 0.3 + 0.3 * x + 0.3 * y]
    return np.rint(np.stack(planes, axis=-1) * 255).astype(np.uint8)


def saved(image, kind, **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


FAITHFUL = {
    "JPEG": {"quality": 100, "subsampling": 0},
    "WEBP": {"lossless": True},
    "AVIF": {"quality": 100, "subsampling": "4:4:4"},
}


def opened(data):
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


def distance(a, b):
    """The largest difference in steps of 8 bits."""
    return np.abs(np.asarray(a, float) - np.asarray(b, float)).max() * 255


def png(size, bits, color_type, rows=b"", extra=b"", part=2**16):
    """A PNG written by hand: Pillow cannot write 16-bit colour."""

    def chunk(kind, data):
        body = kind + data
        return (
            struct.pack(">I", len(data))
            + body
            + struct.pack(">I", zlib.crc32(body))
        )

    header = struct.pack(">IIBBBBB", *size, bits, color_type, 0, 0, 0)
    data = zlib.compress(rows)
    parts = [data[k : k + part] for k in range(0, len(data), part)]
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + (chunk(b"tRNS", extra) if extra else b"")
        + b"".join(chunk(b"IDAT", part) for part in parts)
        + chunk(b"IEND", b"")
    )


def png16(values, extra=b""):
    """A PNG of uint16 [h, w, 1 | 2 | 3 | 4]."""
    height, width, channels = values.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    color_type = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    return png((width, height), 16, color_type, rows, extra)


def s15f16(*numbers):
    return b"".join(struct.pack(">i", round(n * 65536)) for n in numbers)


def icc(space, connection, tags, kind=b"mntr"):
    """A minimal ICC version 2 profile."""
    start = 128 + 4 + 12 * len(tags)
    table, data = struct.pack(">I", len(tags)), b""
    for tag, value in tags.items():
        value += bytes(-len(value) % 4)
        table += tag + struct.pack(">II", start + len(data), len(value))
        data += value
    header = struct.pack(">I", start + len(data)) + bytes(4)
    header += bytes([2, 64, 0, 0]) + kind + space + connection
    header += struct.pack(">6H", 2020, 1, 1, 0, 0, 0) + b"acsp" + bytes(28)
    header += s15f16(0.9642, 1, 0.8249)
    return header + bytes(128 - len(header)) + table + data


def xyz(*numbers):
    return b"XYZ " + bytes(4) + s15f16(*numbers)


def gamma(number):
    return b"curv" + bytes(4) + struct.pack(">IH", 1, round(number * 256))


# ProPhoto's primaries: far wider than sRGB's. Columns are R, G, B under D50.
WIDE = np.array(
    [
        [0.7976749, 0.1351917, 0.0313534],
        [0.2880402, 0.7118741, 0.0000857],
        [0.0, 0.0, 0.8252100],
    ]
)
# Lindbloom's, Bradford-adapted to D50.
XYZ_TO_SRGB = np.array(
    [
        [3.1338561, -1.6168667, -0.4906146],
        [-0.9787684, 1.9161415, 0.0334540],
        [0.0719453, -0.2289914, 1.4052427],
    ]
)


def srgb_curve(linear):
    linear = np.clip(linear, 0, 1)
    power = 1.055 * linear ** (1 / 2.4) - 0.055
    return np.where(linear <= 0.0031308, 12.92 * linear, power)


def wide_profile():
    columns = {b"rXYZ": WIDE[:, 0], b"gXYZ": WIDE[:, 1], b"bXYZ": WIDE[:, 2]}
    tags = {tag: xyz(*column) for tag, column in columns.items()}
    curves = dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), gamma(2))
    white = {b"wtpt": xyz(0.9642, 1, 0.8249)}
    return icc(b"RGB ", b"XYZ ", tags | curves | white)


def check_one_line(error, name="content"):
    text = str(error.value)
    assert text.startswith(f"`{name}` should be a picture; ")
    assert "\n" not in text
    return text


# ---------------------------------------------------------------- reading


@pytest.mark.parametrize(
    "kind", ["PNG", "TIFF", "BMP", "JPEG", "WEBP"] + ["AVIF"] * HAS_AVIF
)
def test_reads_each_format_from_path_bytes_and_image(kind, tmp_path):
    values = smooth()
    data = saved(Image.fromarray(values), kind, **FAITHFUL.get(kind, {}))
    path = tmp_path / f"a.{kind}"
    path.write_bytes(data)
    for source in (path, str(path), data, opened(data)):
        picture = images.read(source)
        assert picture.rgb.dtype == np.float32
        assert picture.rgb.shape == (24, 32, 3)
        assert picture.alpha is None and picture.note == ""
        tolerance = 4 if kind in ("JPEG", "AVIF") else 0.01
        assert distance(picture.rgb, values / 255) < tolerance


def test_reads_grey_bilevel_and_palette():
    grey = smooth()[..., 0]
    picture = images.read(saved(Image.fromarray(grey), "PNG"))
    np.testing.assert_allclose(
        picture.rgb, np.repeat(grey[..., None] / 255, 3, 2), atol=1e-6
    )
    black_or_white = Image.fromarray(grey).convert("1")
    picture = images.read(saved(black_or_white, "PNG"))
    np.testing.assert_array_equal(picture.rgb[..., 1], black_or_white)
    palette = Image.fromarray(smooth()).quantize(32)
    for kind in ("PNG", "GIF", "BMP", "TIFF"):
        picture = images.read(saved(palette, kind))
        expected = np.asarray(palette.convert("RGB")) / 255
        assert distance(picture.rgb, expected) < 0.01


def test_reads_a_transparent_palette():
    for transparency in (2, bytes([0, 128, 255, 64])):
        image = Image.new("P", (4, 2))
        image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255, 9, 9, 9])
        image.putdata([0, 1, 2, 3] * 2)
        data = saved(image, "PNG", transparency=transparency)
        table = [255, 255, 0, 255] if transparency == 2 else transparency
        alpha = np.array([list(table)] * 2) / 255
        colors = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [9] * 3])
        picture = images.read(data)
        np.testing.assert_allclose(picture.alpha, alpha, atol=1e-6)
        expected = alpha[..., None] * colors / 255 + 1 - alpha[..., None]
        np.testing.assert_allclose(picture.rgb, expected, atol=1e-6)


def test_reads_a_transparent_gif():
    image = Image.new("P", (20, 20), 1)
    image.putpalette([0, 0, 0, 200, 100, 50])
    image.paste(0, (0, 0, 10, 20))
    picture = images.read(saved(image, "GIF", transparency=0))
    assert picture.alpha[:, :10].max() == 0
    assert picture.alpha[:, 10:].min() == 1
    assert picture.rgb[:, :10].min() == 1
    assert distance(picture.rgb[5, 15], [200 / 255, 100 / 255, 50 / 255]) < 0.01


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_composites_alpha_over_white(mode, kind):
    image = Image.fromarray(smooth()).convert(mode)
    ramp = np.linspace(0, 255, 32).astype(np.uint8)
    image.putalpha(Image.fromarray(np.tile(ramp, (24, 1))))
    picture = images.read(saved(image, kind))
    alpha = np.tile(ramp / 255, (24, 1))
    rgb = np.asarray(image.convert(mode[:-1])) / 255
    rgb = rgb if rgb.ndim == 3 else np.repeat(rgb[..., None], 3, 2)
    assert picture.alpha.dtype == np.float32
    np.testing.assert_allclose(picture.alpha, alpha, atol=1e-6)
    expected = rgb * alpha[..., None] + 1 - alpha[..., None]
    np.testing.assert_allclose(picture.rgb, expected, atol=1e-6)


def test_opaque_alpha_is_no_alpha():
    image = Image.fromarray(smooth()).convert("RGBA")
    assert images.read(saved(image, "PNG")).alpha is None


def test_sixteen_bit_grey_is_scaled_and_not_clipped():
    values = np.linspace(0, 65535, 24 * 32).astype(np.uint16).reshape(24, 32)
    image = Image.frombytes("I;16", (32, 24), values.astype("<u2").tobytes())
    wide = Image.fromarray(values.astype(np.int32))
    for source in (
        png16(values[..., None]),
        saved(image, "TIFF"),
        image,
        wide,
    ):
        rgb = images.read(source).rgb
        assert distance(rgb, values[..., None] / 65535) <= 0.501


def test_sixteen_bit_grey_with_a_transparent_value():
    values = np.full((4, 4, 1), 40000, np.uint16)
    values[0] = 257
    picture = images.read(png16(values, struct.pack(">H", 257)))
    np.testing.assert_array_equal(picture.alpha[0], 0)
    np.testing.assert_array_equal(picture.alpha[1:], 1)
    assert distance(picture.rgb[1:], 40000 / 65535) <= 0.501


@pytest.mark.parametrize("channels", [2, 3, 4])
def test_sixteen_bit_colour_and_alpha(channels):
    values = np.random.default_rng(0).integers(
        0, 65536, (5, 6, channels), dtype=np.uint16
    )
    picture = images.read(png16(values))
    floats = values / 65535
    if channels == 3:
        assert distance(picture.rgb, floats) <= 1
    else:
        assert distance(picture.alpha, floats[..., -1]) <= 1
        seen = floats[..., :-1] * floats[..., -1:] + 1 - floats[..., -1:]
        assert distance(picture.rgb, seen) <= 2


def test_reads_float_images():
    values = np.linspace(0, 1, 24, dtype=np.float32).reshape(4, 6)
    picture = images.read(saved(Image.fromarray(values), "TIFF"))
    np.testing.assert_array_equal(picture.rgb[..., 2], values)
    with pytest.raises(ValueError, match="values 0 to 2") as error:
        images.read(Image.fromarray(2 * values), "content")
    check_one_line(error)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "WEBP"])
def test_honours_exif_orientation(orientation, kind):
    upright = smooth()
    # Where row 0 and column 0 of the file belong (EXIF 2.32, tag 0x0112).
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.swapaxes(0, 1),
        6: upright[:, ::-1].swapaxes(0, 1),
        7: upright[::-1, ::-1].swapaxes(0, 1),
        8: upright[::-1].swapaxes(0, 1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = Image.fromarray(np.ascontiguousarray(stored))
    data = saved(image, kind, exif=exif, **FAITHFUL.get(kind, {}))
    for source in (data, opened(data)):
        rgb = images.read(source).rgb
        assert rgb.shape == upright.shape
        assert distance(rgb, upright / 255) < 4


def test_broken_exif_is_ignored_with_a_note():
    data = saved(Image.fromarray(smooth()), "PNG", exif=b"Exif\0\0nonsense")
    picture = images.read(data)
    assert "EXIF" in picture.note
    assert distance(picture.rgb, smooth() / 255) < 0.01


def test_orientation_applies_to_alpha_too():
    image = Image.fromarray(smooth()).convert("RGBA")
    image.putalpha(Image.linear_gradient("L").resize((32, 24)))
    exif = Image.Exif()
    exif[0x0112] = 6
    picture = images.read(saved(image, "PNG", exif=exif))
    assert picture.rgb.shape == (32, 24, 3)
    alpha = np.asarray(image)[..., 3] / 255
    np.testing.assert_allclose(picture.alpha, np.rot90(alpha, -1), atol=1e-6)


# ---------------------------------------------------------------- colour


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "JPEG"])
def test_converts_a_wide_profile_to_srgb(kind):
    # Mild colours, all of them inside sRGB's triangle.
    values = (90 + 0.3 * smooth().astype(float)).astype(np.uint8)
    options = FAITHFUL.get(kind, {})
    data = saved(
        Image.fromarray(values), kind, icc_profile=wide_profile(), **options
    )
    linear = (values / 255) ** 2
    expected = srgb_curve(linear @ WIDE.T @ XYZ_TO_SRGB.T)
    assert distance(expected, values / 255) > 40
    picture = images.read(data)
    assert picture.note == ""
    assert distance(picture.rgb, expected) < (20 if kind == "JPEG" else 2)


def test_profile_leaves_alpha_alone():
    values = (90 + 0.3 * smooth().astype(float)).astype(np.uint8)
    image = Image.fromarray(values).convert("RGBA")
    image.putalpha(200)
    picture = images.read(saved(image, "PNG", icc_profile=wide_profile()))
    expected = srgb_curve((values / 255) ** 2 @ WIDE.T @ XYZ_TO_SRGB.T)
    share = 200 / 255
    np.testing.assert_allclose(picture.alpha, share, atol=1e-6)
    assert distance(picture.rgb, expected * share + 1 - share) < 2


@pytest.mark.parametrize("bits", [8, 16])
def test_converts_a_grey_profile(bits):
    tags = {b"wtpt": xyz(0.9642, 1, 0.8249), b"kTRC": gamma(1.5)}
    grey = np.tile(np.arange(256, dtype=np.uint8), (4, 1))
    image = Image.fromarray(grey)
    if bits == 16:
        wide = (grey.astype("<u2") * 257).tobytes()
        image = Image.frombytes("I;16", image.size, wide)
    data = saved(image, "TIFF", icc_profile=icc(b"GRAY", b"XYZ ", tags))
    rgb = images.read(data).rgb
    expected = srgb_curve((grey / 255) ** 1.5)[..., None]
    assert distance(expected, grey[..., None] / 255) > 20
    # Pillow's 8-bit tables are coarse in the deepest shadows.
    assert distance(rgb[:, 8:], expected[:, 8:]) < 2
    assert distance(rgb, expected) < 5


def test_converts_a_grey_profile_beside_alpha():
    image = Image.fromarray(smooth()[..., 0])
    opaque = image.copy()
    image.putalpha(128)
    tags = {b"wtpt": xyz(0.9642, 1, 0.8249), b"kTRC": gamma(1.5)}
    profile = icc(b"GRAY", b"XYZ ", tags)
    picture = images.read(saved(image, "PNG", icc_profile=profile))
    expected = images.read(saved(opaque, "PNG", icc_profile=profile)).rgb
    share = 128 / 255
    assert picture.note == ""
    assert distance(picture.rgb, expected * share + 1 - share) < 0.01


def test_converts_a_cmyk_profile():
    # A table of 2 x 2 x 2 x 2 inks to Lab, right on its corners by design.
    lab = np.random.default_rng(3).uniform(
        [35, -15, -15], [85, 15, 15], (16, 3)
    )
    lab[0], lab[1::2] = (100, 0, 0), 0  # white paper, and a black K
    table = np.rint(lab * [2.55, 1, 1] + [0, 128, 128]).astype(np.uint8)
    lab = (table - [0, 128.0, 128]) / [2.55, 1, 1]
    identity = bytes(range(256))
    lut = b"mft1" + bytes(4) + bytes([4, 3, 2, 0])
    lut += s15f16(1, 0, 0, 0, 1, 0, 0, 0, 1)
    lut += identity * 4 + table.tobytes() + identity * 3
    tags = {b"wtpt": xyz(0.9642, 1, 0.8249), b"A2B0": lut}
    profile = icc(b"CMYK", b"Lab ", tags, b"prtr")
    inks = np.array(list(np.ndindex(2, 2, 2, 2)), np.uint8)[None] * 255
    image = Image.frombytes("CMYK", (16, 1), inks.tobytes())
    rgb = images.read(saved(image, "TIFF", icc_profile=profile)).rgb

    y = (lab[:, 0] + 16) / 116
    f = np.stack([y + lab[:, 1] / 500, y, y - lab[:, 2] / 200], axis=-1)
    linear = np.where(f > 6 / 29, f**3, 3 * (6 / 29) ** 2 * (f - 4 / 29))
    expected = srgb_curve(linear * [0.9642, 1, 0.8249] @ XYZ_TO_SRGB.T)
    assert distance(rgb[0], expected) < 3


def test_reads_adobe_inverted_cmyk():
    white = Image.new("CMYK", (16, 16), (0, 0, 0, 0))
    white.paste((0, 255, 255, 0), (0, 0, 16, 8))
    jpeg = saved(white, "JPEG", quality=100)
    assert opened(jpeg).info["adobe"]  # so its inks are stored inverted
    for data in (jpeg, saved(white, "TIFF")):
        rgb = images.read(data).rgb
        assert distance(rgb[12:], 1) < 3
        assert distance(rgb[:4], [1, 0, 0]) < 3


def test_rgb_profile_in_a_grey_file_is_used():
    grey = smooth()[..., 0]
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    data = saved(Image.fromarray(grey), "JPEG", quality=100, icc_profile=srgb)
    picture = images.read(data)
    assert picture.note == ""
    assert distance(picture.rgb, grey[..., None] / 255) < 3


@pytest.mark.parametrize(
    "profile",
    [
        b"nonsense",
        wide_profile()[:200],
        icc(b"GRAY", b"XYZ ", {b"kTRC": gamma(1)}),  # not for RGB
        icc(b"RGB ", b"XYZ ", {}),
    ],
)
def test_broken_profile_is_ignored_with_a_note(profile):
    data = saved(Image.fromarray(smooth()), "PNG", icc_profile=profile)
    picture = images.read(data)
    assert "profile ignored" in picture.note
    assert distance(picture.rgb, smooth() / 255) < 0.01


# ---------------------------------------------------------------- animated


@pytest.mark.parametrize("suffix", encoding.ANIMATION_SUFFIXES)
def test_uses_the_first_frame_and_says_so(suffix):
    frames = [np.full((20, 20, 3), n / 12, np.float32) for n in range(12)]
    picture = images.read(encoding.encode_animation(frames, suffix, 10))
    assert picture.note == "first of 12 frames used"
    assert distance(picture.rgb, 0) < 3


# ---------------------------------------------------------------- arrays


@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 1), (5, 7, 3), (5, 7, 4)])
@pytest.mark.parametrize("dtype", [np.uint8, np.float16, np.float64])
def test_reads_arrays(shape, dtype):
    values = np.random.default_rng(0).integers(0, 256, shape)
    array = values.astype(np.uint8) if dtype == np.uint8 else values / 255
    array = array.astype(dtype)
    before = array.copy()
    picture = images.read(array)
    np.testing.assert_array_equal(array, before)
    assert picture.rgb.shape == (5, 7, 3)
    assert picture.rgb.dtype == np.float32
    assert picture.rgb.flags.c_contiguous
    expected = values.reshape(5, 7, -1) / 255
    if shape[2:] == (4,):
        share = expected[..., 3:]
        assert distance(picture.alpha, share[..., 0]) < 0.1
        expected = expected[..., :3] * share + 1 - share
    assert distance(picture.rgb, expected) < 0.2


def test_reading_an_array_shares_no_memory():
    array = np.random.default_rng(0).random((4, 4, 3)).astype(np.float32)
    assert not np.shares_memory(images.read(array).rgb, array)


@pytest.mark.parametrize(
    "array, message",
    [
        (np.zeros(5), r"shape \[5\]"),
        (np.zeros((1, 5, 5, 3)), r"shape \[1, 5, 5, 3\]"),
        (np.zeros((5, 5, 2)), r"shape \[5, 5, 2\]"),
        (np.zeros((0, 5, 3)), r"shape \[0, 5, 3\]"),
        (np.full((5, 5), np.nan), "nan"),
        (np.full((5, 5), np.inf), "inf"),
        (np.full((5, 5), 255.0), "255"),
        (np.full((5, 5), -0.1), "-0.1"),
        (np.zeros((5, 5), np.int64), "int64"),
        (np.zeros((5, 5), np.uint16), "uint16"),
        (np.zeros((5, 5), bool), "bool"),
        (np.zeros((5, 5), complex), "complex"),
    ],
)
def test_rejects_arrays(array, message):
    with pytest.raises(ValueError, match=message) as error:
        images.read(array, "style")
    assert "[h, w]" in check_one_line(error, "style")


# ---------------------------------------------------------------- bad input


def test_missing_file_suggests_the_nearest(tmp_path, monkeypatch):
    (tmp_path / "photo.jpg").write_bytes(b"x")
    with pytest.raises(ValueError, match="Did you mean 'photo.jpg'") as error:
        images.read(tmp_path / "phto.jpg", "content")
    check_one_line(error)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="Did you mean 'photo.jpg'"):
        images.read("photo.jpeg", "content")
    for path in ("zzz", tmp_path / "no" / "folder.png", "line\nbreak"):
        with pytest.raises(ValueError, match="there is no file") as error:
            images.read(path, "content")
        assert "Give a JPEG, PNG" in check_one_line(error)


def test_rejects_what_is_no_file(tmp_path):
    with pytest.raises(ValueError, match="irectory") as error:
        images.read(tmp_path, "content")
    assert repr(str(tmp_path)) in check_one_line(error)
    for source in ("nul\0byte", "x" * 5000, None, 7, [[0.5]], bytearray(5)):
        with pytest.raises(ValueError) as error:
            images.read(source, "content")
        check_one_line(error)


def test_rejects_empty_and_other_files(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("not a picture")
    for source in (path, b"not a picture"):
        with pytest.raises(ValueError, match="one that Pillow") as error:
            images.read(source, "content")
        text = check_one_line(error)
        assert text.endswith(
            "Give a JPEG, PNG, WebP, TIFF, AVIF, HEIC, BMP or GIF file."
        )
    assert "'a.txt'" not in text
    path.write_bytes(b"")
    for source in (path, b""):
        with pytest.raises(ValueError, match="is empty") as error:
            images.read(source, "content")
        check_one_line(error)
    with pytest.raises(ValueError, match="0 x 5 pixels") as error:
        images.read(Image.new("RGB", (0, 5)), "content")
    check_one_line(error)


def test_reads_only_formats_it_names():
    for kind in ("EPS", "PPM", "ICO", "TGA"):
        with pytest.raises(ValueError, match="one that Pillow can read"):
            images.read(saved(Image.fromarray(smooth()), kind))


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root reads all"
)
def test_rejects_an_unreadable_file(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(b"x")
    path.chmod(0)
    with pytest.raises(ValueError, match="Permission denied") as error:
        images.read(path, "content")
    check_one_line(error)


def test_what_tensorflow_decodes_is_known_by_its_header(monkeypatch):
    """And only that: the others are read without."""
    values = np.random.default_rng(0).integers(0, 65536, (64, 70, 3), np.uint16)
    grey, small = values[..., :1], Image.new("RGB", (64, 70))
    files = {
        "deep": (png16(values), 64, True),
        "deep, shrunk": (png16(values), 8, False),
        "deep, nearly": (png16(values), 12, True),
        "grey": (png16(grey), 64, False),
        "png": (saved(small, "PNG"), 64, False),
        "tiff": (sixteen.tiff(values), 64, False),
        "webp": (saved(small, "WEBP"), 64, True),
    }
    monkeypatch.setattr(sixteen, "tensorflow", None)
    for name, (data, most, expected) in files.items():
        wanted = functools.partial(images.fit, max_size=most)
        assert images.by_tensorflow(data, name, wanted) == expected, name
        if not expected:
            images.read(data, name, wanted)


@pytest.mark.parametrize("kind", [np.uint16, np.float32])
def test_a_large_grey_picture_may_be_black_and_white(kind):
    """Shrunk, its edges overshoot: no reason to refuse it."""
    most = 65535 if kind == np.uint16 else 1
    values = np.zeros((400, 400), kind)
    values[:, 155:] = most
    data = saved(Image.fromarray(values), "TIFF")
    found = images.read(data, wanted=lambda _: (40, 40)).rgb
    assert found.shape == (120, 120, 3)
    assert (found.min(), found.max()) == (0, 1)
    beyond = np.where(values, 2 * most, 0).astype("int32" if most > 1 else kind)
    data = saved(Image.fromarray(beyond), "TIFF")
    with pytest.raises(ValueError, match="16 bits|received values 0 to 2"):
        images.read(data, wanted=lambda _: (40, 40))


@pytest.mark.parametrize("part", [1, 7, 8192])
def test_reads_a_png_in_many_chunks(part):
    """Not half of one, wherever it ends; but one that lacks its end."""
    values = np.random.default_rng(0).integers(0, 256, (9, 8, 3), np.uint8)
    rows = b"".join(b"\0" + row.tobytes() for row in values)
    data = png((8, 9), 8, 2, rows, part=part)
    for whole in (data, data[:-12], data[:-12] + bytes(12)):
        found = images.read(whole).rgb
        np.testing.assert_array_equal(found, images.unit(values))
    for end in range(100, len(data) // 2, 5):
        with pytest.raises(ValueError, match="cannot be read") as error:
            images.read(data[:end], "content")
        check_one_line(error)


@pytest.mark.parametrize(
    "kind", ["PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF"] + ["AVIF"] * HAS_AVIF
)
def test_rejects_truncated_and_broken_files(kind, tmp_path):
    random = np.random.default_rng(0)
    noise = random.integers(0, 256, (40, 40, 3), dtype=np.uint8)
    data = saved(Image.fromarray(noise), kind)
    path = tmp_path / "half"
    path.write_bytes(data[: len(data) // 2])
    for source in (path, data[: len(data) // 2]):
        with pytest.raises(ValueError) as error:
            images.read(source, "content")
        check_one_line(error)
    for _ in range(60):
        broken = bytearray(data)
        for place in random.integers(0, min(len(data), 400), 4):
            broken[place] = random.integers(0, 256)
        try:
            images.read(bytes(broken), "content")
        except ValueError as error:
            assert str(error).startswith("`content` should be a picture; ")


def test_lack_of_memory_is_not_the_pictures_fault(monkeypatch):
    def load(image):
        raise MemoryError

    monkeypatch.setattr(Image.Image, "load", load)
    with pytest.raises(MemoryError):
        images.read(Image.new("RGB", (20, 20)))


def test_rejects_a_decompression_bomb():
    with pytest.raises(ValueError, match="20000 x 20000 pixels") as error:
        images.read(png((20_000, 20_000), 8, 2), "content")
    assert "200 megapixels" in check_one_line(error)


def test_large_pictures_need_no_change_of_pillows_limit(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    data = saved(Image.fromarray(smooth()), "PNG")
    assert images.read(data).rgb.shape == (24, 32, 3)
    assert Image.MAX_IMAGE_PIXELS == 100
    with pytest.raises(ValueError):
        images.read(b"nonsense")
    assert Image.MAX_IMAGE_PIXELS == 100


def test_reading_makes_one_float_copy():
    image = Image.new("RGBA", (1000, 1000), (10, 20, 30, 40))
    data = saved(image, "PNG")
    images.read(data)
    tracemalloc.start()
    picture = images.read(data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1.6 * (picture.rgb.nbytes + picture.alpha.nbytes)


# ---------------------------------------------------------------- sizes


def test_a_file_has_room_for_so_many_pixels():
    encoding.check_size("a.webp", (16383, 20))
    encoding.check_size("a.png", (100_000, 20))
    for name in ("a.webp", "a.WEBP", "a.jpg", "a.avif"):
        with pytest.raises(ValueError, match=r"at most \d+ pixels a side"):
            encoding.check_size(name, (20, 70_000))


def test_check_suffix():
    assert encoding.check_suffix("a/b.PNG") == ".png"
    assert encoding.check_suffix(".jpeg") == ".jpeg"
    assert encoding.check_suffix(pathlib.Path("x.y.tif")) == ".tif"
    animated = encoding.check_suffix(
        "a.gif", "out", encoding.ANIMATION_SUFFIXES
    )
    assert animated == ".gif"
    with pytest.raises(ValueError, match="Did you mean 'a.png'") as error:
        encoding.check_suffix("b/a.pgn")
    assert str(error.value).startswith("`output` should end in .png, .jpg")
    for path in ("a", "a.gif", "a.", "png", "", "a.png/"):
        with pytest.raises(ValueError, match="`o` should end in") as error:
            encoding.check_suffix(path, "o")
        assert "Did you mean" not in str(error.value)


def test_check_suffix_needs_a_pillow_that_writes_it(monkeypatch):
    known = dict(Image.registered_extensions())
    known.pop(".avif", None)
    monkeypatch.setattr(Image, "registered_extensions", lambda: known)
    with pytest.raises(ValueError, match="AVIF needs Pillow 11.3"):
        encoding.check_suffix("a.avif")


def test_fit():
    assert images.fit((300, 400), 0) == (300, 400)
    assert images.fit((300, 400), 200) == (150, 200)
    assert images.fit((300, 400), 800) == (300, 400)
    assert images.fit((300, 400), 800, enlarge=True) == (600, 800)
    assert images.fit((1, 10_000), 100) == (1, 100)
    assert images.fit((5, 10), 5) == (3, 5)  # halves up, 2.5
    assert images.fit((7, 14), 7) == (4, 7)  # and 3.5
    with pytest.raises(ValueError, match="`max_size`"):
        images.fit((3, 4), -1)


def test_fit_keeps_the_aspect():
    random = np.random.default_rng(0)
    for height, width, wanted in random.integers(1, 4000, (500, 3)).tolist():
        fitted = images.fit((height, width), wanted, enlarge=True)
        assert max(fitted) == wanted and min(fitted) >= 1
        scale = wanted / max(height, width)
        for side, original in zip(fitted, (height, width), strict=True):
            assert side == 1 or abs(side - original * scale) <= 0.5 + 1e-9
        assert images.fit((width, height), wanted, True) == fitted[::-1]
        assert images.fit(fitted, wanted) == fitted


@pytest.mark.parametrize("size", [(10, 7), (24, 32), (100, 90)])
@pytest.mark.parametrize("shape", [(24, 32), (24, 32, 1), (24, 32, 3)])
def test_resize_keeps_constants_means_and_bounds(shape, size):
    constant = images.resize(np.full(shape, 0.3, np.float32), size)
    assert constant.dtype == np.float32
    assert constant.shape == (*size, *shape[2:])
    np.testing.assert_allclose(constant, 0.3, atol=1e-5)
    ramp = smooth()[..., 0] / 255 if len(shape) == 2 else smooth() / 255
    ramp = ramp[..., : shape[2]] if len(shape) == 3 else ramp
    resized = images.resize(ramp, size)
    np.testing.assert_allclose(
        resized.mean((0, 1)), ramp.mean((0, 1)), atol=2e-3
    )
    hard = (np.random.default_rng(0).random(shape) > 0.5).astype(np.float32)
    resized = images.resize(hard, size)
    assert resized.min() >= 0 and resized.max() <= 1


def test_resize_is_antialiased_and_exact_at_its_own_size():
    board = np.indices((64, 64)).sum(0) % 2
    small = images.resize(board, (16, 16))
    np.testing.assert_allclose(small, 0.5, atol=0.02)
    image = np.random.default_rng(0).random((9, 8, 3)).astype(np.float32)
    np.testing.assert_array_equal(images.resize(image, (9, 8)), image)
    columns = images.resize(image[:, ::-1], (5, 4))[:, ::-1]
    np.testing.assert_allclose(columns, images.resize(image, (5, 4)), atol=1e-6)


def test_to_uint8():
    values = np.array([-1, 0, 0.4 / 255, 0.6 / 255, 0.5, 1, 7])
    np.testing.assert_array_equal(
        images.to_uint8(values), [0, 0, 0, 1, 128, 255, 255]
    )
    every = np.arange(256, dtype=np.uint8)
    assert images.to_uint8(every) is every
    np.testing.assert_array_equal(
        images.to_uint8((every / 255).astype(np.float32)), every
    )


# ---------------------------------------------------------------- HEIC


@pytest.fixture(scope="module")
def heif():
    """From an image or `(mode, size, bytes)` to the bytes of a HEIC."""
    package = pytest.importorskip("pillow_heif")
    if not package.libheif_info()["encoders"].get("x265"):
        pytest.skip("pillow-heif without an encoder")

    def encoded(source, **options):
        if isinstance(source, Image.Image):
            file = package.from_pillow(source)
        else:
            file = package.from_bytes(*source)
        data = io.BytesIO()
        file.save(data, quality=100, chroma=444, **options)
        return data.getvalue()

    return encoded


@pytest.mark.parametrize("suffix", [".heic", ".png", ".jpg"])
def test_a_heic_is_known_by_its_content(heif, tmp_path, suffix):
    data = heif(Image.fromarray(smooth()))
    known = dict(Image.OPEN), Image.registered_extensions()
    path = tmp_path / f"photo{suffix}"
    path.write_bytes(data)
    for source in (path, data):
        picture = images.read(source)
        assert picture.alpha is None and picture.note == ""
        assert distance(picture.rgb, smooth() / 255) < 4
    for brand in (b"heic", b"mif1"):  # what phones write
        picture = images.read(data[:8] + brand + data[12:])
        assert distance(picture.rgb, smooth() / 255) < 4
    assert known == (dict(Image.OPEN), Image.registered_extensions())
    with pytest.raises(ValueError, match="cannot be read") as error:
        images.read(data[: len(data) // 2], "content")
    check_one_line(error)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_heic_is_turned_once(heif, orientation):
    """It has EXIF's orientation, and a turn of its own that says the same."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = Image.fromarray(smooth())
    rgb = images.read(heif(image, exif=exif.tobytes())).rgb
    turn = images._TURNS.get(orientation)
    upright = image if turn is None else image.transpose(turn)
    assert distance(rgb, np.asarray(upright) / 255) < 4


def test_a_heic_of_ten_bits_with_transparency_and_a_profile(heif):
    deep = smooth(48, 64).astype("<u2") * 257
    picture = images.read(heif(("RGB;16", (64, 48), deep.tobytes())))
    assert distance(picture.rgb, deep / 65535) < 4
    image = Image.fromarray(smooth(48, 64))
    image.putalpha(Image.linear_gradient("L").resize((64, 48)))
    expected, seen = images.read(image), images.read(heif(image))
    assert distance(seen.alpha, expected.alpha) < 2
    assert distance(seen.rgb, expected.rgb) < 4
    data = saved(image.convert("RGB"), "PNG", icc_profile=wide_profile())
    seen, expected = images.read(heif(opened(data))), images.read(data)
    assert np.abs(seen.rgb - expected.rgb).mean() < 0.01
    assert np.abs(seen.rgb - smooth(48, 64) / 255).mean() > 0.05


def test_of_a_heic_of_several_the_main_picture_is_used(heif):
    package = pytest.importorskip("pillow_heif")
    file = package.from_pillow(Image.fromarray(smooth()[::-1]))
    file.add_from_pillow(Image.fromarray(smooth()))
    data = io.BytesIO()
    file.save(data, quality=100, chroma=444, primary_index=1)
    picture = images.read(data.getvalue())
    assert picture.note == "main of 2 frames used"
    assert distance(picture.rgb, smooth() / 255) < 4


def test_a_heic_names_the_extra_that_it_needs(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    path = tmp_path / "photo.jpg"
    path.write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    for source in (path, path.read_bytes()):
        with pytest.raises(ValueError, match="pip install pillow-heif"):
            images.read(source, "content")


def test_a_file_of_floats_above_one_says_how_to_mend_it():
    values = np.float32([[15, 243]])
    for source in (saved(Image.fromarray(values), "TIFF"), values):
        with pytest.raises(ValueError, match="values 15 to 243") as error:
            images.read(source, "content")
        mended = "8 or 16 bits" in check_one_line(error)
        assert mended == isinstance(source, bytes)


# ---------------------------------------------------------------- writing


@pytest.mark.parametrize("suffix", STILLS)
def test_encoded_pictures_are_read_back(suffix):
    image = smooth(60, 80) / 255
    data = encoding.encode(image, suffix)
    picture = images.read(data)
    assert picture.alpha is None and picture.note == ""
    tolerance = 0.51 if suffix in LOSSLESS else 6
    assert distance(picture.rgb, image) < tolerance
    assert data == encoding.encode(images.to_uint8(image), suffix)
    assert data == encoding.encode(image, suffix.upper())


@pytest.mark.parametrize("suffix", STILLS)
def test_encodes_grey_and_single_channel(suffix):
    grey = smooth()[..., 0]
    for image in (grey, grey[..., None]):
        rgb = images.read(encoding.encode(image, suffix)).rgb
        assert distance(rgb, grey[..., None] / 255) < 6


@pytest.mark.parametrize("suffix", STILLS)
def test_encoded_pictures_are_tagged_srgb(suffix):
    image = opened(encoding.encode(smooth(), suffix))
    if suffix == ".png":
        assert image.info["srgb"] == 0
        return
    profile = image.info["icc_profile"]
    opened_profile = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    assert "sRGB" in ImageCms.getProfileDescription(opened_profile)
    assert struct.unpack(">6H", profile[24:36]) == (2000, 1, 1, 0, 0, 0)


def test_jpeg_keeps_all_its_colour():
    stripes = np.zeros((32, 32, 3), np.uint8)
    stripes[:, ::2] = (255, 0, 0)
    stripes[:, 1::2] = (0, 0, 255)
    rgb = images.read(encoding.encode(stripes, ".jpg")).rgb
    assert distance(rgb, stripes / 255) < 30  # 4:2:0 would make it purple


@pytest.mark.parametrize("suffix", STILLS)
def test_alpha_round_trip(suffix):
    image = Image.fromarray(smooth(48, 64)).convert("RGBA")
    image.putalpha(Image.linear_gradient("L").resize((64, 48)))
    picture = images.read(image)
    data = encoding.encode(picture.rgb, suffix, alpha=picture.alpha)
    again = images.read(data)
    if suffix in (".jpg", ".jpeg"):
        assert again.alpha is None
        assert distance(again.rgb, picture.rgb) < 8
        return
    tolerance = 0.01 if suffix in (*LOSSLESS, ".webp") else 8
    assert distance(again.alpha, picture.alpha) < tolerance
    tolerance = 1.1 if suffix in LOSSLESS else 10
    assert distance(again.rgb, picture.rgb) < tolerance


def test_alpha_wins_where_the_picture_cannot_be_seen():
    black, nothing = np.zeros((16, 16, 3)), np.zeros((16, 16))
    assert (
        images.read(encoding.encode(black, ".jpg", alpha=nothing)).rgb.min()
        == 1
    )
    data = encoding.encode(black, ".png", alpha=nothing)
    np.testing.assert_array_equal(opened(data), 0)
    half = opened(
        encoding.encode(np.ones((16, 16, 3)), ".png", alpha=nothing + 0.5)
    )
    np.testing.assert_array_equal(np.asarray(half)[0, 0], [255, 255, 255, 128])


def test_encode_rejects_other_shapes_and_suffixes():
    for shape in [(5,), (1, 5, 5, 3), (5, 5, 4), (0, 5, 3)]:
        with pytest.raises(ValueError, match="`image` should be") as error:
            encoding.encode(np.zeros(shape), ".png")
        assert str(list(shape)) in str(error.value)
    with pytest.raises(ValueError, match="`alpha` should be"):
        encoding.encode(np.zeros((5, 5, 3)), ".png", alpha=np.ones((5, 4)))
    with pytest.raises(ValueError, match="`suffix` should end in"):
        encoding.encode(np.zeros((5, 5, 3)), ".gif")


# ---------------------------------------------------------------- recipes


@pytest.mark.parametrize("suffix", STILLS)
def test_recipe_round_trip(suffix, tmp_path):
    for text in (TEXT, TEXT * 100, ""):
        data = encoding.encode(smooth(), suffix, recipe=text)
        path = tmp_path / f"a{suffix}"
        path.write_bytes(data)
        for source in (data, path, str(path)):
            assert images.recipe(source) == text
    assert images.recipe(encoding.encode(smooth(), suffix)) is None


@pytest.mark.parametrize("suffix", encoding.ANIMATION_SUFFIXES)
def test_recipe_in_animations(suffix):
    frames = [smooth(), 255 - smooth()]
    data = encoding.encode_animation(frames, suffix, 5, recipe=TEXT * 30)
    assert images.recipe(data) == TEXT * 30
    assert images.recipe(encoding.encode_animation(frames, suffix, 5)) is None


def test_recipe_is_an_international_text_chunk_in_png():
    for text in (TEXT, "Latin"):
        data = encoding.encode(smooth(), ".png", recipe=text)
        assert b"iTXtnst_tf\0" in data
        assert opened(data).text == {"nst_tf": text}


def test_recipe_is_well_formed_xmp():
    data = encoding.encode(smooth(), ".jpg", recipe=TEXT)
    root = xml.etree.ElementTree.fromstring(opened(data).info["xmp"])
    assert root.find(".//{urn:nst_tf}recipe").text == TEXT


def test_recipe_has_a_limit_in_jpeg_only():
    text = "ä" * 40_000
    with pytest.raises(ValueError, match="`recipe` should fit") as error:
        encoding.encode(smooth(), ".jpg", recipe=text)
    assert "PNG" in str(error.value)
    for suffix in (".png", ".webp", ".tif") + (".avif",) * HAS_AVIF:
        data = encoding.encode(smooth(), suffix, recipe=text)
        assert images.recipe(data) == text
    # Right up to the limit it is kept.
    room = 65_504 - len(encoding._XMP.format("").encode())
    data = encoding.encode(smooth(), ".jpg", recipe="x" * room)
    assert images.recipe(data) == "x" * room
    with pytest.raises(ValueError, match="`recipe`"):
        encoding.encode(smooth(), ".jpg", recipe="x" * (room + 1))


def test_other_metadata_is_no_recipe(tmp_path):
    image = Image.fromarray(smooth())
    assert images.recipe(saved(image, "JPEG", comment=b"a comment")) is None
    assert images.recipe(saved(image, "WEBP", xmp=b"<x/>")) is None
    assert images.recipe(saved(image, "BMP")) is None
    for source in (b"", b"nonsense", tmp_path, tmp_path / "none.png"):
        with pytest.raises(ValueError, match="^`source` should be a picture"):
            images.recipe(source)


# ---------------------------------------------------------------- animations


def frames_of(count):
    return [
        np.clip(smooth(40, 48) / 255 * (0.4 + 0.6 * n / count), 0, 1)
        for n in range(count)
    ]


@pytest.mark.parametrize("suffix", encoding.ANIMATION_SUFFIXES)
def test_animation_frames_durations_and_loop(suffix):
    frames = frames_of(7)
    image = opened(encoding.encode_animation(frames, suffix, 8))
    assert image.n_frames == 7
    assert image.info["loop"] == 0
    durations = []
    for n, frame in enumerate(frames):
        image.seek(n)
        image.load()
        durations.append(image.info["duration"])
        rgb = np.asarray(image.convert("RGB")) / 255
        assert np.abs(rgb - frame).mean() * 255 < 5
    each = 120 if suffix == ".gif" else 125
    assert durations == [each] * 6 + [2000]


@pytest.mark.parametrize("suffix", encoding.ANIMATION_SUFFIXES)
def test_animation_brings_frames_to_the_last_size(suffix):
    frames = [smooth(10, 12), smooth(20, 24), smooth(40, 48)]
    image = opened(encoding.encode_animation(frames, suffix, 5))
    assert image.size == (48, 40)
    assert image.n_frames == 3
    assert (
        np.abs(
            np.asarray(image.convert("RGB")) / 255 - smooth(40, 48) / 255
        ).mean()
        < 0.05
    )


@pytest.mark.parametrize("suffix", encoding.ANIMATION_SUFFIXES)
def test_animation_of_a_single_frame(suffix):
    image = opened(encoding.encode_animation([smooth()], suffix, 5))
    assert getattr(image, "n_frames", 1) == 1
    assert image.size == (32, 24)


def test_fast_gif_is_held_to_what_browsers_play():
    image = opened(encoding.encode_animation(frames_of(3), ".gif", 1000))
    assert image.info["duration"] == 20
    slow = opened(encoding.encode_animation(frames_of(3), ".gif", 0.25))
    slow.seek(2)
    assert slow.info["duration"] == 4000


def test_gif_frames_are_dithered():
    # Far more than 256 colours, and yet the local means should be right.
    y, x = np.mgrid[0:256, 0:256] / 255
    frame = np.stack([x, y, 0.5 * x + 0.5 * (1 - y)], axis=-1)
    image = opened(encoding.encode_animation([frame, frame[::-1]], ".gif", 5))
    rgb = np.asarray(image.convert("RGB")) / 255
    difference = (rgb - frame).reshape(32, 8, 32, 8, 3).mean((1, 3))
    assert np.abs(difference).mean() * 255 < 1  # 2.8 undithered


def test_animation_rejects():
    with pytest.raises(ValueError, match="`frames` should hold"):
        encoding.encode_animation([], ".gif", 5)
    for rate in (0, -1, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="`frames_per_second`"):
            encoding.encode_animation([smooth()], ".gif", rate)
    with pytest.raises(ValueError, match=re.escape(".gif, .webp, .png")):
        encoding.encode_animation([smooth()], ".jpg", 5)


# ---------------------------------------------------------------- sheet


@pytest.mark.parametrize(
    "count, grid",
    [(1, (1, 1)), (2, (1, 2)), (3, (1, 3)), (4, (2, 2)), (5, (2, 3))]
    + [(7, (2, 4)), (9, (3, 3)), (12, (3, 4))],
)
def test_contact_sheet_keeps_the_order_in_a_balanced_grid(count, grid):
    levels = np.linspace(0.2, 0.8, count)
    pictures = [np.full((30, 40, 3), [n, 0, 1 - n]) for n in levels]
    sheet = encoding.contact_sheet(pictures, [""] * count, 640)
    assert sheet.dtype == np.uint8
    assert sheet.shape[1:] == (640, 3)
    rows, columns = grid
    for i, level in enumerate(levels):
        row, column = divmod(i, columns)
        y = round((row + 0.4) / rows * sheet.shape[0])
        x = round((column + 0.5) / columns * 640)
        expected = images.to_uint8(np.array([level, 0, 1 - level]))
        np.testing.assert_allclose(sheet[y, x], expected, atol=1)


def test_contact_sheet_writes_captions_inside_their_columns():
    white = np.full((60, 80, 3), 250 / 255)
    blank = encoding.contact_sheet([white] * 2, ["", ""], 600)
    assert blank.min() == 250
    sheet = encoding.contact_sheet(
        [white] * 2, ["steps 10\nbeta 3", "w" * 500], 600
    )
    ink = (sheet < 200).any((0, 2))
    assert ink[:300].any() and ink[300:].any()
    gap = 600 // 80
    assert not ink[:gap].any() and not ink[-gap:].any()
    assert not ink[300 - gap // 2 + 1 : 300 + gap // 2 - 1].any()
    rows = np.flatnonzero((sheet < 200).any((1, 2)))
    assert rows.min() > sheet.shape[0] * 0.7  # below the pictures


def test_contact_sheet_takes_any_shape():
    tall, wide = np.zeros((200, 20)), np.zeros((20, 200, 3), np.uint8)
    sheet = encoding.contact_sheet([tall, wide, smooth()], ["a", "b", "c"], 300)
    assert sheet.shape[1:] == (300, 3)
    assert encoding.encode(sheet, ".png")
    for pictures, captions in ([smooth()], []), ([], []):
        with pytest.raises(ValueError, match="`captions` should be one"):
            encoding.contact_sheet(pictures, captions)


def test_stands_alone():
    source = pathlib.Path(images.__file__).read_text(encoding="utf-8")
    assert not re.search(
        r"^\s*(import|from) (nst_tf(?!\.files import pro)|tensorflow|keras)",
        source,
        re.M,
    )


# What is wanted smaller


SHRUNK = {
    "jpeg": ("RGB", "JPEG", {"quality": 95}),
    "cmyk jpeg": ("CMYK", "JPEG", {"quality": 95}),
    "grey jpeg": ("L", "JPEG", {"quality": 95}),
    "png": ("RGB", "PNG", {}),
    "alpha": ("RGBA", "PNG", {}),
    "grey and alpha": ("LA", "PNG", {}),
    "palette": ("P", "GIF", {}),
    "bits": ("1", "PNG", {}),
    "lzw": ("RGB", "TIFF", {"compression": "tiff_lzw"}),
    "webp": ("RGB", "WEBP", {"quality": 95}),
    "webp and alpha": ("RGBA", "WEBP", {"quality": 95}),
    "grey 16": ("I;16", "PNG", {}),
    "floats": ("F", "TIFF", {}),
}


@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize("kind", SHRUNK)
def test_what_is_wanted_smaller_looks_the_same(kind, orientation):
    """As if all of it had been read, to a level or so in the mean."""
    mode, name, options = SHRUNK[kind]
    colours = np.uint8(255 * waves(487, 643, seed=3))
    picture = Image.fromarray(colours)
    if mode.endswith("A"):
        picture.putalpha(Image.fromarray(colours[::-1, :, 0].copy()))
    if mode == "I;16":
        picture = Image.fromarray(colours[..., 0] * np.uint16(257))
    elif mode == "F":
        picture = Image.fromarray(colours[..., 0] / np.float32(255))
    else:
        picture = picture.convert(mode)
    exif = Image.Exif()
    exif[0x0112] = orientation
    if name != "GIF":
        options = {**options, "exif": exif}
    file = io.BytesIO()
    picture.save(file, name, **options)
    whole = images.read(file.getvalue())
    less = images.read(
        file.getvalue(), "image", lambda own: images.fit(own, 64)
    )
    assert less.size == whole.size == whole.rgb.shape[:2]
    size = images.fit(whole.size, 64)
    assert less.rgb.shape[:2] == tuple(images.SPARE * own for own in size)
    pairs = [(whole.rgb, less.rgb)]
    if whole.alpha is not None:
        pairs.append((whole.alpha, less.alpha))
    for one, other in pairs:
        apart = images.resize(one, size) - images.resize(other, size)
        assert 255 * np.abs(apart).mean() < (1 if whole.alpha is None else 1.5)


@pytest.mark.skipif(
    not hasattr(sixteen.tensorflow().io, "decode_webp"),
    reason="this TensorFlow reads no WebP",
)
@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
@pytest.mark.parametrize("lossless", [False, True])
def test_a_webp_is_drafted_as_pillow_reduces_it(
    mode, lossless, monkeypatch, tmp_path
):
    monkeypatch.setattr(sixteen, "BAND", 10_000)
    colours = Image.fromarray(np.uint8(255 * waves(187, 243, seed=3)))
    colours.putalpha(colours.getchannel("R"))
    frame = colours.convert(mode)
    profile = images.srgb_profile()
    data = saved(frame, "WEBP", lossless=lossless, icc_profile=profile)
    (path := tmp_path / "a.webp").write_bytes(data)
    for source in data, path, str(path):
        with Image.open(io.BytesIO(data)) as opened:
            found, box = webp.draft(opened, source, (60, 24))
            assert found.info == opened.info and found.info["icc_profile"]
            np.testing.assert_array_equal(found, opened.reduce((2, 3)))
            assert box == (0, 0, 243 / 2, 187 / 3)
    # What is not for it is left to Pillow.
    moving = {"save_all": True, "append_images": [frame.rotate(180)]}
    pixels = data.rfind(b"VP8") + 40
    broken = data[:pixels] + b"\xff" * (len(data) - pixels)
    others = broken, saved(frame, "WEBP", **moving), saved(frame, "PNG")
    for other in others:
        with Image.open(io.BytesIO(other)) as opened:
            assert webp.draft(opened, other, (60, 24)) is None


def test_what_is_not_much_larger_is_read_whole():
    file = io.BytesIO()
    Image.new("RGB", (190, 100)).save(file, "JPEG")
    read = images.read(file.getvalue(), "image", lambda own: (32, 32))
    assert read.rgb.shape == (100, 190, 3)


def test_a_pillow_image_of_the_users_stays_as_it_is(tmp_path):
    Image.new("RGB", (640, 480)).save(tmp_path / "a.jpg")
    with Image.open(tmp_path / "a.jpg") as opened:
        read = images.read(opened, "image", lambda own: images.fit(own, 64))
        assert opened.size == (640, 480)
    assert read.rgb.shape == (144, 192, 3)


def test_black_in_alpha_stays_black_where_it_is_shrunk():
    pixels = np.full((480, 640, 4), 255, np.uint8)
    pixels[:, :320, 3] = 0
    data = saved(Image.fromarray(pixels), "PNG")
    read = images.read(data, "image", lambda own: images.fit(own, 64))
    assert read.alpha.shape == (144, 192)
    np.testing.assert_array_equal(read.alpha[:, :94], 0)
    np.testing.assert_array_equal(read.alpha[:, 98:], 1)
