"""Sixteen bits a channel, there and back."""

import io

import numpy as np
import pytest
from conftest import smooth
from PIL import Image

from nst_tf.files import images, sixteen

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
    data = images.encode(
        values / 65535, suffix, '{"ü": "<&"}', dpi=300, depth=16
    )
    np.testing.assert_array_equal(deep(images.read(data).rgb), values)
    assert images.recipe(data) == '{"ü": "<&"}'
    with Image.open(io.BytesIO(data)) as shallow:
        assert shallow.info["dpi"] == pytest.approx((300, 300), rel=1e-4)
        np.testing.assert_array_equal(np.asarray(shallow), values >> 8)


def test_other_programs_read_and_write_the_same(values, suffix):
    cv2 = pytest.importorskip("cv2")
    data = images.encode(values / 65535, suffix, depth=16)
    theirs = cv2.imdecode(np.frombuffer(data, "u1"), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(theirs[..., ::-1], values)
    how = [cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_SUB]
    if suffix == ".tif":
        how = [cv2.IMWRITE_TIFF_COMPRESSION, 1]
    _, data = cv2.imencode(suffix, values[..., ::-1], how)
    np.testing.assert_array_equal(deep(images.read(data.tobytes()).rgb), values)


def test_what_is_transparent_stays_so(suffix):
    rgb, alpha = smooth(20, 30, 1), smooth(20, 30, 2)[..., 0]
    data = images.encode(rgb, suffix, alpha=alpha, depth=16)
    read = images.read(data)
    np.testing.assert_allclose(read.alpha, alpha, atol=1 / 65535)
    # Nearer to white than the alpha lets it be is nothing.
    possible = rgb >= 1 - alpha[..., None]
    np.testing.assert_allclose(read.rgb[possible], rgb[possible], atol=2e-5)


@pytest.mark.parametrize("kind", ["Average", "turned", "broken", "another"])
def test_what_it_does_not_have_is_left_to_pillow(kind):
    image = smooth(8, 9, 3)
    pixels = deep(image)
    if kind == "another":
        data = images.encode(image, ".png")
    elif kind == "turned":
        exif = Image.Exif()
        exif[0x0112] = 6
        data = sixteen.png(pixels, None, [(b"eXIf", exif.tobytes()[6:])])
    else:
        data = bytearray(sixteen.png(pixels))
        data[-20 if kind == "broken" else 0] ^= kind == "broken"
        if kind == "Average":
            data = _with_filter(pixels, 3)
    with Image.open(io.BytesIO(bytes(data))) as opened:
        assert sixteen.read(opened) is None
        if kind != "broken":
            assert np.asarray(opened).shape == (8, 9, 3)


def _with_filter(pixels, kind):
    """A PNG whose rows name a filter, whatever that makes of them."""
    real = sixteen.zlib.compressobj

    class Packer:
        def __init__(self, level):
            self._packer = real(level)

        def compress(self, data):
            rows = np.frombuffer(data, "u1").reshape(len(pixels), -1).copy()
            rows[:, 0] = kind
            return self._packer.compress(rows.tobytes())

        def flush(self):
            return self._packer.flush()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sixteen.zlib, "compressobj", Packer)
        return sixteen.png(pixels)


@pytest.mark.parametrize("suffix", [".jpg", ".webp"])
def test_what_has_eight_bits_alone_refuses(suffix):
    with pytest.raises(ValueError, match="`depth` of 16 .* needs .png or .tif"):
        images.encode(smooth(4, 4, 1), suffix, depth=16)
    with pytest.raises(ValueError, match="`depth` should be 8 or 16"):
        images.encode(smooth(4, 4, 1), ".png", depth=12)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif"])
def test_the_resolution_is_in_the_file(suffix):
    data = images.encode(smooth(4, 4, 1), suffix, dpi=240)
    with Image.open(io.BytesIO(data)) as opened:
        assert opened.info["dpi"] == pytest.approx((240, 240), rel=1e-4)
