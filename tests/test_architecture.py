"""Where a thing belongs: folders are storeys, imports point down only."""

import ast
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "nst_tf"
SOURCES = {  # by dotted name within the package, as `engine.tiles`
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts): path.read_text(
        encoding="utf-8"
    )
    for path in sorted(PACKAGE.rglob("*.py"))
}
# From the ground up: a folder, or a module of the package's own. What shares a
# storey does not know the other; within a folder anything goes but a circle.
STOREYS = (
    ("request", "backend"),
    ("formulas",),
    ("engine",),
    ("machine", "files"),
    ("stylization",),
    ("saved_model",),
    ("batches", "page", "study", "video"),
    ("terminal",),
    ("__init__", "__main__"),
)
FLOOR = {room: floor for floor, rooms in enumerate(STOREYS) for room in rooms}

# Who writes files: results, what is downloaded, what has no name.
WRITERS = {
    "files.record": {"mkstemp", "open", "replace", "mkdir", "chmod"},
    "files.weights": {"mkstemp", "fdopen", "replace", "mkdir"},
    # It is a folder.
    "saved_model.export": {"replace", "mkdir", "rmdir", "rmtree"},
    "machine.environment": {"TemporaryFile"},
    # What is written to nowhere.
    "terminal.streams": {"open"},
    # PyAV fills the file that record has given a name.
    "video.clips": {"open"},
    # A place to serve from; what lies there `record` writes.
    "page.folder": {"mkdtemp", "rmdir"},
}
CHANGING = {
    "replace",
    "rename",
    "renames",
    "remove",
    "link",
    "symlink",
    "chmod",
}
CHANGING_PATH = {"mkdir", "makedirs", "rmdir", "touch"} | {
    f"write_{what}" for what in ("text", "bytes")
}
PURE = {  # all that the formulas and the engine import, but for the package
    "collections",
    "dataclasses",
    "difflib",
    "functools",
    "hashlib",
    "itertools",
    "json",
    "math",
    "numpy",
    "tensorflow",
    "typing",
}


def room(name):
    """The folder a module is in, or itself."""
    return name.partition(".")[0]


PURELY = [n for n in SOURCES if room(n) in ("formulas", "engine")]
PURELY += ["request.options"]


def imported(source, inside_functions=True):
    """Dotted names of all that is imported, wherever it stands."""
    names = set()
    waiting = [ast.parse(source)]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            package = "." * node.level + (node.module or "")
            names |= {f"{package}.{alias.name}" for alias in node.names}
        function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        if inside_functions or not function:
            waiting += ast.iter_child_nodes(node)
    return names


def neighbours(name, inside_functions=True):
    """The modules of the package that a module imports."""
    found = set()
    for dotted in imported(SOURCES[name], inside_functions):
        package, *parts = dotted.split(".")
        if package != "nst_tf":
            continue
        while parts and ".".join(parts) not in SOURCES:
            parts = parts[:-1]
        found.add(".".join(parts) or "__init__")
    return found


def users(*packages):
    """The modules that import one of these, by dotted name."""
    return {
        name
        for name, source in SOURCES.items()
        for dotted in imported(source)
        if any(f"{dotted}.".startswith(f"{p}.") for p in packages)
    }


def called(source):
    """`(dotted name, call)` of every call."""
    calls = (n for n in ast.walk(ast.parse(source)) if isinstance(n, ast.Call))
    return [(ast.unparse(call.func), call) for call in calls]


def writing(source):
    """Names of the calls that open, make, rename or remove a file."""
    found = set()
    for dotted, call in called(source):
        module, _, name = dotted.rpartition(".")
        if name in ("open", "fdopen"):
            values = [*call.args[:2], *(k.value for k in call.keywords)]
            words = [v.value for v in values if isinstance(v, ast.Constant)]
            if any(
                re.fullmatch("[rbt]*[wax+][wax+bt]*", str(w)) for w in words
            ):
                found.add(name)
        elif module in ("shutil", "tempfile"):
            found.add(name)
        elif module == "os" and name in CHANGING or name in CHANGING_PATH:
            found.add(name)
    return found


