"""What a run leaves behind. The only module that writes files.

Every file is written under a temporary name beside its own and renamed, so
that a reader sees the old file or the new one, never a part.
"""

import contextlib
import csv
import io
import json
import os
import platform
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from nst_tf.files import images

Row = Mapping[str, Any]
INSIDE = "assets.extra/nst_tf.json"  # a SavedModel's recipe


def write(path: str | os.PathLike, data: bytes | str) -> None:
    """Writes a file at once or not at all; parent folders are made."""
    data = printable(data).encode() if isinstance(data, str) else data
    with partial(path) as name, open(name, "wb") as file:
        file.write(data)


def printable(text: str) -> str:
    r"""Text that is UTF-8 for sure: of a name that is not, `\udce9`.

    So Python has a byte of a path that it cannot read, here 0xe9, and JSON
    gives it back.
    """
    return text.encode("utf-8", "backslashreplace").decode()


@contextlib.contextmanager
def partial(path: str | os.PathLike) -> Iterator[str]:
    """A file to fill beside `path`, whose name it gets where all went well.

    For what is too large to be held as bytes; parent folders are made.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(
        dir=path.parent, prefix=f".{path.name[:32]}.", suffix=".part"
    )
    os.close(descriptor)
    try:
        yield name
        os.chmod(name, 0o666 & ~_umask())
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def check_path(
    path: str | os.PathLike,
    argument: str,
    suffixes: Sequence[str] = (),
    inputs: Iterable[str | os.PathLike] = (),
) -> None:
    """ValueError where `path` could not be written; touches nothing.

    Args:
      path: where a file is to be written later.
      argument: what the user calls it.
      suffixes: what it may end in; any if empty.
      inputs: files that must not be overwritten.
    """
    path = Path(path)
    if suffixes and path.suffix.lower() not in suffixes:
        raise ValueError(
            f"`{argument}` should end in {', '.join(suffixes)}; received "
            f'"{path}".'
        )
    for source in inputs:
        if path.resolve() == Path(source).resolve():
            raise ValueError(
                f'`{argument}` is one of the inputs, "{path}". Choose another '
                "name: inputs are never overwritten."
            )
    folder = next(p for p in (path.parent, *path.parent.parents) if p.exists())
    if path.is_dir() or not folder.is_dir() or not os.access(folder, os.W_OK):
        raise ValueError(
            f'`{argument}` should be a file that can be written; "{path}" '
            "is not. Choose another folder or mend its permissions."
        )


def versions() -> dict[str, str]:
    """Versions of all that has a say in the result."""
    found = {"python": platform.python_version()}
    wanted = ("nst_tf", "tensorflow", "tensorflow-cpu", "keras", "numpy")
    for package in (*wanted, "pillow"):
        try:
            found[package.removesuffix("-cpu")] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def read_recipe(path: str | os.PathLike) -> dict[str, Any]:
    """The recipe in a result's metadata, JSON sidecar or SavedModel folder.

    Raises:
      ValueError: there is none, or the file cannot be read.
    """
    path = Path(path)
    if not path.exists():
        raise ValueError(f'there is no "{path}" to read a recipe from.')
    inside = path / INSIDE
    path = inside if inside.exists() else path
    if path.suffix.lower() == ".json":
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", "it is no UTF-8")
            raise ValueError(f'"{path}" cannot be read: {reason}.') from None
    else:
        text = "" if path.is_dir() else images.recipe(path) or ""
    try:
        recipe = json.loads(text)
        recipe["options"], recipe["inputs"]
    except (ValueError, KeyError, TypeError):
        raise ValueError(
            f'"{path}" carries no recipe of nst_tf. Give a picture that it '
            "made, the JSON file that --record wrote, or an exported folder."
        ) from None
    return recipe


def input_paths(recipe: Mapping[str, Any]) -> list[str]:
    """The files that a recipe's run read."""
    files: list[Any] = []
    for given in recipe["inputs"].values():
        files += given if isinstance(given, list) else [given]
    return [file["path"] for file in files if file and file["path"]]


def write_recipe(path: str | os.PathLike, recipe: Mapping[str, Any]) -> None:
    """The recipe as a JSON file."""
    write(path, to_json(recipe) + "\n")


def to_json(recipe: Mapping[str, Any] | Sequence) -> str:
    """The recipe as text; numbers that are not finite become null."""

    def finite(value):
        if isinstance(value, Mapping):
            return {key: finite(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [finite(item) for item in value]
        if isinstance(value, float) and not np.isfinite(value):
            return None
        return value

    return printable(
        json.dumps(
            finite(recipe), indent=1, ensure_ascii=False, allow_nan=False
        )
    )


def write_costs(path: str | os.PathLike, rows: Sequence[Row]) -> None:
    """The cost terms, a row per step: CSV or JSON by suffix."""
    if Path(path).suffix.lower() == ".json":
        write(path, to_json({"costs": list(rows)}))
        return
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write(path, text.getvalue())


def write_plot(path: str | os.PathLike, rows: Sequence[Row]) -> None:
    """All cost terms against steps, on a logarithmic axis (matplotlib)."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    for name in rows[0]:
        values = np.array([row[name] for row in rows])
        if name in ("scale", "step") or not np.any(values > 0):
            continue
        total = name == "total"
        axes.plot(values, label=name, lw=2.5 if total else 1.2)
    axes.set(xlabel="step", ylabel="cost (unweighted but for total)")
    axes.set_yscale("log")
    for place in range(1, len(rows)):
        if rows[place]["scale"] != rows[place - 1]["scale"]:
            axes.axvline(place, color="0.7", lw=0.8, ls="--")
    axes.legend(fontsize="small")
    axes.grid(alpha=0.3)
    data = io.BytesIO()
    figure.savefig(data, format=Path(path).suffix[1:].lower(), dpi=120)
    write(path, data.getvalue())


def write_checkpoint(
    path: str | os.PathLike, recipe: Mapping[str, Any], arrays: Sequence
) -> None:
    """A run's recipe and the flat list of its state's arrays, as .npz."""
    named: dict[str, Any] = {
        f"array{k:03d}": np.asarray(a) for k, a in enumerate(arrays)
    }
    named["recipe"] = np.array(to_json(recipe))
    with partial(path) as name, open(name, "wb") as file:
        np.savez(file, **named)


def read_checkpoint(
    path: str | os.PathLike,
) -> tuple[dict[str, Any], list[np.ndarray]]:
    """What `write_checkpoint` wrote; ValueError if it is something else."""
    try:
        with open(path, "rb") as file, np.load(file) as data:
            arrays = [data[name] for name in data.files if name != "recipe"]
            return json.loads(str(data["recipe"])), arrays
    except FileNotFoundError:
        raise ValueError(f'`resume`: there is no file "{path}".') from None
    except Exception:  # zipfile, NumPy and json each have theirs
        raise ValueError(
            f'`resume` should be a file that --checkpoint wrote; "{path}" is '
            "not one. Give one, or start anew with --init=PICTURE."
        ) from None


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
