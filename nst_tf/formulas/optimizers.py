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


HOST = "/device:CPU:0"  # where scalars are: a GPU takes as long for each as
# for an image


class Known(NamedTuple):
    """What L-BFGS knows in numbers, of m pairs s, y; float64, newest first.

    Fields:
      search: the line search along the direction; search.start.value is
        +infinity until a first image has been accepted.
      along: [2, m], s . g and y . g, g being the last accepted gradient.
      square: g . g.
      mixed: [m, m], s_i . y_j where j is not older than i, 0 elsewhere (R in
        the paper); 0 on the diagonal marks an empty pair.
      bent: [m, m], y_i . y_j.
      scale: the initial inverse Hessian is scale * identity.
    """

    search: linesearch.Search
    along: tf.Tensor
    square: tf.Tensor
    mixed: tf.Tensor
    bent: tf.Tensor
    scale: tf.Tensor


class LbfgsSlots(NamedTuple):
    """The last accepted image, the way from it, and the curvature seen.

    Fields:
      image, gradient: the last accepted image and the gradient there.
      direction: the direction of the line search; the image under trial is
        image + search.step * direction.
      steps, changes: up to m differences of images and of gradients,
        newest first (s and y in the paper).
      numbers: float64 [k], `Known` as one vector: one copy where images and
        scalars live on two devices.
    """

    image: tf.Tensor
    gradient: tf.Tensor
    direction: tf.Tensor
    steps: tuple[tf.Tensor, ...]
    changes: tuple[tf.Tensor, ...]
    numbers: tf.Tensor

    @property
    def known(self) -> Known:
        """The numbers by their names."""
        return _unpacked(self.numbers, len(self.steps))

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
            numbers=_packed(_nothing(history)),
        )

    def update(image, value, gradient, slots):
        step, change = image - slots.image, gradient - slots.gradient
        pairs = (*slots.steps, *slots.changes)
        rows = (*pairs, slots.direction, step, change, gradient)
        own = dots(rows, gradient), dots((step, change), change)
        found = tf.concat([*own, [tf.cast(value, tf.float64)]], 0)
        with tf.device(HOST):
            decision = _decide(slots.known, found, _epsilon(image))
            numbers = _packed(decision.known)
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


class Decision(NamedTuple):
    """What a trial leads to.

    Fields:
      known: what is known now.
      accepted: whether the image on trial is the next iterate.
      pushed: whether its step and change are the newest pair.
      departs: whether a new line search begins.
      weights: [2 m + 1], of steps, changes and gradient in its direction.
    """

    known: Known
    accepted: tf.Tensor
    pushed: tf.Tensor
    departs: tf.Tensor
    weights: tf.Tensor


class Found(NamedTuple):
    """What a trial has brought, float64: products, and the cost.

    Fields, with g the gradient, y its change, s the image's step:
      along: [2, m], with g, of the pairs.
      slope, step, change, square: d . g, s . g, y . g, g . g.
      mixed, bent: s . y, y . y.
      value: the cost.
    """

    along: tf.Tensor
    slope: tf.Tensor
    step: tf.Tensor
    change: tf.Tensor
    square: tf.Tensor
    mixed: tf.Tensor
    bent: tf.Tensor
    value: tf.Tensor


def _decide(known: Known, numbers: tf.Tensor, epsilon: float) -> Decision:
    """Take what a trial has brought; scalars and small matrices alone."""
    before, pairs = known.search, known.along.shape[1]
    found = Found(
        tf.reshape(numbers[: 2 * pairs], [2, pairs]),
        *tf.unstack(numbers[2 * pairs :], len(Found._fields) - 1),
    )
    trial = linesearch.Point(before.step, found.value, found.slope)
    yes, no = tf.constant(True), tf.constant(False)
    after, accepted, failed = tf.cond(  # most trials are good
        _is_good(before, trial, 4 * epsilon),
        lambda: (before, yes, no),
        lambda: _search_on(before, trial, 4 * epsilon),
    )
    known, pushed = tf.cond(
        accepted,
        lambda: _remember(known, found, epsilon),
        lambda: (_forget(known, failed), no),
    )
    value = tf.where(accepted, trial.value, before.start.value)
    known, weights = tf.cond(
        accepted | failed,
        lambda: _depart(known, value),
        lambda: (
            known._replace(search=after),
            tf.zeros([2 * pairs + 1], tf.float64),
        ),
    )
    return Decision(known, accepted, pushed, accepted | failed, weights)


def _is_good(search, trial, rounding) -> tf.Tensor:
    """Whether the image on trial can become the next iterate as it is."""
    first = tf.math.is_inf(search.start.value)
    good = first | linesearch.satisfies(search, trial, rounding)
    return good & linesearch.is_finite(trial)


def _search_on(before, trial, rounding):
    """The search one trial further; whether it must take this one, or fails."""
    after = linesearch.advance(before, trial)
    best = after.exhausted & (after.step == trial.step)
    best &= linesearch.decreases(before, trial, rounding)
    best &= linesearch.is_finite(trial)
    failed = ~best & after.exhausted
    return after, best, failed & (before.exhausted | (after.step == 0))


