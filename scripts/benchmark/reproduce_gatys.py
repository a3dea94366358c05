#!/usr/bin/env python3
"""Repeats the run that Gatys published, and prints our costs beside his.

    scripts/benchmark/reproduce_gatys.py CONTENT STYLE --output=DIR

CONTENT is the Neckarfront (1024 x 768) and STYLE his vangogh_starry_night.jpg
(970 x 768), both of github.com/leongatys/PytorchNeuralStyleTransfer, whose
notebook NeuralStyleTransfer.ipynb this follows. DIR gets gatys.png, costs.csv,
costs.png and checkpoint.npz; started again, an interrupted run goes on.

The same: pictures resized by Pillow to a short side of 512 (bilinear, sizes
cut to whole numbers: 682 x 512 and 646 x 512); caffe's preprocessing; max
pooling; layers and weights; no total variation; pixels unbounded; L-BFGS from
the content image.

Not the same: his L-BFGS takes full steps (PyTorch's default, no line search)
and keeps 100 pairs; ours searches along the line and keeps 10, unless told by
--history. He optimises pixels times 255, we in [0, 1]. He prints the cost of
the evaluation, we the lowest so far. Weights are those that nst_tf finds:
give the official ones to compare digits.
"""

import argparse
import csv
import io
import sys
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from nst_tf.files import record
from nst_tf.machine import environment
from nst_tf.request.options import Options

environment.prepare()  # before TensorFlow
# What his notebook printed. It counts from 1 and prints one ahead: "50" is
# the cost of the 49th evaluation.
HIS = {50: 1388533, 100: 707861, 200: 469375, 300: 411658, 500: 368494}
STYLE_LAYERS = {  # and their channels
    "block1_conv1": 64,
    "block2_conv1": 128,
    "block3_conv1": 256,
    "block4_conv1": 512,
    "block5_conv1": 512,
}
NAMES = "evaluations", "seconds", "total", "content", "style"


def options(steps: int = 500, history: int = 10, **own) -> Options:
    """His objective and start, as options of nst_tf.

    His content cost is mean (a_C - a_G)^2, ours a quarter of it; his style
    cost of a layer is 1000 / c^2 times the mean over kk' of (G_S / N_S -
    G_G / N_G)^2, ours a quarter of that mean. So alpha and beta are 4, and
    the layers' weights are his.
    """
    return Options(
        content_weight=4,
        content_layers={"block4_conv2": 1},
        style_weight=4,
        style_layers={
            layer: 1000 / channels**2
            for layer, channels in STYLE_LAYERS.items()
        },
        tv_weight=0,
        pooling="max",
        margin=0,
        scales=1,
        max_size=0,
        init="content",
        optimizer="lbfgs",
        history=history,
        range_weight=0,
        steps=steps,
        **own,
    )


def resized(path: Path, short: int) -> Image.Image:
    """The picture as torchvision's Scale gives it: short side, bilinear."""
    picture = Image.open(path).convert("RGB")
    width, height = picture.size
    size = (short * width // height, short)
    if width < height:
        size = (short, short * height // width)
    return picture.resize(size, Image.Resampling.BILINEAR)


def paint(given: argparse.Namespace) -> list[dict]:
    """Runs, or goes on with, the run; rows of costs, one an evaluation."""
    from nst_tf.stylization import inputs
    from nst_tf.stylization.run import Run

    files = given.output / "costs.csv", given.output / "checkpoint.npz"
    content = resized(given.content, given.short)
    style = resized(given.style, given.short)
    # nst_tf fits the style into the content's long side: keep its own.
    wanted = options(
        given.steps,
        given.history,
        style_scale=max(1, max(style.size) / max(content.size)),
    )
    rows, resume = [], None
    if files[1].exists():
        resume = record.read_checkpoint(files[1])
        check_same(resume[0]["options"], wanted, files[1])
        rows = read_rows(files[0], resume[0]["step"] + 1)
        print(f"Going on from {files[1]}", file=sys.stderr)
    prepared = inputs.prepare(content, style, options=wanted)
    result, run = None, Run(prepared, 1, None, resume)
    for result in run:
        costs = result.costs
        values = result.step + 1, result.record["seconds"]
        values += tuple(costs[name] for name in NAMES[2:])
        rows.append(dict(zip(NAMES, values, strict=True)))
        if result.step % given.keep == 0 or result.last:
            run.save_checkpoint(files[1])
            record.write_costs(files[0], rows)
            print(describe(rows[-1]), file=sys.stderr, flush=True)
        if result.diverged:
            raise RuntimeError("the cost was no finite number any more.")
    if result:
        result.save(given.output / "gatys.png")
    return rows


def check_same(past: dict, wanted: Options, path: Path) -> None:
    """ValueError where the checkpoint is of other settings."""
    present = wanted.to_dict()
    for name, value in present.items():
        if name != "steps" and past.get(name) != value:
            raise ValueError(
                f"`{name}` of {path} is {past.get(name)}, now {value}: give "
                "the same again, or another --output."
            )


def read_rows(path: Path, evaluations: int) -> list[dict]:
    """The rows of an earlier run, up to its checkpoint."""
    if not path.exists():
        return []
    with open(path, newline="") as file:
        rows = [
            {name: float(value) for name, value in row.items()}
            for row in csv.DictReader(file)
        ]
    return [row for row in rows if row["evaluations"] <= evaluations]


def describe(row: dict) -> str:
    return (
        f"{row['evaluations']:.0f} evaluations, {row['seconds']:.0f} s: "
        f"{row['total']:.0f}"
    )


def comparison(rows: Sequence[dict]) -> str:
    """His costs and ours, a Markdown table."""
    totals = {int(row["evaluations"]): row["total"] for row in rows}
    lines = ["| printed at | his | ours | ours / his |", "|" + " --- |" * 4]
    for printed, his in HIS.items():
        ours = totals.get(printed - 1)
        cells = (f"{ours:.0f}", f"{ours / his:.3f}") if ours else ("-", "-")
        lines.append(f"| {printed} | {his} | {' | '.join(cells)} |")
    return "\n".join(lines)


def plot(path: Path, rows: Sequence[dict]) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 5), layout="constrained")
    axes = figure.subplots()
    axes.plot(
        [row["evaluations"] for row in rows],
        [row["total"] for row in rows],
        label="nst_tf, lowest so far",
    )
    axes.plot(
        [printed - 1 for printed in HIS],
        list(HIS.values()),
        "o",
        label="Gatys' notebook",
    )
    axes.set(xlabel="evaluations", ylabel="total cost", yscale="log")
    axes.grid(alpha=0.3, which="both")
    axes.legend()
    data = io.BytesIO()
    figure.savefig(data, format="png", dpi=120)
    record.write(path, data.getvalue())


def parser() -> argparse.ArgumentParser:
    whole = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    whole.add_argument("content", type=Path)
    whole.add_argument("style", type=Path)
    whole.add_argument("--output", type=Path, default=Path("gatys"))
    whole.add_argument("--short", type=int, default=512, help="short side")
    whole.add_argument("--steps", type=int, default=500)
    whole.add_argument("--history", type=int, default=10, help="his: 100")
    whole.add_argument(
        "--keep", type=int, default=25, help="steps between checkpoints"
    )
    return whole


def main(arguments: Sequence[str] | None = None) -> None:
    given = parser().parse_args(arguments)
    try:
        rows = paint(given)
    except (OSError, ValueError) as error:
        print(f"reproduce_gatys.py: {error}", file=sys.stderr)
        sys.exit(2)
    print(comparison(rows))
    plot(given.output / "costs.png", rows)


if __name__ == "__main__":
    main()
