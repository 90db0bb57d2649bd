"""Texts one after the other, labelled or not: what a model shall predict."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tlkit.data.texts.listing import list_texts
from tlkit.data.texts.tables import Document, Source
from tlkit.data.texts.text_files import encoding_problem, open_text_file
from tlkit.errors import UserError


def iterate_texts(source: str | Path, *, text_column: str = "text") -> Iterator[str]:
    """Read the texts of a table, a folder or a `.txt` file in order, one at a time; nothing else stays in memory.

    Labels are not needed. Empty texts come as they are.

    Args:
        source: A table or folder as `split_texts` takes it, or a `.txt` file, which is one text.
        text_column: The column, or the key, of the texts.

    Raises:
        UserError: When there is no such file, or a row cannot be read, naming the line. Texts before it have come.

    Example:
        >>> next(iterate_texts("messages.csv"))
        'Where is my parcel with number 0?'
    """
    for each in _sources(Path(source), text_column):
        for record in each.records():
            problem = record.problem
            try:
                record.text.encode()
            except UnicodeEncodeError:
                problem = encoding_problem(record.text)
            if problem:
                raise UserError(f"{each.file.path}, line {record.line}: {problem.rstrip('.')}.")
            yield record.text


def _sources(path: Path, text_column: str) -> list[Source]:
    if path.is_file() and path.suffix.lower() == ".txt":
        return [Document(open_text_file(path), None)]
    return list_texts(path, text_column=text_column, label_column="label", needs_label=False).sources
