#!/usr/bin/env python3
"""Seconds, memory and costs of nst_tf, alone and beside plain programs.

    scripts/benchmark/benchmark.py TASK ...

    optimizers CONTENT STYLE    each optimiser, a table
    compare CONTENT STYLE       beside plain TensorFlow and plain PyTorch
    time_to_cost CONTENT STYLE  how soon it is as far as plain Adam in the end
    floor CONTENT               what the convolutions' arithmetic takes at least

yardsticks.py has what is measured, and what a curve is. Every run has
a process of its own, as TensorFlow keeps what it once compiled and the most
memory it ever took. All start from the content image, at one scale; compared,
without a margin. Costs are those that a contender reports, in its precision.
"""

import argparse
import csv
import io
import itertools
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from importlib import util
from pathlib import Path

from nst_tf.files import record
from nst_tf.machine import environment
from nst_tf.request.networks import LAYERS
from nst_tf.request.options import OPTIMIZERS, Options

FOLDER = Path(__file__).resolve().parent
ROOT = FOLDER.parents[1]
YARDSTICKS = FOLDER / "yardsticks.py"
TERMS = ("total", "content", "style", "tv")
CONTENDERS = {  # as they are called in tables
    "nst_tf": "nst_tf",
    "nst_tf_float32": "nst_tf, float32",
    "tutorial": "TensorFlow, plain Adam",
    "pytorch": "PyTorch, plain L-BFGS",
}
WIDTHS = {1: 64, 2: 128, 3: 256, 4: 512, 5: 512}  # of VGG-19's blocks
COLUMNS = {  # of a comparison: over the rounds; True: nst_tf's share, too
    "seconds_min": ("s/evaluation: min", min, False),
    "seconds_median": ("median", statistics.median, True),
    "seconds_max": ("max", max, False),
    "peak_megabytes": ("peak MB", statistics.median, True),
    "accelerator_megabytes": ("GPU MB", statistics.median, False),
    "seconds_to_equal_cost": ("s to equal cost", statistics.median, True),
}
COST = "seconds, start-up included", "total cost", "linear"
PLOTS = {  # against pixels
    "seconds_median": "seconds per evaluation",
    "peak_megabytes": "peak memory, MB",
}
EXACT, ROUGH = 1e-3, 1e-2  # relative, of one picture's costs; ROUGH if mixed


def spawn(task: str, job: dict, python: str = sys.executable) -> dict:
    """What one of the yardsticks' tasks, in its own process, returns."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.getenv("PYTHONPATH")]))
    # nst_tf runs as its command line has it; the others as TensorFlow comes.
    own = (
        environment.ENVIRONMENT
        if task == "nst_tf"
        else {"TF_CPP_MIN_LOG_LEVEL": "3"}
    )
    job = {"every": 1, "until": -math.inf, "spawned": time.monotonic(), **job}
    done = subprocess.run(
        [python, YARDSTICKS, task],
        input=json.dumps(job),
        env={**own, **os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise RuntimeError(f"{task} failed:\n{done.stderr[-2000:]}")
    outcome = json.loads(done.stdout.splitlines()[-1])
    if "error" in outcome:
        raise ValueError(outcome["error"])
    return outcome


# Bare formulas.


def seconds_each(curve: Sequence) -> list[float]:
    """Seconds per evaluation, without the first interval: it compiles."""
    return [
        (after[1] - before[1]) / (after[0] - before[0])
        for before, after in itertools.pairwise(curve[1:])
    ]


def startup(curve: Sequence) -> float:
    """Seconds spent on anything but evaluations: loading and compiling."""
    if len(curve) < 3:
        return curve[0][1]
    evaluations, seconds, _ = curve[1]
    return seconds - evaluations * statistics.median(seconds_each(curve))


def arithmetic(height: int, width: int, deepest: str) -> int:
    """Floating-point operations of the convolutions in one evaluation.

    sum_l 2 * 9 c_in c_out h w forward, and as much backward: the gradient to a
    layer's input, to the picture too; the kernels' own is not needed. Pooling,
    ReLU and Gram matrices come on top.
    """
    forward, channels = 0, 3
    for layer in LAYERS[: LAYERS.index(deepest) + 1]:
        block = int(layer[5])
        if layer.endswith("conv1") and block > 1:
            height, width = height // 2, width // 2
        forward += 2 * 9 * channels * WIDTHS[block] * height * width
        channels = WIDTHS[block]
    return 2 * forward


def agree(runs: dict[str, dict]) -> None:
    """RuntimeError where the contenders' costs of one picture differ."""
    costs = {name: run["curve"][0][2] for name, run in runs.items()}
    exact = [n for n in runs if runs[n]["precision"] == "float32"]
    right = costs[exact[0] if exact else next(iter(runs))]
    for name, cost in costs.items():
        tolerance = EXACT if name in exact else ROUGH
        if not abs(cost - right) <= tolerance * right:  # never true of NaN
            raise RuntimeError(f"the costs of one picture differ: {costs}")


