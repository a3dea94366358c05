"""The notebooks: clean as committed, and each runs from its first cell on."""

import importlib.util
import shutil
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
pytest.importorskip("matplotlib")
if importlib.util.find_spec("gradio") is None:
    pytest.skip("gradio is missing", allow_module_level=True)
inputtransformer2 = pytest.importorskip("IPython.core.inputtransformer2")

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "examples"
SMALL = {"SIZE": 48, "STEPS": 2}
NETWORK = {"NETWORK": "vgg19_slim"}
FEW = {
    "content_layers": "conv2_1",
    "style_layers": "conv1_1",
    "optimizer": "adam",
}
PARAMETERS = {
    "nst_tf_colab": {
        **SMALL,
        "CONTENT": f"{EXAMPLES}/content_lighthouse.jpg",
        "STYLE": f"{EXAMPLES}/style_strokes.jpg",
        "SECOND_STYLE": f"{EXAMPLES}/style_woodcut.jpg",
        "OPTIONS": {**FEW, "network": "vgg19_slim", "jit": "off", "scales": 2},
        "PREVIEWS": {"max_size": 24},
    },
    "course": {
        **SMALL,
        **NETWORK,
        "CONTENT": f"{EXAMPLES}/content_lighthouse.jpg",
        "STYLE": f"{EXAMPLES}/style_strokes.jpg",
        "PICTURES": "pictures",
        "DEPTHS": 1,
    },
    "control": {
        **SMALL,
        **NETWORK,
        "CONTENT": f"{EXAMPLES}/content_lake.jpg",
        "STYLE": f"{EXAMPLES}/style_strokes.jpg",
        "OTHER": f"{EXAMPLES}/style_woodcut.jpg",
        "SKY": f"{EXAMPLES}/mask_sky.png",
        "LAND": f"{EXAMPLES}/mask_land.png",
    },
}
SHOWN = {  # how many pictures each cell shows
    "nst_tf_colab": {
        "pictures": 1,
        "preview": 1,
        "run": 1,  # the live one, updated in place
        "result": 1,
        "ratio": 1,
        "blend": 1,
        "export": 1,
    },
    "course": {"line": 1, "patches": 5, "reconstructions": 1},
    "control": {"color": 1, "mask": 1, "region": 1, "sweep": 1},
}


def read(name):
    path = ROOT / "notebooks" / f"{name}.ipynb"
    return nbformat.read(path, as_version=nbformat.NO_CONVERT)


@pytest.fixture(params=PARAMETERS)
def name(request):
    return request.param


@pytest.fixture
def notebook(name):
    return read(name)


# As committed


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


def test_all_are_set_up_alike(notebook):
    other = read("nst_tf_colab")
    assert notebook.cells[1].source == other.cells[1].source
    assert notebook.metadata == other.metadata


def test_parameters_are_constants_in_a_cell_of_their_own(name, notebook):
    cell = notebook.cells[_parameters(notebook)]
    constants = set()
    for line in cell.source.splitlines():
        names, equals, _ = line.partition(" = ")
        assert names.isupper() and equals
        constants.update(names.split(", "))
    assert constants >= PARAMETERS[name].keys()


def _parameters(notebook):
    tags = [cell.metadata.get("tags", []) for cell in notebook.cells]
    assert tags.count(["parameters"]) == 1
    return tags.index(["parameters"])


# In Colab


@pytest.fixture
def in_colab():
    return read("nst_tf_colab")


def test_tensorflow_is_never_installed(in_colab):
    for cell in in_colab.cells:
        for line in cell.source.splitlines():
            if line.strip().startswith(("%", "!")) and "install" in line:
                assert "--no-deps ./" in line or line.endswith('"gradio>=6.27"')


