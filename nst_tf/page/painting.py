"""One visitor's run, moment by moment: limits, forecast, results, files."""

import dataclasses
import math
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from nst_tf.files import images, record
from nst_tf.files import sizes as sizes_
from nst_tf.machine import memory
from nst_tf.page import folder
from nst_tf.request.options import Options
from nst_tf.request.values import SMALLEST
from nst_tf.stylization import forecast as forecast_
from nst_tf.stylization import run as run_
from nst_tf.stylization.inputs import Inputs
from nst_tf.stylization.inputs import prepare as prepare_
from nst_tf.stylization.result import Result

UPLOAD_PIXELS = 50_000_000  # of a picture that is sent
PREVIEW = 640  # pixels, long side of the picture while it is painted
FRAME, FRAMES, RATE = 480, 60, 12  # of the animation: side, count, per second
MASK = "mask.png"  # what a mask is called: its path is nobody's business
SUFFIXES = (".png", ".jpg", ".webp")


@dataclasses.dataclass(frozen=True)
class Limits:
    """What one run may take: pixels of the result, steps at a scale."""

    max_pixels: int = 25_000_000
    max_steps: int = 5_000


@dataclasses.dataclass(frozen=True)
class Moment:
    """What there is to tell of a run.

    Attributes:
      words: one line.
      done: share of the work, 0 to 1.
      image: a small picture as a JPEG's bytes; b"" before there is one.
      curve: the total cost of each result so far, the scale of each.
      warning: of the weights; '' if there is none.
      result: the last one; None before there is one.
    """

    words: str
    done: float = 0.0
    image: bytes = b""
    curve: Sequence[tuple[int, float]] = ()
    warning: str = ""
    result: Result | None = None


@dataclasses.dataclass(frozen=True)
class Painted:
    """A finished picture: its files by suffix, what it was made of."""

    files: dict[str, str]
    before: str
    record: dict[str, Any]
    caption: str


def prepare(
    content: bytes | None,
    styles: Sequence[bytes],
    options: Options,
    limits: Limits,
    mask: bytes | None = None,
) -> Inputs:
    """`inputs.prepare`, after a look at the sizes: before any heavy work.

    Of a mask the inputs, and so the recipe, hold the digest and no path.

    Raises:
      ValueError: a picture or an option that cannot be used, or too much.
    """
    named = [("content", content)] if content is not None else []
    named += [("style", style) for style in styles]
    sizes = [_size(data, name) for name, data in named]
    if sizes:
        _check_limits(sizes, content is not None, options, limits)
    given = list(styles) or None
    if mask is None:
        return prepare_(content, given, options=options)
    _size(mask, "mask")
    path = folder.fresh() / MASK
    record.write(path, mask)
    try:
        ready = prepare_(content, given, options=options, mask=str(path))
    except ValueError as error:
        raise ValueError(str(error).replace(str(path), MASK)) from None
    return dataclasses.replace(
        ready,
        options=ready.options.replace(mask=MASK),
        sources={
            **ready.sources,
            "mask": {**ready.sources["mask"], "path": None},
        },
    )


def _size(data: bytes, name: str) -> tuple[int, int]:
    """Height and width of a picture; ValueError if it is no usual one."""
    size = images.size(data, name)
    if math.prod(size) > UPLOAD_PIXELS:
        raise ValueError(
            f"`{name}` has {size[1]} x {size[0]} pixels; the page takes "
            f"{UPLOAD_PIXELS / 1e6:g} megapixels. Shrink it."
        )
    return size


def _check_limits(sizes, with_content: bool, options, limits: Limits) -> None:
    size = sizes_.fitted(sizes[0], options)
    scales = range(max(1, len(options.style_scales)))
    largest = max(map(options.style_scale_of, scales))
    side = max(SMALLEST, round(max(size) * largest))
    others = sizes[1:] if with_content else sizes
    wanted = [images.fit(other, side, options.enlarges) for other in others]
    pixels = max(map(math.prod, [size, *wanted]))
    if pixels > limits.max_pixels:
        name = "print" if options.print else "max_size"
        raise ValueError(
            f"`{name}`: this would be {pixels / 1e6:.3g} megapixels; the "
            f"page was started for {limits.max_pixels / 1e6:.3g} "
            "(--max_pixels). Choose a smaller size or stroke size."
        )
    if options.steps > limits.max_steps:
        raise ValueError(
            f"`steps`: the page was started for {limits.max_steps} at a scale "
            f"(--max_steps); received {options.steps}."
        )


