"""Sweeps and figures: a grid, resumed cell by cell."""

import csv
import itertools
import signal

import numpy as np
import PIL.Image
import pytest

import nst_tf
from nst_tf.files import record
from nst_tf.request.options import Options
from nst_tf.study import sweep
from nst_tf.study.axes import Choice, parse_axis
from nst_tf.study.figures import FIGURES
from nst_tf.terminal import cli

QUICK = {
    "steps": 2,
    "scales": 1,
    "jit": "off",
    "optimizer": "adam",
    "content_layers": "conv2_1",
    "style_layers": "conv1_1",
}
TYPED = [f"--{name}={value}" for name, value in QUICK.items()]


def grid(pictures, folder, *over, **options):
    axes = [parse_axis(text) for text in over]
    return sweep.grid(*pictures, axes, folder, Options(**QUICK, **options))


# Axes


def test_an_axis_is_an_option_and_its_values():
    assert parse_axis("style_weight=4, 40") == [
        Choice("style_weight 4", {"style_weight": "4"}),
        Choice("style_weight 40", {"style_weight": "40"}),
    ]
    layers = parse_axis("style_layers=conv1_1|conv1_1,conv2_1")
    assert [choice.changes["style_layers"] for choice in layers] == [
        "conv1_1",
        "conv1_1,conv2_1",
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("style_weight", "OPTION=VALUE"),
        ("style_wieght=1", 'Did you mean "style_weight"?'),
        ("style_weight=", "each value once"),
        ("style_weight=1,1", "each value once"),
    ],
)
def test_what_is_no_axis_is_refused(text, told):
    with pytest.raises(ValueError, match="`over`") as caught:
        parse_axis(text)
    assert told in str(caught.value)


# Grids


def test_a_grid_has_every_choice_with_every_other(pictures, tmp_path):
    made = grid(pictures, tmp_path, "style_weight=4,40", "seed=1,2,3")
    pairs = [
        (cell.options.style_weight, cell.options.seed) for cell in made.cells
    ]
    assert pairs == list(itertools.product((4, 40), (1, 2, 3)))
    assert made.cells[1].labels == ("style_weight 4", "seed 2")
    assert len({cell.path for cell in made.cells}) == 6
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("over", "told"),
    [
        ((), "received 0|by 0 axes"),
        (("seed=1", "seed=2"), "`seed` is varied twice"),
        (("steps=1,x",), "steps x: `steps`"),
        (("init=noise,nowhere.png",), "init nowhere.png: `init`"),
    ],
)
def test_a_mistake_is_told_before_any_work(pictures, tmp_path, over, told):
    with pytest.raises(ValueError, match=told):
        grid(pictures, tmp_path, *over)
    assert not list(tmp_path.iterdir())


def test_a_cell_is_what_stylize_paints(
    pictures, tmp_path, tiny_weights_everywhere
):
    made = grid(pictures, tmp_path, "style_weight=4,40")
    for cell, weight in zip(made.cells, (4, 40), strict=True):
        alone = nst_tf.stylize(*pictures, style_weight=weight, **QUICK)
        np.testing.assert_array_equal(cell.finish().image, alone.image)


def test_what_is_done_is_not_done_again(
    pictures, tmp_path, tiny_weights_everywhere
):
    made = grid(pictures, tmp_path, "style_weight=4,40")
    assert [cell.painted() for cell in made.cells] == [None, None]
    first = made.cells[0].finish()

    again = grid(pictures, tmp_path, "style_weight=4,40,400")
    done = again.cells[0].painted()
    assert [cell.painted() for cell in again.cells[1:]] == [None, None]
    np.testing.assert_array_equal(done.image, first.image)
    assert done.recipe == record.read_recipe(made.cells[0].path)
    assert not done.diverged


def test_other_inputs_weights_or_options_are_done_anew(
    pictures, tmp_path, tiny_weights_everywhere, monkeypatch
):
    (cell,) = grid(pictures, tmp_path, "style_weight=4").cells
    cell.finish()
    (other,) = grid(pictures[::-1], tmp_path, "style_weight=4").cells
    assert other.path == cell.path and other.painted() is None
    (other,) = grid(pictures, tmp_path, "style_weight=4", seed=3).cells
    assert other.path != cell.path and other.painted() is None
    monkeypatch.setattr(sweep, "_network_digest", lambda *_: "1" * 64)
    assert cell.painted() is None


def test_a_cell_left_halfway_leaves_nothing(
    pictures, tmp_path, tiny_weights_everywhere
):
    (cell,) = grid(pictures, tmp_path, "style_weight=4").cells
    for result in cell.paint():
        assert result.step == 0
        break
    assert not list(tmp_path.iterdir())


def test_rows_of_other_layers_share_a_table(
    pictures, tmp_path, tiny_weights_everywhere
):
    made = grid(pictures, tmp_path, "style_layers=conv1_1|conv2_1")
    painted = [cell.finish() for cell in made.cells]
    rows = made.rows(painted)
    assert [list(row) for row in rows] == [list(rows[0])] * 2
    assert rows[0]["style/block2_conv1"] == ""
    assert rows[0]["axis_1"] == "style_layers conv1_1"
    assert rows[1]["total"] == painted[1].recipe["costs"]["end"]["total"]


# At the terminal


