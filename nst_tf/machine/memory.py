"""How much memory a run takes, and what of it fits into what there is.

What TensorFlow and the network take; what each pixel of the picture adds - the
picture itself, its gradient, the optimiser's slots, the content's features;
and what each pixel that the network sees at once adds, or the optimiser needs
while it moves: they take turns. docs/performance.md has the measurements.
"""

import functools
import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from nst_tf.engine import tiles, vgg
from nst_tf.machine import devices
from nst_tf.request.networks import LAYERS, NETWORKS
from nst_tf.request.options import OPTIMIZERS, PAIRS, Options

# Bytes that TensorFlow, the network and its kernels in use take.
BASE = {
    "vgg19": 0.95e9,
    "vgg19_slim": 0.9e9,
    "vgg16": 0.95e9,
    "inception_v3": 0.95e9,
}
# Bytes for each pixel that the network sees at once, forward and back; float16
# hands its features out in float32.
SEEN = {
    "vgg19": {"float32": 1050, "mixed_bfloat16": 650, "mixed_float16": 1700},
    "vgg19_slim": {"float32": 400, "mixed_bfloat16": 250, "mixed_float16": 600},
    "vgg16": {"float32": 1550, "mixed_bfloat16": 800, "mixed_float16": 1700},
    "inception_v3": {
        "float32": 700,
        "mixed_bfloat16": 300,
        "mixed_float16": 700,
    },
}
# More of that where all is computed at once, reckoned and not measured: the
# first layer's features in float32, every layer's features until the way back.
AT_ONCE = 420
INCEPTION = 16  # features for each pixel, of its widest layer
TILED = 1.4  # times that in tiles: of several sizes, they leave gaps
SEEN_XLA = 5000  # without tiles, on the CPU
IMAGE = 12  # bytes: three float32
PICTURES = 6  # that any run holds
SLOTS = {"lbfgs": 4, "adam": 2, "adagrad": 1, "sgd": 1}  # without its pairs
PAIR = 27  # bytes: two images, and the gaps they leave
WORK = 4  # images underway while the optimiser moves
TILES = (2048, 1536, 1024, 768, 512, 384, 256, 128)
SMALL = 512  # smaller tiles take twice the time and more: pairs go first
SHARE = 0.8  # of the memory there is: others live there, too
# Bytes for pairs of L-BFGS where `auto` decides, and how few it keeps before
# memory is short: docs/lab.md tells what more would gain.
ROOM = 1.5e9
FEW = 2

Scale = tuple[int, int, int]  # height, width, steps


class Choice(NamedTuple):
    """What fits.

    Fields:
      tile: side of the tiles in pixels; 0: none.
      history: pairs of L-BFGS at each scale; empty for the others.
      peak: bytes at the largest.
    """

    tile: int
    history: tuple[int, ...]
    peak: float


def peak(
    size: tuple[int, int], options: Options, tile: int, pairs: int = PAIRS
) -> float:
    """Bytes that a run takes at its largest.

    Args:
      size: of the result, `(height, width)` in pixels.
      options: of the run.
      tile: side of the tiles in pixels; 0: the whole picture at once.
      pairs: that L-BFGS holds.
    """
    pixels = math.prod(side + 2 * options.margin for side in size)
    each_pixel: float = IMAGE * (PICTURES + SLOTS[options.optimizer])
    each_pixel += _content(options)
    if options.optimizer == "lbfgs":
        each_pixel += PAIR * pairs
    precision = devices.precision(options.precision)
    at_once, each = pixels, float(SEEN[options.network][precision])
    if tile:
        each *= TILED
        order = NETWORKS[options.network].layers
        halo = tiles.halo(options.layer_names(), order)
        at_once = math.prod(
            min(side + 2 * options.margin, tile + 2 * halo) for side in size
        )
    elif options.jit == "on":
        each = SEEN_XLA
    images = WORK
    if devices.is_gpu() and not tile:  # pairs are stacked, and their products
        each += AT_ONCE
        images += 2 * (2 * pairs + 4)
    working = max(each * at_once, pixels * IMAGE * images)
    return BASE[options.network] + pixels * each_pixel + working


def _content(options: Options) -> float:
    """Bytes for each pixel of the content's features."""
    precision = devices.precision(options.precision)
    slim = options.network == "vgg19_slim"  # projected, in float32
    narrow = precision == "mixed_bfloat16" and not slim
    layers = [layer for layer, _ in options.used_layers()[0]]
    return sum(map(_numbers, layers)) * (2 if narrow else 4)


