"""What an image costs, and the gradient: whole, or tile by tile.

Images are float32 `[1, h, w, 3]`, RGB in [0, 1]. Pure TensorFlow.
"""

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from nst_tf.engine import sight as sight_
from nst_tf.engine import tiles
from nst_tf.engine.sight import Features, Masks, Means, Sight
from nst_tf.engine.tracing import AnySize, whole_or_tiled
from nst_tf.formulas import losses
from nst_tf.formulas.statistics import STATISTICS, Statistic
from nst_tf.request.networks import LAYERS
from nst_tf.request.values import Layers


class Numbers(NamedTuple):
    """What may change from call to call: scalars, tensors or floats."""

    content_weight: Any
    style_weight: Any
    tv_weight: Any
    learning_rate: Any
    detail_weight: Any = 0.0


class Anchor(NamedTuple):
    """A picture that the image should stay near, where it is believed.

    Each scale but the coarsest starts from `start`, where that is known.
    """

    picture: Any  # [1, h, w, 3]
    confidence: Any  # [1, h, w, 1], from 0 to 1
    weight: Any  # scalar
    start: Any = ()  # [1, h, w, 3]; empty: nothing is known
    known: Any = ()  # [1, h, w, 1], from 0 to 1


class Detail(NamedTuple):
    """The content's details, to which the image is held."""

    laplacian: Any  # [1, h // 4, w // 4, 3], of `losses.detail`
    weight: Any  # [1, h // 4, w // 4, 1], 1 on average


class Places(NamedTuple):
    """Where to paint, and what to paint it of: masks, from 0 to 1 each."""

    painted: Any = None  # [1, h, w, 1]; None: all of the picture
    regions: Any = None  # [k, h, w, 1], of each style; None: all share all
    styles: Sequence[Any] = ()  # [1, h_k, w_k, 1] or None, of each style
    detail: Any = None  # [1, h, w, 1]; None: details count everywhere


WHOLE = Places()


class Targets(NamedTuple):
    """What the image is optimised towards, at one scale."""

    content: Features  # features [1, h', w', c] of the content
    style: dict[str, Any]  # what the statistic needs of the styles
    content_units: Features = {}  # what content costs are multiplied by
    masks: Masks = Masks()
    anchor: Anchor | tuple[()] = ()  # empty: none
    detail: Detail | tuple[()] = ()  # the same


