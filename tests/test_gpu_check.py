"""The check of the GPU, where there is none."""

import runpy
import sys

import pytest
import tensorflow as tf
from conftest import ROOT


def test_without_a_gpu_it_says_so_and_exits_with_2(monkeypatch, capsys):
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda _: [])
    monkeypatch.setattr(sys, "argv", ["gpu_check"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(ROOT / "scripts" / "gpu_check"), run_name="__main__")
    assert ended.value.code == 2
    said = "gpu_check: TensorFlow sees no GPU here.\n"
    assert capsys.readouterr() == ("", said)
