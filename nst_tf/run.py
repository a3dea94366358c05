"""The verb: pictures and options in, an iterator of results out."""

import collections
import dataclasses
import functools
import math
import os
import time
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from nst_tf.engine import transfer, vgg
from nst_tf.files import images, record
from nst_tf.files import weights as weights_
from nst_tf.inputs import Inputs, prepare
from nst_tf.machine import devices
from nst_tf.options import Options


@dataclasses.dataclass(frozen=True)
class Result:
    """The best picture after some steps, and how it came about.

    Attributes:
      scale: which size, from 0, coarse to fine.
      step: steps taken at this scale.
      schedule: steps asked for at each scale.
      costs: `total`, `content`, `style`, `tv`, and `style/LAYER` each;
        unweighted but for `total`.
      diverged: nothing finite was left to go on from; the picture is the
        last good one.
      record: the whole recipe, plain JSON types.
    """

    scale: int
    step: int
    schedule: Sequence[int]
    costs: dict[str, float]
    diverged: bool
    record: dict[str, Any]
    tensor: tf.Tensor = dataclasses.field(repr=False)
    alpha: np.ndarray | None = dataclasses.field(repr=False)
    state: transfer.State = dataclasses.field(repr=False)

    @property
    def scales(self) -> int:
        """How many sizes there are."""
        return len(self.schedule)

    @property
    def steps(self) -> int:
        """Steps asked for at this scale."""
        return self.schedule[self.scale]

    @property
    def count(self) -> int:
        """Steps taken at all scales so far."""
        return sum(self.schedule[: self.scale]) + self.step

    @property
    def total(self) -> int:
        """Steps asked for at all scales."""
        return sum(self.schedule)

    @property
    def last(self) -> bool:
        """Whether this is where the run ends."""
        done = self.scale == self.scales - 1 and self.step >= self.steps
        return done or self.diverged

    @property
    def image(self) -> np.ndarray:
        """The picture, uint8 `[h, w, 3]`."""
        return images.to_uint8(self.tensor[0].numpy())

    def encoded(self, suffix: str) -> bytes:
        """The picture as a file's bytes, its recipe inside."""
        image, alpha = self.image, self.alpha
        if alpha is not None:
            alpha = images.resize(alpha, image.shape[:2])
        return images.encode(image, suffix, record.to_json(self.record), alpha)

    def save(self, path: str | os.PathLike) -> None:
        """Writes the picture with its recipe; the suffix tells the format.

        Raises:
          ValueError: unknown suffix, not writable, or one of the inputs.
        """
        suffix = images.check_suffix(path)
        record.check_path(path, "output", (), record.input_paths(self.record))
        record.write(path, self.encoded(suffix))

    def save_checkpoint(self, path: str | os.PathLike) -> None:
        """Writes all that `resume` needs to go on bit for bit."""
        recipe = {**self.record, "scale": self.scale}
        record.write_checkpoint(path, recipe, tf.nest.flatten(self.state))


def stylize(content, style, *, options=None, **overrides) -> Result:
    """Paints `content` in the manner of `style`.

    Args:
      content: path, PIL image, encoded bytes, or array (uint8, or float in
        [0, 1]; `[h, w]`, `[h, w, 3]` or `[h, w, 4]`). None with
        `content_weight=0`.
      style: the same, or a list of them. None with `style_weight=0`.
      options: an `Options`; defaults otherwise.
      **overrides: single options by name, e.g. `steps=300`.

    Returns:
      The last `Result`: `.image`, `.save(path)`, `.costs`, `.record`.

    Raises:
      ValueError: an option or a picture that cannot be used.
    """
    results = snapshots(content, style, options=options, **overrides)
    result = collections.deque(results, maxlen=1).pop()
    if result.diverged:
        warnings.warn(divergence(result), RuntimeWarning, stacklevel=2)
    return result


def snapshots(
    content, style, *, options=None, every=None, patience=None, **overrides
) -> Iterator[Result]:
    """As `stylize`, but yields the best picture so far while it runs.

    Args:
      content: see `stylize`.
      style: see `stylize`.
      options: see `stylize`.
      every: yield at each multiple of so many steps.
      patience: also yield about once in so many seconds; by default once a
        second if `every` is not given, and never if it is.
      **overrides: see `stylize`.

    Yields:
      A `Result` at step 0 and at the last step of each scale, and as often
      as asked for between. Leaving the loop stops the run.
    """
    inputs = prepare(content, style, options=options, **overrides)
    return results(inputs, every, patience)


def results(
    inputs: Inputs,
    every: int | Sequence[int] | None = None,
    patience: float | None = None,
    resume: tuple[dict, list] | None = None,
) -> Iterator[Result]:
    """Runs; `resume` is what `record.read_checkpoint` returned."""
    options = inputs.options
    strides = [every] if isinstance(every, int) else list(every or ())
    if patience is None:
        patience = math.inf if strides else 1.0
    transferring, weights = engine(options, inputs.tile)
    recipe = _recipe(inputs, weights)
    restored, first, seconds = None, -1, 0.0
    if resume:
        past, arrays = resume
        check_same(past, recipe)
        seconds, first = past["seconds"], past["step"]
        restored = past["scale"], transferring.restore(arrays)
        recipe["costs"]["start"] = past["costs"]["start"]
    arguments = options.optimizer_arguments()
    numbers = transfer.Numbers(
        options.content_weight,
        options.style_weight,
        options.tv_weight,
        arguments.get("learning_rate", 0.0),
    )
    started = time.monotonic() - seconds
    for snapshot in transferring.snapshots(
        _tensor(inputs.content),
        [_tensor(style) for style in inputs.styles],
        inputs.blend,
        _tensor(inputs.image),
        numbers,
        lambda scale: pace(inputs.schedule[scale], strides, patience),
        inputs.factors,
        restored,
    ):
        result = _result(inputs, snapshot, recipe, started)
        recipe["costs"]["start"] = result.record["costs"]["start"]
        seen = restored and (result.scale, result.step) <= (restored[0], first)
        if seen and not result.last:
            continue
        yield result
        if result.last:
            return


