"""Statistics of style: against SciPy, finite differences, and at the edges."""

import numpy as np
import pytest
import scipy.linalg
import tensorflow as tf

from nst_tf.formulas import losses, statistics
from nst_tf.formulas.statistics import RIDGE, UNIT, gaussian, wasserstein_cost

CHANNELS = 12


def features(seed, height=9, width=11, channels=CHANNELS):
    """Correlated features with means, float64 `[1, h, w, c]`."""
    generator = np.random.default_rng(seed)
    mixed = generator.normal(size=(height * width, channels))
    mixed = mixed @ generator.normal(size=(channels, channels)) / 3
    mixed += generator.normal(size=channels)
    return np.maximum(mixed, 0).reshape(1, height, width, channels)


def cost(style, generated):
    style, generated = (
        losses.mean_moments(tf.convert_to_tensor(each))
        for each in (style, generated)
    )
    return tf.reduce_sum(wasserstein_cost(gaussian(style), generated))


def rows_of(style, generated):
    """[positions, c] of both, in the size that the painting's have."""
    size = np.sqrt(np.mean(style**2))
    return [e.reshape(-1, e.shape[-1]) / size for e in (style, generated)]


def written_again(style, generated):
    """The docstring's formula in NumPy and SciPy, at full rank."""
    one, other = rows_of(style, generated)
    means = one.mean(0), other.mean(0)
    covariances = [np.cov(each.T, bias=True) for each in (one, other)]
    ridge = RIDGE * np.trace(covariances[0]) / len(means[0]) + 1e-12
    first, second = (each + ridge * np.eye(len(each)) for each in covariances)
    root = scipy.linalg.sqrtm(first).real
    cross = scipy.linalg.sqrtm(root @ second @ root).real
    apart = np.sum((means[0] - means[1]) ** 2)
    return UNIT * (apart + np.trace(first + second - 2 * cross)) / len(root)


@pytest.mark.parametrize("kind", [tf.float64, tf.float32, tf.bfloat16])
def test_moments_are_means_of_products_with_ones(kind):
    seen = tf.cast(features(1), kind)
    values = tf.cast(seen, tf.float64).numpy().reshape(-1, CHANNELS)
    with_ones = np.hstack([values, np.ones((len(values), 1))])
    expected = with_ones.T @ with_ones / len(values)
    moments = losses.mean_moments(seen)
    assert moments.dtype == (tf.float32 if kind == tf.bfloat16 else kind)
    np.testing.assert_allclose(moments[0], expected, rtol=1e-5)
    gram = losses.mean_gram(seen)
    np.testing.assert_allclose(moments[:, :-1, :-1], gram, rtol=1e-6)


@pytest.mark.parametrize("kind", [tf.float32, tf.bfloat16])
def test_moments_in_parts_are_the_same_and_so_is_their_slope(kind, monkeypatch):
    seen = tf.cast(features(1), kind)
    weights = tf.random.stateless_normal([CHANNELS + 1] * 2, [1, 2])

    def slope():
        with tf.GradientTape() as tape:
            tape.watch(seen)
            value = tf.reduce_sum(losses.mean_moments(seen) * weights)
        return value, tf.cast(tape.gradient(value, seen), tf.float32)

    value, gradient = slope()
    monkeypatch.setattr(losses, "PART", 7 * CHANNELS)
    again, gradient_again = slope()
    np.testing.assert_allclose(value, again, rtol=1e-5)
    np.testing.assert_array_equal(gradient, gradient_again)
    ones = np.ones((99, 1))
    rows = tf.cast(seen, tf.float32).numpy().reshape(99, CHANNELS)
    both = (weights + tf.transpose(weights)).numpy()[:-1] / 99
    expected = (np.hstack([rows, ones]) @ both.T).reshape(gradient.shape)
    tolerance = 1e-5 if kind == tf.float32 else 0.03
    largest = np.abs(expected).max()
    np.testing.assert_allclose(gradient, expected, atol=tolerance * largest)


def test_the_cost_is_the_formula_in_scipy():
    for seeds in ((1, 2), (3, 1)):
        pair = [features(seed) for seed in seeds]
        np.testing.assert_allclose(cost(*pair), written_again(*pair), rtol=1e-8)
        half = [each.astype("float32") for each in pair]
        np.testing.assert_allclose(cost(*half), written_again(*pair), rtol=1e-4)


