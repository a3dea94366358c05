"""The patches found, and what is made of them: sheets and a record."""

import dataclasses
import functools
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from nst_tf.engine import vgg
from nst_tf.files import encoding, images, record
from nst_tf.request.networks import NETWORKS
from nst_tf.request.values import SMALLEST, layer_name, suggest
from nst_tf.study import sheets
from nst_tf.study.fields import Field, field
from nst_tf.study.gradients import Lens
from nst_tf.study.peaks import Seen

COUNT = 9  # patches of a unit

Box = tuple[int, int, int, int]


class Patch(NamedTuple):
    """A patch of a picture, and how much it excites a unit."""

    layer: str
    unit: int
    activation: float  # after the ReLU, without unit
    image: str  # its path; `picture 3` where it has none
    box: Box  # left, top, right, bottom in pixels; may pass the border


@dataclasses.dataclass(frozen=True)
class Found:
    """The patches found in the pictures looked at so far.

    Attributes:
      count: pictures looked at, those left out among them.
      total: pictures there are.
      recipe: how they were looked for, plain JSON types.
    """

    count: int
    total: int
    recipe: dict[str, Any]
    seen: Mapping[str, Seen] = dataclasses.field(repr=False)
    sources: Sequence[images.Source] = dataclasses.field(repr=False)
    lens: Lens | None = dataclasses.field(default=None, repr=False)

    def units(self, layer: str) -> list[int]:
        """Those asked for; by default the ones of the widest spread."""
        asked = self.recipe["options"]["units"]
        if not isinstance(asked, int):
            return list(asked)
        spread = self.seen[layer].spread
        return sorted(np.argsort(-spread, kind="stable")[:asked].tolist())

    def patches(self) -> list[Patch]:
        """Layer by layer, unit by unit, the most exciting first."""
        return [patch for patch, _ in self._patches()]

    def sheets(self) -> dict[str, np.ndarray]:
        """By layer: uint8 `[h, w, 3]`, a mosaic of patches for each unit."""
        cut = self._cut()
        drawn = {}
        for layer in self.seen:
            side = self._field(layer).side
            mosaics = {
                f"unit {unit}": sheets.mosaic(cut[layer, unit], side, COUNT)
                for unit in self.units(layer)
            }
            drawn[layer] = encoding.contact_sheet(
                list(mosaics.values()), list(mosaics)
            )
        return drawn

    def save(self, path: str | os.PathLike) -> list[str]:
        """Writes the sheets, one a layer; returns their paths.

        With several layers `patches.png` is `patches_block1_conv1.png` ...

        Raises:
          ValueError: unknown suffix, not writable, or one of the pictures.
        """
        name = self.recipe["network"]["name"]
        paths = outputs(path, list(self.seen), self.sources, name)
        text = record.to_json(self.recipe)
        for layer, sheet in self.sheets().items():
            suffix = Path(paths[layer]).suffix
            record.write(paths[layer], encoding.encode(sheet, suffix, text))
        return list(paths.values())

    def save_record(self, path: str | os.PathLike) -> None:
        """Writes the list of patches as JSON, a mapping each."""
        rows = [patch._asdict() for patch in self.patches()]
        record.write(path, record.to_json(rows) + "\n")

    def _patches(self) -> Iterator[tuple[Patch, int]]:
        """Each patch and the number of its picture."""
        for layer, seen in self.seen.items():
            for unit in self.units(layer):
                rows = zip(*[part[unit] for part in seen.tops], strict=True)
                for activation, number, (row, column) in rows:
                    if activation <= 0:
                        continue
                    box = self._field(layer).box(int(row), int(column))
                    name = name_of(self.sources[number], number)
                    own = Patch(layer, unit, float(activation), name, box)
                    yield own, int(number)

    def _cut(self) -> dict[tuple[str, int], list[np.ndarray]]:
        """The patches' pixels by layer and unit; each picture is read once."""
        found = list(self._patches())
        pixels: dict[int, np.ndarray] = {}
        for number in sorted({number for _, number in found}):
            picture = self._read(number)
            for place, (patch, own) in enumerate(found):
                if own == number:
                    pixels[place] = self._drawn(picture, patch)
        cut: dict[tuple[str, int], list[np.ndarray]] = {
            (layer, unit): []
            for layer in self.seen
            for unit in self.units(layer)
        }
        for place, (patch, _) in enumerate(found):
            cut[patch.layer, patch.unit].append(pixels[place])
        return cut

    def _drawn(self, picture: np.ndarray, patch: Patch) -> np.ndarray:
        """The patch's pixels, or what in them excites the unit."""
        if self.lens is None:
            return crop(picture, patch.box)
        own = self._field(patch.layer)
        return sheets.relief(
            self.lens.gradient(picture, patch.layer, patch.unit, patch.box, own)
        )

    def _field(self, layer: str) -> Field:
        return field(layer, NETWORKS[self.recipe["network"]["name"]].layers)

    def _read(self, number: int) -> np.ndarray:
        size = self.recipe["options"]["max_size"]
        return read(self.sources[number], number, size)


