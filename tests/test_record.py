"""What a run leaves behind: whole files or none, read back as written."""

import csv
import json
import os
import stat

import numpy as np
import pytest

from nst_tf.files import encoding, record

RECIPE = {
    "options": {"steps": 3, "init": "noise"},
    "inputs": {
        "content": {"path": "/photo.jpg", "sha256": "ab"},
        "styles": [{"path": None, "sha256": "cd"}],
        "init": None,
    },
    "about": "Gemälde – 絵",
}
ROWS = [
    {"scale": 0, "step": 0, "total": 5.0, "content": 0.0, "style": 0.5},
    {"scale": 0, "step": 1, "total": 2.5, "content": 0.1, "style": 0.25},
    {"scale": 1, "step": 1, "total": 3.5, "content": 0.2, "style": 0.35},
]


def test_write_makes_folders_and_leaves_nothing_else(tmp_path):
    path = tmp_path / "new" / "deeper" / "a.bin"
    record.write(path, b"1")
    record.write(path, b"22")
    assert path.read_bytes() == b"22"
    assert [p.name for p in path.parent.iterdir()] == ["a.bin"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~record._umask()


def test_a_write_that_fails_keeps_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")

    def fail(*_):
        raise OSError("no space left")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="no space"):
        record.write(path, b"new")
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.bin"]


def test_check_path_refuses_inputs_folders_and_other_suffixes(tmp_path):
    source = tmp_path / "photo.png"
    source.write_bytes(b"x")
    again = tmp_path / "sub" / ".." / "photo.png"
    with pytest.raises(ValueError, match="inputs are never overwritten"):
        record.check_path(again, "output", (), [source])
    with pytest.raises(ValueError, match="can be written"):
        record.check_path(tmp_path, "output")
    with pytest.raises(ValueError, match="can be written"):
        record.check_path(source / "below.png", "output")
    with pytest.raises(ValueError, match=r"`costs` should end in \.csv"):
        record.check_path(tmp_path / "a.txt", "costs", (".csv", ".json"))
    record.check_path(tmp_path / "not" / "yet" / "a.csv", "costs", (".csv",))
    assert [p.name for p in tmp_path.iterdir()] == ["photo.png"]


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".json"])
def test_recipes_come_back(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    if suffix == ".json":
        record.write_recipe(path, RECIPE)
    else:
        picture = np.zeros((16, 16, 3), "uint8")
        text = record.to_json(RECIPE)
        record.write(path, encoding.encode(picture, suffix, text))
    assert record.read_recipe(path) == RECIPE
    assert record.input_paths(RECIPE) == ["/photo.jpg"]


@pytest.mark.parametrize("text", ["", "{}", "[1]", "no json", '{"options":1}'])
def test_what_is_no_recipe_is_said_so(tmp_path, text):
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(ValueError, match="carries no recipe"):
        record.read_recipe(path)


def test_a_picture_without_a_recipe_is_said_so(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(encoding.encode(np.zeros((16, 16, 3), "uint8"), ".png"))
    with pytest.raises(ValueError, match="carries no recipe"):
        record.read_recipe(path)


def test_numbers_that_are_not_finite_become_null():
    text = record.to_json({"a": [float("nan"), 1.0], "b": float("inf")})
    assert json.loads(text) == {"a": [None, 1.0], "b": None}


def test_costs_as_csv_and_json(tmp_path):
    record.write_costs(tmp_path / "a.csv", ROWS)
    record.write_costs(tmp_path / "a.json", ROWS)
    with open(tmp_path / "a.csv", newline="") as file:
        read = list(csv.DictReader(file))
    assert [{k: float(v) for k, v in row.items()} for row in read] == ROWS
    assert json.loads((tmp_path / "a.json").read_text())["costs"] == ROWS


@pytest.mark.parametrize("suffix", [".png", ".svg", ".pdf"])
def test_the_plot_shows_every_term(tmp_path, suffix):
    pytest.importorskip("matplotlib")
    path = tmp_path / f"a{suffix}"
    record.write_plot(path, ROWS)
    start = {".png": b"\x89PNG", ".svg": b"<?xml", ".pdf": b"%PDF"}[suffix]
    assert path.read_bytes().startswith(start)
    if suffix == ".svg":
        text = path.read_text()
        for name in ("total", "content", "style"):
            assert f"<!-- {name} -->" in text


def test_checkpoints_come_back_bit_for_bit(tmp_path):
    arrays = [
        np.int32(7),
        np.random.default_rng(0).random((1, 3, 4, 3)).astype("float32"),
        np.array([np.nan, -0.0, np.inf]),
        np.True_,
    ]
    path = tmp_path / "a.npz"
    record.write_checkpoint(path, RECIPE, arrays)
    recipe, read = record.read_checkpoint(path)
    assert recipe == RECIPE
    for one, other in zip(read, arrays, strict=True):
        assert one.dtype == np.asarray(other).dtype
        assert one.tobytes() == np.asarray(other).tobytes()


@pytest.mark.parametrize("data", [b"", b"junk", b"PK\x03\x04 cut off"])
def test_what_is_no_checkpoint_is_said_so(tmp_path, data):
    path = tmp_path / "a.npz"
    path.write_bytes(data)
    with pytest.raises(ValueError, match="--checkpoint wrote"):
        record.read_checkpoint(path)
    with pytest.raises(ValueError, match="there is no file"):
        record.read_checkpoint(tmp_path / "missing.npz")
