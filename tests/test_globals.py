"""Whatever Keras and TensorFlow have been told: the same picture, or a line."""

import contextlib
import json
import os
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

import nst_tf
from nst_tf import backend
from nst_tf.files import weights
from nst_tf.stylization import run

FEW = {
    "scales": 1,
    "steps": 2,
    "history": 2,
    "jit": "off",
    "content_layers": "conv2_1",
    "style_layers": "conv1_1,conv2_1",
}


def paint(pictures, **options):
    """By an engine of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "_engine", run._engine.__wrapped__)
        return nst_tf.stylize(
            *pictures, **{"precision": "float32", **FEW, **options}
        )


@pytest.fixture(scope="module")
def plain(tiny_weights_everywhere, pictures):
    """What is painted where nothing has been told."""
    return {
        precision: paint(pictures, precision=precision).image
        for precision in ("float32", "mixed_float16")
    }


@contextlib.contextmanager
def told(set_, value, otherwise):
    set_(value)
    try:
        yield
    finally:
        set_(otherwise)


def data_format(name):
    return told(keras.config.set_image_data_format, name, "channels_last")


def floatx(name):
    return told(keras.config.set_floatx, name, "float32")


def policy(name):
    return told(keras.config.set_dtype_policy, name, "float32")


def distribution():
    parallel = keras.distribution.DataParallel(devices=["cpu:0"])
    return told(keras.distribution.set_distribution, parallel, None)


def rounding():
    set_ = tf.config.experimental.enable_tensor_float_32_execution
    return told(set_, False, True)


def soft_placement():
    return told(tf.config.set_soft_device_placement, False, True)


def autoclustering():
    return told(tf.config.optimizer.set_jit, "autoclustering", False)


def strategy():
    return tf.distribute.MirroredStrategy(["CPU:0"]).scope()


TOLD = {  # several at once, for each takes an engine of its own
    "keras": (
        lambda: data_format("channels_first"),
        lambda: floatx("float16"),
        lambda: policy("int8_from_float32"),
        lambda: told(keras.config.set_epsilon, 0.1, 1e-7),
        distribution,
        lambda: keras.name_scope("outer"),
        keras.StatelessScope,
        keras.RematScope,
    ),
    "wide": (
        lambda: floatx("float64"),
        lambda: policy("float64"),
        lambda: tf.device("GPU:7"),  # there is none: TensorFlow takes another
        lambda: keras.device("gpu:7"),
        lambda: tf.GradientTape(persistent=True),
        rounding,
    ),
    "mixed": (
        lambda: policy("mixed_bfloat16"),
        soft_placement,
        autoclustering,
        strategy,
    ),
}


@pytest.mark.parametrize(
    ("name", "precision"),
    [
        ("keras", "float32"),
        ("wide", "float32"),
        ("mixed", "float32"),
        ("wide", "mixed_float16"),
    ],
)
def test_the_same_is_painted(plain, pictures, name, precision):
    with contextlib.ExitStack() as stack:
        for scope in TOLD[name]:
            stack.enter_context(scope())
        image = paint(pictures, precision=precision).image
    np.testing.assert_array_equal(image, plain[precision])


def test_random_kernels_are_the_same(monkeypatch):
    from nst_tf.engine import vgg

    monkeypatch.setattr(vgg, "WIDTHS", dict.fromkeys(range(1, 6), 4))
    expected = vgg.random_kernels(3)
    with floatx("float16"):
        kernels = vgg.random_kernels(3)
    for layer, (kernel, _) in expected.items():
        np.testing.assert_array_equal(kernels[layer][0], kernel)


def eagerly():
    return told(tf.config.run_functions_eagerly, True, False)


@contextlib.contextmanager
def checked_numerics():
    tf.debugging.enable_check_numerics()
    try:
        yield
    finally:
        tf.debugging.disable_check_numerics()


@contextlib.contextmanager
def no_such_gpu():
    with soft_placement(), tf.device("GPU:7"):
        yield


@pytest.mark.parametrize(
    ("scope", "message"),
    [
        (eagerly, r"Call tf.config.run_functions_eagerly\(False\) first"),
        (tf.Graph().as_default, "Call it outside"),
        (no_such_gpu, "tf.config.list_logical_devices"),
        (checked_numerics, r"Call tf.debugging.disable_check_numerics\(\)"),
    ],
)
@pytest.mark.parametrize("verb", ["stylize", "export"])
def test_a_line_tells_what_stops_it(
    plain, pictures, tmp_path, verb, scope, message
):
    with scope(), pytest.raises(ValueError, match=message) as error:
        if verb == "stylize":
            paint(pictures)
        else:
            nst_tf.export(tmp_path / "model")
    assert "\n" not in str(error.value)
    assert not list(tmp_path.iterdir())


def test_a_line_tells_that_a_function_is_being_traced(plain, pictures):
    with pytest.raises(ValueError, match="inside a tf.function"):
        tf.function(lambda: paint(pictures), autograph=False)()


def python(program, home, **environment):
    """What a process of its own prints, and its errors."""
    paths = os.pathsep.join([os.getcwd(), *sys.path])
    environment = {**os.environ, "PYTHONPATH": paths, **environment}
    done = subprocess.run(
        [sys.executable, "-W", "default::UserWarning", "-c", program],
        env={**environment, "KERAS_HOME": str(home)},
        capture_output=True,
        check=False,
        text=True,
        timeout=300,
    )
    return done.returncode, done.stdout, done.stderr


PAINT = """
import numpy as np, nst_tf
pictures = np.random.default_rng(0).random((2, 32, 48, 3)).astype("float32")
def paint():
    result = nst_tf.stylize(
        *pictures,
        network="vgg19_slim",
        content_layers="conv2_1",
        style_layers="conv1_1,conv2_1",
        precision="float32",
        scales=1,
        steps=2,
    )
    return result.image.tolist()
