"""The frames that are done: what a killed run goes on from.

Beside `out.mp4` lies `out.frames/` with `000000.png` and so on, lossless, and
`recipe.json`. A frame is there whole or not at all.
"""

import os
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from nst_tf.files import encoding, images, record

RECIPE = "recipe.json"


class Folder:
    """The finished frames of one run.

    Args:
      output: the clip that will be made of them.
      recipe: all that decides the frames. Those that lie there already must
        have come of the same.

    Raises:
      ValueError: frames of another recipe lie there.
    """

    def __init__(self, output: str | os.PathLike, recipe: dict[str, Any]):
        self.path, self._recipe = place(output), recipe
        self._network: Any = None
        known = self.path / RECIPE
        if known.exists():
            past = record.read_recipe(known)
            _check_same(self.path, past, recipe)
            self._network = past["network"]
        elif self.path.exists() and any(self.path.iterdir()):
            raise ValueError(
                f'`output`: frames would go into "{self.path}", which holds '
                "something else. Choose another name, or move it away."
            )

    def begin(self, network: dict[str, Any]) -> None:
        """Notes what looks at the pictures, before the first is kept.

        Raises:
          ValueError: the frames that are there were painted with another.
        """
        if self._network is None:
            recipe = {**self._recipe, "network": network}
            record.write_recipe(self.path / RECIPE, recipe)
            self._network = network
        before, now = (
            {"network": n["name"], "weights": n["sha256"]}
            | {"precision": n["precision"]}
            for n in (self._network, network)
        )
        _check_same(self.path, before, now)

    def read(self, index: int) -> np.ndarray | None:
        """A finished frame, uint8 `[h, w, 3]`; None if it is not there."""
        path = self._frame(index)
        if not path.exists():
            return None
        return images.to_uint8(images.read(path, "output").rgb)

    def frames(
        self, times: Sequence[Fraction]
    ) -> Iterator[tuple[Fraction, np.ndarray]]:
        """`(time, frame)` of the first so many, all of which are there."""
        for index, time in enumerate(times):
            yield time, self.get(index)

    def get(self, index: int) -> np.ndarray:
        """A finished frame; FileNotFoundError if it is not there."""
        image = self.read(index)
        if image is None:
            raise FileNotFoundError(f"{self._frame(index)} is gone")
        return image

    def write(self, index: int, image: np.ndarray) -> None:
        """Keeps a finished frame."""
        record.write(self._frame(index), encoding.encode(image, ".png"))

    def _frame(self, index: int) -> Path:
        return self.path / f"{index:06d}.png"


def place(output: str | os.PathLike) -> Path:
    """`out.mp4` -> `out.frames`."""
    return Path(output).with_suffix(".frames")


def _check_same(path: Path, past: dict, present: dict) -> None:
    changed = _difference(past, present)
    if changed:
        raise ValueError(
            f'`output`: "{path}" holds frames of another run: `{changed}` was '
            "another. Give the same command to go on with it, choose another "
            "name, or remove the folder."
        )


def _difference(past: Any, present: dict, name: str = "") -> str:
    """The name of what differs, as deep as it can be said; '' if nothing.

    A file is what is in it, wherever it lies.
    """
    if not isinstance(past, dict):
        return name
    for key, value in present.items():
        if key in ("versions", "path") or past.get(key) == value:
            continue
        if isinstance(value, dict):
            changed = _difference(past.get(key), value, key)
            if changed:
                return key if changed == "sha256" else changed
        elif isinstance(value, list) and _same_files(past.get(key), value):
            continue
        else:
            return key
    return ""


def _same_files(past: Any, present: list) -> bool:
    if not isinstance(past, list) or len(past) != len(present):
        return False
    pairs = zip(past, present, strict=True)
    return all(
        isinstance(file, dict) and not _difference(before, file)
        for before, file in pairs
    )
