"""The workers: processes of this machine, or a cluster that is there."""

import contextlib
import dataclasses
import importlib.util
import logging
import os
import signal
import time
from collections.abc import Iterator
from typing import Any

from nst_tf.batches import work
from nst_tf.machine import environment
from nst_tf.request.options import Options

PATIENCE = "10s"  # for a scheduler to answer
AT_ONCE = 4  # workers started before it is known how many there should be
# Of clusters of our own; docs/scale.md says what others should set.
SETTINGS = {
    # The first death is told: `stream` counts, it knows who ran alone.
    "distributed.scheduler.allowed-failures": 0,
    # A worker has the job that it paints and no second one to lose.
    "distributed.scheduler.worker-saturation": 1.0,
    "distributed.scheduler.dashboard.status.task-stream-length": 500,
    "distributed.scheduler.dashboard.tasks.task-stream-length": 500,
    "distributed.comm.timeouts.connect": PATIENCE,
    "distributed.admin.log-length": 100,
    "distributed.admin.low-level-log-length": 100,
}


@dataclasses.dataclass
class Crew:
    """A Dask client, and what its workers may take.

    Attributes:
      client: a `distributed.Client`.
      seat: what each worker may take.
      dashboard: its address; '' if there is none.
    """

    client: Any
    seat: work.Seat
    dashboard: str = ""
    _counted: float = dataclasses.field(default=-1e9, repr=False)
    _threads: int = dataclasses.field(default=0, repr=False)

    def threads(self) -> int:
        """Jobs that are painted at once; clusters grow and shrink."""
        if time.monotonic() - self._counted > 2:
            self._threads = sum(self.client.nthreads().values())
            self._counted = time.monotonic()
        return self._threads

    @property
    def scheduler(self) -> str:
        """Its address."""
        return self.client.scheduler.address


def check(workers: str | int = "auto") -> int | None:
    """How many workers were asked for, None for auto; ValueError if wrong."""
    if importlib.util.find_spec("distributed") is None:
        raise ValueError("`batch` needs Dask: pip install 'dask[distributed]'.")
    if workers == "auto":
        return None
    try:
        number = int(workers)
        if number != float(workers) or not 1 <= number <= 10_000:
            raise ValueError
    except (TypeError, ValueError):
        raise ValueError(
            "`workers` should be auto or a whole number from 1; received "
            f'"{workers}".'
        ) from None
    return number


@contextlib.contextmanager
def opened(
    jobs: int,
    sample: tuple[tuple[int, int], Options],
    workers: str | int = "auto",
    scheduler: str | None = None,
    device: str = "auto",
) -> Iterator[Crew]:
    """A crew for so many jobs; its processes are gone when it closes.

    Args:
      jobs: how many there are to do.
      sample: size `(height, width)` and options of a large one.
      workers: "auto" or how many processes, here.
      scheduler: address of a cluster that is there, instead.
      device: auto or cpu.
    """
    import dask
    import distributed  # noqa: F401  # its own settings, before ours

    count = check(workers)
    with dask.config.set(SETTINGS):
        if scheduler:
            with _joined(scheduler, device) as crew:
                yield crew
        else:
            with _local(jobs, sample, count, device) as crew:
                yield crew


@contextlib.contextmanager
def _joined(scheduler: str, device: str) -> Iterator[Crew]:
    from distributed import Client

    try:
        client = Client(scheduler, timeout=PATIENCE, set_as_default=False)
    except (OSError, ValueError) as error:
        raise ValueError(
            f'`scheduler`: none answers at "{scheduler}" ({_first(error)}). '
            "Give the address it printed, as tcp://host:8786."
        ) from None
    try:
        _check_versions(client, scheduler)
        yield Crew(client, work.Seat(None, device), client.dashboard_link)
    finally:
        client.close(timeout=2)


def _check_versions(client, scheduler: str) -> None:
    """ValueError if a worker that is there has another nst_tf, or none."""
    if not client.nthreads():  # they come when there is work, perhaps
        return
    own = work.version()
    try:
        theirs = client.submit(work.version, pure=False).result()
    except Exception as error:  # whatever their Python says
        theirs = _first(error)
    if theirs != own:
        raise ValueError(
            f'`scheduler`: the workers of "{scheduler}" have nst_tf {theirs}; '
            f"expected {own}. Install the same one there."
        )


@contextlib.contextmanager
def _local(jobs, sample, count, device) -> Iterator[Crew]:
    from distributed import Client, LocalCluster

    environment.prepare()  # what a worker finds when it loads TensorFlow
    cores = _cores()
    started = min(count or min(cores, AT_ONCE), jobs)
    cluster = LocalCluster(
        n_workers=started,
        threads_per_worker=1,
        processes=True,
        host="127.0.0.1",
        dashboard_address="127.0.0.1:0",
        memory_limit=0,  # the plan of memory is ours
        silence_logs=logging.CRITICAL,
    )
    client = None
    try:
        client = Client(cluster, set_as_default=False)
        gpus = 0
        if count is None or device != "cpu":
            planned = client.submit(work.plan, *sample, pure=False).result()
            gpus = 0 if device == "cpu" else planned.gpus
            count = count or gpus or min(cores, planned.fitting)
        count = min(count, jobs)
        if count != started:
            cluster.scale(count)
        threads = max(1, cores // count)
        own = "own" if gpus else "cpu"
        dashboard = ""
        if importlib.util.find_spec("bokeh"):
            dashboard = client.dashboard_link
        yield Crew(client, work.Seat(threads, own), dashboard)
    finally:
        for nanny in cluster.workers.values():
            _drop(nanny)
        if client:
            client.close(timeout=2)
        cluster.close()


def _drop(nanny) -> None:
    """Ends a worker at once: what it paints is not waited for."""
    nanny.close_gracefully()  # it starts no other
    with contextlib.suppress(OSError):
        if nanny.pid:
            os.kill(nanny.pid, getattr(signal, "SIGKILL", signal.SIGTERM))


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _first(error: BaseException) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
