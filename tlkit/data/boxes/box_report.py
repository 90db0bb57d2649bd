"""What `inspect_boxes` found, as plain data that prints itself."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from tlkit.data.inspection.finding import Finding
from tlkit.data.inspection.printing import print_classes, print_facts, print_findings, save_report

if TYPE_CHECKING:
    from rich.console import Console


@dataclasses.dataclass(frozen=True)
class BoxReport:
    """What a set of images with boxes holds.

    Args:
        source: The folder or file, as it was given.
        format: "voc", "coco", "csv" or "yolo".
        split: Shares of training, validation and test that were asked for.
        seed: Of the split.
        image_size: Side in pixels that training will bring images to, where it was given.
        images: "train", "validation", "test" -> number of images that can be used.
        classes: Class name -> the same for its boxes.
        num_without_boxes: Images that have none.
        image_sizes: "smallest", "median" and "largest" -> (width, height) in pixels. Smallest and largest by area;
            width and height of the median each by itself.
        box_sizes: The same of the boxes, in pixels of the files.
        boxes_per_image: "median" and "most" -> number.
        by_stride: At `image_size`, how many boxes have a shorter side of "below 8", "8 to 16", "16 to 32" pixels, and
            "32 or more"; empty without an `image_size`.
        findings: What to mend or to know, worst first.
    """

    source: str
    format: str
    split: tuple[float, float, float]
    seed: int
    image_size: int | None
    images: dict[str, int]
    classes: dict[str, dict[str, int]]
    num_without_boxes: int
    image_sizes: dict[str, tuple[float, float]]
    box_sizes: dict[str, tuple[float, float]]
    boxes_per_image: dict[str, int]
    by_stride: dict[str, int]
    findings: tuple[Finding, ...]

    @property
    def num_images(self) -> int:
        """Images in all parts."""
        return sum(self.images.values())

    @property
    def num_boxes(self) -> int:
        """Boxes in all parts."""
        return sum(sum(parts.values()) for parts in self.classes.values())

    def print(self, console: Console | None = None, *, compact: bool = False) -> None:
        """Print what was counted, and the findings.

        Args:
            console: Where to. Defaults to standard output.
            compact: Leave out the table of classes and the notes.
        """
        from rich.console import Console

        self._print(console or Console(), compact, "")

    def save(self, folder: str | Path) -> None:
        """Write data_report.json, which names every file and box, and data_report.txt, the report as printed.

        Args:
            folder: Where to; made when missing.
        """
        plain = dataclasses.asdict(self) | {"findings": [finding._asdict() for finding in self.findings]}
        save_report(folder, plain, lambda console, where_all_are: self._print(console, False, where_all_are))

    def _print(self, console: Console, compact: bool, where_all_are: str) -> None:
        if not compact:
            parts = {part: sum(counts[part] for counts in self.classes.values()) for part in self.images}
            print_classes(console, self.source, "boxes", parts, self.classes)
        print_facts(console, self._facts())
        print_findings(console, self.findings, compact, where_all_are)

    def _facts(self) -> list[tuple[str, str]]:
        parts = ", ".join(f"{part} {number:,}" for part, number in self.images.items() if number)
        without = f"; {self.num_without_boxes:,} without boxes" if self.num_without_boxes else ""
        per_image = ", ".join(f"{name} {number:,}" for name, number in self.boxes_per_image.items())
        facts = [
            ("format", self.format),
            ("images", f"{parts or 'none that can be used'}{without}"),
            ("pixels", _sizes_in_words(self.image_sizes)),
            ("box sizes", _sizes_in_words(self.box_sizes)),
            ("boxes an image", per_image),
        ]
        if self.by_stride:
            counts = ", ".join(f"{name}: {number:,}" for name, number in self.by_stride.items())
            facts.append((f"at {self.image_size} px", f"shorter sides of boxes: {counts}"))
        return facts


def _sizes_in_words(sizes: dict[str, tuple[float, float]]) -> str:
    return ", ".join(f"{name} {width:,.4g} x {height:,.4g}" for name, (width, height) in sizes.items()) or "none"
