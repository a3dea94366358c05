"""The patches of your pictures that excite the units of a network most.

Source: Zeiler and Fergus, "Visualizing and Understanding Convolutional
Networks" (ECCV 2014, arXiv:1311.2901), figure 2.
"""

import os
import warnings
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from nst_tf.engine import vgg
from nst_tf.files import encoding, images, record
from nst_tf.files import weights as weights_
from nst_tf.machine import devices
from nst_tf.request.networks import NETWORKS
from nst_tf.request.values import suggest
from nst_tf.study.found import COUNT, Found, layer_names, name_of, read
from nst_tf.study.gradients import Lens
from nst_tf.study.peaks import Seen, Watcher, merged

LAYERS = tuple(f"block{block}_conv1" for block in range(1, 6))
# As they were trained.
POOLING = {"vgg19": "max", "vgg19_slim": "avg", "vgg16": "max"}
BY = "activation", "gradient"
TILE = 768  # pixels, side of what is looked at at once, but for the halo
READABLE = (*encoding.SUFFIXES, ".bmp", ".gif")

Pictures = str | os.PathLike | Iterable[images.Source]


def find(pictures: Pictures, **options) -> Found:
    """The patches of all pictures that excite a network's units most.

    Args:
      pictures: a folder, or pictures as `nst_tf.stylize` takes them.
      **options: by name: `layers`, as `conv1_1,conv5_1` or a list; `units`,
        how many of each layer, those of the widest spread, or which, as a
        list; `per_image`, how many patches of a unit a picture may have;
        `max_size`, long side of the pictures in pixels, 0 their own; `by`,
        `gradient` to see what in a patch excites the unit; `network` and
        `weights`, as in `Options`.

    Returns:
      What was found: `.patches()` lists it, `.save(path)` writes the sheets,
      `.save_record(path)` the list.

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
    by: str = "activation",
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
      network: `vgg19`, `vgg19_slim` or `vgg16`.
      weights: as `Options.weights`.
      by: `activation`, the patches themselves; or `gradient`, what in them
        excites the unit, by guided backpropagation.
    """
    names, chosen = layer_names(layers, network), _units(units)
    per_image = _whole(per_image, "per_image", 1, COUNT)
    if by not in BY:
        raise ValueError(
            f'`by` should be one of {", ".join(BY)}; received "{by}".'
            + suggest(by, BY)
        )
    max_size = _whole(max_size, "max_size", 0, 10**6)
    sources = listed(pictures)
    weights_.check(weights, network)
    loaded = weights_.load(weights, 0, network, names)
    if loaded.warning:
        warnings.warn(loaded.warning, UserWarning, stacklevel=2)
    _check_units(chosen, names, loaded)
    order = NETWORKS[loaded.network].layers
    model = _network(loaded, names)
    watcher = Watcher(model, names, per_image, TILE, order)
    asked = {
        "layers": list(names),
        "units": chosen,
        "per_image": per_image,
        "max_size": max_size,
        "by": by,
    }
    recipe = _recipe(asked, sources, loaded)
    lens = Lens(model) if by == "gradient" else None
    seen: dict[str, Seen] = {}
    for number, source in enumerate(sources):
        try:
            picture = read(source, number, max_size)
        except ValueError as error:
            warnings.warn(f"{error} It is left out.", UserWarning, stacklevel=2)
        else:
            for name, answer in watcher.look(picture, number).items():
                parts = [seen[name], answer] if name in seen else [answer]
                seen[name] = merged(parts, COUNT)
        if seen:
            yield Found(
                number + 1, len(sources), recipe, dict(seen), sources, lens
            )
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


def _recipe(asked, sources, loaded: weights_.Weights) -> dict[str, Any]:
    """All that a repeat needs."""
    return {
        "options": asked,
        "inputs": {"pictures": [name_of(s, i) for i, s in enumerate(sources)]},
        "network": {
            "name": loaded.network,
            "weights": loaded.name,
            "sha256": loaded.sha256,
            "pooling": POOLING[loaded.network],
        },
        "versions": record.versions(),
    }


def _network(loaded: weights_.Weights, layers: Sequence[str]):
    return vgg.features_model(
        loaded.kernels,
        layers,
        POOLING[loaded.network],
        "float32",
        devices.transposed("float32", tiled=True),
        loaded.network,
    )


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
