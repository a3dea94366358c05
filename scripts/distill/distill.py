#!/usr/bin/env python3
"""Train the slim VGG-19 that the package ships, and judge it.

`distill.py train` teaches a narrow network of VGG-19's topology, from a random
start of its own, what the style and content layers of the real one see.
`distill.py evaluate` judges what came of it by the real network.

Each layer's embedding, a matrix E without bias, takes the student's features
to the teacher's: f_s E ~ f_t. The file keeps the square P with
P P^T = (c_s / c_t) E E^T instead: Gram and content distances of f_s P, in
the project's normalisations at the student's width, are those of f_s E at
the teacher's.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import tensorflow as tf
from crops import VARIED, read_pictures
from networks import (
    BITS,
    GROUP,
    LOSS_WEIGHTS,
    STRIDES,
    TAUGHT,
    Settings,
    features,
    read_file,
    teacher_parts,
)
from PIL import Image
from training import DEFAULTS, Training, engine, paint, write

from nst_tf.engine import transfer
from nst_tf.files import images
from nst_tf.files import weights as weights_
from nst_tf.formulas import losses

STYLE, CONTENT = dict(DEFAULTS.style_layers), dict(DEFAULTS.content_layers)


def train(arguments) -> None:
    """Trains, and writes file and checkpoint every few rounds."""
    teacher = weights_.load(arguments.weights)
    pictures = read_pictures(arguments.pictures)
    held_out = {
        name: pictures.pop(name)
        for name in list(pictures)
        if any(word in name for word in arguments.held_out)
    }
    if not pictures or not held_out:
        raise ValueError(
            "`held_out` should name some of the pictures, not all; received "
            f"{' '.join(arguments.held_out)}."
        )
    material = list(pictures.values())
    changes = dict(map(change_of, arguments.change))
    if arguments.resume:
        training = Training.load(arguments.resume, teacher.kernels, **changes)
    else:
        settings = Settings(tuple(arguments.widths), seed=arguments.seed)
        settings = settings._replace(**changes)
        training = Training(teacher.kernels, settings)
        training.begin(material)
        if arguments.start:
            training.begin_with(arguments.start)
    training.hold_out(list(held_out.values()))
    recipe = {
        "teacher_sha256": teacher.sha256,
        "pictures": list(pictures),
        "held_out": list(held_out),
        "planned": [arguments.steps, arguments.seconds],
    }
    started, progress = time.monotonic() - training.seconds, 0.0
    while progress < 1:
        progress = max(
            training.steps / arguments.steps,
            training.seconds / arguments.seconds,
        )
        if progress >= 1 or training.round % 5 == 0:
            store(training, recipe, arguments.output)
        if progress < 1:
            report = training.go_on(material, progress)
            training.seconds = time.monotonic() - started
            tell(report, training.seconds, progress)


def change_of(text: str) -> tuple[str, float]:
    """`gram_weight=2` -> a setting's name and its value, in its own type."""
    name, _, value = text.partition("=")
    kinds = {key: type(each) for key, each in Settings()._asdict().items()}
    try:
        return name, {int: int, float: float}[kinds[name]](value)
    except (KeyError, ValueError):
        raise ValueError(
            "`change` should be NAME=NUMBER, of a setting that is a number; "
            f'received "{text}".'
        ) from None


def store(training: Training, recipe: dict, output: Path) -> None:
    """Writes the file, and beside it the checkpoint to go on from."""
    metadata = {
        **recipe,
        "steps": training.steps,
        "seconds": round(training.seconds),
        "settings": training.settings._asdict(),
        "group": GROUP,
        "loss_weights": LOSS_WEIGHTS,
        "strides": STRIDES,
        "varied": VARIED,
        "bits": BITS,
        "errors": training.held_out_errors(),
        "changes": [each for each in training.curve if "changed" in each],
        "curve": [each for each in training.curve if "loss" in each][::10],
        "before": training.before,
    }
    arrays = training.student.arrays(training.average)
    arrays["metadata"] = np.array(json.dumps(metadata))
    write(output, arrays, np.savez_compressed)
    training.save(output.with_suffix(".checkpoint.npz"))
    show("held out", metadata["errors"])