def test_every_room_has_its_storey():
    assert set(FLOOR) == {room(name) for name in SOURCES}


def test_imports_point_down():
    for name in SOURCES:
        # What a command needs it imports when it is called.
        for other in neighbours(name, name != "terminal.cli"):
            if room(other) != room(name):
                below = FLOOR[room(other)] < FLOOR[room(name)]
                assert below, f"{name} imports {other}"


def test_no_import_goes_round_in_a_folder():
    waiting = {name: neighbours(name) & set(SOURCES) for name in SOURCES}
    while waiting:
        free = {n for n, others in waiting.items() if not others & set(waiting)}
        assert free, f"a circle among {sorted(waiting)}"
        waiting = {n: o for n, o in waiting.items() if n not in free}


def test_imports_are_absolute():
    for name, source in SOURCES.items():
        assert not [i for i in imported(source) if i.startswith(".")], name


def test_files_are_written_in_one_place():
    for name, source in SOURCES.items():
        assert writing(source) <= WRITERS.get(name, set()), name


def test_weights_alone_downloads():
    clients = "urllib", "http", "requests", "ftplib", "ssl"
    assert users(*clients) == {"files.weights"}
    assert users("socket") == {"page.server"}  # whether a port is free
    for source in SOURCES.values():
        assert "get_file" not in source


def test_keras_is_imported_in_one_place():
    assert users("keras") == {"backend"}


def test_the_terminal_alone_reads_flags():
    assert {room(name) for name in users("absl")} == {"terminal"}
    assert users("argparse", "optparse", "click") == set()


def test_pictures_are_decoded_in_one_place():
    pillow = {
        f"files.{name}" for name in ("encoding", "images", "sixteen", "webp")
    }
    assert users("PIL", "pillow_heif") == pillow


@pytest.mark.parametrize("name", PURELY)
def test_formulas_do_no_input_or_output(name):
    packages = {dotted.split(".")[0] for dotted in imported(SOURCES[name])}
    assert packages <= PURE | {"nst_tf"}
    outside = {"open", "print", "input", "exec", "eval", "__import__"}
    for dotted, _ in called(SOURCES[name]):
        assert dotted not in outside
        assert not re.match(
            r"tf\.(io|print|summary|saved_model|data)\b", dotted
        )


@pytest.mark.parametrize("name", [n for n in SOURCES if room(n) == "request"])
def test_requests_need_the_standard_library_only(name):
    packages = {dotted.split(".")[0] for dotted in imported(SOURCES[name])}
    assert packages - {"nst_tf"} <= sys.stdlib_module_names
    assert {room(other) for other in neighbours(name)} <= {"request"}


def test_mistakes_are_no_assertions():
    for name, source in SOURCES.items():
        kinds = {type(node) for node in ast.walk(ast.parse(source))}
        assert ast.Assert not in kinds, name


# The checks themselves


def test_every_form_of_import_is_seen():
    source = """
import one.two
from nst_tf.stylization import run as run_
if TYPE_CHECKING:
    from nst_tf.files.record import write
def function():
    from . import weights
"""
    above = {"one.two", "nst_tf.stylization.run", "nst_tf.files.record.write"}
    assert imported(source) == above | {"..weights"}
    assert imported(source, inside_functions=False) == above


@pytest.mark.parametrize(
    "line",
    [
        "open(path, 'w')",
        "open(path, mode='ab')",
        "path.open('x')",
        "path.write_text('')",
        "os.replace(one, other)",
        "os.fdopen(number, 'wb')",
        "tempfile.mkstemp()",
        "shutil.copy(one, other)",
    ],
)
def test_every_form_of_writing_is_seen(line):
    assert writing(line)


@pytest.mark.parametrize(
    "line",
    [
        "open(path)",
        "open(path, 'rb')",
        "path.open('r')",
        "text.replace('w', 'a')",
        "os.fspath(path)",
    ],
)
def test_reading_is_not_writing(line):
    assert not writing(line)
