"""How much memory a run takes, and the tile that fits into what there is.

The model is linear: what TensorFlow and the network take, what each pixel
that the network sees at once adds, and what each pixel of the picture adds -
the picture itself, its gradient, the optimiser's slots, the content's
features. docs/performance.md has the measurements behind the figures.
"""

import math

from nst_tf.engine import tiles
from nst_tf.machine import devices
from nst_tf.networks import NETWORKS
from nst_tf.options import OPTIMIZERS, Options

# Bytes that TensorFlow, the network and its kernels in use take.
BASE = {
    "vgg19": 0.9e9,
    "vgg19_slim": 0.8e9,
    "vgg16": 0.9e9,
    "inception_v3": 0.9e9,
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
TILED = 1.4  # times that in tiles: of several sizes, they leave gaps
SEEN_XLA = 5000  # without tiles, on the CPU
IMAGE = 12  # bytes: three float32
PICTURES = 20  # that any run holds: states, copies underway, features
SLOTS = {"adam": 2, "adagrad": 1, "sgd": 1}
TILES = (2048, 1536, 1024, 768, 512, 384, 256, 128)
SHARE = 0.8  # of the memory there is: others live there, too


def peak(size: tuple[int, int], options: Options, tile: int) -> float:
    """Bytes that a run takes at its largest.

    Args:
      size: of the result, `(height, width)` in pixels.
      options: of the run.
      tile: side of the tiles in pixels; 0: the whole picture at once.
    """
    pixels = math.prod(side + 2 * options.margin for side in size)
    slots = SLOTS.get(options.optimizer)
    if slots is None:
        slots = 2 * int(options.optimizer_arguments()["history"]) + 3
    picture = pixels * IMAGE * (PICTURES + slots)
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
    return BASE[options.network] + picture + each * at_once


def choose_tile(size: tuple[int, int], options: Options) -> int:
    """The side of the tiles, or 0 for none: the largest that fits.

    Raises:
      ValueError: nothing fits; it says what would.
    """
    available = devices.available_memory()
    tiled = NETWORKS[options.network].tiled
    if options.tile == "off" or options.jit == "on" or not tiled:
        choices = [0]
    elif options.tile == "auto":
        choices = [0, *TILES]
    else:
        choices = [int(options.tile)]
    if available is None:
        return choices[0]
    for tile in choices:
        if peak(size, options, tile) <= SHARE * available:
            return tile
    raise ValueError(out_of_memory(size, options, choices[-1]))


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
    largest = (tile or max(size)) // 2
    smaller = [side for side in TILES if side <= largest]
    tiled = NETWORKS[options.network].tiled
    if tiled and smaller and peak(size, options, smaller[0]) <= room:
        return text + f" Compute less at once: --tile={smaller[0]}."
    if options.optimizer == "lbfgs":
        for name, value in (("history", 3), ("optimizer", "adam")):
            if peak(size, _with(options, name, value), tile) <= room:
                return text + f" Keep less: --{name}={value}."
    low, high = 16, max(size)
    while high - low > 1:  # the largest long side that fits
        side = (low + high) // 2
        height, width = (side * length // max(size) for length in size)
        fits = peak((height, width), options, tile) <= room
        low, high = (side, high) if fits else (low, side)
    if low == 16:
        least = BASE[options.network] / SHARE / 1e9
        return text + f" Any run takes {least:.1f} GB: free some memory."
    return text + f" About {low} on the long side should: --max_size={low}."


def _with(options: Options, name: str, value) -> Options:
    changes = {name: value}
    if name == "optimizer":
        changes |= dict.fromkeys(OPTIMIZERS[options.optimizer])
    return options.replace(**changes)
