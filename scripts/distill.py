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
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from PIL import Image, ImageDraw

from nst_tf import devices, images, losses, optimizers, transfer, vgg
from nst_tf import weights as weights_
from nst_tf.objective import Objective
from nst_tf.options import LAYERS as ALL_LAYERS
from nst_tf.options import Options

LAYERS = ALL_LAYERS[:13]  # block1_conv1 ... block5_conv1
LOSS_WEIGHTS = {  # of the layers that are taught
    "block1_conv1": 0.5,
    "block2_conv1": 0.7,
    "block3_conv1": 1.0,
    "block4_conv1": 1.5,
    "block4_conv2": 1.0,
    "block5_conv1": 1.5,
}
TAUGHT = tuple(LOSS_WEIGHTS)
STRIDES = {"block1_conv1": 4, "block2_conv1": 2}  # of the positions compared
HALF = devices.precision("auto") == "mixed_bfloat16"  # half the time
FAST = tf.bfloat16 if HALF else tf.float32
INPUT_SCALE = 1 / 64  # of preprocessed pixels; folded into the first kernel
GROUP = 8  # crops labelled, and trained on, at a time
DEFAULTS = Options()
STYLE, CONTENT = dict(DEFAULTS.style_layers), dict(DEFAULTS.content_layers)


class Settings(NamedTuple):
    """Every number that shapes the file; counts are multiples of GROUP."""

    widths: tuple[int, ...] = (16, 32, 80, 144, 144)  # of the blocks
    wider: float = 1.5  # teacher directions kept, per student channel
    seed: int = 0
    size: int = 160  # of a crop, pixels
    held_out: int = 64  # crops of pictures held out
    first: int = 384  # crops before the first step
    capacity: int = 2400  # crops remembered
    fresh: int = 16  # crops added in each round
    painted: int = 8  # pictures painted through the student at a time
    paint_every: int = 2  # rounds
    paint_steps: int = 40
    paint_times: int = 4  # that a picture is painted on
    paint_after: int = 1000  # steps
    round_steps: int = 100
    learning_rate: float = 2e-3
    gram_weight: float = 1.5
    average: float = 0.998  # decay of the running mean of the weights


# Pictures ----------------------------------------------------------------


def read_pictures(folders) -> dict[str, np.ndarray]:
    """`{name: [h, w, 3] uint8}` of the pictures in folders, or files."""
    found: dict[str, np.ndarray] = {}
    for folder in map(Path, folders):
        if not folder.exists():
            raise ValueError(f'`pictures`: there is no "{folder}".')
        for path in sorted(folder.rglob("*")) if folder.is_dir() else [folder]:
            if path.suffix.lower() in images.SUFFIXES:
                rgb = images.read(path, "pictures").rgb
                found[path.name] = images.to_uint8(rgb)
    if not found:
        raise ValueError(
            "`pictures` should be folders of pictures; received "
            f"{', '.join(map(str, folders))}, which hold none."
        )
    return found


def coloured_noise(generator, size: int) -> np.ndarray:
    """Noise with a natural spectrum, 1 / f^slope, its channels alike."""
    rows, columns = np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)
    frequency = np.hypot(rows, columns)
    frequency[0, 0] = 1
    spectrum = frequency ** -generator.uniform(0.3, 2.0)
    white = generator.normal(size=(3, size, size))
    noise = np.fft.irfft2(np.fft.rfft2(white) * spectrum, (size, size))
    noise /= noise.std()
    mixed = np.tensordot(generator.normal(size=(3, 3)), noise, 1)
    mixed *= generator.uniform(0.05, 0.3) / mixed.std()
    return np.moveaxis(mixed, 0, -1) + generator.random(3)


