"""What a worker does with one job. TensorFlow loads with the first."""

import collections
import contextlib
import dataclasses
import errno
import functools
import hashlib
import json
import math
import os
import threading
import time
import warnings
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from nst_tf.batches.jobs import Job
from nst_tf.files import encoding, images, record
from nst_tf.machine import environment
from nst_tf.request.options import Options

THUMBNAIL = 320  # pixels, long side
# Nothing more can be written, by nobody.
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)
_one_at_a_time = threading.Lock()  # an engine is one thread's


class Seat(NamedTuple):
    """What a worker may take."""

    threads: int | None  # of TensorFlow; None: its own choice
    device: str  # as in --device; "own": the worker's number is its GPU's
    thumbnails: bool = True


class Outcome(NamedTuple):
    """What became of a job."""

    recipe: dict[str, Any] | None  # of the output; None: there is none
    painted: bool = False  # now, not before
    reason: str = ""  # why there is no output
    full: bool = False  # nor will there be any other
    notes: tuple[str, ...] = ()
    seconds: float = 0.0


def work(job: Job, seat: Seat) -> Outcome:
    """Paints a job unless it is done; a failure is an outcome, too."""
    started = time.monotonic()
    with _one_at_a_time, warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always", UserWarning)
        try:
            outcome = _attempt(job, seat)
        except OSError as error:
            outcome = Outcome(
                None, reason=_line(error), full=error.errno in FULL
            )
        except ValueError as error:
            outcome = Outcome(None, reason=_line(error))
        except Exception as error:  # a job that fails stops no other
            kind = type(error).__name__
            outcome = Outcome(None, reason=f"{kind}: {_line(error)}")
    notes = {
        str(warning.message)
        for warning in heard
        if issubclass(warning.category, UserWarning)
    }
    return outcome._replace(
        notes=tuple(sorted(notes)), seconds=time.monotonic() - started
    )


