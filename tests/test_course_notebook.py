"""The course's notebook: clean as committed, its formulas agree, it runs."""

from pathlib import Path

import pytest

nbclient = pytest.importorskip("nbclient")
nbformat = pytest.importorskip("nbformat")
pytest.importorskip("ipykernel")
pytest.importorskip("matplotlib")

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = ROOT / "notebooks"
PARAMETERS = {
    "CONTENT": f"{ROOT}/examples/content_lighthouse.jpg",
    "STYLE": f"{ROOT}/examples/style_strokes.jpg",
    "PICTURES": f"{ROOT}/examples",
    "SIZE": 48,
    "STEPS": 3,
    "NETWORK": "vgg19_slim",
    "DEPTHS": 2,
}


def read(name):
    path = NOTEBOOKS / f"{name}.ipynb"
    return nbformat.read(path, as_version=nbformat.NO_CONVERT)


@pytest.fixture
def notebook():
    return read("course")


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


def test_it_runs_the_formulas_agree_and_pictures_are_shown(
    notebook, tmp_path, monkeypatch
):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    for place in ("IPYTHONDIR", "JUPYTER_RUNTIME_DIR", "MPLCONFIGDIR"):
        monkeypatch.setenv(place, str(tmp_path / place))
    tags = [cell.metadata.get("tags", []) for cell in notebook.cells]
    lines = [f"{name} = {value!r}" for name, value in PARAMETERS.items()]
    injected = nbformat.v4.new_code_cell("\n".join(lines), id="injected")
    notebook.cells.insert(tags.index(["parameters"]) + 1, injected)

    nbclient.NotebookClient(
        notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}
    ).execute()

    wanted = {"line": 1, "patches": 5, "reconstructions": 1}
    shown = {cell.id: _pictures(cell) for cell in notebook.cells}
    assert {name: shown[name] for name in wanted} == wanted
    assert len(list((tmp_path / "course").iterdir())) == 2


def _pictures(cell):
    outputs = cell.get("outputs", [])
    return sum("image/png" in output.get("data", {}) for output in outputs)
