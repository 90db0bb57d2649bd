"""What `inspect_images` found, as plain data that prints itself."""

from __future__ import annotations

import dataclasses
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from tlkit.errors import printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

Severity = Literal["error", "warning", "note"]

SEVERITIES: dict[Severity, str] = {"error": "bold red", "warning": "yellow", "note": "cyan"}  # worst first; their style
_SHOWN_CLASSES = 30  # about a screen; of more, the largest and the smallest are shown
_SHOWN_FILES = 3
_WIDTH = 110  # columns of data_report.txt
_MODES = {  # Pillow's name of the colours, without "+alpha" -> what it means, what `decode_image` does with it
    "1": ("black and white", "the same value in red, green and blue"),
    "L": ("grey", "the same value in red, green and blue"),
    "I": ("grey, 16 bits", "divided by 257 to 8 bits, the same value in red, green and blue"),
    "F": ("grey, floating point", "0 is black and 1 is white, the same value in red, green and blue"),
    "P": ("palette", "its colours are looked up"),
    "RGB": ("RGB", ""),
    "CMYK": ("CMYK", "converted to RGB without its colour profile: colours may be a little off"),
}


class Finding(NamedTuple):
    """One thing to know about the data.

    Attributes:
        severity: "error" stops training, "warning" spoils its results or loses data, "note" is good to know.
        sentence: What it is, what it means and what to do.
        files: All files concerned, relative to the folder inspected.
        details: A line for each of these files, or for each group of them, where there is more to say than its name.
    """

    severity: Severity
    sentence: str
    files: tuple[str, ...] = ()
    details: tuple[str, ...] = ()


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
        from rich.console import Console

        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        plain = dataclasses.asdict(self) | {"findings": [finding._asdict() for finding in self.findings]}
        text = json.dumps(plain, indent=2, ensure_ascii=False) + "\n"
        # File names may hold bytes that are no text; Python's escape for them, \udcXX, happens to be that of JSON.
        (folder / "data_report.json").write_bytes(text.encode("utf-8", "backslashreplace"))
        printed = io.StringIO()
        self._print(Console(file=printed, width=_WIDTH), False, ": see data_report.json")
        lines = (line.rstrip() for line in printed.getvalue().splitlines())  # rich fills the columns with spaces
        (folder / "data_report.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")

    def _print(self, console: Console, compact: bool, where_all_are: str) -> None:
        from rich.text import Text

        if not compact:
            heading = f"{printable(self.source)}: {self.num_images:,} images of {len(self.classes):,} classes"
            console.print(Text(heading, "bold"), soft_wrap=True)
            console.print(_classes_table(self))
            console.print()
        console.print(_facts_table(self))
        console.print()
        shown = [finding for finding in self.findings if not compact or finding.severity != "note"]
        if shown:
            console.print(_findings_table(shown, where_all_are))
        elif not self.findings:
            console.print("Nothing to mend was found.")
        if len(shown) < len(self.findings):
            hidden = len(self.findings) - len(shown)
            console.print(f"{'And' if shown else 'Nothing to mend;'} {hidden} {'notes' if hidden > 1 else 'note'}.")


def _classes_table(report: ImageReport) -> Table:
    from rich.table import Table
    from rich.text import Text

    parts = [part for part, number in report.parts.items() if number]
    table = Table("class", box=None, pad_edge=False)
    for part in [*parts, "all"]:
        table.add_column(part, justify="right")
    names = list(report.classes)
    cut = len(names) > _SHOWN_CLASSES
    if cut:
        names.sort(key=lambda name: -sum(report.classes[name].values()))
    for number, name in enumerate(names):
        if cut and number == _SHOWN_CLASSES // 2:
            left_out = len(names) - 2 * (_SHOWN_CLASSES // 2)
            table.add_row(Text(f"... {left_out:,} classes of sizes between ...", "dim"))
        if not cut or not _SHOWN_CLASSES // 2 <= number < len(names) - _SHOWN_CLASSES // 2:
            counts = report.classes[name]
            numbers = [counts[part] for part in parts]
            table.add_row(Text(printable(name)), *(f"{count:,}" for count in [*numbers, sum(counts.values())]))
    if report.num_without_class:
        table.add_row(Text("none of them", "dim"), *[""] * len(parts), f"{report.num_without_class:,}")
    table.add_row(Text("images", "bold"), *(f"{report.parts[p]:,}" for p in parts), f"{report.num_images:,}")
    return table


def _facts_table(report: ImageReport) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, show_header=False, pad_edge=False)
    sizes = ", ".join(f"{name} {width:,} x {height:,}" for name, (width, height) in report.sizes.items())
    table.add_row(Text("pixels", "bold"), sizes or "no image decodes")
    table.add_row(Text("formats", "bold"), ", ".join(f"{n:,} {name}" for name, n in report.formats.items()))
    for row, (mode, number) in enumerate(report.modes.items()):
        table.add_row(Text("" if row else "colours", "bold"), f"{number:,} {_mode_in_words(mode)}")
    if report.num_turned:
        table.add_row(Text("rotation", "bold"), f"{report.num_turned:,} turned upright, as their EXIF data says")
    return table


def _mode_in_words(mode: str) -> str:
    base, _, alpha = mode.partition("+")
    name, what = _MODES.get("I" if base.startswith("I") else base, (base, "converted to RGB"))
    what = "; ".join(filter(None, [what, "transparent parts are put on white" if alpha else ""]))
    return name + (" with transparency" if alpha else "") + (f": {what}" if what else "")


def _findings_table(findings: list[Finding], where_all_are: str) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, show_header=False, pad_edge=False)
    for finding in findings:
        table.add_row(Text(finding.severity, SEVERITIES[finding.severity]), Text(finding.sentence))
        lines = finding.details or tuple(printable(name) for name in finding.files)
        for line in lines[:_SHOWN_FILES]:
            table.add_row("", Text(f"  {line}", "dim"))
        if len(lines) > _SHOWN_FILES:
            table.add_row("", Text(f"  and {len(lines) - _SHOWN_FILES:,} more{where_all_are}", "dim"))
    return table
