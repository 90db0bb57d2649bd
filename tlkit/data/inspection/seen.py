"""All that findings are made from, and the words they share."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

from tlkit.data.inspection.facts import ImageFacts
from tlkit.data.inspection.finding import Finding, Severity
from tlkit.data.inspection.left_out import LeftOut
from tlkit.errors import printable


@dataclasses.dataclass(frozen=True)
class Seen:
    """What a look at the data has given.

    Args:
        facts: One for each image of the data.
        pictures: Groups of files that show the same picture.
        class_names: By number.
        left_out: What lies beside.
        name: Path -> how the file is called in the report.
        is_table: Whether a table names the images.
    """

    facts: Sequence[ImageFacts]
    pictures: Sequence[Sequence[ImageFacts]]
    class_names: Sequence[str]
    left_out: LeftOut
    name: Callable[[Path], str]
    is_table: bool

    @property
    def good(self) -> list[ImageFacts]:
        """Those that decode."""
        return [one for one in self.facts if one.problem is None]

    def class_name(self, label: int) -> str:
        """As it can be printed."""
        return printable(self.class_names[label])

    def file_name(self, one: ImageFacts) -> str:
        """As it can be printed."""
        return printable(self.name(one.file.path))

    def finding(
        self,
        severity: Severity,
        sentence: str,
        facts: Sequence[ImageFacts],
        detail: Callable[[ImageFacts], str] | None = None,
    ) -> list[Finding]:
        """One finding about these files, or none when there are none.

        Args:
            severity: Of the finding.
            sentence: Of the finding.
            facts: The files it is about.
            detail: What there is to say about one of them, besides its name.
        """
        if not facts:
            return []
        facts = sorted(facts, key=lambda one: self.name(one.file.path))
        details = tuple(f"{self.file_name(one)}: {detail(one)}" for one in facts) if detail else ()
        return [Finding(severity, sentence, tuple(self.name(one.file.path) for one in facts), details)]
