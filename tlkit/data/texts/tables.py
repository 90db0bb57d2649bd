"""The records of one file: rows of CSV or JSON lines, each with its place, or a whole file that is one text."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tlkit.data.texts.columns import Columns, find_columns
from tlkit.data.texts.first_line import DELIMITERS, EXAMPLE, CountedLines, read_csv_names, read_json_names
from tlkit.data.texts.text_files import LONGEST_LINE, TextFile, open_text_file
from tlkit.errors import printable

CSV_EXTENSIONS = (".csv", ".tsv")
JSON_EXTENSIONS = (".jsonl", ".ndjson")
TABLE_EXTENSIONS = (*CSV_EXTENSIONS, *JSON_EXTENSIONS)
LONGEST_CELL = 2**24  # characters: what is longer is the rest of a file after a double quote without its pair


class Record(NamedTuple):
    """One row: its place, and what it holds, or why it cannot be read.

    Attributes:
        offset: Byte where it begins.
        size: Bytes it takes.
        line: Number of its first line, from 1.
        text: The cell of the text, as it stands there.
        label: The cell of the label; None where there is no such column.
        part: The cell of the split.
        group: The cell of the group.
        problem: A sentence about why it cannot be used; it begins alike for the same kind of problem.
        num_lines: Lines it takes.
        cells: All of the row as it was read: of CSV a list, of JSON lines an object. None where it cannot be used.
    """

    offset: int
    size: int
    line: int
    text: str = ""
    label: str | None = None
    part: str = ""
    group: str = ""
    problem: str = ""
    num_lines: int = 1
    cells: Any = None


class Document(NamedTuple):
    """A file that is one text, labelled by its folder."""

    file: TextFile
    label: str | None
    columns: Columns = Columns(None, None, None, None)

    def records(self) -> Iterator[Record]:
        """The one record."""
        size = self.file.state[0] - self.file.start
        if size > LONGEST_LINE:
            problem = f"longer than {LONGEST_LINE // 2**20} MB, of which a network sees the beginning. Cut it to a part"
            yield Record(self.file.start, 0, 1, problem=problem)
            return
        yield Record(self.file.start, size, 1, self.text_of(_read(self.file, self.file.start, size)), self.label)

    def text_of(self, content: bytes) -> str:
        """The text of a record's bytes."""
        return self.file.decode(content)


class CsvTable(NamedTuple):
    """A table with a first line that names the columns; of `num_head` rows the last is that line."""

    file: TextFile
    columns: Columns
    delimiter: str
    names: list[str]
    num_head: int

    def records(self) -> Iterator[Record]:
        """Every row below the names; rows of nothing but empty cells are none."""
        csv.field_size_limit(LONGEST_CELL)
        lines = CountedLines(self.file)
        reader = csv.reader(lines, delimiter=self.delimiter, strict=True)
        text, label, part, group = self.columns
        num_passed, end, last = 0, lines.place, 0
        while True:
            offset, line = end, last + 1
            problem, row = "", list[str]()
            try:
                row = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                problem = _quotes(error, self.delimiter)
            end, last = lines.place, lines.number
            if not problem and not any(map(str.strip, row)):
                continue
            if num_passed < self.num_head:
                num_passed += 1
                continue
            place = (offset, end - offset, line)
            if not problem and len(row) != len(self.names):
                problem = _wrong_cells(row, len(self.names), self.delimiter)
            if problem:
                yield Record(*place, problem=problem, num_lines=last - line + 1)
                continue
            yield Record(
                *place,
                row[text],
                None if label is None else row[label],
                "" if part is None else row[part],
                "" if group is None else row[group],
                cells=row,
            )

    def text_of(self, content: bytes) -> str:
        """The text of a record's bytes."""
        csv.field_size_limit(LONGEST_CELL)
        lines = io.StringIO(self.file.decode(content), newline="\n")
        rows = csv.reader(lines, delimiter=self.delimiter, strict=True)
        text: str = next(row for row in rows if row)[self.columns.text]
        return text


