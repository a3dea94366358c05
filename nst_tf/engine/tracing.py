"""One trace for pictures of every size.

A `tf.function` traced for a fixed size is traced anew for every other one:
seconds and tens of megabytes each, never freed.
"""

from collections.abc import Callable
from typing import Any

import tensorflow as tf


class AnySize:
    """A `tf.function` of tensors, traced with unknown heights and widths.

    Args:
      function: of tensors and nests of them; those of rank 4 are images or
        features, `[n, h, w, c]`.
      jit: whether XLA compiles it, which it does for each size anew.
    """

    def __init__(self, function: Callable[..., Any], jit: bool = False):
        self._function = tf.function(
            function, jit_compile=jit or None, autograph=False
        )

    def __call__(self, *arguments):
        """The function's value; what is no tensor yet becomes one.

        To a caller's `tf.GradientTape` it is a constant: the gradient of a
        whole optimisation takes minutes to trace, or never ends.
        """
        given = tf.nest.map_structure(tf.convert_to_tensor, arguments)
        if not tf.executing_eagerly():  # a graph is being traced
            return self.traced(*given)(*given)
        with tf.init_scope():
            return self.traced(*given)(*given)

    def traced(self, *tensors) -> Callable[..., Any]:
        """The trace that serves such tensors."""
        specs = tf.nest.map_structure(_of_any_size, tensors)
        return self._function.get_concrete_function(*specs)

    @property
    def traces(self) -> int:
        """How often it has been traced."""
        return self._function.experimental_get_tracing_count()


def whole_or_tiled(
    function: Callable[..., Any], jit: bool = False
) -> dict[bool, AnySize]:
    """By `tiled`, the argument of that name: two functions of tensors alone.

    XLA compiles the whole picture's only.
    """
    return {
        False: AnySize(lambda *given: function(*given, tiled=False), jit),
        True: AnySize(lambda *given: function(*given, tiled=True)),
    }


def _of_any_size(tensor: tf.Tensor) -> tf.TensorSpec:
    shape = tensor.shape
    if shape.rank == 4:
        shape = [shape[0], None, None, shape[3]]
    return tf.TensorSpec(shape, tensor.dtype)
