"""The first line of a table: what the columns are called, and what separates the cells."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator, Sequence
from itertools import dropwhile, islice

from tlkit.data.texts.text_files import TextFile
from tlkit.errors import UserError

DELIMITERS = {",": "commas", "\t": "tabs", ";": "semicolons", "|": "vertical bars"}
EXAMPLE = '{"text": "Where is my parcel?", "label": "order"}'
_SEPARATOR = re.compile(r'"?sep=(?P<mark>[,;\t|])"?', re.IGNORECASE)  # Excel's, sometimes as a quoted cell


class CountedLines:
    """The lines of a file, and how many bytes and lines were taken: `csv.reader` takes no more than a row needs."""

    def __init__(self, file: TextFile) -> None:
        self.place, self.number = file.start, 0
        self._lines = file.lines()

    def __iter__(self) -> CountedLines:
        return self

    def __next__(self) -> str:
        line, size = next(self._lines)
        self.place += size
        self.number += 1
        return line


def read_csv_names(file: TextFile, wanted: Sequence[str]) -> tuple[list[str], str, int]:
    """The names in the first line that holds something, what separates them, and how many rows are not data.

    Above the names may be Excel's line `sep=;`, which says what separates the cells.

    Raises:
        UserError: When there is no such line.
    """
    lines = (line for line, _ in file.lines() if line.strip())
    first = next(lines, "")
    given = _SEPARATOR.fullmatch(first.rstrip("\r\n"))
    first, num_head = (next(lines, ""), 2) if given else (first, 1)
    if not first:
        raise UserError(f"{file.path} is empty. Expected a first line such as '{','.join(wanted)}' and rows below it.")
    if "\r" in first.rstrip("\r\n"):
        raise UserError(
            f"{file.path} ends its lines with a carriage return alone, as old Macs did. Save it with line ends of "
            "Unix or Windows."
        )
    marks = given["mark"] if given else ",\t;"
    names = {mark: next(row for row in csv.reader(_below(file, num_head), delimiter=mark) if row) for mark in marks}

    def score(mark: str) -> tuple[int, int]:
        return len({name.strip().lower() for name in names[mark]} & {name.lower() for name in wanted}), len(names[mark])

    best = max(names, key=score)
    if len(names[best]) == 1 and "|" in first and not given:
        raise UserError(
            f"{file.path} is separated by vertical bars (|). Expected commas, tabs or semicolons: write it with one "
            "of these, in pandas with read_csv(..., sep='|') and to_csv(index=False)."
        )
    return [name.strip() for name in names[best]], best, num_head


def _below(file: TextFile, num_head: int) -> Iterator[str]:
    """The lines from that of the names on."""
    lines = (line for line, _ in file.lines())
    return islice(dropwhile(lambda line: not line.strip(), lines), num_head - 1, None)


def read_json_names(file: TextFile) -> list[str]:
    """The keys of the first object.

    Raises:
        UserError: When the file does not begin with one.
    """
    line = next((line for line, _ in file.lines() if line.strip()), "").strip()
    if not line:
        raise UserError(f"{file.path} is empty. Expected one JSON object in each line, such as {EXAMPLE}.")
    try:
        row = json.loads(line)
    except ValueError:
        row = None
    if isinstance(row, dict):
        return list(row)
    if line.startswith("["):
        raise UserError(
            f"{file.path} is a JSON array. Expected one object in each line, such as {EXAMPLE}: in pandas, "
            "read_json(...) and to_json(..., orient='records', lines=True)."
        )
    raise UserError(f"{file.path} does not begin with a JSON object in one line. Expected one such as {EXAMPLE}.")
