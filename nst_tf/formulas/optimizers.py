"""Gradient descent, Adam, Adagrad and L-BFGS, as pairs of pure functions.

An optimiser never evaluates the cost. `init` makes its slots from the image;
`update` takes the image just evaluated, its cost and gradient, and returns
the image to evaluate next (reverse communication): one step is one evaluation
of the network for every optimiser, and the loop belongs to the caller.

    slots = optimizer.init(image)
    for _ in range(steps):
        value, gradient = cost(image)
        image, slots = optimizer.update(image, value, gradient, slots)

Slots are NamedTuples of tensors: `tf.while_loop` carries them,
`tf.nest.flatten` lists them for a checkpoint. Images are float32 or float64
of any shape, spatial sizes may be unknown while tracing.

The first-order methods follow the conventions of keras.optimizers. Their rate
is learning_rate * decay^t at step t = 0, 1, ... (Keras' ExponentialDecay with
decay_steps=1); learning_rate is a number or a scalar tensor.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from nst_tf.formulas import curvature, linesearch

Slots = Any


class Optimizer(NamedTuple):
    """An optimisation method.

    Fields:
      init: image -> slots.
      update: (image, value, gradient, slots) -> (next image, slots).
      boxed: whether the caller should clip the image to [0, 1] after each
        update. True for first-order methods; never for L-BFGS, whose
        curvature pairs it would falsify.
    """

    init: Callable[..., Slots]
    update: Callable[
        [tf.Tensor, tf.Tensor, tf.Tensor, Slots], tuple[tf.Tensor, Slots]
    ]
    boxed: bool


class SgdSlots(NamedTuple):
    """Steps done, and the velocity (shaped like the image)."""

    step: tf.Tensor
    velocity: tf.Tensor


class AdamSlots(NamedTuple):
    """Steps done; running means of the gradient and of its square."""

    step: tf.Tensor
    mean: tf.Tensor
    square: tf.Tensor


class AdagradSlots(NamedTuple):
    """Steps done, and the sum of the squared gradients."""

    step: tf.Tensor
    accumulator: tf.Tensor


def sgd(learning_rate, momentum: float = 0.0, decay: float = 1.0) -> Optimizer:
    """Gradient descent with momentum (Polyak, USSR Comp. Math. 4(5), 1964).

    v <- momentum * v - rate * g;  x <- x + v
    """

    def init(image):
        return SgdSlots(tf.constant(0), tf.zeros_like(image))

    def update(image, value, gradient, slots):
        rate = _rate(learning_rate, decay, slots.step, image.dtype)
        velocity = momentum * slots.velocity - rate * gradient
        return image + velocity, SgdSlots(slots.step + 1, velocity)

    return Optimizer(init, update, boxed=True)


def adam(
    learning_rate,
    beta1: float = 0.9,
    beta2: float = 0.999,
    epsilon: float = 1e-8,
    decay: float = 1.0,
) -> Optimizer:
    """Adam (Kingma and Ba, arXiv 1412.6980), `epsilon` being their epsilon hat.

    m <- beta1 * m + (1 - beta1) * g;  v <- beta2 * v + (1 - beta2) * g^2
    x <- x - rate * sqrt(1 - beta2^t) / (1 - beta1^t) * m / (sqrt(v) + epsilon)

    with t = 1 at the first step. Epsilon hat stands outside the correction of
    v (the remark before their section 2.1). From noise 0.99 and 0.1 for beta1
    and epsilon, which TensorFlow's tutorial has, leave less grey grain.
    """

    def init(image):
        zeros = tf.zeros_like(image)
        return AdamSlots(tf.constant(0), zeros, zeros)

    def update(image, value, gradient, slots):
        dtype = image.dtype
        rate = _rate(learning_rate, decay, slots.step, dtype)
        time = tf.cast(slots.step + 1, dtype)
        correction = tf.sqrt(1.0 - tf.constant(beta2, dtype) ** time)
        rate *= correction / (1.0 - tf.constant(beta1, dtype) ** time)
        mean = slots.mean + (gradient - slots.mean) * (1.0 - beta1)
        square = slots.square
        square += (tf.square(gradient) - square) * (1.0 - beta2)
        image -= rate * mean / (tf.sqrt(square) + epsilon)
        return image, AdamSlots(slots.step + 1, mean, square)

    return Optimizer(init, update, boxed=True)


def adagrad(
    learning_rate,
    initial_accumulator: float = 0.1,
    epsilon: float = 1e-7,
    decay: float = 1.0,
) -> Optimizer:
    """Adagrad (Duchi, Hazan, Singer, JMLR 12, 2011).

    a <- a + g^2;  x <- x - rate * g / sqrt(a + epsilon)

    from a = initial_accumulator; the paper adds epsilon outside the root.
    """

    def init(image):
        filled = tf.fill(
            tf.shape(image), tf.constant(initial_accumulator, image.dtype)
        )
        return AdagradSlots(
            tf.constant(0), tf.ensure_shape(filled, image.shape)
        )

    def update(image, value, gradient, slots):
        rate = _rate(learning_rate, decay, slots.step, image.dtype)
        accumulator = slots.accumulator + tf.square(gradient)
        image -= rate * gradient / tf.sqrt(accumulator + epsilon)
        return image, AdagradSlots(slots.step + 1, accumulator)

    return Optimizer(init, update, boxed=True)


def _rate(learning_rate, decay, step, dtype) -> tf.Tensor:
    """learning_rate * decay^step, a scalar of the image's type."""
    if not tf.is_tensor(learning_rate):
        learning_rate = tf.constant(learning_rate, dtype)
    power = tf.constant(decay, dtype) ** tf.cast(step, dtype)
    return tf.cast(learning_rate, dtype) * power


