import functools
import hashlib
import http.server
import inspect
import itertools
import re
import socket
import threading
import time
import warnings
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest

from nst_tf import backend
from nst_tf.engine import vgg
from nst_tf.files import weights
from nst_tf.request.networks import LAYERS, NETWORKS
from nst_tf.request.options import Options

DATA = np.random.default_rng(0).bytes(300_000)
MD5 = hashlib.md5(DATA).hexdigest()
FORMATS = (".h5", ".weights.h5")
FILE = weights.PUBLISHED["vgg19"].file


def lookalike(weights=None, include_top=True, width=2, layers=LAYERS):
    """As `keras.applications.VGG19`, with the same names, but narrow."""
    assert weights is None
    side = 32 if include_top else None
    image = keras.Input((side, side, 3), name="input_layer")
    x, initializer = image, keras.initializers.RandomUniform(seed=None)
    for layer in layers:
        block = int(layer[5])
        if layer.endswith("conv1") and block > 1:
            x = keras.layers.MaxPooling2D(2, name=f"block{block - 1}_pool")(x)
        x = keras.layers.Conv2D(
            width * block,
            3,
            padding="same",
            name=layer,
            bias_initializer=initializer,
        )(x)
    x = keras.layers.MaxPooling2D(2, name="block5_pool")(x)
    if include_top:
        x = keras.layers.Flatten(name="flatten")(x)
        for name in ("fc1", "fc2", "predictions"):
            x = keras.layers.Dense(4, name=name)(x)
    return keras.Model(image, x, name="vgg19")


@pytest.fixture
def narrow(monkeypatch):
    """All networks are narrow ones, made in no time."""
    monkeypatch.setattr(keras.applications, "VGG19", lookalike)
    monkeypatch.setattr(
        vgg, "WIDTHS", {block: 2 * block for block in range(1, 6)}
    )


@pytest.fixture
def file(tmp_path, narrow):
    """A file of weights, and the model they are from."""
    model = lookalike(include_top=False)
    path = tmp_path / "narrow.weights.h5"
    save(model, path)
    return path, model


def assert_kernels_are_of(kernels, model):
    assert tuple(kernels) == LAYERS
    for layer in LAYERS:
        expected = model.get_layer(layer).get_weights()
        for actual, array in zip(kernels[layer], expected, strict=True):
            np.testing.assert_array_equal(actual, array)


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


# Files


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("top", [True, False])
def test_files_with_and_without_the_top(tmp_path, narrow, suffix, top):
    path = tmp_path / f"narrow{suffix}"
    model = lookalike(include_top=top)
    save(model, path)
    loaded = weights.load(str(path))
    assert_kernels_are_of(loaded.kernels, model)
    assert loaded.name == str(path)
    assert loaded.sha256 == sha256(path)
    assert loaded.warning == ""


def save(model, path):
    """In the layout that the suffix stands for."""
    if not path.name.endswith(".weights.h5"):
        return save_as_keras_2(model, path)
    with warnings.catch_warnings():  # Keras' own, with NumPy 2
        warnings.simplefilter("ignore", DeprecationWarning)
        return model.save_weights(path)


def save_as_keras_2(model, path):
    """The layout of the files that keras.applications downloads."""
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [layer.name for layer in model.layers]
        file.attrs["backend"] = "tensorflow"
        file.attrs["keras_version"] = "2.0"
        for layer in model.layers:
            group, names = file.create_group(layer.name), []
            for kind, array in zip("Wb", layer.get_weights(), strict=False):
                names.append(f"{layer.name}_{kind}_1:0")
                group[names[-1]] = array
            group.attrs["weight_names"] = np.array(names, "S")


def test_the_file_that_keras_downloads_needs_no_model(
    tmp_path, narrow, monkeypatch
):
    path, model = tmp_path / "narrow.h5", lookalike()
    save(model, path)
    monkeypatch.delattr(keras.applications, "VGG19")
    assert_kernels_are_of(weights.load(str(path)).kernels, model)


