"""What L-BFGS knows in numbers, and what it makes of a trial.

Products of the pairs with one another and with the gradient, float64, and the
line search: scalars and small matrices alone. Images are `optimizers.lbfgs`'s.

Source: Byrd, Nocedal, Schnabel, "Representations of quasi-Newton matrices and
their use in limited memory methods", Math. Programming 63, 1994.
"""

from typing import NamedTuple

import tensorflow as tf

from nst_tf.formulas import linesearch


class Pairs(NamedTuple):
    """What is known of m pairs s, y; float64, newest first.

    Fields:
      along: [2, m], s . g and y . g, g being the last accepted gradient.
      square: g . g.
      mixed: [m, m], s_i . y_j where j is not older than i, 0 elsewhere (R in
        the paper); 0 on the diagonal marks an empty pair.
      bent: [m, m], y_i . y_j.
      scale: the initial inverse Hessian is scale * identity.
    """

    along: tf.Tensor
    square: tf.Tensor
    mixed: tf.Tensor
    bent: tf.Tensor
    scale: tf.Tensor


class Known(NamedTuple):
    """What L-BFGS knows in numbers.

    Fields:
      search: the line search along the direction; search.start.value is
        +infinity until a first image has been accepted.
      pairs: the curvature seen, and where it is asked for.
    """

    search: linesearch.Search
    pairs: Pairs


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


