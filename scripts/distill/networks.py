"""Teacher and student of `distill.py`, and how far apart they are."""

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from nst_tf.engine import vgg
from nst_tf.formulas import losses
from nst_tf.machine import devices
from nst_tf.request.networks import LAYERS as ALL_LAYERS

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
BITS = 5  # significant, of float16's eleven: 1.2 bytes a number, packed
GROUP = 8  # crops labelled, and trained on, at a time


class Settings(NamedTuple):
    """Every number that shapes the file; counts are multiples of GROUP."""

    widths: tuple[int, ...] = (16, 32, 80, 176, 384)  # of the blocks
    wider: float = 1.5  # teacher directions kept, per student channel
    seed: int = 0
    size: int = 160  # of a crop, pixels
    held_out: int = 64  # crops of pictures held out
    first: int = 640  # crops before the first step
    capacity: int = 2400  # crops remembered
    fresh: int = 64  # crops added in each round
    painted: int = 8  # pictures painted through the student at a time
    paint_every: int = 1  # rounds
    paint_steps: int = 40
    paint_times: int = 4  # that a picture is painted on
    paint_after: int = 1000  # steps
    round_steps: int = 100
    learning_rate: float = 1e-3
    gram_weight: float = 1.5
    average: float = 0.998  # decay of the running mean of the weights


def groups(crops: np.ndarray) -> list[np.ndarray]:
    return [crops[k : k + GROUP] for k in range(0, len(crops), GROUP)]


def as_float(crops):
    return tf.cast(crops, tf.float32) / 255


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
        """What the file holds, float16 of `BITS`."""
        kept = {}
        for name, part in self.parts(vector).items():
            layer, _, what = name.partition("/")
            part = part.numpy()
            if name == LAYERS[0] + "/kernel":
                part = part * INPUT_SCALE
            if what == "embedding":
                name = layer + "/projection"
                part = fold(part) * self.teacher.scale(layer, len(part))
            kept[name] = shortened(part)
        return kept


def _width(settings: Settings, layer: str) -> int:
    return settings.widths[int(layer[5]) - 1]


def shortened(array: np.ndarray) -> np.ndarray:
    """As float16 whose last bits are zero: the file packs them away."""
    significand, exponent = np.frexp(array)
    rounded = np.rint(significand * 2**BITS) / 2**BITS
    return np.ldexp(rounded, exponent).astype("float16")


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
