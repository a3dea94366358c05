"""The SavedModel: the same picture through every door, clear errors, no nst_tf.

The doors are fresh processes that cannot import nst_tf, Keras or Pillow.
"""

import io
import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from nst_tf.engine import vgg
from nst_tf.files import images, record, weights
from nst_tf.request import options
from nst_tf.request.networks import LAYERS
from nst_tf.saved_model import export, graph
from nst_tf.stylization import inputs, run
from nst_tf.stylization.sources import style_size
from nst_tf.terminal import cli

pytestmark = pytest.mark.usefixtures("graphs_as_users_run_them")
C_SOURCE = Path(__file__).resolve().parent.parent / "examples" / "c"
TENSORFLOW = Path(tf.__file__).parent
# Weights that keep Adam's gradients near its epsilon: the tiny network's are
# large, and signs of gradients would amplify the last bit to whole levels.
GENTLE = {
    "content_layers": "block2_conv1",
    "style_layers": "block1_conv1,block2_conv1",
    "content_weight": 0.02,
    "style_weight": 0.05,
    "tv_weight": 0,
    "pooling": "max",
    "init": "content",
    "scales": 1,
    "precision": "float32",
}
EXPORTS = {
    "adam": {"optimizer": "adam", "steps": 6, "color": "luminance"},
    "lbfgs": {
        "optimizer": "lbfgs",
        "style_statistic": "wasserstein",
        "steps": 8,
        "tv_weight": 0.5,
        "history": 2,
        "color": "content",
    },
    "adagrad": {
        "optimizer": "adagrad",
        "steps": 4,
        "scales": 2,
        "style_blend": (2, 1),
        "pooling": "avg",
        "color": "luminance",
        "color_strength": 0.7,
    },
    "sgd": {
        "optimizer": "sgd",
        "steps": 4,
        "init": "style",
        "margin": 0,
        "tile": 64,
        "precision": "mixed_bfloat16",
    },
}
FIXED = {
    "adam": {"reports": 4, "max_steps": 50, "max_pixels": 4000},
    "lbfgs": {"reports": 3},
    "adagrad": {"styles": 2, "reports": 3},
    "sgd": {"weights_dtype": "float16"},
}
DOORS = {"adam": ("load", "session", "cli", "c"), "lbfgs": ("load",)}
BLOCK = """
import sys
for name in ("nst_tf", "keras", "PIL"):
    sys.modules[name] = None
"""
LOOPS = """
import pathlib, tempfile
import numpy as np, tensorflow as tf

def load(folder, inputs):
    loaded = tf.saved_model.load(folder)
    return loaded.signatures["serving_default"](**{
        name: tf.constant(value) for name, value in inputs.items()})

def session(folder, inputs):
    v1 = tf.compat.v1
    with v1.Session(graph=tf.Graph()) as session:
        meta = v1.saved_model.load(session, ["serve"], folder)
        signature = meta.signature_def["serving_default"]
        places = signature.outputs.items()
        return session.run(
            {name: place.name for name, place in places},
            {signature.inputs[name].name: inputs[name]
             for name in ("content", "style")})

def cli(folder, inputs):
    from tensorflow.python.tools import saved_model_cli
    with tempfile.TemporaryDirectory() as home:
        files = {name: f"{home}/{name}.npy" for name in ("content", "style")}
        for name, path in files.items():
            np.save(path, inputs[name])
        sys.argv = ["saved_model_cli", "run", "--dir", folder]
        sys.argv += ["--tag_set", "serve", "--outdir", f"{home}/found"]
        sys.argv += ["--signature_def", "serving_default", "--inputs"]
        sys.argv += [";".join(map("=".join, files.items()))]
        try:
            saved_model_cli.main()
        except SystemExit as finished:
            assert not finished.code
        found = pathlib.Path(home, "found").glob("*.npy")
        return {path.stem: np.load(path) for path in found}

words = sys.argv[1:]
while words:
    door, folder, given, output, *words = words
    found = globals()[door](folder, dict(np.load(given)))
    np.savez(output, **{name: np.asarray(v) for name, v in found.items()})
"""