def decide(known: Known, numbers: tf.Tensor, epsilon: float) -> Decision:
    """Take what a trial has brought; scalars and small matrices alone."""
    before, pairs = known
    history = pairs.along.shape[1]
    found = Found(
        tf.reshape(numbers[: 2 * history], [2, history]),
        *tf.unstack(numbers[2 * history :], len(Found._fields) - 1),
    )
    trial = linesearch.Point(before.step, found.value, found.slope)
    yes, no = tf.constant(True), tf.constant(False)
    after, accepted, failed = tf.cond(  # most trials are good
        _is_good(before, trial, 4 * epsilon),
        lambda: (before, yes, no),
        lambda: _search_on(before, trial, 4 * epsilon),
    )
    pairs, pushed = tf.cond(
        accepted,
        lambda: _remember(pairs, found, epsilon),
        lambda: (_forget(pairs, failed), no),
    )
    value = tf.where(accepted, trial.value, before.start.value)
    known, weights = tf.cond(
        accepted | failed,
        lambda: _depart(pairs, value),
        lambda: (
            Known(after, pairs),
            tf.zeros([2 * history + 1], tf.float64),
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
    pairs: Pairs, found: Found, epsilon: float
) -> tuple[Pairs, tf.Tensor]:
    """Move to an accepted image; keep the curvature met on the way, if any."""
    scale = found.mixed / found.bent
    convex = found.mixed > -epsilon * (found.step - found.mixed)
    convex &= tf.math.is_finite(scale)
    empty = tf.linalg.diag_part(pairs.mixed) == 0
    along = tf.where(empty, tf.zeros_like(found.along), found.along)
    change = along - pairs.along  # the pairs' products with y
    length = tf.sqrt(found.square)
    first = tf.math.divide_no_nan(tf.ones_like(length), length)
    first = tf.where(pairs.scale > 0, pairs.scale, first)
    same = pairs._replace(along=along, square=found.square, scale=first)

    def pushed():
        newest = tf.stack([found.step, found.change])[:, None]
        below = change[0, :-1, None]
        beside = change[1, None, :-1]
        mixed = tf.concat([below, pairs.mixed[:-1, :-1]], 1)
        bent = tf.concat([change[1, :-1, None], pairs.bent[:-1, :-1]], 1)
        top = tf.concat([[[found.mixed]], tf.zeros_like(beside)], 1)
        return same._replace(
            along=tf.concat([newest, along[:, :-1]], 1),
            mixed=tf.concat([top, mixed], 0),
            bent=tf.concat([tf.concat([[[found.bent]], beside], 1), bent], 0),
            scale=scale,
        )

    return tf.cond(convex, pushed, lambda: same), convex


def _forget(pairs: Pairs, failed: tf.Tensor) -> Pairs:
    """If the search has failed, start over with shorter steps."""
    none = _emptied(pairs._replace(scale=0.1 * pairs.scale))
    return tf.nest.map_structure(
        lambda one, other: tf.where(failed, one, other), none, pairs
    )


def _emptied(pairs: Pairs) -> Pairs:
    return pairs._replace(
        along=tf.zeros_like(pairs.along),
        mixed=tf.zeros_like(pairs.mixed),
        bent=tf.zeros_like(pairs.bent),
    )


def _depart(pairs: Pairs, value: tf.Tensor) -> tuple[Known, tf.Tensor]:
    """Begin a line search from the accepted image; its direction's weights."""
    weights, slope = _direction(pairs)

    def downhill():
        steepest = tf.zeros_like(weights[:-1])
        away = tf.concat([steepest, [-pairs.scale]], 0)
        return _emptied(pairs), away, -pairs.scale * pairs.square

    pairs, weights, slope = tf.cond(
        slope < 0, lambda: (pairs, weights, slope), downhill
    )
    return Known(linesearch.start(value, slope), pairs), weights


def _direction(pairs: Pairs) -> tuple[tf.Tensor, tf.Tensor]:
    """-H g as weights of steps, changes and gradient [2 m + 1]; its slope.

    H g = c g + S q - c Y p,  p = R^-1 S'g,  q = R'^-1 ((D + c Y'Y) p - c Y'g)

    with c the scale, S and Y the pairs, R `mixed`, D its diagonal (Byrd,
    Nocedal, Schnabel, "Representations of quasi-Newton matrices", Math.
    Programming 63, 1994, theorem 2.4). It is what the two-loop recursion
    computes, but all large products come before, and all large sums after.
    """
    step, change = pairs.along[0, :, None], pairs.along[1, :, None]
    diagonal = tf.linalg.diag_part(pairs.mixed)
    ones = tf.cast(diagonal == 0, tf.float64)  # of the empty pairs
    root = tf.linalg.set_diag(pairs.mixed, diagonal + ones)
    p = tf.linalg.triangular_solve(root, step)
    right = diagonal[:, None] * p
    right += pairs.scale * (tf.matmul(pairs.bent, p) - change)
    q = tf.linalg.triangular_solve(root, right, adjoint=True)
    along = tf.concat([step, change, [[pairs.square]]], 0)
    weights = tf.concat([-q, pairs.scale * p, [[-pairs.scale]]], 0)
    return weights[:, 0], tf.reduce_sum(weights * along)


def nothing(history: int) -> Known:
    """What is known before the first image."""
    zero = tf.zeros([], tf.float64)
    none = tf.zeros([history, history], tf.float64)
    infinity = tf.constant(float("inf"), tf.float64)
    search = linesearch.start(infinity, zero)
    along = tf.zeros([2, history], tf.float64)
    return Known(search, Pairs(along, zero, none, none, zero))


def packed(known: Known) -> tf.Tensor:
    """All of it as one float64 vector."""
    scalars = [
        tf.cast(each, tf.float64) for each in tf.nest.flatten(known.search)
    ]
    others = [tf.reshape(each, [-1]) for each in known.pairs]
    return tf.concat([tf.stack(scalars), *others], 0)


def unpacked(numbers: tf.Tensor, history: int) -> Known:
    """The vector's numbers by their names."""
    search, pairs = nothing(history)
    kinds = [each.dtype for each in tf.nest.flatten(search)]
    counts = [each.shape.num_elements() for each in pairs]
    scalars, *parts = tf.split(numbers, [len(kinds), *counts])
    scalars = tf.unstack(scalars, len(kinds))
    scalars = [tf.cast(*each) for each in zip(scalars, kinds, strict=True)]
    shaped = [
        tf.reshape(part, each.shape)
        for part, each in zip(parts, pairs, strict=True)
    ]
    return Known(tf.nest.pack_sequence_as(search, scalars), Pairs(*shaped))
