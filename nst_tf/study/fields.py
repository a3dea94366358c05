"""Receptive fields: the pixels that one unit of a VGG sees, exactly.

A 3 x 3 convolution reaches one position to each side, a pooling of 2 one
position ahead; a position is as many pixels as the poolings so far make it.
"""

from collections.abc import Sequence
from typing import NamedTuple

from nst_tf.engine import tiles
from nst_tf.request.networks import LAYERS
from nst_tf.request.values import layer_name


class Field(NamedTuple):
    """What a unit at position i of a layer sees along one side, in pixels.

    From `stride * i - before` to `stride * i + after`, both included.
    """

    stride: int
    before: int
    after: int

    @property
    def side(self) -> int:
        """Pixels: 3 at block1_conv1, 156 at block5_conv1."""
        return self.before + 1 + self.after

    def box(self, row: int, column: int) -> tuple[int, int, int, int]:
        """`left, top, right, bottom` of a unit's field; the last two are out.

        It may pass the picture's border.
        """
        left, top = (self.stride * i - self.before for i in (column, row))
        return left, top, left + self.side, top + self.side


def field(layer: str, order: Sequence[str] = LAYERS) -> Field:
    """The field of a layer's units; ValueError if there is no such layer.

    `order` are all layers of the network, each of the one before.
    """
    layer = layer_name(layer)
    stride, before, after = 1, 0, 0
    for name in order[: order.index(layer) + 1]:
        if tiles.stride(name) > stride:  # a pooling stands before it
            after += stride
            stride *= 2
        before, after = before + stride, after + stride
    return Field(stride, before, after)
