"""What `inspect_images` found, as plain data that prints itself."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from tlkit.data.inspection.finding import Finding
from tlkit.data.inspection.printing import print_classes, print_facts, print_findings, save_report

if TYPE_CHECKING:
    from rich.console import Console

_MODES = {  # Pillow's name of the colours, without "+alpha" -> what it means, what `decode_image` does with it
    "1": ("black and white", "the same value in red, green and blue"),
    "L": ("grey", "the same value in red, green and blue"),
    "I": ("grey, 16 bits", "divided by 257 to 8 bits, the same value in red, green and blue"),
    "F": ("grey, floating point", "0 is black and 1 is white, the same value in red, green and blue"),
    "P": ("palette", "its colours are looked up"),
    "RGB": ("RGB", ""),
    "CMYK": ("CMYK", "converted to RGB without its colour profile: colours may be a little off"),
}


@dataclasses.dataclass(frozen=True)
class ImageReport:
    """What a folder or table of images holds.

    Args:
        source: The folder or table, as it was given.
        split: Shares of training, validation and test that were asked for.
        seed: Of the split.
        group_pattern: Of the split.
        parts: "train", "validation", "test" -> number of images, those that do not decode included.
        classes: Class name -> the same for its images; a multi-label image counts in each of its classes.
        num_without_class: Images of multi-label data that show none of the classes.
        formats: Pillow's name of a file format -> number of images.
        modes: Pillow's name of the colours, with "+alpha" where parts may be transparent -> number of images.
        sizes: "smallest", "median" and "largest" -> (width, height) in pixels, as a viewer shows them. Smallest and
            largest by area; width and height of the median each by itself.
        num_turned: Images that an EXIF rotation is applied to.
        findings: What to mend or to know, worst first.
    """

    source: str
    split: tuple[float, float, float]
    seed: int
    group_pattern: str | None
    parts: dict[str, int]
    classes: dict[str, dict[str, int]]
    num_without_class: int
    formats: dict[str, int]
    modes: dict[str, int]
    sizes: dict[str, tuple[int, int]]
    num_turned: int
    findings: tuple[Finding, ...]

    @property
    def num_images(self) -> int:
        """Images in all parts."""
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
        """Write data_report.json, which names every file, and data_report.txt, the report as printed.

        Args:
            folder: Where to; made when missing.
        """
        plain = dataclasses.asdict(self) | {"findings": [finding._asdict() for finding in self.findings]}
        save_report(folder, plain, lambda console, where_all_are: self._print(console, False, where_all_are))

    def _print(self, console: Console, compact: bool, where_all_are: str) -> None:
        if not compact:
            print_classes(console, self.source, "images", self.parts, self.classes, self.num_without_class)
        print_facts(console, self._facts())
        print_findings(console, self.findings, compact, where_all_are)

    def _facts(self) -> list[tuple[str, str]]:
        sizes = ", ".join(f"{name} {width:,} x {height:,}" for name, (width, height) in self.sizes.items())
        facts = [
            ("pixels", sizes or "no image decodes"),
            ("formats", ", ".join(f"{number:,} {name}" for name, number in self.formats.items())),
        ]
        for row, (mode, number) in enumerate(self.modes.items()):
            facts.append(("" if row else "colours", f"{number:,} {_mode_in_words(mode)}"))
        if self.num_turned:
            facts.append(("rotation", f"{self.num_turned:,} turned upright, as their EXIF data says"))
        return facts


def _mode_in_words(mode: str) -> str:
    base, _, alpha = mode.partition("+")
    name, what = _MODES.get("I" if base.startswith("I") else base, (base, "converted to RGB"))
    what = "; ".join(filter(None, [what, "transparent parts are put on white" if alpha else ""]))
    return name + (" with transparency" if alpha else "") + (f": {what}" if what else "")
