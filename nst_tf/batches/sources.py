"""Where the rows of a batch come from: patterns of files, or a manifest."""

import csv
import dataclasses
import functools
import glob
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TextIO

from nst_tf.files import images, record
from nst_tf.request.options import Options
from nst_tf.request.values import suggest

COLUMNS = ("content", "style")
OPTIONS = {field.name: field for field in dataclasses.fields(Options)}
WEIGHTS = "auto", "imagenet", "random"  # that are no file
WORDS = {"true": True, "1": True, "false": False, "0": False}

Patterns = str | os.PathLike | Sequence[str | os.PathLike]


class Row(NamedTuple):
    """What one picture is made of."""

    content: str  # absolute paths
    styles: tuple[str, ...]
    options: Options


@dataclasses.dataclass(frozen=True)
class Pairs:
    """Every photograph with every painting, or each with its own.

    Args:
      contents: paths of photographs.
      styles: paths of paintings.
      options: of all.
      pair: `product`, painting by painting, or `zip`.
    """

    contents: Sequence[str]
    styles: Sequence[str]
    options: Options
    pair: str = "product"

    def __post_init__(self):
        if self.pair not in ("product", "zip"):
            raise ValueError(
                "`pair` should be product or zip; received "
                f'"{self.pair}".' + suggest(self.pair, ("product", "zip"))
            )
        if self.pair == "zip" and len(self.contents) != len(self.styles):
            raise ValueError(
                "`pair` is zip, which needs as many paintings as photographs; "
                f"received {len(self.contents)} photographs and "
                f"{len(self.styles)} paintings."
            )

    def __iter__(self) -> Iterator[Row]:
        if self.pair == "zip":
            for content, style in zip(self.contents, self.styles, strict=True):
                yield Row(content, (style,), self.options)
            return
        for style in self.styles:
            for content in self.contents:
                yield Row(content, (style,), self.options)


@dataclasses.dataclass(frozen=True)
class Manifest:
    """A table of jobs, .csv or .jsonl, read row by row.

    Its columns are `content`, `style` (in .jsonl also a list of them) and any
    options; an empty cell is the default. Paths are relative to its folder.
    """

    path: Path
    options: Options

    def __post_init__(self):
        readers = {".csv": self._csv, ".jsonl": self._jsonl}
        if self.path.suffix.lower() not in readers:
            raise ValueError(
                "`manifest` should end in .csv or .jsonl; received "
                f'"{self.path}".'
            )
        if not self.path.is_file():
            raise ValueError(f'`manifest`: there is no file "{self.path}".')

    def __iter__(self) -> Iterator[Row]:
        lines = self._csv if self.path.suffix.lower() == ".csv" else self._jsonl
        folder = str(self.path.resolve().parent)
        try:
            for line, values in lines():
                try:
                    yield _row(values, folder, self.options)
                except ValueError as error:
                    raise ValueError(
                        f"`manifest`, line {line}: {error}"
                    ) from None
        except csv.Error as error:
            raise ValueError(
                f'`manifest`: "{self.path}" cannot be read: {error}.'
            ) from None

    def _open(self) -> TextIO:
        # What is no UTF-8 may be a file's name nevertheless.
        return open(
            self.path,
            encoding="utf-8-sig",
            errors="surrogateescape",
            newline="",
        )

    def _csv(self) -> Iterator[tuple[int, Mapping[str, Any]]]:
        with self._open() as file:
            reader = csv.DictReader(file, restval="")
            _check_columns(reader.fieldnames or ())
            for values in reader:
                if None in values:
                    raise ValueError(
                        f"`manifest`, line {reader.line_num}: expected "
                        f"{len(reader.fieldnames or ())} cells, received more. "
                        "Put a cell that has commas into quotes."
                    )
                yield reader.line_num, values

    def _jsonl(self) -> Iterator[tuple[int, Mapping[str, Any]]]:
        with self._open() as file:
            for number, line in enumerate(file, 1):
                if not line.strip():
                    continue
                try:
                    values = json.loads(line)
                except ValueError as error:
                    where = getattr(error, "colno", 1)
                    raise ValueError(
                        f"`manifest`, line {number}: no JSON from character "
                        f"{where} on. Give an object, as "
                        '{"content": "a.jpg", "style": "b.jpg"}.'
                    ) from None
                if not isinstance(values, dict):
                    raise ValueError(
                        f"`manifest`, line {number}: expected an object of "
                        "options."
                    )
                _check_columns(values)
                yield number, values


