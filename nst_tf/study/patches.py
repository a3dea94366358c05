"""The patches of your pictures that excite the units of a network most.

Source: Zeiler and Fergus, "Visualizing and Understanding Convolutional
Networks" (ECCV 2014, arXiv:1311.2901), figure 2.
"""

import dataclasses
import os
import warnings
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from nst_tf.engine import vgg
from nst_tf.files import images, record
from nst_tf.files import weights as weights_
from nst_tf.machine import devices
from nst_tf.options import SMALLEST, layer_name
from nst_tf.study import sheets
from nst_tf.study.fields import field
from nst_tf.study.peaks import Seen, Watcher, merged

COUNT = 9  # patches of a unit
LAYERS = tuple(f"block{block}_conv1" for block in range(1, 6))
POOLING = {"vgg19": "max", "vgg19_slim": "avg"}  # as they were trained
TILE = 768  # pixels, side of what is looked at at once, but for the halo
READABLE = (*images.SUFFIXES, ".bmp", ".gif")

Box = tuple[int, int, int, int]
Pictures = str | os.PathLike | Iterable[images.Source]


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
            side = field(layer).side
            mosaics = {
                f"unit {unit}": sheets.mosaic(cut[layer, unit], side, COUNT)
                for unit in self.units(layer)
            }
            drawn[layer] = images.contact_sheet(
                list(mosaics.values()), list(mosaics)
            )
        return drawn

    def save(self, path: str | os.PathLike) -> list[str]:
        """Writes the sheets, one a layer; returns their paths.

        With several layers `patches.png` is `patches_block1_conv1.png` ...

        Raises:
          ValueError: unknown suffix, not writable, or one of the pictures.
        """
        paths = outputs(path, list(self.seen), self.sources)
        text = record.to_json(self.recipe)
        for layer, sheet in self.sheets().items():
            suffix = Path(paths[layer]).suffix
            record.write(paths[layer], images.encode(sheet, suffix, text))
        return list(paths.values())

    def save_record(self, path: str | os.PathLike) -> None:
        """Writes the list of patches as JSON, a mapping each."""
        rows = [patch._asdict() for patch in self.patches()]
        record.write(path, (record.to_json(rows) + "\n").encode())

    def _patches(self) -> Iterator[tuple[Patch, int]]:
        """Each patch and the number of its picture."""
        for layer, seen in self.seen.items():
            for unit in self.units(layer):
                rows = zip(*[part[unit] for part in seen.tops], strict=True)
                for activation, number, (row, column) in rows:
                    if activation <= 0:
                        continue
                    box = field(layer).box(int(row), int(column))
                    name = _name(self.sources[number], number)
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
                    pixels[place] = crop(picture, patch.box)
        cut: dict[tuple[str, int], list[np.ndarray]] = {
            (layer, unit): []
            for layer in self.seen
            for unit in self.units(layer)
        }
        for place, (patch, _) in enumerate(found):
            cut[patch.layer, patch.unit].append(pixels[place])
        return cut

    def _read(self, number: int) -> np.ndarray:
        size = self.recipe["options"]["max_size"]
        return _read(self.sources[number], number, size)


def find(pictures: Pictures, **options) -> Found:
    """The patches of all pictures that excite a network's units most.

    Args:
      pictures: a folder, or pictures as `nst_tf.stylize` takes them.
      **options: see `search`.

    Raises:
      ValueError: an option that cannot be used, or no usable picture.
    """
    return deque(search(pictures, **options), maxlen=1).pop()


