"""Rows one after the other with all of their columns: what predictions are written beside."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from tlkit.data.texts.iterate_texts import readable_records, sources_of
from tlkit.data.texts.tables import CsvTable, Document, Source, as_cell


class TextRow(NamedTuple):
    """A text and what stands beside it.

    Attributes:
        text: The text.
        cells: Every cell by the name of its column, that of the text, too. Of a file that is one text, only that.
    """

    text: str
    cells: dict[str, str]


def iterate_rows(source: str | Path, *, text_column: str = "text") -> Iterator[TextRow]:
    """Read texts as `iterate_texts` does, each with all cells of its row; nothing else stays in memory.

    Of two columns of the same name the second is called `name.1`, as pandas does. A value in JSON lines that is no
    string is written as JSON, and null is an empty cell.

    Args:
        source: A table, a folder, or a `.txt` file, which is one text.
        text_column: The column, or the key, of the texts.

    Raises:
        UserError: When there is no such file, or a row cannot be read, naming the line. Rows before it have come.

    Example:
        >>> row = next(iterate_rows("messages.csv"))
        >>> row.text, row.cells["label"]
        ('Where is my parcel with number 0?', 'order')
    """
    for each in sources_of(Path(source), text_column):
        names = _distinct(each.names) if isinstance(each, CsvTable) else []
        for record in readable_records(each):
            if isinstance(each, CsvTable):
                cells = dict(zip(names, record.cells, strict=True))
            elif isinstance(each, Document):
                cells = {text_column: record.text}
            else:
                cells = {name: as_cell(value) for name, value in record.cells.items()}
            yield TextRow(record.text, cells)


def list_columns(source: str | Path, *, text_column: str = "text") -> list[str]:
    """The names of all columns that `iterate_rows` gives of a source, in order.

    Of CSV only the first line is read; JSON lines are read once, for any line may have a key that no other has.

    Args:
        source: As in `iterate_rows`.
        text_column: As in `iterate_rows`.

    Raises:
        UserError: When there is no such file, or no such column.

    Example:
        >>> list_columns("messages.csv")
        ['text', 'label']
    """
    sources = sources_of(Path(source), text_column)
    return list(dict.fromkeys(name for each in sources for name in _names(each, text_column)))


def _names(source: Source, text_column: str) -> list[str]:
    if isinstance(source, CsvTable):
        return _distinct(source.names)
    if isinstance(source, Document):
        return [text_column]
    names: dict[str, None] = {}
    for line, _ in source.file.lines():
        try:
            row = json.loads(line)
        except ValueError:  # told with its line when the rows are read
            continue
        names |= dict.fromkeys(row) if isinstance(row, dict) else {}
    return list(names)


def _distinct(names: Sequence[str]) -> list[str]:
    """Names by which all columns can be told apart."""
    found: list[str] = []
    for name in names:
        number, distinct = 0, name
        while distinct in found or (number and distinct in names):
            number += 1
            distinct = f"{name}.{number}"
        found.append(distinct)
    return found