class JsonTable(NamedTuple):
    """One JSON object in each line."""

    file: TextFile
    columns: Columns

    def records(self) -> Iterator[Record]:
        """Every line that holds something."""
        offset = self.file.start
        text, label, part, group = self.columns
        for number, (line, size) in enumerate(self.file.lines(), start=1):
            place = (offset, size, number)
            offset += size
            if line.isspace():
                continue
            try:
                row = json.loads(line)
            except ValueError as error:
                yield Record(*place, problem=f"no JSON object ({error}). Expected one object in each line")
                continue
            if not isinstance(row, dict):
                yield Record(*place, problem=f"JSON, but no object. Expected one such as {EXAMPLE}")
                continue
            found, problem = row.get(text), ""
            if found is not None and not isinstance(found, str):
                problem = f"the text is {_json_type(found)}. Expected a string in double quotes"
            cells = {name: row.get(name) for name in (label, part, group) if name is not None}
            odd = next((name for name, cell in cells.items() if isinstance(cell, (list, dict, float))), None)
            if odd is not None and not problem:
                problem = f"the {printable(odd)} is {_json_type(cells[odd])}. Expected one name, a string"
            if problem:
                yield Record(*place, problem=problem)
                continue
            yield Record(
                *place,
                found or "",
                None if label is None else as_cell(cells[label]),
                "" if part is None else as_cell(cells[part]),
                "" if group is None else as_cell(cells[group]),
                cells=row,
            )

    def text_of(self, content: bytes) -> str:
        """The text of a record's bytes."""
        text: str = json.loads(self.file.decode(content))[self.columns.text]
        return text


Source = Document | CsvTable | JsonTable


def open_table(path: Path, *, text_column: str, label_column: str, needs_label: bool) -> CsvTable | JsonTable:
    """Find the columns of a table.

    Args:
        path: The file.
        text_column: The column of the texts.
        label_column: The column of the labels.
        needs_label: Whether to refuse a table without the latter.

    Raises:
        UserError: When it is no such table.
    """
    file = open_text_file(path)
    if path.suffix.lower() in JSON_EXTENSIONS:
        names = read_json_names(file)
        columns = find_columns(path, names, text_column, label_column, needs_label)
        return JsonTable(file, Columns(*(None if place is None else names[place] for place in columns)))
    header, delimiter, num_head = read_csv_names(file, (text_column, label_column))
    columns = find_columns(path, header, text_column, label_column, needs_label)
    return CsvTable(file, columns, delimiter, header, num_head)


def _read(file: TextFile, offset: int, size: int) -> bytes:
    with file.path.open("rb") as opened:
        opened.seek(offset)
        return opened.read(size)


def _quotes(error: csv.Error, delimiter: str) -> str:
    how = "Look for a double quote without its pair"
    if delimiter == "\t":  # tables of tabs are often written without any quoting
        how += (
            "; where quotes are just letters, write the table anew as CSV (pandas: quoting=3 in read_csv, and to_csv)"
        )
    return f"not readable as CSV ({error}). {how}"


def _wrong_cells(row: Sequence[str], expected: int, delimiter: str) -> str:
    others = {name for mark, name in DELIMITERS.items() if mark != delimiter and mark in "".join(row)}
    if len(row) == 1 and others:
        how = f"Separate them by {DELIMITERS[delimiter]}, as in the first line, not by {' or '.join(sorted(others))}"
    else:
        how = "Complete the row, or put a cell that holds the separator in double quotes"
    return f"{len(row)} cell{'s' if len(row) != 1 else ''} where the first line has {expected}. {how}"


def _json_type(value: object) -> str:
    names = {list: "a list", dict: "an object", float: "a number with a fraction", int: "a number"}
    return names.get(type(value), "no string")


def as_cell(value: object) -> str:
    """What a value of JSON is in a cell of a table."""
    return "" if value is None else value if isinstance(value, str) else json.dumps(value)
