import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

from nst_tf.engine import vgg
from nst_tf.files import weights
from nst_tf.request.networks import LAYERS, NETWORKS
from nst_tf.request.values import layer_name

NARROW = {1: 32, 2: 32, 3: 48, 4: 64, 5: 64}  # 3 * 3 * 3 = 27 < 32: wide first


@pytest.fixture(scope="module", params=["random", "imagenet"])
def application(request):
    """keras.applications' own VGG-19, with random and with real weights."""
    model = keras.applications.VGG19(weights=None, include_top=False)
    if request.param == "imagenet":
        model.load_weights(request.getfixturevalue("real_weights"))
        return model
    generator = np.random.default_rng(0)
    for layer in LAYERS:  # biases start at zero, which would hide them
        kernel, bias = model.get_layer(layer).get_weights()
        bias = generator.uniform(0, 1, bias.shape)
        model.get_layer(layer).set_weights([kernel, bias])
    return model


@pytest.fixture
def narrow(monkeypatch):
    """Random kernels in no time."""
    monkeypatch.setattr(vgg, "WIDTHS", NARROW)


def in_numpy(kernels, image, pool):
    """Every layer's features of one image, in float64."""
    x = (image[..., ::-1] * 255 - [103.939, 116.779, 123.68]).astype("float64")
    features = {}
    for layer in LAYERS:
        if layer.endswith("conv1") and layer != "block1_conv1":
            height, width, channels = x.shape
            x = x[: height // 2 * 2, : width // 2 * 2]
            blocks = x.reshape(height // 2, 2, width // 2, 2, channels)
            x = pool(blocks, axis=(1, 3))
        kernel, bias = kernels[layer]
        padded = np.pad(x, ((1, 1), (1, 1), (0, 0)))
        sides = x.shape[:2]
        windows = [
            padded[row : row + sides[0], column : column + sides[1]]
            @ kernel[row, column]
            for row in range(3)
            for column in range(3)
        ]
        features[layer] = x = np.maximum(sum(windows) + bias, 0)
    return features


def assert_features_close(actual, expected, layer):
    size = np.abs(expected).max()
    assert size > 0
    np.testing.assert_allclose(
        actual, expected, rtol=0, atol=2e-5 * size, err_msg=layer
    )


# Against keras.applications and NumPy


def test_preprocessing_is_that_of_keras(pictures):
    for picture in pictures:
        expected = keras.applications.vgg19.preprocess_input(255 * picture)
        actual = np.asarray(vgg.preprocess(tf.constant(picture)))
        np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-4)


def test_preprocessing_of_one_pixel():
    red = tf.constant([1.0, 0.0, 0.0])
    expected = [-103.939, -116.779, 255 - 123.68]
    np.testing.assert_allclose(vgg.preprocess(red), expected, rtol=1e-6)


def test_features_are_those_of_keras(application, pictures):
    image = pictures[0][None]
    outputs = [application.get_layer(layer).output for layer in LAYERS]
    theirs = keras.Model(application.input, outputs)
    expected = theirs(keras.applications.vgg19.preprocess_input(255 * image))
    kernels = {
        layer: application.get_layer(layer).get_weights() for layer in LAYERS
    }
    actual = vgg.features_model(kernels, LAYERS)(image)
    for layer, features in zip(LAYERS, expected, strict=True):
        assert_features_close(actual[layer], features, layer)


def test_features_of_vgg16_are_those_of_keras(pictures):
    application = keras.applications.VGG16(weights=None, include_top=False)
    layers, image = NETWORKS["vgg16"].layers, pictures[0][None]
    outputs = {layer: application.get_layer(layer).output for layer in layers}
    expected = keras.Model(application.input, outputs)(
        keras.applications.vgg16.preprocess_input(255 * image)
    )
    kernels = {
        layer: application.get_layer(layer).get_weights() for layer in layers
    }
    actual = vgg.features_model(kernels, layers, network="vgg16")(image)
    for layer in layers:
        assert_features_close(actual[layer], expected[layer], layer)


@pytest.mark.parametrize("size", [(48, 64), (37, 51)])
@pytest.mark.parametrize(
    ("pooling", "pool"), [("max", np.max), ("avg", np.mean)]
)
def test_features_are_those_of_numpy(
    tiny_kernels, pictures, size, pooling, pool
):
    image = pictures[0][: size[0], : size[1]]
    expected = in_numpy(tiny_kernels, image, pool)
    actual = vgg.features_model(tiny_kernels, LAYERS, pooling)(image[None])
    for layer in LAYERS:
        assert_features_close(actual[layer][0], expected[layer], layer)


def test_max_pooling_is_the_default(tiny_kernels, pictures):
    image = pictures[0][None]
    network = vgg.features_model(tiny_kernels, ["conv2_1"])
    trained = vgg.features_model(tiny_kernels, ["conv2_1"], "max")
    np.testing.assert_array_equal(
        *[model(image)["block2_conv1"] for model in (network, trained)]
    )


# The model


@pytest.mark.parametrize(
    "wanted",
    [["block1_conv1"], ["conv4_2", "block1_conv2"], ["relu5_4"], LAYERS],
)
def test_nothing_deeper_than_asked_for_is_computed(tiny_kernels, wanted):
    network = vgg.features_model(tiny_kernels, wanted)
    deepest = max(LAYERS.index(layer_name(name)) for name in wanted)
    names = [layer.name for layer in network.layers]
    convolutions = [name for name in names if "_conv" in name]
    assert convolutions == list(LAYERS[: deepest + 1])
    blocks = int(LAYERS[deepest][5])
    pools = [name for name in names if "_pool" in name]
    assert pools == [f"block{block}_pool" for block in range(1, blocks)]


def test_deeper_kernels_need_not_be_there(tiny_kernels):
    enough = {layer: tiny_kernels[layer] for layer in LAYERS[:3]}
    assert vgg.features_model(enough, ["conv2_1"]).output.keys() == {
        "block2_conv1"
    }


def test_features_have_their_full_names_and_the_asked_ones_only(tiny_kernels):
    network = vgg.features_model(
        tiny_kernels, ["relu1_1", "conv3_2", "block3_conv2"]
    )
    assert set(network.output) == {"block1_conv1", "block3_conv2"}


def test_unknown_layers_are_rejected(tiny_kernels):
    with pytest.raises(ValueError, match='received "conv6_1"'):
        vgg.features_model(tiny_kernels, ["conv6_1"])


def test_nothing_is_trainable(tiny_kernels):
    network = vgg.features_model(tiny_kernels, ["conv2_2"])
    assert network.trainable_variables == []
    names = [variable.name for variable in network.variables]
    assert names == ["kernel", "bias", "turned"] * 4
    assert len(network.non_trainable_variables) == len(names)


WAYS = list(itertools.product([False, True], repeat=2))


@pytest.mark.parametrize("ways", WAYS)
@pytest.mark.parametrize("size", [(16, 16), (17, 31)])
def test_a_convolution_and_its_gradient_have_two_ways(
    tiny_kernels, pictures, ways, size
):
    image = tf.constant(pictures[0][None, : size[0], : size[1]])
    layers = LAYERS[::2]  # some kept, some not

    def seen_and_gradient(transposed):
        network = vgg.features_model(
            tiny_kernels, layers, transposed=transposed
        )
        with tf.GradientTape() as tape:
            tape.watch(image)
            seen = network(image)
            total = tf.add_n([tf.reduce_sum(seen[k] ** 2) for k in seen])
        return seen, tape.gradient(total, image)

    expected = seen_and_gradient((False, False))
    for one, other in zip(
        tf.nest.flatten(seen_and_gradient(ways)),
        tf.nest.flatten(expected),
        strict=True,
    ):
        scale = float(tf.reduce_max(tf.abs(other)))
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5 * scale)


