"""From what annotations say to images that can be trained on, with everything that was wrong on the way."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tlkit.data.boxes.clean_boxes import BadBox, Corners, clean_box
from tlkit.data.boxes.find_format import read_raw
from tlkit.data.boxes.records import Format, LabelledImage, Problem, RawImage, name_of
from tlkit.data.decoding import open_image, orientation, reason
from tlkit.data.image_listing import is_image
from tlkit.data.inspection.facts import in_parallel
from tlkit.errors import UserError, printable


class Scan(NamedTuple):
    """What annotations hold.

    Attributes:
        images: Those that can be used, with the boxes that can be used.
        class_names: By number.
        problems: All that was wrong, and what was mended.
        left_out: Sentences about what is beside the data.
        format: Of the annotations.
        root: The folder that names are relative to.
    """

    images: list[LabelledImage]
    class_names: list[str]
    problems: list[Problem]
    left_out: list[str]
    format: Format
    root: Path


def scan_boxes(source: str | Path, format: Format | None, class_names: Sequence[str] | None) -> Scan:
    """Read annotations, and the header of every image.

    Raises:
        UserError: When there are no annotations, or none that can be read.
    """
    kind, table = read_raw(Path(source), format)
    _refuse_shares(source, table.images)
    names = _names(class_names, table.class_names, table.images)
    labels = {name: number for number, name in enumerate(names)}
    problems = list(table.problems)
    taken: set[Path] = set()
    images = []
    sizes = in_parallel(_measure, table.images, lambda _number: None)
    for raw, size in zip(table.images, sizes, strict=True):
        wrong = _problem_of_image(raw, name_of(table.root, raw.path), size, taken)
        taken.add(raw.path)
        if wrong is not None or isinstance(size, str):
            problems += [wrong] if wrong is not None else []
            continue
        image, found = _clean(raw, name_of(table.root, raw.path), size, labels)
        images += [image] if image is not None else []
        problems += found
    return Scan(images, names, problems, table.left_out, kind, table.root)


def _refuse_shares(source: str | Path, images: list[RawImage]) -> None:
    """Boxes as shares of the image, which only YOLO writes, would pass as things of less than a pixel."""
    corners = [box.corners for image in images if not image.is_relative for box in image.boxes if box.corners]
    if corners and max(map(max, corners)) <= 1:
        raise UserError(
            f"All coordinates in {printable(source)} are 1 or less, as shares of the image's width and height are. "
            f"Expected pixels: multiply them by each image's width and height."
        )


def _names(wanted: Sequence[str] | None, declared: list[str] | None, images: list[RawImage]) -> list[str]:
    """The class names that were asked for, or those of the annotations: declared ones, or all that occur, sorted."""
    found = declared
    if found is None:
        found = sorted({box.name for image in images for box in image.boxes if box.name})
    if wanted is None:
        return found
    names = [str(name) for name in wanted]
    if not names or len(set(names)) < len(names):
        raise UserError(f"Expected `class_names` to be different names, at least one. Received: {names}.")
    return names


def _measure(raw: RawImage) -> tuple[int, int] | str:
    """Width and height as a viewer shows the image, or why it cannot be read; empty when there is none."""
    if not os.path.isfile(raw.path):
        return ""
    try:
        with open_image(raw.path) as image:
            width, height = image.size
            is_turned = image.format != "TIFF" and orientation(image) >= 5  # the size of a TIFF is told turned
            return (height, width) if is_turned else (width, height)
    except Exception as error:  # Pillow's plugins raise a dozen types on a damaged file
        return reason(raw.path, error)


def _problem_of_image(raw: RawImage, file: str, size: tuple[int, int] | str, taken: set[Path]) -> Problem | None:
    if size == "":
        return Problem("missing", file, raw.place, f"there is no image {file}")
    if isinstance(size, str) or not is_image(raw.path):
        what = size if isinstance(size, str) else f"{raw.path.suffix or 'no extension'} is not one of images"
        return Problem("corrupt", file, raw.place, f"the image {file} cannot be read ({what})")
    if raw.path in taken:
        return Problem("repeated", file, raw.place, f"the image {file} is there a second time; keep one of them")
    if raw.size is not None and raw.size != size:
        said, is_so = (f"{width} x {height}" for width, height in (raw.size, size))
        turned = " after the rotation that its EXIF data ask for" if raw.size == size[::-1] else ""
        return Problem("size", file, raw.place, f"it says {said} pixels, but the image {file} has {is_so}{turned}")
    return None


def _clean(
    raw: RawImage, file: str, size: tuple[int, int], labels: dict[str, int]
) -> tuple[LabelledImage | None, list[Problem]]:
    """The image with its good boxes; None when it has boxes and none is good: it is no image without things."""
    found: list[Problem] = []
    good: dict[tuple[Corners, int], None] = {}
    for box in raw.boxes:
        place = f"{raw.place}, {box.place}"
        cleaned = clean_box(box, raw.is_relative, size, labels)
        if isinstance(cleaned, BadBox):
            found.append(Problem(cleaned.kind, file, place, cleaned.what))
            continue
        found += [Problem(kind, file, place, what) for kind, what in cleaned.mended]
        key = (cleaned.corners, cleaned.label)
        if key in good:
            found.append(Problem("duplicate", file, place, f"the box ({box.name}) is there before, with equal corners"))
        good[key] = None
    if raw.boxes and not good:
        what = f"none of the {len(raw.boxes)} boxes in {file} can be used; without them it would count as empty"
        return None, [*found, Problem("annotation", file, raw.place, what)]
    boxes = np.array([corners for corners, _ in good], np.float64).reshape(-1, 4)
    numbers = np.array([label for _, label in good], np.int32)
    return LabelledImage(raw.path, *size, boxes, numbers, raw.part), found
