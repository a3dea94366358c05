"""Colours: the formulas against NumPy and SciPy, and what becomes of edges."""

import numpy as np
import pytest
import scipy.linalg
import tensorflow as tf

from nst_tf.engine import coloring
from nst_tf.formulas import color
from nst_tf.request.options import Options

GREY = np.linspace(0.2, 0.8, 48 * 64).reshape(48, 64, 1).repeat(3, 2)
ONE = np.full((48, 64, 3), [0.8, 0.5, 0.1])
TWO = np.where(np.arange(64)[:, None] < 20, [0.9, 0.2, 0.1], [0.1, 0.2, 0.8])
TWO = np.broadcast_to(TWO, (48, 64, 3))
PIXEL = np.array([[[0.2, 0.6, 0.4]]])


def moments(image):
    pixels = np.asarray(image, float).reshape(-1, 3)
    return pixels.mean(0), np.cov(pixels.T, bias=True)


def covariance(seed):
    factor = np.random.default_rng(seed).normal(0, 0.1, (3, 3))
    return factor @ factor.T + 0.002 * np.eye(3)


def mapped(image, target):
    image, target = tf.constant(image), tf.constant(target)
    palettes = color.palette(image), color.palette(target)
    return color.recolored(image, *palettes).numpy()


@pytest.mark.parametrize("kind", ["float32", "float64"])
def test_a_palette_is_mean_and_covariance(pictures, kind):
    image = np.asarray(pictures[0], kind)
    found = color.palette(image)
    for value, wanted in zip(found, moments(image), strict=True):
        assert value.dtype == tf.float64
        np.testing.assert_allclose(value, wanted, rtol=1e-5, atol=1e-9)


def test_a_palette_counts_each_pixel_by_its_weight(pictures):
    image = pictures[0]
    plain = color.palette(image)
    weight = np.zeros((48, 64), "float32")
    for value in (1.0, 0.5):
        even = color.palette(image, np.full_like(weight, value))
        for one, other in zip(even, plain, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-9)
    weight[8:24, 10:40] = 0.25
    part = color.palette(image, weight)
    wanted = moments(image[8:24, 10:40])
    for one, other in zip(part, wanted, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-9)
    for value in color.palette(image, np.zeros_like(weight)):
        assert not np.any(value)


def test_float32_loses_nothing_in_a_large_picture():
    generator = np.random.default_rng(0)
    image = 0.9 + 0.001 * generator.random((1, 700, 900, 3))
    mean, spread = color.palette(image.astype("float32"))
    wanted = moments(image)
    np.testing.assert_allclose(mean, wanted[0], rtol=1e-6)
    np.testing.assert_allclose(spread, wanted[1], rtol=1e-3, atol=1e-11)


@pytest.mark.parametrize("seed", range(4))
def test_transport_maps_one_covariance_to_the_other(seed):
    source, target = covariance(seed), covariance(seed + 10)
    matrix = color.transport(source, target).numpy()
    np.testing.assert_allclose(matrix, matrix.T, atol=1e-12)
    assert np.linalg.eigvalsh(matrix).min() > 0
    np.testing.assert_allclose(matrix @ source @ matrix.T, target, atol=1e-9)
    root = np.real(scipy.linalg.sqrtm(source))
    inverse = np.linalg.inv(root)
    middle = np.real(scipy.linalg.sqrtm(root @ target @ root))
    np.testing.assert_allclose(matrix, inverse @ middle @ inverse, atol=1e-6)

    def moved(matrix):  # mean squared distance between x and A x
        apart = matrix - np.eye(3)
        return np.trace(apart @ source @ apart.T)

    factors = np.linalg.cholesky(source), np.linalg.cholesky(target)
    symmetric = np.real(scipy.linalg.sqrtm(target)) @ inverse
    for other in (factors[1] @ np.linalg.inv(factors[0]), symmetric):
        np.testing.assert_allclose(other @ source @ other.T, target, atol=1e-9)
        assert moved(matrix) <= moved(other) + 1e-12


@pytest.mark.parametrize("seed", range(3))
def test_equal_palettes_are_left_alone(seed):
    source = covariance(seed)
    same = color.transport(source, source)
    np.testing.assert_allclose(same, np.eye(3), atol=1e-9)
    same = color.color_map(source, source)
    np.testing.assert_allclose(same, np.eye(3), atol=0.005)


def test_a_recoloured_picture_has_the_targets_palette(pictures):
    target, source = pictures
    target = 0.3 + 0.3 * target  # so that nothing is clipped
    for found, wanted in zip(
        moments(mapped(source, target)), moments(target), strict=True
    ):
        np.testing.assert_allclose(found, wanted, rtol=0.02, atol=2e-4)
    np.testing.assert_allclose(mapped(source, source), source, atol=2e-3)


def test_strength_is_the_share_of_the_way(pictures):
    target, source = pictures
    target = 0.3 + 0.3 * target
    palettes = color.palette(source), color.palette(target)
    none, half, whole = (
        color.recolored(source, *palettes, strength).numpy()
        for strength in (0.0, 0.5, 1.0)
    )
    np.testing.assert_array_equal(none, source)
    np.testing.assert_allclose(half, (none + whole) / 2, atol=1e-6)


@pytest.mark.parametrize("source", [GREY, ONE, TWO, PIXEL])
@pytest.mark.parametrize("target", [GREY, ONE, TWO, PIXEL, None])
def test_few_colours_make_a_sensible_picture(source, target, pictures):
    target = pictures[0].astype(float) if target is None else target
    noise = np.random.default_rng(0).normal(0, 0.002, source.shape)
    for image in (source, source + noise):
        found = mapped(image, target)
        assert np.all((found >= 0) & (found <= 1))  # nor is it NaN
        clean = mapped(source, target)
        assert np.abs(found - clean).mean() < 0.02
    mean, spread = moments(clean)
    inside = np.all((clean > 0) & (clean < 1))
    assert not inside or np.allclose(mean, moments(target)[0], atol=1e-6)
    largest = np.linalg.eigvalsh(moments(target)[1]).max()
    assert np.linalg.eigvalsh(spread).max() < 1.1 * largest + 1e-6


