"""What a run yields: a picture, its costs, and how it came about."""

import dataclasses
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from nst_tf.files import encoding, images, record
from nst_tf.request.options import Options


@dataclasses.dataclass(frozen=True)
class Result:
    """The best picture after some steps, and how it came about.

    Attributes:
      scale: which size, from 0, coarse to fine.
      step: steps taken at this scale.
      schedule: steps asked for at each scale.
      costs: `total`, `content`, `style`, `tv`, and `style/LAYER` each;
        unweighted but for `total`.
      diverged: nothing finite was left to go on from; the picture is the
        last good one.
      record: the whole recipe, plain JSON types.
    """

    scale: int
    step: int
    schedule: Sequence[int]
    costs: dict[str, float]
    diverged: bool
    record: dict[str, Any]
    tensor: tf.Tensor = dataclasses.field(repr=False)
    alpha: np.ndarray | None = dataclasses.field(repr=False)

    @property
    def scales(self) -> int:
        """How many sizes there are."""
        return len(self.schedule)

    @property
    def steps(self) -> int:
        """Steps asked for at this scale."""
        return self.schedule[self.scale]

    @property
    def count(self) -> int:
        """Steps taken at all scales so far."""
        return sum(self.schedule[: self.scale]) + self.step

    @property
    def total(self) -> int:
        """Steps asked for at all scales."""
        return sum(self.schedule)

    @property
    def last(self) -> bool:
        """Whether this is where the run ends."""
        done = self.scale == self.scales - 1 and self.step >= self.steps
        return done or self.diverged

    @property
    def image(self) -> np.ndarray:
        """The picture, uint8 `[h, w, 3]`."""
        return images.to_uint8(self._floats)

    @property
    def _floats(self) -> np.ndarray:
        return np.asarray(memoryview(self.tensor))[0]  # numpy() is a copy

    def encoded(self, suffix: str, depth: int = 8) -> bytes:
        """The picture as a file's bytes, its recipe inside.

        Args:
          suffix: of the file, which tells the format.
          depth: bits a channel; 16 of a PNG or TIFF.
        """
        image, alpha = self._floats, self.alpha
        if alpha is not None:
            alpha = images.resize(alpha, image.shape[:2])
        paper = Options.from_dict(self.record["options"]).paper
        return encoding.encode(
            image,
            suffix,
            record.to_json(self.record),
            alpha,
            paper and paper.dpi,
            depth,
        )

    def save(self, path: str | os.PathLike, *, depth: int = 8) -> None:
        """Writes the picture with its recipe; the suffix tells the format.

        Args:
          path: of the file.
          depth: bits a channel; 16 of a PNG or TIFF.

        Raises:
          ValueError: unknown suffix, one that has no such depth, not
            writable, or one of the inputs.
        """
        suffix = encoding.check_suffix(path)
        encoding.check_depth(depth, suffix)
        record.check_path(path, "output", (), record.input_paths(self.record))
        record.write(path, self.encoded(suffix, depth))

    def divergence(self) -> str:
        """What happened and what to lower, in one line."""
        options = self.record["options"]
        rate = options["learning_rate"]
        lower = "--content_weight, --style_weight or --tv_weight"
        if options["optimizer"] != "lbfgs":
            lower = "--learning_rate" + (f" (now {rate:g})" if rate else "")
        return (
            f"the cost was no finite number any more after step {self.step} of "
            f"scale {self.scale + 1} of {self.scales}; this is the last good "
            f"picture. Lower {lower}."
        )