@pytest.mark.parametrize("suffix", FORMATS)
def test_files_are_read_whatever_keras_has_been_told(
    tmp_path, narrow, suffix, monkeypatch
):
    path, model = tmp_path / f"narrow{suffix}", lookalike(include_top=False)
    save(model, path)
    config = keras.config
    before = config.image_data_format(), config.floatx(), config.dtype_policy()
    told = "channels_first", "float16", keras.DTypePolicy("mixed_float16")
    try:
        backend._set(*told)
        assert_kernels_are_of(weights.load(str(path)).kernels, model)
        assert told == (
            config.image_data_format(),
            config.floatx(),
            config.dtype_policy(),
        )
    finally:
        backend._set(*before)


def test_the_kernels_of_a_file_become_the_network(file):
    path, model = file
    kernels = weights.load(str(path)).kernels
    network = vgg.features_model(kernels, ["conv2_1"], "avg")
    for layer in LAYERS[:3]:
        expected = model.get_layer(layer).get_weights()
        expected.append(expected[0][::-1, ::-1].swapaxes(2, 3))
        for actual, array in zip(
            network.get_layer(layer).get_weights(), expected, strict=True
        ):
            np.testing.assert_array_equal(actual, array)
    assert type(network.get_layer("block1_pool")).__name__ == "AveragePooling2D"


def test_the_real_file(real_weights):
    loaded = weights.load(str(real_weights))
    assert loaded.sha256 == sha256(real_weights)
    with h5py.File(real_weights) as file:
        for layer in LAYERS:
            arrays = {}
            file[layer].visititems(
                lambda _, item, arrays=arrays: (
                    arrays.update({item.ndim: item[()]})
                    if isinstance(item, h5py.Dataset)
                    else None
                )
            )
            np.testing.assert_array_equal(loaded.kernels[layer][0], arrays[4])
            np.testing.assert_array_equal(loaded.kernels[layer][1], arrays[1])


def other_network(path):
    save(lookalike(include_top=False, layers=LAYERS[:13]), path)


def other_widths(path):
    save(lookalike(include_top=False, width=3), path)


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_vgg16_is_no_vgg19(tmp_path, narrow, monkeypatch, suffix):
    layers = NETWORKS["vgg16"].layers
    monkeypatch.setattr(
        keras.applications,
        "VGG16",
        functools.partial(lookalike, layers=layers),
    )
    paths = [tmp_path / f"{name}{suffix}" for name in ("vgg16", "vgg19")]
    model = lookalike(include_top=False, layers=layers)
    save(model, paths[0])
    save(lookalike(include_top=False), paths[1])
    loaded = weights.load(str(paths[0]), 0, "vgg16")
    assert (loaded.network, tuple(loaded.kernels)) == ("vgg16", layers)
    for layer in layers:
        expected = model.get_layer(layer).get_weights()[0]
        np.testing.assert_array_equal(loaded.kernels[layer][0], expected)
    with pytest.raises(ValueError, match="VGG16 reads.*is not one"):
        weights.load(str(paths[1]), 0, "vgg16")


