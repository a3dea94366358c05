"""Who is here: a browser, by a token that it keeps, and what is theirs."""

import json
import threading
import time
from collections.abc import Mapping
from typing import Any

from nst_tf.page import folder

GRACE = 60.0  # seconds that a run outlives its visitor's last tab
MOST = 200  # visitors that are remembered
KEPT = 24  # pictures of a visitor
FORM = 500_000  # letters of a form that is remembered


class Visitor:
    """One browser, or one program.

    Attributes:
      pictures: finished, the newest last.
      filled: what was last in the form, by the place of its component.
      jobs: what was asked for, see `line.Job`, the newest last.
    """

    def __init__(self) -> None:
        self.pictures: list[Any] = []
        self.filled: dict[int, Any] = {}
        self.jobs: list[Any] = []
        self.sessions: set[str | None] = set()
        self.left = time.monotonic()

    def away(self) -> bool:
        """Whether no tab is open, and none was for a while."""
        return not self.sessions and time.monotonic() - self.left > GRACE

    def running(self) -> list[Any]:
        """What is painted for them, and what waits."""
        return [job for job in self.jobs if not job.ended.is_set()]

    def keep(self, painted: Any) -> None:
        """One more picture; the oldest goes."""
        self.pictures = [*self.pictures, painted][-KEPT:]

    def fill(self, values: Mapping[int, Any]) -> None:
        """Remembers what is in the form, unless it is a flood."""
        if len(json.dumps({**self.filled, **values})) <= FORM:
            self.filled.update(values)

    def stop(self) -> int:
        """Stops what runs and what waits; how many that were."""
        running = self.running()
        for job in running:
            job.stopped.set()
            if job.moment is None:  # it never begins
                job.ended.set()
        return len(running)


class Visits:
    """The visitors, by token."""

    def __init__(self) -> None:
        self._visitors: dict[str | None, Visitor] = {}
        self._lock = threading.Lock()

    def come(self, token: str | None, session: str | None) -> Visitor | None:
        """A tab of theirs is open; None where nobody has that token."""
        with self._lock:
            visitor = self._visitors.get(token)
            if visitor is not None:
                visitor.sessions.add(session)
        return visitor

    def welcome(self, token: str, session: str | None) -> Visitor:
        """A tab of theirs is open; somebody new where nobody has the token."""
        with self._lock:
            if token not in self._visitors:
                self._forget()
                self._visitors[token] = Visitor()
            self._visitors[token].sessions.add(session)
            return self._visitors[token]

    def greet(self, token: str, session: str) -> None:
        """Somebody new gets a token; a click may have come before it."""
        visitor = self.welcome(session, session)
        with self._lock:
            self._visitors[token] = visitor

    def leave(self, session: str | None) -> None:
        """A tab was closed."""
        with self._lock:
            for visitor in self._visitors.values():
                if session in visitor.sessions:
                    visitor.sessions.discard(session)
                    visitor.left = time.monotonic()

    def end(self, token: str | None) -> None:
        """A program's visit is over, unless more of it runs."""
        with self._lock:
            visitor = self._visitors.get(token)
            if visitor is not None and not visitor.running():
                del self._visitors[token]

    def __len__(self) -> int:
        return len(self._visitors)

    def _forget(self) -> None:
        """Whose time is over; and the oldest, where there are too many."""
        idle = [t for t, one in self._visitors.items() if not one.running()]
        idle.sort(key=lambda token: self._visitors[token].left)
        since = time.monotonic() - folder.AGE
        for token in idle:
            old = self._visitors[token]
            gone = not old.sessions and old.left < since
            if gone or len(self._visitors) >= MOST:
                del self._visitors[token]