def test_directions_beyond_the_rank_count_as_a_whole(monkeypatch):
    monkeypatch.setattr(statistics, "RANK", 5)
    style, generated = features(1), features(2)
    full = written_again(style, generated)
    found = float(cost(style, generated))
    assert 0 < found < full  # a bound from below, as part is left open
    rows = rows_of(style, generated)
    one, other = (np.cov(each.T, bias=True) for each in rows)
    values, vectors = np.linalg.eigh(one)
    basis, spread = vectors[:, -5:], values[-5:]
    ridge = RIDGE * spread.mean() + 1e-12
    first = np.diag(spread + ridge)
    second = basis.T @ other @ basis
    rest = np.trace(other) - np.trace(second), values[:-5].sum()
    second = second + ridge * np.eye(5)
    cross = scipy.linalg.sqrtm(np.sqrt(first) @ second @ np.sqrt(first)).real
    expected = np.trace(first + second - 2 * cross)
    expected += (np.sqrt(rest[0]) - np.sqrt(rest[1])) ** 2
    expected += np.sum((rows[0].mean(0) - rows[1].mean(0)) ** 2)
    np.testing.assert_allclose(found, UNIT * expected / CHANNELS, rtol=1e-8)


@pytest.mark.parametrize("factor", [1e-3, 300.0])
def test_no_size_of_the_features_matters(factor):
    pair = [features(seed) for seed in (1, 2)]
    scaled = [factor * each for each in pair]
    np.testing.assert_allclose(cost(*scaled), cost(*pair), rtol=1e-6)
    half = [each.astype("float32") for each in scaled]
    np.testing.assert_allclose(cost(*half), cost(*pair), rtol=1e-4)


def test_paintings_have_each_their_own_size():
    """Moments of several, as of regions, beside one alone."""
    paintings = [features(1), 40 * features(3)]
    pictures = [features(2), 30 * features(4)]
    together = wasserstein_cost(
        gaussian(tf.concat([*map(losses.mean_moments, paintings)], 0)),
        tf.concat([*map(losses.mean_moments, pictures)], 0),
    )
    apart = [*map(cost, paintings, pictures)]
    np.testing.assert_allclose(together, apart, rtol=1e-9)


@pytest.mark.parametrize("rank", [5, 192])
def test_the_gradient_is_that_of_finite_differences(rank, monkeypatch):
    monkeypatch.setattr(statistics, "RANK", rank)
    style, generated = features(1), tf.constant(features(2))
    with tf.GradientTape() as tape:
        tape.watch(generated)
        value = cost(style, generated)
    gradient = tape.gradient(value, generated).numpy()
    generator = np.random.default_rng(4)
    for _ in range(5):
        way = generator.normal(size=gradient.shape)
        ends = [float(cost(style, generated + s * way)) for s in (1e-5, -1e-5)]
        np.testing.assert_allclose(
            (ends[0] - ends[1]) / 2e-5, np.sum(gradient * way), rtol=1e-6
        )


@pytest.mark.parametrize("rank", [5, 192])
def test_a_picture_costs_nothing_beside_itself(rank, monkeypatch):
    monkeypatch.setattr(statistics, "RANK", rank)
    for kind in ("float32", "float64"):
        picture = features(1).astype(kind)
        scale = float(cost(picture, features(2).astype(kind)))
        assert abs(float(cost(picture, picture))) < 1e-5 * scale


@pytest.mark.parametrize("style", ["plain", "single", "usual", "zero"])
@pytest.mark.parametrize("generated", ["plain", "single", "usual", "zero"])
@pytest.mark.parametrize("rank", [5, 192])
def test_nothing_is_too_plain(style, generated, rank, monkeypatch):
    """Grey, black, a single position: finite values and gradients."""
    monkeypatch.setattr(statistics, "RANK", rank)
    pictures = {
        "plain": np.full((1, 4, 4, CHANNELS), 0.7, "float32"),
        "zero": np.zeros((1, 4, 4, CHANNELS), "float32"),
        "single": features(3, 1, 1).astype("float32"),  # of rank 1
        "usual": features(2).astype("float32"),
    }
    seen = tf.constant(pictures[generated])
    with tf.GradientTape() as tape:
        tape.watch(seen)
        value = cost(pictures[style], seen)
    gradient = tape.gradient(value, seen)
    assert np.isfinite(value) and np.all(np.isfinite(gradient))
    assert np.max(np.abs(gradient)) < 1e5 * UNIT
    if style == generated:
        assert abs(float(value)) < 1e-4 * UNIT


def test_blended_moments_are_those_of_all_positions_together():
    one, other = features(1), features(2)
    both = tf.concat([one, other], 1)
    mean = (losses.mean_moments(one) + losses.mean_moments(other)) / 2
    np.testing.assert_allclose(mean, losses.mean_moments(both), rtol=1e-12)