"""


def test_what_a_process_is_told_for_good(plain, tmp_path, monkeypatch):
    """keras.json, the environment, and what cannot be taken back."""
    wrong = {"image_data_format": "channels_first", "floatx": "float16"}
    text = json.dumps({**wrong, "backend": "torch"})
    (tmp_path / "keras.json").write_text(text)
    code, out, err = python(
        PAINT
        + """
nst_tf.stylize  # loads Keras, before TensorFlow can
import os, tensorflow as tf
tf.config.experimental.enable_op_determinism()
tf.random.set_seed(0)
tf.experimental.numpy.experimental_enable_numpy_behavior()
cpu, two = tf.config.list_physical_devices("CPU")[0], ["CPU:0", "CPU:1"]
half = tf.config.LogicalDeviceConfiguration()
tf.config.set_logical_device_configuration(cpu, [half, half])
with tf.distribute.MirroredStrategy(two).scope():
    print(paint())
from keras import config
print(config.backend(), config.floatx(), os.environ["KERAS_BACKEND"])
""",
        tmp_path,
        KERAS_BACKEND="jax",
    )
    assert code == 0, err
    image, told = out.splitlines()
    assert told == "tensorflow float16 jax"
    assert "KERAS_BACKEND is jax, but nst_tf paints with TensorFlow" in err
    slim = weights._slim(weights.SLIM, ())  # untold, here
    monkeypatch.setattr(weights, "load", lambda *_: slim)
    monkeypatch.setattr(run, "_engine", run._engine.__wrapped__)
    exec(PAINT, untold := {})
    error = np.subtract(json.loads(image), untold["paint"]())
    assert np.abs(error).max() <= 1  # another order of sums


def test_keras_on_another_backend_is_refused(monkeypatch):
    monkeypatch.setattr(keras.config, "backend", lambda: "jax")
    with pytest.raises(ValueError, match="should be tensorflow.*on jax"):
        backend._load()


def test_where_tensorflow_has_loaded_keras_it_is_too_late(tmp_path):
    """Whether jax is there, and Keras on it, or not, and Keras half loaded."""
    program = "import tensorflow, nst_tf; nst_tf.stylize"
    code, _, err = python(program, tmp_path, KERAS_BACKEND="jax")
    assert code == 1
    assert "ValueError: `KERAS_BACKEND` should be tens" in err.splitlines()[-1]


@pytest.mark.parametrize("error", [AssertionError(), ValueError("`floatx`")])
def test_a_wrong_keras_json_is_named(monkeypatch, error):
    class Broken:
        def find_spec(self, name, *_):
            if name == "keras":
                raise error

    monkeypatch.delitem(sys.modules, "keras")
    monkeypatch.setattr(sys, "meta_path", [Broken(), *sys.meta_path])
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    with pytest.raises(ValueError, match=r"keras.json \("):
        backend._load()
    assert os.environ["KERAS_BACKEND"] == "torch"


def test_the_command_line_chooses_the_backend_itself(tmp_path):
    """And loads nothing that is of no use; garbage is collected."""
    program = """
import gc, sys
from nst_tf.machine import environment
from nst_tf.terminal import cli
code = cli.main(["plan", "--size=64x48", "--network=vgg19_slim"])
print(sys.modules.keys() & environment.UNUSED, gc.isenabled())
import matplotlib.figure  # it is there for who asks
sys.exit(code)
"""
    code, out, err = python(program, tmp_path, KERAS_BACKEND="torch")
    assert (code, err) == (0, "")
    assert "64 x 48 px" in out and out.endswith("set() True\n")
