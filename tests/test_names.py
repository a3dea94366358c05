"""Names that are not UTF-8, at every door that a path goes through."""

import csv
import io
import json
import os
import shutil
import sys

import numpy as np
import PIL.Image
import pytest

from nst_tf.batches import batch, failures, index, stream, work
from nst_tf.files import record
from nst_tf.request.options import Options
from nst_tf.saved_model import export
from nst_tf.terminal import cli

NAME, SHOWN = "caf\udce9", r"caf\udce9"  # of the bytes "caf\xe9"
LAYERS = {"content_layers": "conv2_1", "style_layers": "conv1_1"}
QUICK = {"steps": 1, "scales": 1, "optimizer": "adam", "jit": "off", **LAYERS}
FLAGS = [f"--{name}={value}" for name, value in QUICK.items()]


@pytest.fixture
def folder(tmp_path, pictures, monkeypatch, tiny_weights_everywhere):
    """Holds `caf\\xe9/caf\\xe9.png`, a photograph, and a painting so called."""
    try:
        (tmp_path / NAME).mkdir()
    except OSError:
        pytest.skip("this file system takes no name that is not UTF-8")
    monkeypatch.chdir(tmp_path / NAME)
    for name, picture in zip((NAME, "style" + NAME), pictures, strict=True):
        PIL.Image.fromarray(np.uint8(255 * picture)).save(f"{name}.png")
    return tmp_path / NAME


def given():
    return [f"--content={NAME}.png", f"--style=style{NAME}.png", *FLAGS]


def text(path):
    with open(path, encoding="utf-8") as file:  # nothing else is in it
        return file.read()


def pixels(path):
    return np.asarray(PIL.Image.open(path))


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".webp"])
def test_a_run_keeps_its_picture_and_can_be_run_again(folder, suffix):
    output = f"out{NAME}{suffix}"
    assert cli.main([*given(), f"--output={output}"]) == 0
    path = record.read_recipe(output)["inputs"]["content"]["path"]
    assert path == str(folder / f"{NAME}.png")
    assert cli.main([f"--from={output}", f"--output=again{suffix}"]) == 0
    np.testing.assert_array_equal(pixels(output), pixels(f"again{suffix}"))


def test_all_files_of_a_run(folder, capsys):
    ends = {
        "output": ".png",
        "record": ".json",
        "costs": ".csv",
        "plot": ".png",
        "animation": ".gif",
        "progression": ".jpg",
        "checkpoint": ".npz",
    }
    asked = {name: f"{name}{NAME}{end}" for name, end in ends.items()}
    typed = [f"--{name}={path}" for name, path in asked.items()]
    assert cli.main([*given(), *typed]) == 0
    for name, path in asked.items():
        assert os.path.isfile(path), name
    recipe = record.read_recipe(asked["output"])
    assert json.loads(text(asked["record"])) == recipe
    for name in ("animation", "progression"):
        assert record.read_recipe(asked[name]) == recipe
    resumed = [f"--resume={asked['checkpoint']}", "--output=resumed.png"]
    assert cli.main([*resumed, "--steps=2"]) == 0


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "latin-1"])
def test_a_recipe_is_shown_on_any_terminal(folder, monkeypatch, encoding):
    record.write_recipe("é.json", {"options": {}, "inputs": {NAME: "é"}})
    terminal = io.TextIOWrapper(io.BytesIO(), encoding)
    monkeypatch.setattr(sys, "stdout", terminal)
    assert cli.main(["show", "é.json"]) == 0
    shown = json.loads(terminal.buffer.getvalue())
    assert shown["inputs"] == {NAME: "é"}


def test_what_is_saved_is_told_on_any_terminal(folder, monkeypatch):
    terminal = io.TextIOWrapper(io.BytesIO(), "ascii")
    monkeypatch.setattr(sys, "stdout", terminal)
    asked = [f"--picture=style{NAME}.png", f"--content={NAME}.png"]
    output = f"--output=é{NAME}.png"
    assert cli.main(["recolor", *asked, "--color=content", output]) == 0
    said = terminal.buffer.getvalue().decode("ascii")
    assert said.strip() == rf"Saved \xe9{SHOWN}.png"


