"""The command line: files out, exit codes, one line for every mistake."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from conftest import ROOT

from nst_tf.files import images, record, sixteen, weights
from nst_tf.machine import environment
from nst_tf.stylization import run, sources
from nst_tf.terminal import cli, session

QUICK = [
    "--steps=4",
    "--scales=1",
    "--jit=off",
    "--content_layers=conv2_1",
    "--style_layers=conv1_1,conv2_1",
]


@pytest.fixture
def files(tmp_path, pictures, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, picture in zip(("content", "style"), pictures, strict=True):
        image = PIL.Image.fromarray(np.uint8(255 * picture))
        image.save(tmp_path / f"{name}.png")
    return [
        f"--content={tmp_path}/content.png",
        f"--style={tmp_path}/style.png",
    ]


@pytest.fixture
def stylize(files, tiny_weights_everywhere):
    return lambda *more: cli.main([*files, *QUICK, *more])


def pixels(path):
    return np.asarray(PIL.Image.open(path))


def test_all_files_asked_for_are_written(stylize, tmp_path, capsys):
    code = stylize(
        "--output=out/a.png",
        "--every=2",
        "--record=out/a.json",
        "--costs=out/a.csv",
        "--plot=out/plot.png",
        "--animation=out/a.gif",
        "--progression=out/sheet.png",
        "--checkpoint=out/a.npz",
    )
    assert code == 0
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == [
        "a.csv", "a.gif", "a.json", "a.npz", "a.png", "a_000000.png",
        "a_000002.png", "a_000004.png", "plot.png", "sheet.png",
    ]  # fmt: skip
    rows = (tmp_path / "out/a.csv").read_text().splitlines()
    assert [row.split(",")[1] for row in rows] == ["step", *"01234"]
    recipe = json.loads((tmp_path / "out/a.json").read_text())
    assert recipe == record.read_recipe(tmp_path / "out/a.png")
    assert pixels("out/a.png").shape == (48, 64, 3)
    np.testing.assert_array_equal(
        pixels("out/a.png"), pixels("out/a_000004.png")
    )
    with PIL.Image.open("out/a.gif") as animation:
        assert animation.n_frames == 3
    said = capsys.readouterr().err
    assert "64 x 48 px, 4 steps of" in said and "Saved out/a.png" in said


def test_pictures_are_read_while_tensorflow_loads(stylize, monkeypatch):
    """Once, in a thread: who comes alone to the barrier breaks it."""
    both = threading.Barrier(2, timeout=20)
    backend = sys.modules["nst_tf.backend"]
    monkeypatch.delitem(sys.modules, "nst_tf.backend")

    def loaded():
        both.wait()
        sys.modules["nst_tf.backend"] = backend

    def read(*given, read=sources.read):
        both.wait()
        return read(*given)

    monkeypatch.setattr(environment, "_load", loaded)
    monkeypatch.setattr(sources, "read", read)
    assert stylize() == 0


def test_tensorflow_loads_in_one_thread_only(stylize, monkeypatch, pictures):
    """A picture that it has to decode is read when it is there."""
    Path("deep.png").write_bytes(sixteen.png(np.uint16(65535 * pictures[0])))
    PIL.Image.open("style.png").save("style.webp")
    monkeypatch.setattr(session, "ThreadPoolExecutor", None)
    assert stylize("--content=deep.png") == 0
    assert stylize("--style=style.webp") == 0


def test_quiet_is_quiet(stylize, capsys):
    assert stylize("--quiet") == 0
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "")
    assert os.path.exists("stylized.png")


def test_a_result_can_be_run_again_and_changed(stylize, tmp_path, capsys):
    given = "--init=noise", "--seed=5", "--optimizer=adam"
    assert stylize(*given, "--output=a.png") == 0
    assert cli.main(["--from=a.png", "--output=b.png"]) == 0
    np.testing.assert_array_equal(pixels("a.png"), pixels("b.png"))
    assert cli.main(["--from=a.png", "--seed=6", "--output=c.png"]) == 0
    assert (pixels("a.png") != pixels("c.png")).any()
    assert cli.main(["show", "c.png"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["options"]["seed"] == 6
    assert shown["options"]["init"] == "noise"
    style = PIL.Image.open("style.png")
    style.transpose(PIL.Image.Transpose.FLIP_TOP_BOTTOM).save("style.png")
    assert cli.main(["--from=a.png", "--output=d.png"]) == 2
    assert "has changed since" in capsys.readouterr().err
    assert not os.path.exists("d.png")


def test_a_stopped_run_goes_on_where_it_was(stylize, files, capsys):
    assert stylize("--output=whole.png", "--optimizer=lbfgs") == 0
    short = [
        "--scales=1",
        "--steps=2",
        "--checkpoint=a.npz",
        "--output=part.png",
    ]
    assert cli.main([*files, *QUICK, "--optimizer=lbfgs", *short]) == 0
    assert cli.main(["--resume=a.npz", "--steps=4", "--output=rest.png"]) == 0
    np.testing.assert_array_equal(pixels("whole.png"), pixels("rest.png"))
    same = [*files, *QUICK, "--optimizer=lbfgs", "--resume=a.npz"]
    assert cli.main([*same, "--output=same.png"]) == 0
    np.testing.assert_array_equal(pixels("whole.png"), pixels("same.png"))
    for changed, told in (
        ("--seed=1", "`seed` cannot change"),
        ("--preset=fine", "cannot change in a resumed run"),
        ("--from=part.png", "received both"),
        ("--content=style.png", "the inputs are not those"),
    ):
        assert cli.main(["--resume=a.npz", changed]) == 2
        assert told in capsys.readouterr().err


def test_a_palette_is_remembered_and_yields(stylize, tmp_path, monkeypatch):
    image = PIL.Image.new("RGB", (30, 20), (200, 90, 20))
    image.paste((40, 20, 60), (0, 0, 15, 20))
    image.save("palette.png")
    assert stylize("--color_image=palette.png", "--output=a.png") == 0
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert cli.main(["--from=../a.png", "--output=b.png"]) == 0
    np.testing.assert_array_equal(pixels("../a.png"), pixels("b.png"))
    again = ["--from=../a.png", "--color=luminance", "--output=c.png"]
    assert cli.main(again) == 0
    recipe = record.read_recipe("c.png")
    assert recipe["options"]["color_image"] is None
    assert recipe["inputs"]["color_image"] is None
    image.save("../palette.png", compress_level=0)
    assert cli.main(["--from=../a.png", "--output=d.png"]) == 2


def test_masks_are_remembered_and_checked(files, stylize, tmp_path, capsys):
    left = np.zeros((48, 64), "uint8")
    left[:, :32] = 255
    PIL.Image.fromarray(left).save("left.png")
    second = [files[1], "--content_mask=left.png"]
    masks = ["--content_mask=all", "--mask=left.png"]
    few = ["--steps=2", "--scales=1", "--optimizer=adam"]
    assert stylize(*second, *masks[:1], *few, "--output=two.png") == 0
    assert stylize(*masks[1:], *few, "--output=a.png") == 0
    assert cli.main(["--from=a.png", "--output=b.png"]) == 0
    np.testing.assert_array_equal(pixels("a.png"), pixels("b.png"))
    assert cli.main(["--from=two.png", "--output=c.png"]) == 0
    np.testing.assert_array_equal(pixels("two.png"), pixels("c.png"))
    assert stylize("--mask=left.png", "--output=left.png") == 2
    assert "is one of the inputs" in capsys.readouterr().err
    PIL.Image.fromarray(255 - left).save("left.png")
    for name in ("a", "two"):
        assert cli.main([f"--from={name}.png", "--output=d.png"]) == 2
        assert "has changed since" in capsys.readouterr().err


def test_a_finished_picture_is_recoloured(files, capsys):
    given = ["recolor", "--picture=style.png"]
    luminance = [*given, "--content=style.png", "--output=a.png"]
    assert cli.main(luminance) == 0
    assert "Saved a.png" in capsys.readouterr().out
    change = pixels("a.png").astype(int) - pixels("style.png")
    assert np.abs(change).max() <= 1  # its own chroma
    content = [*given, "--content=content.png", "--color=content"]
    assert cli.main([*content, "--output=b.png"]) == 0
    third = [*given, "--color_image=content.png", "--output=c.png"]
    assert cli.main(third) == 0
    np.testing.assert_array_equal(pixels("b.png"), pixels("c.png"))
    means = [pixels(name).mean((0, 1)) for name in ("b.png", "content.png")]
    np.testing.assert_allclose(*means, atol=3)
    for wrong, message in (
        ([*given, "--content=content.png"], "received 64 x 48"),
        (given, "`content` is missing"),
        (["recolor"], "`picture` is missing"),
        ([*content, "--color_image=a.png"], "Give one of them"),
        ([*content, "--output=style.png"], "inputs are never overwritten"),
        ([*given, "--content=a.png", "--color=style"], "content or luminance"),
        ([*content, "--color_strength=2"], "`color_strength`"),
    ):
        assert cli.main(wrong) == 2
        said = capsys.readouterr().err
        assert message in said and said.count("\n") == 1


def test_a_preset_yields_to_what_is_typed(stylize):
    assert stylize("--preset=course", "--beta1=0.5", "--output=a.png") == 0
    options = record.read_recipe("a.png")["options"]
    assert options["optimizer"] == "adam"
    assert options["beta1"] == 0.5
    assert (
        stylize("--preset=course", "--optimizer=lbfgs", "--output=b.png") == 0
    )
    assert record.read_recipe("b.png")["options"]["beta1"] is None


def test_divergence_saves_the_last_good_picture(stylize, capsys):
    code = stylize(
        "--optimizer=sgd",
        "--content_weight=1e38",
        "--learning_rate=1e38",
        "--output=a.png",
    )
    assert code == 1
    said = capsys.readouterr().err
    assert "--learning_rate (now 1e+38)" in said
    assert pixels("a.png").shape == (48, 64, 3)


def test_out_of_memory_keeps_what_there_is(stylize, monkeypatch, capsys):
    from nst_tf.stylization import run

    class ShortOfMemory(run.Run):
        count = 0

        def __next__(self):
            self.count += 1
            if self.count == 3:
                raise MemoryError
            return super().__next__()

    monkeypatch.setattr(run, "Run", ShortOfMemory)
    assert stylize("--every=1", "--output=a.png") == 1
    assert "out of memory: " in capsys.readouterr().err
    assert record.read_recipe("a.png")["step"] == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--stpes=3"], "steps"),
        (["--optimizer=adm"], 'Did you mean "adam"'),
        (["--style_layers=conv9_9"], "a layer should be one of VGG-19's"),
        (["--preset=cuorse"], 'Did you mean "course"'),
        (["--steps=-1"], "`steps`"),
        (["--steps=2.5"], "whole number"),
        (["--content_weight=nan"], "should be finite"),
        (["--tv_weight=-1"], "at least 0"),
        (["--beta1=0.5", "--optimizer=lbfgs"], "`beta1` belongs to adam"),
        (["--noise_ratio=0.5"], "`noise_ratio` needs `init` to be noise"),
        (["--style_blend=1,2"], "a weight for each style"),
        (["--content=missing.png"], "there is no file"),
        (["--content=content.pgn"], "content.png"),
        (["--content=."], "`content`"),
        (["--content=empty.png"], "`content`"),
        (["--content=cut.png"], "`content`"),
        (["--content=text.png"], "`content`"),
        (["--content=dot.png"], "at least 16"),
        (["--content=thin.png"], "at least 16"),
        (["--style=dot.png"], "`style` should be at least 16"),
        (["--init=text.png"], "`init`"),
        (["--output=a.xyz"], "`output`"),
        (["--output=a"], "`output`"),
        (["--output=content.png"], "inputs are never overwritten"),
        (["--output=style.png"], "inputs are never overwritten"),
        (
            ["--color_image=dot.png", "--output=dot.png"],
            "inputs are never overwritten",
        ),
        (["--color_image=text.png"], "`color_image`"),
        (["--color=grey"], "`color`: expected one of style, content"),
        (["--output=text.png/a.png"], "can be written"),
        (["--output=folder.png"], "can be written"),
        (["--record=a.txt"], "`record` should end in .json"),
        (["--costs=a.txt"], "`costs` should end in .csv, .json"),
        (["--animation=a.jpg"], "`animation` should end in .gif"),
        (["--progression=stylized.png"], "are the same file"),
        (["--every=0"], "`every` should be a whole number"),
        (["--frame_rate=fast"], "`frame_rate` should be a number"),
        (["--checkpoint_every=often"], "`checkpoint_every` should be"),
        (["--weights=missing.h5"], "`weights` should be"),
        (["--weights=imagnet"], 'Did you mean "imagenet"'),
        (["--device=tpu"], "`device` should be auto, cpu, gpu"),
        (["--device=gpu:9"], "there is no"),
        (["--from=content.png"], "carries no recipe"),
        (["--from=nope.png"], 'there is no "nope.png"'),
        (["--resume=text.png"], "--checkpoint wrote"),
        (["--max_size=60000", "--enlarge"], "out of memory"),
        (["--print=60x40cm@300dpi", "--max_size=512"], "`print` says how"),
        (["--print=60x40"], "as 60x40cm@300dpi"),
        (["--print=90x90in@2400dpi"], "should: a smaller --print"),
        (["--depth=16", "--output=a.jpg"], "`depth` of 16 bits needs .png"),
        (["--depth=9"], "`depth` should be 8 or 16"),
        (["--history=0"], "`history`: expected auto, or a number from 1"),
        (["stray"], "is no flag"),
    ],
)
def test_mistakes_get_one_line_and_touch_nothing(
    files, tmp_path, capsys, arguments, message
):
    (tmp_path / "empty.png").touch()
    whole = (tmp_path / "content.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "folder.png").mkdir()
    PIL.Image.new("RGB", (1, 1)).save(tmp_path / "dot.png")
    PIL.Image.new("RGB", (2000, 3)).save(tmp_path / "thin.png")
    before = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    typed = {argument.partition("=")[0] for argument in arguments}
    given = [flag for flag in files if flag.partition("=")[0] not in typed]
    assert cli.main([*given, *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1, captured.err
    assert captured.err.startswith("nst-tf: ")
    assert message in captured.err
    after = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert after == before


def test_weights_that_are_none_are_said_so(
    files, tmp_path, capsys, monkeypatch
):
    # Whether or not other tests have replaced `load`.
    monkeypatch.setattr(
        weights, "load", lambda spec, *_: weights.read_kernels(Path(spec))
    )
    (tmp_path / "w.h5").write_text("no weights")
    assert cli.main([*files, "--weights=w.h5"]) == 2
    assert "keras.applications.VGG19 reads" in capsys.readouterr().err
    assert not (tmp_path / "stylized.png").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        ([], 2, "nst-tf --content=photo.jpg"),
        (["--help"], 0, "Commands"),
        (["--version"], 0, "nst_tf 0."),
        (["presets"], 0, "course"),
        (["show", "--help"], 0, "nst-tf show"),
        (["stylize", "--help"], 0, "--strength"),
        (["stylize", "--helpfull"], 0, "--learning_rate"),
        (["--helpfull"], 0, "--learning_rate"),
    ],
)
def test_help_answers(arguments, code, text, capsys):
    assert cli.main(arguments) == code
    assert text in capsys.readouterr().out


def test_an_unknown_command_is_suggested(capsys):
    assert cli.main(["stylise"]) == 2
    assert 'Did you mean "stylize"' in capsys.readouterr().err
    assert cli.main(["show"]) == 2
    assert cli.main(["show", "missing.png"]) == 2


def test_help_never_loads_tensorflow():
    """Nor does a mistake in the name of a picture."""
    script = (
        "import sys, nst_tf.terminal.cli as c\n"
        "for a in ([], ['--help'], ['stylize', '--help'], ['presets'],\n"
        "          ['--version'], ['show', '--help'],\n"
        "          ['--content=a.jpg', '--style=a.jpg']): c.main(a)\n"
        "assert 'tensorflow' not in sys.modules and 'keras' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)


ENDLESS = ["--steps=100000", "--max_size=32"]


def assert_stopped(output, said, number):
    assert f"stopped by {number.name}" in said
    assert 0 <= record.read_recipe(output)["step"] < 100000
    assert pixels(output).shape == (24, 32, 3)


def test_an_interrupted_process_saves_the_best_picture(files):
    command = [sys.executable, "-m", "nst_tf", *files, *QUICK, *ENDLESS]
    command += ["--network=vgg19_slim", "--optimizer=adam", "--output=a.png"]
    with subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    ) as process:
        assert "100000 steps" in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=60)[1]
    assert process.returncode == 130, said
    assert_stopped("a.png", said, signal.SIGINT)


def test_a_terminated_run_saves_the_best_picture(stylize, monkeypatch, capsys):
    """And what else was asked for, of a resumed one that saw no stride."""
    sent = []

    def pace(*_):
        yield 3 * len(sent)
        signal.raise_signal(sent[-1])
        yield 3 * len(sent) + 1

    monkeypatch.setattr(run, "pace", pace)
    words = [*ENDLESS, "--optimizer=adam", "--output=a.png"]
    sent.append(signal.SIGTERM)
    assert stylize(*words, "--checkpoint=a.npz") == 143
    assert_stopped("a.png", capsys.readouterr().err, signal.SIGTERM)
    sent.append([*session.STOPPED][-1])  # SIGHUP, where it is not ignored
    more = ["--animation=a.gif", "--progression=sheet.png", "--output=b.png"]
    assert cli.main(["--resume=a.npz", *more]) == session.STOPPED[sent[-1]]
    assert_stopped("b.png", capsys.readouterr().err, sent[-1])
    with PIL.Image.open("a.gif") as animation:
        assert animation.size == (32, 24)
    assert record.read_recipe("sheet.png")["step"] > 0


def test_no_picture_is_lost_for_a_line(stylize, monkeypatch):
    """Whose reader has gone; in a thread, which may not handle signals."""
    out, into = os.pipe()
    os.close(out)
    monkeypatch.setattr(sys, "stderr", open(into, "w"))
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(stylize, "--output=a.png").result() == 0
    assert pixels("a.png").shape == (48, 64, 3)
    sys.stderr.close()


def test_what_cannot_be_written_keeps_nothing_else_from_it(
    stylize, monkeypatch, capsys
):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(record, "write_costs", full)
    asked = ["--output=a.png", "--costs=a.csv", "--progression=sheet.png"]
    assert stylize(*asked) == 1
    said = capsys.readouterr().err
    assert '"a.csv" could not be written (No space left on device)' in said
    assert pixels("a.png").any() and pixels("sheet.png").any()


def test_closed_streams_take_everything(tmp_path):
    program = (
        "import os; from nst_tf.terminal import streams;"
        "streams.open_closed(); assert os.get_inheritable(2)"
    )
    for words, code in (
        ("-m nst_tf presets >&-", 0),
        ("-m nst_tf --content=a.png 2>&- >&-", 2),
        (f"-c '{program}' <&- >&- 2>&-", 0),
    ):
        done = subprocess.run(
            f"{sys.executable} {words}",
            shell=True,
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            timeout=60,
        )
        assert (done.returncode, done.stderr) == (code, b"")


def test_memory_that_pictures_do_not_find_is_said(stylize, monkeypatch, capsys):
    def short(_):
        raise MemoryError

    monkeypatch.setattr(images, "unpiped", short)
    assert stylize() == 1
    assert "out of memory before" in capsys.readouterr().err


def test_a_picture_on_the_way_replaces_no_other(files, stylize, capsys):
    shutil.copy("content.png", "a_000002.png")
    for own in ("--content=a_000002.png", "--progression=a_000002.png"):
        given = [*files, *QUICK, "--output=a.png", "--every=2", own]
        assert cli.main(given) == 2
        assert "`every` would write over" in capsys.readouterr().err
    assert not os.path.exists("a.png")


def test_a_recipe_is_read_as_far_as_it_goes(stylize, tmp_path, capsys):
    inputs = {"content": {"path": "gone.png", "sha256": "0"}, "styles": []}
    recipe = json.dumps({"options": {"seed": 3}, "inputs": inputs})
    (tmp_path / "a.json").write_text(recipe)
    assert stylize("--from=a.json", "--output=a.png") == 0
    assert record.read_recipe("a.png")["options"]["seed"] == 3
    assert cli.main(["--from=a.json", "--style=style.png"]) == 2
    told = '"gone.png", is not there any more. Give it with --content.'
    assert told in capsys.readouterr().err
