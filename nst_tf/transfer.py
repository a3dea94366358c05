"""A state, a step, a generator: the optimisation, pure TensorFlow.

Images are float32 `[1, h, w, 3]`, RGB in [0, 1]. Nothing here reads a file
or a flag: the same generator that Python runs step by step is traced into
the SavedModel.
"""

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from nst_tf import losses, optimizers, tiles
from nst_tf.optimizers import Optimizer
from nst_tf.options import Layers, Options


class Numbers(NamedTuple):
    """What may change from call to call: scalars, tensors or floats."""

    content_weight: Any
    style_weight: Any
    tv_weight: Any
    learning_rate: Any


class Targets(NamedTuple):
    """What the image is optimised towards, at one scale."""

    content: dict[str, tf.Tensor]  # features [1, h', w', c] of the content
    style: dict[str, tf.Tensor]  # mean Gram matrices [1, c, c] of the styles


class Means(NamedTuple):
    """What the costs need to know of an image: means over its positions."""

    content: dict[str, tf.Tensor]  # content costs, scalars
    style: dict[str, tf.Tensor]  # mean Gram matrices [1, c, c]


class Costs(NamedTuple):
    """The cost terms of an image: scalars, unweighted but for `total`."""

    total: tf.Tensor
    content: tf.Tensor
    style: tf.Tensor
    tv: tf.Tensor
    style_layers: dict[str, tf.Tensor]


