"""A state, a step, a generator: the optimisation, pure TensorFlow.

Images are float32 `[1, h, w, 3]`, RGB in [0, 1]. Nothing here reads a file
or a flag: the same generator that Python runs step by step is traced into
the SavedModel.
"""

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from nst_tf.engine import network as network_
from nst_tf.engine.objective import (
    WHOLE,
    Anchor,
    Costs,
    Detail,
    Numbers,
    Objective,
    Places,
)
from nst_tf.engine.tracing import whole_or_tiled
from nst_tf.formulas import losses, optimizers
from nst_tf.formulas.optimizers import Optimizer
from nst_tf.formulas.statistics import STATISTICS
from nst_tf.request.networks import NETWORKS
from nst_tf.request.options import PAIRS, Options

# Of an anchor's weight: where its term is about as stiff as all the others.
STIFF = 10.0
# What the default weights make of alpha E_C / (beta J_S), see `_balanced`.
BALANCE = 0.05


class State(NamedTuple):
    """Everything that the next step needs, and the best picture so far."""

    step: tf.Tensor  # int32 [], steps taken at this scale
    image: tf.Tensor
    costs: Costs  # of `image`
    gradient: tf.Tensor  # of the total cost at `image`
    slots: Any  # the optimiser's own
    best_image: tf.Tensor
    best_costs: Costs


class Arithmetic(NamedTuple):
    """How the numbers are computed: what an engine is built for.

    Fields:
      precision: of the convolutions, never `auto`.
      tile: side of the tiles in pixels; 0: the whole at once.
      jit: whether XLA compiles.
      transposed: how convolutions are computed, see `vgg.Convolution`.
      workers: names of the devices that share the tiles.
      at_once: whether in few large operations, as GPUs like it, or in many
        that take less memory.
    """

    precision: str = "float32"
    tile: int = 0
    jit: bool = False
    transposed: tuple[bool, bool] = (False, False)
    workers: tuple[str, ...] = ("",)
    at_once: bool = False


class Snapshot(NamedTuple):
    """What the generator yields: the best picture after so many steps."""

    scale: int
    step: tf.Tensor
    image: tf.Tensor  # [1, h, w, 3], clipped to [0, 1]
    costs: Costs
    state: State