def tell(report: dict, seconds: float, progress: float) -> None:
    """How far the training is."""
    left = f", {seconds / progress / 60:.0f} min in all" if progress else ""
    print(
        f"step {report['step']}, loss {report['loss']:.3f}, "
        f"{seconds / 60:.1f} min{left}"
    )
    for kind in ("fresh", "painted"):
        if kind in report:
            show(kind, report[kind])


def show(kind: str, found: dict[str, float]) -> None:
    """One line: errors of features, then of Gram matrices, layer by layer."""
    parts = [
        " ".join(f"{found[f'{layer}/{what}']:6.3f}" for layer in TAUGHT)
        for what in ("features", "gram")
    ]
    print(f"  {kind:9}" + " |".join(parts), flush=True)


# Judging -----------------------------------------------------------------


def read_network(path: Path):
    """A file's network, from image to projected features; its metadata."""
    arrays, metadata = read_file(path)
    parts = {name: np.float32(array) for name, array in arrays.items()}

    def network(image):
        seen = features(image, parts, dtype=tf.float32)
        return {
            layer: seen[layer] @ parts[layer + "/projection"]
            for layer in TAUGHT
        }

    return network, metadata


def evaluate(arguments) -> None:
    """Judges a file by the real network; pictures go to `--folder`."""
    slim, metadata = read_network(arguments.file)
    parts = teacher_parts(weights_.load(arguments.weights).kernels)
    networks = {
        "slim": slim,
        "real": lambda image: features(image, parts, dtype=tf.float32),
    }
    print(f"{metadata['steps']} steps, {metadata['seconds']} seconds")
    print("relative squared errors, pictures held out: features | Gram")
    show("", metadata["errors"])
    if arguments.pictures:
        pictures = list(read_pictures(arguments.pictures).values())
        correlate(networks, pictures, arguments.size)
    arguments.folder.mkdir(parents=True, exist_ok=True)
    for pair in arguments.pairs:
        content, _, style = pair.partition(",")
        paint_and_judge(networks, Path(content), Path(style), arguments)


def correlate(networks, pictures: list[np.ndarray], size: int) -> None:
    """Spearman's rank correlation of distances over all pairs of pictures."""
    ranks: dict[str, list] = {}
    for network in networks.values():
        seen = [network(square(picture, size)) for picture in pictures]
        rows: dict[str, list] = {}
        for k, one in enumerate(seen):
            for other in seen[:k]:
                for name, cost in distances(one, other).items():
                    rows.setdefault(name, []).append(cost)
        for name, row in rows.items():
            ranks.setdefault(name, []).append(np.argsort(np.argsort(row)))
    print(f"rank correlations of distances, {len(pictures)} pictures:")
    for name, both in ranks.items():
        print(f"  {name:13}{np.corrcoef(*both)[0, 1]:.3f}")


def distances(one, other) -> dict[str, float]:
    """Style costs by layer, and both costs with the default weights."""
    costs = {
        layer: float(losses.layer_style_cost(one[layer], other[layer]))
        for layer in STYLE
    }
    costs["style"] = sum(STYLE[layer] * costs[layer] for layer in STYLE)
    costs["content"] = sum(
        weight * float(losses.content_cost(one[layer], other[layer]))
        for layer, weight in CONTENT.items()
    )
    return costs


