"""The notebooks to learn from: clean as committed, true, and they run."""

from pathlib import Path

import pytest

nbclient = pytest.importorskip("nbclient")
nbformat = pytest.importorskip("nbformat")
pytest.importorskip("ipykernel")
pytest.importorskip("matplotlib")

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = ROOT / "notebooks"
SMALL = {"SIZE": 64, "STEPS": 2, "NETWORK": "vgg19_slim"}
PARAMETERS = {
    "course": {
        **SMALL,
        "CONTENT": f"{ROOT}/examples/content_lighthouse.jpg",
        "STYLE": f"{ROOT}/examples/style_strokes.jpg",
        "PICTURES": f"{ROOT}/examples",
        "SIZE": 48,
        "DEPTHS": 2,
    },
    "control": {
        **SMALL,
        "CONTENT": f"{ROOT}/examples/content_lake.jpg",
        "STYLE": f"{ROOT}/examples/style_strokes.jpg",
        "OTHER": f"{ROOT}/examples/style_woodcut.jpg",
        "SKY": f"{ROOT}/examples/mask_sky.png",
        "LAND": f"{ROOT}/examples/mask_land.png",
    },
}
FEW = (
    'dict(content_layers="conv2_1", style_layers="conv1_1,conv2_1", '
    'optimizer="adam")'
)
SHOWN = {  # how many pictures each cell shows, and how many files there are
    "course": ({"line": 1, "patches": 5, "reconstructions": 1}, 2),
    "control": ({"color": 1, "mask": 1, "region": 1, "sweep": 1}, 6),
}


def read(name):
    path = NOTEBOOKS / f"{name}.ipynb"
    return nbformat.read(path, as_version=nbformat.NO_CONVERT)


@pytest.fixture(params=PARAMETERS)
def name(request):
    return request.param


@pytest.fixture
def notebook(name):
    return read(name)


def test_it_is_valid_and_without_what_a_run_leaves(notebook):
    nbformat.validate(notebook)
    names = [cell.id for cell in notebook.cells]
    assert len(names) == len(set(names))
    for cell in notebook.cells:
        assert set(cell.metadata) <= {"tags"}
        if cell.cell_type == "code":
            assert cell.outputs == []
            assert cell.execution_count is None


def test_it_is_set_up_as_the_other_notebook(notebook):
    own, other = notebook, read("nst_tf_colab")
    assert own.cells[1].source == other.cells[1].source
    assert own.metadata == other.metadata


def test_it_runs_what_it_says_is_so_and_pictures_are_shown(
    name, notebook, tmp_path, monkeypatch
):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    for place in ("IPYTHONDIR", "JUPYTER_RUNTIME_DIR", "MPLCONFIGDIR"):
        monkeypatch.setenv(place, str(tmp_path / place))
    tags = [cell.metadata.get("tags", []) for cell in notebook.cells]
    lines = [f"{key} = {value!r}" for key, value in PARAMETERS[name].items()]
    injected = nbformat.v4.new_code_cell("\n".join(lines), id="injected")
    notebook.cells.insert(tags.index(["parameters"]) + 1, injected)
    for cell in notebook.cells:
        if cell.id == "helpers":  # of all layers: twice the time
            cell.source += f"\nOPTIONS = OPTIONS.replace(**{FEW})"

    nbclient.NotebookClient(
        notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}
    ).execute()

    wanted, files = SHOWN[name]
    shown = {cell.id: _pictures(cell) for cell in notebook.cells}
    assert {cell: shown[cell] for cell in wanted} == wanted
    assert len(list((tmp_path / name).iterdir())) == files


def _pictures(cell):
    outputs = cell.get("outputs", [])
    return sum("image/png" in output.get("data", {}) for output in outputs)
