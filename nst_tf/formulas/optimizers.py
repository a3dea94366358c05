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

from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf

from nst_tf.formulas import linesearch

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

    init: Callable[[tf.Tensor], Slots]
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


class LbfgsSlots(NamedTuple):
    """The last accepted image, the way from it, and the curvature seen.

    Fields:
      image, gradient: the last accepted image and the gradient there.
      direction: the direction of the line search; the image under trial is
        image + search.step * direction.
      search: the line search along it; search.start.value is +infinity until
        a first image has been accepted.
      steps, changes: up to m differences of images and of gradients,
        newest first (s and y in the paper).
      curvatures: [m] float64, 1 / (y . s); 0 marks an empty pair.
      scale: float64 scalar, the initial inverse Hessian is scale * identity.
    """

    image: tf.Tensor
    gradient: tf.Tensor
    direction: tf.Tensor
    search: linesearch.Search
    steps: tuple[tf.Tensor, ...]
    changes: tuple[tf.Tensor, ...]
    curvatures: tf.Tensor
    scale: tf.Tensor


_EPSILON = {tf.float32: 2.0**-23, tf.float64: 2.0**-52}


def fewer_pairs(slots: LbfgsSlots, history: int) -> LbfgsSlots:
    """The same slots with room for the newest `history` pairs alone."""
    return slots._replace(
        steps=slots.steps[:history],
        changes=slots.changes[:history],
        curvatures=slots.curvatures[:history],
    )


def lbfgs(history: int = 10) -> Optimizer:
    """L-BFGS (Liu and Nocedal, Mathematical Programming 45, 1989).

    d = -H g;  x <- x + step * d;  step by the line search of `linesearch`

    The first trial moves the image by a length of 1; later searches begin
    with the full step. `slots.image` is the best image so far (but for
    rounding), `slots.search.start.value` its cost; the image returned is on
    trial, and now and then worse. Where the cost or gradient is not finite
    the search draws back. A search that fails, or a direction that is not
    downhill, empties the history: steepest descent from the best image. The
    slots hold 2 * history + 3 images; `update` goes by those that it is given
    (see `fewer_pairs`), and pairs that are not filled yet share one image.

    Errors: ValueError if `history` is less than 1, or (from `update`) if the
    image is neither float32 nor float64.
    """
    if history < 1:
        raise ValueError(
            f"`history` must be at least 1 pair of images, received {history}."
        )

    def init(image):
        zeros = tf.zeros_like(image)
        zero = tf.zeros([], tf.float64)
        infinity = tf.constant(float("inf"), tf.float64)
        return LbfgsSlots(
            image=image,
            gradient=zeros,
            direction=zeros,
            search=linesearch.start(infinity, zero),
            steps=(zeros,) * history,
            changes=(zeros,) * history,
            curvatures=tf.zeros([history], tf.float64),
            scale=zero,
        )

    def update(image, value, gradient, slots):
        rounding = 4 * _epsilon(image)
        trial = linesearch.Point(
            slots.search.step,
            tf.cast(value, tf.float64),
            _dot(gradient, slots.direction),
        )
        before = slots.search
        good = _is_good(before, trial, rounding)
        after = tf.cond(  # a hundred small operations, seldom needed
            good, lambda: before, lambda: linesearch.advance(before, trial)
        )
        accepted = good | _is_best(before, after, trial, rounding)
        failed = ~accepted & after.exhausted
        failed &= before.exhausted | (after.step == 0)
        slots = tf.cond(
            accepted,
            lambda: _remember(image, gradient, slots),
            lambda: _forget(slots, failed),
        )
        value = tf.where(accepted, trial.value, before.start.value)
        slots = tf.cond(
            accepted | failed,
            lambda: _depart(value, slots),
            lambda: slots._replace(search=after),
        )
        step = tf.cast(slots.search.step, image.dtype)
        return slots.image + step * slots.direction, slots

    return Optimizer(init, update, boxed=False)


def _is_good(search, trial, rounding) -> tf.Tensor:
    """Whether the image on trial can become the next iterate as it is."""
    first = tf.math.is_inf(search.start.value)
    good = first | linesearch.satisfies(search, trial, rounding)
    return good & linesearch.is_finite(trial)