def square(picture: np.ndarray, size: int) -> np.ndarray:
    """The middle of a picture, `[1, size, size, 3]`."""
    side = min(picture.shape[:2])
    top, left = ((length - side) // 2 for length in picture.shape[:2])
    middle = picture[top : top + side, left : left + side] / np.float32(255)
    return images.resize(middle, (size, size))[None]


def paint_and_judge(networks, content: Path, style: Path, arguments) -> None:
    """What is left of the content's style cost, judged by the real network."""
    pictures = [images.read(path).rgb for path in (content, style)]
    sizes = [images.fit(rgb.shape[:2], arguments.size) for rgb in pictures]
    start, target = map(images.resize, pictures, sizes)
    wanted, before = (networks["real"](each[None]) for each in (target, start))
    whole = distances(wanted, {**wanted, **{k: before[k] for k in STYLE}})
    print(f"{content.stem} x {style.stem}: share of the style cost left")
    for name, network in networks.items():
        path = arguments.folder / f"{content.stem}-{style.stem}-{name}.png"
        if name == "slim" or not path.exists():
            image = coarse_to_fine(network, start, target, arguments)
            Image.fromarray(images.to_uint8(image)).save(path)
        after = networks["real"](images.read(path).rgb[None])
        left = distances(wanted, {**wanted, **{k: after[k] for k in STYLE}})
        shown = " ".join(f"{left[layer] / whole[layer]:.3f}" for layer in STYLE)
        print(f"  {name}: {shown}", flush=True)


def coarse_to_fine(network, content, style, arguments) -> np.ndarray:
    """As the package does it, but for the margin."""
    image, engine_ = content, engine(network)
    for scale in reversed(range(arguments.scales)):
        small, strokes = (
            transfer.shrink(tf.constant(each[None]), 2**scale)
            for each in (content, style)
        )
        image = transfer.resize(image[None], tf.shape(small)[1:3])[0].numpy()
        pictures = small[0], strokes[0], image
        image = paint(engine_, *pictures, arguments.steps, arguments.times)
    return image


def main(argv=None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True)
    trainer = commands.add_parser("train", help="train, or go on training")
    trainer.set_defaults(command=train)
    trainer.add_argument(
        "--pictures", nargs="+", required=True, help="folders, or files"
    )
    trainer.add_argument(
        "--held_out",
        nargs="+",
        required=True,
        help="words in the names of pictures to judge by, not to train on",
    )
    trainer.add_argument(
        "--output",
        type=Path,
        required=True,
        help="FILE.npz; FILE.checkpoint.npz is written beside it",
    )
    trainer.add_argument(
        "--resume", type=Path, help="a checkpoint to go on from"
    )
    trainer.add_argument(
        "--start", type=Path, help="a file to begin with, not at random"
    )
    trainer.add_argument(
        "--change", nargs="*", default=(), help="NAME=NUMBER: new settings"
    )
    trainer.add_argument("--steps", type=int, default=10**9)
    trainer.add_argument("--seconds", type=float, default=3600)
    trainer.add_argument("--seed", type=int, default=0)
    trainer.add_argument(
        "--widths", type=int, nargs=5, default=Settings().widths
    )
    judge = commands.add_parser("evaluate", help="judge a trained file")
    judge.set_defaults(command=evaluate)
    judge.add_argument("file", type=Path)
    judge.add_argument(
        "--pictures", nargs="*", default=(), help="to compare with each other"
    )
    judge.add_argument(
        "--pairs", nargs="*", default=(), help="CONTENT,STYLE: to be painted"
    )
    judge.add_argument("--folder", type=Path, default=Path("."))
    judge.add_argument("--size", type=int, default=256, help="pixels")
    judge.add_argument("--steps", type=int, default=100, help="at each scale")
    judge.add_argument("--scales", type=int, default=2)
    judge.add_argument(
        "--times", type=float, default=1, help="of the style weight"
    )
    for command in (trainer, judge):
        command.add_argument(
            "--weights", default="imagenet", help="of the real network"
        )
    arguments = parser.parse_args(argv)
    try:
        arguments.command(arguments)
    except ValueError as error:
        parser.exit(2, f"distill.py: {error}\n")


if __name__ == "__main__":
    main()
