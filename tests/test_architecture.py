"""Where a thing belongs: the table in CONTRIBUTING.md, held against ast."""

import ast
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SOURCES = {
    path.stem: path.read_text(encoding="utf-8")
    for path in sorted((ROOT / "nst_tf").glob("*.py"))
}
FACADE = {"__init__": 99, "__main__": 99}  # above all, imported by none

# Imports within a row: a module that was one with the other before.
SIBLINGS = {
    ("optimizers", "linesearch"),
    ("transfer", "objective"),
    ("record", "images"),
}
# Who writes files: results, what is downloaded, what has no name.
WRITERS = {
    "record": {"mkstemp", "fdopen", "replace", "mkdir", "chmod"},
    "weights": {"mkstemp", "fdopen", "replace", "mkdir"},
    "export": {"replace", "mkdir", "rmdir", "rmtree"},  # it is a folder
    "cli": {"TemporaryFile"},
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
PURE = {  # all that rows 0 to 2 may import, but for the package itself
    "collections",
    "dataclasses",
    "difflib",
    "functools",
    "hashlib",
    "json",
    "keras",
    "math",
    "numpy",
    "tensorflow",
    "typing",
}
MACHINE = {
    "os",
    "pathlib",
    "platform",
    "resource",
    "subprocess",
}  # for `devices`, which looks at it


def table():
    """`{module: row}` as CONTRIBUTING.md has it."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d+) \| ([^|]+) \|", text, re.MULTILINE)
    return {
        module: int(row)
        for row, modules in rows
        for module in re.findall(r"`(\w+)`", modules)
    }


ROWS = table()
LOW = [name for name in SOURCES if ROWS.get(name, 99) <= 2]


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


def neighbours(name):
    """The modules of the package that a module imports."""
    found = set()
    for dotted in imported(SOURCES[name], inside_functions=name != "cli"):
        parts = dotted.split(".")
        if parts[0] == "nst_tf":
            found.add(parts[1] if parts[1] in SOURCES else "__init__")
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


def test_every_module_has_its_place():
    assert set(ROWS) == set(SOURCES) - set(FACADE)


@pytest.mark.parametrize("name", [*ROWS, *FACADE])
def test_imports_point_to_a_lower_row(name):
    rows = {**ROWS, **FACADE}
    for other in neighbours(name):
        if (name, other) not in SIBLINGS:
            assert rows[other] < rows[name], f"{name} imports {other}"


def test_exceptions_are_in_use_and_within_a_row():
    for name, other in SIBLINGS:
        assert other in neighbours(name)
        assert ROWS[name] == ROWS[other]


@pytest.mark.parametrize("name", SOURCES)
def test_imports_are_absolute(name):
    assert not [i for i in imported(SOURCES[name]) if i.startswith(".")]


@pytest.mark.parametrize("name", SOURCES)
def test_files_are_written_in_one_place(name):
    assert writing(SOURCES[name]) <= WRITERS.get(name, set())


def test_weights_alone_downloads():
    clients = "urllib", "http", "socket", "requests", "ftplib", "ssl"
    assert users(*clients) == {"weights"}
    for source in SOURCES.values():
        assert "get_file" not in source


def test_the_terminal_alone_reads_flags():
    assert users("absl") <= {"cli", "flags", "session"}
    assert users("argparse", "optparse", "click") == set()


def test_pictures_are_decoded_in_one_place():
    assert users("PIL") == {"images"}


@pytest.mark.parametrize("name", LOW)
def test_formulas_do_no_input_or_output(name):
    allowed = PURE | {"nst_tf"} | (MACHINE if name == "devices" else set())
    packages = {dotted.split(".")[0] for dotted in imported(SOURCES[name])}
    assert packages <= allowed
    outside = {"open", "print", "input", "exec", "eval", "__import__"}
    for dotted, _ in called(SOURCES[name]):
        assert dotted not in outside
        assert not re.match(
            r"tf\.(io|print|summary|saved_model|data)\b", dotted
        )


def test_options_need_the_standard_library_only():
    packages = {dotted.split(".")[0] for dotted in imported(SOURCES["options"])}
    assert packages <= sys.stdlib_module_names


@pytest.mark.parametrize("name", SOURCES)
def test_mistakes_are_no_assertions(name):
    nodes = ast.walk(ast.parse(SOURCES[name]))
    assert not [node for node in nodes if isinstance(node, ast.Assert)]


# The checks themselves


def test_every_form_of_import_is_seen():
    source = """
import one.two
from nst_tf import run as run_
if TYPE_CHECKING:
    from nst_tf.record import write
def function():
    from . import weights
"""
    above = {"one.two", "nst_tf.run", "nst_tf.record.write"}
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
