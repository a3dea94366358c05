"""What an image costs, and the gradient: whole, or tile by tile.

Images are float32 `[1, h, w, 3]`, RGB in [0, 1]. Pure TensorFlow.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from nst_tf.engine import tiles
from nst_tf.formulas import losses
from nst_tf.options import LAYERS, Layers


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
    tv: tf.Tensor  # total variation, scalar


class Costs(NamedTuple):
    """The cost terms of an image: scalars, unweighted but for `total`."""

    total: tf.Tensor
    content: tf.Tensor
    style: tf.Tensor
    tv: tf.Tensor
    style_layers: dict[str, tf.Tensor]


class Objective(tf.Module):
    """J, of an image that the network looks at.

    Args:
      network: model from `[n, h, w, 3]` to `{layer: features}`, with all
        layers that the next two arguments name. A chain: deeper features
        come of shallower ones and of nothing else of the image. Where they
        come of the very features given, the gradient takes least memory.
      content_layers: `((name, weight), ...)`; empty: no content.
      style_layers: `((name, weight), ...)`; empty: no style.
      jit: whether XLA compiles `evaluate`; tiles it does not.
      tile: side in pixels, a multiple of 16, of the parts in which cost and
        gradient are computed, in bounded memory and to the same result; 0:
        the whole picture at once.
      devices: names of the devices that share the tiles.
      float16: whether the network computes in it, whose range is small: the
        gradient then goes back through the network scaled.
      projections: `{layer: [c, c']}`, linear maps of what the network gives,
        to be the features of which everything else speaks.

    Attributes:
      features: image -> `{layer: features}`.
      evaluate: image, targets, numbers -> its `Costs`, and the gradient of
        their total.
    """

    def __init__(
        self,
        network: Callable[[tf.Tensor], dict[str, tf.Tensor]],
        content_layers: Layers,
        style_layers: Layers,
        jit: bool = False,
        tile: int = 0,
        devices: Sequence[str] = ("",),
        float16: bool = False,
        projections: Mapping[str, Any] | None = None,
    ):
        super().__init__(name="objective")
        self._network = network
        # A SavedModel finds a Keras model's variables only when they are
        # also held raw.
        self._variables = [v.value for v in getattr(network, "variables", ())]
        self._content_layers = dict(content_layers)
        self._style_layers = dict(style_layers)
        layers = {*self._content_layers, *self._style_layers}
        self._layers = sorted(layers, key=LAYERS.index)
        self._tile, self._devices = tile, devices
        self._float16 = float16
        self._projections = {
            layer: tf.constant(matrix, tf.float32)
            for layer, matrix in (projections or {}).items()
        }

        def traced(function, jit=False):
            return tf.function(function, jit_compile=jit, autograph=False)

        self.features = traced(self._features)
        self.evaluate = traced(
            self._evaluate_tiled if tile else self._evaluate, jit and not tile
        )
        self._content_features = traced(self._kept)
        self._style_grams = traced(self._grams)

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
            means = self._means(image, self._network(image), targets.content)
        return self._costs(means, targets, numbers)

    def no_costs(self) -> Costs:
        """Zeros, in the form of `costs`."""
        zero = tf.zeros([])
        return Costs(
            zero, zero, zero, zero, dict.fromkeys(self._style_layers, zero)
        )

    def _means(self, image, seen, content) -> Means:
        return Means(
            {
                layer: losses.content_cost(
                    content[layer], self._projected(layer, seen[layer])
                )
                for layer in content
                if layer in seen
            },
            {
                layer: self._mean_gram(layer, seen[layer])
                for layer in self._style_layers
                if layer in seen
            },
            losses.total_variation(image),
        )

    def _costs(self, means: Means, targets, numbers) -> Costs:
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
        total = losses.total_cost(
            content, style, numbers.content_weight, numbers.style_weight
        )
        return Costs(
            total + numbers.tv_weight * means.tv,
            content,
            style,
            means.tv,
            style_layers,
        )

    def _evaluate(self, image, targets, numbers):
        """The costs of an image and the gradient of their total."""

        def means_of(image, seen):
            return self._means(image, seen, targets.content)

        seen = self._network(image)
        means = means_of(image, seen)
        costs = self._costs(means, targets, numbers)
        with tf.control_dependencies([costs.total]):
            outer = _gradients(costs.total, means)
            pulled = self._pull(image, seen, means_of, outer)
        with tf.control_dependencies([pulled]):
            return costs, pulled + _direct(image, means_of, outer)

    def _evaluate_tiled(self, image, targets, numbers):
        """The same in two passes: all means first, then all gradients."""
        if _fits(image, self._tile):
            return self._evaluate(image, targets, numbers)
        means = self._means_tiled(image, targets.content)
        costs = self._costs(means, targets, numbers)
        outer = _gradients(costs.total, means)
        size = tf.shape(image)[1:3]

        def add(tile, total):
            def means_of(part, seen):
                return self._tile_means(part, seen, tile, size, targets.content)

            part = tiles.seen(image, tile)
            direct = _direct(part, means_of, outer)
            # One after the other: see the note on sums in `tiles.over`.
            total = tiles.add(total, tile, direct)
            pulled = self._pull(part, self._network(part), means_of, outer)
            return tiles.add(total, tile, pulled)

        return costs, self._over_tiles(image, add, tf.zeros_like(image))

    def _pull(self, image, seen, means_of, outer) -> tf.Tensor:
        """The gradient at the image, by way of the features.

        From the deepest layer to the image: what the costs say of a layer is
        computed when the way back has come there, for it takes memory.

        Half precision holds 6e-8 to 65504: there the slopes are computed
        first, and go back scaled to a largest of 16.
        """

        def slope(layer):
            means = means_of(image, {layer: seen[layer]})
            both = (means.content, outer.content), (means.style, outer.style)
            costing = [mean[layer] for mean, _ in both if layer in mean]
            given = [above[layer] for _, above in both if layer in above]
            return tf.gradients(costing, seen[layer], given)[0]

        own, scale = slope, tf.constant(1.0)
        if self._float16:
            slopes = {layer: slope(layer) for layer in self._layers}
            largest = tf.reduce_max(
                [tf.reduce_max(tf.abs(each)) for each in slopes.values()]
            )
            scale = tf.where(largest > 0, 16.0 / largest, 1.0)
            own = {k: scale * each for k, each in slopes.items()}.get
        stations: list[tf.Tensor] = []  # where the way back has come,
        arrived: list[tf.Tensor] = []  # and the gradients there
        for layer in reversed(self._layers):
            here, back = seen[layer], None
            if stations:
                back = tf.gradients(stations, here, arrived)[0]
            if back is None:  # deeper features do not come of these
                stations, arrived = [*stations, here], [*arrived, own(layer)]
                continue
            with tf.control_dependencies([back]):
                stations, arrived = [here], [back + own(layer)]
        return tf.gradients(stations, image, arrived)[0] / scale

    def _over_tiles(self, image, body, start):
        size = tf.shape(image)[1:3]
        split = tiles.split(size, self._tile, tiles.halo(self._layers))
        return tiles.over(split, body, start, self._devices)

    def _projected(self, layer, seen) -> tf.Tensor:
        if layer not in self._projections:
            return seen
        return tf.cast(seen, tf.float32) @ self._projections[layer]

    def _mean_gram(self, layer, seen) -> tf.Tensor:
        """Of the projected features; P' G P, so that few are projected."""
        gram = losses.mean_gram(seen)
        if layer not in self._projections:
            return gram
        matrix = self._projections[layer]
        return tf.einsum("ak,nab,bl->nkl", matrix, gram, matrix)

    def _features(self, image) -> dict[str, tf.Tensor]:
        return {
            layer: self._projected(layer, seen)
            for layer, seen in self._network(image).items()
        }

    def _tile_means(self, part, seen, tile, size, content) -> Means:
        """What a tile adds to the means of the whole image of `size`."""
        own = {layer: tiles.inner(seen[layer], tile, layer) for layer in seen}
        share = {layer: tiles.share(size, tile, layer) for layer in seen}
        variations = []
        for axis in (0, 1):
            pixels, count = tiles.neighbours(part, tile, size, axis)
            squares = losses.squared_steps(pixels, axis + 1)
            variations.append(squares / count)
        return Means(
            {
                layer: share[layer]
                * losses.content_cost(
                    tiles.positions(content[layer], tile, layer),
                    self._projected(layer, own[layer]),
                )
                for layer in content
                if layer in seen
            },
            {
                layer: share[layer] * self._mean_gram(layer, own[layer])
                for layer in self._style_layers
                if layer in seen
            },
            tf.reduce_sum(tf.stack(variations)),
        )

    def _means_tiled(self, image, content) -> Means:
        size = tf.shape(image)[1:3]

        def add(tile, total):
            part = tiles.seen(image, tile)
            seen = self._network(part)
            means = self._tile_means(part, seen, tile, size, content)
            return tf.nest.map_structure(tf.add, total, means)

        few = self._network(_few())
        zeros = Means(
            {layer: tf.zeros([]) for layer in content},
            {
                layer: tf.zeros_like(self._mean_gram(layer, few[layer]))
                for layer in self._style_layers
            },
            tf.zeros([]),
        )
        return self._over_tiles(image, add, zeros)

    def _grams(self, style: tf.Tensor) -> dict[str, tf.Tensor]:
        """The style layers' mean Gram matrices."""
        if self._tile and not _fits(style, self._tile):
            return self._means_tiled(style, {}).style
        return self._means(style, self._network(style), {}).style

    def _kept(self, content: tf.Tensor) -> dict[str, tf.Tensor]:
        """The content layers' features, of the whole image."""
        if not self._tile or _fits(content, self._tile):
            seen = self._features(content)
            return {layer: seen[layer] for layer in self._content_layers}

        def add(tile, total):
            seen = self._features(tiles.seen(content, tile))
            return {
                layer: tiles.put(
                    whole,
                    tile.begin // tiles.stride(layer),
                    tiles.inner(seen[layer], tile, layer),
                )
                for layer, whole in total.items()
            }

        size, few = tf.shape(content)[1:3], self._features(_few())
        zeros = {}
        for layer in self._content_layers:
            sides = size // tiles.stride(layer)
            shape = tf.concat([[1], sides, few[layer].shape[-1:]], 0)
            zeros[layer] = tf.zeros(shape, few[layer].dtype)
        return self._over_tiles(content, add, zeros)


def _few() -> tf.Tensor:
    """The smallest image: tells how many channels there are, of what type."""
    return tf.zeros([1, tiles.GRID, tiles.GRID, 3])


def _fits(image: tf.Tensor, tile: int) -> bool:
    """Whether the image is known to be no larger than a tile."""
    sides = image.shape[1:3]
    return sides.is_fully_defined() and max(sides) <= tile


def _gradients(total: tf.Tensor, means: Means) -> Means:
    """How the total changes with each of the means."""
    flat = tf.nest.flatten(means)
    return tf.nest.pack_sequence_as(means, tf.gradients(total, flat))


def _direct(image, means_of, outer: Means) -> tf.Tensor:
    """The part of the gradient that does not go through the network."""
    return tf.gradients(means_of(image, {}).tv, image, outer.tv)[0]
