"""A clip painted: the verb of a picture, once for each frame.

A frame starts from the one before, brought by optical flow to where things
are now, and is held there where the flow can be believed (Ruder, Dosovitskiy,
Brox, arXiv:1604.08610). All go from coarse to fine: what was not in sight
before is painted anew as any picture is, and in the style counts for more, or
what is there already would answer for it.
"""

import collections
import dataclasses
import hashlib
import math
import warnings
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from nst_tf.engine import coloring
from nst_tf.engine.objective import Anchor, Places
from nst_tf.files import images, record, sizes
from nst_tf.machine.plan import Plan
from nst_tf.request.networks import NETWORKS
from nst_tf.request.options import Options
from nst_tf.stylization import inputs as inputs_
from nst_tf.stylization import run
from nst_tf.stylization.inputs import Inputs
from nst_tf.stylization.result import Result
from nst_tf.video import clips, flow
from nst_tf.video.folder import Folder
from nst_tf.video.settings import Settings

NEW = 1.75  # times that a pixel counts of which nothing is known
FINEST = 0.2  # share of the steps of the finest scale, if nothing is new


class Job(NamedTuple):
    """A clip ready to be painted: checked, nothing computed.

    Fields:
      clip: the file, and which part of it.
      style: see `nst_tf.stylize`.
      settings: what holds its frames together.
      first: the inputs of the first frame.
      expected: about how many frames there are; None: unknown.
      recipe: all that decides the frames.
    """

    clip: clips.Clip
    style: Any
    settings: Settings
    first: Inputs
    expected: int | None
    recipe: dict[str, Any]


class Painted(NamedTuple):
    """A frame, or the way to it.

    Fields:
      number: of the frame, from 0.
      time: when it is shown, seconds from the first.
      image: uint8 `[h, w, 3]`.
      done: whether it is finished; until then it is the best so far.
      cut: whether it began anew, from the photograph alone.
      result: None for a frame that was there already.
    """

    number: int
    time: Fraction
    image: np.ndarray
    done: bool
    cut: bool
    result: Result | None


class _Past(NamedTuple):
    """An earlier frame.

    Fields:
      grey: what flow is estimated of.
      picture: as it was painted.
      held: what later frames are held to.
    """

    grey: np.ndarray
    picture: np.ndarray  # float32 [h, w, 3]
    held: np.ndarray


Past = Sequence[_Past]


def prepare(
    content: str, style: Any, options: Options, settings: Settings
) -> Job:
    """Reads and checks everything that a clip needs.

    Args:
      content: path of a clip that FFmpeg reads.
      style: see `nst_tf.stylize`.
      options: of each picture.
      settings: of the clip.

    Raises:
      ValueError: an option, clip or picture that cannot be used.
    """
    start = Fraction(settings.start).limit_denominator(10**6)
    end = fps = None
    if settings.duration is not None:
        end = start + Fraction(settings.duration).limit_denominator(10**6)
    if settings.fps is not None:
        fps = Fraction(settings.fps).limit_denominator(10**6)
    clip = clips.Clip(content, start, end, fps)
    flow.estimator()
    rgb = next(clips.frames(clip)).rgb
    small = images.resize(images.unit(rgb), _even(rgb.shape[:2], options))
    size = small.shape[:2]
    first = inputs_.prepare(
        small, style, options=options.replace(max_size=max(size), print=None)
    )
    # One for all frames: what memory there is may change.
    own = first.options.replace(
        tile=first.plan.arithmetic.tile or "off",
        history=min(first.plan.history, default=None),
    )
    first = dataclasses.replace(first, options=own)
    recipe = {
        "options": options.to_dict(),
        "clip": dataclasses.asdict(settings),
        "inputs": {**first.sources, "content": _identity(content)},
        "size": list(first.plan.size[::-1]),
        "versions": record.versions(),
    }
    return Job(clip, style, settings, first, clips.count(clip), recipe)


def frames(
    job: Job, kept: Folder | None = None, patience: float = math.inf
) -> Iterator[Painted]:
    """Paints the frames in order.

    Args:
      job: of `prepare`.
      kept: where finished frames are, and go.
      patience: also yield about once in so many seconds while a frame is
        being painted.

    Yields:
      `Painted`, its last one for each frame `done`. Leaving the loop stops
      the run; so does a frame whose cost diverges, which is not kept.
    """
    reach = job.settings.distances[-1]
    past: collections.deque[_Past] = collections.deque(maxlen=reach)
    for number, frame in enumerate(clips.frames(job.clip)):
        content = images.resize(images.unit(frame.rgb), job.first.plan.size)
        grey = flow.grey(content)
        moved = _moved(grey, past, job.settings.distances)
        cut = not past or flow.is_cut(grey, past[-1].grey, moved[1])
        if cut:
            past.clear()
            moved = {}
        image = kept.read(number) if kept else None
        if image is not None:
            painted = Painted(number, frame.time, image, True, cut, None)
            yield painted
        else:
            inputs = _inputs(job, content, past, moved)
            for result in run.Run(inputs, None, patience):
                painted = _painted(number, frame.time, cut, result)
                if kept:
                    _keep(painted, result, kept)
                yield painted
            if result.diverged:
                return
        # Of what a file holds: a run that goes on from files is the same.
        image = images.unit(painted.image)
        past.append(_Past(grey, image, held(image, past, moved)))


