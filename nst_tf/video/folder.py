"""The frames that are done: what a killed run goes on from.

Beside `out.mp4` lies `out.frames/` with `000000.png` and so on, lossless, and
`recipe.json`. A frame is there whole or not at all.
"""

import os
from pathlib import Path
from typing import Any

import numpy as np

from nst_tf.files import images, record

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
        for part in ("name", "sha256", "precision"):
            _check_same(
                self.path, {part: self._network[part]}, {part: network[part]}
            )

    def read(self, index: int) -> np.ndarray | None:
        """A finished frame, uint8 `[h, w, 3]`; None if it is not there."""
        path = self._frame(index)
        if not path.exists():
            return None
        return images.to_uint8(images.read(path, "output").rgb)

    def write(self, index: int, image: np.ndarray) -> None:
        """Keeps a finished frame."""
        record.write(self._frame(index), images.encode(image, ".png"))

    def _frame(self, index: int) -> Path:
        return self.path / f"{index:06d}.png"


def place(output: str | os.PathLike) -> Path:
    """`out.mp4` -> `out.frames`."""
    return Path(output).with_suffix(".frames")


def _check_same(path: Path, past: dict, present: dict) -> None:
    for part in present:
        if part == "versions" or past.get(part) == present[part]:
            continue
        changed = _difference(part, past.get(part), present[part])
        raise ValueError(
            f'`output`: "{path}" holds frames of another run: {changed} was '
            "another. Give the same command to go on with it, choose another "
            "name, or remove the folder."
        )


def _difference(name: str, past: Any, present: Any) -> str:
    """The name of what differs, as deep as it can be said."""
    if isinstance(past, dict) and isinstance(present, dict):
        for key in present:
            if past.get(key) != present[key]:
                return _difference(str(key), past.get(key), present[key])
    return f"`{name}`"