def truncated(path):
    save(lookalike(include_top=False), path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def text(path):
    path.write_text("not weights\n")


@pytest.mark.parametrize(
    ("write", "suffix"),
    [
        *itertools.product((other_network, truncated, text), FORMATS),
        (other_widths, ".weights.h5"),
        (Path.touch, ".h5"),
        (text, ".txt"),
    ],
)
def test_files_that_are_something_else(tmp_path, narrow, write, suffix):
    path = tmp_path / f"wrong{suffix}"
    write(path)
    with pytest.raises(ValueError) as caught:
        weights.load(str(path))
    message = str(caught.value)
    assert "`weights` should be a file that keras.applications" in message
    assert f'"{path}" is not one' in message
    assert "--weights=PATH" in message
    assert "\n" not in message


@pytest.mark.parametrize("check", [weights.check, weights.load])
def test_missing_files_are_rejected(tmp_path, check):
    path = tmp_path / "missing.h5"
    message = f'`weights` should be .*received "{path}", which is not a file'
    with pytest.raises(ValueError, match=message):
        check(str(path))


@pytest.mark.parametrize("check", [weights.check, weights.load])
def test_folders_are_no_files(tmp_path, check):
    with pytest.raises(ValueError, match="which is not a file"):
        check(str(tmp_path))


@pytest.mark.parametrize(
    ("word", "meant"),
    [("imagnet", "imagenet"), ("Random", "random"), ("autp", "auto")],
)
def test_misspelt_names_are_rejected_with_a_suggestion(word, meant):
    with pytest.raises(ValueError, match=f'Did you mean "{meant}"'):
        weights.check(word)


@pytest.mark.parametrize("name", weights.NAMES)
def test_names_are_accepted_without_a_look(name):
    weights.check(name)


# The environment's file


def test_auto_takes_the_file_that_the_environment_names(monkeypatch, file):
    path, model = file
    monkeypatch.setenv("NST_TF_WEIGHTS", str(path))
    weights.check("auto")
    loaded = weights.load("auto")
    assert_kernels_are_of(loaded.kernels, model)
    assert loaded.name == str(path)
    assert loaded.sha256 == sha256(path)


def test_a_missing_file_in_the_environment_is_an_error(monkeypatch, tmp_path):
    path = tmp_path / "missing.h5"
    monkeypatch.setenv("NST_TF_WEIGHTS", str(path))
    message = f'NST_TF_WEIGHTS names "{path}", which is not a file'
    with pytest.raises(ValueError, match=message):
        weights.check("auto")
    with pytest.raises(ValueError, match="which is not a file"):
        weights.load("auto")


def test_the_environment_has_no_say_where_weights_are_named(
    monkeypatch, tmp_path, file
):
    monkeypatch.setenv("NST_TF_WEIGHTS", str(tmp_path / "missing.h5"))
    weights.check("random")
    assert weights.load("random").name == "random"
    weights.check(str(file[0]))
    assert_kernels_are_of(weights.load(str(file[0])).kernels, file[1])


# Random weights


def test_random_weights_are_seeded_and_have_a_digest(narrow):
    first, again, other = (weights.load("random", seed) for seed in (1, 1, 2))
    assert first.name == "random"
    assert first.warning == ""
    assert first.sha256 == again.sha256 != other.sha256
    digest = hashlib.sha256()
    for arrays in vgg.random_kernels(1).values():
        for array in arrays:
            digest.update(array.tobytes())
    assert first.sha256 == digest.hexdigest()


def published(monkeypatch, **changes):
    """VGG-19's weights are to be had elsewhere."""
    own = weights.PUBLISHED["vgg19"]._replace(**changes)
    monkeypatch.setitem(weights.PUBLISHED, "vgg19", own)


# Downloads: a server of our own, on the loopback interface


class Handler(http.server.BaseHTTPRequestHandler):
    """One path for each way a download can go."""

    def do_GET(self):
        self.server.asked.append(self.path)
        if self.path == "/missing":
            return self.send_error(404)
        if self.path == "/silent":
            return self.server.over.wait(10)
        self.send_response(200)
        self.send_header("Content-Length", str(len(DATA)))
        self.end_headers()
        if self.path == "/whole":
            return self.wfile.write(DATA)
        if self.path == "/drip":
            for byte in DATA[:100]:  # 5 s at most
                self.wfile.write(bytes([byte]))
                if self.server.over.wait(0.05):
                    break
            return None
        self.wfile.write(DATA[: len(DATA) // 2])  # "/half" ends here
        if self.path == "/stuck":
            self.server.over.wait(10)
        return None

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked, self.over = [], threading.Event()

    def url(self, path):
        return f"http://127.0.0.1:{self.server_port}{path}"

    def handle_error(self, *_):
        pass  # a client that went away is what some tests are about


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.05,))
        thread.start()
        yield running
        running.over.set()
        running.shutdown()
        thread.join()


@pytest.fixture
def nobody(monkeypatch):
    """An address where nobody answers."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{unused.getsockname()[1]}/"


def test_download_of_a_whole_file(server, tmp_path):
    path = tmp_path / "new" / "folder" / "file.h5"
    weights.download(server.url("/whole"), path, MD5)
    assert path.read_bytes() == DATA
    assert list(path.parent.iterdir()) == [path]


def test_download_appears_at_once(server, tmp_path, monkeypatch):
    path, seen = tmp_path / "file.h5", []
    path.write_bytes(b"old")
    digest = weights._digest

    def watched(partial, algorithm):
        seen.append((path.read_bytes(), partial.stat().st_ino))
        return digest(partial, algorithm)

    monkeypatch.setattr(weights, "_digest", watched)
    weights.download(server.url("/whole"), path, MD5)
    assert path.read_bytes() == DATA
    assert seen == [(b"old", path.stat().st_ino)]  # renamed, not copied


@pytest.mark.parametrize(
    ("way", "md5", "message"),
    [
        ("/whole", "0" * 32, "another checksum"),
        ("/half", MD5, "another checksum"),
        ("/missing", MD5, "404"),
        ("/silent", MD5, "timed out"),
        ("/stuck", MD5, "timed out"),
        ("/drip", MD5, "not done after 1 s"),
    ],
)
@pytest.mark.parametrize("old", [None, b"old"])
def test_downloads_that_fail_leave_nothing_behind(
    server, tmp_path, way, md5, message, old
):
    path = tmp_path / "file.h5"
    if old:
        path.write_bytes(old)
    started = time.monotonic()
    with pytest.raises(OSError, match=message):
        weights.download(server.url(way), path, md5, patience=0.5, longest=0.6)
    assert time.monotonic() - started < 5
    assert server.asked == [way]
    assert [p.read_bytes() for p in tmp_path.iterdir()] == [old] * bool(old)


def test_download_where_nobody_answers(nobody, tmp_path):
    with pytest.raises(OSError, match="refused"):
        weights.download(nobody, tmp_path / "file.h5", MD5, patience=0.5)
    assert list(tmp_path.iterdir()) == []


def test_imagenet_file_is_downloaded_once(server, tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    published(monkeypatch, url=server.url("/whole"), md5=MD5)
    path = weights.imagenet_file()
    assert path == tmp_path / "models" / "whole"
    assert weights.imagenet_file() == path
    assert server.asked == ["/whole"]
    path.write_bytes(DATA[:-1])  # somebody else's half download
    assert weights.imagenet_file().read_bytes() == DATA
    assert server.asked == ["/whole"] * 2


@pytest.mark.parametrize("spec", ["auto", "imagenet"])
def test_imagenet_weights_come_from_the_cache(
    spec, file, nobody, tmp_path, monkeypatch
):
    path, model = file
    cached = tmp_path / "models" / FILE
    cached.parent.mkdir()
    save(model, cached)
    md5 = hashlib.md5(cached.read_bytes()).hexdigest()
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    published(monkeypatch, url=nobody + FILE, md5=md5)
    if spec == "imagenet":  # asked for by name: the environment has no say
        monkeypatch.setenv("NST_TF_WEIGHTS", str(tmp_path / "missing.h5"))
    loaded = weights.load(spec)
    assert_kernels_are_of(loaded.kernels, model)
    assert loaded.name == "imagenet"
    assert loaded.sha256 == sha256(cached)
    assert loaded.warning == ""


@pytest.mark.parametrize(
    ("layer", "network", "what", "cost"),
    [
        ("block5_conv1", "vgg19_slim", "vgg19_slim, the small", "details blur"),
        ("block5_conv2", "vgg19", "untrained, random VGG-19", "strokes hardly"),
    ],
)
def test_auto_without_a_network_warns_and_falls_back(
    narrow, nobody, tmp_path, monkeypatch, layer, network, what, cost
):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    published(monkeypatch, url=nobody + FILE)
    loaded = weights.load("auto", 3, layers=[layer])
    assert loaded.network == network
    spec = ("random" if network == "vgg19" else "auto", 0, network)
    assert loaded.sha256 == weights.load(*spec).sha256
    for words in (
        what,
        cost,
        "refused",  # why
        f"fetch {FILE}",  # how to mend it
        nobody,
        "--weights=PATH",
        "NST_TF_WEIGHTS=PATH",
    ):
        assert words in loaded.warning
    assert "\n" not in loaded.warning


def test_the_environment_speaks_of_vgg19_alone(file, tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setenv("NST_TF_WEIGHTS", str(file[0]))
    own = weights.PUBLISHED["vgg16"]._replace(url="http://127.0.0.1:9/none")
    monkeypatch.setitem(weights.PUBLISHED, "vgg16", own)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    loaded = weights.load("auto", 3, "vgg16")
    assert loaded.sha256 == weights.load("random", 0, "vgg16").sha256
    assert "random VGG-16" in loaded.warning
    assert "NST_TF_WEIGHTS" not in loaded.warning


# The embedded network


def test_the_embedded_network_paints(pictures):
    layers = Options().layer_names()
    loaded = weights.load("auto", network="vgg19_slim", layers=layers)
    assert (loaded.name, loaded.warning) == ("embedded", "")
    assert loaded.sha256 == sha256(weights.SLIM)
    network = vgg.features_model(loaded.kernels, layers, "avg")
    for features in network(pictures[0][None]).values():
        assert np.isfinite(features).all() and np.std(features) > 0


@pytest.mark.parametrize("spec", ["imagenet", "random"])
def test_the_slim_network_has_its_own_weights_only(spec):
    with pytest.raises(ValueError, match="`weights`: vgg19_slim has no"):
        weights.check(spec, "vgg19_slim")


def test_the_slim_network_names_the_layers_it_has():
    with pytest.raises(
        ValueError, match="`network`: .*block5_conv2.*block4_conv2"
    ):
        weights.load("auto", 0, "vgg19_slim", ["block5_conv2"])


def test_another_file_is_no_slim_network(tmp_path, file):
    np.savez(tmp_path / "a.npz", **{"block1_conv1/kernel": np.zeros(3)})
    (tmp_path / "text.npz").write_text("no arrays")
    for path, kind in (
        (tmp_path / "a.npz", ", but a .npz"),
        (tmp_path / "text.npz", ""),
        (file[0], ", but HDF5, as VGG-19's"),
    ):
        expected = (
            "`weights` should be a file that scripts/distill wrote; "
            f'"{path}" is not one{kind}. vgg19_slim, the small network that a '
            "draft paints with, has weights of its own: leave --weights out, "
            "or choose --network=vgg19."
        )
        with pytest.raises(ValueError, match=f"^{re.escape(expected)}$"):
            weights.load(str(path), 0, "vgg19_slim")


def test_imagenet_without_a_network_is_an_error(nobody, tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    published(monkeypatch, url=nobody + FILE)
    message = "`weights`: .* neither cached nor .*refused.*--weights=PATH"
    with pytest.raises(ValueError, match=message):
        weights.load("imagenet")


@pytest.mark.parametrize("published", weights.PUBLISHED.values())
def test_the_address_and_the_checksum_are_those_of_keras(published):
    application = getattr(keras.applications, published.application)
    source = inspect.getsource(inspect.getmodule(application))
    source = "".join(source.split()).replace('""', "")  # wrapped texts
    for words in (published.url, published.file, published.md5):
        assert words in source
