"""One pass over a source of texts: where each row is and what class it has, in arrays, so that memory does not follow.

A row takes 25 bytes here (33 with groups, 12 more for inspection), whatever the length of its text.
"""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import re
import unicodedata
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlkit.data.csv_table import in_lines
from tlkit.data.image_listing import some
from tlkit.data.manifest import PART_NAMES
from tlkit.data.stable_cut import PARTS
from tlkit.data.texts.listing import Listed
from tlkit.data.texts.tables import Record, Source
from tlkit.data.texts.text_files import encoding_problem
from tlkit.errors import UserError, printable

MAX_CLASSES = 10_000  # spellings of labels; a column of more is not one of classes but of numbers, or of the texts
NO_PART = 255
_ROWS_BETWEEN_NEWS = 2000  # to a progress bar


class Problems:
    """The rows that cannot be used: by file and sentence, the lines and the first one's details."""

    def __init__(self) -> None:
        self.lines: dict[tuple[int, str], array[int]] = {}
        self.first: dict[tuple[int, str], str] = {}

    def add(self, file: int, record: Record, problem: str) -> None:
        """Note a row. Problems whose first sentence is the same but for numbers and brackets are of a kind."""
        key = (file, re.sub(r"\(.*\)|0x\w\w|\d+", "", problem).partition(". ")[0])
        self.lines.setdefault(key, array("Q")).extend(range(record.line, record.line + record.num_lines))
        self.first.setdefault(key, problem)

    def __len__(self) -> int:
        return sum(map(len, self.lines.values()))

    def sentences(self, listed: Listed) -> list[str]:
        """Each kind of problem in each table, or in all text files, with its first lines or names."""
        if listed.is_table:
            return [
                f"{printable(listed.sources[file].file.path)}, {in_lines([*lines])}: {self.first[file, kind]}"
                for (file, kind), lines in self.lines.items()
            ]
        kinds: dict[str, list[int]] = {}
        for file, kind in self.lines:
            kinds.setdefault(kind, []).append(file)
        return [
            f"{some([str(listed.sources[file].file.path) for file in files], 'file')}: {self.first[files[0], kind]}"
            for kind, files in kinds.items()
        ]


@dataclasses.dataclass(frozen=True, eq=False)
class Scan:
    """What a pass over the rows has found; one entry for each row that can be used, in the order of the files.

    Args:
        listed: The files.
        starts: Number of the first row of each file.
        offsets: Byte in its file where a row begins.
        sizes: Bytes it takes.
        labels: Class numbers; -1 for those that are not told.
        parts: Number of the given part, or NO_PART.
        hashes: 64 bits for each normalised text.
        keys: The same of its group where it has one; None without groups.
        lengths: Characters and words, `(rows, 2)`, when inspecting.
        lines: Number of each row's first line, when inspecting.
        class_names: By number.
        problems: The other rows.
        stray_spaces: Rows whose label has spaces around it.
    """

    listed: Listed
    starts: NDArray[np.int64]
    offsets: NDArray[np.int64]
    sizes: NDArray[np.uint32]
    labels: NDArray[np.int32]
    parts: NDArray[np.uint8]
    hashes: NDArray[np.uint64]
    keys: NDArray[np.uint64] | None
    lengths: NDArray[np.uint32] | None
    lines: NDArray[np.uint32] | None
    class_names: list[str]
    problems: Problems
    stray_spaces: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.offsets)

    def files_of(self, rows: NDArray[Any]) -> NDArray[np.int64]:
        """The number of each row's file."""
        return np.searchsorted(self.starts, rows, side="right") - 1

    def places(self, rows: Sequence[int]) -> list[str]:
        """Where rows are, in words: "messages.csv, line 12", or the path of a text file below the common folder."""
        files = self.files_of(np.asarray(rows, np.int64)).tolist()
        if not self.listed.is_table:
            return [printable("/".join(self.listed.sources[file].file.path.parts[-2:])) for file in files]
        if self.lines is not None:
            numbers = self.lines[np.asarray(rows, np.int64)].tolist()
        else:
            numbers = self._line_numbers(rows, files)
        names = [printable(self.listed.sources[file].file.path.name) for file in files]
        return [f"{name}, line {number}" for name, number in zip(names, numbers, strict=True)]

    def _line_numbers(self, rows: Sequence[int], files: Sequence[int]) -> list[int]:
        """By a pass over the files."""
        wanted: dict[int, list[int]] = {}
        for row, file in zip(rows, files, strict=True):
            wanted.setdefault(file, []).append(int(self.offsets[row]))
        lines = {file: self.listed.sources[file].file.line_numbers(offsets) for file, offsets in wanted.items()}
        return [lines[file][int(self.offsets[row])] for row, file in zip(rows, files, strict=True)]


def normalised(text: str) -> str:
    """A text as it is compared: composed (NFC), without upper case, spaces and line ends alike."""
    return " ".join(unicodedata.normalize("NFC", text).casefold().split())


def hash_text(text: str) -> int:
    """The first 8 bytes of SHA-256 of the normalised text; raises UnicodeEncodeError for what is no text."""
    return int.from_bytes(hashlib.sha256(normalised(text).encode()).digest()[:8], "big")


