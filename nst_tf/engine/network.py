"""The network that is asked for, as a Keras model of features."""

from collections.abc import Iterable

from nst_tf.backend import keras
from nst_tf.engine import inception, vgg


def features_model(
    network: str,
    kernels: vgg.Kernels,
    layers: Iterable[str],
    pooling: str,
    precision: str,
    transposed: tuple[bool, bool],
    at_once: bool = False,
) -> keras.Model:
    """From image to features; the arguments are `vgg.features_model`'s."""
    if network == "inception_v3":
        return inception.features_model(kernels, layers, pooling, precision)
    return vgg.features_model(
        kernels, layers, pooling, precision, transposed, network, at_once
    )


def scale(network: str, precision: str) -> float:
    """How many times as large the features are that its model gives."""
    return 1.0 if network == "inception_v3" else vgg.scale(precision)


def random_kernels(network: str, seed: int) -> vgg.Kernels:
    """Untrained, seeded; see the networks' own."""
    if network == "inception_v3":
        return inception.random_kernels(seed)
    return vgg.random_kernels(seed, network)
