"""Who is painting: what stops one visitor's runs and no other's."""

import contextlib
import threading
from collections.abc import Iterator


class Visits:
    """The running events of each visitor, by the session's name."""

    def __init__(self) -> None:
        self._running: dict[str | None, list[threading.Event]] = {}
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

    def stop_all(self) -> None:
        """Stops every run: the page closes."""
        with self._lock:
            every = list(self._running)
        for visitor in every:
            self.stop(visitor)

    def __len__(self) -> int:
        return sum(map(len, self._running.values()))
