"""Keras on TensorFlow, whatever either has been told elsewhere.

The one module that imports Keras, whose backend is decided once a process,
when it is first imported.
"""

import contextlib
import gc
import importlib
import math
import os
import sys
import warnings
from collections.abc import Iterator

VARIABLE = "KERAS_BACKEND"


def _load() -> None:
    """Loads Keras on TensorFlow; ValueError where it is too late for that."""
    told = os.environ.get(VARIABLE)
    # TensorFlow, when imported, imports Keras.
    fresh = not {"keras", "tensorflow"} & sys.modules.keys()
    if fresh:
        os.environ[VARIABLE] = "tensorflow"
    try:
        with _nothing_collected():
            config = importlib.import_module("keras").config
    except (AssertionError, ValueError) as error:
        raise ValueError(
            f"Keras cannot use its keras.json ({error}). Mend that file, or "
            "remove it: Keras writes it anew."
        ) from None
    except ImportError as error:
        if fresh:
            raise
        raise _too_late(str(error)) from None
    finally:
        os.environ.pop(VARIABLE, None)
        os.environ |= {} if told is None else {VARIABLE: told}
    if config.backend() != "tensorflow":
        raise _too_late(f"it runs on {config.backend()}")
    if fresh and told not in (None, "", "tensorflow"):
        warnings.warn(
            f"{VARIABLE} is {told}, but nst_tf paints with TensorFlow: Keras "
            "runs on TensorFlow in this process now.",
            stacklevel=2,
        )


@contextlib.contextmanager
def _nothing_collected() -> Iterator[None]:
    """TensorFlow makes half a million objects and hardly any garbage.

    Looking for some takes a fifth of its import.
    """
    before = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if before:
            gc.enable()


def _too_late(reason: str) -> ValueError:
    return ValueError(
        f"`{VARIABLE}` should be tensorflow, but Keras has been loaded with "
        f"another ({reason}). Set it before TensorFlow or Keras is imported, "
        "or paint in another process."
    )


_load()

import keras  # noqa: E402


def check() -> None:
    """ValueError, before any work, where TensorFlow is set not to paint."""
    import tensorflow as tf  # not before Keras

    if not tf.executing_eagerly():
        raise ValueError(
            "nst_tf paints eagerly; it was called inside a tf.function or a "
            "graph, or with eager execution switched off. Call it outside; "
            "nst_tf.export writes what runs as a graph."
        )
    if tf.config.functions_run_eagerly():
        raise ValueError(
            "`tf.config.run_functions_eagerly` should be False, for the "
            "gradient is that of a graph; it was set to True. Call "
            "tf.config.run_functions_eagerly(False) first."
        )
    try:
        tf.zeros([]) + 1.0
    except tf.errors.InvalidArgumentError as error:
        raise ValueError(
            "TensorFlow cannot compute on the device that it was told to use "
            f"({str(error).splitlines()[0]}). Name one that "
            "tf.config.list_logical_devices() lists, or leave tf.device."
        ) from None
    try:
        tf.constant(math.inf) + 1.0
    except tf.errors.InvalidArgumentError:
        raise ValueError(
            "`tf.debugging.enable_check_numerics` is on, and stops at numbers "
            "that are not finite, which L-BFGS counts on meeting. Call "
            "tf.debugging.disable_check_numerics() first."
        ) from None


@contextlib.contextmanager
def defaults() -> Iterator[None]:
    """Keras as it comes, for what asks its globals and nothing else."""
    config = keras.config
    before = config.image_data_format(), config.floatx(), config.dtype_policy()
    try:
        _set("channels_last", "float32", "float32")
        yield
    finally:
        _set(*before)


@contextlib.contextmanager
def no_remat() -> Iterator[None]:
    """Layers made here are no part of a `keras.RematScope` around it."""
    with keras.RematScope(mode=None):
        yield


def _set(data_format, floatx, policy) -> None:
    keras.config.set_image_data_format(data_format)
    keras.config.set_floatx(floatx)
    keras.config.set_dtype_policy(policy)