def test_kernels_are_turned_only_where_needed(tiny_kernels):
    for ways in WAYS:
        network = vgg.features_model(tiny_kernels, ["conv2_2"], transposed=ways)
        turned = [v.name for v in network.variables].count(vgg.TURNED)
        assert turned == (0 if ways == (False, True) else 4)


@pytest.mark.parametrize("size", [(16, 16), (17, 31), (16, 64), (48, 33)])
def test_any_size_will_do(tiny_kernels, pictures, size):
    image = pictures[0][None, : size[0], : size[1]]
    for layer, features in vgg.features_model(tiny_kernels, LAYERS)(
        image
    ).items():
        halvings = int(layer[5]) - 1
        width = tiny_kernels[layer][1].size
        sides = [side // 2**halvings for side in size]
        assert features.shape == (1, *sides, width)


def test_images_of_a_batch_do_not_mix(tiny_kernels, pictures):
    images = np.stack([pictures[0][:32, :40], pictures[1][:32, :40]])
    network = vgg.features_model(tiny_kernels, ["conv3_1"])
    together = network(images)["block3_conv1"]
    for image, features in zip(images, together, strict=True):
        alone = network(image[None])["block3_conv1"][0]
        assert_features_close(features, alone, "block3_conv1")


def test_features_are_after_the_relu(tiny_kernels, pictures):
    features = vgg.features_model(tiny_kernels, LAYERS)(pictures[0][None])
    for values in features.values():
        assert np.min(values) == 0 < np.max(values)


# Random kernels


def test_random_kernels_are_those_of_a_vgg19(narrow):
    kernels, channels = vgg.random_kernels(), 3
    assert tuple(kernels) == LAYERS
    for layer, (kernel, bias) in kernels.items():
        width = NARROW[int(layer[5])]
        assert kernel.shape == (3, 3, channels, width)
        assert kernel.dtype == bias.dtype == np.float32
        np.testing.assert_array_equal(bias, np.zeros(width))
        channels = width


def test_widths_are_those_of_keras(application):
    for layer in LAYERS:
        width = vgg.WIDTHS[int(layer[5])]
        assert application.get_layer(layer).filters == width


def test_random_kernels_are_seeded(narrow):
    first, again, other = (vgg.random_kernels(seed) for seed in (1, 1, 2))
    for layer in LAYERS:
        np.testing.assert_array_equal(first[layer][0], again[layer][0])
        assert np.abs(first[layer][0] - other[layer][0]).max() > 0.01


def test_random_kernels_are_orthogonal(narrow):
    before = vgg.INPUT_SIZE
    kernels = vgg.random_kernels()
    for layer, size in zip(LAYERS, vgg.FEATURE_SIZES, strict=True):
        kernel = kernels[layer][0] * before / size
        matrix = kernel.reshape(-1, kernel.shape[-1]).astype("float64")
        rows, columns = matrix.shape
        product = matrix @ matrix.T if columns > rows else matrix.T @ matrix
        # He et al.: a column's squared norm is 2, on average over columns
        expected = 2 * max(1, columns / rows) * np.eye(min(rows, columns))
        np.testing.assert_allclose(product, expected, atol=1e-4, err_msg=layer)
        before = size


def test_random_features_are_as_large_as_the_trained_ones(narrow, pictures):
    network = vgg.features_model(vgg.random_kernels(), LAYERS, "avg")
    seen = network(pictures[0][None])
    for layer, size in zip(LAYERS, vgg.FEATURE_SIZES, strict=True):
        found = np.sqrt(np.mean(np.square(seen[layer])))
        assert 0.2 < found / size < 5, layer


# Precision


@pytest.mark.parametrize(
    ("precision", "dtype"),
    [("mixed_bfloat16", tf.bfloat16), ("mixed_float16", tf.float16)],
)
def test_half_precision_gives_features_close_by(
    tiny_kernels, pictures, precision, dtype
):
    whole = vgg.features_model(tiny_kernels, LAYERS)(pictures[0][None])
    half = vgg.features_model(tiny_kernels, LAYERS, precision=precision)
    for layer, features in half(pictures[0][None]).items():
        assert features.dtype == dtype
        features = tf.cast(features, tf.float32) / vgg.scale(precision)
        error = tf.norm(features - whole[layer]) / tf.norm(whole[layer])
        assert 0 < error < 0.03, layer


def test_half_precision_never_overflows(real_weights):
    """Black, white, every colour, checkers and noise: what is largest."""
    kernels = weights.read_kernels(real_weights)
    network = vgg.features_model(kernels, LAYERS, "max", "mixed_float16")
    generator = np.random.default_rng(0)
    checkers = np.indices((64, 64)).sum(0) % 2
    pictures = [
        *np.ones((8, 64, 64, 3)) * np.indices((2, 2, 2)).reshape(3, 8).T[
            :, None, None
        ],
        *(np.stack([checkers // k % 2] * 3, -1) for k in (1,)),
        *((np.indices((64, 64))[k // 4] // 2 ** (k % 4) % 2)[..., None]
          * np.ones(3) for k in range(8)),
        generator.integers(0, 2, (64, 64, 3)),
        generator.random((64, 64, 3)),
    ]  # fmt: skip
    largest = 0.0
    for features in network(np.asarray(pictures, "float32")).values():
        assert np.isfinite(features).all()
        largest = max(largest, float(np.max(features)))
    # There is room for pictures four times worse than these.
    assert largest < 65504 / 4