def drawing(generator, size: int) -> np.ndarray:
    """Leaves, strokes or hatching over one another, drawn at random."""
    palette = generator.integers(0, 256, (generator.integers(2, 12), 3))
    colours = [tuple(map(int, colour)) for colour in palette]
    image = Image.new("RGB", (2 * size, 2 * size), colours[0])
    draw = ImageDraw.Draw(image)
    kind = generator.choice(["leaves", "strokes", "hatching"])
    reach, turn = generator.uniform(0.2, 1), generator.uniform(0, np.pi)
    for _ in range(generator.integers(100, 700)):
        x, y = generator.uniform(-0.1, 2.1, 2) * size
        radius = size * min(reach, 0.02 / generator.random() ** 0.7)
        colour = colours[generator.integers(len(colours))]
        if kind == "leaves":
            tall = radius * generator.uniform(0.4, 1)
            box = x - radius, y - tall, x + radius, y + tall
            shape = generator.choice([draw.ellipse, draw.rectangle])
            shape(box, fill=colour)
            continue
        if kind == "strokes":
            angles = turn + generator.normal(0, 1.5, 4).cumsum() / 2
            length, thick = 2 * radius, 0.1 * size * reach
        else:
            angles = np.full(4, turn + generator.normal(0, 0.015))
            length, thick = 6 * radius, 0.03 * size * reach
        path = length * np.cumsum([np.cos(angles), np.sin(angles)], 1).T
        points = [(x, y), *map(tuple, path + (x, y))]
        draw.line(points, colour, max(1, int(thick * generator.random())))
    return np.asarray(image.reduce(2), "float64") / 255


def crop(generator, pictures, size: int, drawn: float = 0.2) -> np.ndarray:
    """A square of some picture at some scale, varied: `[size, size, 3]`."""
    chance = generator.random()
    if chance < 0.3 * drawn:
        part = coloured_noise(generator, size)
    elif chance < drawn:
        part = drawing(generator, size)
    else:
        picture = pictures[generator.integers(len(pictures))]
        short = min(picture.shape[:2])
        side = short * min(1, size / short) ** generator.random()
        left = generator.uniform(0, picture.shape[1] - side)
        top = generator.uniform(0, picture.shape[0] - side)
        box = left, top, left + side, top + side
        whole, lanczos = Image.fromarray(picture), Image.Resampling.LANCZOS
        part = np.float64(whole.resize((size, size), lanczos, box)) / 255
    if generator.random() < 0.5:
        part = part[:, ::-1]
    if generator.random() < 0.2:
        part = part.swapaxes(0, 1)
    mean = part.mean((0, 1))
    contrast = generator.uniform(0.6, 1.3) * generator.uniform(0.9, 1.1, 3)
    part = (part - mean) * contrast + mean * generator.uniform(0.85, 1.15, 3)
    if generator.random() < 0.3:
        noise = generator.uniform(0, 0.12) * generator.random()
        part = part + generator.normal(0, noise, part.shape)
    return images.to_uint8(part.clip(0, 1).astype("float32"))


def groups(crops: np.ndarray) -> list[np.ndarray]:
    return [crops[k : k + GROUP] for k in range(0, len(crops), GROUP)]


def as_float(crops):
    return tf.cast(crops, tf.float32) / 255


# Networks ----------------------------------------------------------------


def features(image, parts, scale=1.0, dtype=FAST) -> dict:
    """Both networks: bare features."""
    x, seen = vgg.preprocess(image) * scale, {}
    for layer in LAYERS:
        if layer.endswith("conv1") and layer != LAYERS[0]:
            x = tf.nn.avg_pool2d(x, 2, 2, "VALID")
        kernel = tf.cast(parts[layer + "/kernel"], dtype)
        x = tf.nn.conv2d(tf.cast(x, dtype), kernel, 1, "SAME")
        x = tf.nn.bias_add(x, tf.cast(parts[layer + "/bias"], dtype))
        x = tf.nn.relu(x)
        if layer in TAUGHT:
            seen[layer] = tf.cast(x, tf.float32)
    return seen


def teacher_parts(kernels: vgg.Kernels) -> dict[str, tf.Tensor]:
    """The kernels by the names that `features` expects."""
    return {
        f"{layer}/{what}": tf.constant(array)
        for layer in LAYERS
        for what, array in zip(("kernel", "bias"), kernels[layer], strict=True)
    }