class Transfer(tf.Module):
    """Optimises an image towards the content and the styles given.

    Args:
      objective: what is to become small.
      optimizer: from a learning rate to an `Optimizer`.
      margin: pixels painted beyond the frame, mirrored at first, and cut off
        what is yielded. The network pads with zeros, which leaves a dull
        band of two pixels along the frame; the costs count the margin in.
      range_weight: weight, times alpha + beta, of values outside [0, 1] in
        the total cost. An optimiser that is not boxed leaves that range, and
        what saving cuts off can cost more than all the rest.
      detailed: whether the image is held to the content's details.
      at_once: whether the better of two images is chosen pixel by pixel: a
        GPU need not be waited for, and a third image takes memory.
    """

    def __init__(
        self,
        objective: Objective,
        optimizer: Callable[[Any], Optimizer],
        margin: int = 0,
        range_weight: float = 0.0,
        detailed: bool = False,
        at_once: bool = False,
    ):
        super().__init__(name="transfer")
        self.objective = objective
        self._optimizer = optimizer
        self._margin = margin
        self._range_weight = range_weight
        self._detailed = detailed
        self._at_once = at_once
        self.starting = whole_or_tiled(self._evaluate)
        self.advancing = whole_or_tiled(self._advance)

    def start(
        self, image: tf.Tensor, targets, numbers, history: int | None = None
    ) -> State:
        """The state of no steps: the image evaluated, fresh slots.

        `history` is how many pairs L-BFGS keeps, if not its own number.
        """
        tiled = self.objective.tiled(image)
        costs, gradient = self.starting[tiled](image, targets, numbers)
        optimizer = self._optimizer(numbers.learning_rate)
        own = () if history is None else (history,)
        step, slots = tf.zeros([], tf.int32), optimizer.init(image, *own)
        return State(step, image, costs, gradient, slots, image, costs)

    def advance(self, state: State, targets, numbers, until) -> State:
        """Steps until `state.step` is `until`, or the run has diverged."""
        tiled = self.objective.tiled(state.image)
        return self.advancing[tiled](state, targets, numbers, until)

    def _advance(self, state, targets, numbers, until, tiled: bool) -> State:
        optimizer = self._optimizer(numbers.learning_rate)
        ease = None
        if targets.anchor and not optimizer.boxed:  # Adam has its own units
            ease = _ease(targets.anchor)

        def step(state: State) -> tuple[State]:
            image, gradient = state.image, state.gradient
            if ease is not None:
                image, gradient = image / ease, gradient * ease
            image, slots = optimizer.update(
                image, state.costs.total, gradient, state.slots
            )
            if ease is not None:
                image *= ease
            if optimizer.boxed:
                image = tf.clip_by_value(image, 0.0, 1.0)
            costs, gradient = self._evaluate(image, targets, numbers, tiled)
            best_image, best_costs = self._chosen(
                costs.total < state.best_costs.total,  # never true of NaN
                (image, costs),
                (state.best_image, state.best_costs),
            )
            return (
                State(
                    state.step + 1,
                    image,
                    costs,
                    gradient,
                    slots,
                    best_image,
                    best_costs,
                ),
            )

        return tf.while_loop(
            lambda state: (state.step < until) & ~diverged(state),
            step,
            (state,),
            parallel_iterations=1,
        )[0]

    def _chosen(self, condition: tf.Tensor, yes, no):
        """An image and its costs, or the other image and its."""
        if not self._at_once:
            return tf.cond(condition, lambda: yes, lambda: no)
        images, costs = zip(yes, no, strict=True)
        numbers = [tf.stack(tf.nest.flatten(each)) for each in costs]
        chosen = tf.unstack(tf.where(condition, *numbers))
        return tf.where(condition, *images), tf.nest.pack_sequence_as(
            costs[0], chosen
        )

    def _evaluate(
        self, image, targets, numbers, tiled: bool
    ) -> tuple[Costs, tf.Tensor]:
        """The objective's costs and gradient, and what pixels cost besides.

        Outside [0, 1] they do, away from the anchor, and where they lose the
        content's details. None asks the network, so that tiles do not matter.
        The gradient is that of the pixels that are painted.
        """
        anchor, detail = targets.anchor, targets.detail
        targets = targets._replace(anchor=(), detail=())
        costs, gradient = self.objective.evaluate(
            image, targets, numbers, tiled
        )
        masks = targets.masks
        if masks.given:
            gradient *= masks.free
        if not (self._range_weight or anchor or detail):
            return costs, gradient
        with tf.control_dependencies([gradient]):  # when memory is free again
            image = tf.identity(image)
        extra = losses.out_of_range(image) * self._range_weight
        extra *= numbers.content_weight + numbers.style_weight
        if masks.given:
            extra /= masks.painted
        if anchor:
            away = losses.temporal_cost(
                image, anchor.picture, anchor.confidence
            )
            extra += anchor.weight * away
        if detail:
            lost = losses.detail_cost(detail.laplacian, image, detail.weight)
            extra += numbers.detail_weight * lost
        costs = costs._replace(total=costs.total + extra)
        back = tf.gradients(extra, image)[0]
        if masks.given:
            back *= masks.free
        return costs, gradient + back

    def restore(self, arrays: Sequence[Any]) -> State:
        """The state whose flat list of tensors `arrays` is."""
        image, zero = tf.zeros([1, 1, 1, 3]), tf.zeros([])
        costs = self.objective.no_costs()
        optimizer = self._optimizer(0.0)
        shape = State(
            zero, image, costs, image, optimizer.init(image), image, costs
        )
        missing = len(tf.nest.flatten(shape)) - len(arrays)
        if missing:  # pairs that the run had no room for
            kept = len(shape.slots.steps) - missing // 2
            shape = shape._replace(slots=optimizer.init(image, kept))
        flat = [tf.constant(array) for array in arrays]
        return tf.nest.pack_sequence_as(shape, flat)

    def snapshots(
        self,
        content: tf.Tensor,
        styles: Sequence[tf.Tensor],
        blend: Sequence[float] | tf.Tensor,
        image: tf.Tensor,
        numbers: Numbers,
        milestones: Callable[[int], Iterable[Any]],
        factors: Sequence[float] = (1.0,),
        resume: tuple[int, State] | None = None,
        advance: Callable[..., State] | None = None,
        anchor: Anchor | None = None,
        places: Places = WHOLE,
        strength: float | None = None,
        history: Sequence[int] = (),
    ) -> Iterator[Snapshot]:
        """Optimises from coarse to fine; yields at steps 0 and `milestones`.

        Args:
          content: `[1, h, w, 3]`, of the size of the result.
          styles: `[1, h_k, w_k, 3]` each, of the size to be used at the
            finest scale.
          blend: weight of each style.
          image: where the coarsest scale starts, of its size: that of
            `shrink(content, factors[0])`.
          numbers: the call's weights and learning rate.
          milestones: from a scale, 0 being the coarsest, to the ascending
            step counts (ints or int32 scalars) to yield at; it ends at the
            last.
          factors: of each scale, how much smaller it is than the result.
          resume: scale and state to continue from.
          advance: what takes the steps; `self.advance`, or the same in parts.
          anchor: what the result should stay near, of its size.
          places: masks of the sizes of content and styles. What is not
            painted stays the content.
          strength: from 0 to 1, of the style; sets the content's weight at
            each scale.
          history: pairs that L-BFGS keeps at each scale, at most its own
            number; that if empty.
        """
        first, state = resume or (0, None)
        advance = advance or self.advance
        numbers = Numbers(
            *[tf.convert_to_tensor(number, tf.float32) for number in numbers]
        )
        for scale, factor in list(enumerate(factors))[first:]:
            small = shrink(content, factor)
            targets = self.objective.targets(
                self._widened(small),
                [shrink(style, factor) for style in styles],
                blend,
                self._placed(places, factor),
            )
            if anchor is not None:
                targets = targets._replace(anchor=self._held(anchor, factor))
            if self._detailed:
                held = self._detail(small, places, factor)
                targets = targets._replace(detail=held)
            own = numbers
            if strength is not None:
                own = self._balanced(strength, small, targets, numbers)
            if scale > first:
                image = resize(image, tf.shape(small)[1:3])
                if anchor is not None and not isinstance(anchor.start, tuple):
                    image = _started(image, anchor, factor)
            if state is None:
                image = self._widened(image)
                if targets.masks.given:
                    painted = tf.cast(targets.masks.free, tf.bool)
                    image = tf.where(painted, image, self._widened(small))
                pairs = history[scale] if history else None
                state = self.start(image, targets, own, pairs)
                yield self._snapshot(scale, state)
            image = small = None  # their memory is free for the steps
            if scale + 1 == len(factors):
                content, styles = None, ()
            for until in milestones(scale):
                until = tf.convert_to_tensor(until, tf.int32)
                state = advance(state, targets, own, until)
                yield self._snapshot(scale, state)
            image, state = self._snapshot(scale, state).image, None

    def _balanced(self, strength: float, content, targets, numbers) -> Numbers:
        """The weights with which a strength looks alike on every pair.

        alpha E_C / (beta J_S) = BALANCE ((1 - s) / s)^2, with E_C the content
        cost of seeing nothing and J_S the style cost of the content itself:
        what there is to lose, and what there is to gain.
        """
        image = self._widened(content)
        costs, _ = self.objective.evaluate(
            image, targets._replace(anchor=(), detail=()), numbers
        )
        ratio = BALANCE * ((1 - strength) / strength) ** 2
        gain = numbers.style_weight * costs.style
        loss = self.objective.content_energy(targets)
        weight = tf.math.divide_no_nan(ratio * gain, loss)
        return numbers._replace(content_weight=weight)

    def _detail(self, content, places: Places, factor: float) -> Detail:
        """The content's details at a scale, and where they count."""
        laplacian = losses.detail(self._widened(content))
        weight = tf.ones_like(laplacian[..., :1])
        mask = places.painted if places.detail is None else places.detail
        if mask is not None:
            mask = self._widened(thin(mask, factor))
            weight = tf.nn.avg_pool2d(mask, 4, 4, "VALID")
            weight = tf.math.divide_no_nan(weight, tf.reduce_mean(weight))
        return Detail(laplacian, weight)

    def _widened(self, image: tf.Tensor) -> tf.Tensor:
        sides = [self._margin] * 2
        return tf.pad(image, [[0, 0], sides, sides, [0, 0]], "SYMMETRIC")

    def _placed(self, places: Places, factor: float) -> Places:
        """The masks at a scale, as wide as its picture."""
        painted, regions = (
            None if mask is None else self._widened(thin(mask, factor))
            for mask in (places.painted, places.regions)
        )
        parts = [
            None if mask is None else thin(mask, factor)
            for mask in places.styles
        ]
        return Places(painted, regions, parts)

    def _held(self, anchor: Anchor, factor: float) -> Anchor:
        """The anchor at a scale; nothing is known of what the margin hides."""
        picture, confidence, weight, *_ = anchor
        sides = [[0, 0], *[[self._margin] * 2] * 2, [0, 0]]
        return Anchor(
            self._widened(shrink(picture, factor)),
            tf.pad(shrink(confidence, factor), sides),
            tf.convert_to_tensor(weight, tf.float32),
        )

    def _snapshot(self, scale: int, state: State) -> Snapshot:
        image = tf.clip_by_value(state.best_image, 0.0, 1.0)
        frame = slice(self._margin, -self._margin or None)
        image = image[:, frame, frame]
        return Snapshot(scale, state.step, image, state.best_costs, state)


