"""What is seen of an image: means over its positions, whole or tile by tile.

Images are float32 `[1, h, w, 3]`, RGB in [0, 1]. Pure TensorFlow.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from nst_tf.engine import tiles
from nst_tf.formulas import losses
from nst_tf.formulas.statistics import STATISTICS, Statistic
from nst_tf.request.networks import LAYERS

Features = dict[str, tf.Tensor]
FEWEST = 16  # positions: of fewer in a region no style can be told


class Masks(NamedTuple):
    """Where a picture counts, and where it is painted, at one scale.

    Weights of positions are 1 on average. Without masks all of it is empty.
    """

    content: Features = {}  # of the content layers, [1, h', w', 1]
    style: Features = {}  # of the style layers, [k, h', w', 1], k regions
    areas: Features = {}  # of the style layers, [k]: shares of what is painted
    free: tf.Tensor | tuple[()] = ()  # [1, h, w, 1]: 1 where pixels may change
    painted: tf.Tensor | tuple[()] = ()  # scalar, share of all pixels

    @property
    def given(self) -> bool:
        """Whether there are any."""
        return isinstance(self.painted, tf.Tensor)


class Means(NamedTuple):
    """What the costs need to know of an image: means over its positions."""

    content: Features  # content costs, scalars
    style: Features  # moments of the style layers [k, m, m], k regions
    tv: tf.Tensor | tuple[()] = ()  # total variation, scalar


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
      order: all layers that the network has, each of the one before.
      scale: how many times as large the network's features are; contents and
        their costs are left at that.
      at_once: see `losses.gram_matrix`.
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
        order: Sequence[str] = LAYERS,
        scale: float = 1.0,
        at_once: bool = False,
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
        self._statistic = statistic
        self._scale, self._at_once = scale, at_once

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

    def means(self, seen: Features, content: Features, masks: Masks) -> Means:
        """Those of the layers in `seen`, the whole image's features."""
        return Means(
            {
                layer: losses.content_cost(
                    content[layer],
                    self._projected(layer, seen[layer]),
                    flat(masks.content.get(layer)),
                )
                for layer in content
                if layer in seen
            },
            {
                layer: self._moments(layer, seen[layer], masks.style.get(layer))
                for layer in self.style_layers
                if layer in seen
            },
        )

    def means_of_tile(
        self,
        seen: Features,
        tile: tiles.Tile,
        size,
        content: Features,
        masks: Masks,
    ) -> Means:
        """What a tile adds to the means of the whole image of `size`."""
        own = {layer: tiles.inner(seen[layer], tile, layer) for layer in seen}
        share = {layer: tiles.share(size, tile, layer) for layer in seen}
        content_mask, style_mask = (
            {layer: tiles.positions(own[layer], tile, layer) for layer in own}
            for own in (masks.content, masks.style)
        )
        return Means(
            {
                layer: share[layer]
                * losses.content_cost(
                    tiles.positions(content[layer], tile, layer),
                    self._projected(layer, own[layer]),
                    flat(content_mask.get(layer)),
                )
                for layer in content
                if layer in seen
            },
            {
                layer: share[layer]
                * self._moments(layer, own[layer], style_mask.get(layer))
                for layer in self.style_layers
                if layer in seen
            },
        )

    def means_by_tiles(
        self, image: tf.Tensor, content: Features, masks: Masks
    ) -> Means:
        """The same means as the whole image's, tile by tile."""
        size = tf.shape(image)[1:3]

        def add(tile, total):
            part = tiles.seen(image, tile)
            seen = self.network(part)
            means = self.means_of_tile(seen, tile, size, content, masks)
            means = means._replace(tv=tiles.variation(part, tile, size))
            return tf.nest.map_structure(tf.add, total, means)

        few = self.network(_few())
        zeros = Means(
            {layer: tf.zeros([]) for layer in content},
            {
                layer: tf.zeros_like(
                    self._moments(layer, few[layer], _ones(masks.style, layer))
                )
                for layer in self.style_layers
            },
            tf.zeros([]),
        )
        return self.over_tiles(image, add, zeros)

    def style(self, image: tf.Tensor, masks: Masks, tiled: bool) -> Features:
        """The style layers' moments."""
        if tiled:
            return self.means_by_tiles(image, {}, masks).style
        return self.means(self.network(image), {}, masks).style

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

    def _moments(self, layer: str, seen: tf.Tensor, weights) -> tf.Tensor:
        """Of the projected features; P' M P, so that few are projected.

        Of each of k regions, whose `weights` are `[k, h, w, 1]` or None: a
        part's moments count as much as it has of the region.
        """
        regions = [None]
        if weights is not None:
            regions = [flat(one) for one in tf.split(weights, weights.shape[0])]
        moments = tf.concat([self._of_region(seen, r) for r in regions], 0)
        ones = moments.shape[-1] - seen.shape[-1]  # channels of ones
        if layer in self._projections:
            matrix = _with_ones(self._projections[layer], ones)
            moments = tf.einsum("ak,nab,bl->nkl", matrix, moments, matrix)
        if self._scale == 1:
            return moments
        channels = moments.shape[-1] - ones
        each = tf.constant([1 / self._scale] * channels + [1.0] * ones)
        return moments * each[:, None] * each

    def _of_region(self, seen: tf.Tensor, weight) -> tf.Tensor:
        moments = self._statistic.moments(seen, weight, self._at_once)
        return moments if weight is None else moments * tf.reduce_mean(weight)


def pooled(mask: tf.Tensor, layer: str) -> tf.Tensor:
    """A mask `[n, h, w, 1]` at a layer's positions: means over its stride."""
    each = tiles.stride(layer)
    return tf.nn.avg_pool2d(mask, each, each, "VALID")


def weights(mask: tf.Tensor, layer: str) -> tf.Tensor:
    """The same, 1 on average over the positions; zeros of a mask of zeros."""
    own = pooled(mask, layer)
    return tf.math.divide_no_nan(own, tf.reduce_mean(own, [1, 2, 3], True))


def flat(weights: tf.Tensor | None) -> tf.Tensor | None:
    """`[n, h, w]` of `[n, h, w, 1]`."""
    return None if weights is None else weights[..., 0]


def _ones(weights: Features, layer: str) -> tf.Tensor | None:
    """Weights of the smallest image, for as many regions."""
    if layer not in weights:
        return None
    side = tiles.GRID // tiles.stride(layer)
    return tf.ones([weights[layer].shape[0], side, side, 1])


def _with_ones(matrix: tf.Tensor, ones: int) -> tf.Tensor:
    """A map of features that leaves channels of ones what they are."""
    rows, columns = matrix.shape
    wide = tf.concat([matrix, tf.zeros([rows, ones])], 1)
    below = tf.concat([tf.zeros([ones, columns]), tf.eye(ones)], 1)
    return tf.concat([wide, below], 0)


def _few() -> tf.Tensor:
    """The smallest image: tells how many channels there are, of what type."""
    return tf.zeros([1, tiles.GRID, tiles.GRID, 3])