# Where scalars are: a GPU takes as long for one as for an image.
HOST = "/device:CPU:0"


class LbfgsSlots(NamedTuple):
    """The last accepted image, the way from it, and the curvature seen.

    Fields:
      image, gradient: the last accepted image and the gradient there.
      direction: the direction of the line search; the image under trial is
        image + search.step * direction.
      steps, changes: up to m differences of images and of gradients,
        newest first (s and y in the paper).
      numbers: float64 [k], `curvature.Known` as one vector: one copy where
        images and scalars live on two devices.
    """

    image: tf.Tensor
    gradient: tf.Tensor
    direction: tf.Tensor
    steps: tuple[tf.Tensor, ...]
    changes: tuple[tf.Tensor, ...]
    numbers: tf.Tensor

    @property
    def known(self) -> curvature.Known:
        """The numbers by their names."""
        return curvature.unpacked(self.numbers, len(self.steps))

    @property
    def search(self) -> linesearch.Search:
        """Where the line search stands."""
        return self.known.search


_EPSILON = {tf.float32: 2.0**-23, tf.float64: 2.0**-52}


def lbfgs(history: int = 10, at_once: bool = False) -> Optimizer:
    """L-BFGS (Liu and Nocedal, Mathematical Programming 45, 1989).

    d = -H g;  x <- x + step * d;  step by the line search of `linesearch`

    The first trial moves the image by a length of 1; later searches begin
    with the full step. `slots.image` is the best image so far (but for
    rounding), `slots.search.start.value` its cost; the image returned is on
    trial, and now and then worse. Where the cost or gradient is not finite
    the search draws back. A search that fails, or a direction that is not
    downhill, empties the history: steepest descent from the best image. The
    slots hold 2 * history + 3 images; `init` takes another history, and
    `update` goes by the slots that it is given; pairs that are not filled yet
    share one image.

    Args:
      history: m, how many pairs are kept.
      at_once: whether the pairs are stacked for their products, and for the
        direction: a few large operations, as GPUs like them, and memory for
        twice as many images; or one pair after the other.

    Errors: ValueError if `history` is less than 1, or (from `update`) if the
    image is neither float32 nor float64.
    """
    if history < 1:
        raise ValueError(
            f"`history` must be at least 1 pair of images, received {history}."
        )
    dots, combined = (_stacked_dots, _stacked_sum) if at_once else (_dots, _sum)

    def init(image, history=history):
        zeros = tf.zeros_like(image)
        return LbfgsSlots(
            image=image,
            gradient=zeros,
            direction=zeros,
            steps=(zeros,) * history,
            changes=(zeros,) * history,
            numbers=curvature.packed(curvature.nothing(history)),
        )

    def update(image, value, gradient, slots):
        step, change = image - slots.image, gradient - slots.gradient
        pairs = (*slots.steps, *slots.changes)
        rows = (*pairs, slots.direction, step, change, gradient)
        own = dots(rows, gradient), dots((step, change), change)
        found = tf.concat([*own, [tf.cast(value, tf.float64)]], 0)
        with tf.device(HOST):
            decision = curvature.decide(slots.known, found, _epsilon(image))
            numbers = curvature.packed(decision.known)
            weights = tf.cast(decision.weights, image.dtype)
            length = tf.cast(decision.known.search.step, image.dtype)
        steps, changes = tf.cond(
            decision.pushed,
            lambda: (
                (step, *slots.steps[:-1]),
                (change, *slots.changes[:-1]),
            ),
            lambda: (slots.steps, slots.changes),
        )
        base, there = tf.cond(
            decision.accepted,
            lambda: (image, gradient),
            lambda: (slots.image, slots.gradient),
        )
        direction = tf.cond(
            decision.departs,
            lambda: combined((*steps, *changes, there), weights),
            lambda: slots.direction,
        )
        slots = LbfgsSlots(base, there, direction, steps, changes, numbers)
        return base + length * direction, slots

    return Optimizer(init, update, boxed=False)


