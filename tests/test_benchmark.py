"""The benchmark's yardsticks and arithmetic; Gatys' settings in our terms."""

import functools
import io
import json
import math
import sys
from importlib import util
from pathlib import Path

import benchmark
import numpy as np
import pytest
import reproduce_gatys
import yardsticks

from nst_tf.engine import vgg
from nst_tf.files import encoding, images, record
from nst_tf.formulas import losses
from nst_tf.request.options import Options

ROOT = Path(__file__).resolve().parent.parent
LIGHTHOUSE = ROOT / "examples" / "content_lighthouse.jpg"


@pytest.fixture
def files(pictures, tmp_path):
    """The paths of content and style."""
    paths = [str(tmp_path / name) for name in ("content.png", "style.png")]
    for path, picture in zip(paths, pictures, strict=True):
        record.write(path, encoding.encode(images.to_uint8(picture), ".png"))
    return paths


@pytest.fixture
def perform(monkeypatch, capsys):
    """Does one of the yardsticks' tasks in this process."""

    def perform(task, job):
        more = {"spawned": 0.0, "until": -math.inf}
        job = io.StringIO(json.dumps({**more, **job}))
        monkeypatch.setattr(sys, "stdin", job)
        yardsticks.main(task)
        return json.loads(capsys.readouterr().out)

    return perform


@pytest.mark.parametrize("pooling", ["max", "avg"])
def test_plain_programs_have_the_costs_of_nst_tf_and_descend(
    tiny_weights_everywhere, files, tmp_path, perform, pooling
):
    options = Options(
        content_layers="conv3_2",
        style_layers="conv1_1,conv2_1,conv3_1",
        pooling=pooling,
        margin=0,
        scales=1,
        jit="off",
        precision="float32",
        init="noise",  # no term of its cost is nought
        steps=4,
    ).to_dict()
    path = str(tmp_path / "pictures.npz")
    job = {"inputs": files, "options": options, "every": 2, "pictures": path}
    outcome = perform("prepare", {**job, "wanted": {path: {}}})
    assert outcome["sizes"] == {path: [48, 64]}
    ours = perform("nst_tf", job)
    start = ours["costs"]["start"]
    assert min(start.values()) > 0
    assert ours["precision"] == "float32"
    names = ["tutorial"]
    if util.find_spec("torch"):
        names.append("pytorch")
    runs = {"nst_tf": ours} | {name: perform(name, job) for name in names}
    for name, run in runs.items():
        evaluations, seconds, costs = zip(*run["curve"], strict=True)
        assert evaluations == (1, 3, 5)
        assert list(seconds) == sorted(seconds)
        np.testing.assert_allclose(costs[0], start["total"], rtol=1e-5)
        assert costs[-1] < costs[0] or name == "pytorch"  # no line search
        assert run["peak_megabytes"] > 0
    if pooling == "max":
        aim = {"until": ours["curve"][1][2]}
        assert len(perform("nst_tf", {**job, **aim})["curve"]) == 2


def test_the_program_of_gaussians_descends_and_keeps_its_picture(
    tiny_weights_everywhere, files, tmp_path, perform
):
    options = Options(
        margin=0, scales=1, steps=8, max_size=0, style_layers="conv5_1"
    ).to_dict()
    path, picture = (str(tmp_path / name) for name in ("in.npz", "out.npy"))
    job = {"inputs": files, "options": options, "pictures": path}
    perform("prepare", {**job, "wanted": {path: {}}})
    outcome = perform("gaussians", {**job, "picture": picture})
    costs = [cost for _, _, cost in outcome["curve"]]
    assert len(costs) == 8 and min(costs) < costs[0]
    assert np.load(picture).shape == (48, 64, 3)


def test_the_root_is_scipys():
    linalg = pytest.importorskip("scipy.linalg")
    rows = np.random.default_rng(0).random((40, 6)).astype("float32")
    matrix = rows.T @ rows / 40
    root = yardsticks.newton_schulz(matrix)
    np.testing.assert_allclose(root, linalg.sqrtm(matrix), atol=1e-4)


def test_a_mistake_in_a_job_comes_back_as_words(files, perform):
    options = Options(max_size=8).to_dict()
    outcome = perform(
        "nst_tf", {"inputs": files, "options": options, "every": 1}
    )
    assert "`content`" in outcome["error"]


def test_the_arithmetic_is_the_count_by_hand():
    first = 2 * 9 * 3 * 64 * 9 * 17
    second = 2 * 9 * 64 * 64 * 9 * 17
    third = 2 * 9 * 64 * 128 * 4 * 8  # halves are rounded down
    assert benchmark.arithmetic(9, 17, "block1_conv1") == 2 * first
    total = 2 * (first + second + third)
    assert benchmark.arithmetic(9, 17, "block2_conv1") == total


