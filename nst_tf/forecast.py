"""What a run will take, before it starts: tiles, memory, time."""

import dataclasses
import time

import numpy as np
import tensorflow as tf

from nst_tf import devices, memory, run, tiles, transfer
from nst_tf.inputs import scaled
from nst_tf.options import Options, steps_at

SAMPLE = 256  # pixels, the side of the picture that is timed


@dataclasses.dataclass(frozen=True)
class Forecast:
    """What is to be expected.

    Attributes:
      scales: `(height, width, steps)` of each, pixels, coarse to fine.
      tile: side of the tiles in pixels; 0: the whole at once.
      peak: bytes of memory at the most.
      available: bytes that there are; None where the system does not tell.
      seconds: of all steps.
    """

    scales: list[tuple[int, int, int]]
    tile: int
    peak: float
    available: int | None
    seconds: float

    def __str__(self) -> str:
        free = "" if self.available is None else f" of {_giga(self.available)}"
        parts = f"tiles of {self.tile} px" if self.tile else "no tiles"
        return (
            f"{parts}, about {_giga(self.peak)}{free} of memory, about "
            f"{duration(self.seconds)}"
        )


def forecast(size: tuple[int, int], options: Options) -> Forecast:
    """What a run to `(height, width)` will take on this machine.

    Evaluates a small picture three times.

    Raises:
      ValueError: it does not fit; the message says what would.
    """
    tile = memory.choose_tile(size, options)
    engine, _ = run.engine(options, tile)
    each = _seconds_per_pixel(engine)
    scales = [
        (*scaled(size, factor), steps_at(scale, options.steps))
        for scale, factor in enumerate(options.factors(size))
    ]
    work = sum(
        (steps + 1) * pixels_seen((height, width), options, tile)
        for height, width, steps in scales  # the start is evaluated, too
    )
    return Forecast(
        scales,
        tile,
        memory.peak(size, options, tile),
        devices.available_memory(),
        work * each,
    )


def pixels_seen(size: tuple[int, int], options: Options, tile: int) -> float:
    """Pixels that a step evaluates: those of the halos, and a second pass.

    A tile goes through the network twice and back once; a picture that is
    not cut once and back once, which takes two thirds of that.
    """
    height, width = (side + 2 * options.margin for side in size)
    if not tile or max(height, width) <= tile:
        return height * width
    layers = [name for part in options.used_layers() for name, _ in part]
    split = tiles.split(tf.constant([height, width]), tile, tiles.halo(layers))
    sides = (split.seen_end - split.seen_begin).numpy().astype(float)
    return 1.5 * float(np.sum(sides[:, 0] * sides[:, 1]))


def duration(seconds: float) -> str:
    """In words: `40 s`, `12 min`, `3.5 h`."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    if seconds < 5400:
        return f"{round(seconds / 60)} min"
    return f"{seconds / 3600:.1f} h"


def _seconds_per_pixel(engine: transfer.Transfer) -> float:
    image = tf.fill([1, SAMPLE, SAMPLE, 3], 0.5)
    numbers = transfer.Numbers(*[tf.constant(1.0)] * 4)
    targets = engine.objective.targets(image, [image], [1.0])
    times = []
    for _ in range(3):
        started = time.monotonic()
        engine.objective.evaluate(image, targets, numbers)[1].numpy()
        times.append(time.monotonic() - started)
    return min(times) / SAMPLE**2


def _giga(amount: float) -> str:
    return f"{amount / 1e9:.1f} GB"
