"""Looking at what the network sees, at the terminal."""

import dataclasses
import math
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import tensorflow as tf

from nst_tf.batches import cluster, stream
from nst_tf.batches.jobs import Job
from nst_tf.files import encoding, record
from nst_tf.machine import devices, memory
from nst_tf.request import presets
from nst_tf.request.options import Options
from nst_tf.request.values import suggest
from nst_tf.study import found as found_
from nst_tf.study import patches as patches_
from nst_tf.study import sheets
from nst_tf.study import sweep as sweep_
from nst_tf.study.axes import parse_axis
from nst_tf.study.figures import FIGURES
from nst_tf.study.sweep import Painted
from nst_tf.stylization.result import Result
from nst_tf.terminal import flags
from nst_tf.terminal.bar import TIMED, Bar
from nst_tf.terminal.session import STOPPED, stop_signals


def patches(given: flags.Given) -> int:
    """Looks through a folder; returns the exit code."""
    typed = given.flags
    if not typed["images"]:
        raise ValueError(
            "`images` is missing. Give a folder of pictures, as in "
            "--images=photos."
        )
    sources = patches_.listed(typed["images"])
    network = given.options.get("network", "vgg19")
    found_.outputs(typed["output"], typed["layers"], sources, network)
    if typed["record"]:
        files = found_.files(sources)
        record.check_path(typed["record"], "record", (".json",), files)
    tf.get_logger().setLevel("ERROR")
    devices.select(typed["device"])
    names = "layers", "units", "per_image", "max_size", "by"
    asked = {**given.options, **{name: typed[name] for name in names}}
    bar = Bar(typed["quiet"], TIMED)
    with stop_signals() as stopped:
        for found in patches_.search(sources, **asked):
            bar.show(found.count, found.total, "pictures")
            if stopped or found.count == found.total:
                break
        for path in found.save(typed["output"]):
            bar.say(f"Saved {path}")
        if typed["record"]:
            found.save_record(typed["record"])
            bar.say(f"Saved {typed['record']}")
    if stopped:
        done = f"{found.count} of {found.total} pictures"
        return _stopped(stopped[0], f"the sheets show {done}.")
    return 0


def sweep(given: flags.Given) -> int:
    """Paints a grid; returns the exit code."""
    if not given.flags["over"]:
        raise ValueError(
            "`over` is missing. Give an option and its values, as in "
            "--over=style_weight=4,40,400."
        )
    axes = [parse_axis(text) for text in given.flags["over"]]
    return _paint(given, axes, {}, "sweep")


def figure(given: flags.Given) -> int:
    """Paints a figure's grid; returns the exit code."""
    name, *more = given.arguments
    if more or name not in FIGURES:
        wrong = more[0] if more else name
        raise ValueError(
            f'there is no figure "{wrong}".'
            + (suggest(wrong, FIGURES) or f" Known: {', '.join(FIGURES)}.")
        )
    recipe = FIGURES[name]
    return _paint(given, recipe.axes, recipe.options, name)


def _paint(given: flags.Given, axes, base, name: str) -> int:
    if given.flags["workers"]:
        cluster.check(given.flags["workers"])
        if not given.flags["content"]:
            raise ValueError(
                "`workers` paint photographs, but there is no `content`. Give "
                "one, or leave --workers out."
            )
    grid, files = _grid(given, axes, base, name)
    tf.get_logger().setLevel("ERROR")
    devices.select(given.flags["device"])
    painted = [cell.painted() for cell in grid.cells]
    waiting = [at for at, one in enumerate(painted) if one is None]
    bar = Bar(given.flags["quiet"], TIMED)
    bar.say(f"{len(painted)} pictures, {len(painted) - len(waiting)} done.")
    if given.flags["workers"] and waiting:
        code = _by_workers(given.flags, [grid.cells[at] for at in waiting])
        if code:
            return code
        painted = [cell.painted() for cell in grid.cells]
        # What failed there tells here why; what diverged leaves a picture.
        waiting = [at for at, one in enumerate(painted) if one is None]
    steps = [sum(grid.cells[at].prepare().plan.schedule) for at in waiting]
    with stop_signals() as stopped:
        for place, at in enumerate(waiting):
            for result in _painting(grid.cells[at]):
                done = sum(steps[:place]) + result.count
                bar.show(done, sum(steps), "steps")
                if stopped:
                    left = f"{len(waiting) - place} of {len(painted)} pictures"
                    return _stopped(
                        stopped[0],
                        f"{left} are still to be painted; the same command "
                        "goes on there.",
                    )
            painted[at] = Painted(result.image, result.record)
    whole = [one for one in painted if one]
    _write(grid, whole, files, bar)
    return int(any(one.diverged for one in whole))