def test_startup_is_what_no_evaluation_takes():
    # 5 s of loading, 1 s each; the second evaluation compiles for 3 s more.
    curve = [[1, 6.0, 9.0], [2, 10.0, 5.0], [3, 11.0, 6.0], [5, 13.0, 4.0]]
    assert benchmark.seconds_each(curve) == [1.0, 1.0]
    assert benchmark.startup(curve) == 8.0


def run(seconds, cost, precision="float32"):
    curve = [[n, 3 + n * seconds, cost / n] for n in range(1, 6)]
    return {
        "curve": curve,
        "peak_megabytes": 100.0 * seconds,
        "accelerator_megabytes": None,
        "precision": precision,
        "device": "CPU",
    }


def test_the_table_compares_with_nst_tf(
    tmp_path, pictures, monkeypatch, capsys
):
    job = {"options": {"max_size": 64}, "size": (48, 64)}
    rows = [
        benchmark.row(name, job, turn, run(*numbers), 20.0)
        for turn in (1, 2)
        for name, numbers in {
            "nst_tf": (turn, 50.0),
            "nst_tf_float32": (2.0 * turn, 200.0),
            "tutorial": (4.0 * turn, 100.0),
        }.items()
    ]
    head, _, *lines = benchmark.comparison(rows).splitlines()
    columns = "s/evaluation: min | median | nst_tf takes | max | peak MB"
    assert columns in head
    assert lines == [
        "| 64 x 48 | nst_tf | 1 | 1.5 | 1 | 2 | 150 | 1 | - | 4.5 | 1 |",
        "| 64 x 48 | nst_tf, float32 | 2 | 3 | 0.5 | 4 | 300 | 0.5 "
        "| - | - | - |",
        "| 64 x 48 | TensorFlow, plain Adam | 4 | 6 | 0.25 | 8 | 600 | 0.25 "
        "| - | 30 | 0.15 |",
    ]
    # The same file beside the floor: 1 GFLOP/s at most.
    record.write_costs(tmp_path / "rows.csv", rows)
    picture = encoding.encode(images.to_uint8(pictures[0]), ".png")
    record.write(tmp_path / "content.png", picture)
    rates = {"gigaflops": {"8": [0.5, 0.5, 1.0]}, "device": "CPU"}
    monkeypatch.setattr(benchmark, "spawn", lambda *_: rates)
    benchmark.main(
        f"floor {tmp_path}/content.png --sizes=32 --csv={tmp_path}/rows.csv "
        "--option=style_layers=block1_conv1 --option=content_weight=0".split()
    )
    work = [2 * 2 * 9 * 3 * 64 * n / 1e9 for n in (32 * 24, 64 * 48)]
    small, *seen = capsys.readouterr().out.splitlines()[-7:]
    given, taken = (f"{each:.3g} | {each:.3g}" for each in work)
    assert small == f"| 32 x 24 | {given} | {2 * work[0]:.3g} | - | - | - |"
    floor = f"| 64 x 48 | {taken} | {2 * work[1]:.3g} | nst_tf | "
    assert seen[0] == f"{floor}1 | {1 / work[1]:.3g} |"


def test_contenders_that_disagree_are_not_compared():
    def agree(cost, precision):
        runs = {"nst_tf": run(1.0, cost, precision), "tutorial": run(1.0, 1.0)}
        benchmark.agree(runs)

    agree(1.0005, "float32")
    agree(1.005, "mixed_bfloat16")
    for wrong in (
        (1.005, "float32"),
        (1.05, "mixed_bfloat16"),
        (math.nan, "float32"),
        (math.nan, "mixed_bfloat16"),
    ):
        with pytest.raises(RuntimeError, match="differ"):
            agree(*wrong)


def test_nst_tf_takes_part_in_both_precisions(monkeypatch):
    seen = []

    def spawn(task, job, python):
        seen.append((task, job["options"]["precision"], python))
        return run(1.0, 1.0)

    monkeypatch.setattr(benchmark, "spawn", spawn)
    arguments = "compare a.png b.png --torch_python=torches".split()
    given = benchmark.parsed(benchmark.Parser(), arguments)
    job = {"options": Options().to_dict()}
    for name in benchmark.CONTENDERS:
        benchmark.measured(name, job, given)
    assert seen == [
        ("nst_tf", "auto", sys.executable),
        ("nst_tf", "float32", sys.executable),
        ("tutorial", "auto", sys.executable),
        ("pytorch", "auto", "torches"),
    ]