def build(
    network: Callable[[tf.Tensor], dict[str, tf.Tensor]],
    options: Options,
    arithmetic: Arithmetic,
    projections: Mapping[str, Any] | None = None,
) -> Transfer:
    """The transfer that the options ask for, on a network of their layers."""
    arguments = dict(options.optimizer_arguments())
    takes_rate = arguments.pop("learning_rate", None) is not None
    range_weight = arguments.pop("range_weight", 0.0)
    if options.optimizer == "lbfgs":
        arguments["at_once"] = arithmetic.at_once
        if arguments["history"] == "auto":
            arguments["history"] = PAIRS
    method = functools.partial(
        getattr(optimizers, options.optimizer), **arguments
    )
    objective = Objective(
        network,
        *options.used_layers(),
        arithmetic.jit,
        arithmetic.tile,
        arithmetic.workers,
        float16=arithmetic.precision == "mixed_float16",
        scale=network_.scale(options.network, arithmetic.precision),
        projections=projections,
        statistic=STATISTICS[options.style_statistic],
        order=NETWORKS[options.network].layers,
        at_once=arithmetic.at_once,
    )
    by_rate = method if takes_rate else lambda rate: method()
    return Transfer(
        objective,
        by_rate,
        options.margin,
        range_weight,
        options.detail_weight > 0,
        arithmetic.at_once,
    )


