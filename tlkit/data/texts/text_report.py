"""What `inspect_texts` found, as plain data that prints itself."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from tlkit.data.inspection.finding import Finding
from tlkit.data.inspection.printing import print_classes, print_facts, print_findings, save_report

if TYPE_CHECKING:
    from rich.console import Console


@dataclasses.dataclass(frozen=True)
class TextReport:
    """What a table or folder of texts holds.

    Args:
        source: The table or folder, as it was given.
        text_column: Of the texts.
        label_column: Of their classes.
        split: Shares of training, validation and test that were asked for.
        seed: Of the split.
        parts: "train", "validation", "test" -> number of texts; rows that cannot be used are not among them.
        classes: Class name -> the same for its texts.
        num_unusable: Rows, or text files, that cannot be used.
        lengths: "characters" and "words" (what is between spaces) -> "median", "95 %" (so many of 100 texts are not
            longer) and "longest".
        sequence_length: Words that the network will see at most, where it was given.
        num_cut: Texts of more words than that.
        findings: What to mend or to know, worst first.
    """

    source: str
    text_column: str
    label_column: str
    split: tuple[float, float, float]
    seed: int
    parts: dict[str, int]
    classes: dict[str, dict[str, int]]
    num_unusable: int
    lengths: dict[str, dict[str, int]]
    sequence_length: int | None
    num_cut: int
    findings: tuple[Finding, ...]

    @property
    def num_texts(self) -> int:
        """Texts in all parts."""
        return sum(self.parts.values())

    def print(self, console: Console | None = None, *, compact: bool = False) -> None:
        """Print what was counted, and the findings.

        Args:
            console: Where to. Defaults to standard output.
            compact: Leave out the table of classes and the notes.
        """
        from rich.console import Console

        self._print(console or Console(), compact, "")

    def save(self, folder: str | Path) -> None:
        """Write data_report.json, which has the lines of all findings, and data_report.txt, the report as printed.

        Args:
            folder: Where to; made when missing.
        """
        plain = dataclasses.asdict(self) | {"findings": [finding._asdict() for finding in self.findings]}
        save_report(folder, plain, lambda console, where_all_are: self._print(console, False, where_all_are))

    def _print(self, console: Console, compact: bool, where_all_are: str) -> None:
        if not compact:
            print_classes(console, self.source, "texts", self.parts, self.classes)
        print_facts(console, self._facts())
        print_findings(console, self.findings, compact, where_all_are)

    def _facts(self) -> list[tuple[str, str]]:
        facts = [
            (unit, ", ".join(f"{name} {number:,}" for name, number in numbers.items()))
            for unit, numbers in self.lengths.items()
        ]
        if self.sequence_length is not None:
            share = self.num_cut / max(self.num_texts, 1)
            facts.append(
                (
                    "cut",
                    f"{self.num_cut:,} of {self.num_texts:,} texts ({share:.1%}) have more than {self.sequence_length} "
                    "words; about so many, as a network counts pieces of words",
                )
            )
        return facts
