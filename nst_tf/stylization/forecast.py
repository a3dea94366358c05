"""What a run will take, before it starts: tiles, memory, time."""

import dataclasses
import time
from collections.abc import Iterable

import numpy as np
import tensorflow as tf

from nst_tf.engine import tiles, transfer
from nst_tf.engine.transfer import Arithmetic
from nst_tf.machine.plan import Plan, Scale, resolve
from nst_tf.request.networks import NETWORKS
from nst_tf.request.options import Options
from nst_tf.stylization import run

SAMPLE = 256  # pixels, the side of the picture that is timed, at most


@dataclasses.dataclass(frozen=True)
class Forecast:
    """What is to be expected.

    Attributes:
      plan: sizes, steps, tiles, memory.
      seconds: of all steps.
    """

    plan: Plan
    seconds: float

    def __str__(self) -> str:
        free = ""
        if self.plan.available is not None:
            free = f" of {self.plan.available / 1e9:.1f} GB"
        time = duration(self.seconds)
        return f"{self.plan.summary()}{free} of memory, about {time}"


def forecast(size: tuple[int, int], options: Options) -> Forecast:
    """What a run to `(height, width)` will take on this machine.

    Raises:
      ValueError: it does not fit; the message says what would.
    """
    plan = resolve(size, options)
    return Forecast(plan, seconds(plan.scales, options, plan.arithmetic))


def seconds(
    scales: Iterable[Scale], options: Options, arithmetic: Arithmetic
) -> float:
    """What `(height, width, steps)` of each scale will take here.

    Evaluates a small picture three times.
    """
    tile = arithmetic.tile
    work = sum(
        (steps + 1) * pixels_seen((height, width), options, tile)
        for height, width, steps in scales  # the start is evaluated, too
    )
    engine, _ = run.engine(options, arithmetic)
    return work * _seconds_per_pixel(engine, min(SAMPLE, tile or SAMPLE))


def pixels_seen(size: tuple[int, int], options: Options, tile: int) -> float:
    """Pixels that a step evaluates: those of the halos, and a second pass.

    A tile goes through the network twice and back once; a picture that is
    not cut once and back once, which takes two thirds of that.
    """
    height, width = (side + 2 * options.margin for side in size)
    if not tile or max(height, width) <= tile:
        return height * width
    order = NETWORKS[options.network].layers
    halo = tiles.halo(options.layer_names(), order)
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