def table(heads: Sequence[str], rows: Iterable[Sequence]) -> str:
    """Markdown; floats in three digits, NaN and None as a dash."""

    def text(cell) -> str:
        if not isinstance(cell, float):
            return "-" if cell is None else str(cell)
        digits = f"{cell:.0f}" if abs(cell) >= 100 else f"{cell:.3g}"
        return digits.replace("nan", "-")

    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(map(text, line))} |" for line in lines)


def row(name: str, job: dict, turn: int, run: dict, aim: float | None) -> dict:
    """One line of the CSV file; seconds to equal cost without start-up."""
    curve, each = run["curve"], seconds_each(run["curve"])
    started = startup(curve)
    there = [p[1] - started for p in curve if aim and p[2] <= aim]
    return {
        "contender": name,
        "size": job["options"]["max_size"],
        "width": job["size"][1],
        "height": job["size"][0],
        "round": turn,
        "evaluations": curve[-1][0],
        "seconds_min": min(each),
        "seconds_median": statistics.median(each),
        "seconds_max": max(each),
        "seconds_of_startup": started,
        "seconds_to_equal_cost": there[0] if there else None,
        "peak_megabytes": run["peak_megabytes"],
        "accelerator_megabytes": run["accelerator_megabytes"],
        "cost_start": curve[0][2],
        "cost_end": curve[-1][2],
        "device": run["device"],
    }


def comparison(rows: Sequence[dict]) -> str:
    """The rows of all rounds as a table, beside nst_tf at the same size."""
    groups: dict[tuple, list[dict]] = {}
    for each in rows:
        groups.setdefault((each["size"], each["contender"]), []).append(each)
    heads, cells = ["pixels", ""], []
    for words, _, shared in COLUMNS.values():
        heads += [words, "nst_tf takes"][: 1 + shared]
    for (size, name), group in groups.items():
        pixels = f"{group[0]['width']} x {group[0]['height']}"
        cells.append([pixels, CONTENDERS[name]])
        for column, (_, merge, shared) in COLUMNS.items():
            values = (
                [each[column] for each in some if each[column] is not None]
                for some in (groups.get((size, "nst_tf"), []), group)
            )
            ours, theirs = (merge(each or [math.nan]) for each in values)
            cells[-1] += [theirs, ours / theirs][: 1 + shared]
    return table(heads, cells)


# The commands.


def optimizers(given: argparse.Namespace) -> None:
    """Costs, seconds per step and peak memory of each optimiser."""
    terms, rows = list(itertools.product(TERMS, ("start", "end"))), []
    for name in given.optimizers or OPTIMIZERS:
        own = {"max_size": given.size, "steps": given.steps, "optimizer": name}
        options = Options.from_dict({"scales": 1, **given.option, **own})
        run = measured("nst_tf", {"options": options.to_dict()}, given)
        costs = [f"{run['costs'][b][a]:.4g}" for a, b in terms]
        each = seconds_each(run["curve"])
        seconds = min(each), statistics.median(each), max(each)
        rows.append([f"`{name}`", *costs, *seconds, run["peak_megabytes"]])
    heads = ["optimiser", *map(" ".join, terms), "s/step min", "median", "max"]
    print(table([*heads, "peak MB"], rows))
    print(f"\n{given.size} px, {given.steps} steps; {run['device']}")


