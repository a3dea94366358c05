"""The verb: pictures and options in, an iterator of results out."""

import collections
import functools
import math
import os
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from nst_tf import backend
from nst_tf.engine import coloring, transfer
from nst_tf.engine.objective import WHOLE, Places
from nst_tf.engine.transfer import Arithmetic
from nst_tf.files import record
from nst_tf.files import weights as weights_
from nst_tf.machine.plan import Plan
from nst_tf.request.options import Options
from nst_tf.stylization.inputs import Inputs, prepare
from nst_tf.stylization.result import Result

ENGINES = 2  # that are kept: 0.1 GB each


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
        warnings.warn(result.divergence(), RuntimeWarning, stacklevel=2)
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
    return Run(inputs, every, patience)


class Run(Iterator[Result]):
    """A stylisation under way: iterate for its results, stop to stop it.

    A run lets its inputs go when it starts: drop them, too, and no picture
    that was read takes memory any more.

    Args:
      inputs: of `inputs.prepare`.
      every: see `snapshots`; also several strides.
      patience: see `snapshots`.
      resume: what `record.read_checkpoint` returned.

    Attributes:
      options: what was asked for.
      plan: what it comes to here.
    """

    def __init__(
        self,
        inputs: Inputs,
        every: int | Sequence[int] | None = None,
        patience: float | None = None,
        resume: tuple[dict, list] | None = None,
    ):
        strides = [every] if isinstance(every, int) else list(every or ())
        if patience is None:
            patience = math.inf if strides else 1.0
        self._state: transfer.State | None = None
        self._recipe: dict[str, Any] = {}
        self.options, self.plan = inputs.options, inputs.plan
        self._results = self._paint(inputs, strides, patience, resume)

    def __next__(self) -> Result:
        return next(self._results)

    def save_checkpoint(self, path: str | os.PathLike) -> None:
        """Writes all that `resume` needs to go on bit for bit from here."""
        arrays = tf.nest.flatten(self._state)
        record.write_checkpoint(path, self._recipe, arrays)

    def _paint(self, inputs, strides, patience, resume) -> Iterator[Result]:
        plan, alpha, schedule = inputs.plan, inputs.alpha, inputs.plan.schedule
        transferring, weights = engine(inputs.options, plan.arithmetic)
        recipe = _recipe(inputs, weights)
        restored, begun, seconds = None, (-1, -1), 0.0
        if resume:
            past, arrays = resume
            check_same(past, recipe)
            seconds, begun = past["seconds"], (past["scale"], past["step"])
            restored = past["scale"], transferring.restore(arrays)
            recipe["costs"]["start"] = past["costs"]["start"]
            recipe["history"] = past["history"]
        snapshots = transferring.snapshots(
            _tensor(inputs.content),
            [_tensor(style) for style in inputs.styles],
            inputs.blend,
            _tensor(inputs.image),
            _numbers(inputs.options),
            lambda scale: pace(schedule[scale], strides, patience),
            plan.factors,
            restored,
            anchor=_anchor(inputs),
            history=recipe["history"],
            places=_places(inputs),
            strength=inputs.options.strength,
        )
        shown = _shown(inputs)
        inputs = resume = arrays = restored = None  # free for the steps
        started = time.monotonic() - seconds
        for snapshot in snapshots:
            image = shown(snapshot)
            result = _result(plan, alpha, snapshot, image, recipe, started)
            recipe["costs"]["start"] = result.record["costs"]["start"]
            self._state, self._recipe = snapshot.state, result.record
            seen = (result.scale, result.step) <= begun
            del snapshot, image
            if seen and not result.last:
                continue
            yield result
            if result.last:
                return