class Teacher:
    """The real network's features, in few numbers.

    A student of c channels reaches c directions of the teacher's features at
    most: they are compared along the leading `wider * c` ones, in units of
    their root mean square, and everything else is counted as lost.
    """

    def __init__(self, kernels: vgg.Kernels, settings: Settings):
        parts = teacher_parts(kernels)
        self.network = tf.function(
            lambda crops: features(as_float(crops), parts), autograph=False
        )
        self.label = tf.function(self._label, autograph=False)
        self.widths = {layer: kernels[layer][1].size for layer in TAUGHT}
        self.kept = {
            layer: min(width, int(settings.wider * _width(settings, layer)))
            for layer, width in self.widths.items()
        }
        self.basis: dict[str, np.ndarray] = {}  # by layer, [c_t, kept]
        self.middle: dict[str, np.ndarray] = {}  # by layer, mean Gram matrix
        self.spread: dict[str, float] = {}  # mean squared distance from it

    def look(self, crops: np.ndarray) -> None:
        """Learns bases, units and the spread of Gram matrices from crops."""
        grams: dict[str, list] = {layer: [] for layer in TAUGHT}
        for group in groups(crops):
            for layer, seen in self.network(group).items():
                grams[layer].append(losses.mean_gram(seen).numpy())
        for layer, parts in grams.items():
            gram = np.concatenate(parts).astype("float64")
            middle = gram.mean(0)
            _, vectors = np.linalg.eigh(middle)
            basis = vectors[:, : -self.kept[layer] - 1 : -1]
            basis /= np.sqrt(np.trace(middle))
            self.basis[layer] = basis.astype("float32")
            self.middle[layer] = (basis.T @ middle @ basis).astype("float32")
            apart = basis.T @ (gram - middle) @ basis
            self.spread[layer] = float(np.mean(np.sum(apart**2, (1, 2))))

    def unit(self, layer: str) -> float:
        """Length of a feature vector, root mean square."""
        return 1 / float(np.linalg.norm(self.basis[layer][:, 0]))

    def scale(self, layer: str, width: int) -> float:
        """What makes features of so many channels cost what all would."""
        return self.unit(layer) * float(np.sqrt(width / self.widths[layer]))

    def _label(self, crops) -> dict[str, tf.Tensor]:
        """By layer: features, Gram matrix, energy, and energy left out."""
        labels = {}
        for layer, seen in self.network(crops).items():
            stride = STRIDES.get(layer, 1)
            energy = tf.reduce_mean(tf.reduce_sum(seen**2, -1), (1, 2))
            energy /= self.unit(layer) ** 2
            kept = seen @ self.basis[layer]
            gram = losses.mean_gram(kept)
            kept = tf.cast(kept[:, ::stride, ::stride], tf.float16)
            labels[layer + "/energy"] = energy
            labels[layer + "/beyond"] = energy - tf.linalg.trace(gram)
            labels[layer + "/gram"] = tf.cast(gram, tf.float16)
            labels[layer + "/features"] = kept
        return labels


class Student:
    """A narrow VGG-19 and its embeddings, all in one vector of weights."""

    def __init__(self, settings: Settings, teacher: Teacher):
        self.teacher = teacher
        generator = np.random.default_rng(settings.seed)
        start, channels = {}, 3
        for layer in LAYERS:
            width = _width(settings, layer)
            shape = 3, 3, channels, width
            kernel = generator.normal(0, np.sqrt(2 / (9 * channels)), shape)
            start[layer + "/kernel"] = kernel
            start[layer + "/bias"] = np.zeros(width)
            if layer in TAUGHT:
                shape = width, teacher.kept[layer]
                embedding = generator.normal(0, np.prod(shape) ** -0.5, shape)
                start[layer + "/embedding"] = embedding
            channels = width
        self.shapes = {name: part.shape for name, part in start.items()}
        vector = np.concatenate([part.ravel() for part in start.values()])
        self.vector = tf.Variable(vector, dtype=tf.float32, trainable=False)

    def parts(self, vector) -> dict[str, tf.Tensor]:
        """The vector's arrays by name."""
        sizes = [int(np.prod(shape)) for shape in self.shapes.values()]
        named = zip(self.shapes.items(), tf.split(vector, sizes), strict=True)
        return {name: tf.reshape(part, shape) for (name, shape), part in named}

    def assign(self, parts: dict[str, np.ndarray]) -> None:
        """Takes arrays by name; those that are not given stay."""
        kept = {k: part.numpy() for k, part in self.parts(self.vector).items()}
        arrays = (kept | parts).values()
        self.vector.assign(np.concatenate([each.ravel() for each in arrays]))

    def take_over(self, arrays: dict[str, np.ndarray]) -> None:
        """Takes the kernels of a file, which may be narrower.

        What is wider here begins at random, and the old channels do not see
        the new ones. The embeddings are not in a file: see `Training.fit`.
        """
        parts = {k: part.numpy() for k, part in self.parts(self.vector).items()}
        for layer in LAYERS:
            kernel, bias = parts[layer + "/kernel"], parts[layer + "/bias"]
            given = arrays[layer + "/kernel"].astype("float32")
            given = given / INPUT_SCALE if layer == LAYERS[0] else given
            seen, width = given.shape[2:]
            if seen > kernel.shape[2] or width > kernel.shape[3]:
                raise ValueError(
                    f"`widths` should be those of the file at least: {layer} "
                    f"has {width} channels there; received {kernel.shape[3]}."
                )
            kernel[:, :, seen:, :width] = 0
            kernel[:, :, :seen, :width] = given
            bias[:width] = arrays[layer + "/bias"]
        self.assign(parts)

    def __call__(self, image) -> dict[str, tf.Tensor]:
        """Embedded features, scaled to cost what the teacher's cost."""
        parts, found = self.parts(self.vector), {}
        seen = features(image, parts, INPUT_SCALE)
        for layer in TAUGHT:
            embedding = parts[layer + "/embedding"]
            scale = self.teacher.scale(layer, self.teacher.kept[layer])
            found[layer] = seen[layer] @ embedding * scale
        return found

    def arrays(self, vector) -> dict[str, np.ndarray]:
        """What the file holds, float16."""
        kept = {}
        for name, part in self.parts(vector).items():
            layer, _, what = name.partition("/")
            part = part.numpy()
            if name == LAYERS[0] + "/kernel":
                part = part * INPUT_SCALE
            if what == "embedding":
                name = layer + "/projection"
                part = fold(part) * self.teacher.scale(layer, len(part))
            kept[name] = part.astype("float16")
        return kept