def compare(given: argparse.Namespace) -> None:
    """Contenders side by side, in turn; a table, a CSV file, plots."""
    names, rows = contenders(given), []
    with tempfile.TemporaryDirectory() as folder:
        jobs = prepared(names, given.sizes, folder, given)
        for turn, job in itertools.product(range(1, given.rounds + 1), jobs):
            runs = {name: measured(name, job, given) for name in names}
            agree(runs)
            curves = {name: run["curve"] for name, run in runs.items()}
            aim = curves["tutorial"][-1][2] if "tutorial" in names else None
            rows += [row(name, job, turn, runs[name], aim) for name in names]
            if given.csv:
                record.write_costs(given.csv, rows)
            if given.plots:
                size = job["options"]["max_size"]
                plot(given.plots / f"cost_{size}.png", curves, *COST)
    print(comparison(rows))
    print(f"\n{given.steps} steps, {given.rounds} rounds")
    for name, run in runs.items():
        print(f"{CONTENDERS[name]}: {run['device']}")
    for field, words in PLOTS.items() if given.plots else ():
        lines: dict[str, list] = {name: [] for name in names}
        for each in rows:
            pixels = each["width"] * each["height"]
            lines[each["contender"]].append((pixels, each[field]))
        path = given.plots / f"{field}.png"
        plot(path, lines, "pixels", words, "log")


def time_to_cost(given: argparse.Namespace) -> None:
    """How soon nst_tf is as low as the plain Adam run ends."""
    with tempfile.TemporaryDirectory() as folder:
        names = ["tutorial", "nst_tf"]
        (job,) = prepared(names, [given.size], folder, given)
        plain = measured("tutorial", job, given)
        aim = plain["curve"][-1][2]
        ours = measured("nst_tf", {**job, "until": aim}, given)
    curves = {"tutorial": plain["curve"], "nst_tf": ours["curve"]}
    rows = []
    for name, curve in curves.items():
        started, (evaluations, seconds, cost) = startup(curve), curve[-1]
        times = started, seconds - started, seconds
        rows.append([CONTENDERS[name], evaluations, f"{cost:.6g}", *times])
    heads = "run,evaluations,cost,start-up s,steps s,in all s".split(",")
    print(table(heads, rows))
    if ours["curve"][-1][2] <= aim:
        steps, whole = (rows[1][n] / rows[0][n] for n in (-2, -1))
        print(f"\nOf its time nst_tf takes {steps:.3f}; in all {whole:.3f}.")
    else:
        print(f"\nnst_tf is not there after {given.steps} steps.")
    print(f"{given.size} px; {ours['device']}")
    if given.csv:
        heads = "contender", "evaluations", "seconds", "cost"
        points = [(name, *point) for name in curves for point in curves[name]]
        rows = [dict(zip(heads, point, strict=True)) for point in points]
        record.write_costs(given.csv, rows)
    if given.plots:
        plot(given.plots / "time_to_cost.png", curves, *COST)


def floor(given: argparse.Namespace) -> None:
    """Seconds that the convolutions take at the rate of matrix products."""
    from nst_tf.files import images

    options = comparable(given)
    used = options.layer_names()
    deepest = max(used, key=LAYERS.index)
    shape = images.read(given.content, "content").rgb.shape[:2]
    sizes = [images.fit(shape, size, True) for size in given.sizes]
    seen = [(*size, "-", None) for size in sizes]
    try:
        text = given.csv.read_text() if given.csv else ""
        for line in csv.DictReader(text.splitlines()):
            sides = int(line["height"]), int(line["width"])
            seconds = float(line["seconds_median"])
            seen.append((*sides, CONTENDERS[line["contender"]], seconds))
    except (OSError, KeyError, TypeError, ValueError):
        raise ValueError(
            f'`csv`: "{given.csv}" is no file that compare wrote.'
        ) from None
    job = {"matrices": given.matrices, "repeats": given.repeats}
    outcome = spawn("matmul", job)
    rates = [
        (int(side), min(each), statistics.median(each), max(each))
        for side, each in outcome["gigaflops"].items()
    ]
    print(f"float32 matrix products, {outcome['device']}, GFLOP/s:\n")
    print(table(["side", "min", "median", "best"], rates))
    _, _, usual, best = map(max, zip(*rates, strict=True))
    cells = []
    for height, width, name, taken in seen:
        sides = height + 2 * options.margin, width + 2 * options.margin
        work = arithmetic(*sides, deepest) / 1e9
        floors = work, work / best, work / usual
        share = taken and taken * best / work
        cells.append([f"{width} x {height}", *floors, name, taken, share])
    heads = "pixels,GFLOP,floor s (best),floor s (median),measured,s"
    print(f"\nOne evaluation down to {deepest}, convolutions alone:\n")
    print(table([*heads.split(","), "of the floor (best)"], cells))


