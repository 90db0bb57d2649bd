"""Files of text, as users have them: their encoding, their lines with the bytes of each, and files that are no text."""

from __future__ import annotations

import codecs
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tlkit.errors import UserError, printable

LONGEST_LINE = 2**26  # bytes: a file whose lines are longer is none of lines, and shall not fill the memory
_HEAD = 2**16  # bytes that are looked at to tell text from other things

# Files by their first bytes: people rename a workbook to .csv and expect it to be one.
_SIGNATURES = {
    b"PK\x03\x04": "an Excel workbook or another ZIP archive: open it and save it as 'CSV UTF-8'",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook: open it and save it as 'CSV UTF-8'",
    b"PAR1": "a Parquet file: write it as CSV, in pandas with read_parquet and to_csv(index=False)",
    b"ARROW1": "an Arrow (Feather) file: write it as CSV, in pandas with read_feather and to_csv(index=False)",
    b"\x1f\x8b": "a gzip archive: unpack it",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive: unpack it",
    b"BZh": "a bzip2 archive: unpack it",
    b"\xfd7zXZ\x00": "an xz archive: unpack it",
    b"(\xb5/\xfd": "a Zstandard archive: unpack it",
    b"SQLite format 3": "an SQLite database: export the table as CSV",
    b"\x89HDF": "an HDF5 file: write its texts as CSV",
    b"%PDF": "a PDF document: export its text",
    b"{\\rtf": "an RTF document: save it as plain text",
}
_BYTE_ORDER_MARKS = {codecs.BOM_UTF8: "utf-8", codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}


class TextFile(NamedTuple):
    """A file that is text by its first bytes.

    Attributes:
        path: Where it is.
        encoding: "utf-8", "utf-16-le" or "utf-16-be".
        start: Bytes before the text: those of a byte order mark.
        state: Size and time of the last change, to notice that somebody writes to it.
    """

    path: Path
    encoding: str
    start: int
    state: tuple[int, int]

    def decode(self, content: bytes) -> str:
        """Text of these bytes; what does not decode is kept as lone surrogates, which `encoding_problem` words."""
        if self.encoding == "utf-8":
            return content.decode("utf-8", "surrogateescape")
        return content.decode(self.encoding, "surrogatepass")

    def lines(self) -> Iterator[tuple[str, int]]:
        r"""Every line with its line end, and how many bytes it has. Lines end with \n or \r\n."""
        with self.path.open("rb") as file:
            file.seek(self.start)
            if self.encoding == "utf-8":
                for number, line in enumerate(iter(lambda: file.readline(LONGEST_LINE), b""), start=1):
                    if len(line) == LONGEST_LINE:
                        raise UserError(self._too_long(number))
                    yield line.decode("utf-8", "surrogateescape"), len(line)
                return
            text = codecs.getreader(self.encoding)(file, "surrogatepass")
            rest = ""
            for chunk in iter(lambda: text.read(_HEAD), ""):
                *lines, rest = (rest + chunk).split("\n")
                for each in lines:
                    yield f"{each}\n", 2 * len(each) + 2 + 2 * sum(letter > "\uffff" for letter in each)
                if len(rest) > LONGEST_LINE:
                    raise UserError(f"{self.path} has a line of more than {LONGEST_LINE:,} characters: {_NO_LINES}")
            if rest:
                yield rest, len(rest.encode(self.encoding, "surrogatepass"))

    def line_numbers(self, offsets: list[int]) -> dict[int, int]:
        """Byte where a line begins -> its number, from 1."""
        wanted, place, found = set(offsets), self.start, dict[int, int]()
        for number, (_, size) in enumerate(self.lines(), start=1):
            if place in wanted:
                found[place] = number
                if len(found) == len(wanted):
                    break
            place += size
        return found

    def check_unchanged(self, descriptor: int) -> None:
        """Raise an error when the file is not the one whose lines were counted."""
        status = os.fstat(descriptor)
        if (status.st_size, status.st_mtime_ns) != self.state:
            raise UserError(
                f"{printable(self.path)} was changed while it was in use. Expected the same file from the first look "
                "to the last batch: start again, and work on a copy of it."
            )

    def _too_long(self, number: int) -> str:
        return f"{self.path}, line {number}: longer than {LONGEST_LINE // 2**20} MB. {_NO_LINES}"


_NO_LINES = (
    "Expected one text in a line; a JSON array becomes lines with pandas' to_json(orient='records', lines=True)."
)


def open_text_file(path: Path) -> TextFile:
    """Look at the first bytes of a file.

    Raises:
        UserError: When it cannot be read, or is no text in UTF-8, or in UTF-16 with a byte order mark.
    """
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD)
            status = os.fstat(file.fileno())
    except OSError as error:
        raise UserError(f"{printable(path)} cannot be read ({error.strerror}): check that it may be read.") from error
    kind = next((what for signature, what in _SIGNATURES.items() if head.startswith(signature)), None)
    if kind:
        raise UserError(f"{printable(path)} is no text but {kind}.")
    mark = next((mark for mark in _BYTE_ORDER_MARKS if head.startswith(mark)), b"")
    encoding = _BYTE_ORDER_MARKS.get(mark, "utf-8")
    if encoding == "utf-8" and b"\0" in head and not _is_text_but_for_zeros(head):
        # Latin letters in UTF-16 have a zero for every other byte.
        halves = (head[0::2].count(0), head[1::2].count(0))
        if max(halves) > len(head) / 4 and not min(halves):
            what = "probably UTF-16 without its byte order mark: save it as UTF-8"
        else:
            what = "a binary file (it has bytes that are zero): expected text in UTF-8"
        raise UserError(f"{printable(path)} is no text that can be read but {what}.")
    return TextFile(path, encoding, len(mark), (status.st_size, status.st_mtime_ns))


def _is_text_but_for_zeros(head: bytes) -> bool:
    """Whether there are but a few zero bytes among UTF-8: mistakes in single rows, which are told by their lines."""
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)  # the last character may be cut
    except UnicodeDecodeError:
        return False
    return head.count(0) < len(head) / 100


def encoding_problem(text: str, is_table: bool = True) -> str:
    """What is wrong with a text that holds bytes which did not decode, and what they may be; empty when all is well.

    Args:
        text: As it was decoded.
        is_table: Whether it is of a table, which Excel may save anew, or a file that is one text.
    """
    try:
        text.encode()
        return ""
    except UnicodeEncodeError as error:
        first = error.start
    try:
        content = text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return "half a character (a lone surrogate), which is no text. Write the text anew as UTF-8"
    start = len(text[:first].encode())
    how = "as 'CSV UTF-8' (Excel)" if is_table else "with the character set UTF-8"
    near = content[max(start - 20, 0) : start + 20]
    said = f"the byte 0x{content[start]:02X} is not UTF-8."
    try:
        as_windows = printable(near.decode("cp1252"))
    except UnicodeDecodeError:
        return f"{said} Save the file {how}{' or with the character set UTF-8' if is_table else ''}"
    return (
        f"{said} As Windows-1252 (Latin-1) it would read '{as_windows}'. Save the file {how}, or "
        "convert it with iconv -f CP1252 -t UTF-8 if that reads right"
    )
