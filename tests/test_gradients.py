"""What excites a unit: the gradient, and the guided one by hand."""

import numpy as np
import pytest
import tensorflow as tf
from conftest import smooth, tiny_network

from nst_tf.engine import vgg
from nst_tf.study.fields import field
from nst_tf.study.gradients import Lens


@pytest.mark.parametrize("place", [(0, 0), (3, 4), (5, 2)])
@pytest.mark.parametrize("layer", ["block1_conv1", "block3_conv1"])
def test_where_all_excites_it_is_the_pictures_gradient(layer, place):
    kernels = {
        name: (np.random.default_rng(at).random(kernel.shape), bias)
        for at, (name, (kernel, bias)) in enumerate(tiny_network().items())
    }
    network = vgg.features_model(kernels, [layer])
    picture, own = 0.5 + smooth(57, 70, 3), field(layer)
    box = own.box(*place)
    found = Lens(network).gradient(picture, layer, 2, box, own)
    image = tf.constant(picture[None])
    with tf.GradientTape() as tape:
        tape.watch(image)
        activation = network(image)[layer][0, *place, 2]
    whole = tape.gradient(activation, image)[0].numpy()
    around = np.pad(whole, [(200, 200)] * 2 + [(0, 0)])
    left, top, right, bottom = (side + 200 for side in box)
    expected = around[top:bottom, left:right]
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    assert expected.sum() == pytest.approx(whole.sum()) != 0


def test_guided_backpropagation_by_hand(tiny_kernels):
    network = vgg.features_model(tiny_kernels, ["conv1_2"])
    picture, own = smooth(20, 20, 5), field("conv1_2")
    box = own.box(8, 9)
    features = network(picture[None])["block1_conv2"]
    unit = int(np.argmax(features[0, 8, 9]))
    found = Lens(network).gradient(picture, "block1_conv2", unit, box, own)
    left, top, right, bottom = box
    first, bias = tiny_kernels["block1_conv1"]
    x = vgg.preprocess(picture[top:bottom, left:right]).numpy()
    expected = np.zeros((5, 5, 3))
    for down, across in np.ndindex(3, 3):
        window = x[down : down + 3, across : across + 3]
        seen = np.einsum("abc,abcd->d", window, first) + bias
        above = tiny_kernels["block1_conv2"][0][down, across, :, unit]
        back = np.maximum(above, 0) * (seen > 0)
        expected[down : down + 3, across : across + 3] += first @ back
    expected = 255 * expected[..., ::-1]  # BGR, as VGG has it, to RGB
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
    assert np.abs(found).max() > 0
