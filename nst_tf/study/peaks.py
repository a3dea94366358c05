"""Where in a picture each unit of a network answers most, tile by tile."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from nst_tf.engine import tiles
from nst_tf.engine.tracing import AnySize
from nst_tf.request.networks import LAYERS
from nst_tf.study.fields import Field, field


class Tops(NamedTuple):
    """The greatest activations of each unit of a layer, greatest first.

    There may be fewer than asked for: an activation of 0 is none.
    """

    activations: np.ndarray  # float32 [units, k]
    pictures: np.ndarray  # int [units, k], which picture
    places: np.ndarray  # int [units, k, 2], row and column in the layer


class Seen(NamedTuple):
    """A layer's answer to some pictures."""

    tops: Tops
    moments: np.ndarray  # float64 [3, units]: positions, sum, sum of squares

    @property
    def spread(self) -> np.ndarray:
        """Standard deviation of each unit over all positions, `[units]`."""
        positions, total, squares = self.moments
        mean = total / positions
        return np.sqrt(np.maximum(squares / positions - mean**2, 0))


def merged(parts: Sequence[Seen], count: int) -> Seen:
    """All parts' answers in one, with `count` of the greatest.

    Of equal ones, those of the part named first come first.
    """
    tops = Tops(
        *[
            np.concatenate(s, 1)
            for s in zip(*[p.tops for p in parts], strict=True)
        ]
    )
    order = np.argsort(-tops.activations, axis=1, kind="stable")[:, :count]
    rows = np.arange(len(order))[:, None]
    best = Tops(*[whole[rows, order] for whole in tops])
    return Seen(best, np.sum([part.moments for part in parts], 0))


class Watcher:
    """Looks at pictures of any size, in the memory that one tile takes.

    Args:
      network: from `[1, h, w, 3]` to `{layer: [1, h', w', units]}`.
      layers: those of the network.
      count: of the greatest activations of each unit in a picture. With more
        than one, only a position counts that none within half a field of it
        exceeds: shifted by a pixel, a patch is still the same.
      tile: pixels, side of what is looked at at once, but for the halo.
      order: all layers that the network has, each of the one before.
    """

    def __init__(
        self,
        network: Callable[[tf.Tensor], Mapping[str, tf.Tensor]],
        layers: Sequence[str],
        count: int,
        tile: int,
        order: Sequence[str] = LAYERS,
    ):
        self._network, self._layers = network, layers
        self._count, self._tile = count, tile
        self._reach = {name: _reach(field(name, order)) for name in layers}
        self._halo = tiles.halo(layers, order)
        if count > 1:
            reach = self._reach.items()
            around = max(each * tiles.stride(name) for name, each in reach)
            self._halo += -(-around // tiles.GRID) * tiles.GRID
        self._look = AnySize(self._answers)

    def look(self, image: np.ndarray, number: int) -> dict[str, Seen]:
        """Each layer's answer to a picture `[h, w, 3]`, the `number`-th."""
        size = tf.constant(image.shape[:2])
        split = tiles.split(size, self._tile, self._halo)
        answers: dict[str, list[Seen]] = {name: [] for name in self._layers}
        for index in range(split.begin.shape[0]):
            tile = tiles.Tile(*[side[index] for side in split])
            (top, left), (bottom, right) = (
                side.numpy() for side in (tile.seen_begin, tile.seen_end)
            )
            part = tf.constant(image[None, top:bottom, left:right])
            for name, answer in self._look(part, tile).items():
                best, places, moments = (one.numpy() for one in answer)
                pictures = np.full(best.shape, number)
                tops = Tops(best, pictures, places)
                answers[name].append(Seen(tops, moments.astype("float64")))
        return {name: merged(answers[name], self._count) for name in answers}

    def _answers(self, part, tile):
        features = self._network(part)
        return {
            name: self._answer(features[name], tile, name) for name in features
        }

    def _answer(self, features, tile, layer):
        features = tf.cast(features, tf.float32)
        own = tiles.inner(features, tile, layer)[0]
        moments = tf.stack(
            [
                tf.fill(
                    own.shape[-1:], tf.cast(tf.size(own[..., 0]), tf.float32)
                ),
                tf.reduce_sum(own, [0, 1]),
                tf.reduce_sum(tf.square(own), [0, 1]),
            ]
        )
        if self._count == 1:
            best, places = _greatest(own)
        else:
            window = 2 * self._reach[layer] + 1
            around = tf.nn.max_pool2d(features, window, 1, "SAME")
            peaks = tf.where(features < around, 0.0, features)
            own = tiles.inner(peaks, tile, layer)[0]
            best, places = _greatest_few(own, self._count)
        begin = tile.begin // tiles.stride(layer)
        return best, places + begin, moments


def _reach(own: Field) -> int:
    """Positions that half a field has."""
    return max(1, own.side // 2 // own.stride)


def _greatest(features: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Of `[h, w, units]`: `[units, 1]` and where, `[units, 1, 2]`.

    Row by row: to search all positions of a unit at once is much slower.
    """
    of_rows = tf.reduce_max(features, 1)  # [h, units]
    row = tf.argmax(of_rows, 0, tf.int32)
    units, columns = tf.meshgrid(
        tf.range(features.shape[-1]),
        tf.range(tf.shape(features)[1]),
        indexing="ij",
    )
    rows = tf.broadcast_to(row[:, None], tf.shape(units))
    along = tf.gather_nd(features, tf.stack([rows, columns, units], -1))
    column = tf.argmax(along, 1, tf.int32)
    best = tf.reduce_max(of_rows, 0)
    return best[:, None], tf.stack([row, column], -1)[:, None]


def _greatest_few(
    features: tf.Tensor, count: int
) -> tuple[tf.Tensor, tf.Tensor]:
    """Of `[h, w, units]`: `[units, k]`, k <= count, and `[units, k, 2]`."""
    width, units = tf.shape(features)[1], features.shape[-1]
    rows = tf.transpose(tf.reshape(features, [-1, units]))
    best, index = tf.math.top_k(rows, tf.minimum(count, tf.shape(rows)[1]))
    return best, tf.stack([index // width, index % width], -1)
