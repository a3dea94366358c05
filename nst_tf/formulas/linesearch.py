"""The line search of Moré and Thuente, one trial at a time.

The search looks along phi(step) = cost(image + step * direction) for a step
with sufficient decrease and a flatter slope (the strong Wolfe conditions),

    phi(step)   <=  phi(0) + DECREASE * step * phi'(0)
    |phi'(step)| <= FLATTER * |phi'(0)|

It never evaluates phi itself: `start` names the first trial step, and every
`advance` takes what was found there and names the next. All its numbers are
float64 scalars, whatever the image's type.

Source: J. J. Moré and D. J. Thuente, Line search algorithms with guaranteed
sufficient decrease, ACM TOMS 20(3), 1994. The constants are those with which
L-BFGS-B (Zhu, Byrd, Lu, Nocedal, ACM TOMS 23(4), 1997) uses it.
"""

from typing import NamedTuple

import tensorflow as tf

DECREASE = 1e-3  # mu in the paper
FLATTER = 0.9  # eta in the paper
NARROW = 0.1  # an interval relatively shorter than this is not divided again
LONGEST = 1e10
EVALUATIONS = 20  # trials in one search


class Point(NamedTuple):
    """A step, phi and phi' there: three float64 scalars."""

    step: tf.Tensor
    value: tf.Tensor
    slope: tf.Tensor


class Search(NamedTuple):
    """Where one search stands; every field is a scalar (or three).

    Fields:
      step: the trial to evaluate next.
      start: step 0, where the search began.
      best: the end of the interval with the lowest value (alpha_l).
      other: the other end (alpha_u).
      bracketed: a minimiser is known to lie between the two.
      lower, upper: bounds for the next trial.
      width, before: length of the interval now, and one trial ago.
      limit: shortest step found to have no finite cost.
      first_stage: the paper's auxiliary function psi may still be needed.
      trials: evaluations so far.
      exhausted: nothing is left to try; `step` is the best that was found.
    """

    step: tf.Tensor
    start: Point
    best: Point
    other: Point
    bracketed: tf.Tensor
    lower: tf.Tensor
    upper: tf.Tensor
    width: tf.Tensor
    before: tf.Tensor
    limit: tf.Tensor
    first_stage: tf.Tensor
    trials: tf.Tensor
    exhausted: tf.Tensor


def start(value: tf.Tensor, slope: tf.Tensor) -> Search:
    """Begin a search at step 0 with phi(0), phi'(0); the first trial is 1."""

    def number(constant):
        return tf.constant(constant, tf.float64)

    origin = Point(number(0.0), value, slope)
    return Search(
        step=number(1.0),
        start=origin,
        best=origin,
        other=origin,
        bracketed=tf.constant(False),
        lower=number(0.0),
        upper=number(5.0),
        width=number(LONGEST),
        before=number(2 * LONGEST),
        limit=number(LONGEST),
        first_stage=tf.constant(True),
        trials=tf.constant(0),
        exhausted=tf.constant(False),
    )


def decreases(search: Search, trial: Point, rounding: float) -> tf.Tensor:
    """Whether phi has decreased enough, give or take relative `rounding`."""
    origin = search.start
    enough = origin.value + DECREASE * trial.step * origin.slope
    return trial.value <= enough + rounding * tf.abs(origin.value)


def satisfies(search: Search, trial: Point, rounding: float) -> tf.Tensor:
    """Whether the trial meets the strong Wolfe conditions: a boolean scalar.

    Departure from the paper: a rise within the rounding error of the cost
    still counts as a decrease, else float32 runs stall where the cost is flat
    but the gradient is not (Hager and Zhang, SIAM J. Optim. 16(1), 2005).
    """
    flat = tf.abs(trial.slope) <= -FLATTER * search.start.slope
    return decreases(search, trial, rounding) & flat


def is_finite(trial: Point) -> tf.Tensor:
    """Whether the cost and the slope are numbers: a boolean scalar."""
    return tf.math.is_finite(trial.value) & tf.math.is_finite(trial.slope)


def advance(search: Search, trial: Point) -> Search:
    """Take what was found at `search.step`; name the next trial.

    A value or slope that is not finite counts as +infinity: the best step is
    taken, or, while that is 0, one ten times as short is tried.
    """
    finite = is_finite(trial)
    moved = tf.nest.map_structure(
        lambda yes, no: tf.where(finite, yes, no),
        _narrow(search, trial),
        _retreat(search, trial),
    )
    step, lower, upper = moved.step, moved.lower, moved.upper
    outside = (step <= lower) | (step >= upper)
    narrow = upper - lower <= NARROW * upper
    exhausted = moved.exhausted | (moved.bracketed & (outside | narrow))
    exhausted |= search.trials + 1 >= EVALUATIONS
    return moved._replace(
        step=tf.where(exhausted, moved.best.step, step),
        trials=search.trials + 1,
        exhausted=exhausted,
    )


def _retreat(search: Search, trial: Point) -> Search:
    """Settle for the best step, or try a much shorter one."""
    return search._replace(
        step=0.1 * trial.step,
        other=search.best,
        bracketed=tf.constant(False),
        limit=trial.step,
        exhausted=search.exhausted | (search.best.step > 0),
    )


