"""A batch: what is asked for, what becomes of it, whatever happens."""

import csv
import hashlib
import importlib
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import PIL.Image
import pytest

import nst_tf
from nst_tf.batches import (
    batch,
    cluster,
    failures,
    index,
    jobs,
    sources,
    stream,
    work,
)
from nst_tf.files import record
from nst_tf.request.options import Options
from nst_tf.terminal import cli

ROOT = Path(__file__).resolve().parent.parent
PRELOAD = Path(__file__).with_name("batch_preload.py")
SEAT = work.Seat(None, "cpu")
needs_dask = pytest.mark.skipif(
    importlib.util.find_spec("distributed") is None,
    reason="no Dask: pip install 'dask[distributed]'",
)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Where a batch is asked for: photos/, paintings/."""
    monkeypatch.chdir(tmp_path)
    for name in ("a", "b"):
        draw(f"photos/{name}.png")
    draw("paintings/x.png")
    draw("paintings/y.png")
    return tmp_path


def draw(path, size=(40, 32)):
    Path(path).parent.mkdir(exist_ok=True)
    colour = tuple(hashlib.sha256(path.encode()).digest()[:3])
    PIL.Image.new("RGB", size, colour).save(path)


def check(**changes):
    asked = {"content": "photos/*", "style": "paintings/*"}
    return batch.batch(**{**asked, **changes})


def write_manifest(*lines, name="jobs.csv"):
    Path(name).write_text("\n".join(lines) + "\n")
    return {"content": None, "style": None, "manifest": name}


def names(order):
    return [job.name for job in order.jobs]


# What is asked for


def test_each_photograph_meets_each_painting(folder):
    order = check()
    assert names(order) == ["a_x.png", "b_x.png", "a_y.png", "b_y.png"]
    assert order.total == 4
    assert names(check(pair="zip")) == ["a_x.png", "b_y.png"]
    assert names(check(content=["photos", "photos/a.png"])) == names(order)
    job = next(iter(order.jobs))
    assert job.output == str(folder / "painted" / "a_x.png")


def test_results_are_no_photographs(folder):
    draw("photos/out/a_x.png")
    order = check(content="**/*.png", style="paintings/x.png", output="photos")
    assert names(order) == ["x_x.png", "y_x.png"]


def test_a_manifest_has_options_as_columns(folder):
    asked = write_manifest(
        "content,style,steps,enlarge,scales,init",
        'photos/a.png,paintings/x.png,7,true,"32,64",photos/b.png',
        "photos/b.png,paintings/x.png,,,,",
    )
    one, two = check(**asked, options=Options(steps=9)).jobs
    assert (one.options.steps, one.options.enlarge) == (7, True)
    assert one.options.scales == (32, 64)
    assert one.options.init == str(folder / "photos" / "b.png")
    assert two.options == Options(steps=9)
    row = {"content": "photos/a.png", "style": ["paintings/x.png"] * 2}
    row |= {"style_layers": {"conv1_1": 1}, "seed": None, "scales": [32, 64]}
    asked = write_manifest(json.dumps(row), "", name="jobs.jsonl")
    (job,) = check(**asked).jobs
    assert job.styles == (str(folder / "paintings" / "x.png"),) * 2
    assert job.options.style_layers == (("block1_conv1", 1.0),)
    assert job.options.scales == (32, 64)


def test_paths_are_the_manifests(folder, monkeypatch):
    asked = write_manifest("content,style", "photos/a.png,paintings/x.png")
    asked["manifest"] = folder / "jobs.csv"
    monkeypatch.chdir("/")
    (job,) = check(**asked).jobs
    assert job.content == str(folder / "photos" / "a.png")


def test_masks_of_a_manifest_are_its_folders(folder):
    asked = write_manifest(
        "content,style,mask,content_mask",
        "photos/a.png,paintings/x.png,alpha,sky.png",
        "photos/a.png,paintings/y.png,sky.png,all",
    )
    one, two = check(**asked).jobs
    assert one.options.mask == "alpha"
    assert one.options.content_mask == (str(folder / "sky.png"),)
    assert two.options.mask == str(folder / "sky.png")
    assert two.options.content_mask == ("all",)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["content,style,stpes"], 'column "stpes".*Did you mean "steps"'),
        (["content,steps"], "column `style`; received content, steps"),
        ([""], "a column `content`; received none"),
        (["content,style"], "holds no job"),
        (["content,style", "a.png,"], "line 2: `style` should be a path"),
        (["content,style", "a.png,b.png,c"], "line 2: expected 2 cells"),
        (["content,style,steps", "a,b,-1"], "line 2: `steps`: it should be"),
        (["content,style,enlarge", "a,b,yes"], "line 2: `enlarge`: expected"),
    ],
)
def test_a_wrong_manifest_is_refused(folder, lines, message):
    asked = write_manifest(*lines)
    with pytest.raises(ValueError, match=message):
        check(**asked)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["{"], "line 1: no JSON"),
        (["[1]"], "line 1: expected an object"),
        (['{"content": "a", "style": []}'], "line 1: `style` should be a path"),
        (['{"contnt": "a", "style": "b"}'], '"contnt".*Did you mean "content"'),
    ],
)
def test_wrong_json_lines_are_refused(folder, lines, message):
    asked = write_manifest(*lines, name="jobs.jsonl")
    with pytest.raises(ValueError, match=message):
        check(**asked)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"content": None}, "`content` is missing"),
        ({"content": "none/*"}, "`content`: no file is named"),
        ({"manifest": "jobs.csv"}, "Leave `content` and `style` out"),
        ({"pair": "zp"}, 'product or zip.*Did you mean "zip"'),
        ({"pair": "zip", "content": "photos/a.png"}, "1 photographs and 2"),
        ({"name": "{content}.png"}, 'jobs 1 and 3 would both be "a.png"'),
        ({"name": "{contnet}.png"}, 'Did you mean "content"'),
        ({"name": "{content.real}.png"}, "should be {content}"),
        ({"name": "{content"}, "`name`"),
        ({"name": "{content}_{style}.pgn"}, "`name` should end in"),
        ({"name": "../{content}_{style}.png"}, "outside the output's folder"),
        ({"name": "thumbnails/{content}_{style}.png"}, "in its thumbnails"),
        (
            {"output": "photos", "name": "{number}.png", "content": "[1]"},
            "no file is named",
        ),
        ({"output": "photos/a.png"}, "can be written"),
        ({"device": "gpu"}, "`device` should be auto or cpu"),
    ],
)
def test_what_cannot_be_is_refused_before_the_start(folder, changes, message):
    with pytest.raises(ValueError, match=message):
        check(**changes)
    assert not Path("painted").exists()


def test_no_input_is_overwritten(folder):
    draw("paintings/a_x.png")
    asked = write_manifest("content,style", "photos/a.png,paintings/x.png",
                           "photos/b.png,paintings/a_x.png")  # fmt: skip
    with pytest.raises(ValueError, match="one of the inputs"):
        check(**asked, output="paintings")
    with pytest.raises(ValueError, match="one of the inputs"):
        check(output="out", mask="out/a_x.png")
    write_manifest("content,style", "photos/a.png,paintings/x.png",
                   name="failures.csv")  # fmt: skip
    with pytest.raises(ValueError, match="one of the inputs"):
        check(**{**asked, "manifest": "failures.csv"}, output=".")


def test_names_tell_jobs_apart(folder):
    lines = [f"photos/a.png,paintings/x.png,{seed}" for seed in (3, 4)]
    asked = write_manifest("content,style,seed", *lines)
    with pytest.raises(ValueError, match="jobs 1 and 2"):
        check(**asked)
    order = check(**asked, name="{style}/{content}_{seed}_{number}.webp")
    assert names(order) == ["x/a_3_1.webp", "x/a_4_2.webp"]


def test_equal_paintings_and_sizes_follow_each_other(folder):
    draw("photos/c.png", (64, 64))
    rows = [
        sources.Row(f"photos/{c}.png", (f"paintings/{s}.png",), Options())
        for c, s in itertools.product("cab", "xy")
    ]
    asked = list(jobs.Jobs(rows, folder))
    done = [job.name[:3] for job in jobs.ordered(asked)]
    assert done == ["a_x", "b_x", "c_x", "a_y", "b_y", "c_y"]
    drawn = []
    stream_ = (drawn.append(job) or job for job in itertools.cycle(asked))
    next(jobs.ordered(stream_, block=4))
    assert len(drawn) == 4


# What a worker does


def test_a_job_is_painted_once(folder, tiny_weights_everywhere, monkeypatch):
    quick = Options(
        steps=2,
        max_size=32,
        scales=1,
        content_layers="conv3_1",
        style_layers="conv1_1",
    )
    order = check(content="photos/a.png", style="paintings", options=quick)
    job, other = order.jobs
    first = work.work(job, SEAT)
    assert first.painted and not first.reason
    assert record.read_recipe(job.output) == first.recipe
    assert first.recipe["key"] == key_of(first.recipe)
    written = os.stat(job.output)
    again = work.work(job, SEAT)
    assert (again.painted, again.recipe) == (False, first.recipe)
    assert os.stat(job.output).st_mtime_ns == written.st_mtime_ns
    with PIL.Image.open(folder / "painted" / job.thumbnail) as small:
        assert small.size == (32, 26)
    # Whatever decides the result makes it another job.
    slower = job._replace(options=quick.replace(steps=3))
    assert work.finished(slower, SEAT) is None
    assert work.finished(other._replace(name=job.name), SEAT) is None
    with monkeypatch.context() as patch:
        patch.setattr(work, "weights_digest", lambda *_: "1" * 64)
        assert work.finished(job, SEAT) is None
    # Where the files are does not.
    os.rename("photos", "moved")
    moved = job._replace(content=str(folder / "moved" / "a.png"))
    assert work.finished(moved, SEAT) == first.recipe
    missing = work.work(other, SEAT)
    assert "there is no file" in missing.reason and not missing.full
    assert not os.path.exists(other.output)


def key_of(recipe):
    network = recipe["network"]["sha256"]
    return work.key(recipe["options"], recipe["inputs"], network)


def test_a_key_is_of_all_that_decides(folder):
    """Of pictures that options name, too; not of what they are called."""
    row = sources.Row("photos/a.png", ("paintings/x.png",), Options())
    (job,) = jobs.Jobs([row], folder)

    def found(**changes):
        changed = job._replace(options=Options(**changes))
        return work.key(changed.options.to_dict(), work._inputs(changed), "0")

    keys = [
        found(),
        found(seed=1),
        found(init=str(folder / "photos/b.png")),
        found(color_image=str(folder / "photos/b.png")),
        found(mask=str(folder / "photos/b.png")),
        found(content_mask=[str(folder / "photos/b.png")]),
    ]
    assert len(set(keys)) == len(keys)
    Path("photos/c.png").write_bytes(Path("photos/b.png").read_bytes())
    assert found(init=str(folder / "photos/c.png")) == keys[2]
    assert found(weights="random") == keys[0]  # their digest tells


def test_the_seat_of_an_own_gpu():
    assert work._own_device(0) == "cpu"


# What is kept of it


def ended(number, reason="", recipe=None):
    job = jobs.Job(
        number, f"/c/p {number}.jpg", ("/s/<x>.png",), Options(), "/o",
        f"p {number}#.png",
    )  # fmt: skip
    outcome = work.Outcome(recipe or {"steps": "<b>"}, not reason, reason)
    return stream._finished(job, outcome)


def table(path):
    with open(path, newline="") as file:
        return list(csv.reader(file))


def test_failures_come_and_go(tmp_path):
    book = failures.Failures(tmp_path)
    for one in (ended(1), ended(2, 'it\'s, "bad"'), ended(3, "worse")):
        book.take(one)
    book.write()
    rows = table(tmp_path / "failures.csv")
    assert [row[0] for row in rows] == ["output", "p 2#.png", "p 3#.png"]
    assert rows[1][3] == 'it\'s, "bad"'
    book = failures.Failures(tmp_path)
    book.take(ended(2))
    book.write()
    rows = table(tmp_path / "failures.csv")
    assert [row[0] for row in rows] == ["output", "p 3#.png"]
    book.take(ended(3))
    book.write()
    assert not (tmp_path / "failures.csv").exists()


def test_pages_of_thumbnails(tmp_path, monkeypatch):
    monkeypatch.setattr(index, "PAGE", 2)

    def pages(numbers):
        book = index.Index(tmp_path)
        for number in numbers:
            book.take(ended(number))
        book.take(ended(99, "failed"))
        book.write()
        return sorted(path.name for path in tmp_path.iterdir())

    three = ["index.html", "index_2.html", "index_3.html"]
    assert pages((2, 1, 3, 4, 5)) == three
    text = (tmp_path / "index.html").read_text()
    assert 'src="thumbnails/p%201%23.png.webp"' in text
    assert text.index("p 1#") < text.index("p 2#")
    assert "&lt;b&gt;" in text and "<b>" not in text and "<script" not in text
    assert 'href="index_2.html"' in text and "Earlier" not in text
    assert 'href="index.html"' in (tmp_path / "index_2.html").read_text()
    assert pages((1, 2)) == three[:1]
    assert "More" not in (tmp_path / "index.html").read_text()


# Real processes


@pytest.fixture
def stubbed(monkeypatch):
    """Workers that paint at once, by way of a preload."""
    pytest.importorskip("distributed")
    import dask

    with dask.config.set({"distributed.worker.preload": [str(PRELOAD)]}):
        monkeypatch.setenv("PYTHONPATH", str(ROOT))
        yield


def paint(*contents, **changes):
    for content in contents:
        draw(f"photos/{content}.png")
    asked = {"content": "photos", "style": "paintings/x.png", "workers": 2}
    return list(nst_tf.batch(**{**asked, **changes}))


def outputs():
    return sorted(path.stem for path in Path("painted").glob("*.png"))


@needs_dask
def test_workers_that_die(folder, stubbed):
    """One run of many: killers, one that recovers, innocents, a failure."""
    done = paint("kill", "once", "bad", *"cdef")
    by_name = {Path(one.output).stem: one for one in done}
    assert len(by_name) == len(done) == 9
    assert "3 workers died of it" in by_name["kill_x"].reason
    assert by_name["bad_x"].reason == "`content` should be a picture;"
    good = [f"{name}_x" for name in (*"abcdef", "once")]
    assert not any(by_name[name].reason for name in good)
    assert outputs() == sorted(good)
    assert not list(Path("painted").glob("**/.*.part"))
    failed = {row[0] for row in table("painted/failures.csv")[1:]}
    assert failed == {"kill_x.png", "bad_x.png"}
    # The same again does what is left, and nothing twice.
    before = {name: os.stat(f"painted/{name}.png") for name in good}
    Path("photos/kill.png").rename("photos/mended.png")
    Path("photos/bad.png").unlink()
    again = paint(device="cpu")
    assert [one.job.name for one in again if one.painted] == ["mended_x.png"]
    for name, about in before.items():
        assert os.stat(f"painted/{name}.png") == about


@needs_dask
def test_one_worker_alone_with_a_killer(folder, stubbed):
    """The innocent that waits behind it is not taken for it."""
    done = paint("kill", workers=1, device="cpu")
    failed = [Path(one.output).stem for one in done if one.reason]
    assert failed == ["kill_x"]
    assert outputs() == ["a_x", "b_x"]


@needs_dask
def test_a_full_disk_stops_clean(folder, stubbed):
    with pytest.raises(stream.Stopped, match="File too large"):
        paint("full", workers=1, device="cpu")
    assert set(outputs()) < {"a_x", "b_x", "full_x"}
    assert "full_x" not in outputs()
    assert not list(Path("painted").glob("**/.*.part"))


@needs_dask
def test_the_window_is_bounded(folder, monkeypatch):
    """A stream of jobs is drawn as they end, not at once."""
    import distributed

    from nst_tf.batches.cluster import Crew

    monkeypatch.setattr(
        work, "work", lambda job, seat: work.Outcome({}, painted=True)
    )
    job = next(iter(check().jobs))
    drawn = itertools.count(1)
    asked = (job._replace(number=next(drawn)) for _ in range(300))
    with distributed.LocalCluster(
        n_workers=1,
        threads_per_worker=1,
        processes=False,
        dashboard_address="127.0.0.1:0",
    ) as cluster, distributed.Client(cluster) as client:  # fmt: skip
        for done, one in enumerate(stream.finished(Crew(client, SEAT), asked)):
            assert one.job.number - done <= 40
        assert done == 299
        assert next(drawn) == 301


def start(*arguments, **environment):
    """`nst-tf batch` as its own process group."""
    command = [sys.executable, "-m", "nst_tf", "batch", *arguments]
    return subprocess.Popen(
        [*command, "--style=paintings/x.png", "--content=photos"],
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "DASK_DISTRIBUTED__WORKER__PRELOAD": str([str(PRELOAD)]),
            **environment,
        },
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def wait_for(condition, seconds=120):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def gone(group):
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return True
    return False


@needs_dask
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_stopped_batch_goes_on(folder, number):
    """Ctrl-C goes to all processes of a terminal, SIGKILL to one."""
    draw("photos/slow.png")
    Path("photos/slow.slow").touch()
    process = start("--workers=2", "--device=cpu")
    wait_for(lambda: outputs() == ["a_x", "b_x"])
    kept = {name: os.stat(f"painted/{name}.png") for name in outputs()}
    if number == signal.SIGINT:
        os.killpg(process.pid, number)
    else:
        process.kill()
    said = process.communicate(timeout=60)[1]
    if number == signal.SIGINT:
        assert process.returncode == 130, said
        assert "stopped by SIGINT; what is finished stays" in said
        assert "Traceback" not in said and "distributed" not in said, said
    wait_for(lambda: gone(process.pid), 30)
    assert outputs() == ["a_x", "b_x"]
    if number == signal.SIGINT:
        return
    Path("photos/slow.slow").unlink()
    process = start("--workers=1", "--device=cpu")
    said = process.communicate(timeout=120)[1]
    assert process.returncode == 0, said
    assert "1 painted" in said and "2 were there already" in said
    assert outputs() == ["a_x", "b_x", "slow_x"]
    for name, about in kept.items():
        assert os.stat(f"painted/{name}.png") == about


@needs_dask
def test_another_cluster_and_its_end(folder, monkeypatch, capsys):
    draw("photos/slow.png")
    draw("photos/bad.png")
    Path("photos/slow.slow").touch()
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    common = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    scheduler = subprocess.Popen(
        [
            sys.executable, "-m", "distributed.cli.dask_scheduler",
            "--host=127.0.0.1", "--port=0", "--no-dashboard",
            "--dashboard-address=127.0.0.1:0", "--scheduler-file=where.json",
        ],
        **common,
    )  # fmt: skip
    worker = None
    try:
        wait_for(lambda: Path("where.json").is_file())
        worker = subprocess.Popen(
            [
                sys.executable, "-m", "distributed.cli.dask_worker",
                "--scheduler-file=where.json", "--nthreads=1", "--no-nanny",
                "--host=127.0.0.1", "--no-dashboard", f"--preload={PRELOAD}",
                "--death-timeout=5",
            ],
            **common,
        )  # fmt: skip
        address = json.loads(Path("where.json").read_text())["address"]
        process = start(f"--scheduler={address}", "--name={content}.webp")
        made = Path("painted").glob
        wait_for(lambda: len(list(made("*.webp"))) == 2)
        wait_for(lambda: Path("painted/thumbnails/b.webp.webp").is_file())
        scheduler.kill()
        said = process.communicate(timeout=60)[1]
        assert process.returncode == 1, said
        assert f"the scheduler at {address} is gone. What is finished" in said
        assert "Traceback" not in said, said
    finally:
        for child in filter(None, (scheduler, worker)):
            child.kill()
            child.wait()
    assert len(list(made("*.webp"))) == 2
    monkeypatch.setattr(cluster, "PATIENCE", "1s")
    connect = "distributed.comm.timeouts.connect"
    monkeypatch.setitem(cluster.SETTINGS, connect, cluster.PATIENCE)
    words = ["--content=photos", "--style=paintings/x.png"]
    assert cli.main(["batch", f"--scheduler={address}", *words]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1, said
    assert f'`scheduler`: none answers at "{address}"' in said


# The command


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--style=paintings"], "`content` is missing"),
        (["--content=photos", "--style=paintings", "--workers=0"], "`workers`"),
        (["--manifest=jobs.tsv"], "should end in .csv or .jsonl"),
        (["--manifest=jobs.csv"], "there is no file"),
        (["--manifest=jobs.csv", "--steps=-1"], "`steps`"),
        (["photos/a.png"], "is no flag"),
    ],
)
def test_mistakes_get_one_line(folder, capsys, arguments, message):
    assert cli.main(["batch", *arguments]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and message in said
    assert not Path("painted").exists()


def test_without_dask_one_line_says_so(folder, capsys, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    assert cli.main(["batch", "--content=photos", "--style=paintings"]) == 2
    assert "pip install 'dask[distributed]'" in capsys.readouterr().err


def test_the_client_loads_no_tensorflow():
    script = (
        "import sys, nst_tf.terminal.batch, nst_tf.batches.work\n"
        "assert 'tensorflow' not in sys.modules and 'keras' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=100)