def test_a_grey_photograph_makes_grey(pictures):
    found = mapped(pictures[1].astype(float), GREY)
    assert np.ptp(found, axis=-1).max() < 0.002
    assert np.std(found) == pytest.approx(np.std(GREY), rel=0.05)
    found = mapped(GREY, pictures[0].astype(float))  # the other way: tinted
    assert 0.01 < np.ptp(found, axis=-1).max()


def test_luminance_and_chroma_are_the_picture(pictures):
    image = pictures[0].astype(float)
    light, rest = color.luminance(image), color.chroma(image)
    np.testing.assert_allclose(light + rest, image, atol=1e-12)
    np.testing.assert_allclose(color.luminance(rest), 0, atol=1e-12)
    y = image @ [0.299, 0.587, 0.114]
    np.testing.assert_allclose(light[..., 0], y, atol=1e-12)
    np.testing.assert_allclose(color.colored(light, rest), image, atol=1e-7)


def test_luminance_stays_where_chroma_has_no_room(pictures):
    light = np.random.default_rng(0).random((48, 64, 1))
    light[0], light[1] = 0, 1
    rest = np.array(color.chroma(3 * pictures[0].astype(float)))
    rest[2] = 0
    found = np.array(color.colored(light, rest))
    assert found.min() >= 0 and found.max() <= 1
    np.testing.assert_allclose(color.luminance(found), light, atol=1e-9)
    kept = found - light  # hue stays: a multiple of the chroma asked for
    share = np.sum(kept * rest, -1) / np.maximum(np.sum(rest**2, -1), 1e-12)
    np.testing.assert_allclose(kept, share[..., None] * rest, atol=1e-9)
    edge = np.minimum(found.min(-1), 1 - found.max(-1))
    full = (share > 1 - 1e-9) | (np.abs(rest).max(-1) < 1e-9)
    assert np.all(full | (edge < 1e-9))  # as much chroma as there is room for
    assert full.mean() > 0.02 and (~full).mean() > 0.2


def test_a_relit_luminance_has_the_targets_mean_and_deviation(pictures):
    target, source = (color.luminance(p.astype(float)) for p in pictures)
    palettes = [color.palette(p.astype(float)) for p in pictures[::-1]]
    found = color.relit(source, *palettes).numpy()
    assert found.mean() == pytest.approx(np.mean(target), abs=1e-6)
    assert found.std() == pytest.approx(np.std(target), rel=1e-4)
    same = color.relit(source, palettes[0], palettes[0])
    np.testing.assert_allclose(same, source, atol=1e-12)
    for contrast, ratio in ((0.1, 2.0), (9.0, 0.5)):
        spread = color.Palette(
            palettes[1].mean, palettes[1].covariance * contrast**2
        )
        found = color.relit(target, spread, palettes[1]).numpy()
        assert found.std() == pytest.approx(ratio * np.std(target), rel=1e-4)
    flat = color.luminance(ONE)
    found = color.relit(flat, color.palette(ONE), palettes[1])
    np.testing.assert_allclose(found, np.mean(target), atol=1e-6)


# What the network sees, and what is shown of its work


@pytest.mark.parametrize(
    "given",
    [
        {},
        *({"color": c, "color_strength": 0} for c in ("content", "luminance")),
    ],
)
def test_without_strength_nothing_changes(pictures, given):
    content, style = pictures
    options = Options(**given)
    seen, (painting,) = coloring.seen(content, [style], options)
    assert seen is content and painting is style
    assert coloring.shown(style, content, options) is style
    assert coloring.paled(style, options) is style


def test_luminance_sees_grey_and_shows_the_contents_chroma(pictures):
    content, style = pictures
    options = Options(color="luminance")
    seen, (painting,) = coloring.seen(content, [style], options)
    for image in (seen, painting):
        assert np.ptp(image, axis=-1).max() < 1e-6
    light = color.luminance(content)
    np.testing.assert_allclose(color.luminance(seen), light, atol=1e-6)
    assert np.mean(painting) == pytest.approx(np.mean(light), abs=0.01)
    painted = np.clip(np.asarray(seen) + 0.1 * np.sin(40 * content[::-1]), 0, 1)
    found = coloring.shown(painted.astype("float32"), content, options)
    np.testing.assert_allclose(
        color.luminance(found), color.luminance(painted), atol=1e-5
    )
    again = coloring.shown(seen, content, options)
    np.testing.assert_allclose(again, content, atol=1e-6)


def test_half_of_luminance_lies_between(pictures):
    content, style = pictures
    options = Options(color="luminance", color_strength=0.5)
    seen, _ = coloring.seen(content, [style], options)
    rest = color.chroma(content)
    np.testing.assert_allclose(color.chroma(seen), 0.5**0.5 * rest, atol=1e-6)
    shown = coloring.shown(seen, content, options)
    np.testing.assert_allclose(shown, content, atol=1e-6)


def test_a_third_pictures_palette(pictures):
    content, style = pictures
    options = Options(color_image="any.png")
    image = 0.3 + 0.3 * content[::-1, ::-1, ::-1]
    seen, (painting,) = coloring.seen(content, [style], options, image)
    assert seen is content
    for found, wanted in zip(moments(painting), moments(image), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=0.02, atol=2e-4)
