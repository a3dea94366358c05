"""Receptive fields: where the gradient of one unit is not zero."""

import numpy as np
import pytest
import tensorflow as tf

from nst_tf.engine import vgg
from nst_tf.request.networks import LAYERS, NETWORKS
from nst_tf.study.fields import field

ONES = {  # nothing cancels, and the average pooling forgets no pixel
    layer: (
        np.full((3, 3, 1 if at else 3, 1), 1 / 9, "float32"),
        np.ones(1, "float32"),
    )
    for at, layer in enumerate(LAYERS)
}


@pytest.mark.parametrize(
    ("layer", "network"),
    [
        *((layer, "vgg19") for layer in LAYERS),
        ("block3_conv3", "vgg16"),
        ("block5_conv1", "vgg16"),
    ],
)
def test_a_unit_sees_its_field_and_nothing_else(layer, network):
    own = field(layer, NETWORKS[network].layers)
    row, column = (own.before // own.stride + more for more in (1, 2))
    left, top, right, bottom = own.box(row, column)
    size = bottom + own.stride, right + own.stride
    network = vgg.features_model(ONES, [layer], "avg", network=network)
    image = tf.ones([1, *size, 3])
    with tf.GradientTape() as tape:
        tape.watch(image)
        activation = network(image)[layer][0, row, column, 0]
    gradient = tape.gradient(activation, image)[0, ..., 0].numpy()
    rows, columns = np.nonzero(gradient)
    assert (rows.min(), rows.max() + 1) == (top, bottom)
    assert (columns.min(), columns.max() + 1) == (left, right)
    assert len(rows) == own.side**2


def test_known_fields():
    assert field("conv1_1") == (1, 1, 1)
    assert field("conv5_1") == (16, 70, 85)
    assert [field(f"conv{b}_1").side for b in range(1, 6)] == [
        3, 10, 24, 68, 156,
    ]  # fmt: skip
    assert field("conv5_1").box(0, 1) == (-54, -70, 102, 86)


def test_an_unknown_layer_is_refused():
    with pytest.raises(ValueError, match='received "conv9_1"'):
        field("conv9_1")
