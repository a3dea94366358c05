"""Inception V3 against keras.applications, and through all of nst_tf."""

import functools
import json
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

import nst_tf
from nst_tf.engine import inception
from nst_tf.files import weights
from nst_tf.request.networks import NETWORKS
from nst_tf.request.options import Options

LAYERS = NETWORKS["inception_v3"].layers
FEW = {"content_layers": "conv4", "style_layers": "conv1:1e6,mixed0:1e6"}
SHALLOW = {"content_layers": "conv2", "style_layers": "conv1:1e6,conv3:1e6"}
ADAM = {"optimizer": "adam", "history": None}
QUICK = Options(
    network="inception_v3",
    weights="random",
    steps=3,
    scales=1,
    precision="float32",
    jit="off",
    history=2,
    **FEW,
)


@pytest.fixture(scope="module", autouse=True)
def drawn_once():
    """22 million random numbers made orthogonal: two seconds."""
    with pytest.MonkeyPatch.context() as patch:
        once = functools.lru_cache(2)(inception.random_kernels)
        patch.setattr(inception, "random_kernels", once)
        yield


@pytest.fixture(scope="module")
def theirs():
    """Keras' own, untrained, but for a batch normalisation that matters."""
    generator = np.random.default_rng(4)
    model = keras.applications.InceptionV3(weights=None, include_top=False)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            width = layer.moving_mean.shape
            mean, shift = generator.normal(0, 0.1, (2, *width))
            layer.set_weights([shift, mean, generator.uniform(0.5, 2, width)])
    return model


@pytest.fixture(scope="module")
def file(theirs, tmp_path_factory):
    path = tmp_path_factory.mktemp("inception") / "own.weights.h5"
    with warnings.catch_warnings():  # Keras' own, with NumPy 2
        warnings.simplefilter("ignore", DeprecationWarning)
        theirs.save_weights(path)
    return path


def outputs(model):
    """The layers by our names: the stem's five ReLUs, then the blocks."""
    stem = [k.output for k in model.layers if k.name.startswith("activation")]
    named = dict(zip(LAYERS, stem[:5], strict=False))
    blocks = {k: model.get_layer(k).output for k in LAYERS[5:]}
    return {**named, **blocks}


def test_a_file_of_keras_gives_the_features_of_keras(theirs, file, pictures):
    loaded = weights.load(str(file), 0, "inception_v3")
    image = tf.image.resize(pictures[0][None], [101, 83])
    preprocess = keras.applications.inception_v3.preprocess_input
    expected = keras.Model(theirs.input, outputs(theirs))(
        preprocess(255.0 * image), training=False
    )
    actual = inception.features_model(loaded.kernels, LAYERS)(image)
    assert list(expected) == list(LAYERS)
    for layer in LAYERS:
        size = np.abs(expected[layer]).max()
        np.testing.assert_allclose(
            actual[layer], expected[layer], atol=2e-5 * size, err_msg=layer
        )
        assert size > 0


def test_another_networks_file_is_refused(file, monkeypatch):
    small = functools.partial(keras.applications.VGG16, input_shape=(32, 32, 3))
    monkeypatch.setattr(keras.applications, "VGG16", small)  # its top: 1.5 GB
    with pytest.raises(ValueError, match="applications.VGG16 reads.*is not"):
        weights.load(str(file), 0, "vgg16")


def test_random_features_are_of_size_one():
    kernels = inception.random_kernels()
    network = inception.features_model(kernels, LAYERS, "avg")
    noise = np.random.default_rng(1).random((1, 139, 139, 3), "float32")
    assert len(kernels) == 94
    for layer, seen in network(noise).items():
        assert 0.25 < np.sqrt(np.mean(np.square(seen))) < 2, layer


def test_only_what_is_asked_for_is_computed():
    network = inception.features_model(inception.random_kernels(), ["mixed0"])
    assert network.count_params() < 1e6
    averaged = inception.features_model(
        inception.random_kernels(), ["conv4"], "avg"
    )
    kinds = {type(layer).__name__ for layer in averaged.layers}
    assert "AveragePooling2D" in kinds and "MaxPooling2D" not in kinds


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"precision": "mixed_float16", **ADAM, **SHALLOW},
        {"style_statistic": "wasserstein", **ADAM, **SHALLOW},
    ],
)
def test_it_paints(pictures, changes, tmp_path):
    content, style = (np.tile(picture, (2, 2, 1)) for picture in pictures)
    options = QUICK.replace(**changes)
    *_, end = nst_tf.snapshots(content, style, options=options, every=1)
    costs = end.record["costs"]
    assert end.image.shape == content.shape and not end.diverged
    assert costs["end"]["total"] < 0.9 * costs["start"]["total"]
    assert end.record["network"]["name"] == "inception_v3"
    assert end.record["tile"] == 0


def test_it_is_exported(pictures, tmp_path):
    content, style = (np.tile(picture, (2, 2, 1)) for picture in pictures)
    content, style = (np.uint8(255 * p) for p in (content, style))
    options = QUICK.replace(**ADAM, style_layers="conv1:1e6")
    nst_tf.export(tmp_path / "1", options=options)
    loaded = tf.saved_model.load(str(tmp_path / "1"))
    there = loaded.stylize(tf.constant(content), tf.constant(style))
    here = nst_tf.stylize(content, style, options=options)
    np.testing.assert_allclose(
        there["costs"][-1, 0], here.costs["total"], rtol=1e-4
    )
    recipe = json.loads((tmp_path / "1/assets.extra/nst_tf.json").read_text())
    assert recipe["export"]["smallest"] == 75


def test_small_pictures_are_refused(pictures):
    with pytest.raises(ValueError, match="`content` should be .* 75 x 75"):
        nst_tf.stylize(*pictures, options=QUICK)


def test_patches_are_refused():
    with pytest.raises(ValueError, match="`network`: patches are those of"):
        nst_tf.patches([np.zeros((99, 99, 3))], network="inception_v3")
