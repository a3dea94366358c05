"""What decides a clip beyond the options of its pictures, in one table.

Standard library only; flags and help derive from the fields, as they do from
those of `Options`.
"""

import dataclasses
import functools

from nst_tf.request.values import option, validate

MOST_EARLIER = 6


_setting = functools.partial(option, "clip")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """Which part of a clip is painted, and what holds its frames together.

    Raises:
      ValueError: with the setting in backticks, what was expected and what
        was received.
    """

    temporal_weight: float = _setting(
        100.0,
        "weight of the difference to the frame before, brought to where "
        "things have moved; 0: nothing holds a frame but its start",
        0,
        first=True,
    )
    earlier: int = _setting(
        1,
        "how many frames hold one: those 1, 2, 4, 8, ... before it; a farther "
        "one only where no nearer one shows what is there",
        1,
        MOST_EARLIER,
    )
    frame_steps: int | None = _setting(
        None,
        "steps at the finest scale of a frame that starts from the one before; "
        "by default a fifth of a picture's, and the more, the more is new",
        0,
        10**7,
    )
    start: float = _setting(0.0, "where in the clip to begin, seconds", 0)
    duration: float | None = _setting(
        None,
        "how much of it to paint, seconds; the rest by default",
        0.001,
        first=True,
    )
    fps: float | None = _setting(
        None,
        "frames a second at most; all of them by default",
        0.001,
        1000,
        first=True,
    )

    def __post_init__(self):
        validate(self)

    @property
    def distances(self) -> list[int]:
        """How many frames before this one those are that hold it."""
        return [2**k for k in range(self.earlier)]
