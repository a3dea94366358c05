"""What an image costs, and the gradient: whole, or tile by tile.

Images are float32 `[1, h, w, 3]`, RGB in [0, 1]. Pure TensorFlow.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from nst_tf import losses, tiles
from nst_tf.options import Layers


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
        layers that the next two arguments name.
      content_layers: `((name, weight), ...)`; empty: no content.
      style_layers: `((name, weight), ...)`; empty: no style.
      jit: whether XLA compiles `evaluate`; tiles it does not.
      tile: side in pixels, a multiple of 16, of the parts in which cost and
        gradient are computed, in bounded memory and to the same result; 0:
        the whole picture at once.
      devices: names of the devices that share the tiles.
      float16: whether the network computes in it, whose range is small: the
        gradient then goes back through the network scaled.

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
    ):
        super().__init__(name="objective")
        self._network = network
        # A SavedModel finds a Keras model's variables only when they are
        # also held raw.
        self._variables = [v.value for v in getattr(network, "variables", ())]
        self._content_layers = dict(content_layers)
        self._style_layers = dict(style_layers)
        self._tile, self._devices = tile, devices
        self._float16 = float16

        def traced(function, jit=False):
            return tf.function(function, jit_compile=jit, autograph=False)

        self.features = traced(network)
        self.evaluate = traced(
            self._evaluate_tiled if tile else self._evaluate, jit and not tile
        )
        self._features_tiled = traced(self._features_in_tiles)
        self._grams_tiled = traced(self._grams_in_tiles)

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
                layer: losses.content_cost(content[layer], seen[layer])
                for layer in content
            },
            {
                layer: losses.mean_gram(seen[layer])
                for layer in self._style_layers
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
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(image)
            seen = self._network(image)
        with tf.GradientTape(watch_accessed_variables=False) as last:
            last.watch([image, seen])
            means = self._means(image, seen, targets.content)
            costs = self._costs(means, targets, numbers)
        direct, slopes = last.gradient(costs.total, (image, seen))
        return costs, direct + self._pull(tape, seen, image, slopes)

    def _evaluate_tiled(self, image, targets, numbers):
        """The same in two passes: all means first, then all gradients."""
        if _fits(image, self._tile):
            return self._evaluate(image, targets, numbers)
        means = self._means_tiled(image, targets.content)
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(means)
            costs = self._costs(means, targets, numbers)
        outer = tape.gradient(costs.total, means)
        size = tf.shape(image)[1:3]

        def add(tile, total):
            part = tiles.seen(image, tile)
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(part)
                seen = self._network(part)
            with tf.GradientTape(watch_accessed_variables=False) as last:
                last.watch([part, seen])
                means = self._tile_means(
                    part, seen, tile, size, targets.content
                )
            direct, slopes = last.gradient(means, (part, seen), outer)
            # One after the other: see the note on sums in `tiles.over`.
            total = tiles.add(total, tile, direct)
            pulled = self._pull(tape, seen, part, slopes)
            return tiles.add(total, tile, pulled)

        return costs, self._over_tiles(image, add, tf.zeros_like(image))

    def _pull(self, tape, seen, image, slopes) -> tf.Tensor:
        """The gradient at the image, given those at the features.

        Half precision holds 6e-8 to 65504: there the slopes go back through
        the network scaled to a largest of 16.
        """
        if not self._float16:
            return tape.gradient(seen, image, slopes)
        largest = tf.reduce_max(
            [tf.reduce_max(tf.abs(slope)) for slope in slopes.values()]
        )
        scale = tf.where(largest > 0, 16.0 / largest, 1.0)
        scaled = {layer: scale * slope for layer, slope in slopes.items()}
        return tape.gradient(seen, image, scaled) / scale

    def _over_tiles(self, image, body, start):
        layers = [*self._content_layers, *self._style_layers]
        size = tf.shape(image)[1:3]
        split = tiles.split(size, self._tile, tiles.halo(layers))
        return tiles.over(split, body, start, self._devices)

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
                    tiles.positions(content[layer], tile, layer), own[layer]
                )
                for layer in content
            },
            {
                layer: share[layer] * losses.mean_gram(own[layer])
                for layer in self._style_layers
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

        few = self._few_features()
        zeros = Means(
            {layer: tf.zeros([]) for layer in content},
            {
                layer: tf.zeros_like(losses.gram_matrix(few[layer]))
                for layer in self._style_layers
            },
            tf.zeros([]),
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

    def _grams_in_tiles(self, style):
        return self._means_tiled(style, {}).style

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

        size, few = tf.shape(image)[1:3], self._few_features()
        zeros = {}
        for layer in self._content_layers:
            sides = size // tiles.stride(layer)
            shape = tf.concat([[1], sides, few[layer].shape[-1:]], 0)
            zeros[layer] = tf.zeros(shape, few[layer].dtype)
        return self._over_tiles(image, add, zeros)

    def _few_features(self) -> dict[str, tf.Tensor]:
        """Of the smallest image: how many channels there are, of what type."""
        return self._network(tf.zeros([1, tiles.GRID, tiles.GRID, 3]))


def _fits(image: tf.Tensor, tile: int) -> bool:
    """Whether the image is known to be no larger than a tile."""
    sides = image.shape[1:3]
    return sides.is_fully_defined() and max(sides) <= tile
