"""The cells of a CSV table by column, each row with its line: what every table of examples is read with."""

from __future__ import annotations

import csv
import difflib
import tarfile
import warnings
import zipfile
from collections.abc import Collection, Mapping
from pathlib import Path

from tlkit.data.decoding import IMAGE_EXTENSIONS
from tlkit.errors import UserError


def read_cells(
    table: Path, *, required: Mapping[str, tuple[str, ...]], optional: Mapping[str, tuple[str, ...]]
) -> list[tuple[int, dict[str, str]]]:
    """Each row as (line, cells by column), without the spaces around a cell; rows of nothing but empty cells are none.

    The first line names the columns, in any order and case; others than the known ones are passed over. Cells are
    separated by commas, tabs or semicolons, whichever the first line has; the text is UTF-8.

    Args:
        table: The file.
        required: Column -> what other tools call it: suggested when it is missing, never guessed.
        optional: The same for columns that may be missing; one that seems to be meant is warned about.

    Raises:
        UserError: When the file is no such table, naming the line.
    """
    rows = _read_rows(table, required)
    if not rows:
        raise UserError(f"{table} is empty. Expected a first line such as {','.join(required)!r}.")
    header = rows[0][1]
    places = _columns(table, header, required, optional)
    if len(rows) == 1:
        raise UserError(f"{table} has no row below its first line. Expected one for each image.")
    wrong = [(line, len(row)) for line, row in rows[1:] if len(row) != len(header)]
    if wrong:
        number = wrong[0][1]
        raise UserError(
            f"{table}, {in_lines([line for line, _ in wrong])}: {number} cell{'s' if number > 1 else ''} where the "
            f"first line has {len(header)}. Complete the row, or put a cell that holds the separator in double quotes."
        )
    return [(line, {name: row[place].strip() for name, place in places.items()}) for line, row in rows[1:]]


def in_lines(lines: list[int]) -> str:
    """Where something is: "line 3", "lines 3, 4 and 7", "lines 3, 4, 7 and 12 more"."""
    if len(lines) == 1:
        return f"line {lines[0]}"
    shown, last = (lines[:3], f"{len(lines) - 3} more") if len(lines) > 3 else (lines[:-1], str(lines[-1]))
    return f"lines {', '.join(map(str, shown))} and {last}"


def _read_rows(table: Path, required: Collection[str]) -> list[tuple[int, list[str]]]:
    """All rows that hold something, the header first, each with the number of its first line."""
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:
            header = next((line for line in file if line.strip()), "")
            file.seek(0)
            reader = csv.reader(file, delimiter=_delimiter(header, required), strict=True)
            rows, first = [], 1
            for row in reader:
                if any(cell.strip() for cell in row):
                    rows.append((first, row))
                first = reader.line_num + 1  # a quoted cell may go over several lines
            return rows
    except UnicodeDecodeError:
        if zipfile.is_zipfile(table) or tarfile.is_tarfile(table):
            raise UserError(f"{table} is an archive. Unpack it, and name the folder or the table in it.") from None
        if table.suffix.lower() in IMAGE_EXTENSIONS:
            raise UserError(
                f"{table} is an image, not a table. Expected a folder of images for each class, or a CSV table that "
                "names files and labels."
            ) from None
        raise UserError(
            f"{table}, line {_first_not_utf8(table)}: this is not UTF-8 text. Expected a CSV table; save it as 'CSV "
            "UTF-8' (Excel) or with the character set UTF-8."
        ) from None
    except csv.Error as error:
        raise UserError(
            f"{table} is not readable as CSV ({error}): look for a double quote without its pair."
        ) from error
    except OSError as error:
        raise UserError(f"{table} cannot be read ({error.strerror}): check that the file may be read.") from error


def _first_not_utf8(table: Path) -> int:
    with table.open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError:
                return number
    return 1  # UTF-16 and the like, where a line's end is no byte of its own


def _delimiter(header: str, required: Collection[str]) -> str:
    """Comma, tab or semicolon, whichever makes most of the required columns of the first line, or else most columns."""

    def score(delimiter: str) -> tuple[int, int]:
        names = [name.strip().lower() for name in next(csv.reader([header], delimiter=delimiter), [])]
        return len({*names} & {*required}), len(names)

    return max(",\t;", key=score)


def _columns(
    table: Path,
    header: list[str],
    required: Mapping[str, tuple[str, ...]],
    optional: Mapping[str, tuple[str, ...]],
) -> dict[str, int]:
    """Column -> its place, for the known ones."""
    names = [name.strip().lower() for name in header]
    has = f"Its first line names {', '.join(repr(name.strip()) for name in header)}"
    for name, others in {**required, **optional}.items():
        if names.count(name) > 1:
            raise UserError(f"{table} has two columns {name!r}: keep one of them.")
        if name in names:
            continue
        near = [header[place].strip() for place, found in enumerate(names) if _means(found, name, others)]
        if name in required:
            hint = f"did you mean {near[0]!r}? Rename it" if near else f"expected one such as {','.join(required)!r}"
            raise UserError(f"{table} has no column {name!r}. {has}: {hint}.")
        if near:
            warnings.warn(
                f"{table}: the column {near[0]!r} is not used; if it is the {name} of each image, name it {name!r}.",
                stacklevel=6,
            )
    return {name: names.index(name) for name in (*required, *optional) if name in names}


def _means(found: str, name: str, others: tuple[str, ...]) -> bool:
    return found in others or bool(difflib.get_close_matches(found, [name], cutoff=0.8))
