"""One trace for pictures of every size.

A `tf.function` traced for a fixed size is traced anew for every other one:
seconds and tens of megabytes each.
"""

import itertools
from collections.abc import Callable
from typing import Any

import tensorflow as tf
from tensorflow.python.framework import ops


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
        before = self.traces
        trace = self._function.get_concrete_function(*specs)
        if self.traces > before and tf.executing_eagerly():
            forget(trace.graph)
        return trace

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


def forget(graph: tf.Graph) -> None:
    """Lets go of what `tf.custom_gradient` keeps of a trace's graph.

    TensorFlow registers each gradient for good, and by it the whole graph
    (tensorflow/tensorflow#97697). The trace can be called as before, but no
    gradient be taken through it.
    """
    definition = graph.as_graph_def()
    inside = [one.node_def for one in definition.library.function]
    for node in itertools.chain(definition.node, *inside):
        name = node.attr["_gradient_op_type"].s.decode()
        ops.gradient_registry._registry.pop(name, None)


def _of_any_size(tensor: tf.Tensor) -> tf.TensorSpec:
    shape = tensor.shape
    if shape.rank == 4:
        shape = [shape[0], None, None, shape[3]]
    return tf.TensorSpec(shape, tensor.dtype)