@pytest.fixture(scope="module")
def tiny(tiny_weights_everywhere):
    """Whatever weights are asked for, they are the tiny ones."""


@pytest.fixture(scope="module")
def bytes_of(pictures):
    """uint8 content, style, and a second style: what is fed everywhere."""
    content, style = (images.to_uint8(picture) for picture in pictures)
    return content, style, style[::-1, ::-1, ::-1].copy()


@pytest.fixture(scope="module")
def folders(tiny, tmp_path_factory):
    """Every optimiser's export; Adam's by the command line."""
    home, made = tmp_path_factory.mktemp("exports"), {}
    for name, chosen in EXPORTS.items():
        made[name] = home / name / "1"
        wanted = {**GENTLE, **chosen, **FIXED[name]}
        if name == "adam":
            words = [f"--{key}={value}" for key, value in wanted.items()]
            assert cli.main(["export", f"--output={made[name]}", *words]) == 0
        else:
            export.save(made[name], **wanted)
    return made


@pytest.fixture(scope="module")
def loaded(folders):
    return {name: tf.saved_model.load(str(folders[name])) for name in folders}


def sources(name, bytes_of):
    content, *styles = bytes_of
    return content, styles[: FIXED[name].get("styles", 1)]


@pytest.fixture(scope="module")
def hosts(tiny, bytes_of):
    """What `nst_tf.stylize` makes of the same."""
    made = {}
    for name, chosen in EXPORTS.items():
        content, styles = sources(name, bytes_of)
        wanted = {**GENTLE, **chosen, "jit": "off", "max_size": 0}
        made[name] = list(run.snapshots(content, styles, every=2, **wanted))
    return made


def distance(first, second):
    return np.abs(np.asarray(first, int) - np.asarray(second, int)).max()


# Conformance


@pytest.mark.parametrize("name", EXPORTS)
def test_a_call_is_the_command_line(name, loaded, hosts, bytes_of):
    content, styles = sources(name, bytes_of)
    found = loaded[name].stylize(content, *styles)
    wanted, scales = hosts[name][-1], EXPORTS[name].get("scales", 1)
    rough = FIXED[name].get("weights_dtype") == "float16"
    assert found["image"].dtype == tf.uint8
    assert distance(found["image"], wanted.image) <= (3 if rough else 1)
    reports = FIXED[name].get("reports", 11)
    steps = found["step"].numpy()
    assert found["costs"].shape == (scales * reports, 3)
    assert steps[0] == 0 and steps[-1] == scales * EXPORTS[name]["steps"]
    by_step = {(r.scale, r.step): r.costs for r in hosts[name]}
    compared = 0
    for row, (count, costs) in enumerate(
        zip(steps, found["costs"].numpy(), strict=True)
    ):
        scale = row // reports
        known = by_step.get((scale, count - scale * EXPORTS[name]["steps"]))
        if known:
            terms = [known[term] for term in ("total", "content", "style")]
            tolerance = 5e-2 if rough else 1e-3
            assert costs == pytest.approx(terms, rel=tolerance, abs=1e-9)
            compared += 1
    assert compared >= 2 * scales


def test_numbers_are_inputs(loaded, bytes_of, tiny):
    content, style, _ = bytes_of
    numbers = {
        "steps": 3,
        "content_weight": 0.1,
        "style_weight": 0.01,
        "learning_rate": 0.05,
    }
    found = loaded["adam"].stylize(content, style, **numbers)
    chosen = {**GENTLE, **EXPORTS["adam"], **numbers, "jit": "off"}
    wanted = run.stylize(content, style, max_size=0, **chosen)
    assert distance(found["image"], wanted.image) <= 1
    assert found["step"].numpy().tolist() == [0, 1, 2, 3]


def test_any_size_and_no_steps(loaded, bytes_of):
    content, style, _ = bytes_of
    found = loaded["adam"].stylize(content[:33, :50], style[:40, :21], steps=0)
    assert np.array_equal(found["image"], content[:33, :50])
    assert found["step"].numpy().tolist() == [0] * 4


