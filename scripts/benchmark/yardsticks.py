"""What benchmark.py measures: each task in a process of its own.

    scripts/benchmark/yardsticks.py TASK < JOB    TASK: see TASKS; JOB: JSON

nst_tf, and plain programs to hold beside it: the TensorFlow tutorial's
algorithm (Adam, a Keras extractor, an einsum) and that of the PyTorch ports
(L-BFGS), on the costs, pictures and kernels that nst_tf has; and, on costs of
its own, what Katherine Crowson's style-transfer-pytorch is described to do.

A curve is a list of [evaluations, seconds since the process was started,
total cost]; one evaluation is the network run forward and backward, once.
"""

import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from nst_tf.request.networks import LAYERS
from nst_tf.request.options import Options


def run_nst_tf(job: dict) -> dict:
    """The project, through its public verb."""
    import nst_tf
    from nst_tf.machine import devices

    devices.select()
    curve, options = [], Options.from_dict(job["options"])
    for result in nst_tf.snapshots(
        *job["inputs"], options=options, every=job["every"]
    ):
        seconds, cost = time.monotonic() - job["spawned"], result.costs["total"]
        curve.append([result.count + 1, seconds, cost])
        if cost <= job["until"]:
            break
    keep(job, result.image)
    network, outcome = result.record["network"], tensorflow_device()
    outcome |= {"curve": curve, "precision": network["precision"]}
    for what in (network["precision"], network["name"], network["sha256"][:8]):
        outcome["device"] += f", {what}"
    return {**outcome, "costs": result.record["costs"]}


def run_tutorial(job: dict) -> dict:
    """Adam in a plain graph, as the well-known TensorFlow tutorial has it."""
    import keras
    import tensorflow as tf

    from nst_tf.machine import devices

    devices.select()
    options = Options.from_dict(job["options"])
    pictures, kernels = read_pictures(job["pictures"])
    content, style, start = map(tf.constant, pictures)
    features = tutorial_features(kernels, options.pooling)
    tools = features, tutorial_gram, tf.reduce_mean
    cost_of = objective(content, style, options, (1, 2), *tools)
    image = tf.Variable(start)
    optimizer = keras.optimizers.Adam(0.02, beta_1=0.99, epsilon=0.1)

    @tf.function(autograph=False)
    def step():
        with tf.GradientTape() as tape:
            cost = cost_of(image)
        gradient = tape.gradient(cost, image)
        optimizer.apply_gradients([(gradient, image)])
        image.assign(tf.clip_by_value(image, 0.0, 1.0))
        return cost

    outcome = followed(step, job)
    keep(job, image[0].numpy())
    return {**outcome, **tensorflow_device()}


