"""What all tests share: an environment of their own, a tiny network."""

import atexit
import ctypes
import functools
import gc
import inspect
import os
import shutil
import sys
import tempfile
from pathlib import Path

# Before TensorFlow and Keras are imported: both read them only then.
REAL_WEIGHTS = os.environ.pop("NST_TF_WEIGHTS", None)
KERAS_HOME = tempfile.mkdtemp(prefix="nst_tf-keras-home-")
atexit.register(shutil.rmtree, KERAS_HOME, ignore_errors=True)
os.environ["KERAS_HOME"] = KERAS_HOME
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import numpy as np  # noqa: E402
import pytest  # noqa: E402

from nst_tf.machine import environment  # noqa: E402
from nst_tf.request.networks import LAYERS, NETWORKS  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent
TINY_WIDTHS = (4, 6, 8, 8, 8)  # of the five blocks
SHALLOW = NETWORKS["vgg19"]._replace(
    content={"block2_conv1": 1.0},
    style={"block1_conv1": 0.02, "block2_conv1": 0.002},
)
LONGEST = "test_page_browser.py", "test_transfer.py"
REWRITES = (
    "arithmetic_optimization",
    "constant_folding",
    "function_optimization",
    "layout_optimizer",
    "remapping",
)
KEPT: list[dict] = []  # the engines of `kept`


def pytest_collectstart():
    """TensorFlow loads lean, and only where tests will run."""
    if "tensorflow" not in sys.modules:
        with environment.loading():
            rewrite_graphs(False)


def rewrite_graphs(yes: bool) -> None:
    """Whether TensorFlow's Grappler makes a trace's graph quicker to run.

    It takes a fourth of the time of a test that traces; without most of it,
    the graph runs nearly as it was written.
    """
    import tensorflow as tf

    tf.config.optimizer.set_experimental_options(dict.fromkeys(REWRITES, yes))


def pytest_collection_modifyitems(items):
    """The longest files first: at the end they would come alone."""
    items.sort(key=lambda item: item.path.name not in LONGEST)


def pytest_collection_finish():
    """What is there is not looked through for what can be freed.

    What tracing makes is, but seldom: it would take a tenth of the time.
    """
    gc.freeze()
    gc.set_threshold(100_000)


@pytest.fixture(scope="session")
def real_weights() -> Path:
    """The file of VGG-19's ImageNet weights; skips where there is none."""
    if REAL_WEIGHTS:
        if not Path(REAL_WEIGHTS).is_file():
            pytest.skip(f"NST_TF_WEIGHTS names {REAL_WEIGHTS}: no such file")
        return Path(REAL_WEIGHTS).resolve()
    found = sorted((ROOT.parent / "shared" / "weights").glob("*.h5"))
    if not found:
        pytest.skip("no VGG-19 weights: give NST_TF_WEIGHTS=PATH")
    return found[0]


@pytest.fixture(scope="session")
def tiny_kernels() -> dict:
    """See `tiny_network`."""
    return tiny_network()


def tiny_network() -> dict:
    """`{layer: (kernel, bias)}` of a VGG-19 with very few channels."""
    generator = np.random.default_rng(19)
    kernels, channels = {}, 3
    for layer in LAYERS:
        width = TINY_WIDTHS[int(layer[5]) - 1]
        size = np.sqrt(2 / (9 * channels))  # He: features keep their size
        kernel = generator.normal(0, size, (3, 3, channels, width))
        bias = generator.uniform(0, 1, width)
        kernels[layer] = kernel.astype("float32"), bias.astype("float32")
        channels = width
    return kernels


@pytest.fixture(scope="session")
def pictures() -> tuple[np.ndarray, np.ndarray]:
    """Content [48, 64, 3] and style [40, 56, 3], float32 in [0, 1]."""
    return smooth(48, 64, seed=1), smooth(40, 56, seed=2)


@pytest.fixture(scope="module")
def tiny_weights_everywhere(tiny_kernels):
    """Whatever weights are asked for, a run gets the tiny ones.

    By default, of few layers; and more engines are kept than by
    `run._engine`: a trace takes seconds.
    """
    from nst_tf.files import weights
    from nst_tf.stylization import run

    tiny = weights.Weights("tiny", "0" * 64, tiny_kernels, "")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(weights, "load", lambda *_: tiny)
        more = functools.lru_cache(maxsize=8)(run._engine.__wrapped__)
        patch.setattr(run, "_engine", more)
        patch.setitem(NETWORKS, "vgg19", SHALLOW)
        yield tiny


@pytest.fixture(scope="module", autouse=True)
def traces_end(request):
    """What a file has traced ends with it: gigabytes in sum."""
    yield
    from tensorflow.python.framework import ops

    from nst_tf.stylization import run

    for value in (*vars(request.module).values(), run._engine):
        if hasattr(value, "cache_clear"):
            value.cache_clear()
    for made in KEPT:
        made.clear()
    gradients = ops.gradient_registry._registry  # see `tracing.forget`
    for name in [name for name in gradients if name.startswith("Custom")]:
        del gradients[name]
    gc.collect()  # what was traced has cycles
    if sys.platform == "linux":  # which would keep what was freed
        ctypes.CDLL(None).malloc_trim(0)


@pytest.fixture(scope="module")
def graphs_as_users_run_them():
    """As processes of their own have them, too: see `rewrite_graphs`."""
    rewrite_graphs(True)
    yield
    rewrite_graphs(False)


def kept(build):
    """`build(kernels, ...)`, whose last eight engines are kept.

    A trace takes seconds, and serves pictures of every size (`test_tracing`).
    """
    made, signature = {}, inspect.signature(build)
    KEPT.append(made)

    @functools.wraps(build)
    def found(kernels, *arguments, **named):
        given = signature.bind(None, *arguments, **named)
        given.apply_defaults()
        key = id(kernels), repr(given)
        if key not in made:
            while len(made) >= 8:
                made.pop(next(iter(made)))
            made[key] = kernels, build(kernels, *arguments, **named)
        return made[key][1]

    return found


def smooth(height: int, width: int, seed: int) -> np.ndarray:
    """A few seeded waves in each channel."""
    generator = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width] / 64
    image = np.zeros((height, width, 3))
    for _ in range(4):
        across, down = generator.uniform(-3, 3, (2, 3))
        phase = generator.uniform(0, 1, 3)
        turns = across * x[..., None] + down * y[..., None] + phase
        image += np.sin(2 * np.pi * turns)
    return (0.5 + image / 8).astype("float32")
