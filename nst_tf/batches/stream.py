"""A window of futures over a stream of jobs; finished jobs come out."""

import asyncio
import collections
import concurrent.futures
import dataclasses
import itertools
import uuid
from collections.abc import Iterable, Iterator
from typing import Any

from nst_tf.batches import work
from nst_tf.batches.cluster import Crew
from nst_tf.batches.jobs import Job

DEATHS = 3  # of workers, until a job is held to be why
AHEAD = 8  # jobs that the scheduler holds beyond twice what is painted at once


class Stopped(RuntimeError):
    """No further job can be done; what is finished stays."""


@dataclasses.dataclass(frozen=True)
class Finished:
    """A job that came to its end.

    Attributes:
      output: path of the picture, absolute.
      content: path of the photograph.
      styles: paths of the paintings.
      reason: why there is no picture, in one line; '' if there is one.
      painted: whether it was painted now; else it was there already.
      recipe: of the picture; None if there is none.
      notes: warnings.
      seconds: that the worker took.
      job: as it was asked for.
    """

    output: str
    content: str
    styles: tuple[str, ...]
    reason: str
    painted: bool
    recipe: dict[str, Any] | None = dataclasses.field(repr=False)
    notes: tuple[str, ...]
    seconds: float
    job: Job = dataclasses.field(repr=False)


def finished(crew: Crew, jobs: Iterable[Job]) -> Iterator[Finished]:
    """Does the jobs; yields each as it ends, in whatever order.

    Holds twice as many futures as there are workers, and a few more. A job
    that a worker died of is done again elsewhere. After the second death it
    is done alone, after all others: what dies alone with its third is why.

    Raises:
      Stopped: the disk is full, or the scheduler is gone.
    """
    window = _Window(crew)
    waiting = iter(jobs)
    deaths: dict[int, int] = collections.Counter()
    suspects: list[Job] = []
    try:
        while True:
            room = window.room()
            for job in itertools.islice(waiting, room):
                window.submit(job)
            if not window.running:
                if not suspects:
                    return
                window.submit(suspects.pop())
            for job, outcome in window.next():
                if outcome is not None:
                    yield _finished(job, outcome)
                    continue
                deaths[job.number] += 1
                if deaths[job.number] < DEATHS - 1:
                    window.submit(job)
                elif deaths[job.number] < DEATHS:
                    suspects.append(job)
                else:
                    yield _finished(job, work.Outcome(None, reason=KILLED))
    finally:
        window.close()


KILLED = (
    f"{DEATHS} workers died of it, the last of them with nothing else to do; "
    "is there memory enough? nst-tf plan tells what it takes"
)


class _Window:
    """Futures underway and the jobs they are of."""

    def __init__(self, crew: Crew):
        from distributed import as_completed

        self._crew = crew
        self._group = f"nst_tf-{uuid.uuid4().hex}"
        self._numbers = itertools.count()
        # Not with results: one that is lost on the way, and whose job then
        # kills a worker, would never come.
        self._completed = as_completed(loop=crew.client.loop)
        self.running: dict[Any, Job] = {}  # by the future's key

    def room(self) -> int:
        """How many more jobs the window takes."""
        return 2 * self._crew.threads() + AHEAD - len(self.running)

    def submit(self, job: Job) -> None:
        key = self._group, next(self._numbers)
        future = self._crew.client.submit(
            work.work, job, self._crew.seat, key=key
        )
        self.running[key] = job
        self._completed.add(future)

    def next(self) -> Iterator[tuple[Job, work.Outcome | None]]:
        """What has come to its end; None of a job whose worker died."""
        futures = self._completed.next_batch()
        try:
            outcomes = iter(self._crew.client.gather(futures))
        except (Exception, asyncio.CancelledError):  # ask each for itself
            outcomes = map(self._outcome, futures)
        for future, outcome in zip(futures, outcomes, strict=True):
            if outcome is not None and outcome.full:
                raise Stopped(f"{outcome.reason}.")
            yield self.running.pop(future.key), outcome

    def _outcome(self, future) -> work.Outcome | None:
        from distributed import KilledWorker

        try:
            return future.result()
        except KilledWorker:
            return None
        except (concurrent.futures.CancelledError, asyncio.CancelledError):
            gone = True
        except Exception as error:  # of what a worker lacks, say
            gone = self._crew.client.status != "running"
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
        if gone:
            raise Stopped(f"the scheduler at {self._crew.scheduler} is gone.")
        return work.Outcome(None, reason=reason)

    def close(self) -> None:
        self._completed.clear()
        self.running.clear()


def _finished(job: Job, outcome: work.Outcome) -> Finished:
    return Finished(
        output=job.output,
        content=job.content,
        styles=job.styles,
        reason=outcome.reason,
        painted=outcome.painted,
        recipe=outcome.recipe,
        notes=outcome.notes,
        seconds=outcome.seconds,
        job=job,
    )
