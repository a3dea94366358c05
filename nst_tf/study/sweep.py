"""Sweeps: any options against any others, a grid of pictures, cell by cell.

A cell's picture carries its recipe, as every result does. One whose recipe
has the options and the digests of what is asked for is done already.
"""

import dataclasses
import functools
import itertools
import json
import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from nst_tf.files import encoding, images, record
from nst_tf.files import weights as weights_
from nst_tf.request.options import Options
from nst_tf.study import sheets
from nst_tf.study.axes import Axis
from nst_tf.stylization import inputs as inputs_
from nst_tf.stylization import run
from nst_tf.stylization.result import Result

MOST = 1000  # cells
ROW = 6  # pictures side by side where there is but one axis


class Painted(NamedTuple):
    """A cell that is done."""

    image: np.ndarray  # uint8 [h, w, 3]
    recipe: Mapping[str, Any]

    @property
    def diverged(self) -> bool:
        """Whether it ended before its last step."""
        return not _ended(self.recipe)


@dataclasses.dataclass(frozen=True)
class Cell:
    """One picture of a grid: its labels, its options, and where it is."""

    labels: tuple[str, ...]
    options: Options
    content: Any = dataclasses.field(repr=False)
    style: Any = dataclasses.field(repr=False)
    path: Path

    def prepare(self) -> inputs_.Inputs:
        """What goes into it; ValueError names the cell."""
        try:
            return inputs_.prepare(
                self.content, self.style, options=self.options
            )
        except ValueError as error:
            raise ValueError(f"{', '.join(self.labels)}: {error}") from None

    def painted(self) -> Painted | None:
        """The picture in its file, if that is what would be painted now."""
        try:
            recipe = record.read_recipe(self.path)
        except (ValueError, OSError):
            return None
        if recipe["options"] != _plain(self.options) or not _ended(recipe):
            return None
        present = {
            "inputs": self.prepare().sources,
            "network": {"sha256": _network_digest(*_network(self.options))},
        }
        try:
            run.check_same(recipe, present)
        except ValueError:
            return None
        image = images.to_uint8(images.read(self.path).rgb)
        return Painted(image, recipe)

    def paint(self, patience: float = 1.0) -> Iterator[Result]:
        """Paints it, and writes its file once it is whole.

        Yields:
          As `nst_tf.snapshots`; leaving the loop leaves the cell undone.
        """
        for result in run.Run(self.prepare(), None, patience):
            if result.last:
                result.save(self.path)
            yield result

    def finish(self) -> Painted:
        """The picture out of its file if it is done, else painted now."""
        if painted := self.painted():
            return painted
        *_, result = self.paint(math.inf)
        return Painted(result.image, result.record)


@dataclasses.dataclass(frozen=True)
class Grid:
    """All cells, the last axis running fastest."""

    axes: Sequence[Axis]
    cells: Sequence[Cell]

    def sheet(self, painted: Sequence[Painted]) -> np.ndarray:
        """Uint8 `[h, w, 3]`: every picture over its labels."""
        captions = [
            ", ".join(cell.labels) + " (diverged)" * one.diverged
            for cell, one in zip(self.cells, painted, strict=True)
        ]
        pictures = [one.image for one in painted]
        return encoding.contact_sheet(pictures, captions, columns=self._columns)

    def pdf(self, painted: Sequence[Painted]) -> bytes:
        """The same by matplotlib, labels at the margins."""
        *outer, inner = [
            [choice.label for choice in axis] for axis in self.axes
        ]
        rows = [", ".join(labels) for labels in itertools.product(*outer)]
        return sheets.pdf([one.image for one in painted], rows, inner)

    def rows(self, painted: Sequence[Painted]) -> list[dict[str, Any]]:
        """Of a table: labels, seconds and final costs of each cell."""
        names = [f"axis_{at}" for at in range(1, len(self.axes) + 1)]
        rows: list[dict[str, Any]] = []
        for cell, one in zip(self.cells, painted, strict=True):
            own = dict(zip(names, cell.labels, strict=True))
            own["seconds"] = one.recipe["seconds"]
            own["diverged"] = str(one.diverged).lower()
            costs = one.recipe["costs"]["end"]
            rows.append({**own, **costs, "file": str(cell.path)})
        every = dict.fromkeys(key for row in rows for key in row)
        every = dict.fromkeys([*(k for k in every if k != "file"), "file"])
        return [{key: row.get(key, "") for key in every} for row in rows]

    @property
    def _columns(self) -> int | None:
        columns = len(self.axes[-1])
        return columns if len(self.axes) > 1 or columns <= ROW else None


def grid(
    content,
    style,
    axes: Sequence[Axis],
    folder: str | os.PathLike,
    options: Options | None = None,
) -> Grid:
    """A grid to paint: every choice of an axis with every one of the others.

    Args:
      content: as `nst_tf.stylize` takes it.
      style: the same.
      axes: one or more, see `parse_axis`; the last one runs across.
      folder: for the cells' pictures.
      options: of all cells, but for what the axes change.

    Raises:
      ValueError: options that do not go together, or unusable pictures; it
        names the cell.
    """
    varied = [{n for choice in axis for n in choice.changes} for axis in axes]
    count = math.prod(len(axis) for axis in axes)
    if not axes or not 1 <= count <= MOST:
        raise ValueError(
            f"`over` should make from 1 to {MOST} pictures; received {count} "
            f"by {len(axes)} axes."
        )
    for one, other in itertools.combinations(varied, 2):
        if one & other:
            raise ValueError(
                f"`{min(one & other)}` is varied twice. Give it once."
            )
    cells = []
    for choices in itertools.product(*axes):
        labels = tuple(choice.label for choice in choices)
        changes = {k: v for one in choices for k, v in one.changes.items()}
        try:
            own = (options or Options()).replace(**changes)
        except ValueError as error:
            raise ValueError(f"{', '.join(labels)}: {error}") from None
        path = Path(folder) / _file_name(labels, own)
        cells.append(Cell(labels, own, content, style, path))
    for cell in cells:
        cell.prepare()
    return Grid(axes, cells)


def _file_name(labels: Sequence[str], options: Options) -> str:
    words = re.sub(r"[^\w.,=+-]+", "_", ",".join(labels))[:80]
    return f"{words}_{options.fingerprint()[:8]}.png"


def _ended(recipe: Mapping[str, Any]) -> bool:
    schedule = recipe["schedule"]
    end = len(schedule) - 1, schedule[-1][2]
    return (recipe["scale"], recipe["step"]) == end


def _plain(options: Options) -> dict[str, Any]:
    """As a file has them."""
    return json.loads(record.to_json(options.to_dict()))


def _network(options: Options) -> tuple:
    seed = options.seed if options.weights in ("auto", "random") else 0
    named = os.environ.get(weights_.VARIABLE)
    layers = tuple(options.layer_names())
    return options.weights, seed, options.network, layers, named


@functools.lru_cache
def _network_digest(weights, seed, network, layers, _named) -> str:
    return weights_.load(weights, seed, network, layers).sha256
