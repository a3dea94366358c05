"""One device, one picture at a time: the others wait in a line."""

import sys
import threading
import traceback
import warnings
from collections import deque
from collections.abc import Iterator, Mapping

from nst_tf.page import folder, painting
from nst_tf.page.visits import Visitor

PATIENCE = 0.25  # seconds between two looks at a job


class Job:
    """A picture that is asked for: waits, is painted, has ended.

    Attributes:
      visitor: whose it is.
      moment: what there is to tell; None while it waits.
      remarks: what the visitor should know of the pictures given.
      painted: the picture; None before the end, and where there is none.
      problem: why there is none.
      stopped, ended: events.
    """

    def __init__(
        self,
        visitor: Visitor,
        wish: painting.Wish,
        animated: bool = False,
        kinds: Mapping[str, tuple[str, int]] = painting.KINDS,
    ):
        self.visitor = visitor
        self.moment: painting.Moment | None = None
        self.remarks: list[str] = []
        self.painted: painting.Painted | None = None
        self.problem = ""
        self.stopped, self.ended = threading.Event(), threading.Event()
        self._wish, self._kinds = wish, kinds
        self._frames: list | None = [] if animated else None

    def moments(self) -> Iterator[painting.Moment]:
        """What there is to tell, as it comes, until the end."""
        told = None
        while not self.ended.wait(PATIENCE):
            if self.moment is not None and self.moment is not told:
                told = self.moment
                yield told

    def paint(self) -> None:
        """Paints, unless it was stopped or given up while it waited."""
        try:
            if not self.stopped.is_set() and not self.visitor.away():
                self._paint()
        except (ValueError, OSError) as error:
            self.problem = str(error)
        except Exception as error:  # nobody's fault but ours: the page lives on
            traceback.print_exc(file=sys.stderr)
            self.problem = (
                f"This should not happen: {type(error).__name__}. {error}"
            )
        finally:
            self.ended.set()

    def _paint(self) -> None:
        self.moment = painting.Moment("Reading the pictures …")
        with warnings.catch_warnings(record=True) as heard:
            warnings.simplefilter("always")
            inputs = self._wish.prepare()
        self.remarks = [
            str(one.message) for one in heard if one.category is UserWarning
        ]
        result = None
        for moment in painting.follow(inputs, self.stopped, self._frames):
            self.moment, result = moment, moment.result
            if self.visitor.away():
                self.stopped.set()
        self.moment = painting.saving(self.moment)
        if result is not None:
            self.painted = painting.finish(
                result, inputs, self._wish, self._frames, self._kinds
            )
            self.visitor.keep(self.painted)
        folder.sweep()


class Line:
    """Who paints and who waits."""

    def __init__(self, most: int):
        self._most = most
        self._waiting: deque[Job] = deque()
        self._now: Job | None = None
        self._closed = False
        self._changed = threading.Condition()
        threading.Thread(target=self._work, daemon=True).start()

    def join(self, job: Job) -> None:
        """Puts a job at the end; ValueError where too many wait."""
        with self._changed:
            self._waiting = deque(
                one for one in self._waiting if not one.stopped.is_set()
            )
            if len(self._waiting) >= self._most:
                raise ValueError(
                    f"{self._most} pictures wait to be painted, and no more "
                    "can. Try again in a while."
                )
            job.visitor.jobs = [*job.visitor.running(), job]
            self._waiting.append(job)
            self._changed.notify()

    def before(self, job: Job) -> tuple[int, float | None]:
        """How many are before it; seconds left of what is painted now."""
        with self._changed:
            waiting = [one for one in self._waiting if not one.stopped.is_set()]
            now = self._now
        place = waiting.index(job) if job in waiting else 0
        left = now.moment.left if now is not None and now.moment else None
        return place + (now is not None), left

    def close(self) -> None:
        """Stops every run, and begins no other."""
        with self._changed:
            every = [*self._waiting, *([self._now] if self._now else [])]
            self._closed = True
            self._changed.notify()
        for job in every:
            job.stopped.set()

    def _work(self) -> None:
        while True:
            with self._changed:
                self._now = None
                self._changed.wait_for(lambda: self._waiting or self._closed)
                if self._closed:
                    return
                self._now = self._waiting.popleft()
            self._now.paint()
