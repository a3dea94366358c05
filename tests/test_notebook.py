"""The notebook: clean as committed, and running from its first cell on."""

import importlib.util
import sys
import types
import zipfile
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from nst_tf.files import record

nbclient = pytest.importorskip("nbclient")
nbformat = pytest.importorskip("nbformat")
pytest.importorskip("ipykernel")
if importlib.util.find_spec("gradio") is None:
    pytest.skip("gradio is missing", allow_module_level=True)
inputtransformer2 = pytest.importorskip("IPython.core.inputtransformer2")

ROOT = Path(__file__).resolve().parent.parent
PATH = ROOT / "notebooks" / "nst_tf_colab.ipynb"
PARAMETERS = {
    "CONTENT": f"{ROOT}/examples/content_lighthouse.jpg",
    "STYLE": f"{ROOT}/examples/style_strokes.jpg",
    "SECOND_STYLE": f"{ROOT}/examples/style_woodcut.jpg",
    "SIZE": 48,
    "STEPS": 2,
    "OPTIONS": {
        "network": "vgg19_slim",
        "content_layers": "conv2_1",
        "style_layers": "conv1_1",
        "optimizer": "adam",
        "jit": "off",
        "scales": 2,
    },
    "PREVIEWS": {"max_size": 24},
}


@pytest.fixture
def notebook():
    return nbformat.read(PATH, as_version=nbformat.NO_CONVERT)


def test_it_is_valid_and_of_the_version_with_cell_ids(notebook):
    nbformat.validate(notebook)
    assert (notebook.nbformat, notebook.nbformat_minor) == (4, 5)
    names = [cell.id for cell in notebook.cells]
    assert len(names) == len(set(names))
    assert notebook.metadata.kernelspec.name == "python3"


def test_it_is_committed_without_what_a_run_leaves(notebook):
    for cell in notebook.cells:
        assert set(cell.metadata) <= {"tags"}
        if cell.cell_type == "code":
            assert cell.outputs == []
            assert cell.execution_count is None


def test_tensorflow_is_never_installed(notebook):
    for cell in notebook.cells:
        for line in cell.source.splitlines():
            if line.strip().startswith(("%", "!")) and "install" in line:
                assert "--no-deps ./" in line or line.endswith('"gradio>=6.27"')


@pytest.mark.parametrize("uploaded", ["beside", "when asked"])
@pytest.mark.parametrize("name", ["nst_tf.zip", "nst_tf-0.1.0-py3-none.whl"])
def test_in_colab_it_installs_the_file_that_was_uploaded(
    notebook, tmp_path, monkeypatch, name, uploaded
):
    def upload():
        with zipfile.ZipFile(name, "w") as archive:
            archive.writestr("examples/content_lighthouse.jpg", "a picture")
        return {name: Path(name).read_bytes()}

    asked, ran = [], []
    files = types.ModuleType("files")
    files.upload = lambda: asked.append(name) or upload()
    colab = types.ModuleType("google.colab")
    colab.files = files
    monkeypatch.setitem(sys.modules, "google", types.ModuleType("google"))
    monkeypatch.setitem(sys.modules, "google.colab", colab)
    monkeypatch.setattr(importlib.util, "find_spec", lambda module: ran or None)
    monkeypatch.chdir(tmp_path)
    if uploaded == "beside":
        upload()

    class Shell:
        def run_line_magic(self, magic, line):
            ran.append(line.replace("{archive}", space["archive"]))

    space = {"get_ipython": Shell}
    cell = notebook.cells[1]
    source = inputtransformer2.TransformerManager().transform_cell(cell.source)
    exec(source, space)
    exec(notebook.cells[_parameters(notebook)].source, space | {"ON_GPU": 0})

    assert ran == [f"install --quiet --no-deps ./{name}"]
    assert len(asked) == (uploaded == "when asked")
    samples = tmp_path / space["PROJECT"] / "examples"
    assert samples.is_dir() == name.endswith(".zip")


def test_the_second_cell_says_how_to_get_the_project(notebook):
    title, cell = notebook.cells[:2]
    assert cell.id == "set-up"
    assert "git archive --output=nst_tf.zip HEAD" in title.source
    assert "python -m build" in title.source


def test_parameters_are_constants_in_a_cell_of_their_own(notebook):
    cell = notebook.cells[_parameters(notebook)]
    for line in cell.source.splitlines():
        name, equals, _ = line.partition(" = ")
        assert name.isupper() and equals
    assert all(f"{name} = " in cell.source for name in PARAMETERS)


def test_it_runs_from_the_first_cell_to_the_last(
    notebook, tmp_path, monkeypatch
):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    for name in ("IPYTHONDIR", "JUPYTER_RUNTIME_DIR", "MPLCONFIGDIR"):
        monkeypatch.setenv(name, str(tmp_path / name))
    lines = [f"{name} = {value!r}" for name, value in PARAMETERS.items()]
    injected = nbformat.v4.new_code_cell("\n".join(lines), id="injected")
    notebook.cells.insert(_parameters(notebook) + 1, injected)

    nbclient.NotebookClient(
        notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}
    ).execute()

    shown = {cell.id: _pictures(cell) for cell in notebook.cells}
    for name in (
        "pictures",
        "preview",
        "run",  # the live one, updated in place
        "result",
        "ratio",
        "blend",
        "export",
    ):
        assert shown[name] == 1, name
    painted = tmp_path / "painted" / "painted.png"
    assert np.asarray(PIL.Image.open(painted)).shape == (32, 48, 3)
    recipe = record.read_recipe(painted)
    assert (recipe["scale"], recipe["step"]) == (1, 2)
    assert (tmp_path / "painted" / "model" / "saved_model.pb").is_file()
    page = next(cell for cell in notebook.cells if cell.id == "page")
    assert any(
        '<iframe src="http://127.0.0.1:' in output.data.get("text/html", "")
        for output in page.outputs
        if "data" in output
    )


def _parameters(notebook):
    tags = [cell.metadata.get("tags", []) for cell in notebook.cells]
    assert tags.count(["parameters"]) == 1
    return tags.index(["parameters"])


def _pictures(cell):
    outputs = cell.get("outputs", [])
    return sum("image/png" in output.get("data", {}) for output in outputs)
