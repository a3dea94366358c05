"""The training of `distill.py`: rounds of new crops, pictures, and steps."""

import json
from pathlib import Path

import numpy as np
import tensorflow as tf
from crops import crop, varied
from networks import (
    FAST,
    GROUP,
    INPUT_SCALE,
    LOSS_WEIGHTS,
    STRIDES,
    TAUGHT,
    Settings,
    Student,
    Teacher,
    as_float,
    errors,
    features,
    groups,
    read_file,
    shares,
)

from nst_tf.engine import transfer, vgg
from nst_tf.files import images
from nst_tf.formulas import optimizers
from nst_tf.request.options import Options

# The defaults, and block 5, for whoever asks for it.
DEFAULTS = Options(
    style_layers=(*Options().style_layers, ("block5_conv1", 0.002))
)


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
                self.weights[k] = generator.choice([1, 1, 10, 10, 100])
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
    options = DEFAULTS.replace(margin=0)
    return transfer.build(network, options, transfer.Arithmetic())


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

    def fresh(self, generator, pictures, count) -> np.ndarray:
        """So many new crops."""
        size = self.settings.size
        return np.stack(
            [varied(generator, pictures, size) for _ in range(count)]
        )

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
        crops = [
            crop(generator, pictures, self.settings.size, drawn=0)
            for _ in range(self.settings.held_out)
        ]
        self.held_out = [
            {"": group, **self.teacher.label(group)}
            for group in groups(np.stack(crops))
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
