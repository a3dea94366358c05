"""Who is painting: what stops one visitor's runs and no other's."""

import contextlib
import threading
from collections.abc import Iterator

GONE = 1000  # visitors whose leaving is remembered: a queue holds fewer


class Visits:
    """The running events of each visitor, by the session's name."""

    def __init__(self) -> None:
        self._running: dict[str | None, list[threading.Event]] = {}
        self._gone: dict[str | None, None] = {}
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def run(self, visitor: str | None) -> Iterator[threading.Event]:
        """An event that `stop` sets, while the run lasts."""
        stopped = threading.Event()
        with self._lock:
            self._running.setdefault(visitor, []).append(stopped)
        try:
            yield stopped
        finally:
            with self._lock:
                self._running[visitor].remove(stopped)
                if not self._running[visitor]:
                    del self._running[visitor]

    def stop(self, visitor: str | None) -> int:
        """Stops what the visitor runs; returns how many runs that were."""
        with self._lock:
            running = list(self._running.get(visitor, []))
        for stopped in running:
            stopped.set()
        return len(running)

    def leave(self, visitor: str | None) -> None:
        """Stops what the visitor runs, and what still waits in the queue."""
        with self._lock:
            self._gone[visitor] = None
            while len(self._gone) > GONE:
                del self._gone[next(iter(self._gone))]
        self.stop(visitor)

    def come(self, visitor: str | None) -> None:
        """The visitor is there after all."""
        with self._lock:
            self._gone.pop(visitor, None)

    def gone(self, visitor: str | None) -> bool:
        """Whether the visitor left before what waited could begin."""
        return visitor in self._gone

    def stop_all(self) -> None:
        """Stops every run: the page closes."""
        with self._lock:
            every = list(self._running)
        for visitor in every:
            self.stop(visitor)

    def __len__(self) -> int:
        return sum(map(len, self._running.values()))
