import numpy as np
import pytest
import tensorflow as tf

from nst_tf.formulas import losses

HALVES = (tf.float16, tf.bfloat16)


def features(*shape, seed=0):
    """Float64, non-negative as after a ReLU."""
    return np.random.default_rng(seed).random(shape)


def gram_by_loops(image, mask=None):
    """G_kk' = sum_ij m_ij a_ijk a_ijk', one image, term by term."""
    height, width, channels = image.shape
    gram = np.zeros((channels, channels))
    for i in range(height):
        for j in range(width):
            weight = 1 if mask is None else mask[i, j]
            position = image[i, j]
            for k in range(channels):
                for other in range(channels):
                    gram[k, other] += weight * position[k] * position[other]
    return gram


def style_cost_by_loops(style, generated):
    """The course's 1 / (2 nH nW nC)^2 sum (G_S - G_G)^2, equal sizes."""
    height, width, channels = style.shape
    difference = gram_by_loops(style) - gram_by_loops(generated)
    return np.sum(difference**2) / (2 * height * width * channels) ** 2


def assert_close(actual, expected, tolerance=1e-12):
    np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=1e-15)


# Gram matrices


def test_gram_matrix_of_a_batch():
    batch = features(2, 3, 4, 5)
    expected = [gram_by_loops(image) for image in batch]
    assert_close(losses.gram_matrix(batch), expected)


def test_gram_matrix_of_a_single_image():
    image = features(3, 4, 5)
    gram = losses.gram_matrix(image)
    assert gram.shape == (5, 5)
    assert_close(gram, gram_by_loops(image))


def test_gram_matrix_of_a_matrix_is_the_courses():
    matrix = features(5, 12)
    assert_close(losses.gram_matrix(matrix), matrix @ matrix.T)


def test_matrix_and_image_agree():
    image = features(3, 4, 5)
    unrolled = image.reshape(12, 5).T
    assert_close(losses.gram_matrix(unrolled), losses.gram_matrix(image))


def test_gram_matrix_is_symmetric_and_positive():
    gram = losses.gram_matrix(features(4, 4, 6)).numpy()
    assert_close(gram, gram.T)
    assert np.linalg.eigvalsh(gram).min() > -1e-9


def test_gram_matrix_ignores_where_things_are():
    image = features(6, 4, 5)
    shuffled = np.random.default_rng(1).permutation(image.reshape(24, 5))
    moved = shuffled.reshape(4, 6, 5)  # the positions' grid does not matter
    assert_close(losses.gram_matrix(moved), losses.gram_matrix(image))


def test_gram_matrix_of_unknown_size_and_width():
    specification = tf.TensorSpec([None, None, None, None], tf.float64)
    traced = tf.function(losses.gram_matrix, input_signature=[specification])
    for shape in ((2, 3, 4, 5), (1, 6, 2, 7)):
        batch = features(*shape)
        assert_close(traced(batch), losses.gram_matrix(batch))


@pytest.mark.parametrize("shape", [(), (3,), (1, 2, 3, 4, 5)])
def test_gram_matrix_names_a_wrong_rank(shape):
    with pytest.raises(ValueError, match="`features` should be .* received"):
        losses.gram_matrix(features(*shape))


@pytest.mark.parametrize("shape", [(3, 4, 5), (2, 3, 4, 5)])
def test_mean_gram_divides_by_positions(shape):
    image = features(*shape)
    expected = np.einsum("...ijk,...ijl->...kl", image, image) / 12
    assert_close(losses.mean_gram(image), expected)


def test_mean_gram_of_a_repeated_image_is_that_of_the_image():
    image = features(3, 4, 5)
    tiled = np.tile(image, (2, 3, 1))
    assert_close(losses.mean_gram(tiled), losses.mean_gram(image))


# Masks


@pytest.mark.parametrize("function", [losses.gram_matrix, losses.mean_gram])
@pytest.mark.parametrize("shape", [(3, 4, 5), (2, 3, 4, 5)])
def test_mask_of_ones_is_no_mask(function, shape):
    image = features(*shape).astype("float32")
    ones = np.ones(shape[:-1], "float32")
    np.testing.assert_array_equal(function(image, ones), function(image))


@pytest.mark.parametrize("function", [losses.gram_matrix, losses.mean_gram])
def test_mask_of_zeros_gives_zeros(function):
    gram = function(features(3, 4, 5), np.zeros((3, 4)))
    np.testing.assert_array_equal(gram, np.zeros((5, 5)))


def test_mask_of_a_half_is_that_half_alone():
    image, mask = features(4, 6, 5), np.zeros((4, 6))
    mask[:, :3] = 1
    left = image[:, :3]
    assert_close(losses.gram_matrix(image, mask), gram_by_loops(left))
    assert_close(losses.mean_gram(image, mask), gram_by_loops(left) / 12)