def run_gaussians(job: dict) -> dict:
    """Features as Gaussians, Adam, averaged iterates, many scales.

    As github.com/crowsonkb/style-transfer-pytorch is described: sizes from 128
    px, each sqrt(2) larger; 1000 steps at the first and 500 at each further
    one, of Adam at 0.02 with 0.9 and 0.99; the mean of iterates, each older
    one weighing 0.99 of the next, is the picture. `steps` scales both numbers.
    """
    import keras
    import tensorflow as tf

    from nst_tf.machine import devices

    devices.select()
    pictures, kernels = read_pictures(job["pictures"])
    content, style, _ = map(tf.constant, pictures)
    features = tutorial_features(kernels, "max")
    curve, whole = [], tf.shape(content)[1:3].numpy()
    side, sides = 128.0, []
    while side < max(whole):
        sides.append(side)
        side *= 2**0.5
    image, done = content, 0
    for side in [*sides, float(max(whole))]:
        sizes = [
            np.rint(side / max(shape) * np.array(shape)).astype("int32")
            for shape in (whole, style.shape[1:3])
        ]
        small, learnt, start = (
            tf.image.resize(picture, sized, "bicubic", antialias=True)
            for picture, sized in (
                (content, sizes[0]),
                (style, sizes[1]),
                (image, sizes[0]),
            )
        )
        cost_of = gaussian_objective(small, learnt, features)
        image = tf.Variable(tf.clip_by_value(start, 0.0, 1.0))
        mean, weight = tf.Variable(tf.zeros_like(image)), 0.0
        optimizer = keras.optimizers.Adam(0.02, beta_1=0.9, beta_2=0.99)

        @tf.function(autograph=False, reduce_retracing=True)
        def step(image=image, mean=mean, cost_of=cost_of, adam=optimizer):
            with tf.GradientTape() as tape:
                cost = cost_of(image)
            adam.apply_gradients([(tape.gradient(cost, image), image)])
            image.assign(tf.clip_by_value(image, 0.0, 1.0))
            mean.assign(0.99 * mean + 0.01 * image)
            return cost

        for _ in range(job["options"]["steps"] // (2 if done else 1)):
            cost = float(step())
            weight = 0.99 * weight + 0.01
            done += 1
            seconds = time.monotonic() - job["spawned"]
            curve.append([done, seconds, cost])
        image = mean / weight
    keep(job, tf.clip_by_value(image[0], 0.0, 1.0).numpy())
    return {"curve": curve, "precision": "float32", **tensorflow_device()}


def gaussian_objective(content, style, features: Callable) -> Callable:
    """Its cost: content 0.015, Wasserstein distances, total variation 2."""
    import tensorflow as tf

    weights = dict(zip(range(1, 6), (256, 64, 16, 4, 1), strict=True))

    def sized(picture):
        """Features of a layer at root mean square 1 of the style's."""
        seen = features(picture)
        return {name: seen[name] / sizes[name] for name in sizes}

    def moments(rows):
        rows = tf.reshape(rows, [-1, rows.shape[-1]])
        mean = tf.reduce_mean(rows, 0)
        count = tf.cast(tf.shape(rows)[0], tf.float32)
        covariance = tf.matmul(rows, rows, transpose_a=True) / count
        ridge = 1e-4 * tf.eye(rows.shape[-1])
        return mean, covariance - mean[:, None] * mean[None] + ridge

    names = [*(f"block{block}_conv1" for block in weights), "block4_conv2"]
    sizes = {
        name: tf.sqrt(tf.reduce_mean(tf.square(seen)))
        for name, seen in features(style).items()
        if name in names
    }
    wanted, learnt = sized(content)["block4_conv2"], sized(style)
    aims = {}
    for block in weights:
        mean, covariance = moments(learnt[f"block{block}_conv1"])
        aims[block] = mean, covariance, newton_schulz(covariance)

    def cost_of(image):
        seen = sized(image)
        cost = 0.015 * tf.reduce_mean(
            tf.math.squared_difference(seen["block4_conv2"], wanted)
        )
        for block, weight in weights.items():
            mean, covariance = moments(seen[f"block{block}_conv1"])
            mean_s, covariance_s, root = aims[block]
            apart = tf.reduce_sum(tf.math.squared_difference(mean, mean_s))
            mixed = newton_schulz(root @ covariance @ root)
            apart += tf.linalg.trace(covariance + covariance_s - 2.0 * mixed)
            share = weight / sum(weights.values())
            cost += share * apart / mean.shape[-1]
        across = tf.square(image[:, :, 1:] - image[:, :, :-1])
        down = tf.square(image[:, 1:] - image[:, :-1])
        return cost + 2.0 * (tf.reduce_mean(across) + tf.reduce_mean(down))

    return cost_of


def newton_schulz(matrix, steps: int = 12):
    """The root of a positive matrix (Higham, Functions of Matrices, 2008)."""
    import tensorflow as tf

    size = tf.norm(matrix)
    root, inverse = matrix / size, tf.eye(matrix.shape[-1])
    for _ in range(steps):
        middle = 1.5 * tf.eye(matrix.shape[-1]) - 0.5 * inverse @ root
        root, inverse = root @ middle, middle @ inverse
    return root * tf.sqrt(size)


def tutorial_features(kernels: Mapping, pooling: str) -> Callable:
    """Keras' VGG-19 down to the last of the kernels; all features come out."""
    import keras
    from keras import layers

    average = pooling == "avg"
    pool = layers.AveragePooling2D if average else layers.MaxPooling2D
    image = keras.Input((None, None, 3))
    x, features = image, {}
    for layer, (kernel, _) in kernels.items():
        if layer.endswith("conv1") and features:
            x = pool(2)(x)
        x = layers.Conv2D(
            kernel.shape[3], 3, padding="same", activation="relu", name=layer
        )(x)
        features[layer] = x
    network = keras.Model(image, features, trainable=False)
    for layer, values in kernels.items():
        network.get_layer(layer).set_weights(values)
    preprocess = keras.applications.vgg19.preprocess_input
    return lambda image: network(preprocess(image * 255.0))


def tutorial_gram(features):
    """Products of every two channels, mean over positions, by einsum."""
    import tensorflow as tf

    positions = tf.reduce_prod(tf.shape(features)[1:3])
    products = tf.einsum("bijc,bijd->bcd", features, features)
    return products / tf.cast(positions, "float32")


def run_pytorch(job: dict) -> dict:
    """torch.optim.LBFGS with its defaults, as the PyTorch ports have it."""
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    options = Options.from_dict(job["options"])
    pictures, kernels = read_pictures(job["pictures"])
    content, style, image = (
        torch.tensor(array.transpose(0, 3, 1, 2).copy(), device=device)
        for array in pictures
    )
    features = torch_features(kernels, options.pooling, device)
    tools = features, torch_gram, torch.mean
    cost_of = objective(content, style, options, (2, 3), *tools)
    image.requires_grad_()
    # One iteration a call is one evaluation a call; the optimiser's state
    # goes on from call to call just as within one.
    optimizer = torch.optim.LBFGS([image], max_iter=1)

    def closure():
        optimizer.zero_grad()
        cost = cost_of(image)
        cost.backward()
        return cost

    outcome = followed(lambda: optimizer.step(closure), job)
    keep(job, image[0].detach().clamp(0, 1).permute(1, 2, 0).cpu().numpy())
    words, peak = f"CPU, {torch.get_num_threads()} threads", None
    if device == "cuda":
        words = f"GPU {torch.cuda.get_device_name()}"
        peak = torch.cuda.max_memory_allocated() / 2**20
    words += f", PyTorch {torch.__version__}"
    return {**outcome, "device": words, "accelerator_megabytes": peak}


def torch_features(kernels: Mapping, pooling: str, device: str) -> Callable:
    """VGG-19 down to the last of the kernels; all features come out."""
    import torch
    from torch.nn import functional

    pool = functional.avg_pool2d if pooling == "avg" else functional.max_pool2d
    mean = torch.tensor([103.939, 116.779, 123.68], device=device)
    tensors = {
        layer: (
            torch.tensor(kernel.transpose(3, 2, 0, 1).copy(), device=device),
            torch.tensor(bias, device=device),
        )
        for layer, (kernel, bias) in kernels.items()
    }

    def features(image):
        x, seen = image.flip(1) * 255 - mean[:, None, None], {}
        for layer, (kernel, bias) in tensors.items():
            if layer.endswith("conv1") and seen:
                x = pool(x, 2)
            x = functional.relu(functional.conv2d(x, kernel, bias, padding=1))
            seen[layer] = x
        return seen

    return features


def torch_gram(features):
    """Products of every two channels, mean over positions."""
    rows = features.flatten(2)[0]
    return rows @ rows.T / rows.shape[1]


def objective(
    content,
    style,
    options: Options,
    axes: Sequence[int],
    features: Callable,
    gram: Callable,
    mean: Callable,
) -> Callable:
    """The total cost of nst_tf (README), written down again.

    A function of an image with height and width at `axes`; `features` are
    those of all layers, `gram` a layer's Gram matrix, `mean` over elements.
    """
    content_layers, style_layers = options.used_layers()
    seen = features(content)
    wanted = {layer: seen[layer] for layer, _ in content_layers}
    seen = features(style)
    grams = {layer: gram(seen[layer]) for layer, _ in style_layers}
    del seen  # the other layers' features would stay in memory

    def neighbours(image, axis: int):
        along = (slice(None),) * axis
        return image[(*along, slice(1, None))] - image[(*along, slice(-1))]

    def cost_of(image):
        seen = features(image)
        content_cost = sum(
            weight * mean((seen[layer] - wanted[layer]) ** 2) / 4
            for layer, weight in content_layers
        )
        style_cost = sum(
            weight * mean((gram(seen[layer]) - grams[layer]) ** 2) / 4
            for layer, weight in style_layers
        )
        tv_cost = sum(mean(neighbours(image, axis) ** 2) for axis in axes)
        return (
            options.content_weight * content_cost
            + options.style_weight * style_cost
            + options.tv_weight * tv_cost
        )

    return cost_of


def run_prepare(job: dict) -> dict:
    """Writes what the plain programs read: pictures as nst_tf sees them."""
    from nst_tf.files import weights
    from nst_tf.stylization import inputs

    options, sizes = Options.from_dict(job["options"]), {}
    used = options.layer_names()
    found = weights.load(options.weights, options.seed, options.network, used)
    if found.network != "vgg19":
        raise ValueError(
            f"`weights`: the plain programs are VGG-19; {found.network} was "
            "found. Give --option=weights=PATH, or random."
        )
    kernels = {
        f"{layer}.{part}": array
        for layer in LAYERS[: 1 + max(map(LAYERS.index, used))]
        for part, array in enumerate(found.kernels[layer])
    }
    for path, own in job["wanted"].items():
        given = inputs.prepare(*job["inputs"], options=options, **own)
        np.savez(
            path,
            content=given.content[None],
            style=given.styles[0][None],
            start=given.image[None],
            **kernels,
        )
        sizes[path] = given.plan.size
    return {"sizes": sizes}


def read_pictures(path: str) -> tuple[list, dict]:
    """Content, style, start; `{layer: (kernel, bias)}`. NumPy arrays."""
    with np.load(path) as file:
        pictures = [file[name] for name in ("content", "style", "start")]
        kernels = {
            layer: (file[f"{layer}.0"], file[f"{layer}.1"])
            for layer in LAYERS
            if f"{layer}.0" in file.files
        }
    return pictures, kernels


def keep(job: dict, picture: np.ndarray) -> None:
    """Writes the picture where the job wants it, if it does: `.npy`."""
    if "picture" in job:
        np.save(job["picture"], picture)


def followed(step: Callable, job: dict) -> dict:
    """The curve of a plain program; its step returns the cost before it."""
    curve = []
    for done in range(job["options"]["steps"] + 1):
        cost = step()
        if done % job["every"] == 0:
            cost = float(cost)  # waits for the device
            curve.append([done + 1, time.monotonic() - job["spawned"], cost])
    return {"curve": curve, "precision": "float32"}


def run_matmul(job: dict) -> dict:
    """GFLOP a second of square matrix products, `{side: [rate]}`."""
    import tensorflow as tf

    from nst_tf.machine import devices

    devices.select()
    multiply = tf.function(tf.matmul)
    rates = {}
    for side in job["matrices"]:
        first, second = tf.unstack(tf.random.normal([2, side, side]))
        float(multiply(first, second)[0, 0])  # compiled, and threads awake
        rates[side] = []
        for _ in range(job["repeats"]):
            started = time.monotonic()
            float(multiply(first, second)[0, 0])  # waits for the device
            seconds = time.monotonic() - started
            rates[side].append(2e-9 * side**3 / seconds)
    return {"gigaflops": rates, **tensorflow_device()}


def tensorflow_device() -> dict:
    """The device in words, and the most memory taken on it if it is a GPU."""
    import tensorflow as tf

    from nst_tf.machine import devices

    peak = None
    if devices.is_gpu():
        peak = tf.config.experimental.get_memory_info("GPU:0")["peak"] / 2**20
    words = f"{devices.describe()}, TensorFlow {tf.__version__}"
    return {"device": words, "accelerator_megabytes": peak}


TASKS = {
    "nst_tf": run_nst_tf,
    "tutorial": run_tutorial,
    "pytorch": run_pytorch,
    "gaussians": run_gaussians,
    "prepare": run_prepare,
    "matmul": run_matmul,
}


def main(task: str) -> None:
    """Reads a job from standard input, prints what came out as JSON."""
    import resource

    try:
        outcome = TASKS[task](json.load(sys.stdin))
    except ValueError as error:
        outcome = {"error": str(error)}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    outcome["peak_megabytes"] = peak / 1024  # Linux counts in kilobytes
    print("\n" + json.dumps(outcome))


if __name__ == "__main__":
    main(sys.argv[1])