def _by_workers(typed, cells: list[sweep_.Cell]) -> int:
    """Cells painted as a batch's jobs; the exit code of what stopped it."""
    from nst_tf.terminal import batch

    bar = Bar(typed["quiet"], TIMED)
    jobs = [
        Job(
            number,
            cell.content,
            tuple(cell.style or ()),
            cell.options,
            str(cell.path.parent.resolve()),
            cell.path.name,
        )
        for number, cell in enumerate(cells, 1)
    ]
    sizes = [cell.prepare().plan.size for cell in cells]
    largest = max(range(len(cells)), key=lambda at: math.prod(sizes[at]))
    sample = sizes[largest], cells[largest].options
    machine = typed["workers"], None, typed["device"]
    try:
        with (
            batch.unlogged(),
            batch.stop_signals(),
            cluster.opened(len(jobs), sample, *machine) as crew,
        ):
            seat = crew.seat._replace(thumbnails=False)
            crew = dataclasses.replace(crew, seat=seat)
            for count, _ in enumerate(stream.finished(crew, jobs), 1):
                bar.show(count, len(jobs), "pictures")
    except stream.Stopped as stopped:
        bar.say(f"nst-tf: stopped: {stopped} What is finished stays.")
        return 1
    except batch.Signal as stopped:
        return _stopped(
            stopped.number,
            "what is finished stays; the same command goes on there.",
        )
    return 0


def _painting(cell: sweep_.Cell) -> Iterator[Result]:
    """What `paint` yields; what goes wrong is told with the cell's labels."""
    labels = ", ".join(cell.labels)
    try:
        for result in cell.paint():
            yield result
        if result.diverged:
            print(f"nst-tf: {labels}: {result.divergence()}", file=sys.stderr)
    except (tf.errors.ResourceExhaustedError, MemoryError):
        plan = cell.prepare().plan
        told = memory.out_of_memory(
            plan.size, cell.options, plan.arithmetic.tile
        )
        raise ValueError(f"{labels}: {told}") from None


def _grid(given: flags.Given, axes, base, name: str):
    """The grid, and the files to write; nothing is painted yet."""
    typed = given.flags
    varied = {n for axis in axes for choice in axis for n in choice.changes}
    for option in varied & set(given.options):
        raise ValueError(f"`{option}` is what is varied here. Leave it out.")
    if typed["preset"]:
        base = presets.merge(base, presets.read(typed["preset"]))
    options = Options.from_dict(presets.merge(base, given.options))
    output = Path(typed["output"] or f"{name}.png")
    files = {
        "output": str(output),
        "costs": typed["costs"] or str(output.with_suffix(".csv")),
        "pdf": typed["pdf"],
    }
    encoding.check_suffix(output)
    folder = typed["cells"] or output.with_suffix("")
    grid = sweep_.grid(typed["content"], typed["style"], axes, folder, options)
    pictures = [typed["content"], *(typed["style"] or [])]
    pictures = [one for one in pictures if one]
    for cell in grid.cells:
        pictures += cell.options.picture_paths()
    record.check_path(Path(folder, "a cell"), "cells")
    for argument, suffixes in (
        ("output", ()),
        ("costs", (".csv", ".json")),
        ("pdf", (".pdf",)),
    ):
        if files[argument]:
            record.check_path(files[argument], argument, suffixes, pictures)
    if typed["pdf"]:
        sheets.check_matplotlib("pdf")
    return grid, files


def _write(grid, painted, files, bar: Bar) -> None:
    suffix = encoding.check_suffix(files["output"])
    data = encoding.encode(grid.sheet(painted), suffix)
    record.write(files["output"], data)
    bar.say(f"Saved {files['output']}")
    record.write_costs(files["costs"], grid.rows(painted))
    bar.say(f"Saved {files['costs']}")
    if files["pdf"]:
        record.write(files["pdf"], grid.pdf(painted))
        bar.say(f"Saved {files['pdf']}")


def _stopped(number: int, done: str) -> int:
    received = signal.Signals(number)
    text = f"nst-tf: stopped by {received.name}: {done}"
    print(text, file=sys.stderr, flush=True)
    return STOPPED[received]