def scan_rows(
    listed: Listed,
    *,
    needs_label: bool = True,
    with_lengths: bool = False,
    look: Callable[[int, Record], None] | None = None,
    advance: Callable[[int], None] | None = None,
) -> Scan:
    """Read every row once.

    Args:
        listed: The files.
        needs_label: Whether an empty label is a problem.
        with_lengths: Keep the numbers of characters, words and lines, as inspection does.
        look: Called with the number and the record of each row that can be used.
        advance: Told how many more bytes were read.

    Raises:
        UserError: When the split of a row is none, or there are far too many classes.
    """
    columns = _Columns(with_lengths, any(source.columns.group is not None for source in listed.sources))
    labels, problems, starts = dict[str, int](), Problems(), list[int]()
    for file, (source, part) in enumerate(zip(listed.sources, listed.parts, strict=True)):
        starts.append(len(columns.offsets))
        done = 0
        for record in source.records():
            problem = record.problem or _why_unusable(record, needs_label)
            if not problem:
                try:
                    columns.add(record, _label_number(record.label, labels, source), _part(record, part, source))
                    if look:
                        look(len(columns.offsets) - 1, record)
                except UnicodeEncodeError:
                    problem = encoding_problem(record.text, listed.is_table)
                    problem = problem or encoding_problem(record.label or "", listed.is_table)
            if problem:
                problems.add(file, record, problem)
            if advance and (record.line % _ROWS_BETWEEN_NEWS == 0):
                advance(record.offset - done)
                done = record.offset
        if advance:
            advance(source.file.state[0] - done)
    return _arranged(listed, starts, columns, labels, problems)


class _Columns:
    """Growing arrays, a number for each row."""

    def __init__(self, with_lengths: bool, with_keys: bool) -> None:
        self.offsets, self.sizes, self.labels = array("q"), array("I"), array("i")
        self.parts, self.hashes = array("B"), array("Q")
        self.keys = array("Q") if with_keys else None
        self.lengths = array("I") if with_lengths else None
        self.lines = array("I") if with_lengths else None

    def add(self, record: Record, label: int, part: int) -> None:
        words = unicodedata.normalize("NFC", record.text).casefold().split()
        number = int.from_bytes(hashlib.sha256(" ".join(words).encode()).digest()[:8], "big")
        if self.keys is not None:
            self.keys.append(hash_text(f"group {record.group}") if record.group.strip() else number)
        self.hashes.append(number)
        self.offsets.append(record.offset)
        self.sizes.append(record.size)
        self.labels.append(label)
        self.parts.append(part)
        if self.lengths is not None:
            self.lengths.extend((len(record.text), len(words)))
        if self.lines is not None:
            self.lines.append(record.line)


def _why_unusable(record: Record, needs_label: bool) -> str:
    if not record.text or record.text.isspace():
        return "the text is empty. Fill it in or remove it"
    if needs_label and not (record.label or "").strip():
        return "the label is empty. Fill it in or remove the row"
    if "\0" in record.text:
        return "the text holds a NUL byte, which no text has. Remove the byte or the row"
    return ""


def _label_number(cell: str | None, labels: dict[str, int], source: Source) -> int:
    """A number for each spelling of a label, spaces around it included; -1 for none."""
    if cell is None or not cell.strip():
        return -1
    number = labels.get(cell)
    if number is None:
        cell.encode()  # refuses what is no text
        if len(labels) == MAX_CLASSES:
            raise UserError(
                f"{source.file.path} has more than {MAX_CLASSES:,} different labels, such as {printable(cell)[:50]!r}. "
                "Expected the names of classes: name the column that holds them with label_column."
            )
        number = labels[cell] = len(labels)
    return number


def _part(record: Record, given: str | None, source: Source) -> int:
    if given is not None:
        return PARTS.index(given)
    cell = record.part.strip().lower()
    if not cell:
        return NO_PART
    if cell not in PART_NAMES:
        close = difflib.get_close_matches(cell, PART_NAMES, n=1)
        hint = f"Did you mean {close[0]!r}?" if close else "Expected train, val or test."
        raise UserError(
            f"{source.file.path}, line {record.line}: the split {printable(record.part.strip())!r} is none. {hint}"
        )
    return PARTS.index(PART_NAMES[cell])


def _arranged(listed: Listed, starts: list[int], columns: _Columns, cells: dict[str, int], problems: Problems) -> Scan:
    """The arrays, with classes numbered in the order of their names."""
    spelled = {cell: unicodedata.normalize("NFC", cell.strip()) for cell in cells}
    raw = np.frombuffer(columns.labels, np.int32) if columns.labels else np.empty(0, np.int32)
    used = Counter(dict(enumerate(np.bincount(raw[raw >= 0], minlength=len(cells)).tolist())))
    class_names = sorted({spelled[cell] for cell, number in cells.items() if used[number]})
    numbers = {name: number for number, name in enumerate(class_names)}
    final = np.array([numbers.get(spelled[cell], -1) for cell in cells] + [-1], np.int32)  # the last one is that of -1
    stray = np.array([cell != cell.strip() for cell in cells] + [False])

    def plain(column: Iterable[int], kind: type[np.generic]) -> NDArray[Any]:
        return np.frombuffer(column, kind) if len(column) else np.empty(0, kind)  # type: ignore[call-overload, arg-type]

    return Scan(
        listed,
        np.array(starts, np.int64),
        plain(columns.offsets, np.int64),
        plain(columns.sizes, np.uint32),
        final[raw],
        plain(columns.parts, np.uint8),
        plain(columns.hashes, np.uint64),
        None if columns.keys is None else plain(columns.keys, np.uint64),
        None if columns.lengths is None else plain(columns.lengths, np.uint32).reshape(-1, 2),
        None if columns.lines is None else plain(columns.lines, np.uint32),
        class_names,
        problems,
        np.flatnonzero(stray[raw]) if stray.any() else np.empty(0, np.int64),
    )
