"""`nst_tf.batch`: many pictures, each exactly once."""

import contextlib
import dataclasses
import itertools
import os
from collections.abc import Iterator
from pathlib import Path

from nst_tf.batches import cluster, jobs, sources, stream
from nst_tf.batches.failures import FILE, Failures
from nst_tf.batches.index import Index
from nst_tf.files import record
from nst_tf.request.options import Options

Finished = stream.Finished


@dataclasses.dataclass(frozen=True)
class Order:
    """A batch that has been checked; to iterate over it is to do it.

    Attributes:
      jobs: what is to be painted.
      total: how many they are.
      folder: where the pictures go.
      index: whether pages of thumbnails are made.
      machines: workers, scheduler and device, as `batch` takes them.
    """

    jobs: jobs.Jobs
    total: int
    folder: Path
    index: bool
    machines: tuple[str | int, str | None, str]

    def __iter__(self) -> Iterator[Finished]:
        with self.crew() as crew:
            yield from self.finished(crew)

    @contextlib.contextmanager
    def crew(self) -> Iterator[cluster.Crew]:
        """The workers for it; see `cluster.opened`."""
        first = itertools.islice(self.jobs, jobs.BLOCK)
        largest = max(first, key=lambda job: _pixels(jobs.size(job)))
        sample = jobs.size(largest), largest.options
        with cluster.opened(self.total, sample, *self.machines) as crew:
            seat = crew.seat._replace(thumbnails=self.index)
            yield dataclasses.replace(crew, seat=seat)

    def finished(self, crew: cluster.Crew) -> Iterator[Finished]:
        """Does it; yields each job at its end, and keeps the books.

        Raises:
          stream.Stopped: the disk is full, or the scheduler is gone.
        """
        books: list = [Failures(self.folder)]
        books += [Index(self.folder)] if self.index else []
        try:
            for one in stream.finished(crew, jobs.ordered(self.jobs)):
                for book in books:
                    book.take(one)
                yield one
        finally:
            with contextlib.suppress(OSError):  # the disk is full, say
                for book in books:
                    book.write()


def batch(
    *,
    content: sources.Patterns | None = None,
    style: sources.Patterns | None = None,
    manifest: str | os.PathLike | None = None,
    output: str | os.PathLike = "painted",
    name: str = jobs.NAME,
    pair: str = "product",
    index: bool = True,
    workers: str | int = "auto",
    scheduler: str | None = None,
    device: str = "auto",
    options: Options | None = None,
    **overrides,
) -> Order:
    """Paints many photographs in the manner of many paintings, on Dask.

    What is there already, painted with the same options of the same inputs
    by the same weights, is not painted again: the same call goes on where a
    stopped one ended. In a script call it under `if __name__ == "__main__":`,
    for the workers are processes that import the script.

    Args:
      content: a pattern, folder or path of photographs, or several.
      style: the same of paintings.
      manifest: instead of both, a .csv or .jsonl file, a job a row: columns
        `content`, `style` and any options, paths relative to its folder.
      output: the folder of the pictures, of failures.csv and index.html.
      name: template of their names, of {content}, {style}, {number} and any
        option.
      pair: `product`, every photograph with every painting, or `zip`.
      index: make pages of thumbnails.
      workers: how many processes of this machine; `auto`: one per GPU, or as
        many as cores and memory allow.
      scheduler: address of a Dask cluster to use instead.
      device: auto or cpu.
      options: an `Options`; defaults otherwise.
      **overrides: single options by name, e.g. `steps=300`.

    Returns:
      An iterable; nothing is painted before its loop. It yields a `Finished`
      for each job at its end: `.output`, `.reason` if it failed, `.recipe`.
      Leaving the loop stops the batch.

    Raises:
      ValueError: before the start, what cannot be done as it was asked for.
      Stopped: the disk is full, or the scheduler is gone.
    """
    cluster.check(workers)
    if device not in ("auto", "cpu"):
        raise ValueError(
            f'`device` should be auto or cpu; received "{device}". Which GPUs '
            "a batch uses CUDA_VISIBLE_DEVICES says."
        )
    options = (options or Options()).replace(**overrides)
    rows = _rows(content, style, manifest, Path(output), pair, options)
    for own in (FILE, "index.html"):  # which it writes
        read = () if manifest is None else (manifest,)
        record.check_path(Path(output) / own, "output", (), read)
    asked = jobs.Jobs(rows, Path(output), name)
    machines = workers, scheduler, device
    return Order(asked, asked.check(), Path(output), index, machines)


def _rows(
    content, style, manifest, folder: Path, pair: str, options: Options
) -> sources.Pairs | sources.Manifest:
    options = sources.absolute(options, os.getcwd())
    if manifest is None:
        for argument, given in (("content", content), ("style", style)):
            if not given:
                raise ValueError(
                    f"`{argument}` is missing. Give a pattern, as in "
                    f"--{argument}='{argument}s/*.jpg', or --manifest."
                )
        return sources.Pairs(
            sources.files(content, "content", folder),
            sources.files(style, "style", folder),
            options,
            pair,
        )
    if content is not None or style is not None:
        raise ValueError(
            "`manifest` names photographs and paintings. Leave `content` "
            "and `style` out, or the manifest."
        )
    return sources.Manifest(Path(manifest), options)


def _pixels(size: tuple[int, int]) -> int:
    return size[0] * size[1]