def search(
    pictures: Pictures,
    *,
    layers: str | Sequence[str] = LAYERS,
    units: str | int | Sequence[int] = 9,
    per_image: int = 1,
    max_size: int = 0,
    network: str = "vgg19",
    weights: str = "auto",
) -> Iterator[Found]:
    """As `find`, but yields what it has found after each picture.

    A picture that cannot be read, or is smaller than 16 x 16, is left out
    with a warning.

    Args:
      pictures: see `find`.
      layers: names, as `conv1_1,conv5_1`.
      units: how many of each layer, those of the widest spread, or which: a
        list, or text as `7,100`.
      per_image: how many patches of a unit a picture may have.
      max_size: long side of the pictures in pixels; 0: their own size.
      network: `vgg19` or `vgg19_slim`.
      weights: as `Options.weights`.
    """
    names, chosen = _layers(layers), _units(units)
    per_image = _whole(per_image, "per_image", 1, COUNT)
    max_size = _whole(max_size, "max_size", 0, 10**6)
    sources = listed(pictures)
    weights_.check(weights, network)
    loaded = weights_.load(weights, 0, network, names)
    if loaded.warning:
        warnings.warn(loaded.warning, UserWarning, stacklevel=2)
    _check_units(chosen, names, loaded)
    watcher = Watcher(_network(loaded, names), names, per_image, TILE)
    recipe = {
        "options": {
            "layers": list(names),
            "units": chosen,
            "per_image": per_image,
            "max_size": max_size,
        },
        "inputs": {"pictures": [_name(s, i) for i, s in enumerate(sources)]},
        "network": {
            "name": loaded.network,
            "weights": loaded.name,
            "sha256": loaded.sha256,
            "pooling": POOLING[loaded.network],
        },
        "versions": record.versions(),
    }
    seen: dict[str, Seen] = {}
    for number, source in enumerate(sources):
        try:
            picture = _read(source, number, max_size)
        except ValueError as error:
            warnings.warn(f"{error} It is left out.", UserWarning, stacklevel=2)
        else:
            for name, answer in watcher.look(picture, number).items():
                parts = [seen[name], answer] if name in seen else [answer]
                seen[name] = merged(parts, COUNT)
        if seen:
            yield Found(number + 1, len(sources), recipe, dict(seen), sources)
    if not seen:
        raise ValueError(
            "`images`: none of the pictures can be used; the warnings say why."
        )


def listed(pictures: Pictures) -> list[images.Source]:
    """The pictures of a folder and its folders in order; or those given."""
    if not isinstance(pictures, str | os.PathLike):
        found: list[images.Source] = list(pictures)
    elif Path(pictures).is_dir():
        files = sorted(Path(pictures).rglob("*"))
        found = [str(p) for p in files if p.suffix.lower() in READABLE]
    else:
        raise ValueError(
            f'`images` should be a folder of pictures; "{pictures}" is none.'
        )
    if not found:
        raise ValueError(
            "`images` should hold pictures, "
            f'{", ".join(READABLE)}; received none in "{pictures}".'
        )
    return found


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
) -> dict[str, str]:
    """Path of each layer's sheet; ValueError if one could not be written."""
    images.check_suffix(path)
    names, whole = _layers(layers), Path(path)
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


def _network(loaded: weights_.Weights, layers: Sequence[str]):
    return vgg.features_model(
        loaded.kernels,
        layers,
        POOLING[loaded.network],
        "float32",
        devices.transposed("float32", tiled=True),
    )


def _read(source: images.Source, number: int, max_size: int) -> np.ndarray:
    """Float32 `[h, w, 3]` in [0, 1]."""
    rgb = images.read(source, "images").rgb
    rgb = images.resize(rgb, images.fit(rgb.shape[:2], max_size))
    if min(rgb.shape[:2]) < SMALLEST:
        raise ValueError(
            f"`images` should be at least {SMALLEST} x {SMALLEST} pixels; "
            f'"{_name(source, number)}" has {rgb.shape[1]} x {rgb.shape[0]}.'
        )
    return rgb


def _name(source: images.Source, number: int) -> str:
    named = isinstance(source, str | os.PathLike)
    return os.fspath(source) if named else f"picture {number}"  # type: ignore


def _layers(layers: str | Sequence[str]) -> tuple[str, ...]:
    parts = layers.split(",") if isinstance(layers, str) else layers
    try:
        return tuple(dict.fromkeys(layer_name(part) for part in parts))
    except ValueError as error:
        raise ValueError(f"`layers`: {error}") from None


def _units(units: str | int | Sequence[int]) -> int | list[int]:
    """How many, or which; `7,` is unit 7 alone."""
    if isinstance(units, str) and "," in units:
        units = [part for part in units.split(",") if part.strip()]  # type: ignore
    if isinstance(units, str | int):
        return _whole(units, "units", 1, 1024)
    return [_whole(unit, "units", 0, 1023) for unit in dict.fromkeys(units)]


def _check_units(chosen, layers, loaded: weights_.Weights) -> None:
    if isinstance(chosen, int):
        return
    for layer in layers:
        width = loaded.kernels[layer][1].size
        for unit in chosen:
            if unit >= width:
                raise ValueError(
                    f"`units` of {layer} are 0 to {width - 1}; received "
                    f"{unit}. Leave it out, or choose other --layers."
                )


def _whole(value: Any, name: str, low: int, high: int) -> int:
    try:
        number = int(value)
        if number != float(value) or not low <= number <= high:
            raise ValueError
    except (TypeError, ValueError):
        raise ValueError(
            f"`{name}` should be a whole number from {low} to {high}; "
            f'received "{value}".'
        ) from None
    return number
