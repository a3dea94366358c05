"""What is seen of an image: means over its positions, whole or tile by tile.

Images are float32 `[1, h, w, 3]`, RGB in [0, 1]. Pure TensorFlow.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from nst_tf.engine import tiles
from nst_tf.formulas import losses
from nst_tf.formulas.statistics import STATISTICS, Statistic
from nst_tf.networks import LAYERS

Features = dict[str, tf.Tensor]


class Means(NamedTuple):
    """What the costs need to know of an image: means over its positions."""

    content: Features  # content costs, scalars
    style: Features  # moments of the style layers [1, m, m]
    tv: tf.Tensor  # total variation, scalar


class Sight:
    """Looks at images through a network.

    Args:
      network: model from `[n, h, w, 3]` to `{layer: features}`.
      content_layers: names of those that hold the content.
      style_layers: names of those that hold the style.
      tile: side in pixels, a multiple of 16, of the parts that are looked at
        one at a time, in bounded memory and to the same result; 0: none.
      devices: names of the devices that share the tiles.
      projections: `{layer: [c, c']}`, linear maps of what the network gives,
        to be the features of which everything else speaks.
      statistic: what the moments of a style layer are.
      sizes: `{layer: size}` that features are divided by before moments.
      order: all layers that the network has, each of the one before.
    """

    def __init__(
        self,
        network: Callable[[tf.Tensor], Features],
        content_layers: Iterable[str],
        style_layers: Iterable[str],
        tile: int = 0,
        devices: Sequence[str] = ("",),
        projections: Mapping[str, Any] | None = None,
        statistic: Statistic = STATISTICS["gram"],
        sizes: Mapping[str, float] | None = None,
        order: Sequence[str] = LAYERS,
    ):
        self.network = network
        self.content_layers = tuple(content_layers)
        self.style_layers = tuple(style_layers)
        layers = {*self.content_layers, *self.style_layers}
        self.layers = sorted(layers, key=order.index)
        self._order = order
        self._tile, self._devices = tile, devices
        self._projections = {
            layer: tf.constant(matrix, tf.float32)
            for layer, matrix in (projections or {}).items()
        }
        self._statistic, self._sizes = statistic, dict(sizes or {})

    def tiled(self, image: tf.Tensor) -> bool:
        """Whether an image is looked at in tiles: not if known to fit one."""
        sides = tf.TensorShape(image.shape)[1:3]
        fits = sides.is_fully_defined() and max(sides) <= self._tile
        return bool(self._tile) and not fits

    def features(self, image: tf.Tensor) -> Features:
        """`{layer: features}` of the whole image, projected."""
        return {
            layer: self._projected(layer, seen)
            for layer, seen in self.network(image).items()
        }

    def means(self, image, seen: Features, content: Features) -> Means:
        """Those of the layers in `seen`, the whole image's features."""
        return Means(
            {
                layer: losses.content_cost(
                    content[layer], self._projected(layer, seen[layer])
                )
                for layer in content
                if layer in seen
            },
            {
                layer: self._moments(layer, seen[layer])
                for layer in self.style_layers
                if layer in seen
            },
            losses.total_variation(image),
        )

    def means_of_tile(
        self, part, seen: Features, tile: tiles.Tile, size, content: Features
    ) -> Means:
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
                layer: share[layer] * self._moments(layer, own[layer])
                for layer in self.style_layers
                if layer in seen
            },
            tf.reduce_sum(tf.stack(variations)),
        )

    def means_by_tiles(self, image: tf.Tensor, content: Features) -> Means:
        """The same means as the whole image's, tile by tile."""
        size = tf.shape(image)[1:3]

        def add(tile, total):
            part = tiles.seen(image, tile)
            seen = self.network(part)
            means = self.means_of_tile(part, seen, tile, size, content)
            return tf.nest.map_structure(tf.add, total, means)

        few = self.network(_few())
        zeros = Means(
            {layer: tf.zeros([]) for layer in content},
            {
                layer: tf.zeros_like(self._moments(layer, few[layer]))
                for layer in self.style_layers
            },
            tf.zeros([]),
        )
        return self.over_tiles(image, add, zeros)

    def style(self, image: tf.Tensor, tiled: bool) -> Features:
        """The style layers' moments."""
        if tiled:
            return self.means_by_tiles(image, {}).style
        return self.means(image, self.network(image), {}).style

    def content(self, image: tf.Tensor, tiled: bool) -> Features:
        """The content layers' features, of the whole image."""
        if not tiled:
            seen = self.features(image)
            return {layer: seen[layer] for layer in self.content_layers}

        def add(tile, total):
            seen = self.features(tiles.seen(image, tile))
            return {
                layer: tiles.put(
                    whole,
                    tile.begin // tiles.stride(layer),
                    tiles.inner(seen[layer], tile, layer),
                )
                for layer, whole in total.items()
            }

        size, few = tf.shape(image)[1:3], self.features(_few())
        zeros = {}
        for layer in self.content_layers:
            sides = size // tiles.stride(layer)
            shape = tf.concat([[1], sides, few[layer].shape[-1:]], 0)
            zeros[layer] = tf.zeros(shape, few[layer].dtype)
        return self.over_tiles(image, add, zeros)

    def over_tiles(self, image: tf.Tensor, body, start) -> Any:
        """`tiles.over` the image's tiles, on all devices."""
        size = tf.shape(image)[1:3]
        halo = tiles.halo(self.layers, self._order)
        split = tiles.split(size, self._tile, halo)
        return tiles.over(split, body, start, self._devices)

    def _projected(self, layer: str, seen: tf.Tensor) -> tf.Tensor:
        if layer not in self._projections:
            return seen
        return tf.cast(seen, tf.float32) @ self._projections[layer]

    def _moments(self, layer: str, seen: tf.Tensor) -> tf.Tensor:
        """Of the projected features; P' M P, so that few are projected."""
        moments = self._statistic.moments(seen)
        ones = moments.shape[-1] - seen.shape[-1]  # channels of ones
        if layer in self._projections:
            matrix = _with_ones(self._projections[layer], ones)
            moments = tf.einsum("ak,nab,bl->nkl", matrix, moments, matrix)
        if layer in self._sizes:
            channels = moments.shape[-1] - ones
            each = [1 / self._sizes[layer]] * channels + [1.0] * ones
            moments *= tf.tensordot(each, each, 0)
        return moments


def _with_ones(matrix: tf.Tensor, ones: int) -> tf.Tensor:
    """A map of features that leaves channels of ones what they are."""
    rows, columns = matrix.shape
    wide = tf.concat([matrix, tf.zeros([rows, ones])], 1)
    below = tf.concat([tf.zeros([ones, columns]), tf.eye(ones)], 1)
    return tf.concat([wide, below], 0)


def _few() -> tf.Tensor:
    """The smallest image: tells how many channels there are, of what type."""
    return tf.zeros([1, tiles.GRID, tiles.GRID, 3])