@pytest.fixture
def files(tmp_path, pictures, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, picture in zip(("content", "style"), pictures, strict=True):
        image = PIL.Image.fromarray(np.uint8(255 * picture))
        image.save(tmp_path / f"{name}.png")
    return ["--content=content.png", "--style=style.png"]


def test_sheet_table_and_pdf_are_written_and_resumed(
    files, tiny_weights_everywhere, capsys, tmp_path
):
    pytest.importorskip("matplotlib")
    over = ["--over=style_weight=4,40", "--over=style_scale=0.5,1"]
    arguments = ["sweep", *files, *TYPED, *over, "--pdf=a.pdf"]
    assert cli.main(arguments) == 0
    assert "4 pictures, 0 done" in capsys.readouterr().err
    cells = sorted((tmp_path / "sweep").iterdir())
    assert len(cells) == 4
    before = [path.stat().st_mtime_ns for path in cells]
    sheet = np.asarray(PIL.Image.open("sweep.png"))
    table = (tmp_path / "sweep.csv").read_text()
    rows = list(csv.DictReader(table.splitlines()))
    assert [row["axis_2"] for row in rows] == [
        "style_scale 0.5",
        "style_scale 1",
    ] * 2
    assert {row["file"] for row in rows} == {f"sweep/{p.name}" for p in cells}
    assert all(float(row["seconds"]) > 0 for row in rows)
    assert (tmp_path / "a.pdf").read_bytes().startswith(b"%PDF")

    assert cli.main(arguments) == 0
    assert "4 pictures, 4 done" in capsys.readouterr().err
    assert [path.stat().st_mtime_ns for path in cells] == before
    np.testing.assert_array_equal(PIL.Image.open("sweep.png"), sheet)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["sweep"], "`over` is missing"),
        (["sweep", "--over=seed=1,2", "--seed=3"], "`seed` is what is varied"),
        (["sweep", "--over=seed=1,2", "--workers=0"], "`workers` should be"),
        (["sweep", "--over=seed=1,2", "--output=a.txt"], "`output` should"),
        (["sweep", "--over=seed=1,2", "--costs=a.txt"], "`costs` should"),
        (["sweep", "--over=seed=1,2", "--output=style.png"], "of the inputs"),
        (
            [
                "sweep",
                "--over=init=style.png|noise",
                "--content=content.png",
                "--style=content.png",
                "--output=style.png",
            ],
            "of the inputs",
        ),
        (["sweep", "--over=seed=1,2", "--cells=style.png"], "`cells` should"),
        (["figure"], "expected content|style|"),
        (["figure", "contents"], 'Did you mean "content"?'),
        (["figure", "layers", "content"], 'no figure "content"'),
        (["figure", "layers", "--content_layers=conv1_1"], "is varied here"),
    ],
)
def test_mistakes_get_one_line(files, capsys, tmp_path, arguments, told):
    command, *more = arguments
    places = [a for a in more if not a.startswith("--")]
    flags = [a for a in more if a.startswith("--")]
    assert cli.main([command, *places, *files, *flags]) == 2
    said = capsys.readouterr().err
    assert told in said and said.count("\n") == 1
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["content.png", "style.png"]


def test_out_of_memory_names_the_cell(
    files, tiny_weights_everywhere, capsys, monkeypatch
):
    def paint(_):
        raise MemoryError
        yield

    monkeypatch.setattr(sweep.Cell, "paint", paint)
    assert cli.main(["sweep", *files, *TYPED, "--over=seed=1,2"]) == 2
    assert "nst-tf: seed 1: out of memory" in capsys.readouterr().err


def test_a_signal_stops_and_the_same_command_goes_on(
    files, tiny_weights_everywhere, capsys, monkeypatch, tmp_path
):
    painting = sweep.Cell.paint

    def paint(cell):
        if "seed 2" in cell.labels:
            signal.raise_signal(signal.SIGTERM)
        return painting(cell)

    arguments = ["sweep", *files, *TYPED, "--over=seed=1,2"]
    with monkeypatch.context() as patch:
        patch.setattr(sweep.Cell, "paint", paint)
        assert cli.main(arguments) == 143
    assert "1 of 2 pictures are still to be" in capsys.readouterr().err
    assert not (tmp_path / "sweep.png").exists()
    assert cli.main(arguments) == 0
    assert "2 pictures, 1 done" in capsys.readouterr().err


# Figures


@pytest.mark.parametrize("name", FIGURES)
def test_a_recipe_makes_a_grid(name, pictures, tmp_path):
    recipe = FIGURES[name]
    content, style = pictures
    if name == "content":
        style = None
    if name == "style":
        content = None
    size = {"max_size": 128, "enlarge": True}
    options = Options.from_dict({**recipe.options, **size})
    made = sweep.grid(content, style, recipe.axes, tmp_path, options)
    digests = {cell.options.fingerprint() for cell in made.cells}
    assert len(digests) == len(made.cells)
    for at, axis in enumerate(recipe.axes):
        labels = [cell.labels[at] for cell in made.cells]
        assert set(labels) == {choice.label for choice in axis}


def test_a_figure_is_drawn(files, tiny_weights_everywhere, tmp_path):
    typed = ["--steps=1", "--max_size=32", "--style_layers=conv1_1"]
    typed += ["--jit=off", "--optimizer=adam", "--quiet"]
    assert cli.main(["figure", "layers", *files, *typed]) == 0
    assert len(list((tmp_path / "layers").iterdir())) == 2
    assert (tmp_path / "layers.png").is_file()
    assert (tmp_path / "layers.csv").is_file()