def _width(settings: Settings, layer: str) -> int:
    return settings.widths[int(layer[5]) - 1]


def fold(embedding: np.ndarray) -> np.ndarray:
    """The symmetric P [c, c] with P P^T = E E^T for E [c, any]."""
    embedding = embedding.astype("float64")
    values, vectors = np.linalg.eigh(embedding @ embedding.T)
    return (vectors * np.sqrt(values.clip(0))) @ vectors.T


def errors(student: Student, vector, batch) -> dict[str, tuple]:
    """Squared errors, and what they are shares of, of each crop `[n]`.

    By `layer/features`, a share of the squared length of the features, and
    `layer/gram`, a share of the squared distance from the mean Gram matrix.
    """
    parts, found = student.parts(vector), {}
    seen = features(as_float(batch[""]), parts, INPUT_SCALE)
    for layer in TAUGHT:
        stride, embedding = STRIDES.get(layer, 1), parts[layer + "/embedding"]
        wanted = tf.cast(batch[layer + "/features"], tf.float32)
        given = seen[layer][:, ::stride, ::stride] @ embedding
        wrong = tf.reduce_mean(tf.reduce_sum((given - wanted) ** 2, -1), (1, 2))
        wrong += batch[layer + "/beyond"]
        found[layer + "/features"] = wrong, batch[layer + "/energy"]
        wanted = tf.cast(batch[layer + "/gram"], tf.float32)
        given = losses.mean_gram(seen[layer])
        given = tf.einsum("ak,nab,bl->nkl", embedding, given, embedding)
        far = wanted - student.teacher.middle[layer]
        found[layer + "/gram"] = tuple(
            tf.reduce_sum(apart**2, (1, 2)) for apart in (given - wanted, far)
        )
    return found


def shares(found: list[dict[str, tuple]]) -> dict[str, float]:
    """Errors of several groups of crops as shares of the whole."""
    totals = {
        key: np.sum([np.sum(each[key], 1) for each in found], 0)
        for key in found[0]
    }
    return {
        key: round(float(wrong / whole), 4)
        for key, (wrong, whole) in totals.items()
    }


# Training ----------------------------------------------------------------


