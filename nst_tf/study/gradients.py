"""What in a picture excites a unit: guided backpropagation.

Source: Springenberg et al., "Striving for Simplicity: The All Convolutional
Net" (arXiv:1412.6806): on the way back a ReLU lets through what it let
through ahead, and of that only what excites further.
"""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from nst_tf.backend import keras
from nst_tf.engine import tiles, vgg
from nst_tf.engine.tracing import AnySize
from nst_tf.study.fields import Field

Box = tuple[int, int, int, int]


class Lens:
    """Sees through a VGG what excites single units.

    Args:
      network: of `vgg.features_model`, in float32.
    """

    def __init__(self, network: keras.Model):
        kinds = vgg.Convolution, *vgg.POOLINGS.values()
        self._layers = [k for k in network.layers if isinstance(k, kinds)]
        self._backs: dict[str, Callable] = {}

    def gradient(
        self, picture: np.ndarray, layer: str, unit: int, box: Box, field: Field
    ) -> np.ndarray:
        """Of the activation of the unit whose field is `box`, at its pixels.

        Float32 `[side, side, 3]`; 0 beyond the border of the picture.
        """
        left, top, right, bottom = box
        # From where the network's grid begins anew: positions are the same.
        begin = [
            max(0, side // tiles.GRID * tiles.GRID) for side in (top, left)
        ]
        part = picture[begin[0] : bottom, begin[1] : right]
        row, column = (
            (side + field.before - first) // field.stride
            for side, first in zip((top, left), begin, strict=True)
        )
        if layer not in self._backs:
            self._backs[layer] = self._back(layer)
        place = tf.constant([row, column, unit])
        back = self._backs[layer](tf.constant(part[None]), place).numpy()[0]
        found = np.zeros((bottom - top, right - left, 3), "float32")
        down, across = max(top, 0), max(left, 0)
        back = back[down - begin[0] :, across - begin[1] :]
        rows, columns = down - top, across - left
        height, width = back.shape[:2]
        found[rows : rows + height, columns : columns + width] = back
        return found

    def _back(self, layer: str):
        def back(part, place):
            x = vgg.preprocess(part)
            for each in self._layers:
                x = each(x)
                if each.name == layer:
                    break
                if isinstance(each, vgg.Convolution):
                    x = _exciting(x)
            row, column, unit = tf.unstack(place)
            return tf.gradients(x[0, row, column, unit], part)[0]

        return AnySize(back)


@tf.custom_gradient
def _exciting(features: tf.Tensor):
    return tf.identity(features), tf.nn.relu
