"""What a run will take, before it starts: tiles, memory, time."""

import dataclasses
import time
from collections.abc import Iterable

import numpy as np
import tensorflow as tf

from nst_tf import inputs, run
from nst_tf.engine import tiles, transfer
from nst_tf.machine import devices, memory
from nst_tf.options import Options

SAMPLE = 256  # pixels, the side of the picture that is timed, at most


@dataclasses.dataclass(frozen=True)
class Forecast:
    """What is to be expected.

    Attributes:
      scales: `(height, width, steps)` of each, pixels, coarse to fine.
      tile: side of the tiles in pixels; 0: the whole at once.
      memory: tile and peak in words.
      available: bytes that there are; None where the system does not tell.
      seconds: of all steps.
    """

    scales: list[tuple[int, int, int]]
    tile: int
    memory: str
    available: int | None
    seconds: float

    def __str__(self) -> str:
        free = ""
        if self.available is not None:
            free = f" of {self.available / 1e9:.1f} GB"
        return f"{self.memory}{free} of memory, about {duration(self.seconds)}"


def forecast(size: tuple[int, int], options: Options) -> Forecast:
    """What a run to `(height, width)` will take on this machine.

    Raises:
      ValueError: it does not fit; the message says what would.
    """
    tile = memory.choose_tile(size, options)
    scales = inputs.scales(size, options)
    return Forecast(
        scales,
        tile,
        memory.summary(size, options, tile),
        devices.available_memory(),
        seconds(scales, options, tile),
    )


def seconds(
    scales: Iterable[tuple[int, int, int]], options: Options, tile: int
) -> float:
    """What `(height, width, steps)` of each scale will take here.

    Evaluates a small picture three times.
    """
    work = sum(
        (steps + 1) * pixels_seen((height, width), options, tile)
        for height, width, steps in scales  # the start is evaluated, too
    )
    engine, _ = run.engine(options, tile)
    return work * _seconds_per_pixel(engine, min(SAMPLE, tile or SAMPLE))


def pixels_seen(size: tuple[int, int], options: Options, tile: int) -> float:
    """Pixels that a step evaluates: those of the halos, and a second pass.

    A tile goes through the network twice and back once; a picture that is
    not cut once and back once, which takes two thirds of that.
    """
    height, width = (side + 2 * options.margin for side in size)
    if not tile or max(height, width) <= tile:
        return height * width
    halo = tiles.halo(options.layer_names())
    split = tiles.split(tf.constant([height, width]), tile, halo)
    sides = (split.seen_end - split.seen_begin).numpy().astype(float)
    return 1.5 * float(np.sum(sides[:, 0] * sides[:, 1]))


def duration(seconds: float) -> str:
    """In words: `40 s`, `12 min`, `3.5 h`."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    if seconds < 5400:
        return f"{round(seconds / 60)} min"
    return f"{seconds / 3600:.1f} h"


def _seconds_per_pixel(engine: transfer.Transfer, side: int) -> float:
    image = tf.fill([1, side, side, 3], 0.5)
    numbers = transfer.Numbers(*[tf.constant(1.0)] * 4)
    targets = engine.objective.targets(image, [image], [1.0])
    times = []
    for _ in range(3):
        started = time.monotonic()
        engine.objective.evaluate(image, targets, numbers)[1].numpy()
        times.append(time.monotonic() - started)
    return min(times) / side**2