def test_a_soft_mask_weighs_the_positions():
    image, mask = features(3, 4, 5), features(3, 4, seed=1)
    expected = gram_by_loops(image, mask)
    assert_close(losses.gram_matrix(image, mask), expected)
    assert_close(losses.mean_gram(image, mask), expected / mask.sum())


def test_a_mask_of_halves_changes_no_mean():
    image = features(3, 4, 5)
    half = losses.mean_gram(image, np.full((3, 4), 0.5))
    assert_close(half, losses.mean_gram(image))


def test_each_image_of_a_batch_has_its_own_mask():
    batch, masks = features(2, 3, 4, 5), features(2, 3, 4, seed=1)
    expected = [gram_by_loops(*pair) for pair in zip(batch, masks, strict=True)]
    assert_close(losses.gram_matrix(batch, masks), expected)


def test_one_mask_serves_a_whole_batch():
    batch, mask = features(2, 3, 4, 5), features(3, 4, seed=1)
    expected = [losses.mean_gram(image, mask) for image in batch]
    assert_close(losses.mean_gram(batch, mask), expected)


# Costs


def test_content_cost():
    content, generated = features(1, 3, 4, 5), features(1, 3, 4, 5, seed=1)
    total = np.sum((content - generated) ** 2)
    assert_close(losses.content_cost(content, generated), total / (4 * 60))


def test_gram_cost():
    style, generated = features(1, 5, 5), features(1, 5, 5, seed=1)
    total = np.sum((style - generated) ** 2)
    assert_close(losses.gram_cost(style, generated), total / (4 * 25))


def test_layer_style_cost_is_the_courses_at_equal_sizes():
    style, generated = features(3, 4, 5), features(3, 4, 5, seed=1)
    expected = style_cost_by_loops(style, generated)
    assert_close(losses.layer_style_cost(style, generated), expected)


def test_layer_style_cost_with_a_style_of_another_size():
    style, generated = features(2, 7, 5), features(3, 4, 5, seed=1)
    difference = gram_by_loops(style) / 14 - gram_by_loops(generated) / 12
    expected = np.sum(difference**2) / (4 * 5**2)
    assert_close(losses.layer_style_cost(style, generated), expected)


def test_style_cost_weighs_the_layers_it_is_given():
    style = {name: features(3, 4, 5, seed=ord(name)) for name in "abc"}
    generated = {name: features(3, 4, 5, seed=ord(name)) for name in "xyz"}
    generated = dict(zip("abc", generated.values(), strict=True))
    weights = {"a": 0.2, "c": 3.0}  # b has none: it does not count
    expected = sum(
        weight * style_cost_by_loops(style[layer], generated[layer])
        for layer, weight in weights.items()
    )
    assert_close(losses.style_cost(style, generated, weights), expected)


@pytest.mark.parametrize("shape", [(4, 5, 3), (2, 4, 5, 3)])
def test_total_variation(shape):
    image = features(*shape)
    down = [
        (image[..., i + 1, j, :] - image[..., i, j, :]) ** 2
        for i in range(3)
        for j in range(5)
    ]
    across = [
        (image[..., i, j + 1, :] - image[..., i, j, :]) ** 2
        for i in range(4)
        for j in range(4)
    ]
    expected = np.mean(down) + np.mean(across)
    assert_close(losses.total_variation(image), expected)


def test_total_variation_of_a_ramp():
    ramp = np.arange(6.0)[None, :, None] * np.ones((4, 1, 3))
    assert_close(losses.total_variation(ramp / 10), 0.1**2)


def test_total_cost_defaults_to_the_courses_weights():
    content, style = tf.constant(2.0), tf.constant(0.5)
    assert losses.total_cost(content, style) == 10 * 2 + 40 * 0.5
    assert losses.total_cost(content, style, 3, beta=4) == 3 * 2 + 4 * 0.5


COSTS = {
    "content": losses.content_cost,
    "gram": losses.gram_cost,
    "layer style": losses.layer_style_cost,
    "style": lambda style, generated: losses.style_cost(
        {"a": style}, {"a": generated}, {"a": 0.7}
    ),
    "total variation": lambda _, generated: losses.total_variation(generated),
    "masked style": lambda style, generated: losses.gram_cost(
        losses.mean_gram(style), losses.mean_gram(generated, np.eye(3, 4))
    ),
}
DISTANCES = ["content", "gram", "layer style", "style"]


@pytest.mark.parametrize("name", DISTANCES)
def test_equal_inputs_cost_nothing_and_others_something(name):
    image, other = features(1, 3, 4, 5), features(1, 3, 4, 5, seed=1)
    assert COSTS[name](image, image) == 0
    assert COSTS[name](image, other) > 0