def crop(picture: np.ndarray, box: Box) -> np.ndarray:
    """Float32 `[h, w, 3]`; beyond the border the colour that counts as 0."""
    left, top, right, bottom = box
    height, width = picture.shape[:2]
    mean = np.array(vgg.MEAN_BGR[::-1], "float32") / 255
    patch = np.broadcast_to(mean, (bottom - top, right - left, 3)).copy()
    rows = slice(max(top, 0), min(bottom, height))
    columns = slice(max(left, 0), min(right, width))
    patch[
        rows.start - top : rows.stop - top,
        columns.start - left : columns.stop - left,
    ] = picture[rows, columns]
    return patch


def outputs(
    path: str | os.PathLike,
    layers: str | Sequence[str],
    sources: Iterable[images.Source],
    network: str = "vgg19",
) -> dict[str, str]:
    """Path of each layer's sheet; ValueError if one could not be written."""
    encoding.check_suffix(path)
    names, whole = layer_names(layers, network), Path(path)
    paths = {layer: whole for layer in names}
    if len(names) > 1:
        for layer in names:
            paths[layer] = whole.with_name(
                f"{whole.stem}_{layer}{whole.suffix}"
            )
    for one in paths.values():
        record.check_path(one, "output", (), files(sources))
    return {layer: str(one) for layer, one in paths.items()}


def files(sources: Iterable[images.Source]) -> list[str | os.PathLike]:
    """Those of the pictures that are files."""
    return [s for s in sources if isinstance(s, str | os.PathLike)]


def read(source: images.Source, number: int, max_size: int) -> np.ndarray:
    """Float32 `[h, w, 3]` in [0, 1]."""
    fitted = functools.partial(images.fit, max_size=max_size)
    picture = images.read(source, "images", fitted)
    rgb = images.resize(picture.rgb, fitted(picture.size))
    if min(rgb.shape[:2]) < SMALLEST:
        raise ValueError(
            f"`images` should be at least {SMALLEST} x {SMALLEST} pixels; "
            f'"{name_of(source, number)}" has {rgb.shape[1]} x {rgb.shape[0]}.'
        )
    return rgb


def name_of(source: images.Source, number: int) -> str:
    """A picture's path; `picture 3` where it has none."""
    named = isinstance(source, str | os.PathLike)
    return os.fspath(source) if named else f"picture {number}"  # type: ignore


def layer_names(
    layers: str | Sequence[str], network: str = "vgg19"
) -> tuple[str, ...]:
    """Full names of `conv1_1,conv5_1` or a list, each once."""
    known = [name for name, own in NETWORKS.items() if own.tiled]
    if network not in known:
        raise ValueError(
            f"`network`: patches are those of {', '.join(known)}; received "
            f'"{network}".' + suggest(network, known)
        )
    parts = layers.split(",") if isinstance(layers, str) else layers
    try:
        return tuple(dict.fromkeys(layer_name(one, network) for one in parts))
    except ValueError as error:
        raise ValueError(f"`layers`: {error}") from None