class State(NamedTuple):
    """Everything that the next step needs, and the best picture so far."""

    step: tf.Tensor  # int32 [], steps taken at this scale
    image: tf.Tensor
    costs: Costs  # of `image`
    gradient: tf.Tensor  # of the total cost at `image`
    slots: Any  # the optimiser's own
    best_image: tf.Tensor
    best_costs: Costs


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
      network: model from `[n, h, w, 3]` to `{layer: features}`, with all
        layers that the next two arguments name.
      content_layers: `((name, weight), ...)`; empty: no content.
      style_layers: `((name, weight), ...)`; empty: no style.
      optimizer: from a learning rate to an `Optimizer`.
      jit: whether XLA compiles the evaluation of cost and gradient.
      margin: pixels painted beyond the frame, mirrored at first, and cut off
        what is yielded. The network pads with zeros, which leaves a dull
        band of two pixels along the frame; the costs count the margin in.
      tile: side in pixels, a multiple of 16, of the parts in which cost and
        gradient are computed, in bounded memory and to the same result; 0:
        the whole picture at once. XLA does not compile tiles.
      devices: names of the devices that share the tiles.
    """

    def __init__(
        self,
        network: Callable[[tf.Tensor], dict[str, tf.Tensor]],
        content_layers: Layers,
        style_layers: Layers,
        optimizer: Callable[[Any], Optimizer],
        jit: bool = False,
        margin: int = 0,
        tile: int = 0,
        devices: Sequence[str] = ("",),
    ):
        super().__init__(name="transfer")
        self._network = network
        # A SavedModel finds a Keras model's variables only when they are
        # also held raw.
        self._variables = [v.value for v in getattr(network, "variables", ())]
        self._content_layers = dict(content_layers)
        self._style_layers = dict(style_layers)
        self._optimizer = optimizer
        self._margin = margin
        self._tile, self._devices = tile, devices
        evaluate = self._evaluate_tiled if tile else self._evaluate
        self.evaluate = tf.function(
            evaluate, jit_compile=jit and not tile, autograph=False
        )
        self.features = tf.function(network, autograph=False)
        self._features_tiled = tf.function(
            self._features_in_tiles, autograph=False
        )
        self._grams_tiled = tf.function(
            lambda style: self._means_tiled(style, {}).style, autograph=False
        )
        self.start = tf.function(self._start, autograph=False)
        self.advance = tf.function(self._advance, autograph=False)

    def targets(
        self,
        content: tf.Tensor,
        styles: Sequence[tf.Tensor],
        blend: Sequence[float] | tf.Tensor,
    ) -> Targets:
        """Content features, and the mean Gram matrices of the styles merged.

        The gradient of sum_k w_k |G - G_k|^2 is that of the weighted mean of
        the G_k: several styles cost what one costs.
        """
        kept: dict[str, tf.Tensor] = {}
        if self._content_layers:
            kept = self._content_features(content)
        merged: dict[str, tf.Tensor] = {}
        if self._style_layers:
            share = tf.cast(blend, tf.float32) / tf.reduce_sum(
                tf.cast(blend, tf.float32)
            )
            for k, style in enumerate(styles):
                for layer, gram in self._style_grams(style).items():
                    merged[layer] = merged.get(layer, 0.0) + share[k] * gram
        return Targets(kept, merged)

    def costs(
        self, image: tf.Tensor, targets: Targets, numbers: Numbers
    ) -> Costs:
        """J = alpha J_content + beta sum_l lambda_l J_style_l + gamma J_tv."""
        if self._tile and not _fits(image, self._tile):
            means = self._means_tiled(image, targets.content)
        else:
            means = self._means(self._network(image), targets.content)
        return self._costs(means, image, targets, numbers)

    def _means(self, seen, content, share=lambda layer: 1.0) -> Means:
        """Each mean times the share that these positions have of it."""
        return Means(
            {
                layer: share(layer)
                * losses.content_cost(content[layer], seen[layer])
                for layer in content
            },
            {
                layer: share(layer) * losses.mean_gram(seen[layer])
                for layer in self._style_layers
            },
        )

    def _costs(self, means: Means, image, targets, numbers) -> Costs:
        content = tf.add_n(
            [tf.zeros([])]
            + [
                weight * means.content[layer]
                for layer, weight in self._content_layers.items()
            ]
        )
        style_layers = {
            layer: losses.gram_cost(targets.style[layer], means.style[layer])
            for layer in self._style_layers
        }
        style = tf.add_n(
            [tf.zeros([])]
            + [
                weight * style_layers[layer]
                for layer, weight in self._style_layers.items()
            ]
        )
        tv = losses.total_variation(image)
        total = losses.total_cost(
            content, style, numbers.content_weight, numbers.style_weight
        )
        return Costs(
            total + numbers.tv_weight * tv, content, style, tv, style_layers
        )

    def _evaluate(self, image, targets, numbers):
        """The costs of an image and the gradient of their total."""
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(image)
            seen = self._network(image)
        with tf.GradientTape(watch_accessed_variables=False) as last:
            last.watch([image, seen])
            means = self._means(seen, targets.content)
            costs = self._costs(means, image, targets, numbers)
        direct, slopes = last.gradient(costs.total, (image, seen))
        return costs, direct + _pull(tape, seen, image, slopes)

    def _evaluate_tiled(self, image, targets, numbers):
        """The same in two passes: all means first, then all gradients."""
        if _fits(image, self._tile):
            return self._evaluate(image, targets, numbers)
        means = self._means_tiled(image, targets.content)
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch([image, means])
            costs = self._costs(means, image, targets, numbers)
        gradient, slopes = tape.gradient(costs.total, (image, means))

        def add(tile, total):
            part = tiles.seen(image, tile)
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(part)
                seen = self._network(part)
            with tf.GradientTape(watch_accessed_variables=False) as last:
                last.watch(seen)
                means = self._tile_means(seen, tile, image, targets.content)
            pulled = last.gradient(means, seen, slopes)
            return tiles.add(total, tile, _pull(tape, seen, part, pulled))

        zeros = tf.zeros_like(image)
        return costs, gradient + self._over_tiles(image, add, zeros)

    def _over_tiles(self, image, body, start):
        layers = [*self._content_layers, *self._style_layers]
        size = tf.shape(image)[1:3]
        split = tiles.split(size, self._tile, tiles.halo(layers))
        return tiles.over(split, body, start, self._devices)

    def _tile_means(self, seen, tile, image, content) -> Means:
        """What a tile adds to the whole image's means."""
        size = tf.shape(image)[1:3]
        return self._means(
            {layer: tiles.inner(seen[layer], tile, layer) for layer in seen},
            {
                layer: tiles.positions(content[layer], tile, layer)
                for layer in content
            },
            lambda layer: tiles.share(size, tile, layer),
        )

    def _means_tiled(self, image, content) -> Means:
        def add(tile, total):
            seen = self._network(tiles.seen(image, tile))
            means = self._tile_means(seen, tile, image, content)
            return tf.nest.map_structure(tf.add, total, means)

        channels = self._channels()
        zeros = Means(
            {layer: tf.zeros([]) for layer in content},
            {
                layer: tf.zeros([1, channels[layer], channels[layer]])
                for layer in self._style_layers
            },
        )
        return self._over_tiles(image, add, zeros)

    def _style_grams(self, style: tf.Tensor) -> dict[str, tf.Tensor]:
        if self._tile and not _fits(style, self._tile):
            return self._grams_tiled(style)
        seen = self.features(style)
        return {
            layer: losses.mean_gram(seen[layer]) for layer in self._style_layers
        }

    def _content_features(self, content: tf.Tensor) -> dict[str, tf.Tensor]:
        if self._tile and not _fits(content, self._tile):
            return self._features_tiled(content)
        seen = self.features(content)
        return {layer: seen[layer] for layer in self._content_layers}

    def _features_in_tiles(self, image):
        """Content layers' features of a whole image, kept in memory."""

        def add(tile, total):
            seen = self._network(tiles.seen(image, tile))
            return {
                layer: tiles.put(
                    whole,
                    tile.begin // tiles.stride(layer),
                    tiles.inner(seen[layer], tile, layer),
                )
                for layer, whole in total.items()
            }

        size, channels = tf.shape(image)[1:3], self._channels()
        zeros = {}
        for layer in self._content_layers:
            sides = size // tiles.stride(layer)
            shape = tf.concat([[1], sides, [channels[layer]]], 0)
            zeros[layer] = tf.zeros(shape)
        return self._over_tiles(image, add, zeros)

    def _channels(self) -> dict[str, int]:
        seen = self._network(tf.zeros([1, tiles.GRID, tiles.GRID, 3]))
        return {layer: seen[layer].shape[-1] for layer in seen}

    def _start(self, image, targets, numbers) -> State:
        """The state of no steps: the image evaluated, fresh slots."""
        costs, gradient = self.evaluate(image, targets, numbers)
        slots = self._optimizer(numbers.learning_rate).init(image)
        step = tf.zeros([], tf.int32)
        return State(step, image, costs, gradient, slots, image, costs)

    def _advance(self, state, targets, numbers, until) -> State:
        """Steps until `state.step` is `until`, or the run has diverged."""
        optimizer = self._optimizer(numbers.learning_rate)

        def step(state: State) -> tuple[State]:
            image, slots = optimizer.update(
                state.image, state.costs.total, state.gradient, state.slots
            )
            if optimizer.boxed:
                image = tf.clip_by_value(image, 0.0, 1.0)
            costs, gradient = self.evaluate(image, targets, numbers)
            best_image, best_costs = tf.cond(
                costs.total < state.best_costs.total,  # never true of NaN
                lambda: (image, costs),
                lambda: (state.best_image, state.best_costs),
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

    def restore(self, arrays: Sequence[Any]) -> State:
        """The state whose flat list of tensors `arrays` is."""
        image, zero = tf.constant(arrays[1]), tf.zeros([])
        costs = Costs(zero, zero, zero, zero, dict(self._style_layers))
        slots = self._optimizer(0.0).init(image)
        shape = State(zero, image, costs, image, slots, image, costs)
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
        """
        first, state = resume or (0, None)
        advance = advance or self.advance
        numbers = Numbers(
            *[tf.convert_to_tensor(number, tf.float32) for number in numbers]
        )
        for scale, factor in list(enumerate(factors))[first:]:
            small = shrink(content, factor)
            targets = self.targets(
                self._widened(small),
                [shrink(style, factor) for style in styles],
                blend,
            )
            if scale > first:
                image = resize(image, tf.shape(small)[1:3])
            if state is None:
                state = self.start(self._widened(image), targets, numbers)
                yield self._snapshot(scale, state)
            for until in milestones(scale):
                until = tf.convert_to_tensor(until, tf.int32)
                state = advance(state, targets, numbers, until)
                yield self._snapshot(scale, state)
            image, state = self._snapshot(scale, state).image, None

    def _widened(self, image: tf.Tensor) -> tf.Tensor:
        sides = [self._margin] * 2
        return tf.pad(image, [[0, 0], sides, sides, [0, 0]], "SYMMETRIC")

    def _snapshot(self, scale: int, state: State) -> Snapshot:
        image = tf.clip_by_value(state.best_image, 0.0, 1.0)
        frame = slice(self._margin, -self._margin or None)
        image = image[:, frame, frame]
        return Snapshot(scale, state.step, image, state.best_costs, state)


def build(
    network: Callable[[tf.Tensor], dict[str, tf.Tensor]],
    options: Options,
    jit: bool,
    tile: int = 0,
    devices: Sequence[str] = ("",),
) -> Transfer:
    """The transfer that the options ask for, on a network of their layers."""
    arguments = dict(options.optimizer_arguments())
    takes_rate = arguments.pop("learning_rate", None) is not None
    method = functools.partial(
        getattr(optimizers, options.optimizer), **arguments
    )
    return Transfer(
        network,
        *options.used_layers(),
        method if takes_rate else lambda rate: method(),
        jit,
        options.margin,
        tile,
        devices,
    )


def _fits(image: tf.Tensor, tile: int) -> bool:
    """Whether the image is known to be no larger than a tile."""
    sides = image.shape[1:3]
    return sides.is_fully_defined() and max(sides) <= tile


def _pull(tape, seen, image, slopes) -> tf.Tensor:
    """The gradient at the image, given those at the features.

    Half precision holds 6e-8 to 65504: the slopes go back through the network
    scaled to a largest of 16.
    """
    largest = tf.reduce_max(
        [tf.reduce_max(tf.abs(slope)) for slope in slopes.values()]
    )
    scale = tf.where(largest > 0, 16.0 / largest, 1.0)
    scaled = {layer: scale * slope for layer, slope in slopes.items()}
    return tape.gradient(seen, image, scaled) / scale


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
    size = tf.cast(tf.shape(image)[1:3], tf.float64) / factor
    size = tf.cast(tf.floor(size + 0.5), tf.int32)
    return resize(image, tf.maximum(size, 1))