@pytest.mark.parametrize("name", COSTS)
def test_gradient_is_that_of_finite_differences(name):
    style, generated = features(1, 3, 4, 2), features(1, 3, 4, 2, seed=1)
    image = tf.constant(generated)
    with tf.GradientTape() as tape:
        tape.watch(image)
        cost = COSTS[name](style, image)
    gradient = tape.gradient(cost, image).numpy()
    step = 1e-5
    differences = np.empty_like(generated)
    for place in np.ndindex(generated.shape):
        nudge = np.zeros_like(generated)
        nudge[place] = step
        above = COSTS[name](style, generated + nudge)
        below = COSTS[name](style, generated - nudge)
        differences[place] = (above - below) / (2 * step)
    assert np.abs(gradient).max() > 1e-4  # there is something to compare
    np.testing.assert_allclose(gradient, differences, rtol=1e-6, atol=1e-10)


# Precision


@pytest.mark.parametrize("dtype", HALVES)
def test_half_precision_features_are_summed_in_float32(dtype):
    half = tf.cast(features(1, 64, 64, 5) + 4, dtype)  # sums beyond 65504
    gram = losses.gram_matrix(half)
    assert gram.dtype == tf.float32
    full = tf.cast(half, tf.float32)
    assert_close(gram, losses.gram_matrix(full), 1e-5)
    assert_close(losses.mean_gram(half), losses.mean_gram(full), 1e-5)


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("name", ["content", "layer style"])
def test_half_precision_costs_are_float32(dtype, name):
    style, generated = (
        tf.cast(features(1, 3, 4, 5, seed=s), dtype) for s in (0, 1)
    )
    cost = COSTS[name](style, generated)
    assert cost.dtype == tf.float32
    full = COSTS[name](tf.cast(style, "float64"), tf.cast(generated, "float64"))
    assert_close(cost, full, 1e-5)


@pytest.mark.parametrize("dtype", HALVES)
def test_half_precision_gradients_of_a_gram_matrix_are_near(dtype):
    """And of the features' type."""
    image = tf.cast(features(1, 6, 7, 5), dtype)
    slope = tf.constant(1e3 * features(1, 5, 5, seed=1), tf.float32)
    found = []
    for given in (image, tf.cast(image, tf.float32)):
        with tf.GradientTape() as tape:
            tape.watch(given)
            gram = losses.gram_matrix(given)
        found.append(tape.gradient(gram, given, slope))
    assert found[0].dtype == dtype
    assert_close(tf.cast(found[0], tf.float32), found[1], 0.02)


@pytest.mark.parametrize("jit", [False, True])
@pytest.mark.parametrize("shape", [(5, 8, 3), (2, 5, 7, 3)])
@pytest.mark.parametrize("part", [10, 50])
def test_half_precision_is_summed_part_by_part(monkeypatch, part, shape, jit):
    """In more parts than one, the last one shorter or empty; or in one."""
    monkeypatch.setattr(losses, "PART", 3 * part)
    half = tf.cast(features(*shape), tf.bfloat16)
    gram = tf.function(losses.gram_matrix, jit_compile=jit)(half)
    whole = losses.gram_matrix(tf.cast(half, tf.float32))
    assert gram.dtype == tf.float32
    assert_close(gram, whole, 1e-6)


@pytest.mark.parametrize("dtype", HALVES)
def test_half_precision_masks_and_features_mix(dtype):
    image, mask = features(3, 4, 5), features(3, 4, seed=1)
    gram = losses.mean_gram(tf.cast(image, dtype), mask.astype("float32"))
    assert gram.dtype == tf.float32
    assert_close(gram, losses.mean_gram(image, mask), 0.02)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_other_precisions_stay(dtype):
    assert losses.gram_matrix(features(3, 4, 5).astype(dtype)).dtype == dtype


def test_only_what_no_file_holds_is_out_of_range():
    image = tf.constant([[[[-0.5, 0.1, 0.25], [0.9, 1.25, 0.5]]]], tf.float64)
    assert_close(losses.out_of_range(image), (0.5**2 + 0.25**2) / 6)
    (by_formula,), (by_difference,) = tf.test.compute_gradient(
        losses.out_of_range, [image]
    )
    assert_close(by_formula, by_difference, 1e-6)
    assert losses.out_of_range(tf.clip_by_value(image, 0, 1)) == 0


def test_temporal_cost_is_ruders():
    generator = np.random.default_rng(5)
    image, earlier = generator.random((2, 1, 4, 5, 3))
    confidence = generator.random((1, 4, 5, 1))
    confidence[0, 1, 2] = 0
    with tf.GradientTape() as tape:
        x = tf.constant(image)
        tape.watch(x)
        cost = losses.temporal_cost(x, earlier, confidence)
    apart = 255 * image - 255 * earlier
    size = image.size
    np.testing.assert_allclose(cost, np.sum(confidence * apart**2) / size)
    slope = 2 * confidence * apart * 255 / size
    gradient = tape.gradient(cost, x)
    np.testing.assert_allclose(gradient, slope)
    assert not np.any(gradient[0, 1, 2]) and np.all(gradient[0, 0])