def _remember(
    known: Known, found: Found, epsilon: float
) -> tuple[Known, tf.Tensor]:
    """Move to an accepted image; keep the curvature met on the way, if any."""
    scale = found.mixed / found.bent
    convex = found.mixed > -epsilon * (found.step - found.mixed)
    convex &= tf.math.is_finite(scale)
    empty = tf.linalg.diag_part(known.mixed) == 0
    along = tf.where(empty, tf.zeros_like(found.along), found.along)
    change = along - known.along  # the pairs' products with y
    length = tf.sqrt(found.square)
    first = tf.math.divide_no_nan(tf.ones_like(length), length)
    first = tf.where(known.scale > 0, known.scale, first)
    same = known._replace(along=along, square=found.square, scale=first)

    def pushed():
        newest = tf.stack([found.step, found.change])[:, None]
        below = change[0, :-1, None]
        beside = change[1, None, :-1]
        mixed = tf.concat([below, known.mixed[:-1, :-1]], 1)
        bent = tf.concat([change[1, :-1, None], known.bent[:-1, :-1]], 1)
        top = tf.concat([[[found.mixed]], tf.zeros_like(beside)], 1)
        return same._replace(
            along=tf.concat([newest, along[:, :-1]], 1),
            mixed=tf.concat([top, mixed], 0),
            bent=tf.concat([tf.concat([[[found.bent]], beside], 1), bent], 0),
            scale=scale,
        )

    return tf.cond(convex, pushed, lambda: same), convex


def _forget(known: Known, failed: tf.Tensor) -> Known:
    """If the search has failed, start over with shorter steps."""
    none = _emptied(known._replace(scale=0.1 * known.scale))
    return tf.nest.map_structure(
        lambda one, other: tf.where(failed, one, other), none, known
    )


def _emptied(known: Known) -> Known:
    return known._replace(
        along=tf.zeros_like(known.along),
        mixed=tf.zeros_like(known.mixed),
        bent=tf.zeros_like(known.bent),
    )


def _depart(known: Known, value: tf.Tensor) -> tuple[Known, tf.Tensor]:
    """Begin a line search from the accepted image; its direction's weights."""
    weights, slope = _direction(known)

    def downhill():
        steepest = tf.zeros_like(weights[:-1])
        away = tf.concat([steepest, [-known.scale]], 0)
        return _emptied(known), away, -known.scale * known.square

    known, weights, slope = tf.cond(
        slope < 0, lambda: (known, weights, slope), downhill
    )
    search = linesearch.start(value, slope)
    return known._replace(search=search), weights


def _direction(known: Known) -> tuple[tf.Tensor, tf.Tensor]:
    """-H g as weights of steps, changes and gradient [2 m + 1]; its slope.

    H g = c g + S q - c Y p,  p = R^-1 S'g,  q = R'^-1 ((D + c Y'Y) p - c Y'g)

    with c the scale, S and Y the pairs, R `mixed`, D its diagonal (Byrd,
    Nocedal, Schnabel, "Representations of quasi-Newton matrices", Math.
    Programming 63, 1994, theorem 2.4). It is what the two-loop recursion
    computes, but all large products come before, and all large sums after.
    """
    step, change = known.along[0, :, None], known.along[1, :, None]
    diagonal = tf.linalg.diag_part(known.mixed)
    ones = tf.cast(diagonal == 0, tf.float64)  # of the empty pairs
    root = tf.linalg.set_diag(known.mixed, diagonal + ones)
    p = tf.linalg.triangular_solve(root, step)
    right = diagonal[:, None] * p
    right += known.scale * (tf.matmul(known.bent, p) - change)
    q = tf.linalg.triangular_solve(root, right, adjoint=True)
    along = tf.concat([step, change, [[known.square]]], 0)
    weights = tf.concat([-q, known.scale * p, [[-known.scale]]], 0)
    return weights[:, 0], tf.reduce_sum(weights * along)


def _nothing(history: int) -> Known:
    """What is known before the first image."""
    zero = tf.zeros([], tf.float64)
    none = tf.zeros([history, history], tf.float64)
    infinity = tf.constant(float("inf"), tf.float64)
    search = linesearch.start(infinity, zero)
    along = tf.zeros([2, history], tf.float64)
    return Known(search, along, zero, none, none, zero)


def _packed(known: Known) -> tf.Tensor:
    """All of it as one float64 vector."""
    flat = tf.nest.flatten(known)
    return tf.concat(
        [tf.reshape(tf.cast(each, tf.float64), [-1]) for each in flat], 0
    )


def _unpacked(numbers: tf.Tensor, history: int) -> Known:
    """The vector's numbers by their names."""
    shape = _nothing(history)
    flat = tf.nest.flatten(shape)
    parts = tf.split(numbers, [each.shape.num_elements() for each in flat])
    pairs = zip(parts, flat, strict=True)
    found = [
        tf.cast(tf.reshape(part, each.shape), each.dtype)
        for part, each in pairs
    ]
    return tf.nest.pack_sequence_as(shape, found)


def _dots(rows: Sequence[tf.Tensor], image: tf.Tensor) -> tf.Tensor:
    """Inner products of images with an image, float64 [k].

    Rows are summed in the image's type, the rows' sums in float64: as fast as
    a float32 sum and a hundred times as exact, in no more memory (4096 x 4096
    pixels: relative error 4e-10, against 4e-8; XLA 3e-9, against 4e-8).
    """
    return tf.concat([_stacked_dots([row], image) for row in rows], 0)


def _stacked_dots(rows: Sequence[tf.Tensor], image: tf.Tensor) -> tf.Tensor:
    """The same, of all at once."""
    products = (rows[0][None] if len(rows) == 1 else tf.stack(rows)) * image
    within_rows = list(range(products.shape.rank or 0))[3:]
    sums = tf.reduce_sum(products, within_rows)
    across = list(range(sums.shape.rank or 0))[1:]
    return tf.reduce_sum(tf.cast(sums, tf.float64), across)


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
