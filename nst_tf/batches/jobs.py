"""What a batch is to paint: patterns or a manifest in, a stream of jobs out.

Nothing here loads TensorFlow, and no list of all jobs is kept.
"""

import array
import contextlib
import dataclasses
import functools
import hashlib
import itertools
import os
import string
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from nst_tf.batches import sources
from nst_tf.files import encoding, images, sizes
from nst_tf.request.options import Options
from nst_tf.request.values import suggest

BLOCK = 512  # jobs that are put in order at once
NAME = "{content}_{style}.png"
THUMBNAILS = "thumbnails"  # the folder of the index, inside the output's
FIELDS = ("content", "style", "number")


class Job(NamedTuple):
    """One picture to paint."""

    number: int  # in the batch's own order, from 1
    content: str  # absolute path
    styles: tuple[str, ...]
    options: Options
    folder: str
    name: str  # of the output, within the folder

    @property
    def output(self) -> str:
        """Where the picture goes."""
        return os.path.join(self.folder, self.name)

    @property
    def thumbnail(self) -> str:
        """Where the index finds it small, within the folder."""
        return f"{THUMBNAILS}/{self.name}.webp"


@dataclasses.dataclass(frozen=True)
class Jobs:
    """All jobs of a batch; each iteration reads their source anew.

    Args:
      rows: what is to be painted.
      folder: of the outputs.
      name: template of the outputs' names.
    """

    rows: Iterable[sources.Row]
    folder: Path
    name: str = NAME

    def __iter__(self) -> Iterator[Job]:
        folder = str(self.folder.resolve())
        for number, row in enumerate(self.rows, 1):
            name = _name(self.name, number, row)
            yield Job(
                number, row.content, row.styles, row.options, folder, name
            )

    def check(self) -> int:
        """How many there are; ValueError if any of them cannot be started.

        Reads every row. Two outputs of one name are refused, as is an output
        that is an input. Keeps eight bytes a job, not the jobs.
        """
        _check_template(self.name)
        outputs, inputs = array.array("Q"), array.array("Q")
        for job in self:
            if job.name.startswith(("/", "../", THUMBNAILS + "/")):
                raise ValueError(
                    f'`name`: "{job.name}" is outside the output\'s folder, or '
                    f"in its {THUMBNAILS}. Choose another template."
                )
            outputs.append(_digest(job.output))
            read = job.content, *job.styles, *job.options.picture_paths()
            inputs.extend(_resolved(path) for path in read)
        if not outputs:
            raise ValueError("`manifest` holds no job. Give it a row or more.")
        found, counts = np.unique(outputs, return_counts=True)
        overwritten = np.intersect1d(found, np.unique(inputs))
        self._refuse(set(found[counts > 1].tolist()), set(overwritten.tolist()))
        return len(outputs)

    def _refuse(self, twice: set[int], overwritten: set[int]) -> None:
        if not twice and not overwritten:
            return
        first: dict[str, Job] = {}
        for job in self:
            digest = _digest(job.output)
            if digest in overwritten:
                raise ValueError(
                    f'`name`: "{job.output}" is one of the inputs, and they '
                    "are never overwritten. Choose another folder or template."
                )
            folded = job.name.casefold()
            if digest in twice and folded in first:
                raise ValueError(
                    f"`name`: jobs {first[folded].number} and {job.number} "
                    f'would both be "{job.name}". Tell them apart by '
                    "{content}, {style}, {number} or an option, as in "
                    "--name='{content}_{style}_{seed}.png'."
                )
            if digest in twice:
                first[folded] = job


def ordered(jobs: Iterable[Job], block: int = BLOCK) -> Iterator[Job]:
    """The jobs, those of one network, painting and size after each other.

    Sorts `block` of them at a time: what comes first is not kept waiting by
    what comes last, and memory stays bounded.
    """
    waiting = iter(jobs)
    while batch := list(itertools.islice(waiting, block)):
        yield from sorted(batch, key=_likeness)


def size(job: Job) -> tuple[int, int]:
    """Height and width of the result, pixels; (0, 0) if that is not known."""
    with contextlib.suppress(ValueError, OSError):
        return sizes.fitted(_measured(job.content), job.options)
    return 0, 0


def _likeness(job: Job):
    return _fingerprint(job.options), job.styles, size(job)


@functools.lru_cache(maxsize=256)
def _fingerprint(options: Options) -> str:
    return options.fingerprint()


@functools.lru_cache(maxsize=4096)
def _measured(path: str) -> tuple[int, int]:
    return images.size(path)


@functools.lru_cache(maxsize=4096)
def _resolved(path: str) -> int:
    return _digest(os.path.realpath(path))


def _digest(path: str) -> int:
    """64 bits of a path; there are file systems to which A.png is a.png."""
    whole = path.casefold().encode("utf-8", "surrogatepass")
    digest = hashlib.blake2b(whole, digest_size=8)
    return int.from_bytes(digest.digest())


def _name(template: str, number: int, row: sources.Row) -> str:
    values = {
        **_values(row.options),
        "content": Path(row.content).stem,
        "style": "+".join(Path(style).stem for style in row.styles),
        "number": number,
    }
    return os.path.normpath(template.format_map(values))


@functools.lru_cache(maxsize=256)
def _values(options: Options) -> dict:
    return {
        field.name: getattr(options, field.name)
        for field in dataclasses.fields(options)
    }


def _check_template(template: str) -> None:
    """ValueError where a template could not name a picture."""
    known: Sequence[str] = [*FIELDS, *_values(Options())]
    encoding.check_suffix(template, "name")
    try:
        fields = [part[1] for part in string.Formatter().parse(template)]
    except ValueError as error:
        raise ValueError(f"`name`: {error}; received {template!r}.") from None
    for field in fields:
        if field is not None and field not in known:
            raise ValueError(
                f"`name`: {{{field}}} should be {{content}}, {{style}}, "
                "{number} or an option." + suggest(field, known)
            )