class Painter:
    """Pictures that the student likes: style transfer through it.

    The optimiser finds what the student cannot tell from the style and the
    teacher can; labelled by the teacher, that is what is most worth learning.
    """

    def __init__(self, student: Student, settings: Settings):
        self.settings, self.engine = settings, engine(student)
        shape = settings.painted, settings.size, settings.size, 3
        self.contents = np.zeros(shape, "uint8")
        self.styles = np.zeros(shape, "uint8")
        self.pictures = np.zeros(shape, "float32")
        self.weights = np.ones(settings.painted, "float32")

    def paint(self, generator, pictures, turn: int) -> np.ndarray:
        """Paints on at every picture, and begins some anew."""
        settings = self.settings
        for k in range(settings.painted):
            aged = (turn + k) % settings.paint_times == 0
            if aged or not self.contents[k].any():
                self.contents[k] = crop(generator, pictures, settings.size)
                self.styles[k] = crop(generator, pictures, settings.size)
                self.pictures[k] = self.contents[k] / np.float32(255)
                if generator.random() < 0.25:
                    self.pictures[k] = generator.random(self.pictures[k].shape)
                self.weights[k] = generator.choice([1, 1, 1, 10, 100])
            self.pictures[k] = paint(
                self.engine,
                as_float(self.contents[k]),
                as_float(self.styles[k]),
                self.pictures[k],
                settings.paint_steps,
                self.weights[k],
            )
        return images.to_uint8(self.pictures)


def engine(network) -> transfer.Transfer:
    """Style transfer with the project's defaults, without a margin."""
    method = optimizers.lbfgs
    objective = Objective(network, *DEFAULTS.used_layers())
    return transfer.Transfer(objective, lambda rate: method())


def paint(engine_, content, style, image, steps: int, weight=1.0):
    """The best picture `[h, w, 3]` after so many steps from `image`."""
    numbers = transfer.Numbers(
        tf.constant(DEFAULTS.content_weight),
        tf.constant(DEFAULTS.style_weight * weight, tf.float32),
        tf.constant(DEFAULTS.tv_weight),
        tf.constant(0.0),
    )
    targets = engine_.objective.targets(content[None], [style[None]], [1.0])
    state = engine_.start(tf.constant(image[None]), targets, numbers)
    state = engine_.advance(state, targets, numbers, tf.constant(steps))
    return np.clip(state.best_image[0], 0, 1)


