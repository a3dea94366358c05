"""The files that a run is asked for: checked at once, filled as it goes."""

import functools
import math
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nst_tf.files import encoding, images, record

if TYPE_CHECKING:
    from nst_tf.stylization.result import Result
    from nst_tf.stylization.run import Run

FRAMES = 60  # of an animation, when --every does not say
SHEET = 8  # pictures of a progression, when --every does not say
THUMBNAIL = 480  # pixels, long side of a picture on the sheet


class Writers:
    """The files asked for: checked at once, filled while the run goes on."""

    def __init__(self, typed: dict[str, Any], inputs: list):
        self._paths = {
            name: typed[name]
            for name in (
                "output",
                "record",
                "costs",
                "plot",
                "animation",
                "progression",
                "checkpoint",
            )
            if typed[name]
        }
        self._every = _whole(typed, "every", 1, 10**7)
        known = [path for path in [*inputs, typed["from"]] if path]
        self._check(known)
        self._width = _whole(typed, "animation_width", 16, 4096)
        self._depth = encoding.check_depth(
            _whole(typed, "depth", 8, 16),
            encoding.check_suffix(typed["output"]),
        )
        self._rate = _number(typed, "frame_rate", 0.1, 60)
        self._saves = _Due(typed["checkpoint_every"])
        self._frame_stride = self._sheet_stride = self._every
        self._rows: list[dict[str, float]] = []
        self._frames: list[np.ndarray] = []
        self._sheet: list[tuple[str, np.ndarray]] = []

    def strides(self, total: int) -> list[int]:
        """Steps between which a run of so many has to report."""
        self._frame_stride = self._every or math.ceil(max(1, total) / FRAMES)
        self._sheet_stride = self._every or math.ceil(max(1, total) / SHEET)
        strides = [self._every] if self._every else []
        if {"costs", "plot"} & set(self._paths):
            strides.append(1)
        if "animation" in self._paths:
            strides.append(self._frame_stride)
        if "progression" in self._paths:
            strides.append(self._sheet_stride)
        if "checkpoint" in self._paths and self._saves.steps:
            strides.append(self._saves.steps)
        return strides

    def take(self, result: "Result", run: "Run") -> None:
        """Keeps and writes what this result is due for."""
        if {"costs", "plot"} & set(self._paths):
            row = {"scale": result.scale, "step": result.count}
            self._rows.append({**row, **result.costs})
        ended = result.step == result.steps
        if "checkpoint" in self._paths and self._saves.due(result.count):
            run.save_checkpoint(self._paths["checkpoint"])
        if result.scale and not result.step:  # seen already, smaller
            return
        if "animation" in self._paths:
            if ended or result.step % self._frame_stride == 0:
                self._frames.append(_fitted(result.image, self._width))
        if "progression" in self._paths:
            if ended or result.step % self._sheet_stride == 0:
                picture = _fitted(result.image, THUMBNAIL)
                self._sheet.append((f"step {result.count}", picture))
        if self._every and (ended or result.step % self._every == 0):
            output = Path(self._paths["output"])
            name = f"{output.stem}_{result.count:06d}{output.suffix}"
            result.save(output.with_name(name), depth=self._depth)

    def finish(
        self, result: "Result", run: "Run"
    ) -> Iterator[tuple[str, Callable[[], object]]]:
        """Every file that waited for the end, and what writes it."""
        text = record.to_json(result.record)
        writes = {
            "output": lambda to: result.save(to, depth=self._depth),
            "checkpoint": run.save_checkpoint,
            "record": lambda to: record.write_recipe(to, result.record),
            "costs": lambda to: record.write_costs(to, self._rows),
            "plot": lambda to: record.write_plot(to, self._rows),
            "animation": lambda to: self._animate(to, result, text),
            "progression": lambda to: self._lay_out(to, result, text),
        }
        for name, write in writes.items():
            if name in self._paths:
                path = self._paths[name]
                yield path, functools.partial(write, path)

    def _animate(self, path: str, result: "Result", recipe: str) -> None:
        frames = self._frames or [_fitted(result.image, self._width)]
        size, suffix = frames[-1].shape[:2], Path(path).suffix.lower()
        alike = [_resized(frame, size) for frame in frames]
        data = encoding.encode_animation(alike, suffix, self._rate, recipe)
        record.write(path, data)

    def _lay_out(self, path: str, result: "Result", recipe: str) -> None:
        last = f"step {result.count}", _fitted(result.image, THUMBNAIL)
        captions, pictures = zip(*self._sheet or [last], strict=True)
        size = pictures[-1].shape[:2]
        alike = [_resized(picture, size) for picture in pictures]
        sheet = encoding.contact_sheet(alike, captions)
        suffix = encoding.check_suffix(path, "progression")
        record.write(path, encoding.encode(sheet, suffix, recipe))

    def check_size(self, size: images.Size) -> None:
        """ValueError where a result of (h, w) is too large for its file."""
        encoding.check_size(self._paths["output"], size)

    def _check(self, inputs: list) -> None:
        suffixes = {
            "record": (".json",),
            "costs": (".csv", ".json"),
            "plot": (".png", ".svg", ".pdf"),
            "animation": (".gif", ".webp", ".png"),
            "checkpoint": (".npz",),
        }
        taken: dict[Path, str] = {}
        for name, path in self._paths.items():
            if name in ("output", "progression"):
                encoding.check_suffix(path, name)
            record.check_path(path, name, suffixes.get(name, ()), inputs)
            whole = Path(path).resolve()
            if whole in taken:
                raise ValueError(
                    f"`{name}` and `{taken[whole]}` are the same file, "
                    f'"{path}". Give each its own.'
                )
            taken[whole] = name
        self._check_frames([*inputs, *taken])
        if "plot" in self._paths:
            try:
                import matplotlib.figure  # noqa: F401
            except ImportError:
                raise ValueError(
                    "`plot` needs matplotlib: pip install matplotlib, or "
                    "use --costs=PATH.csv."
                ) from None

    def _check_frames(self, others: list) -> None:
        """ValueError where a picture of --every would replace another file."""
        output = Path(self._paths["output"]).resolve()
        own = re.compile(
            rf"{re.escape(output.stem)}_\d{{6,}}{re.escape(output.suffix)}"
        )
        for other in others if self._every else ():
            path = Path(other).resolve()
            if path.parent == output.parent and own.fullmatch(path.name):
                raise ValueError(
                    f'`every` would write over "{other}", which is another '
                    "file of this run. Give --output another name."
                )