def files(patterns: Patterns, argument: str, besides: Path) -> list[str]:
    """The files of patterns, folders and paths, sorted; each once.

    Args:
      patterns: one or several; `**` looks into folders.
      argument: what the user calls them.
      besides: a folder whose files are left out: that of the outputs.
    """
    if isinstance(patterns, str | os.PathLike):
        patterns = [patterns]
    found: dict[str, None] = {}
    for pattern in patterns:
        matches = _matches(os.path.abspath(pattern))
        own = str(besides.absolute()) + os.sep
        matches = [path for path in matches if not path.startswith(own)]
        if not matches:
            raise ValueError(
                f'`{argument}`: no file is named "{pattern}". Quote a pattern, '
                f"as in --{argument}='photos/*.jpg'."
            )
        found |= dict.fromkeys(matches)
    return list(found)


def _matches(pattern: str) -> list[str]:
    if os.path.isfile(pattern):
        return [pattern]
    if os.path.isdir(pattern):
        paths = sorted(glob.glob(os.path.join(glob.escape(pattern), "*")))
        return [p for p in paths if images.is_picture(p)]
    paths = sorted(glob.glob(pattern, recursive=True))
    return [path for path in paths if os.path.isfile(path)]


def _check_columns(names) -> None:
    for name in names:
        if name not in (*COLUMNS, *OPTIONS):
            raise ValueError(
                f'`manifest`: the column "{name}" is no option.'
                + suggest(name, (*COLUMNS, *OPTIONS))
            )
    for name in COLUMNS:
        if name not in names:
            raise ValueError(
                f"`manifest` should have a column `{name}`; received "
                f"{', '.join(map(str, names)) or 'none'}."
            )


def _row(values: Mapping[str, Any], folder: str, options: Options) -> Row:
    styles = values["style"]
    styles = styles if isinstance(styles, list) else [styles]
    for name, paths in (("content", [values["content"]]), ("style", styles)):
        if not paths or not all(isinstance(p, str) and p for p in paths):
            raise ValueError(f"`{name}` should be a path; received none.")
        for path in paths:
            shown, whole = record.printable(path), os.path.join(folder, path)
            if shown != path and not os.path.isfile(whole):
                raise ValueError(
                    f"`{name}` should be UTF-8, or what a file is called; "
                    f'received "{shown}". Save the manifest as UTF-8.'
                )
    changes = tuple(
        (name, _frozen(value))
        for name, value in values.items()
        if name not in COLUMNS and value not in ("", None)
    )
    return Row(
        os.path.join(folder, values["content"]),
        tuple(os.path.join(folder, style) for style in styles),
        _options(options, changes, folder),
    )


@functools.lru_cache(maxsize=256)
def _options(base: Options, changes: tuple, folder: str) -> Options:
    """Most rows share theirs with the row before."""
    typed: dict[str, Any] = {}
    for name, value in changes:
        boolean = isinstance(OPTIONS[name].default, bool)
        if boolean and isinstance(value, str):
            value = WORDS.get(value.lower(), value)
        typed[name] = value
    return absolute(base.replace(**typed), folder) if typed else base


def absolute(options: Options, folder: str) -> Options:
    """The files that options name, by paths that hold everywhere."""
    paths: dict[str, Any] = {}
    for name, value in options.pictures().items():
        if isinstance(value, tuple):
            given = zip(value, getattr(options, name), strict=True)
            paths[name] = [
                os.path.join(folder, path) if path else word
                for path, word in given
            ]
        else:
            paths[name] = os.path.join(folder, value)
    if options.weights not in WEIGHTS:
        paths["weights"] = os.path.join(folder, options.weights)
    return options.replace(**paths) if paths else options


def _frozen(value: Any) -> Any:
    """A JSON value as something that can be looked up."""
    if isinstance(value, Mapping):
        value = list(value.items())
    if isinstance(value, list | tuple):
        return tuple(_frozen(item) for item in value)
    return value