def _narrow(search: Search, trial: Point) -> Search:
    """Update the interval and choose a step (the paper's sections 2 to 4)."""
    tilt = DECREASE * search.start.slope
    decreased = trial.value <= search.start.value + tilt * trial.step
    first_stage = search.first_stage & ~(decreased & (trial.slope >= 0))
    # While no step has decreased enough, work on
    # psi(step) = phi(step) - phi(0) - DECREASE * step * phi'(0).
    auxiliary = first_stage & ~decreased & (trial.value <= search.best.value)
    tilt = tf.where(auxiliary, tilt, tf.zeros_like(tilt))
    best, other = _tilted(search.best, tilt), _tilted(search.other, tilt)
    trial = _tilted(trial, tilt)
    step, bracketed = _select(search, best, other, trial)
    best, other = _interval(best, other, trial)
    best, other = _tilted(best, -tilt), _tilted(other, -tilt)

    # An interval that does not shrink by a third in two trials is halved.
    width = tf.abs(other.step - best.step)
    middle = best.step + 0.5 * (other.step - best.step)
    slow = (width >= 0.66 * search.before) | ~tf.math.is_finite(step)
    step = tf.where(bracketed & slow, middle, step)
    halfway = 0.5 * (best.step + search.limit)
    step = tf.where(bracketed, step, tf.minimum(step, halfway))

    low = tf.minimum(best.step, other.step)
    high = tf.maximum(best.step, other.step)
    ahead = step - best.step
    return search._replace(
        step=step,
        best=best,
        other=other,
        bracketed=bracketed,
        lower=tf.where(bracketed, low, step + 1.1 * ahead),
        upper=tf.where(bracketed, high, step + 4.0 * ahead),
        width=tf.where(bracketed, width, search.width),
        before=tf.where(bracketed, search.width, search.before),
        first_stage=first_stage,
    )


def _tilted(point: Point, tilt: tf.Tensor) -> Point:
    """Subtract a line through the origin from phi."""
    value = point.value - tilt * point.step
    return Point(point.step, value, point.slope - tilt)


def _interval(best: Point, other: Point, trial: Point):
    """Update the interval (section 2, the updating algorithm)."""
    higher = trial.value > best.value
    turned = trial.slope * (best.step - trial.step) > 0
    other = _choose(higher, trial, _choose(turned, other, best))
    return _choose(higher, best, trial), other


def _choose(condition: tf.Tensor, yes: Point, no: Point) -> Point:
    pairs = zip(yes, no, strict=True)
    return Point(*(tf.where(condition, *pair) for pair in pairs))


def _select(search: Search, best: Point, other: Point, trial: Point):
    """Select the next step (section 4, cases 1 to 4); say if bracketed."""
    at, bracketed, forward = (
        trial.step,
        search.bracketed,
        trial.step > best.step,
    )
    cubic, secant = _cubic(best, trial), _secant(best, trial)
    quadratic = _quadratic(best, trial)
    bound = tf.where(forward, search.upper, search.lower)

    # 1: a higher value. The minimum lies between.
    average = cubic + 0.5 * (quadratic - cubic)
    is_higher = trial.value > best.value
    higher = tf.where(_nearer(cubic, quadratic, best.step), cubic, average)
    # 2: a lower value, the slope has changed sign. The minimum lies between.
    is_turned = trial.slope * best.slope < 0
    turned = tf.where(_nearer(secant, cubic, at), cubic, secant)
    # 3: a lower value, the slope is flatter. The minimum lies beyond, though
    #    the cubic may have none there.
    is_flatter = tf.abs(trial.slope) < tf.abs(best.slope)
    cubic = tf.where((cubic - at) * (at - best.step) > 0, cubic, bound)
    nearer = tf.where(_nearer(cubic, secant, at), cubic, secant)
    farther = tf.where(_nearer(secant, cubic, at), cubic, secant)
    most = at + 0.66 * (other.step - at)
    most = tf.where(forward, tf.minimum(most, nearer), tf.maximum(most, nearer))
    farther = tf.clip_by_value(farther, search.lower, search.upper)
    flatter = tf.where(bracketed, most, farther)
    # 4: a lower value, the slope is as steep as it was.
    steeper = tf.where(bracketed, _cubic(trial, other), bound)

    step = tf.where(is_flatter, flatter, steeper)
    step = tf.where(is_turned, turned, step)
    step = tf.where(is_higher, higher, step)
    return step, bracketed | is_higher | is_turned


def _nearer(first: tf.Tensor, second: tf.Tensor, to: tf.Tensor) -> tf.Tensor:
    return tf.abs(first - to) < tf.abs(second - to)


def _cubic(a: Point, b: Point) -> tf.Tensor:
    """Minimiser of the cubic with the values and slopes of two points.

    NaN where the cubic has no minimum.
    """
    length = b.step - a.step
    theta = 3.0 * (a.value - b.value) / length + a.slope + b.slope
    gamma = tf.sign(length) * tf.sqrt(theta * theta - a.slope * b.slope)
    ratio = (b.slope + gamma - theta) / (b.slope - a.slope + 2.0 * gamma)
    return b.step - ratio * length


def _quadratic(a: Point, b: Point) -> tf.Tensor:
    """Minimiser of the quadratic with two values and the slope at `a`."""
    length = b.step - a.step
    drop = (a.value - b.value) / length + a.slope
    return a.step + 0.5 * length * a.slope / drop


def _secant(a: Point, b: Point) -> tf.Tensor:
    """Minimiser of the quadratic with the slopes of two points."""
    return b.step + (a.step - b.step) * b.slope / (b.slope - a.slope)
