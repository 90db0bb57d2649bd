"""A CSV manifest: a table that names image files and their classes, every mistake in it told with its line."""

from __future__ import annotations

import ast
import difflib
import json
import os
import unicodedata
import warnings
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from tlkit.data.csv_table import in_lines, read_cells
from tlkit.data.decoding import COMMON_EXTENSIONS
from tlkit.data.image_listing import is_image, some
from tlkit.errors import UserError, printable

# What a part is called, as a folder or in a table.
PART_NAMES = {"train": "train", "val": "validation", "valid": "validation", "validation": "validation", "test": "test"}

_REQUIRED = {
    "file": ("filename", "file_name", "filepath", "file_path", "path", "image", "image_path", "image_file", "img"),
    "label": ("labels", "class", "classes", "class_name", "category", "categories", "target", "tag", "tags"),
}
_OPTIONAL = {
    "split": ("part", "subset", "set", "partition"),
    "group": ("group_id", "patient", "patient_id", "subject", "subject_id"),
}


class Row(NamedTuple):
    """One image of a manifest."""

    line: int  # in the table, from 1
    path: Path
    name: str  # the path relative to the table's folder, the same on every system
    classes: tuple[str, ...]
    part: str | None  # a value of PART_NAMES; None when the table does not tell
    group: str | None


class Manifest(NamedTuple):
    """The rows of a table in its order, the class names sorted, and whether a row may have any number of them."""

    rows: list[Row]
    class_names: list[str]
    multi_label: bool


def read_manifest(table: Path) -> Manifest:
    """Read a table of images; `split_image_folder` says what may stand in it.

    Raises:
        UserError: When the table is not as described there; the lines are named.
    """
    cells = read_cells(table, required=_REQUIRED, optional=_OPTIONAL)
    labels, multi_label = _labels(table, cells)
    class_names = _class_names(table, labels)
    files, parts = _files(table, cells), read_parts(table, cells)
    rows = [
        Row(line, path, name, classes, part, row.get("group") or None)
        for (line, row), (path, name), classes, part in zip(cells, files, labels, parts, strict=True)
    ]
    _refuse_repeated(table, rows)
    _check_classes_of_parts(table, rows, class_names)
    return Manifest(rows, class_names, multi_label)


_Cells = list[tuple[int, dict[str, str]]]


def _refuse(table: Path, lines: list[int], what: str) -> None:
    """Raise an error about these lines, when there are any."""
    if lines:
        raise UserError(f"{table}, {in_lines(lines)}: {what}")


# Labels -------------------------------------------------------------------------------------------


def _labels(table: Path, cells: _Cells) -> tuple[list[tuple[str, ...]], bool]:
    """The class names of every row, and whether the table is multi-label: a row has several, or explicitly none."""
    labels = [_parse_label(table, line, row["label"]) for line, row in cells]
    multi_label = any(names is not None and len(names) != 1 for names in labels)
    if not multi_label:
        _refuse(
            table,
            [line for (line, _), names in zip(cells, labels, strict=True) if names is None],
            "the label is empty. Write the class there or remove the row; in multi-label data, where an image may show "
            "none of the classes, write [].",
        )
    return [names or () for names in labels], multi_label


def _parse_label(table: Path, line: int, cell: str) -> tuple[str, ...] | None:
    """The names in a label cell, sorted; `()` for the explicit `[]`, and None for an empty cell."""
    if not cell:
        return None
    if not cell.startswith("["):
        names = [name for name in cell.replace(";", "|").split("|") if name.strip()]
        return _spelled(names) or None
    found = _parse_list(cell)
    names = [str(name) for name in found if type(name) in (str, int)] if isinstance(found, list) else []
    if not isinstance(found, list) or len(names) < len(found) or not all(map(str.strip, names)):
        raise UserError(
            f"{table}, line {line}: the label {printable(cell)} begins like a list and is none of names. Expected "
            '["ant", "bee"], or ant|bee.'
        )
    return _spelled(names)


def _parse_list(cell: str) -> object:
    """JSON, or a list as Python prints it, which is what pandas writes: `['ant', 'bee']`."""
    try:
        return json.loads(cell)
    except ValueError:
        pass
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SyntaxWarning)  # about a backslash in a name
            return ast.literal_eval(cell)
    except (ValueError, SyntaxError, RecursionError):
        return None


def _spelled(names: list[str]) -> tuple[str, ...]:
    """Without stray spaces, and composed: a file from macOS may spell "ü" as two characters."""
    return tuple(sorted({unicodedata.normalize("NFC", name.strip()) for name in names}))


def _class_names(table: Path, labels: list[tuple[str, ...]]) -> list[str]:
    counts = Counter(name for names in labels for name in names)
    if len(counts) < 2:
        found = f"only the one class {next(iter(counts))!r}" if counts else "no class"
        raise UserError(
            f"{table} has {found} in its column 'label'. Expected at least two; what shows none can be a class, too."
        )
    spellings: dict[str, list[str]] = {}
    for name in sorted(counts):
        spellings.setdefault(name.casefold(), []).append(f"{name!r} ({counts[name]} x)")
    alike = [" and ".join(names) for names in spellings.values() if len(names) > 1]
    if alike:
        warnings.warn(
            f"{table}: classes that differ only in upper and lower case count as different ones: {'; '.join(alike)}. "
            "If they are the same, write them alike.",
            stacklevel=5,
        )
    return sorted(counts)


