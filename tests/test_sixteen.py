"""Sixteen bits a channel, there and back."""

import io
import struct
import zlib

import numpy as np
import pytest
from conftest import smooth
from PIL import Image, ImageOps

from nst_tf.files import encoding, images, sixteen

MANY = (700, 1100, 3)  # more than a band


@pytest.fixture(params=[(5, 1, 3), (37, 53, 3), MANY], ids=str)
def values(request):
    generator = np.random.default_rng(16)
    return generator.integers(0, 65536, request.param, dtype=np.uint16)


@pytest.fixture(params=[".png", ".tif"])
def suffix(request):
    return request.param


def deep(image):
    return np.rint(image * 65535.0).astype(np.uint16)


def test_floats_come_back_as_the_same_sixteen_bits(values, suffix):
    data = encoding.encode(
        values / 65535, suffix, '{"ü": "<&"}', dpi=300, depth=16
    )
    np.testing.assert_array_equal(deep(images.read(data).rgb), values)
    assert images.recipe(data) == '{"ü": "<&"}'
    with Image.open(io.BytesIO(data)) as shallow:
        assert shallow.info["dpi"] == pytest.approx((300, 300), rel=1e-4)
        np.testing.assert_array_equal(np.asarray(shallow), values >> 8)


def test_other_programs_read_and_write_the_same(values, suffix):
    cv2 = pytest.importorskip("cv2")
    data = encoding.encode(values / 65535, suffix, depth=16)
    theirs = cv2.imdecode(np.frombuffer(data, "u1"), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(theirs[..., ::-1], values)
    how = [cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_SUB]
    if suffix == ".tif":
        how = [cv2.IMWRITE_TIFF_COMPRESSION, 1]
    _, data = cv2.imencode(suffix, values[..., ::-1], how)
    np.testing.assert_array_equal(deep(images.read(data.tobytes()).rgb), values)


def test_what_is_transparent_stays_so(suffix):
    rgb, alpha = smooth(20, 30, 1), smooth(20, 30, 2)[..., 0]
    data = encoding.encode(rgb, suffix, alpha=alpha, depth=16)
    read = images.read(data)
    np.testing.assert_allclose(read.alpha, alpha, atol=1 / 65535)
    # Nearer to white than the alpha lets it be is nothing.
    possible = rgb >= 1 - alpha[..., None]
    np.testing.assert_allclose(read.rgb[possible], rgb[possible], atol=2e-5)


PNGS = {"rgb": (2, 3), "rgba": (6, 4), "grey": (0, 1), "grey and alpha": (4, 2)}


@pytest.mark.parametrize("kind", PNGS)
@pytest.mark.parametrize("filtered", range(5))
def test_every_png_of_sixteen_bits_is_read_as_such(kind, filtered):
    """Whose rows name a filter, from None to Paeth, over random bytes."""
    colour, channels = PNGS[kind]
    height, width, each = 6, 5, 2 * channels
    rows = np.random.default_rng(7).integers(0, 256, (height, width * each))
    data = b"".join(bytes([filtered, *row]) for row in rows.tolist())
    header = struct.pack(">2L5B", width, height, 16, colour, 0, 0, 0)
    parts = (b"IHDR", header), (b"IDAT", zlib.compress(data)), (b"IEND", b"")
    file = b"\x89PNG\r\n\x1a\n" + b"".join(
        sixteen._chunk(*part) for part in parts
    )
    pixels = unfiltered(rows, filtered, each).view(">u2")
    pixels = pixels.reshape(height, width, channels)
    picture = images.read(file)
    if channels % 2 == 0:
        np.testing.assert_array_equal(deep(picture.alpha), pixels[..., -1])
        share = picture.alpha[..., None]
        pixels = 65535 - (65535 - pixels[..., :-1]) * share
    shown = np.broadcast_to(pixels / 65535, (height, width, 3))
    np.testing.assert_allclose(picture.rgb, shown, atol=2e-7)


def unfiltered(rows, kind, each):
    """PNG, third edition, 9.2, byte by byte."""
    found = np.zeros((len(rows) + 1, rows.shape[1] + each), int)
    for y, row in enumerate(rows, 1):
        for x, value in enumerate(row, each):
            left, up = found[y, x - each], found[y - 1, x]
            corner = found[y - 1, x - each]
            near = left + up - corner
            paeth = min((left, up, corner), key=lambda one: abs(near - one))
            added = (0, left, up, (left + up) // 2, paeth)[kind]
            found[y, x] = (value + added) % 256
    return np.ascontiguousarray(found[1:, each:], np.uint8)


@pytest.mark.parametrize("packing", [1, 5, 8, 32773])  # none, LZW, ...
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_every_tiff_of_sixteen_bits_is_read_as_such(packing, channels):
    cv2 = pytest.importorskip("cv2")
    generator = np.random.default_rng(channels)
    values = generator.integers(0, 65536, (37, 53, channels), np.uint16)
    values[..., 3:] = 65535
    theirs = values[..., [2, 1, 0, 3][:channels] if channels > 1 else [0]]
    how = [cv2.IMWRITE_TIFF_COMPRESSION, packing]
    _, data = cv2.imencode(".tif", theirs, how)
    shown = np.broadcast_to(values[..., :3], (37, 53, 3))
    np.testing.assert_array_equal(deep(images.read(data.tobytes()).rgb), shown)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("extra", [0, 1, 2])
def test_tiffs_in_tiles_of_either_order_and_with_either_alpha(order, extra):
    """What no other program here writes: written by hand, undone by rule."""
    values = np.random.default_rng(3).integers(0, 65536, (32, 40, 4), "uint16")
    values[..., :3] = np.minimum(values[..., :3], values[..., 3:])
    data = tiled(values, order, extra)
    picture = images.read(data)
    rgb, alpha = (values / 65535)[..., :3], (values / 65535)[..., 3:]
    if extra == 0:
        assert picture.alpha is None
        np.testing.assert_array_equal(deep(picture.rgb), values[..., :3])
        return
    np.testing.assert_array_equal(deep(picture.alpha), values[..., 3])
    shown = rgb + 1 - alpha if extra == 1 else rgb * alpha + 1 - alpha
    np.testing.assert_allclose(picture.rgb, shown, atol=1e-5)


def tiled(values, order, extra):
    """A TIFF in tiles of 16 x 16, differences along their rows."""
    height, width, channels = values.shape
    wide = np.zeros((height, -(-width // 16) * 16, channels), "uint16")
    wide[:, :width] = values
    parts = []
    for top in range(0, height, 16):
        for left in range(0, width, 16):
            part = wide[top : top + 16, left : left + 16].copy()
            part[:, 1:] -= part[:, :-1].copy()
            parts.append(zlib.compress(part.astype(f"{order}u2").tobytes()))
    body, places = b"", []
    for part in parts:
        places.append(8 + len(body))
        body += part
    entries = {
        256: [width], 257: [height], 258: [16] * channels, 259: [8],
        262: [2], 277: [channels], 317: [2], 322: [16], 323: [16],
        324: places, 325: [len(part) for part in parts], 338: [extra],
    }  # fmt: skip
    return written(body, order, entries)


def written(body, order, entries):
    """A TIFF of numbers of 32 bits, those of many after its body."""
    rows = b""
    for tag, given in sorted(entries.items()):
        own = struct.pack(f"{order}{len(given)}L", *given)
        if len(given) > 1:
            place, body = 8 + len(body), body + own
            own = struct.pack(f"{order}L", place)
        rows += struct.pack(f"{order}HHL", tag, 4, len(given)) + own
    mark = b"II*\0" if order == "<" else b"MM\0*"
    start = struct.pack(f"{order}L", 8 + len(body))
    count = struct.pack(f"{order}H", len(entries))
    return mark + start + body + count + rows + bytes(4)


@pytest.mark.parametrize("packing", [1, 8])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("orientation", [1, 6])
def test_tiffs_in_planes(packing, order, orientation):
    """Without packing Pillow shows every second half of two pixels."""
    values = np.random.default_rng(5).integers(0, 65536, (13, 7, 3), "uint16")
    data = planar(values, order, packing, {274: [orientation]})
    upright = np.rot90(values, -1) if orientation == 6 else values
    picture = images.read(data)
    np.testing.assert_array_equal(deep(picture.rgb), upright)
    assert picture.size == upright.shape[:2]
    small = images.read(data, wanted=lambda size: (1, 1)).rgb
    means = np.broadcast_to(upright.mean((0, 1)) / 65535, (3, 3, 3))
    np.testing.assert_allclose(small.mean((0, 1)), means[0, 0], atol=0.03)


def test_a_broken_tiff_in_planes_is_one_line():
    values = np.zeros((13, 7, 3), "uint16")
    for tags in ({277: [2]}, {273: [8]}, {279: [5] * 9}):
        with pytest.raises(ValueError, match="`image` should be a picture"):
            images.read(planar(values, "<", 8, tags))


def planar(values, order, packing, tags):
    """A TIFF of a plane a channel, in strips of five rows."""
    height, width, channels = values.shape
    body, places, sizes = b"", [], []
    for plane in np.moveaxis(values, 2, 0):
        for top in range(0, height, 5):
            strip = plane[top : top + 5].astype(f"{order}u2").tobytes()
            strip = zlib.compress(strip) if packing == 8 else strip
            places.append(8 + len(body))
            sizes.append(len(strip))
            body += strip
    entries = {
        256: [width], 257: [height], 258: [16] * channels, 259: [packing],
        262: [2], 273: places, 277: [channels], 278: [5], 279: sizes,
        284: [2], **tags,
    }  # fmt: skip
    return written(body, order, entries)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_sixteen_bits_are_turned_as_eight_are(orientation, suffix):
    pixels = deep(smooth(8, 9, 3))
    if suffix == ".png":
        exif = Image.Exif()
        exif[0x0112] = orientation
        data = sixteen.png(pixels, None, [(b"eXIf", exif.tobytes()[6:])])
    else:
        data = sixteen.tiff(pixels, None, {274: orientation})
    with Image.open(io.BytesIO(data)) as opened:
        eight = np.asarray(ImageOps.exif_transpose(opened))
    read = images.read(data)
    np.testing.assert_array_equal(deep(read.rgb) >> 8, eight)
    assert read.size == eight.shape[:2]


@pytest.mark.parametrize("kind", ["broken", "another"])
def test_what_it_does_not_have_is_left_to_pillow(kind):
    image = smooth(8, 9, 3)
    if kind == "another":
        data = encoding.encode(image, ".png")
    else:
        data = sixteen.png(deep(image))[:-40]
    with Image.open(io.BytesIO(data)) as opened:
        assert sixteen.read(opened, opened.fp) is None


@pytest.mark.parametrize("suffix", [".jpg", ".webp"])
def test_what_has_eight_bits_alone_refuses(suffix):
    with pytest.raises(ValueError, match="`depth` of 16 .* needs .png or .tif"):
        encoding.encode(smooth(4, 4, 1), suffix, depth=16)
    with pytest.raises(ValueError, match="`depth` should be 8 or 16"):
        encoding.encode(smooth(4, 4, 1), ".png", depth=12)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif"])
def test_the_resolution_is_in_the_file(suffix):
    data = encoding.encode(smooth(4, 4, 1), suffix, dpi=240)
    with Image.open(io.BytesIO(data)) as opened:
        assert opened.info["dpi"] == pytest.approx((240, 240), rel=1e-4)