def test_a_batch_of_a_folder(folder):
    order = batch.batch(
        content=str(folder), style=f"style{NAME}.png", options=Options(**QUICK)
    )
    jobs = list(order.jobs)
    assert [job.name for job in jobs] == [
        f"{content}_style{NAME}.png" for content in (NAME, f"style{NAME}")
    ]
    outcome = work.work(jobs[0], work.Seat(None, "cpu"))
    assert outcome.painted and not outcome.reason
    assert work.finished(jobs[0], work.Seat(None, "cpu")) == outcome.recipe
    reasons = "", f"{NAME} is gone"
    books = failures.Failures(order.folder), index.Index(order.folder)
    for job, reason in zip(jobs, reasons, strict=True):
        ended = outcome._replace(reason=reason)
        for book in books:
            book.take(stream._finished(job, ended))
    for book in books:
        book.write()
    page = text(order.folder / "index.html")
    assert f"{SHOWN} in the manner of style{SHOWN}" in page
    assert 'href="caf%E9_stylecaf%E9.png"' in page
    _, (name, content, style, reason) = csv.reader(
        text(order.folder / failures.FILE).splitlines()
    )
    assert name == f"style{SHOWN}_style{SHOWN}.png"
    assert (content, reason) == (
        record.printable(f"{folder}/style{NAME}.png"),
        f"{SHOWN} is gone",
    )
    book = failures.Failures(order.folder)
    book.take(stream._finished(jobs[1], outcome))
    book.write()
    assert not (order.folder / failures.FILE).exists()


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("a.csv", b"content,style\ncaf\xe9.png,%s.png\n"),
        ("a.jsonl", rb'{"content": "caf\udce9.png", "style": "%s.png"}'),
    ],
)
def test_a_manifest_names_it(folder, name, line):
    (folder / name).write_bytes(line % b"stylecaf\xe9")
    (job,) = batch.batch(manifest=name).jobs
    assert job.content == str(folder / f"{NAME}.png")
    (folder / name).write_bytes(line % b"gone\xe9")
    with pytest.raises(ValueError, match=r'`style` should be.*"gone\\udce9'):
        batch.batch(manifest=name)


def test_a_sweep_and_its_table(folder, capsys):
    over = f"--over=init=noise,{NAME}.png"
    files = [f"--output=a{NAME}.png", f"--pdf=a{NAME}.pdf"]
    assert cli.main(["sweep", over, *given(), *files]) == 0
    rows = list(csv.DictReader(text(f"a{NAME}.csv").splitlines()))
    assert [row["axis_1"] for row in rows] == [
        "init noise",
        f"init {SHOWN}.png",
    ]
    assert os.path.isfile(f"a{NAME}.pdf")
    assert cli.main(["sweep", over, *given(), *files]) == 0
    assert "2 pictures, 2 done." in capsys.readouterr().err


def test_patches_and_their_record(folder):
    files = [f"--output=a{NAME}.png", f"--record=a{NAME}.json"]
    asked = ["--layers=conv1_1", "--units=1", f"--images={folder}"]
    assert cli.main(["patches", *asked, *files]) == 0
    found = json.loads(text(f"a{NAME}.json"))
    assert {str(folder / f"{NAME}.png")} <= {one["image"] for one in found}


def test_a_clip_and_its_frames(folder):
    pytest.importorskip("av")
    pytest.importorskip("cv2")
    from fractions import Fraction

    from nst_tf.video import clips

    frames = [
        (Fraction(k, 5), np.full((32, 48, 3), 9 * k, "u1")) for k in (1, 2)
    ]
    clips.write(f"{NAME}.mp4", frames)
    asked = [f"--content={NAME}.mp4", f"--output=a{NAME}.mp4", *given()[1:]]
    assert cli.main(["video", *asked]) == 0
    recipe = record.read_recipe(f"a{NAME}.frames/recipe.json")
    path = recipe["inputs"]["content"]["path"]
    assert path == str(folder / f"{NAME}.mp4")
    shutil.copy(f"a{NAME}.mp4", "first.mp4")
    assert cli.main(["video", *asked]) == 0  # of the frames that are there


def test_an_export_refuses_before_any_work(folder, monkeypatch):
    monkeypatch.setattr(export.weights_, "network", None)
    with pytest.raises(ValueError, match=r"`output` should be UTF-8.*\\udce9"):
        export.save("model")