def _is_best(before, after, trial, rounding) -> tf.Tensor:
    """Whether it can because there is nothing left to try."""
    best = after.exhausted & (after.step == trial.step)
    best &= linesearch.decreases(before, trial, rounding)
    return best & linesearch.is_finite(trial)


def _remember(image, gradient, slots) -> LbfgsSlots:
    """Move to an accepted image; keep the curvature met on the way."""
    step, change = image - slots.image, gradient - slots.gradient
    curvature = _dot(step, change)
    scale = curvature / _dot(change, change)
    convex = curvature > -_epsilon(image) * _dot(step, slots.gradient)
    convex &= tf.math.is_finite(scale)
    length = tf.sqrt(_dot(gradient, gradient))
    first = tf.math.divide_no_nan(tf.ones_like(length), length)
    first = tf.where(slots.scale > 0, slots.scale, first)
    slots = slots._replace(image=image, gradient=gradient, scale=first)

    def pushed():
        curvatures = [[1.0 / curvature], slots.curvatures[:-1]]
        return slots._replace(
            steps=(step, *slots.steps[:-1]),
            changes=(change, *slots.changes[:-1]),
            curvatures=tf.concat(curvatures, 0),
            scale=scale,
        )

    return tf.cond(convex, pushed, lambda: slots)


def _forget(slots, failed) -> LbfgsSlots:
    """If the search has failed, start over with shorter steps."""
    kept = tf.cast(~failed, tf.float64)
    return slots._replace(
        curvatures=slots.curvatures * kept,
        scale=tf.where(failed, 0.1 * slots.scale, slots.scale),
    )


def _depart(value, slots) -> LbfgsSlots:
    """Begin a line search from the accepted image."""
    direction = _direction(slots)
    slope = _dot(direction, slots.gradient)

    def onward():
        return slots._replace(direction=direction), slope

    def downhill():
        scale = tf.cast(slots.scale, slots.gradient.dtype)
        steepest = -scale * slots.gradient
        empty = tf.zeros_like(slots.curvatures)
        away = slots._replace(direction=steepest, curvatures=empty)
        return away, _dot(steepest, slots.gradient)

    slots, slope = tf.cond(slope < 0, onward, downhill)
    return slots._replace(search=linesearch.start(value, slope))


def _direction(slots) -> tf.Tensor:
    """-H g by the two-loop recursion (Nocedal, Math. Comp. 35, 1980)."""
    result, dtype = -slots.gradient, slots.gradient.dtype
    curvatures = tf.unstack(slots.curvatures)
    pairs = list(zip(slots.steps, slots.changes, curvatures, strict=True))
    weights = []
    for step, change, curvature in pairs:
        weights.append(curvature * _dot(step, result))
        result -= tf.cast(weights[-1], dtype) * change
    result *= tf.cast(slots.scale, dtype)
    for step, change, curvature in reversed(pairs):
        weight = weights.pop() - curvature * _dot(change, result)
        result += tf.cast(weight, dtype) * step
    return result


def _dot(first: tf.Tensor, second: tf.Tensor) -> tf.Tensor:
    """Inner product of two images, float64.

    Rows are summed in the image's type, the rows' sums in float64: as fast as
    a float32 sum and a hundred times as exact, in no more memory (4096 x 4096
    pixels: relative error 4e-10, against 4e-8; XLA 3e-9, against 4e-8).
    """
    within_rows = list(range(first.shape.rank or 0))[2:]
    rows = tf.reduce_sum(first * second, within_rows)
    return tf.reduce_sum(tf.cast(rows, tf.float64))


def _epsilon(image: tf.Tensor) -> float:
    """Distance from 1 to the next number of the image's type."""
    if image.dtype not in _EPSILON:
        raise ValueError(
            "`image` must be float32 or float64 for L-BFGS, received "
            f"{image.dtype.name}. Cast it first: tf.cast(image, tf.float32)."
        )
    return _EPSILON[image.dtype]