class Costs(NamedTuple):
    """The cost terms of an image: scalars, unweighted but for `total`."""

    total: tf.Tensor
    content: tf.Tensor
    style: tf.Tensor
    tv: tf.Tensor
    style_layers: Features


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
      tile: side in pixels of the parts in which cost and gradient are
        computed, see `Sight`; 0: the whole picture at once.
      devices: names of the devices that share the tiles.
      float16: whether the network computes in it, whose range is small: the
        gradient then goes back through the network scaled.
      scale: how many times as large the network's features are.
      projections: see `Sight`.
      statistic: how styles are compared.
      order: see `Sight`.
      at_once: see `Sight`.

    Attributes:
      features: image -> `{layer: features}`.
    """

    def __init__(
        self,
        network: Callable[[tf.Tensor], Features],
        content_layers: Layers,
        style_layers: Layers,
        jit: bool = False,
        tile: int = 0,
        devices: Sequence[str] = ("",),
        float16: bool = False,
        scale: float = 1.0,
        projections: Mapping[str, Any] | None = None,
        statistic: Statistic = STATISTICS["gram"],
        order: Sequence[str] = LAYERS,
        at_once: bool = False,
    ):
        super().__init__(name="objective")
        # A SavedModel finds a Keras model's variables only when they are
        # also held raw.
        self._variables = [v.value for v in getattr(network, "variables", ())]
        self._content_layers = dict(content_layers)
        self._style_layers = dict(style_layers)
        self._float16, self._scale = float16, scale
        self._statistic = statistic
        # Where their features are the unit of the content's, paintings are
        # seen at its layers, too.
        measured = self._content_layers if statistic.content_unit else {}
        self._painted_layers = {**measured, **self._style_layers}

        sight_of = functools.partial(
            Sight,
            network,
            tile=tile,
            devices=devices,
            projections=projections,
            statistic=statistic,
            order=order,
            scale=scale,
            at_once=at_once,
        )
        self._sight = sight = sight_of(self._content_layers, self._style_layers)
        paintings = sight_of((), self._painted_layers)
        self.features = AnySize(self._features)
        self._content = whole_or_tiled(sight.content)
        self._style = whole_or_tiled(paintings.style)
        self.evaluation = whole_or_tiled(self._evaluate, jit)

    def _features(self, image: tf.Tensor) -> Features:
        seen = self._sight.features(image)
        if self._scale == 1:
            return seen
        return {
            k: tf.cast(v, tf.float32) / self._scale for k, v in seen.items()
        }

    def tiled(self, image: tf.Tensor) -> bool:
        """Whether it is computed in tiles; see `Sight`."""
        return self._sight.tiled(image)

    def targets(
        self,
        content: tf.Tensor,
        styles: Sequence[tf.Tensor],
        blend: Sequence[float] | tf.Tensor,
        places: Places = WHOLE,
    ) -> Targets:
        """Content features, and the moments of the styles merged.

        The gradient of sum_k w_k |G - G_k|^2 is that of the weighted mean of
        the G_k: several styles cost what one costs. With regions each style
        has a cost of its own (Gatys et al., arXiv:1611.07865, section 4),
        `blend` is not asked for, and a mean is one by their areas.
        """
        kept: Features = {}
        if self._content_layers:
            kept = self._content[self.tiled(content)](content)
        found = []
        if self._style_layers:
            masks = places.styles or [None] * len(styles)
            for style, mask in zip(styles, masks, strict=True):
                weights = _weights(mask, self._painted_layers)
                own = Masks(style=weights)
                found.append(self._style[self.tiled(style)](style, own))
        regions = places.regions
        share = tf.cast(blend, tf.float32)
        if regions is not None:
            share = tf.reduce_mean(regions, [1, 2, 3])
        share = tf.math.divide_no_nan(share, tf.reduce_sum(share))
        aims, units, unit_of = {}, {}, self._statistic.content_unit
        for layer in self._painted_layers if found else ():
            moments = [own[layer] for own in found]
            # No product of all at once: Grappler would learn from it that
            # there are as many shares, and fold an export's Assert of it.
            mean = tf.add_n([share[k] * own for k, own in enumerate(moments)])
            if layer in self._style_layers:
                own = mean if regions is None else tf.concat(moments, 0)
                aims[layer] = self._statistic.aim(own)
            if unit_of and layer in self._content_layers:
                units[layer] = tf.reshape(unit_of(mean), [])
        return Targets(kept, aims, units, self._masks(places))

    def _masks(self, places: Places) -> Masks:
        """What the masks come to at each layer."""
        painted, regions = places.painted, places.regions
        if painted is None and regions is None:
            return Masks()
        if painted is None:
            painted = tf.ones_like(regions[:1])
        if regions is None:
            regions = painted
        areas = {}
        for layer in self._style_layers:
            own = sight_.pooled(regions, layer)
            count = tf.reduce_sum(own, [1, 2, 3])
            share = count / tf.reduce_sum(sight_.pooled(painted, layer))
            areas[layer] = tf.where(count < sight_.FEWEST, 0.0, share)
        return Masks(
            {k: sight_.weights(painted, k) for k in self._content_layers},
            _weights(regions, self._style_layers),
            areas,
            tf.cast(painted > 0, tf.float32),
            tf.reduce_mean(painted),
        )

    def content_energy(self, targets: Targets) -> tf.Tensor:
        """The content cost of features that are zero everywhere, a scalar."""
        masks = targets.masks.content
        energies = {
            layer: losses.content_cost(
                seen, tf.zeros_like(seen), sight_.flat(masks.get(layer))
            )
            for layer, seen in targets.content.items()
        }
        return self._content_cost(energies, targets)

    def _content_cost(self, costs: Features, targets: Targets) -> tf.Tensor:
        """sum_l lambda_l J_content_l, each in the statistic's unit if any."""
        units = targets.content_units
        costs = {k: units.get(k, 1.0) * cost for k, cost in costs.items()}
        return _weighted(costs, self._content_layers) / self._scale**2

    def costs(
        self, image: tf.Tensor, targets: Targets, numbers: Numbers
    ) -> Costs:
        """J = alpha J_content + beta sum_l lambda_l J_style_l + gamma J_tv."""
        sight = self._sight
        if sight.tiled(image):
            means = sight.means_by_tiles(image, targets.content, targets.masks)
        else:
            seen = sight.network(image)
            means = sight.means(seen, targets.content, targets.masks)
            means = means._replace(tv=losses.total_variation(image))
        return self._costs(means, targets, numbers)

    def evaluate(
        self,
        image: tf.Tensor,
        targets: Targets,
        numbers: Numbers,
        tiled: bool | None = None,
    ) -> tuple[Costs, tf.Tensor]:
        """The costs of an image and the gradient of their total.

        `tiled` is for where the image's size is not known while tracing.
        """
        tiled = self.tiled(image) if tiled is None else tiled
        return self.evaluation[tiled](image, targets, numbers)

    def no_costs(self) -> Costs:
        """Zeros, in the form of `costs`."""
        zero = tf.zeros([])
        return Costs(
            zero, zero, zero, zero, dict.fromkeys(self._style_layers, zero)
        )

    def _costs(self, means: Means, targets, numbers) -> Costs:
        masks = targets.masks
        style_layers = {}
        for layer in self._style_layers:
            cost = self._statistic.cost(
                targets.style[layer], means.style[layer]
            )
            if layer in masks.areas:
                cost = tf.reduce_sum(masks.areas[layer] * cost)
            style_layers[layer] = tf.reshape(cost, [])
        content = self._content_cost(means.content, targets)
        style = _weighted(style_layers, self._style_layers)
        total = losses.total_cost(
            content, style, numbers.content_weight, numbers.style_weight
        )
        variation = numbers.tv_weight * means.tv
        if masks.given:  # the same for each pixel that is painted
            variation /= masks.painted
        return Costs(
            total + variation,
            content,
            style,
            means.tv,
            style_layers,
        )

    def _evaluate(self, image, targets, numbers, tiled: bool):
        if tiled:
            return self._evaluate_by_tiles(image, targets, numbers)
        sight = self._sight

        def means_of(seen):
            return sight.means(seen, targets.content, targets.masks)

        seen = sight.network(image)
        means = means_of(seen)._replace(tv=losses.total_variation(image))
        costs = self._costs(means, targets, numbers)
        with tf.control_dependencies([costs.total]):
            outer = _gradients(costs.total, means)
            pulled = self._pull(image, seen, means_of, outer)
        with tf.control_dependencies([pulled]):
            # Once more: its steps need not be kept until now.
            variation = losses.total_variation(image)
            direct = tf.gradients(variation, image, outer.tv)[0]
            return costs, pulled + direct

    def _evaluate_by_tiles(self, image, targets, numbers):
        """The same in two passes: all means first, then all gradients."""
        sight, size = self._sight, tf.shape(image)[1:3]
        means = sight.means_by_tiles(image, targets.content, targets.masks)
        costs = self._costs(means, targets, numbers)
        outer = _gradients(costs.total, means)

        def add(tile, total):
            def means_of(seen):
                return sight.means_of_tile(
                    seen, tile, size, targets.content, targets.masks
                )

            part = tiles.seen(image, tile)
            variation = tiles.variation(part, tile, size)
            direct = tf.gradients(variation, part, outer.tv)[0]
            # One after the other: see the note on sums in `tiles.over`.
            total = tiles.add(total, tile, direct)
            pulled = self._pull(part, sight.network(part), means_of, outer)
            return tiles.add(total, tile, pulled)

        return costs, sight.over_tiles(image, add, tf.zeros_like(image))

    def _pull(self, image, seen, means_of, outer) -> tf.Tensor:
        """The gradient at the image, by way of the features.

        From the deepest layer to the image: what the costs say of a layer is
        computed when the way back has come there, for it takes memory.

        float16 holds 6e-8 to 65504: there the slopes are computed first, in
        float32, and go back scaled to a largest of 16.
        """

        def slope(layer, kind=None):
            here = tf.cast(seen[layer], kind or seen[layer].dtype)
            means = means_of({layer: here})
            both = (means.content, outer.content), (means.style, outer.style)
            costing = [mean[layer] for mean, _ in both if layer in mean]
            given = [above[layer] for _, above in both if layer in above]
            return tf.gradients(costing, here, given)[0]

        layers = self._sight.layers
        own, scale = slope, tf.constant(1.0)
        if self._float16:
            slopes: dict[str, tuple[tf.Tensor, tf.Tensor]] = {}
            for layer in layers:
                before = [each for each, _ in slopes.values()]
                with tf.control_dependencies(before[-1:]):  # memory is free
                    slopes[layer] = _fitted(slope(layer, tf.float32))
            largest = tf.reduce_max([most for _, most in slopes.values()])
            scale = tf.math.divide_no_nan(16.0, largest)
            own = {
                layer: each * tf.cast(scale * most / 16.0, each.dtype)
                for layer, (each, most) in slopes.items()
            }.get
        stations: list[tf.Tensor] = []  # where the way back has come,
        arrived: list[tf.Tensor] = []  # and the gradients there
        for layer in reversed(layers):
            here, back = seen[layer], None
            if stations:
                back = tf.gradients(stations, here, arrived)[0]
            if back is None:  # deeper features do not come of these
                stations, arrived = [*stations, here], [*arrived, own(layer)]
                continue
            with tf.control_dependencies([back]):
                stations, arrived = [here], [back + own(layer)]
        back = tf.gradients(stations, image, arrived)[0]
        # Of slopes that are zero everywhere the scale is zero.
        return tf.math.divide_no_nan(back, scale) if self._float16 else back


def _weights(mask: tf.Tensor | None, layers: Iterable[str]) -> Features:
    """A mask at some layers."""
    if mask is None:
        return {}
    return {layer: sight_.weights(mask, layer) for layer in layers}


def _fitted(slope: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Float16 of a largest of 16, and what the largest was."""
    most = tf.reduce_max(tf.abs(slope))
    return tf.cast(tf.math.divide_no_nan(16.0, most) * slope, tf.float16), most


def _weighted(terms: Features, weights: Mapping[str, float]) -> tf.Tensor:
    """sum_l lambda_l J_l, a scalar; 0 where there are none."""
    if not weights:
        return tf.zeros([])
    parts = tf.stack([terms[layer] for layer in weights])
    return tf.reduce_sum(tf.stack([*weights.values()]) * parts)


def _gradients(total: tf.Tensor, means: Means) -> Means:
    """How the total changes with each of the means."""
    flat = tf.nest.flatten(means)
    return tf.nest.pack_sequence_as(means, tf.gradients(total, flat))
