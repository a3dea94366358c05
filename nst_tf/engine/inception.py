"""Inception V3 up to the deepest layer asked for, a Keras model of features.

Source: Szegedy et al., "Rethinking the Inception Architecture for Computer
Vision" (arXiv:1512.00567), in the layout of keras.applications.InceptionV3.
Batch normalisation, which is linear once the network is trained, is part of
kernels and biases here.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from nst_tf.backend import keras
from nst_tf.engine.vgg import POOLINGS, Kernels
from nst_tf.request.networks import NETWORKS

# `64 5x5`: a convolution to 64 channels, padded, and a ReLU; `64 3x3/2`: of
# stride 2, not padded; `64 1x3|3x1`: two of the same features, side by side.
# `max`: what halves; `avg`: the mean of 3 x 3, of stride 1.
STEM = "32 3x3/2, 32 3x3/1, 64 3x3, max, 80 1x1, 192 3x3/1, max"


def _small(pooled: int) -> tuple[str, ...]:
    triple = "64 1x1, 96 3x3, 96 3x3"
    return "64 1x1", "48 1x1, 64 5x5", triple, f"avg, {pooled} 1x1"


def _wide(width: int) -> tuple[str, ...]:
    once = f"{width} 1x1, {width} 1x7, 192 7x1"
    twice = f"{width} 1x1, {width} 7x1, {width} 1x7, {width} 7x1, 192 1x7"
    return "192 1x1", once, twice, "avg, 192 1x1"


_LAST = (
    "320 1x1",
    "384 1x1, 384 1x3|3x1",
    "448 1x1, 384 3x3, 384 1x3|3x1",
    "avg, 192 1x1",
)
BLOCKS: Mapping[str, Sequence[str]] = {  # branches, side by side
    "mixed0": _small(32),
    "mixed1": _small(64),
    "mixed2": _small(64),
    "mixed3": ("384 3x3/2", "64 1x1, 96 3x3, 96 3x3/2", "max"),
    "mixed4": _wide(128),
    "mixed5": _wide(160),
    "mixed6": _wide(160),
    "mixed7": _wide(192),
    "mixed8": (
        "192 1x1, 320 3x3/2",
        "192 1x1, 192 1x7, 192 7x1, 192 3x3/2",
        "max",
    ),
    "mixed9": _LAST,
    "mixed10": _LAST,
}
INPUT_SIZE = 0.5  # root mean square of a picture in [-1, 1], about


def preprocess(image):
    """RGB in [0, 1] -> in [-1, 1] ("tf")."""
    return image * 2.0 - 1.0


def features_model(
    kernels: Kernels,
    layers: Iterable[str],
    pooling: str = "max",
    precision: str = "float32",
) -> keras.Model:
    """Builds the network from image to the features asked for.

    Args:
      kernels: `{"conv1": (kernel [h, w, in, out], bias [out]), ...}` in the
        order in which keras.applications makes them.
      layers: names such as `conv4` or `mixed3`.
      pooling: `"max"`, as trained, or `"avg"`: how it halves.
      precision: see `vgg.features_model`.

    Returns:
      A model from `[n, h, w, 3]` RGB in [0, 1], of 75 x 75 or more, to
      `{layer: [n, h', w', c]}`, features after the ReLU.
    """
    wanted = set(layers)
    dtype = keras.dtype_policies.get(precision).compute_dtype
    own = {"dtype": dtype, "data_format": "channels_last"}

    def convolve(x, name, width, size, stride):
        return keras.layers.Conv2D(
            width,
            size,
            stride or 1,
            padding="valid" if stride else "same",
            activation="relu",
            kernel_initializer="zeros",
            trainable=False,
            name=name,
            **own,
        )(x)

    def pool(x, kind):
        if kind == "avg":
            return keras.layers.AveragePooling2D(3, 1, "same", **own)(x)
        return POOLINGS[pooling](3, 2, **own)(x)

    def join(parts):
        return keras.layers.Concatenate(dtype=dtype)(parts)

    image = keras.Input((None, None, 3), name="image", dtype="float32")
    outputs: dict[str, Any] = {}
    for layer, x in _walk(preprocess(image), convolve, pool, join):
        if layer in wanted:
            outputs[layer] = x
        if len(outputs) == len(wanted):
            break
    model = keras.Model(image, outputs, name="inception_v3", trainable=False)
    model.dtype_policy = "float32"  # that of its layers is their own
    for layer in model.layers:
        if layer.name in kernels:
            layer.set_weights(kernels[layer.name])
    return model


def random_kernels(seed: int = 0) -> Kernels:
    """Untrained: seeded orthogonal kernels, features of about size 1."""
    kernels: dict[str, tuple[np.ndarray, np.ndarray]] = {}

    def convolve(channels, name, width, size, _stride):
        rows, columns = size
        gain = np.sqrt(2 * max(1, width / (rows * columns * channels)))
        gain /= 1 if kernels else INPUT_SIZE
        orthogonal = keras.initializers.Orthogonal(gain, seed + len(kernels))
        kernel = orthogonal((*size, channels, width), "float32")
        bias = np.zeros(width, "float32")
        kernels[name] = np.asarray(kernel, "float32"), bias
        return width

    for _ in _walk(3, convolve, lambda channels, _kind: channels, sum):
        pass
    return kernels


def _walk(
    x: Any, convolve: Callable, pool: Callable, join: Callable
) -> Iterator[tuple[str, Any]]:
    """Name and features of each layer, by what computes them.

    Args:
      x: the picture, or its number of channels.
      convolve: `(x, name, width, (rows, columns), stride) -> x`; a stride of
        0 is one of 1, padded.
      pool: `(x, kind) -> x`.
      join: several x side by side.
    """
    names = (f"conv{number}" for number in itertools.count(1))

    def stepped(x, step):
        if step in ("max", "avg"):
            return pool(x, step)
        width, forms = step.split(" ")
        parts = []
        for form in forms.split("|"):
            size, _, stride = form.partition("/")
            sides = tuple(map(int, size.split("x")))
            parts.append(
                convolve(x, next(names), int(width), sides, int(stride or 0))
            )
        return join(parts) if len(parts) > 1 else parts[0]

    def branch(x, steps):
        for step in steps.split(", "):
            x = stepped(x, step)
        return x

    layers = iter(NETWORKS["inception_v3"].layers)
    for step in STEM.split(", "):
        x = stepped(x, step)
        if step != "max":
            yield next(layers), x
    for name, branches in BLOCKS.items():
        x = join([branch(x, steps) for steps in branches])
        yield name, x