# Files --------------------------------------------------------------------------------------------


def _files(table: Path, cells: _Cells) -> list[tuple[Path, str]]:
    """The path of every row and its name relative to the table's folder."""
    _refuse(table, [line for line, row in cells if not row["file"]], "no file is named. Name it or remove the row.")
    paths = [table.parent / row["file"] for _, row in cells]
    gone = [(line, row["file"]) for (line, row), path in zip(cells, paths, strict=True) if not os.path.isfile(path)]
    _explain_gone(table, gone)
    unknown = [(line, path.suffix) for (line, _), path in zip(cells, paths, strict=True) if not is_image(path)]
    _refuse(
        table,
        [line for line, _ in unknown],
        f"{unknown[0][1] or 'no extension' if unknown else ''} is not an extension of images that are read "
        f"({COMMON_EXTENSIONS} ...). Convert the files or remove the rows.",
    )
    root = os.path.abspath(table.parent)
    return [(path, _name(root, row["file"])) for (_, row), path in zip(cells, paths, strict=True)]


def _explain_gone(table: Path, gone: list[tuple[int, str]]) -> None:
    folders = [line for line, cell in gone if os.path.isdir(table.parent / cell)]
    _refuse(table, folders, "this is a folder. Expected one row for each image file.")
    backslashes = [(line, cell) for line, cell in gone if "\\" in cell]
    if backslashes:
        cell = backslashes[0][1]
        _refuse(
            table,
            [line for line, _ in backslashes],
            f"the path {cell!r} is written with backslashes. Write {cell.replace(chr(92), '/')!r}, which works "
            "everywhere.",
        )
    if gone:
        named = some([f"{cell} in line {line}" for line, cell in gone], "file")
        raise UserError(
            f"{table} names {named} that {'do' if len(gone) > 1 else 'does'} not exist. Expected paths relative to the "
            f"table's folder, {table.parent.absolute()}."
        )


def _name(root: str, cell: str) -> str:
    """The path relative to `root` when below it, and else from the top: one name for one place, on every system."""
    place = os.path.normpath(os.path.join(root, cell))
    return place.removeprefix(os.path.join(root, "")).replace(os.sep, "/")


def _refuse_repeated(table: Path, rows: list[Row]) -> None:
    first: dict[str, Row] = {}
    for row in rows:
        other = first.setdefault(row.name, row)
        if other is row:
            continue
        if other.classes == row.classes:
            what = f"{printable(row.name)} is named twice. Remove one of the rows."
        else:
            ours, theirs = ("|".join(names) or "[]" for names in (row.classes, other.classes))
            what = (
                f"{printable(row.name)} is named twice, as {theirs} and as {ours}. Keep one row for each image; when "
                f"it shows both classes, label it {'|'.join(sorted({*row.classes, *other.classes}))}."
            )
        _refuse(table, [other.line, row.line], what)


# Parts --------------------------------------------------------------------------------------------


def read_parts(table: Path, cells: _Cells) -> list[str | None]:
    """The part that the column `split` gives every row; None for each where there is none."""
    values = [row.get("split", "").lower() for _, row in cells]
    if not any(values):
        return [None] * len(cells)
    _refuse(
        table,
        [line for (line, _), value in zip(cells, values, strict=True) if not value],
        "the split is empty while other rows have one. Fill it in everywhere, or remove the column.",
    )
    for (line, row), value in zip(cells, values, strict=True):
        if value not in PART_NAMES:
            close = difflib.get_close_matches(value, PART_NAMES, n=1)
            hint = f"Did you mean {close[0]!r}?" if close else "Expected train, val or test."
            raise UserError(f"{table}, line {line}: the split {row['split']!r} is none. {hint}")
    parts = [PART_NAMES[value] for value in values]
    if "train" not in parts:
        raise UserError(f"{table} has the split {values[0]!r} but no 'train'. Expected the training images, too.")
    return list(parts)


def _check_classes_of_parts(table: Path, rows: list[Row], class_names: list[str]) -> None:
    """A class that is in another part and not in train cannot be learned; one that is only in train is not judged."""
    for part in ("train", "validation", "test"):
        present = {name for row in rows if row.part == part for name in row.classes}
        lacking = [name for name in class_names if name not in present]
        if not lacking or not any(row.part == part for row in rows):
            continue
        if part == "train":
            lines = [row.line for row in rows if lacking[0] in row.classes]
            what = f"the class {lacking[0]!r} has no image in the split 'train'. Move some there, or remove the rows."
            _refuse(table, lines, what)
        else:
            named = some([repr(name) for name in lacking], "class name")
            warnings.warn(f"{table}: no image in the split {part!r} has {named}: not judged there.", stacklevel=5)
