"""What a training's images with boxes are, in a few words that change when they do."""

from __future__ import annotations

import hashlib
import os

from tlkit.data.boxes.records import LabelledImage
from tlkit.data.boxes.split_boxes import BoxSplits


def fingerprint_boxes(rows: BoxSplits) -> dict[str, str]:
    """Describe the images of each part, for `ExactResume(fingerprint=...)`: another data set is another training.

    Counted are each file's place below their common folder, its size in bytes, its boxes and their classes; no file is
    read.

    Args:
        rows: The parts, as in `BoxData.rows`.

    Returns:
        Number of images and of boxes and a checksum for each part, and the class names.

    Example:
        >>> from tlkit.data import split_boxes
        >>> fingerprint_boxes(split_boxes("scenes", seed=7))["classes"]
        'circle, square'
    """
    parts = {"train": rows.train, "validation": rows.validation, "test": rows.test}
    paths = [image.path for part in parts.values() for image in part]
    root = os.path.commonpath([path.parent for path in paths]) if paths else ""
    described = {
        name: f"{len(part)} images, {sum(len(image.boxes) for image in part)} boxes ({_checksum(part, root)})"
        for name, part in parts.items()
    }
    return {**described, "classes": ", ".join(rows.class_names)}


def _checksum(part: list[LabelledImage], root: str) -> str:
    digest = hashlib.sha256()
    for image in part:
        place = os.path.relpath(image.path, root)
        digest.update(f"{place}\0{image.path.stat().st_size}\0".encode("utf-8", "surrogateescape"))
        digest.update(image.boxes.astype("<f8").tobytes() + image.labels.astype("<i4").tobytes())
    return digest.hexdigest()[:12]