def comparable(given: argparse.Namespace) -> Options:
    """Options that let costs be compared."""
    alike = {"scales": 1, "margin": 0, "enlarge": True}
    options = Options.from_dict({**alike, **given.option})
    if options.scales != 1:
        raise ValueError("`scales` should be 1: a plain program has one.")
    return options


def contenders(given: argparse.Namespace) -> list[str]:
    """Those asked for; by default all, PyTorch's where there is PyTorch."""
    names = given.contenders or list(CONTENDERS)
    python = given.torch_python or sys.executable
    try:
        command = [python, "-c", "import torch, numpy"]
        found = not subprocess.run(command, capture_output=True).returncode
    except OSError:
        found = False
    if found or "pytorch" not in names:
        return names
    if given.torch_python or given.contenders:
        raise ValueError(
            f"`torch_python`: {python} has no PyTorch and NumPy. "
            "pip install torch numpy, or name another."
        )
    print(f"Without PyTorch, which {python} has not.", file=sys.stderr)
    return [name for name in names if name != "pytorch"]


def prepared(
    names: list[str], sizes: list[int], folder: str, given: argparse.Namespace
) -> list[dict]:
    """A job for each size, pictures written, once the start was checked."""
    options = comparable(given).to_dict()
    wanted = [{"max_size": size, "steps": given.steps} for size in sizes]
    # From the painting no term of the cost is nought.
    wanted.append({"max_size": min(sizes), "steps": 0, "init": "style"})
    files = {str(Path(folder, f"{n}.npz")): w for n, w in enumerate(wanted)}
    pair = str(given.content), str(given.style)
    job = {"inputs": pair, "options": options, "wanted": files}
    shapes = spawn("prepare", job)["sizes"]
    *jobs, painting = (
        {"options": {**options, **own}, "pictures": file, "size": shapes[file]}
        for file, own in files.items()
    )
    runs = {name: measured(name, painting, given) for name in names}
    print("The total cost of the painting, to start with:")
    for name, run in runs.items():
        print(f"  {CONTENDERS[name]}: {run['curve'][0][2]:.8g}")
    print(flush=True)
    agree(runs)
    return jobs


def measured(name: str, job: dict, given: argparse.Namespace) -> dict:
    """One contender's run; a line on standard error says that it is done."""
    options, task = job["options"], name
    if name == "nst_tf_float32":
        task, options = "nst_tf", {**options, "precision": "float32"}
    python = name == "pytorch" and given.torch_python or sys.executable
    pair = str(given.content), str(given.style)
    more = {"inputs": pair, "options": options, "every": given.every}
    run = spawn(task, {**job, **more}, python)
    evaluations, seconds, cost = run["curve"][-1]
    print(
        f"{name}, {options['max_size']} px: {evaluations} evaluations, "
        f"cost {cost:.6g}, {seconds:.1f} s, {run['peak_megabytes']:.0f} MB",
        file=sys.stderr,
    )
    return run


