"""Colour profiles at sixteen bits a channel, beside LittleCMS at eight."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image
from test_images import gamma, icc, s15f16, xyz

from nst_tf.files import images, profiles, sixteen

# Adobe RGB (1998), Display P3 and ProPhoto RGB, under D50, columns R, G and B;
# the curves are a gamma, sRGB's with its straight foot, and tables.
ADOBE = [0.60974, 0.20528, 0.14919, 0.31111, 0.62567, 0.06322, 0.01947, 0.06087,
         0.74457]  # fmt: skip
P3 = [0.51512, 0.29198, 0.1571, 0.2412, 0.69225, 0.06657, -0.00105, 0.04189,
      0.78407]  # fmt: skip
PROPHOTO = [0.79767, 0.13519, 0.03135, 0.28804, 0.71187, 0.00009, 0, 0, 0.82521]


def para(kind, *numbers):
    return b"para" + bytes(4) + struct.pack(">2H", kind, 0) + s15f16(*numbers)


def curv(*numbers):
    head = b"curv" + bytes(4) + struct.pack(">L", len(numbers))
    return head + struct.pack(f">{len(numbers)}H", *numbers)


FOOT = 2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045
TABLE = np.rint(np.linspace(0, 1, 1024) ** 1.8 * 65535).astype(int).tolist()
PROFILES = {
    "Adobe RGB": (ADOBE, gamma(2.19921875)),
    "Display P3": (P3, para(3, *FOOT)),
    "a foot and a step": (P3, para(4, *FOOT, 0.001, 0)),
    "gamma as a parameter": (PROPHOTO, para(0, 1.8)),
    "ProPhoto RGB": (PROPHOTO, curv(*TABLE)),
    "linear": (ADOBE, curv()),
}


def of_screen(matrix, curve):
    """A profile of a matrix and a curve."""
    columns = np.reshape(matrix, (3, 3)).T
    tags = {b"wtpt": xyz(0.9642, 1, 0.8249)}
    for letter, column in zip("rgb", columns, strict=True):
        tags[f"{letter}XYZ".encode()] = xyz(*column)
        tags[f"{letter}TRC".encode()] = curve
    return icc(b"RGB ", b"XYZ ", tags)


def with_profile(values, profile, suffix):
    if suffix == ".tif":
        return sixteen.tiff(values, None, {34675: profile})
    packed = b"its name" + bytes(2) + zlib.compress(profile)
    return sixteen.png(values, None, [(b"iCCP", packed)])


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("name", PROFILES)
def test_profiles_are_applied_to_sixteen_bits(name, suffix):
    """As LittleCMS does it to 8, and every level in between is kept."""
    profile = of_screen(*PROFILES[name])
    eight = np.random.default_rng(8).integers(0, 256, (9, 30, 3), np.uint8)
    eight[0] = np.arange(30)[:, None]  # the shadows
    deeper = with_profile(eight * np.uint16(257), profile, suffix)
    theirs = images.read(eight_bits(eight, profile)).rgb
    read = images.read(deeper)
    assert read.note == ""
    # Its own 8 bits are some levels off in the deepest shadows.
    bright = theirs.min(2) > 0.1
    apart = np.abs(read.rgb - theirs) * 255
    assert apart[bright].max() < 1.1 and apart.max() < 4
    ramp = np.broadcast_to(
        np.arange(20000, 20257, dtype="uint16")[None, :, None], (1, 257, 3)
    )
    found = images.read(with_profile(ramp, profile, suffix)).rgb * 65535
    steps = np.diff(np.rint(found), axis=1)
    assert steps.min() >= 0 and (steps > 0).mean() > 0.4 and steps.max() <= 3


def eight_bits(values, profile):
    file = io.BytesIO()
    Image.fromarray(values).save(file, "PNG", icc_profile=profile)
    return file.getvalue()


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_profiles_of_grey_and_beside_alpha(channels):
    values = np.full((2, 3, channels), 20000, "uint16")
    values[0, 0] = 40000
    tags = {b"wtpt": xyz(0.9642, 1, 0.8249), b"kTRC": gamma(1.8)}
    profile = of_screen(ADOBE, gamma(2.2))
    if channels < 3:
        profile = icc(b"GRAY", b"XYZ ", tags)
    found = profiles.converted(values, profile, images.srgb_profile())
    assert found.shape == (2, 3, 3 if channels == 1 else 4)
    if channels != 1:
        np.testing.assert_array_equal(found[..., 3], values[..., -1])
    assert np.ptp(found[..., :3].astype(int), axis=2).max() <= 6  # still grey
    light = (values[..., :1] / 65535) ** (1.8 if channels < 3 else 2.2)
    shown = 1.055 * light ** (1 / 2.4) - 0.055
    np.testing.assert_allclose(
        found[..., :3] / 65535, np.repeat(shown, 3, 2), atol=1e-3
    )


def test_profiles_of_another_kind_are_left_to_pillow():
    values = np.full((2, 3, 3), 20000, "uint16")
    grey = icc(b"GRAY", b"XYZ ", {b"kTRC": gamma(1.8)})
    lab = icc(b"RGB ", b"Lab ", {})
    srgb = images.srgb_profile()
    odd = of_screen(ADOBE, para(1, 2.2, 1, 0))
    light = of_screen(ADOBE, para(4, *FOOT, 0, 0.002))
    for profile in (grey, lab, odd, light, b"nonsense", odd[:300]):
        assert profiles.converted(values, profile, srgb) is None
        data = with_profile(values, profile, ".tif")
        assert np.ptp(images.read(data).rgb * 255 % 1) < 1e-4  # of 8 bits
