"""A table written row by row, whole or not at all."""

from __future__ import annotations

import csv
import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from tlkit.data.texts.text_files import encoding_problem
from tlkit.errors import UserError, printable


def write_rows(file: str | Path, columns: Sequence[str], rows: Iterable[Mapping[str, str]]) -> int:
    """Write a CSV table in UTF-8 while its rows come; no more than one is in memory.

    The file appears when the last row is written. Whatever goes wrong before, an old file of that name stays as it was.

    Args:
        file: Where to write; its name ends in `.csv`. An old file is replaced.
        columns: Their names, in order; no two alike.
        rows: Cells by column; one that is missing is left empty.

    Returns:
        How many rows were written.

    Raises:
        UserError: When the file cannot be written, or a cell holds what is no text.

    Example:
        >>> write_rows("said.csv", ["text", "predicted"], [{"text": "Hello, you", "predicted": "greeting"}])
        1
        >>> print(Path("said.csv").read_text(), end="")
        text,predicted
        "Hello, you",greeting
    """
    path = Path(file)
    _check(path, columns)
    try:
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}-") as folder:
            unfinished = Path(folder) / path.name
            with unfinished.open("w", encoding="utf-8", newline="") as opened:
                number = _write(csv.DictWriter(opened, columns, restval="", lineterminator="\n"), rows)
            os.replace(unfinished, path)
    except OSError as error:
        raise UserError(
            f"{printable(path)} cannot be written: {error.strerror or error}. Expected a name on a disk with room, in "
            "a folder that you may write to."
        ) from error
    return number


def _check(path: Path, columns: Sequence[str]) -> None:
    if path.suffix.lower() != ".csv":
        raise UserError(f"{printable(path)} is no name for a CSV table. Expected one that ends in .csv.")
    if not path.parent.is_dir():
        raise UserError(f"There is no folder {printable(path.parent)} to write {printable(path.name)} into: make it.")
    twice = next((name for name in columns if list(columns).count(name) > 1), None)
    if twice is not None:
        raise UserError(
            f"{printable(path)} would have two columns {printable(twice)!r}. Expected names that differ: rename the "
            "column in the table that is read."
        )


def _write(table: csv.DictWriter[str], rows: Iterable[Mapping[str, str]]) -> int:
    number = 0
    table.writeheader()
    for number, row in enumerate(rows, start=1):
        try:
            table.writerow(row)
        except UnicodeEncodeError:
            name, problem = next((name, said) for name, cell in row.items() if (said := encoding_problem(cell)))
            raise UserError(f"Row {number}, in the column {printable(name)!r}: {problem.rstrip('.')}.") from None
    return number
