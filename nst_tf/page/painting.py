"""One visitor's run, moment by moment: limits, forecast, results, files."""

import dataclasses
import io
import math
import os
import threading
import time
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from nst_tf.files import encoding, images, record
from nst_tf.files import sizes as sizes_
from nst_tf.machine import memory
from nst_tf.page import folder, pictures
from nst_tf.request.options import EVERYWHERE, Options
from nst_tf.request.values import SMALLEST
from nst_tf.stylization import forecast as forecast_
from nst_tf.stylization import run as run_
from nst_tf.stylization.inputs import Inputs
from nst_tf.stylization.inputs import prepare as prepare_
from nst_tf.stylization.result import Result

PREVIEW = 640  # pixels, long side of the picture while it is painted
FRAME, FRAMES, RATE = 480, 60, 12  # of the animation: side, count, per second
MASK, PART = "mask.png", "part_{}.png"  # a mask's path is nobody's business
# What is written of a picture: the file's name, bits a channel.
KINDS = {
    "png": ("painted.png", 8),
    "jpg": ("painted.jpg", 8),
    "webp": ("painted.webp", 8),
    "deep": ("painted_16_bits.png", 16),
}


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
      left: seconds; None where that is not known.
    """

    words: str
    done: float = 0.0
    image: bytes = b""
    curve: Sequence[tuple[int, float]] = ()
    warning: str = ""
    result: Result | None = None
    left: float | None = None


@dataclasses.dataclass(frozen=True)
class Painted:
    """A finished picture.

    Attributes:
      files: by kind, as in `KINDS`; with `gif` the run itself, with `masks`
        what was drawn.
      before, after: files to be shown, of one size.
      record: the recipe.
      names: of the photograph, and of the paintings, as they were sent.
      size: height and width.
      words: how it ended.
    """

    files: Mapping[str, str]
    before: str
    after: str
    record: dict[str, Any]
    names: Sequence[str]
    size: tuple[int, int]
    words: str

    @property
    def caption(self) -> str:
        """What the gallery says of it."""
        return Path(self.names[-1]).stem if self.names else ""


@dataclasses.dataclass(frozen=True)
class Wish:
    """What a visitor asks for: files and options, nothing read yet.

    Attributes:
      masks: files by their name: `MASK`, and `PART` of each style.
    """

    content: Path | None
    styles: Sequence[Path]
    options: Options
    masks: Mapping[str, bytes] = dataclasses.field(default_factory=dict)

    def check(self, limits: Limits) -> None:
        """Looks at the sizes alone.

        Raises:
          ValueError: a picture or an option that cannot be used, or too much.
        """
        named = [("content", self.content)] if self.content else []
        named += [("style", style) for style in self.styles]
        sizes = [pictures.size(path.read_bytes(), name) for name, path in named]
        for data in self.masks.values():
            pictures.size(data, "mask")
        if sizes:
            options = self.options
            _check_limits(sizes, self.content is not None, options, limits)

    def prepare(self) -> Inputs:
        """`inputs.prepare`; the recipe holds digests and no path.

        Raises:
          ValueError: what cannot be painted.
        """
        content = self.content and self.content.read_bytes()
        styles = [path.read_bytes() for path in self.styles] or None
        if not self.masks:
            return prepare_(content, styles, options=self.options)
        place = folder.fresh("masks")
        for name, data in self.masks.items():
            record.write(place / name, data)
        try:
            ready = prepare_(
                content, styles, options=self.options, **self._named(place)
            )
        except ValueError as error:
            words = str(error).replace(f"{place}{os.sep}", "")
            raise ValueError(words) from None
        sources = {**ready.sources, "mask": _nowhere(ready.sources["mask"])}
        parts = ready.sources["content_mask"]
        sources["content_mask"] = parts and [*map(_nowhere, parts)]
        options = ready.options.replace(**self._named())
        return dataclasses.replace(ready, options=options, sources=sources)

    def _named(self, place: Path | None = None) -> dict[str, Any]:
        """The masks as options, below a place or by their names alone."""
        paths = {
            name: str(place / name) if place else name for name in self.masks
        }
        found: dict[str, Any] = {"mask": paths.pop(MASK, None)}
        if paths:
            numbers = range(1, len(self.styles) + 1)
            parts = (PART.format(number) for number in numbers)
            found["content_mask"] = [paths.get(p, EVERYWHERE) for p in parts]
        return found


def _nowhere(source: Mapping[str, Any] | None) -> dict[str, Any] | None:
    return None if source is None else {**source, "path": None}


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
    left = expected.seconds
    words = f"{width} x {height} pixels, about {forecast_.duration(left)}"
    yield Moment(f"{words}. Starting …", warning=warning, left=left)
    every = math.ceil(max(1, sum(inputs.plan.schedule)) / FRAMES)
    clock, curve = _Clock(inputs), []
    try:
        strides = None if frames is None else every
        for result in run_.Run(inputs, strides, 1.0):
            curve.append((result.scale, result.costs["total"]))
            if frames is not None and _due(result, every):
                frames.append(_small(result.image, FRAME))
            done, known = clock.look(result)
            left = left if known is None else known
            yield Moment(
                _words(result, left),
                done,
                encoding.encode(_small(result.image, PREVIEW), ".jpg"),
                list(curve),
                warning,
                result,
                left,
            )
            if stopped.is_set() or result.diverged:
                return
    except (tf.errors.ResourceExhaustedError, MemoryError):
        raise ValueError(
            memory.out_of_memory(
                inputs.plan.size, inputs.options, inputs.plan.arithmetic.tile
            )
        ) from None


def saving(last: Moment) -> Moment:
    """What there is to tell while files are written."""
    return dataclasses.replace(last, words="Saving …", left=1.0)


def finish(
    result: Result,
    inputs: Inputs,
    wish: Wish,
    frames: Sequence[np.ndarray] | None = None,
    kinds: Mapping[str, tuple[str, int]] = KINDS,
) -> Painted:
    """Writes the result's files, the recipe in each."""
    place = folder.fresh()
    files = {kind: str(place / name) for kind, (name, _) in kinds.items()}
    for kind, (_, depth) in kinds.items():
        result.save(files[kind], depth=depth)
    if frames:
        files["gif"] = str(place / "painting.gif")
        recipe = record.to_json(result.record)
        data = encoding.encode_animation(frames, ".gif", RATE, recipe)
        record.write(files["gif"], data)
    if wish.masks:
        files["masks"] = str(place / "masks.zip")
        record.write(Path(files["masks"]), _zipped(wish.masks))
    before = inputs.content
    if inputs.sources["content"] is None:
        before = images.resize(inputs.styles[0], inputs.plan.size)
    pair = place / "before.jpg", place / "after.jpg"
    for path, image in zip(pair, (before, result.image), strict=True):
        small = _small(images.to_uint8(image), pictures.SIDE)
        record.write(path, encoding.encode(small, ".jpg"))
    given = [wish.content, *wish.styles] if wish.content else wish.styles
    return Painted(
        files,
        str(pair[0]),
        str(pair[1]),
        result.record,
        [path.name for path in given if path],
        result.image.shape[:2],
        _ending(result),
    )


def _ending(result: Result) -> str:
    height, width = result.image.shape[:2]
    size = f"{width} x {height}"
    if result.diverged:
        return f"Stopped: {result.divergence()}"
    if result.last:
        return f"Done: {size} pixels, {result.total} steps."
    return (
        f"Stopped: {size} pixels, step {result.count} of {result.total}. "
        "The best picture so far is kept."
    )


def _zipped(files: Mapping[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as packing:
        for name, data in files.items():
            packing.writestr(name, data)
    return packed.getvalue()


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
