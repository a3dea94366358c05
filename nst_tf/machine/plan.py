"""What a request comes to on this machine: every `auto` decided, in one place.

Run, forecast, record and terminal read it here.
"""

import math
from typing import NamedTuple

from nst_tf.engine.transfer import Arithmetic
from nst_tf.machine import devices, memory
from nst_tf.machine.memory import Scale
from nst_tf.request.options import Options, steps_at


class Plan(NamedTuple):
    """A run as it will be.

    Fields:
      size: of the result, `(height, width)` in pixels.
      scales: height, width and steps of each, coarse to fine.
      factors: how much smaller each scale is than the result.
      history: pairs that L-BFGS keeps at each scale; empty for the others.
      arithmetic: how it is computed.
      device: in words.
      memory: bytes at the largest.
      available: bytes that there are; None where the system does not tell.
    """

    size: tuple[int, int]
    scales: tuple[Scale, ...]
    factors: tuple[float, ...]
    history: tuple[int, ...]
    arithmetic: Arithmetic
    device: str
    memory: float
    available: int | None

    @property
    def schedule(self) -> list[int]:
        """Steps at each scale, coarse to fine."""
        return [steps for _, _, steps in self.scales]

    def summary(self) -> str:
        """What was chosen and what it takes: `no tiles, about 2.1 GB`."""
        tile = self.arithmetic.tile
        parts = f"tiles of {tile} px" if tile else "no tiles"
        return f"{parts}, about {self.memory / 1e9:.1f} GB"


def resolve(size: tuple[int, int], options: Options) -> Plan:
    """What a run to `(height, width)` comes to.

    Raises:
      ValueError: it does not fit into the memory; the message says what would.
    """
    factors = tuple(options.factors(size))
    scales = tuple(
        (*scaled(size, factor), steps_at(scale, options.steps))
        for scale, factor in enumerate(factors)
    )
    chosen = memory.choose(scales, options)
    return Plan(
        size,
        scales,
        factors,
        chosen.history,
        here(options, chosen.tile),
        devices.describe(),
        chosen.peak,
        devices.available_memory(),
    )


def here(options: Options, tile: int) -> Arithmetic:
    """What is fastest on this machine, in tiles of a side that fits."""
    precision = devices.precision(options.precision)
    return Arithmetic(
        precision,
        tile,
        options.jit == "on" and not tile,
        devices.transposed(precision, tiled=tile > 0),
        tuple(devices.workers()) if tile else ("",),
        devices.is_gpu() and not tile,
    )


def anywhere(options: Options) -> Arithmetic:
    """What an export is computed in: it may be run on any machine."""
    precision = options.precision
    if precision == "auto":
        precision = "float32"
    tile = options.tile if isinstance(options.tile, int) else 0
    transposed = devices.transposed(precision, tiled=tile > 0)
    return Arithmetic(precision, tile, options.jit == "on", transposed)


def scaled(size: tuple[int, int], factor: float) -> tuple[int, int]:
    """The size that is `factor` times smaller, as `transfer.shrink` has it."""
    height, width = (math.floor(side / factor + 0.5) for side in size)
    return height, width
