"""Cells of a sweep on other processes, whose weights no test has changed."""

from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from nst_tf.study import sweep
from nst_tf.terminal import cli

ROOT = Path(__file__).resolve().parent.parent


def test_workers_paint_the_cells(pictures, tmp_path, capsys, monkeypatch):
    pytest.importorskip("distributed")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))  # where workers find nst_tf
    for name, picture in zip(("content", "style"), pictures, strict=True):
        PIL.Image.fromarray(np.uint8(255 * picture)).save(f"{name}.png")
    monkeypatch.setattr(sweep.Cell, "paint", None)  # nobody paints here
    typed = ["--network=vgg19_slim", "--steps=1", "--scales=1", "--jit=off"]
    typed += ["--content_layers=conv2_1", "--style_layers=conv1_1"]
    pair = ["--content=content.png", "--style=style.png", "--device=cpu"]
    arguments = ["sweep", *pair, *typed, "--over=seed=1,2"]
    assert cli.main([*arguments, "--workers=1"]) == 0
    assert "2 pictures, 0 done" in capsys.readouterr().err
    assert cli.main(arguments) == 0
    assert "2 pictures, 2 done" in capsys.readouterr().err