class _Due:
    """Says when a checkpoint is due: `100` steps, or `60s` seconds."""

    def __init__(self, text: str):
        number = text[:-1] if text.endswith("s") else text
        if not number.isdigit() or not int(number):
            raise ValueError(
                "`checkpoint_every` should be steps, as 100, or seconds, as "
                f'60s; received "{text}".'
            )
        self.steps = 0 if text.endswith("s") else int(number)
        self._seconds = int(number)
        self._last = time.monotonic()

    def due(self, count: int) -> bool:
        if self.steps:
            return count > 0 and count % self.steps == 0
        if time.monotonic() - self._last < self._seconds:
            return False
        self._last = time.monotonic()
        return True


def _whole(typed: dict[str, Any], name: str, low: int, high: int):
    if typed[name] is None:
        return None
    return int(_number(typed, name, low, high, whole=True))


def _number(typed, name, low, high, whole=False) -> float:
    try:
        number = float(typed[name])
        if not low <= number <= high or (whole and number != int(number)):
            raise ValueError
    except ValueError:
        kind = "a whole number" if whole else "a number"
        raise ValueError(
            f"`{name}` should be {kind} from {low} to {high}; received "
            f'"{typed[name]}".'
        ) from None
    return number


def _fitted(image: np.ndarray, long_side: int) -> np.ndarray:
    return _resized(image, images.fit(image.shape[:2], long_side))


def _resized(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    if image.shape[:2] == tuple(size):
        return image
    small = images.resize(images.unit(image), size)
    return images.to_uint8(small)
