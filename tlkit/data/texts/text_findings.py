"""What is to be said of texts: rows that cannot be used, copies, traces of a wrong encoding or of a web page."""

from __future__ import annotations

import dataclasses
import re
from array import array
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlkit.data.inspection.finding import Finding, Severity, counted
from tlkit.data.stable_cut import PARTS
from tlkit.data.texts.cut_rows import find_copies
from tlkit.data.texts.first_line import DELIMITERS
from tlkit.data.texts.scan import Scan
from tlkit.data.texts.tables import CsvTable, Record
from tlkit.data.texts.text_rows import TextRows
from tlkit.errors import printable

MAX_DETAILS = 1000  # lines or groups of a finding that are listed; counted are all
MANY_CUT = 0.1  # share of texts that are cut, from which on it is a warning
_SHOWN_CHARACTERS = 60

# UTF-8 that was read as Windows-1252 ("é" as "Ã©", "’" as "â€™"), and the sign for a character that was lost.
_TWICE_ENCODED = re.compile("[ÃÂ][\u0080-\u00bf\u0152\u0153\u0160\u0161\u0178\u017d\u017e\u0192\u02c6\u02dc]|â€|ðŸ")
_LOST = "\ufffd"
_HTML = re.compile(
    r"</?(?:br|p|div|span|a|b|i|li|ul|strong|em|img|td|tr)\b[^>]*>|&(?:amp|lt|gt|quot|nbsp|#\d{2,5});", re.I
)
_TEXTS_OF = {
    "encoded": (
        "warning",
        "text looks",
        "texts look",
        "as if UTF-8 had been read as Windows-1252 ('Ã©' for 'é'): such letters teach nothing. Read the "
        "original again as UTF-8.",
    ),
    "lost": (
        "warning",
        "text has",
        "texts have",
        "the sign for a lost character (\ufffd): the encoding was wrong when they were written. Take them from the "
        "original again.",
    ),
    "html": (
        "note",
        "text has",
        "texts have",
        "tags or entities of HTML ('<br />', '&amp;'), which the network takes for words. Remove them here and in "
        "what is predicted, or in neither.",
    ),
}  # fmt: skip


class Looks:
    """Rows whose text shows one of the signs above."""

    def __init__(self) -> None:
        self.rows = {kind: array("Q") for kind in _TEXTS_OF}

    def at(self, row: int, record: Record) -> None:
        """Look at a text."""
        text = record.text
        if not text.isascii():
            if _TWICE_ENCODED.search(text):
                self.rows["encoded"].append(row)
            if _LOST in text:
                self.rows["lost"].append(row)
        if ("<" in text or "&" in text) and _HTML.search(text):
            self.rows["html"].append(row)


@dataclasses.dataclass
class Inspected:
    """What findings are made from.

    Args:
        scan: Of all rows.
        parts: Number of each row's part.
        looks: At all texts.
    """

    scan: Scan
    parts: NDArray[np.uint8]
    looks: Looks

    def find_in_texts(self) -> list[Finding]:
        """All findings of this kind, in no order."""
        return [*self._unusable(), *self._copies(), *self._signs(), *self._delimiters()]

    def _unusable(self) -> list[Finding]:
        problems = self.scan.problems
        if not len(problems):
            return []
        thing = "line" if self.scan.listed.is_table else "file"
        number = f"{len(problems):,} {thing}{'s' if len(problems) > 1 else ''}"
        sentence = (
            f"{number} cannot be used: training stops there, or leaves them out with on_bad='skip' (on a command line: "
            "--on_bad skip). Mend them."
        )
        return [Finding("error", sentence, (), tuple(problems.sentences(self.scan.listed)))]

    def _copies(self) -> list[Finding]:
        copies = find_copies(self.scan.hashes)
        labels, parts = self.scan.labels, self.parts
        differing, leaking = copies.differ(labels), copies.differ(parts)

        def same(
            severity: Severity, chosen: NDArray[np.bool_], what: str, names: Sequence[str] = (), values: Any = None
        ) -> list[Finding]:
            return self._same(severity, int(chosen.sum()), copies.groups(chosen, MAX_DETAILS), what, names, values)

        return [
            *same(
                "warning",
                differing,
                "there with different labels: the model is taught both. Keep the right one.",
                [f" ({printable(name)})" for name in self.scan.class_names],
                labels,
            ),
            *same(
                "warning",
                leaking,
                "in more than one of the given parts train, validation and test: the model is judged on what it has "
                "learned by heart. Remove the copies.",
                [f" ({part})" for part in PARTS],
                parts,
            ),
            *same(
                "note",
                ~differing & ~leaking,
                "there more than once, and so with more weight than others. Remove the copies.",
            ),
        ]

    def _same(
        self, severity: Severity, number: int, groups: list[list[int]], what: str, names: Sequence[str], values: Any
    ) -> list[Finding]:
        if not number:
            return []
        details = []
        for group, text in zip(groups, self._shown([group[0] for group in groups]), strict=True):
            said = [names[values[row]] if names else "" for row in group]
            details.append(f"{text}: {' = '.join(map(''.join, zip(self.scan.places(group), said, strict=True)))}")
        return [Finding(severity, f"{number:,} {'text is' if number == 1 else 'texts are'} {what}", (), tuple(details))]

    def _signs(self) -> Iterable[Finding]:
        for kind, (severity, one, many, what) in _TEXTS_OF.items():
            rows = self.looks.rows[kind]
            if rows:
                shown = rows[:MAX_DETAILS].tolist()
                lines = zip(self.scan.places(shown), self._shown(shown), strict=True)
                details = tuple(f"{place}: {text}" for place, text in lines)
                yield Finding(severity, f"{counted(rows, one, many)} {what}", (), details)  # type: ignore[arg-type]

    def _delimiters(self) -> Iterable[Finding]:
        for source in self.scan.listed.sources:
            expected = {".csv": ",;", ".tsv": "\t"}.get(source.file.path.suffix.lower(), "")
            if isinstance(source, CsvTable) and source.delimiter not in expected:
                yield Finding(
                    "note",
                    f"{printable(source.file.path.name)} is separated by {DELIMITERS[source.delimiter]}, which its "
                    "extension does not say. It is read so here; other programs may want to be told.",
                )

    def _shown(self, rows: Sequence[int]) -> list[str]:
        """The beginnings of texts, to be printed."""
        texts = TextRows(self.scan, np.asarray(rows, np.uint32)).read()
        return [
            f"'{printable(text[:_SHOWN_CHARACTERS])}{'...' if len(text) > _SHOWN_CHARACTERS else ''}'" for text in texts
        ]


def find_cut(num_cut: int, num_texts: int, sequence_length: int | None) -> list[Finding]:
    """Texts whose ends the network does not see."""
    if not num_cut or sequence_length is None:
        return []
    severity: Severity = "warning" if num_cut > MANY_CUT * num_texts else "note"
    sentence = (
        f"{num_cut:,} {'text has' if num_cut == 1 else 'texts have'} more than {sequence_length} words: the network "
        "does not see their ends (about so many, as it counts pieces of words). Raise sequence_length where they "
        "matter; it takes more time and memory."
    )
    return [Finding(severity, sentence)]
