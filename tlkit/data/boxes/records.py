"""What is read of labelled images, and what is wrong with it."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from tlkit.errors import UserError, printable

Format = Literal["voc", "coco", "csv", "yolo"]
LARGEST_ANNOTATION = 50 * 10**6  # bytes of one file about one image; a thousand boxes take 0.4 MB as XML


@dataclasses.dataclass(frozen=True, eq=False)
class LabelledImage:
    """An image file and the boxes in it.

    Args:
        path: Of the file.
        width: Of the picture in pixels, as a viewer shows it: after a rotation in the EXIF data.
        height: The same.
        boxes: `(n, 4)`, each `(x_min, y_min, x_max, y_max)` in pixels of the file; in order, inside, with an area.
        labels: `(n,)`, the number of each box's class.
        split: "train", "validation" or "test" where the data say so.
    """

    path: Path
    width: int
    height: int
    boxes: NDArray[np.float64]
    labels: NDArray[np.int32]
    split: str | None = None

    @property
    def classes(self) -> frozenset[int]:
        """The class numbers that are in it."""
        return frozenset(self.labels.tolist())


@dataclasses.dataclass(frozen=True, eq=False)
class BoxTable:
    """Labelled images in the order of the annotations, and the class names by number.

    Args:
        images: Those that can be used.
        class_names: By number.
        format: "voc", "coco", "csv" or "yolo".
        root: The folder that names of files are relative to.
    """

    images: list[LabelledImage]
    class_names: list[str]
    format: Format
    root: Path


# Before boxes are looked at ------------------------------------------------------------------------


class RawBox(NamedTuple):
    """A box as it is written."""

    place: str  # "box 3" or "line 12"
    name: str  # of the class; empty when there is none
    corners: tuple[float, float, float, float] | None  # None when they are no numbers
    written: str  # the corners, for messages


class RawImage(NamedTuple):
    """An image as annotations name it.

    Attributes:
        path: Where the file should be.
        place: Of the annotation, for messages: "Annotations/1.xml".
        part: "train", "validation", "test", or None when it is not given.
        size: Width and height by the annotation; None when it does not say.
        boxes: In pixels, or in shares of the image's width and height when `is_relative`.
        is_relative: See there.
    """

    path: Path
    place: str
    part: str | None
    size: tuple[int, int] | None
    boxes: Sequence[RawBox]
    is_relative: bool = False


Kind = Literal[
    "annotation", "leaves", "missing", "corrupt", "size", "repeated",
    "class", "number", "outside", "zero",
    "swapped", "clipped", "duplicate", "crowd",
]  # fmt: skip
OF_IMAGES = get_args(Kind)[:6]  # what makes the whole image useless
OF_BOXES = get_args(Kind)[6:10]  # what makes a box useless
MENDED = get_args(Kind)[10:]  # what is certain, and done


class Problem(NamedTuple):
    """One thing that is wrong.

    Attributes:
        kind: Of the above.
        image: The file's name, relative to the folder.
        place: Where it is written.
        what: What is wrong there, without a full stop.
    """

    kind: Kind
    image: str
    place: str
    what: str

    def __str__(self) -> str:
        return f"{printable(self.place)}: {printable(self.what)}"


class RawTable(NamedTuple):
    """What a reader gives.

    Attributes:
        root: The folder that names are relative to, and that no path may leave.
        images: In the order of the annotations.
        class_names: By number, where the format declares them; None to take those that occur.
        problems: Of annotations that give no image or no box.
        left_out: Sentences about what is beside the data.
    """

    root: Path
    images: list[RawImage]
    class_names: list[str] | None
    problems: list[Problem]
    left_out: list[str]


def path_inside(root: Path, name: str) -> Path | None:
    """The file of that name below the folder; None when the name leads out of it. Links in the folder are followed."""
    if os.path.isabs(name) or "\0" in name:
        return None
    top, place = os.path.abspath(root), os.path.abspath(os.path.join(root, name))
    return Path(os.path.normpath(os.path.join(root, name))) if place.startswith(os.path.join(top, "")) else None


def name_of(root: Path, path: Path) -> str:
    """The path relative to the folder, the same on every system."""
    return os.path.relpath(path, root).replace(os.sep, "/")


def corners_of(values: Sequence[object]) -> tuple[float, float, float, float] | None:
    """Four finite numbers, or None."""
    if len(values) != 4:
        return None
    try:
        numbers = tuple(float(value) for value in values)  # type: ignore[arg-type]  # what is no number raises
    except (TypeError, ValueError, OverflowError):
        return None
    return numbers if all(map(math.isfinite, numbers)) else None  # type: ignore[return-value]  # four of them


def read_small(path: Path) -> bytes:
    """The content of an annotation file.

    Raises:
        UserError: When it cannot be read or is too large to be one.
    """
    try:
        if not path.is_file():
            raise UserError(f"{printable(path)} is not a file.")
        if path.stat().st_size > LARGEST_ANNOTATION:
            raise UserError(
                f"{printable(path)} has {path.stat().st_size / 1e6:,.0f} MB, more than an annotation of one image "
                f"takes. Expected at most {LARGEST_ANNOTATION / 1e6:.0f} MB."
            )
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{printable(path)} cannot be read ({error.strerror}).") from error