def _tensor(image: np.ndarray) -> tf.Tensor:
    """`[1, h, w, 3]`; `tf.constant` itself holds the array twice."""
    return tf.identity(tf.constant(image[None]))


def _recipe(inputs: Inputs, weights: weights_.Weights) -> dict[str, Any]:
    """All that a repeat needs; costs and seconds are filled in later."""
    return {
        "options": inputs.options.to_dict(),
        "inputs": inputs.sources,
        "network": {
            "name": weights.network,
            "weights": weights.name,
            "sha256": weights.sha256,
            "precision": devices.precision(inputs.options.precision),
        },
        "size": list(inputs.size[::-1]),
        "schedule": [
            [width, height, steps] for height, width, steps in inputs.scales
        ],
        "tile": inputs.tile,
        "device": devices.describe(),
        "versions": record.versions(),
        "costs": {"start": None, "end": None},
    }


def pace(steps: int, strides: Sequence[int], patience: float) -> Iterator[int]:
    """Step counts to stop at: multiples of the strides, and by the clock."""
    step, stride = 0, 1 if patience < math.inf else steps
    while step < steps:
        started = time.monotonic()
        multiples = [(step // every + 1) * every for every in strides]
        following = min([step + stride, steps, *multiples])
        yield following
        each = (time.monotonic() - started) / (following - step)
        step = following
        if patience < math.inf:
            stride = max(1, int(patience / max(each, 1e-6)))


def check_same(past: dict[str, Any], present: dict[str, Any]) -> None:
    """ValueError where a checkpoint belongs to other inputs or weights."""
    for key in ("inputs", "network"):
        if _digests(past[key]) != _digests(present[key]):
            raise ValueError(
                f"`resume`: the {key} are not those of the checkpoint; a "
                "resumed run needs the same files. Bring them back, or start "
                "anew with --init=PICTURE."
            )


def divergence(result: Result) -> str:
    """What happened and what to lower, in one line."""
    options = result.record["options"]
    rate = options["learning_rate"]
    lower = "--content_weight, --style_weight or --tv_weight"
    if options["optimizer"] != "lbfgs":
        lower = "--learning_rate" + (f" (now {rate:g})" if rate else "")
    return (
        f"the cost was no finite number any more after step {result.step} of "
        f"scale {result.scale + 1} of {result.scales}; this is the last good "
        f"picture. Lower {lower}."
    )


def _result(inputs: Inputs, snapshot, recipe, started) -> Result:
    costs = snapshot.costs
    terms = {
        name: float(getattr(costs, name))
        for name in ("total", "content", "style", "tv")
    }
    for layer, cost in costs.style_layers.items():
        terms[f"style/{layer}"] = float(cost)
    step = int(snapshot.step)
    start = terms if step == 0 else recipe["costs"]["start"]
    return Result(
        scale=snapshot.scale,
        step=step,
        schedule=inputs.schedule,
        costs=terms,
        diverged=bool(transfer.diverged(snapshot.state)),
        record={
            **recipe,
            "scale": snapshot.scale,
            "step": step,
            "costs": {"start": start, "end": terms},
            "seconds": round(time.monotonic() - started, 3),
        },
        tensor=snapshot.image,
        alpha=inputs.alpha,
        state=snapshot.state,
    )


def engine(
    options: Options, tile: int
) -> tuple[transfer.Transfer, weights_.Weights]:
    """The network and its compiled step; the last one is kept."""
    # Two runs share an engine if they differ in nothing but these.
    own = options.replace(
        content_weight=float(options.content_weight > 0),
        style_weight=float(options.style_weight > 0),
        tv_weight=0,
        style_blend=(),
        style_scale=1,
        init="content",
        noise=None,
        noise_ratio=None,
        seed=options.seed if options.weights in ("auto", "random") else 0,
        learning_rate=None,
        steps=0,
        max_size=0,
        enlarge=False,
        scales=1,
        tile=tile or "off",
        precision=devices.precision(options.precision),
    )
    return _cached_engine(own, os.environ.get(weights_.VARIABLE))


@functools.lru_cache(maxsize=1)
def _cached_engine(
    options: Options, variable: str | None
) -> tuple[transfer.Transfer, weights_.Weights]:
    layers = options.layer_names()
    weights = weights_.load(
        options.weights, options.seed, options.network, layers
    )
    if weights.warning:
        warnings.warn(weights.warning, UserWarning, stacklevel=2)
    tile = 0 if options.tile == "off" else int(options.tile)
    network = vgg.features_model(
        weights.kernels,
        layers,
        options.pooling,
        options.precision,
        devices.transposed(options.precision, tiled=tile > 0),
    )
    workers = devices.workers() if tile else [""]
    jit = options.jit == "on" or (options.jit == "auto" and devices.is_gpu())
    built = transfer.build(
        network, options, jit, tile, workers, weights.projections
    )
    return built, weights._replace(kernels={})  # the network has them


def _digests(value) -> list[str]:
    if isinstance(value, dict):
        own = [value["sha256"]] if "sha256" in value else []
        return own + [d for item in value.values() for d in _digests(item)]
    if isinstance(value, list):
        return [d for item in value for d in _digests(item)]
    return []