def plot(path: Path, lines: dict, across: str, up: str, scale: str) -> None:
    """A line a contender; of each point the last two numbers.

    Costs are drawn up to twice the first: L-BFGS without a line search may
    take one step to 1e20 and come back.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 5), layout="constrained")
    axes = figure.subplots()
    for name, points in lines.items():
        columns = zip(*sorted(p[-2:] for p in points), strict=True)
        axes.plot(*columns, ".-", label=CONTENDERS[name])
    axes.set(xlabel=across, ylabel=up, xscale=scale, yscale="log")
    if up == COST[1]:
        axes.set_ylim(top=2 * max(points[0][-1] for points in lines.values()))
    axes.grid(alpha=0.3, which="both")
    axes.legend()
    data = io.BytesIO()
    figure.savefig(data, format="png", dpi=120)
    record.write(path, data.getvalue())


# What is typed.


def numbers(text: str) -> list[int]:
    values = [int(part) for part in text.split(",")]
    if min(values) < 1:
        raise ValueError
    return values


def number(text: str) -> int:
    (value,) = numbers(text)
    return value


def option(text: str) -> tuple[str, str]:
    name, value = text.split("=", 1)
    return name, value


SIZES = "sizes=256,512,1024"
COMMANDS = {  # their flags with defaults
    optimizers: "size=512 steps=50 optimizers",
    compare: f"{SIZES} steps=20 every=1 rounds=3 contenders torch_python "
    "csv plots",
    time_to_cost: "size=256 steps=1000 every=1 csv plots",
    floor: f"{SIZES} csv matrices=1024,2048,4096 repeats=7",
}
FLAGS = {  # how they are read, what they are
    "size": (number, "long side, pixels"),
    "sizes": (numbers, "long sides, pixels, as 256,512"),
    "steps": (number, "a multiple of every; evaluations are one more"),
    "every": (number, "look at each so many steps; 1 may hold a GPU up"),
    "rounds": (number, "runs of each contender at each size"),
    "optimizers": (str, "some; all by default", list(OPTIMIZERS)),
    "contenders": (str, "some; all by default", list(CONTENDERS)),
    "torch_python": (str, "an interpreter that has PyTorch and NumPy"),
    "csv": (Path, "where rows or curves go; for floor, what compare wrote"),
    "plots": (Path, "folder for plots"),
    "matrices": (numbers, "sides of the matrices"),
    "repeats": (number, "products of each"),
}


class Parser(argparse.ArgumentParser):
    """A mistake gets one line."""

    def error(self, message: str):  # noqa: D102
        self.exit(2, f"benchmark.py: {message}\n")


def parsed(
    whole: Parser, arguments: Sequence[str] | None
) -> argparse.Namespace:
    """What was typed; ValueError before anything runs."""
    commands = whole.add_subparsers(required=True, metavar="COMMAND")
    for run, flags in COMMANDS.items():
        one = commands.add_parser(run.__name__, help=run.__doc__)
        one.set_defaults(run=run, every=1, steps=3, csv=None, plots=None)
        for name in ("content", "style")[: 1 + (run is not floor)]:
            one.add_argument(name, type=Path)
        words = "NAME=VALUE, an option of nst_tf; may be repeated"
        one.add_argument("--option", type=option, action="append", help=words)
        for flag in flags.split():
            name, _, default = flag.partition("=")
            kind, words, *choices = FLAGS[name]
            more = {"nargs": "+", "choices": choices[0]} if choices else {}
            more |= {"default": default or None, "help": words}
            one.add_argument(f"--{name}", type=kind, **more)
    given = whole.parse_args(arguments)
    given.option = dict(given.option or ())
    if given.steps < 3 * given.every or given.steps % given.every:
        raise ValueError(
            "`steps` should be a multiple of `every`, at least three times "
            f"it; received {given.steps} and {given.every}."
        )
    if given.plots and not util.find_spec("matplotlib"):
        raise ValueError("`plots` needs matplotlib: pip install matplotlib.")
    if given.run is not floor and given.csv:
        record.check_path(given.csv, "csv", (".csv",))
    return given


def main(arguments: Sequence[str] | None = None) -> None:
    whole = Parser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    try:
        given = parsed(whole, arguments)
        given.run(given)
    except ValueError as error:
        whole.error(str(error))
    except RuntimeError as error:
        whole.exit(1, f"benchmark.py: {error}\n")


if __name__ == "__main__":
    main()