def _numbers(layer: str) -> float:
    """Features of a layer for each pixel of the picture."""
    if layer not in LAYERS:
        return INCEPTION
    return vgg.WIDTHS[int(layer[5])] / tiles.stride(layer) ** 2


def choose(scales: Sequence[Scale], options: Options) -> Choice:
    """The largest tiles, then the most pairs of L-BFGS, that fit.

    Args:
      scales: height, width and steps of each, coarse to fine.
      options: of the run.

    Raises:
      ValueError: nothing fits; it says what would.
    """
    room, available = math.inf, devices.available_memory()
    if available is not None:
        room = SHARE * available
    for tile, short in _choices(options):
        history = tuple(
            _pairs(scale, options, tile, room if short else math.inf)
            for scale in scales
        )
        taken = max(
            map(functools.partial(_taken, options, tile), scales, history)
        )
        if taken <= room:
            lbfgs = options.optimizer == "lbfgs"
            return Choice(tile, history if lbfgs else (), taken)
    raise ValueError(out_of_memory(scales[-1][:2], options, tile))


def _choices(options: Options) -> Iterator[tuple[int, bool]]:
    """Tiles, and whether to save pairs: what is fastest comes first."""
    tiles = [0, *TILES]
    tiled = NETWORKS[options.network].tiled
    if options.tile == "off" or options.jit == "on" or not tiled:
        tiles = [0]
    elif options.tile != "auto":
        tiles = [int(options.tile)]
    large = [tile for tile in tiles if not tile or tile >= SMALL] or tiles
    yield from ((tile, False) for tile in large)
    yield large[-1], True
    yield from ((tile, True) for tile in tiles[len(large) :])


def _pairs(scale: Scale, options: Options, tile: int, room: float) -> int:
    """How many L-BFGS keeps at a scale: all that are asked for, or fit."""
    asked = options.optimizer_arguments().get("history", 0)
    if asked != "auto":
        return asked
    height, width, _ = scale
    pairs = min(PAIRS, max(FEW, int(ROOM / (PAIR * height * width)) - 1))
    while pairs > 1 and _taken(options, tile, scale, pairs) > room:
        pairs -= 1
    return pairs


def _taken(options: Options, tile: int, scale: Scale, pairs: int) -> float:
    *size, steps = scale
    # The first step makes none; the oldest goes when the newest has come.
    held = min(pairs + 1, max(0, steps - 1))
    return peak((size[0], size[1]), options, tile, held)


def out_of_memory(size: tuple[int, int], options: Options, tile: int) -> str:
    """What was tried, what should fit, and the flag to use, in one line."""
    available = devices.available_memory()
    room, free = math.inf, ""
    if available is not None:
        room = SHARE * available
        free = f" of which {available / 1e9:.1f} GB are free"
    text = (
        f"out of memory: {size[1]} x {size[0]} pixels with "
        f"{options.optimizer} do not fit into the memory{free}."
    )
    asked = options.optimizer_arguments().get("history", 0)
    pairs = 1 if asked == "auto" else asked
    largest = (tile or max(size)) // 2
    smaller = [side for side in TILES if side <= largest]
    tiled = NETWORKS[options.network].tiled
    if tiled and smaller and peak(size, options, smaller[0], pairs) <= room:
        return text + f" Compute less at once: --tile={smaller[0]}."
    if pairs > 1 and peak(size, options, tile, 1) <= room:
        return text + " Keep less: --history=auto."
    if pairs and peak(size, _with_adam(options), tile) <= room:
        return text + " Keep less: --optimizer=adam."
    low, high = 16, max(size)
    while high - low > 1:  # the largest long side that fits
        side = (low + high) // 2
        height, width = (side * length // max(size) for length in size)
        fits = peak((height, width), options, tile, pairs) <= room
        low, high = (side, high) if fits else (low, side)
    if low == 16:
        least = BASE[options.network] / SHARE / 1e9
        return text + f" Any run takes {least:.1f} GB: free some memory."
    flag = "a smaller --print" if options.print else f"--max_size={low}"
    return text + f" About {low} on the long side should: {flag}."


def _with_adam(options: Options) -> Options:
    nothing = dict.fromkeys(OPTIMIZERS[options.optimizer])
    return options.replace(**nothing, optimizer="adam")