@pytest.mark.parametrize(
    "command, told, rows",
    [
        (
            "compare --sizes=32,64 --rounds=2 --contenders nst_tf tutorial",
            "| 64 x 48 | TensorFlow, plain Adam | 4 | 4 | 0.25 | 4 | 400 ",
            8,
        ),
        ("time_to_cost", "Of its time nst_tf takes 0.250; in all 0.348.", 10),
    ],
)
def test_commands_tell_and_write(
    tmp_path, monkeypatch, capsys, command, told, rows
):
    def spawn(task, job, python=None):
        if task == "prepare":
            return {"sizes": {path: (48, 64) for path in job["wanted"]}}
        return run(1.0 if task == "nst_tf" else 4.0, 100.0)

    monkeypatch.setattr(benchmark, "spawn", spawn)
    name, *flags = command.split()
    path = tmp_path / "rows.csv"
    benchmark.main([name, "a.png", "b.png", f"--csv={path}", *flags])
    assert told in capsys.readouterr().out
    assert len(path.read_text().splitlines()) == 1 + rows


@pytest.mark.parametrize(
    "arguments",
    [
        "compare content.jpg style.jpg --sizes=0",
        "compare content.jpg style.jpg --contenders=caffe",
        "compare content.jpg style.jpg --torch_python=/nowhere/python",
        "compare content.jpg style.jpg --steps=2",
        "compare content.jpg style.jpg --option=pooling",
        "compare content.jpg style.jpg --contenders tutorial --option=scales=2",
        "time_to_cost content.jpg style.jpg --steps=10 --every=3",
        "time_to_cost content.jpg style.jpg --csv=curves.txt",
        f"floor {LIGHTHOUSE} --csv=missing.csv",
        "optimizers content.jpg style.jpg --option=pooling=sum",
        "floor missing.jpg",
        "no_such_command",
    ],
)
def test_a_mistake_gets_one_line_and_exit_code_2(arguments, capsys):
    with pytest.raises(SystemExit) as stopped:
        benchmark.main(arguments.split())
    assert stopped.value.code == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and lines[0].startswith("benchmark.py: ")


def test_the_cost_of_gatys_is_ours_with_these_options():
    generator = np.random.default_rng(3)
    options = reproduce_gatys.options()
    his = ours = 0.0
    for layer, weight in options.style_layers:
        channels = vgg.WIDTHS[int(layer[5])]
        seen, painted = (
            generator.random((1, *size, channels), "float32")
            for size in ((5, 4), (3, 6))
        )
        grams = [
            np.einsum("nijk,nijl->kl", a, a) / (a.shape[1] * a.shape[2])
            for a in (seen, painted)
        ]
        his += 1000 / channels**2 * np.mean((grams[0] - grams[1]) ** 2)
        ours += weight * losses.layer_style_cost(painted, seen)
    seen, wanted = generator.random((2, 1, 5, 4, 512), "float32")
    ((_, weight),) = options.content_layers
    content = weight * losses.content_cost(wanted, seen)
    total = options.content_weight * content + options.style_weight * ours
    his += np.mean((seen - wanted) ** 2)
    np.testing.assert_allclose(total, his, rtol=1e-5)
    assert options.tv_weight == options.margin == 0
    assert (options.scales, options.pooling) == (1, "max")


def test_the_run_of_gatys_goes_on_where_it_stopped(
    tiny_weights_everywhere, pictures, tmp_path, monkeypatch, capsys
):
    uncompiled = functools.partial(reproduce_gatys.options, jit="off")
    monkeypatch.setattr(reproduce_gatys, "options", uncompiled)
    for name, picture in zip(("a.png", "b.png"), pictures, strict=True):
        pixels = images.to_uint8(picture)
        (tmp_path / name).write_bytes(encoding.encode(pixels, ".png"))

    def paint(output, steps, *more):
        pair = [str(tmp_path / name) for name in ("a.png", "b.png")]
        where = f"--output={tmp_path / output}"
        settings = ["--short=32", f"--steps={steps}", "--keep=2", *more]
        reproduce_gatys.main([*pair, where, *settings])
        rows = reproduce_gatys.read_rows(tmp_path / output / "costs.csv", 99)
        return [(row["evaluations"], row["total"]) for row in rows]

    whole = paint("whole", 5)
    paint("parts", 3)
    assert paint("parts", 5) == whole
    assert len(whole) == 6
    assert "| 50 | 1388533 | - | - |" in capsys.readouterr().out
    with pytest.raises(SystemExit) as stopped:
        paint("parts", 5, "--history=3")
    assert stopped.value.code == 2
    assert "`history`" in capsys.readouterr().err.splitlines()[-1]
