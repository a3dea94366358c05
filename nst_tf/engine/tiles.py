"""Tiles: a picture's sums and gradient, part by part, in bounded memory.

Gram matrices and costs are means over positions, so a picture's are the sums
of its tiles', each weighted with its share of the positions. A tile's inner
part is what it answers for; the halo around it is what the network must see
besides, so that every inner cell comes out as in the whole picture. Inner
parts begin on the grid of the deepest pooling; at the picture's own border
there is no halo, and the network pads with zeros as it does the whole.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from nst_tf.formulas import losses
from nst_tf.request.networks import LAYERS

GRID = 16  # pixels: what block 5 halves four times


class Tile(NamedTuple):
    """int32 pixels, `[2]` each (down, across) or, for all tiles, `[n, 2]`."""

    begin: tf.Tensor  # of the inner part
    end: tf.Tensor
    seen_begin: tf.Tensor  # of the inner part and its halo
    seen_end: tf.Tensor


def stride(layer: str) -> int:
    """Pixels from one position of a layer to the next."""
    return 2 ** (int(layer[5]) - 1)


def halo(layers: Iterable[str], order: Sequence[str] = LAYERS) -> int:
    """Pixels that the deepest of the layers sees on each side of a cell.

    A 3 x 3 convolution reaches one position further, a pooling none; rounded
    up to the grid. `order` are all layers of the network, each of the one
    before.
    """
    depth = max(order.index(layer) for layer in layers)
    reach = sum(stride(layer) for layer in order[: depth + 1])
    return -(-reach // GRID) * GRID


def split(size: tf.Tensor, tile: int, halo: int) -> Tile:
    """All tiles of a picture of `[h, w]`, of about `tile` pixels a side.

    Args:
      size: int32 `[2]`.
      tile: a multiple of the grid; the last of a row has what is left over,
        up to 15 pixels more.
      halo: pixels, a multiple of the grid.
    """
    down, across = (_cuts(size[axis], tile) for axis in (0, 1))
    begin, end = (
        tf.reshape(tf.stack(tf.meshgrid(*sides, indexing="ij"), -1), [-1, 2])
        for sides in zip(down, across, strict=True)
    )
    return Tile(
        begin,
        end,
        tf.maximum(begin - halo, 0),
        tf.minimum(end + halo, size),
    )


def _cuts(length: tf.Tensor, tile: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Begins and ends along one side, evenly spread; none under the grid."""
    count = -(-length // tile)
    step = -(-length // (count * GRID)) * GRID
    begins = tf.range(0, tf.maximum(length - GRID + 1, 1), step)
    return begins, tf.concat([begins[1:], length[None]], 0)


def seen(image: tf.Tensor, tile: Tile) -> tf.Tensor:
    """What the network looks at: the tile and its halo, `[1, h, w, 3]`."""
    return _part(image, tile.seen_begin, tile.seen_end)


def inner(features: tf.Tensor, tile: Tile, layer: str) -> tf.Tensor:
    """The inner positions of the features of `seen`."""
    origin, each = tile.seen_begin, stride(layer)
    return _part(
        features, (tile.begin - origin) // each, (tile.end - origin) // each
    )


def positions(whole: tf.Tensor, tile: Tile, layer: str) -> tf.Tensor:
    """The tile's part of the whole picture's features of a layer."""
    return _part(whole, tile.begin // stride(layer), tile.end // stride(layer))


def share(size: tf.Tensor, tile: Tile, layer: str) -> tf.Tensor:
    """The tile's share of all positions of a layer, float32."""
    each = stride(layer)
    own = tf.reduce_prod(tile.end // each - tile.begin // each)
    # As a number of pixels may not fit an int32: divide side by side.
    sides = tf.cast(size // each, tf.float32)
    return tf.cast(own, tf.float32) / sides[0] / sides[1]


def variation(part: tf.Tensor, tile: Tile, size: tf.Tensor) -> tf.Tensor:
    """What a tile adds to the total variation of an image of `size`."""
    both = [_variation(part, tile, size, axis) for axis in (0, 1)]
    return tf.reduce_sum(tf.stack(both))  # no sum: see the note in `over`


def _variation(part, tile: Tile, size: tf.Tensor, axis: int) -> tf.Tensor:
    """Along an axis, up to the next tile's first row (0) or column (1)."""
    along = tf.one_hot(axis, 2, dtype=tf.int32)
    end = tf.minimum(tile.end + along, size)
    own = _part(part, tile.begin - tile.seen_begin, end - tile.seen_begin)
    sides = tf.cast(size - along, tf.float32)
    count = sides[0] * sides[1] * part.shape[-1]
    return losses.squared_steps(own, axis + 1) / count


def put(whole: tf.Tensor, begin: tf.Tensor, part: tf.Tensor) -> tf.Tensor:
    """`whole` with `part` written at `[row, column]`, in place if it can."""
    end = begin + tf.shape(part)[1:3]
    return tf.raw_ops.TensorStridedSliceUpdate(
        input=whole,
        begin=tf.concat([[0], begin, [0]], 0),
        end=tf.concat([[1], end, [part.shape[-1]]], 0),
        strides=[1, 1, 1, 1],
        value=part,
    )


def add(whole: tf.Tensor, tile: Tile, part: tf.Tensor) -> tf.Tensor:
    """`whole` with what a tile sees added to it."""
    before = _part(whole, tile.seen_begin, tile.seen_end)
    return put(whole, tile.seen_begin, before + part)


def over(
    tiles: Tile,
    body: Callable[[Tile, Any], Any],
    start: Any,
    devices: Sequence[str] = ("",),
) -> Any:
    """Sums what the tiles add to `start`, one tile at a time on a device.

    No body should add three tensors, or a sum to a sum: Grappler may make one
    sum of them, in place, which in a loop fails the second time it is called
    (AlreadyExistsError; tensorflow/tensorflow issue 37740).

    Args:
      tiles: of `split`.
      body: `(tile, sum so far) -> sum`, of tensors nested like `start`.
      start: zeros.
      devices: the tiles are dealt out to them, the devices' sums added up.
    """
    count = tf.shape(tiles.begin)[0]

    def one(index, total):
        tile = Tile(*[field[index] for field in tiles])
        return index + len(devices), body(tile, total)

    sums = []
    for first, device in enumerate(devices):
        with tf.device(device):
            _, total = tf.while_loop(
                lambda index, _: index < count,
                one,
                (tf.constant(first), start),
                parallel_iterations=1,
            )
        sums.append(total)
    return tf.nest.map_structure(lambda *parts: tf.add_n(parts), *sums)


def _part(image: tf.Tensor, begin: tf.Tensor, end: tf.Tensor) -> tf.Tensor:
    return image[:, begin[0] : end[0], begin[1] : end[1]]