def _shown(inputs: Inputs) -> Callable[[transfer.Snapshot], tf.Tensor]:
    """From a snapshot to its picture: in its colours, in its place."""
    if inputs.photograph is None:
        return lambda snapshot: snapshot.image
    whole, factors = inputs.photograph, inputs.plan.factors
    options, mask = inputs.options, None
    if inputs.places:
        mask = _mask(inputs.places.painted)

    @functools.lru_cache(maxsize=1)  # many snapshots are of one scale
    def photograph(scale):
        return transfer.shrink(_tensor(whole), factors[scale])

    @functools.lru_cache(maxsize=1)
    def painted(scale):
        return mask if mask is None else transfer.thin(mask, factors[scale])

    def shown(snapshot):
        scale = snapshot.scale
        image = coloring.shown(snapshot.image, photograph(scale), options)
        own = painted(scale)
        if own is None:
            return image
        return own * image + (1 - own) * photograph(scale)

    return shown


def _mask(mask: np.ndarray | None) -> tf.Tensor | None:
    """`[n, h, w, 1]` of `[h, w]` or `[n, h, w]`."""
    if mask is None:
        return None
    return tf.constant(mask.reshape(-1, *mask.shape[-2:], 1))


def _places(inputs: Inputs) -> Places:
    if inputs.places is None:
        return WHOLE
    painted, regions, styles, detail = inputs.places
    parts = [_mask(part) for part in styles]
    return Places(_mask(painted), _mask(regions), parts, _mask(detail))


def _numbers(options: Options) -> transfer.Numbers:
    return transfer.Numbers(
        options.content_weight,
        options.style_weight,
        options.tv_weight,
        options.optimizer_arguments().get("learning_rate", 0.0),
        options.detail_weight,
    )


def _tensor(image: np.ndarray) -> tf.Tensor:
    """`[1, h, w, 3]`; `tf.constant` itself holds the array twice."""
    return tf.identity(tf.constant(image[None]))


def _anchor(inputs: Inputs) -> transfer.Anchor | None:
    if inputs.anchor is None:
        return None
    picture, confidence, weight, start, known = inputs.anchor
    anchor = transfer.Anchor(
        _tensor(picture), _tensor(confidence[..., None]), weight
    )
    if isinstance(start, tuple):
        return anchor
    known = _tensor(known[..., None])
    return anchor._replace(start=_tensor(start), known=known)


def _recipe(inputs: Inputs, weights: weights_.Weights) -> dict[str, Any]:
    """All that a repeat needs; costs and seconds are filled in later."""
    return {
        "options": inputs.options.to_dict(),
        "inputs": inputs.sources,
        "network": {
            "name": weights.network,
            "weights": weights.name,
            "sha256": weights.sha256,
            "precision": inputs.plan.arithmetic.precision,
        },
        "size": list(inputs.plan.size[::-1]),
        "schedule": [
            [width, height, steps]
            for height, width, steps in inputs.plan.scales
        ],
        "tile": inputs.plan.arithmetic.tile,
        "history": list(inputs.plan.history),
        "device": inputs.plan.device,
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


def _result(plan: Plan, alpha, snapshot, image, recipe, started) -> Result:
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
        schedule=plan.schedule,
        costs=terms,
        diverged=bool(transfer.diverged(snapshot.state)),
        record={
            **recipe,
            "scale": snapshot.scale,
            "step": step,
            "costs": {"start": start, "end": terms},
            "seconds": round(time.monotonic() - started, 3),
        },
        tensor=image,
        alpha=alpha,
    )


def engine(
    options: Options, arithmetic: Arithmetic
) -> tuple[transfer.Transfer, weights_.Weights]:
    """The network and its compiled step; the last two are kept."""
    backend.check()
    variable = os.environ.get(weights_.VARIABLE)
    return _engine(options.built(), arithmetic, variable)


@functools.lru_cache(ENGINES)
def _engine(
    options: Options, arithmetic: Arithmetic, variable: str | None
) -> tuple[transfer.Transfer, weights_.Weights]:
    network, weights = weights_.network(options, arithmetic)
    built = transfer.build(network, options, arithmetic, weights.projections)
    return built, weights._replace(kernels={})  # the network has them


def _digests(value) -> list[str]:
    if isinstance(value, dict):
        own = [value["sha256"]] if "sha256" in value else []
        return own + [d for item in value.values() for d in _digests(item)]
    if isinstance(value, list):
        return [d for item in value for d in _digests(item)]
    return []