def diverged(state: State) -> tf.Tensor:
    """Whether no further step can help: nothing finite to go on from."""
    return ~(
        tf.math.is_finite(state.best_costs.total)
        & tf.reduce_all(tf.math.is_finite(state.image))
    )


def resize(image: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
    """The image at `[h, w]`, antialiased, in [0, 1]."""
    resized = tf.image.resize(image, size, "lanczos3", antialias=True)
    return tf.clip_by_value(resized, 0.0, 1.0)


def shrink(image: tf.Tensor, factor: float) -> tf.Tensor:
    """The image at 1 / factor of its size, at least 1 x 1."""
    if factor == 1:
        return image
    return resize(image, _shrunk(tf.shape(image)[1:3], factor))


def _started(image: tf.Tensor, anchor: Anchor, factor: float) -> tf.Tensor:
    """What the anchor starts from where that is known, else the image."""
    known = shrink(anchor.known, factor)
    return known * shrink(anchor.start, factor) + (1 - known) * image


def _ease(anchor: Anchor) -> tf.Tensor:
    """Units in which held pixels are as stiff as free ones, [1, h, w, 1].

    Steps are sized by what is stiffest: without them, pixels that nothing
    holds would hardly move beside those that an anchor does.
    """
    return tf.math.rsqrt(1 + anchor.weight / STIFF * anchor.confidence)


def thin(mask: tf.Tensor, factor: float) -> tf.Tensor:
    """A mask `[n, h, w, 1]` at 1 / factor of its size; black stays black."""
    if factor == 1:
        return mask
    size = _shrunk(tf.shape(mask)[1:3], factor)
    return tf.image.resize(mask, size, "bilinear", antialias=True)


def _shrunk(size: tf.Tensor, factor: float) -> tf.Tensor:
    """A size `[h, w]` at 1 / factor of it, at least 1 x 1."""
    smaller = tf.floor(tf.cast(size, tf.float64) / factor + 0.5)
    return tf.maximum(tf.cast(smaller, tf.int32), 1)