def _dots(rows: Sequence[tf.Tensor], image: tf.Tensor) -> tf.Tensor:
    """Inner products of images with an image, float64 [k].

    Rows are summed in the image's type, the rows' sums in float64: as fast as
    a float32 sum and a hundred times as exact, in no more memory (4096 x 4096
    pixels: relative error 4e-10, against 4e-8; XLA 3e-9, against 4e-8).
    """
    within, across = _axes(image)
    sums = [tf.reduce_sum(row * image, within) for row in rows]
    return tf.reduce_sum(tf.cast(tf.stack(sums), tf.float64), across)


def _stacked_dots(rows: Sequence[tf.Tensor], image: tf.Tensor) -> tf.Tensor:
    """The same, of all at once."""
    within, across = _axes(image)
    sums = tf.reduce_sum(tf.stack(rows) * image, within)
    return tf.reduce_sum(tf.cast(sums, tf.float64), across)


def _axes(image: tf.Tensor) -> tuple[list[int], list[int]]:
    """From the end: those of a row, and then those of what is left."""
    rank = image.shape.rank
    within = list(range(-max(rank - 2, 0), 0))
    return within, list(range(len(within) - rank, 0))


def _sum(rows: Sequence[tf.Tensor], weights: tf.Tensor) -> tf.Tensor:
    """sum_k w_k r_k of images."""
    total, *others = (
        weight * row
        for weight, row in zip(
            tf.unstack(weights, len(rows)), rows, strict=True
        )
    )
    for each in others:
        total += each
    return total


def _stacked_sum(rows: Sequence[tf.Tensor], weights: tf.Tensor) -> tf.Tensor:
    """The same, of all at once."""
    ones = [1] * (rows[0].shape.rank or 0)
    return tf.reduce_sum(tf.reshape(weights, [-1, *ones]) * tf.stack(rows), 0)


def _epsilon(image: tf.Tensor) -> float:
    """Distance from 1 to the next number of the image's type."""
    if image.dtype not in _EPSILON:
        raise ValueError(
            "`image` must be float32 or float64 for L-BFGS, received "
            f"{image.dtype.name}. Cast it first: tf.cast(image, tf.float32)."
        )
    return _EPSILON[image.dtype]
