"""Texts one after the other, labelled or not: what a model shall predict."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tlkit.data.texts.listing import list_texts
from tlkit.data.texts.tables import TABLE_EXTENSIONS, Document, Record, Source
from tlkit.data.texts.text_files import encoding_problem, open_text_file
from tlkit.errors import UserError


def iterate_texts(source: str | Path, *, text_column: str = "text") -> Iterator[str]:
    """Read the texts of a table, a folder or a `.txt` file in order, one at a time; nothing else stays in memory.

    Labels are not needed. Empty texts come as they are. `iterate_rows` gives the other columns, too.

    Args:
        source: A table or folder as `split_texts` takes it, or a `.txt` file, which is one text.
        text_column: The column, or the key, of the texts.

    Raises:
        UserError: When there is no such file, or a row cannot be read, naming the line. Texts before it have come.

    Example:
        >>> next(iterate_texts("messages.csv"))
        'Where is my parcel with number 0?'
    """
    for each in sources_of(Path(source), text_column):
        for record in readable_records(each):
            yield record.text


def sources_of(path: Path, text_column: str) -> list[Source]:
    """The files of a source without labels, opened."""
    if not path.exists():
        raise UserError(
            f"There is no file or folder {path}: give a .txt file, which is one text, a table "
            f"({', '.join(TABLE_EXTENSIONS)}) with the column {text_column!r}, or a folder of these."
        )
    if path.is_file() and path.suffix.lower() == ".txt":
        return [Document(open_text_file(path), None)]
    return list_texts(path, text_column=text_column, label_column="label", needs_label=False).sources


def readable_records(source: Source) -> Iterator[Record]:
    """The records of a file; raises `UserError` at the first that cannot be read."""
    for record in source.records():
        problem = record.problem
        try:
            record.text.encode()
        except UnicodeEncodeError:
            problem = encoding_problem(record.text, not isinstance(source, Document))
        if problem:
            raise UserError(f"{source.file.path}, line {record.line}: {problem.rstrip('.')}.")
        yield record
