#!/usr/bin/env python3
"""Pictures of nst_tf beside those of plain programs, to be ranked blind.

    scripts/benchmark/compare_peers.py FOLDER CONTENT:STYLE ...

writes FOLDER/sheet_K.png for each pair, the contenders in an order drawn by
--seed and nothing written on them, and FOLDER/key.csv: who is where, seconds
from the start of the process to its end, memory, and the device. yardsticks.py
has what the plain programs do. All see pictures of one size, by the same
kernels. --crop cuts off the frame that zero padding leaves in plain programs'
pictures, by which they would be known. What is in FOLDER/painted is not painted
again, so that a comparison can be stopped, or shared out among machines.
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

import benchmark
import numpy as np

from nst_tf.files import encoding, images, record
from nst_tf.request import presets
from nst_tf.request.options import Options

# By name: the yardstick, the preset of nst_tf, and its steps.
CONTENDERS = {
    "paint": ("nst_tf", "paint", None),
    "default": ("nst_tf", None, None),
    "tutorial": ("tutorial", None, 1000),
    "pytorch": ("pytorch", None, 300),
    "gaussians": ("gaussians", None, 1000),
}


def paint(name: str, pair: list[str], size: int, given) -> dict:
    """One contender's picture, seconds and memory."""
    task, preset, steps = CONTENDERS[name]
    chosen = presets.read(preset) if preset else {}
    own = Options.from_dict({**chosen, "max_size": size})
    plain = Options(max_size=size, scales=1, margin=0)
    if task == "gaussians":  # which sees deeper than the default does
        plain = plain.replace(style_layers="conv5_1")
    with tempfile.TemporaryDirectory() as folder:
        picture = str(Path(folder) / "picture.npy")
        job = {"inputs": pair, "picture": picture, "every": 50}
        if task != "nst_tf":
            job["pictures"] = str(Path(folder) / "inputs.npz")
            wanted = {job["pictures"]: {}}
            options = {"options": plain.to_dict(), "inputs": pair}
            benchmark.spawn("prepare", {**options, "wanted": wanted})
            own = plain.replace(steps=max(1, round(steps * given.share)))
        job["options"] = own.to_dict()
        started = time.monotonic()
        python = given.torch_python if task == "pytorch" else sys.executable
        outcome = benchmark.spawn(task, job, python)
        return {
            "picture": images.to_uint8(np.load(picture)),
            "seconds": round(time.monotonic() - started, 1),
            "megabytes": round(outcome["peak_megabytes"]),
            "device": outcome["device"],
        }


def painted(name: str, pair: list[str], given) -> dict:
    """The same, read where the folder has it already."""
    stems = [Path(path).stem for path in pair]
    kept = given.folder / "painted" / "_".join([*stems, name])
    asked = {"size": given.size, "share": given.share}
    try:
        told = json.loads(kept.with_suffix(".json").read_text())
    except OSError:
        told = {}
    if not asked.items() <= told.items():
        told = asked | paint(name, pair, given.size, given)
        data = encoding.encode(told.pop("picture"), ".png")
        record.write(kept.with_suffix(".png"), data)
        record.write(kept.with_suffix(".json"), json.dumps(told).encode())
    picture = images.read(kept.with_suffix(".png"), "painted").rgb
    return {"picture": images.to_uint8(picture), **told}


def sheet(pictures: list[np.ndarray], crop: int) -> np.ndarray:
    """Side by side, without `crop` pixels of frame, white lines between."""
    if crop:
        pictures = [one[crop:-crop, crop:-crop] for one in pictures]
    line = np.full((len(pictures[0]), 8, 3), 255, "uint8")
    cells = [cell for picture in pictures for cell in (picture, line)]
    return np.concatenate(cells[:-1], 1)


def main() -> None:
    whole = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    whole.add_argument("folder", type=Path)
    whole.add_argument("pairs", nargs="+", metavar="CONTENT:STYLE")
    whole.add_argument("--size", type=int, default=384, help="long side")
    whole.add_argument("--seed", type=int, default=0, help="of the order")
    whole.add_argument("--crop", type=int, default=0, help="pixels of frame")
    whole.add_argument(
        "--share", type=float, default=1.0, help="of the plain programs' steps"
    )
    whole.add_argument(
        "--contenders", nargs="+", choices=CONTENDERS, default=[*CONTENDERS]
    )
    whole.add_argument("--torch_python", default=sys.executable)
    given = whole.parse_args()
    generator, rows = np.random.default_rng(given.seed), []
    for number, pair in enumerate(given.pairs, 1):
        order = list(generator.permutation(given.contenders))
        found = [painted(name, pair.split(":"), given) for name in order]
        data = encoding.encode(
            sheet([one.pop("picture") for one in found], given.crop), ".png"
        )
        record.write(given.folder / f"sheet_{number}.png", data)
        for place, (name, one) in enumerate(zip(order, found, strict=True), 1):
            rows.append({"sheet": number, "place": place, "who": name, **one})
        record.write_costs(given.folder / "key.csv", rows)


if __name__ == "__main__":
    main()