def test_features_and_costs(loaded, bytes_of, tiny_kernels):
    content, style, _ = bytes_of
    features = loaded["adam"].features(content)
    layers = ["block1_conv1", "block2_conv1"]
    assert sorted(features) == layers
    network = vgg.features_model(weights.load().kernels, layers, "max")
    wanted = network(content[None] / np.float32(255))
    for layer in layers:
        np.testing.assert_allclose(
            features[layer], wanted[layer], rtol=1e-4, atol=1e-3
        )
    same = loaded["adam"].costs(content, style, content)
    other = loaded["adam"].costs(content, style, 255 - content)
    assert float(same["content"]) == 0 < float(other["content"])
    shares = {layer: 1 / 2 for layer in layers}
    style_cost = sum(
        share * other[f"style_{layer}"] for layer, share in shares.items()
    )
    assert float(other["style"]) == pytest.approx(float(style_cost), rel=1e-5)
    total = 0.02 * other["content"] + 0.05 * other["style"]
    assert float(other["total"]) == pytest.approx(float(total), rel=1e-5)


def test_blend_weights_are_inputs(loaded, bytes_of):
    content, first, second = bytes_of
    stylize = loaded["adagrad"].stylize
    one = stylize(content, first, second, style_blend=[1.0, 0.0])
    same = stylize(content, first, first, style_blend=[1.0, 3.0])
    assert distance(one["image"], same["image"]) <= 1
    both = stylize(content, first, second)
    assert distance(one["image"], both["image"]) > 1