def _painted(number: int, time: Fraction, cut: bool, result) -> Painted:
    return Painted(number, time, result.image, result.last, cut, result)


def _keep(painted: Painted, result: Result, kept: Folder) -> None:
    kept.begin(result.record["network"])
    if painted.done and not result.diverged:
        kept.write(painted.number, painted.image)


def _even(size: tuple[int, int], options: Options) -> tuple[int, int]:
    """The result's size, for which H.264 wants even sides."""
    height, width = sizes.fitted(size, options)
    return max(2, height // 2 * 2), max(2, width // 2 * 2)


def _identity(path: str) -> dict[str, str]:
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"path": str(Path(path).resolve()), "sha256": digest}


def _moved(
    grey: np.ndarray,
    past: Past,
    distances: Sequence[int],
) -> dict[int, flow.Motion]:
    """How this frame came of each of the earlier ones, by distance."""
    return {
        far: flow.motion(grey, past[-far].grey)
        for far in distances
        if far <= len(past)
    }


def _inputs(
    job: Job,
    content: np.ndarray,
    past: Past,
    moved: dict[int, flow.Motion],
) -> Inputs:
    """What the verb takes to paint this frame."""
    options, settings = job.first.options, job.settings
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # told at the first
        inputs = inputs_.prepare(content, job.style, options=options)
    image = inputs.image
    nothing = np.zeros(content.shape[:2], "float32")
    known, held_to = nothing, Anchor(content, nothing, settings.temporal_weight)
    if moved:
        earlier, confidence = anchor(past, moved)
        begun, known = start(content, past, moved)
        # As a run sees pictures whose chroma it gets back at the end.
        begun, earlier = (
            np.asarray(coloring.paled(picture, options))
            for picture in (begun, earlier)
        )
        image = images.resize(begun, inputs.image.shape[:2])
        held_to = Anchor(
            earlier, confidence, settings.temporal_weight, begun, known
        )
    return dataclasses.replace(
        inputs,
        image=image,
        plan=_shortened(inputs.plan, settings, known) if moved else inputs.plan,
        places=_counted(inputs, known),
        anchor=held_to,
    )


def _shortened(plan: Plan, settings: Settings, known: np.ndarray) -> Plan:
    """Fewer steps at the finest scale, where there is a start already."""
    *coarse, (height, width, steps) = plan.scales
    if settings.frame_steps is not None:
        steps = settings.frame_steps
    else:
        share = FINEST + 1 - float(known.mean())
        steps = math.ceil(steps * min(share, 1))
    return plan._replace(scales=(*coarse, (height, width, steps)))


def _counted(inputs: Inputs, known: np.ndarray) -> Places | None:
    """What is new counts `NEW` times in the style of a frame.

    Not with masks of the user's own, nor where a network takes none.
    """
    if inputs.places or not NETWORKS[inputs.options.network].tiled:
        return inputs.places
    counts = NEW - (NEW - 1) * known
    return Places(regions=counts[None] / counts.mean())


def anchor(
    past: Past, moved: dict[int, flow.Motion]
) -> tuple[np.ndarray, np.ndarray]:
    """The earlier frames as one picture, and where it is believed.

    Several terms sum_j c_j (x - w_j)^2 have the gradient of one, of their
    weighted mean and the sum of their weights. A farther frame counts only
    where no nearer one does: c_j less those of all nearer, at least 0
    (section 4.4 of the paper).
    """
    total: Any = 0.0
    picture: Any = 0.0
    for far, one in sorted(moved.items()):
        own = np.maximum(one.believed.astype("float32") - total, 0)
        earlier = flow.warp(past[-far].held, one.flow)
        picture = picture + own[..., None] * earlier
        total = total + own
    picture = picture / np.maximum(total, 1e-6)[..., None]
    return np.clip(picture, 0, 1), total


def held(
    image: np.ndarray, past: Past, moved: dict[int, flow.Motion]
) -> np.ndarray:
    """What later frames are held to: as it came to rest, or as it is now.

    A departure from the paper, which holds each frame to the one before: what
    stands still would go on towards a lower cost with every frame, and be
    another picture after sixty. What moves by a pixel or more is held to this
    frame, for a picture warped again and again would blur.
    """
    if not moved:
        return image
    near = moved[1]
    new = np.hypot(near.flow[..., 0], near.flow[..., 1])
    new = np.where(near.believed, new.clip(0, 1), 1)[..., None]
    return new * image + (1 - new) * flow.warp(past[-1].held, near.flow)


def start(
    content: np.ndarray,
    past: Past,
    moved: dict[int, flow.Motion],
) -> tuple[np.ndarray, np.ndarray]:
    """The earlier frames where they show what is here, else the photograph.

    Also where they do, [h, w], 1 or 0.
    """
    image, known = content, np.zeros(content.shape[:2], "float32")
    for far, one in sorted(moved.items(), reverse=True):
        earlier = flow.warp(past[-far].picture, one.flow)
        image = np.where(one.visible[..., None], earlier, image)
        known = np.maximum(known, one.visible)
    return np.clip(image, 0, 1), known