def follow(
    inputs: Inputs,
    stopped: threading.Event,
    frames: list[np.ndarray] | None = None,
) -> Iterator[Moment]:
    """Runs; yields about once a second, the end last.

    Args:
      inputs: what `prepare` returned.
      stopped: leaves the run at its next result, once set.
      frames: filled with the pictures of an animation, if given.

    Raises:
      ValueError: it does not fit into memory.
    """
    yield Moment("Loading the network …")
    warning = run_.engine(inputs.options, inputs.plan.arithmetic)[1].warning
    expected = forecast_.forecast(inputs.plan.size, inputs.options)
    height, width = inputs.plan.size
    words = f"{width} x {height} pixels, {expected}"
    yield Moment(f"{words}. Starting …", warning=warning)
    every = math.ceil(max(1, sum(inputs.plan.schedule)) / FRAMES)
    clock, curve = _Clock(inputs), []
    try:
        strides = None if frames is None else every
        for result in run_.Run(inputs, strides, 1.0):
            curve.append((result.scale, result.costs["total"]))
            if frames is not None and _due(result, every):
                frames.append(_small(result.image, FRAME))
            done, left = clock.look(result)
            yield Moment(
                _words(result, left),
                done,
                images.encode(_small(result.image, PREVIEW), ".jpg"),
                list(curve),
                warning,
                result,
            )
            if stopped.is_set() or result.diverged:
                return
    except (tf.errors.ResourceExhaustedError, MemoryError):
        raise ValueError(
            memory.out_of_memory(
                inputs.plan.size, inputs.options, inputs.plan.arithmetic.tile
            )
        ) from None


def finish(
    result: Result,
    inputs: Inputs,
    frames: Sequence[np.ndarray] | None = None,
    suffixes: Sequence[str] = SUFFIXES,
) -> Painted:
    """Writes the result's files, the recipe in each."""
    place = folder.fresh()
    files = {suffix: str(place / f"painted{suffix}") for suffix in suffixes}
    for path in files.values():
        result.save(path)
    recipe = record.to_json(result.record)
    if frames:
        files[".gif"] = str(place / "painting.gif")
        data = images.encode_animation(frames, ".gif", RATE, recipe)
        record.write(files[".gif"], data)
    before = inputs.content
    if inputs.sources["content"] is None:
        before = images.resize(inputs.styles[0], inputs.plan.size)
    beside = place / "before.jpg"
    record.write(beside, images.encode(before, ".jpg"))
    height, width = result.image.shape[:2]
    caption = f"{width} x {height}, step {result.count} of {result.total}"
    return Painted(files, str(beside), result.record, caption)


class _Clock:
    """How much of the work is done, and the seconds left."""

    def __init__(self, inputs: Inputs):
        tile = inputs.plan.arithmetic.tile
        self._each = [
            forecast_.pixels_seen((height, width), inputs.options, tile)
            for height, width, _ in inputs.plan.scales
        ]
        self._steps = inputs.plan.schedule
        self._total = self._work(self._steps) or 1.0
        self._mark: tuple[int, float, float] | None = None

    def _work(self, steps: Sequence[int]) -> float:
        return sum(n * each for n, each in zip(steps, self._each, strict=False))

    def look(self, result: Result) -> tuple[float, float | None]:
        """Share of the work done, and seconds left where that is known."""
        done = self._work([*self._steps[: result.scale], result.step])
        now = time.monotonic()
        if self._mark is None or self._mark[0] != result.scale:
            # A scale's first step may pay for compiling: count from after.
            self._mark = (result.scale, done, now) if result.step else None
            return done / self._total, None
        worked = done - self._mark[1]
        left = (self._total - done) / worked if worked else None
        left = None if left is None else left * (now - self._mark[2])
        return done / self._total, left


def _due(result: Result, every: int) -> bool:
    """Whether a result is a frame: no finer scale's start, seen already."""
    if result.scale and not result.step:
        return False
    return result.step == result.steps or result.step % every == 0


def _words(result: Result, left: float | None) -> str:
    scale = f"Scale {result.scale + 1} of {result.scales}, "
    text = (scale if result.scales > 1 else "") + (
        f"step {result.step} of {result.steps}"
    )
    if left is not None and not result.last:
        text += f", about {forecast_.duration(left)} left"
    return text[0].upper() + text[1:]


def _small(image: np.ndarray, side: int) -> np.ndarray:
    size = images.fit(image.shape[:2], side)
    if size == image.shape[:2]:
        return image
    return images.to_uint8(images.resize(image / np.float32(255), size))