def test_calls_at_once_do_not_disturb_each_other(loaded, bytes_of):
    content, style, other = bytes_of
    pairs = [(content, style), (content[:, ::-1], other)]
    wanted = [loaded["lbfgs"].stylize(*pair) for pair in pairs]
    found = {}

    def call(k):
        for _ in range(3):
            found[k] = loaded["lbfgs"].stylize(*pairs[k])

    threads = [threading.Thread(target=call, args=(k,)) for k in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for k in range(2):
        np.testing.assert_allclose(found[k]["costs"], wanted[k]["costs"], 1e-3)
        assert distance(found[k]["image"], wanted[k]["image"]) <= 2


# Doors


@pytest.fixture(scope="module")
def doors(folders, bytes_of, tmp_path_factory):
    """How each process ended, and where the outputs are."""
    home = tmp_path_factory.mktemp("doors")
    content, style, _ = bytes_of
    arrays = {"content": content, "style": style}
    for name, array in arrays.items():
        Image.fromarray(array).save(home / f"{name}.png")
    loops, jobs = [], {}
    for name, ways in DOORS.items():
        given = home / f"{name}.npz"
        np.savez(given, **arrays, **defaults(folders[name]))
        for door in set(ways) - {"c"}:
            output = home / f"{door}_{name}.npz"
            loops += [door, folders[name], given, output]
        program = built(home)
        if program:
            jobs["c", name] = [
                *(program, folders[name], home / f"c_{name}.png"),
                *(f"{key}_bytes={home}/{key}.png" for key in arrays),
            ]
    jobs["loops", ""] = python(BLOCK + LOOPS, *loops)
    finished = together(jobs, home)
    return finished, home


def defaults(folder):
    inputs = record.read_recipe(folder)["signatures"]["serving_default"]
    return {
        name: np.array(spec["default"], spec["dtype"])
        for name, spec in inputs["inputs"].items()
        if "default" in spec
    }


def python(script, *words):
    return [sys.executable, "-I", "-c", script, *words]


def built(home):
    """The C program, if there is a compiler; None otherwise."""
    program = home / "stylize"
    compiler = shutil.which("cc")
    if not compiler or not shutil.which("make"):
        return None
    if not program.exists():
        shutil.copytree(C_SOURCE, home, dirs_exist_ok=True)
        if shutil.which("ld.gold"):  # seconds sooner
            compiler += " -fuse-ld=gold"
        given = f"TENSORFLOW={TENSORFLOW}", f"CC={compiler}"
        subprocess.run(
            ["make", "-B", "-C", home, *given],
            check=True,
            capture_output=True,
        )
    return program


def together(jobs, home):
    """Runs the jobs two at a time; `{job: (code, what it printed)}`."""
    waiting, done = list(jobs.items()), {}

    def work():
        while waiting:
            key, words = waiting.pop(0)
            finished = subprocess.run(
                [str(word) for word in words],
                cwd=home,
                capture_output=True,
                text=True,
                timeout=300,
                env={**os.environ, "PYTHONPATH": ""},
            )
            done[key] = finished.returncode, finished.stderr[-3000:]

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return done


def outcome(doors, door, name):
    finished, home = doors
    if door == "c" and ("c", name) not in finished:
        pytest.skip("no C compiler")
    code, printed = finished[("c", name) if door == "c" else ("loops", "")]
    assert code == 0, printed
    if door == "c":
        image = np.asarray(Image.open(home / f"c_{name}.png"))
        return {"image": image}
    return dict(np.load(home / f"{door}_{name}.npz"))


@pytest.mark.parametrize(
    ("name", "door"),
    [(name, door) for name, ways in DOORS.items() for door in ways],
)
def test_every_door_gives_the_same(name, door, doors, hosts, loaded, bytes_of):
    found, wanted = outcome(doors, door, name), hosts[name][-1]
    assert found["image"].shape == wanted.image.shape
    assert found["image"].dtype == np.uint8
    if name == "adam":
        assert distance(found["image"], wanted.image) <= 1
    content, style, _ = bytes_of
    costs = [
        float(loaded[name].costs(content, style, image)["total"])
        for image in (found["image"], wanted.image)
    ]
    assert costs[0] == pytest.approx(costs[1], rel=5e-3)  # of whole levels
    if "costs" in found:
        assert found["step"][-1] == EXPORTS[name]["steps"]
        terms = [wanted.costs[key] for key in ("total", "content", "style")]
        assert found["costs"][-1] == pytest.approx(terms, rel=1e-3)


# Bytes


@pytest.mark.parametrize(
    ("mode", "suffix"),
    [
        *[(mode, "PNG") for mode in ("RGB", "RGBA", "L", "LA", "P")],
        *[("RGB", "JPEG"), ("L", "JPEG"), ("CMYK", "JPEG")],
        *[("RGB", "BMP"), ("P", "GIF"), ("RGB", "WEBP"), ("RGBA", "WEBP")],
    ],
)
def test_picture_files_are_read_as_the_host_reads_them(mode, suffix, bytes_of):
    content = bytes_of[0]
    alpha = np.linspace(0, 255, content[..., 0].size).astype("uint8")
    picture = Image.fromarray(content)
    if mode.endswith("A"):
        picture.putalpha(Image.fromarray(alpha.reshape(content.shape[:2])))
    file = io.BytesIO()
    lossless = {"lossless": True} if suffix == "WEBP" else {}
    picture.convert(mode).save(file, suffix, **lossless)
    try:
        found = graph.decoded("content", tf.constant(file.getvalue()))
    except tf.errors.InvalidArgumentError:
        assert suffix == "WEBP" and not hasattr(tf.io, "decode_webp")
        pytest.skip("this TensorFlow reads no WebP")
    found = np.asarray(found, "float32")
    wanted = images.read(file.getvalue()).rgb * 255
    exact = suffix != "JPEG"  # decoders round differently
    assert np.abs(found - wanted).max() <= (0.51 if exact else 4)


def test_bytes_in_bytes_out(loaded, bytes_of):
    content, style, _ = bytes_of
    files = []
    for array in (content, style):
        file = io.BytesIO()
        Image.fromarray(array).save(file, "PNG")
        files.append(file.getvalue())
    found = loaded["adam"].stylize_bytes(*files)
    png = Image.open(io.BytesIO(found["image_bytes"].numpy()))
    assert png.format == "PNG"
    wanted = loaded["adam"].stylize(content, style)
    np.testing.assert_array_equal(np.asarray(png), wanted["image"])
    np.testing.assert_allclose(found["costs"], wanted["costs"], 1e-5)


# Bad calls


def bad(name, **inputs):
    return pytest.param(name, inputs, id="-".join([name, *inputs]))


@pytest.mark.parametrize(
    ("name", "inputs", "message"),
    [
        ("adam", {"content": (48, 64, 4)}, r"\[48,64,4\].*expected"),
        ("adam", {"content": (48, 64)}, r"\[48,64\].*expected"),
        ("adam", {"style": (1, 48, 64, 3)}, r"\[1,48,64,3\].*expected"),
        ("adam", {"content": (0, 64, 3)}, "`content` should not be empty"),
        ("adam", {"content": (80, 64, 3)}, "`content` should have at most"),
        ("adam", {"style": (80, 64, 3)}, "`style` should have at most 4000"),
        ("adam", {"content": (15, 64, 3)}, "`content` should be at least 16"),
        ("adam", {"style": (64, 15, 3)}, "`style` should be at least 16 x 16"),
        ("adam", {"steps": -1}, "`steps` should be 0 to 50"),
        ("adam", {"steps": 51}, "`steps` should be 0 to 50"),
        ("adam", {"content_weight": np.nan}, "`content_weight` should be fin"),
        ("adam", {"style_weight": -1.0}, "`style_weight` should be finite"),
        ("adam", {"learning_rate": np.inf}, "`learning_rate` should be"),
        ("adagrad", {"content": (31, 64, 3)}, "at least 32 x 32.* 2 scales"),
        ("adagrad", {"style_blend": [1.0, 1, 1]}, "each of the 2 styles"),
        ("adagrad", {"style_blend": [0.0, 0.0]}, "not all 0"),
    ],
)
def test_bad_calls_say_what_is_wrong(
    name, inputs, message, loaded, folders, bytes_of
):
    content, styles = sources(name, bytes_of)
    names = ["style"] if len(styles) == 1 else ["style_1", "style_2"]
    given = {**dict(zip(names, styles, strict=True)), "content": content}
    given.update(defaults(folders[name]))
    for key, value in inputs.items():
        if isinstance(value, tuple):
            value = np.zeros(value, "uint8")
        given[key] = np.asarray(value, given[key].dtype)
    call = loaded[name].signatures["serving_default"]
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        call(**{key: tf.constant(value) for key, value in given.items()})


def test_bad_bytes_and_sizes_say_what_is_wrong(loaded, bytes_of):
    content, style, _ = bytes_of
    for junk in (b"", b"no picture at all", b"\x89PNG\r\n\x1a\n1234"):
        with pytest.raises(tf.errors.InvalidArgumentError) as error:
            loaded["adam"].stylize_bytes(junk, junk)
        assert "_bytes" in str(error.value)
    with pytest.raises(
        tf.errors.InvalidArgumentError, match="width of `content`"
    ):
        loaded["adam"].costs(content, style, style)


# What is written


def test_the_recipe_is_inside(folders, capsys):
    assert cli.main(["show", str(folders["adam"])]) == 0
    recipe = json.loads(capsys.readouterr().out)
    assert recipe == record.read_recipe(folders["adam"])
    assert recipe["options"]["optimizer"] == "adam"
    assert recipe["network"]["sha256"] == "0" * 64
    assert recipe["export"]["max_steps"] == 50
    assert recipe["versions"]["tensorflow"] == tf.__version__
    inputs = recipe["signatures"]["serving_default"]["inputs"]
    assert list(inputs) == [
        *("content", "style", "steps", "content_weight", "style_weight"),
        "learning_rate",
    ]
    assert inputs["steps"] == {"dtype": "int32", "shape": [], "default": 6}
    outputs = recipe["signatures"]["stylize_bytes"]["outputs"]
    assert sorted(outputs) == ["costs", "image_bytes", "step"]
    assert outputs["costs"]["shape"] == [4, 3]


def test_inputs_without_an_effect_are_not_there(folders):
    inputs = {name: set(defaults(folders[name])) for name in folders}
    weighty = {"steps", "content_weight", "style_weight"}
    assert inputs["lbfgs"] == {*weighty, "tv_weight"}
    assert inputs["sgd"] == {*weighty, "learning_rate"}
    assert inputs["adagrad"] == {*weighty, "learning_rate", "style_blend"}


@pytest.mark.parametrize("name", ["adam", "sgd"])
def test_each_kernel_is_held_once(name, folders, tiny_kernels):
    stem = str(folders[name] / "variables" / "variables")
    held = tf.train.load_checkpoint(stem)
    shapes = held.get_variable_to_shape_map()
    shapes.pop("_CHECKPOINTABLE_OBJECT_GRAPH")
    depth = LAYERS.index("block2_conv1") + 1
    wanted = [
        list(array.shape)
        for layer in LAYERS[:depth]
        for array in tiny_kernels[layer]
    ]
    assert sorted(shapes.values()) == sorted(wanted)
    types = {
        len(shape): held.get_variable_to_dtype_map()[key].name
        for key, shape in shapes.items()
    }
    assert types == {4: {"sgd": "float16"}.get(name, "float32"), 1: "float32"}


def test_a_folder_appears_whole_or_not_at_all(tiny, tmp_path, monkeypatch):
    def fails(module, path, signatures):
        Path(path).mkdir()
        raise OSError("disk full")

    monkeypatch.setattr(tf.saved_model, "save", fails)
    monkeypatch.setattr(export, "_functions", lambda *_: {})
    with pytest.raises(OSError, match="disk full"):
        export.save(tmp_path / "models" / "1")
    assert list((tmp_path / "models").iterdir()) == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"init": "photo.jpg"}, "`init` should be content, noise or style"),
        ({"color_image": "a.jpg"}, "`color_image` should be left out"),
        ({"style_weight": 0}, "`style_weight` should not be 0"),
        ({"style_blend": (1, 2)}, "`style_blend`.*expected 1, received 2"),
        ({"max_steps": 10}, "`steps` should be at most `max_steps`, 10"),
        ({"styles": "two"}, '`styles` should be a whole number.*"two"'),
        ({"styles": 0}, "`styles` should be a whole number, 1 to 16"),
        ({"reports": 1}, "`reports`"),
        ({"max_pixels": -1}, "`max_pixels`"),
        ({"weights_dtype": "int8"}, "`weights_dtype` should be float32 or"),
        ({"stepz": 3}, "`stepz` is not an option"),
    ],
)
def test_what_cannot_be_exported(changes, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        export.save(tmp_path / "new", **changes)
    assert not (tmp_path / "new").exists()


def test_nothing_is_overwritten(tmp_path, capsys):
    (tmp_path / "file").write_text("mine")
    for output in (tmp_path, tmp_path / "file"):
        assert cli.main(["export", f"--output={output}"]) == 2
        assert "`output` should be a new folder" in capsys.readouterr().err
    assert cli.main(["export"]) == 2
    assert "`output` is missing" in capsys.readouterr().err


# What the graph does as the host does


@pytest.mark.parametrize("enlarge", [False, True])
@pytest.mark.parametrize("scale", [0.37, 1.0, 2.5])
def test_styles_are_fitted_as_on_the_host(enlarge, scale):
    chosen = options.Options(style_scale=scale, enlarge=enlarge)
    generator = np.random.default_rng(3)
    for style in generator.integers(40, 400, (20, 2)):
        content = generator.integers(64, 300, 2)
        sizes = tf.constant(style), tf.constant(content)
        found = graph._fitted_size(*sizes, chosen)
        wanted = style_size(tuple(style), tuple(content), chosen)
        assert found.numpy().tolist() == list(wanted)


@pytest.mark.parametrize("size", [(30, 50), (50, 30), (31, 47), (80, 20)])
def test_the_style_covers_the_first_image_as_on_the_host(size, bytes_of):
    style = bytes_of[1].astype("float32")
    found = graph._cover(tf.constant(style[None]), tf.constant(size))
    np.testing.assert_array_equal(found[0], inputs._cover(style, size))


@pytest.mark.parametrize("noise", [None, "gaussian"])
def test_noise_follows_the_seed(noise):
    chosen = options.Options(init="noise", noise=noise, noise_ratio=0.5)
    content = tf.fill([1, 32, 48, 3], 0.5)
    first, same, other = (
        graph._first_image(chosen, content, [], tf.constant(seed)).numpy()
        for seed in (1, 1, 2)
    )
    assert np.array_equal(first, same) and not np.allclose(first, other)
    assert 0 <= first.min() < first.max() <= 1
    assert first.mean() == pytest.approx(0.5, abs=0.02)
