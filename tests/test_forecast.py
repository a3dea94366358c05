"""What is told before a run: sizes, tiles, memory, time."""

import platform
import re
import sys

import pytest
import tensorflow as tf

from nst_tf.machine import devices, memory
from nst_tf.request.options import Options
from nst_tf.stylization import forecast, run
from nst_tf.stylization.inputs import prepare
from nst_tf.terminal import cli, progress


def test_a_forecast_is_the_schedule_and_the_model(tiny_weights_everywhere):
    options = Options(optimizer="adam", tile=256, steps=40)
    expected = forecast.forecast((800, 1000), options)
    assert expected.plan.scales == (
        (200, 250, 40),
        (400, 500, 40),
        (800, 1000, 20),
    )
    assert expected.plan.arithmetic.tile == 256
    assert expected.plan.history == ()
    peak = memory.peak((800, 1000), options, 256)
    assert expected.plan.memory == peak
    said = f"tiles of 256 px, about {peak / 1e9:.1f} GB"
    assert expected.plan.summary() == said
    twice = forecast.forecast((800, 1000), options.replace(steps=4000))
    assert twice.seconds > 20 * expected.seconds > 0


def test_pixels_seen_count_halos_and_both_passes():
    options = Options(margin=0, content_layers="conv4_2")
    assert forecast.pixels_seen((300, 500), options, 0) == 300 * 500
    assert forecast.pixels_seen((300, 500), options, 512) == 300 * 500
    # 512 in two tiles of 256, each with a halo of 48 on one side.
    seen = 1.5 * 2 * 256 * (256 + 48)
    assert forecast.pixels_seen((256, 512), options, 256) == seen


def test_durations_in_words():
    assert forecast.duration(0.2) == "1 s"
    assert forecast.duration(89) == "89 s"
    assert forecast.duration(600) == "10 min"
    assert forecast.duration(9000) == "2.5 h"


def test_plan_tells_and_writes_nothing(
    tiny_weights_everywhere, capsys, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(devices, "available_memory", lambda: 8 * 10**9)
    assert cli.main(["plan", "--size=4000x3000", "--optimizer=adam"]) == 0
    told = capsys.readouterr().out
    assert re.search(r"^250 x 188 px, 100 steps of adam$", told, re.MULTILINE)
    assert re.search(r"^4000 x 3000 px, 13 steps of adam$", told, re.MULTILINE)
    assert re.search(
        r"tiles of \d+ px, about \d\.\d GB of 8\.0 GB of memory, about .* on",
        told,
    )
    assert list(tmp_path.iterdir()) == []


def test_a_plan_of_a_poster_tells_its_pairs(
    tiny_weights_everywhere, capsys, monkeypatch
):
    monkeypatch.setattr(devices, "available_memory", lambda: 20 * 10**9)
    typed = ["--size=8000x6000"], ["--print=8000x6000mm@25.4dpi"]
    for one in typed:
        assert cli.main(["plan", "--content_layers=conv4_2", *one]) == 0
        told = capsys.readouterr().out
        assert "2000 x 1500 px, 25 steps of lbfgs with 10 pairs" in told
        assert "8000 x 6000 px, 7 steps of lbfgs with 2 pairs" in told
    assert cli.main(["plan", *typed[0], *typed[1]]) == 2
    assert "`print`" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("size", "message"),
    [
        ("", "`size` should be width and height"),
        ("8000", "`size`"),
        ("8x8", "at least 16"),
        ("-100x100", "`size`"),
        ("400000x300000", "out of memory: 400000 x 300000"),
    ],
)
def test_plan_refuses_what_cannot_be(
    tiny_weights_everywhere, capsys, monkeypatch, size, message
):
    monkeypatch.setattr(devices, "available_memory", lambda: 6 * 10**9)
    assert cli.main(["plan", f"--size={size}"]) == 2
    told = capsys.readouterr()
    assert message in told.err and told.err.count("\n") == 1
    assert not told.out


@pytest.fixture
def processor(monkeypatch):
    """Sets what Linux tells of the processor; None: nothing."""
    if tf.config.list_physical_devices("GPU"):
        pytest.skip("a GPU decides here")

    def has(flags):
        def read(path, *_, **__):
            if flags is None:
                raise FileNotFoundError(path)
            return f"flags : fpu {flags}"

        monkeypatch.setattr(devices.Path, "read_text", read)

    monkeypatch.delenv("TF_ENABLE_ONEDNN_OPTS", raising=False)
    return has


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("avx512_bf16", "mixed_bfloat16"),
        ("amx_bf16", "mixed_bfloat16"),
        ("avx512f", "float32"),
        (None, "float32"),
    ],
)
def test_precision_is_what_the_processor_multiplies(processor, flags, expected):
    processor(flags)
    assert devices.precision("auto") == expected
    assert devices.precision("mixed_float16") == "mixed_float16"


@pytest.mark.parametrize(
    ("capability", "expected"),
    [
        ((6, 1), "float32"),
        ((7, 0), "mixed_float16"),
        ((7, 5), "mixed_float16"),  # the T4 that Colab lends
        ((8, 0), "mixed_bfloat16"),
        ((9, 0), "mixed_bfloat16"),
        (None, "float32"),
    ],
)
def test_precision_is_what_the_gpu_multiplies(
    monkeypatch, capability, expected
):
    told = {"compute_capability": capability} if capability else {}
    monkeypatch.setattr(devices, "is_gpu", lambda: True)
    monkeypatch.setattr(tf.config, "get_visible_devices", lambda kind: [kind])
    monkeypatch.setattr(
        tf.config.experimental, "get_device_details", lambda _: told
    )
    assert devices.precision() == expected


@pytest.mark.parametrize(
    ("flags", "whole", "half"),
    [
        ("avx2 avx512f", (False, False), (False, False)),  # no oneDNN
        ("avx2 avx_vnni", (True, True), (False, False)),
        ("avx512f avx512_vnni avx512_bf16", (True, True), (False, True)),
        (None, (False, False), (False, False)),
    ],
)
def test_convolutions_are_computed_as_the_processor_likes_it(
    processor, monkeypatch, flags, whole, half
):
    processor(flags)
    for precision, expected in (
        ("float32", whole),
        ("mixed_bfloat16", half),
        ("mixed_float16", (False, False)),
        ("auto", half if half[1] else whole),
    ):
        assert devices.transposed(precision) == expected, precision
    assert devices.transposed("mixed_bfloat16", tiled=True) == (False, False)
    assert devices.transposed("float32", tiled=True) == whole
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "0")
    assert devices.transposed("float32") == (False, False)
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "1")
    assert devices.transposed("float32") == (True, True)


def test_the_rule_for_onednn_is_tensorflows():
    port = pytest.importorskip("tensorflow.python.util._pywrap_util_port")
    if sys.platform != "linux" or platform.machine() != "x86_64":
        pytest.skip("the rule is that of x86 Linux")
    assert devices._uses_onednn() == port.IsMklEnabled()


def test_a_long_run_tells_its_time_first_a_short_one_when_it_knows(
    tiny_weights_everywhere, pictures, monkeypatch, capsys
):
    monkeypatch.setattr(progress, "LONG", 1e4)
    for steps, told in ((1, ""), (8, r", about \d+ s$")):
        inputs = prepare(*pictures[:2], scales=1, steps=steps, max_size=64)
        running = run.Run(inputs, every=1)
        bar = progress.Progress(running, quiet=False)
        for result in running:
            bar.show(result)
        first, *rest = capsys.readouterr().err.splitlines()
        assert re.search(r"about \d\.\d GB" + (told or "$"), first)
        assert not rest