def key(
    options: Mapping[str, Any], inputs: Mapping[str, Any], weights: str
) -> str:
    """What a picture is made of, in one sha256.

    Of what a path names only the contents count: a moved batch is the same.

    Args:
      options: of `Options.to_dict`.
      inputs: paths and digests, as in a recipe.
      weights: their sha256.
    """
    digests: dict[str, Any] = {}
    for name, given in inputs.items():
        if isinstance(given, list):
            digests[name] = [one and one["sha256"] for one in given]
        elif given:
            digests[name] = given["sha256"]
    styles = digests.pop("styles")
    counted = {
        name: value
        for name, value in options.items()
        if name not in digests and name != "weights"
    }
    text = json.dumps([counted, digests, styles, weights], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _attempt(job: Job, seat: Seat) -> Outcome:
    recipe, painted = finished(job, seat), False
    if recipe is None:
        result = paint(job, seat)
        if result.diverged:
            return Outcome(None, reason=result.divergence())
        network = result.record["network"]["sha256"]
        own = key(result.record["options"], result.record["inputs"], network)
        recipe, painted = {**result.record, "key": own}, True
        result = dataclasses.replace(result, record=recipe)
        data = result.encoded(encoding.check_suffix(job.name))
        if finished(job, seat) is None:  # by a worker that was thought dead
            record.write(job.output, data)
    if seat.thumbnails:
        with contextlib.suppress(OSError):  # the picture itself is there
            _shrink(job, painted)
    return Outcome(recipe, painted)


def finished(job: Job, seat: Seat) -> dict[str, Any] | None:
    """The recipe of the output there is, if it is this job's."""
    if not os.path.isfile(job.output):
        return None
    try:
        recipe = record.read_recipe(job.output)
        weights = recipe["network"]["sha256"]
        present = key(job.options.to_dict(), _inputs(job), weights)
    except (ValueError, KeyError, OSError):
        return None
    if recipe.get("key") != present:
        return None
    # Last, for they have to be loaded to be known.
    return recipe if weights == weights_digest(job.options, seat) else None


def weights_digest(options: Options, seat: Seat) -> str:
    """sha256 of the weights that the options ask for here."""
    ready(seat)
    return _weights(
        options.weights, options.seed, options.network, *options.layer_names()
    )


@functools.lru_cache(maxsize=8)
def _weights(spec: str, seed: int, network: str, *layers: str) -> str:
    from nst_tf.files import weights

    return weights.load(spec, seed, network, layers).sha256


def paint(job: Job, seat: Seat):
    """The last `run.Result` of a job."""
    ready(seat)
    import tensorflow as tf

    from nst_tf.machine import memory
    from nst_tf.stylization import inputs, run

    prepared = inputs.prepare(
        job.content, list(job.styles), options=job.options
    )
    try:
        results = run.Run(prepared, patience=math.inf)
        return collections.deque(results, maxlen=1).pop()
    except (tf.errors.ResourceExhaustedError, MemoryError):
        raise ValueError(
            memory.out_of_memory(
                prepared.plan.size, job.options, prepared.plan.arithmetic.tile
            )
        ) from None


@functools.lru_cache(maxsize=1)
def ready(seat: Seat) -> None:
    """Loads TensorFlow and gives it its share of the machine."""
    environment.prepare()
    with environment.loading():
        import tensorflow as tf

        from nst_tf.machine import devices
    tf.get_logger().setLevel("ERROR")
    device = seat.device
    if device == "own":
        device = _own_device(len(tf.config.list_physical_devices("GPU")))
    devices.select(device)
    if seat.threads:
        tf.config.threading.set_intra_op_parallelism_threads(seat.threads)
        tf.config.threading.set_inter_op_parallelism_threads(seat.threads)


def version() -> str:
    """Of nst_tf, as installed here."""
    return record.versions().get("nst_tf", "that is not installed")


class Plan(NamedTuple):
    """What a machine has room for."""

    gpus: int
    fitting: int  # runs at once, by memory


def plan(size: tuple[int, int], options: Options) -> Plan:
    """What this worker's machine has room for, in runs to `(height, width)`."""
    environment.prepare()
    with environment.loading():
        import tensorflow as tf

        from nst_tf.machine import devices, memory

    gpus = len(tf.config.list_physical_devices("GPU"))
    available = devices.available_memory()
    peak = memory.peak(size, options, 0)
    fitting = int(memory.SHARE * (available or peak) / peak)
    return Plan(gpus, max(1, fitting))


def _own_device(gpus: int) -> str:
    from distributed import get_worker

    return f"gpu:{int(get_worker().name) % gpus}" if gpus else "cpu"


def _inputs(job: Job) -> dict[str, Any]:
    """The digests of a job's inputs, as in a recipe."""
    digests: dict[str, Any] = {
        "content": {"sha256": _digest(job.content)},
        "styles": [{"sha256": _digest(style)} for style in job.styles],
    }
    for name, value in job.options.pictures().items():
        if isinstance(value, tuple):
            digests[name] = [p and {"sha256": _digest(p)} for p in value]
        else:
            digests[name] = {"sha256": _digest(value)}
    return digests


def _digest(path: str) -> str:
    about = os.stat(path)
    return _digest_of(path, about.st_mtime_ns, about.st_size)


@functools.lru_cache(maxsize=256)
def _digest_of(path: str, _time: int, _size: int) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _shrink(job: Job, anew: bool) -> None:
    """The picture of the index."""
    path = os.path.join(job.folder, job.thumbnail)
    if os.path.isfile(path) and not anew:
        return
    fitted = functools.partial(images.fit, max_size=THUMBNAIL)
    picture = images.read(job.output, "output", fitted)
    small = images.resize(picture.rgb, fitted(picture.size))
    record.write(path, encoding.encode(small, ".webp"))


def _line(error: BaseException) -> str:
    lines: Iterator[str] = iter(str(error).splitlines())
    return next(lines, "").strip() or type(error).__name__