@pytest.mark.parametrize("uploaded", ["beside", "when asked"])
@pytest.mark.parametrize("file", ["nst_tf.zip", "nst_tf-0.1.0-py3-none.whl"])
def test_it_installs_the_file_that_was_uploaded(
    in_colab, tmp_path, monkeypatch, file, uploaded
):
    def upload():
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("examples/content_lighthouse.jpg", "a picture")
        return {file: Path(file).read_bytes()}

    asked, ran = [], []
    files = types.ModuleType("files")
    files.upload = lambda: asked.append(file) or upload()
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
    cell = in_colab.cells[1]
    source = inputtransformer2.TransformerManager().transform_cell(cell.source)
    exec(source, space)
    parameters = in_colab.cells[_parameters(in_colab)].source
    exec(parameters, space | {"ON_GPU": 0})

    assert ran == [f"install --quiet --no-deps ./{file}"]
    assert len(asked) == (uploaded == "when asked")
    samples = tmp_path / space["PROJECT"] / "examples"
    assert samples.is_dir() == file.endswith(".zip")


def test_the_first_cell_says_how_to_get_the_project(in_colab):
    title, cell = in_colab.cells[:2]
    assert cell.id == "set-up"
    assert "git archive --output=nst_tf.zip HEAD" in title.source
    assert "python -m build" in title.source


# From the first cell to the last


@pytest.fixture(scope="module")
def homes(tmp_path_factory):
    """Where each notebook ran."""
    found = {name: tmp_path_factory.mktemp(name) for name in PARAMETERS}
    pictures = found["course"] / PARAMETERS["course"]["PICTURES"]
    pictures.mkdir()
    for sample in ("content_lake.jpg", "style_mosaic.jpg"):
        shutil.copy(EXAMPLES / sample, pictures)
    return found


@pytest.fixture(scope="module")
def outputs(homes):
    """Of each cell, as `NOTEBOOK-CELL`: all ran, and one kernel was begun."""
    cells = []
    for name, home in homes.items():
        notebook = read(name)
        given = [f"{k} = {value!r}" for k, value in PARAMETERS[name].items()]
        given = nbformat.v4.new_code_cell("\n".join(given))
        notebook.cells.insert(_parameters(notebook) + 1, given)
        for cell in notebook.cells:
            if cell.id == "helpers":  # of all layers: twice the time
                cell.source += f"\nOPTIONS = OPTIONS.replace(**{FEW})"
            cell.id = f"{name}-{cell.id}"
        start = nbformat.v4.new_code_cell(f"%reset -f\n%cd {home}")
        cells += [start, *notebook.cells]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(ROOT))
        for place in ("IPYTHONDIR", "JUPYTER_RUNTIME_DIR", "MPLCONFIGDIR"):
            patch.setenv(place, str(homes["course"] / place))
        together = nbformat.v4.new_notebook(cells=cells)
        nbclient.NotebookClient(together, timeout=300).execute()
    return {cell.id: cell.get("outputs", []) for cell in together.cells}


def test_it_runs_what_it_says_is_so_and_pictures_are_shown(outputs, name):
    shown = {
        cell: sum("image/png" in one.get("data", {}) for one in found)
        for cell, found in outputs.items()
    }
    for cell, count in SHOWN[name].items():
        assert shown[f"{name}-{cell}"] == count, cell


def test_its_files_are_there(outputs, homes):
    painted = homes["nst_tf_colab"] / "painted"
    picture = painted / "painted.png"
    assert np.asarray(PIL.Image.open(picture)).shape == (32, 48, 3)
    recipe = record.read_recipe(picture)
    assert (recipe["scale"], recipe["step"]) == (1, 2)
    assert (painted / "model" / "saved_model.pb").is_file()
    assert len(list((homes["course"] / "course").iterdir())) == 1
    assert len(list((homes["control"] / "control").iterdir())) == 6


def test_the_last_cell_shows_the_page(outputs):
    shown = [one.get("data", {}) for one in outputs["nst_tf_colab-page"]]
    page = '<iframe src="http://127.0.0.1:'
    assert any(page in data.get("text/html", "") for data in shown)