class Training:
    """Everything between two rounds, and how to go on from there."""

    COUNTS = "added", "round", "steps", "seconds", "curve", "before"
    PAINTED = "contents", "styles", "pictures", "weights"

    def __init__(self, kernels: vgg.Kernels, settings: Settings):
        self.settings = settings
        self.teacher = Teacher(kernels, settings)
        self.student = Student(settings, self.teacher)
        self.painter = Painter(self.student, settings)
        vector = self.student.vector
        self.average = tf.Variable(vector, trainable=False)
        slots = *optimizers.adam(0.0).init(vector), tf.zeros_like(vector)
        self.slots = [tf.Variable(slot, trainable=False) for slot in slots]
        self.memory: dict[str, np.ndarray] = {}  # crops ("") and labels
        self.added = self.round = self.steps = 0
        self.seconds = 0.0
        self.curve: list[dict] = []  # errors on what a round added
        self.before: dict = {}  # metadata of the file that it began with
        self.advance = tf.function(self._advance, autograph=False)
        self.judge = tf.function(
            lambda batch: errors(self.student, self.average, batch),
            autograph=False,
        )

    def begin(self, pictures) -> None:
        """Looks at the first crops."""
        generator = np.random.default_rng([self.settings.seed, 0])
        crops = self.fresh(generator, pictures, self.settings.first)
        self.teacher.look(crops)
        self.add(crops)

    def begin_with(self, path: Path) -> None:
        """After `begin`: the kernels of a file, and embeddings that fit."""
        arrays, self.before = read_file(path)
        self.student.take_over(arrays)
        self.fit()
        self.average.assign(self.student.vector)

    def fit(self) -> None:
        """The embeddings, by least squares on the crops remembered."""
        parts = self.student.parts(self.student.vector)
        sums: dict[str, list] = {layer: [0.0, 0.0] for layer in TAUGHT}
        for k in range(0, min(self.added, self.settings.capacity), GROUP):
            batch = {key: a[k : k + GROUP] for key, a in self.memory.items()}
            seen = features(as_float(batch[""]), parts, INPUT_SCALE)
            for layer, both in sums.items():
                stride = STRIDES.get(layer, 1)
                given, wanted = (
                    np.reshape(each, (-1, each.shape[-1])).astype("float64")
                    for each in (
                        seen[layer][:, ::stride, ::stride],
                        batch[layer + "/features"],
                    )
                )
                both[0] += given.T @ given
                both[1] += given.T @ wanted
        found = {}
        for layer, (squares, products) in sums.items():
            least = 1e-6 * np.trace(squares) / len(squares)
            squares += least * np.eye(len(squares))
            fitted = np.linalg.solve(squares, products)
            found[layer + "/embedding"] = fitted.astype("float32")
        self.student.assign(found)

    def go_on(self, pictures, progress: float) -> dict:
        """One round: new crops, new painted pictures, steps on all."""
        settings = self.settings
        self.round += 1
        generator = np.random.default_rng([settings.seed, self.round])
        fresh = self.fresh(generator, pictures, settings.fresh)
        report: dict = {"fresh": self.add(fresh)}
        turn, rest = divmod(self.round, settings.paint_every)
        if self.steps >= settings.paint_after and not rest:
            painted = self.painter.paint(generator, pictures, turn)
            report["painted"] = self.add(painted)
        known = min(self.added, settings.capacity)
        rate = settings.learning_rate * min(1, (self.steps + 100) / 500)
        rate *= 0.01 + 0.99 * (0.5 + 0.5 * np.cos(np.pi * min(1, progress)))
        total = 0.0
        for _ in range(settings.round_steps):
            chosen = generator.choice(known, GROUP, replace=False)
            batch = {key: part[chosen] for key, part in self.memory.items()}
            total += float(self.advance(tf.constant(rate, tf.float32), batch))
        self.steps += settings.round_steps
        loss = total / settings.round_steps
        report = {"step": self.steps, "loss": loss, "rate": rate, **report}
        self.curve.append(report)
        return report

    def fresh(self, generator, pictures, count, drawn=0.2) -> np.ndarray:
        """So many new crops, a share of them drawn or noise."""
        size = self.settings.size
        crops = [crop(generator, pictures, size, drawn) for _ in range(count)]
        return np.stack(crops)

    def add(self, crops: np.ndarray) -> dict[str, float]:
        """Labels and remembers crops; the student's errors on them, unseen."""
        found, capacity = [], self.settings.capacity
        for group in groups(crops):
            batch = {"": group, **self.teacher.label(group)}
            found.append(self.judge(batch))
            places = np.arange(self.added, self.added + GROUP) % capacity
            for key, part in batch.items():
                part = np.asarray(part)
                if key not in self.memory:
                    shape = capacity, *part.shape[1:]
                    self.memory[key] = np.zeros(shape, part.dtype)
                self.memory[key][places] = part  # instead of the oldest
            self.added += GROUP
        return shares(found)

    def hold_out(self, pictures) -> None:
        """Labels crops of pictures that are never trained on."""
        generator = np.random.default_rng([self.settings.seed, 2**31])
        crops = self.fresh(generator, pictures, self.settings.held_out, 0.0)
        self.held_out = [
            {"": group, **self.teacher.label(group)} for group in groups(crops)
        ]

    def held_out_errors(self) -> dict[str, float]:
        """The student's errors on the pictures held out."""
        return shares([self.judge(batch) for batch in self.held_out])

    def save(self, path: Path) -> None:
        """A checkpoint; labels are left out, the teacher gives them again."""
        counts = {name: getattr(self, name) for name in self.COUNTS}
        counts["settings"] = self.settings._asdict()
        counts["spread"] = self.teacher.spread
        arrays = {
            "counts": np.array(json.dumps(counts)),
            "vector": self.student.vector.numpy(),
            "average": self.average.numpy(),
            "crops": self.memory[""][: self.added],
        }
        for k, slot in enumerate(self.slots):
            arrays[f"slot/{k}"] = slot.numpy()
        for name in self.PAINTED:
            arrays[name] = getattr(self.painter, name)
        for layer in TAUGHT:
            arrays[f"basis/{layer}"] = self.teacher.basis[layer]
            arrays[f"middle/{layer}"] = self.teacher.middle[layer]
        write(path, arrays)

    @classmethod
    def load(cls, path: Path, kernels: vgg.Kernels, **changes) -> "Training":
        """Goes on from a checkpoint as if nothing but the changes happened."""
        try:
            arrays = dict(np.load(path))
            counts = json.loads(str(arrays["counts"]))
        except (OSError, ValueError, KeyError) as error:
            raise ValueError(
                f'`resume` should be a checkpoint of a training; "{path}" is '
                f"not one ({error})."
            ) from None
        settings = Settings(**{**counts["settings"], **changes})
        training = cls(kernels, settings)
        for layer in TAUGHT:
            training.teacher.basis[layer] = arrays[f"basis/{layer}"]
            training.teacher.middle[layer] = arrays[f"middle/{layer}"]
        training.teacher.spread = counts["spread"]
        training.student.vector.assign(arrays["vector"])
        training.average.assign(arrays["average"])
        for k, slot in enumerate(training.slots):
            slot.assign(arrays[f"slot/{k}"])
        for name in cls.PAINTED:
            setattr(training.painter, name, arrays[name])
        training.add(arrays["crops"])
        for name in cls.COUNTS:
            setattr(training, name, counts[name])
        if changes:
            change = {"step": training.steps, "changed": changes}
            training.curve.append(change)
        return training

    def _advance(self, rate, batch):
        """A step: kernels by Muon, biases and embeddings by Adam."""
        student, vector = self.student, tf.identity(self.student.vector)
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(vector)
            loss = self._loss(errors(student, vector, batch))
        gradient = tf.clip_by_norm(tape.gradient(loss, vector), 1.0)
        *slots, momentum = map(tf.identity, self.slots)
        adam = optimizers.adam(rate, 0.9, 0.999, 1e-8)
        new, slots = adam.update(
            vector, loss, gradient, optimizers.AdamSlots(*slots)
        )
        momentum = 0.95 * momentum + gradient
        steps = student.parts(new - vector)
        for name, part in student.parts(gradient + 0.95 * momentum).items():
            if name.endswith("kernel"):
                steps[name] = -rate * orthogonal(part)
        flat = [tf.reshape(step, [-1]) for step in steps.values()]
        new = vector + tf.concat(flat, 0)
        count = tf.cast(slots.step, tf.float32)
        kept = tf.minimum(self.settings.average, (1 + count) / (10 + count))
        student.vector.assign(new)
        self.average.assign(kept * self.average + (1 - kept) * new)
        for variable, slot in zip(self.slots, [*slots, momentum], strict=True):
            variable.assign(slot)
        return loss

    def _loss(self, found) -> tf.Tensor:
        """The errors' sum, relative so that dull crops count like vivid."""
        terms = []
        for key, (wrong, whole) in found.items():
            layer, _, what = key.partition("/")
            weight, typical = LOSS_WEIGHTS[layer], 1.0
            if what == "gram":
                weight *= self.settings.gram_weight
                typical = self.teacher.spread[layer]
            share = tf.reduce_mean(wrong / (0.5 * whole + 0.5 * typical))
            terms.append(weight * share)
        return tf.add_n(terms)


