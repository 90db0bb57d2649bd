"""Training, validation and test images with boxes, the same ones every time."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from tlkit.data.boxes.read_boxes import read_boxes
from tlkit.data.boxes.records import BoxTable, Format, LabelledImage, name_of
from tlkit.data.image_listing import some
from tlkit.data.split_image_folder import checked_shares
from tlkit.data.stable_cut import PARTS, Unit, cut_units
from tlkit.errors import UserError, printable


class BoxSplits(NamedTuple):
    """Three lists of `LabelledImage`, in order of path, and the class names by number.

    Attributes:
        train: To learn from.
        validation: To choose the epoch by.
        test: To judge by; may be empty.
        class_names: By number.
    """

    train: list[LabelledImage]
    validation: list[LabelledImage]
    test: list[LabelledImage]
    class_names: list[str]


def split_boxes(
    source: str | Path,
    *,
    split: Sequence[float] = (0.7, 0.15, 0.15),
    seed: int,
    format: Format | None = None,
    class_names: Sequence[str] | None = None,
    on_bad: Literal["error", "skip"] = "error",
) -> BoxSplits:
    """Split images with boxes into training, validation and test.

    Parts that the data give are taken as they are. With no validation part, validation is cut from train, in the
    proportion split[1] / (split[0] + split[1]); with train and validation only, test is empty. What has no parts is cut
    as `split_image_folder` cuts: by a hash of the seed and the path, so that new images move none of the old ones,
    and so that each part has an image of every class where there are enough.

    Args:
        source: As `read_boxes` takes it.
        split: Shares of training, validation and test; they sum to 1, and only the last may be 0.
        seed: Chooses the split.
        format: As in `read_boxes`.
        class_names: The same.
        on_bad: The same.

    Raises:
        UserError: As `read_boxes` does, or when there is too little to split.

    Example:
        >>> parts = split_boxes("scenes", seed=7)
        >>> [len(part) for part in parts[:3]]
        [7, 3, 2]
    """
    shares = checked_shares(split)
    table = read_boxes(source, format=format, class_names=class_names, on_bad=on_bad)
    parts = split_table(source, table, shares, seed)
    _warn_of_lacking(source, parts)
    return parts


def split_table(source: str | Path, table: BoxTable, shares: tuple[float, float, float], seed: int) -> BoxSplits:
    """The same of a table that was read.

    Raises:
        UserError: When there is too little to split.
    """
    found: dict[str, list[LabelledImage]] = {}
    for image in table.images:
        found.setdefault(image.split or "train", []).append(image)
    if "train" not in found:
        raise UserError(f"{printable(source)} gives the parts {', '.join(found)}, but no train. Add training images.")
    if len(found) == 1:
        found = _cut(found["train"], shares, seed, table.root)
    elif "validation" not in found:
        kept = shares[0] + shares[1]
        found.update(_cut(found["train"], (shares[0] / kept, shares[1] / kept, 0.0), seed, table.root))
    train, validation, test = (sorted(found.get(part, []), key=lambda image: image.path) for part in PARTS)
    if not train or not validation:
        raise UserError(
            f"{printable(source)} is too little to split: of {len(table.images)} images, {len(train)} are for training "
            f"and {len(validation)} for validation. Expected at least one for each."
        )
    return BoxSplits(train, validation, test, table.class_names)


def _cut(images: list[LabelledImage], shares: Sequence[float], seed: int, root: Path) -> dict[str, list[LabelledImage]]:
    parts = cut_units([Unit(name_of(root, image.path), image.classes) for image in images], shares, seed)
    cut: dict[str, list[LabelledImage]] = {part: [] for part in PARTS if shares[PARTS.index(part)]}
    for image, part in zip(images, parts, strict=True):
        cut[PARTS[part]].append(image)
    return cut


def _warn_of_lacking(source: str | Path, parts: BoxSplits) -> None:
    """Classes that cannot be learned, or are not judged; inspection says it with all names."""
    for part, what in zip(PARTS, ("they cannot be learned", "not judged there", "not judged there"), strict=True):
        images: list[LabelledImage] = getattr(parts, part)
        present = frozenset().union(*(image.classes for image in images))
        lacking = [name for label, name in enumerate(parts.class_names) if label not in present]
        if images and lacking:
            warnings.warn(
                f"{printable(source)}: no box in {part} is of {some(lacking, 'class name')}: {what}.", stacklevel=4
            )