def orthogonal(kernel: tf.Tensor) -> tf.Tensor:
    """Nearly the nearest kernel of equal singular values, as a step.

    Muon (Jordan et al. 2024): five Newton-Schulz iterations; of the size that
    Liu et al. (arXiv:2502.16982) give it, so that it takes Adam's rates. From
    the same checkpoint it got further in 160 steps than Adam in 300.
    """
    matrix = tf.reshape(kernel, [-1, kernel.shape[-1]])
    rows, columns = matrix.shape
    x = matrix if rows > columns else tf.transpose(matrix)
    x = tf.cast(x / (tf.norm(x) + 1e-7), FAST)
    for _ in range(5):
        gram = tf.matmul(x, x, transpose_a=True)
        x = 3.4445 * x + tf.matmul(
            x, -4.775 * gram + 2.0315 * tf.matmul(gram, gram)
        )
    x = x if rows > columns else tf.transpose(x)
    size = 0.2 * float(max(rows, columns)) ** 0.5
    return tf.reshape(size * tf.cast(x, tf.float32), kernel.shape)


def write(path: Path, arrays: dict[str, np.ndarray], pack=np.savez) -> None:
    """Writes under a temporary name first: a broken run breaks no file."""
    partial = path.with_suffix(".part.npz")
    pack(partial, **arrays)
    partial.replace(path)


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


def read_file(path: Path) -> tuple[dict[str, np.ndarray], dict]:
    """The arrays that `train` wrote, and their metadata."""
    try:
        arrays = dict(np.load(path))
        return arrays, json.loads(str(arrays.pop("metadata")))
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(
            f"`file` should be a slim network, as `train` writes it; "
            f'"{path}" is not one ({error}).'
        ) from None


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
        image = paint(engine_, small[0], strokes[0], image, arguments.steps)
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
