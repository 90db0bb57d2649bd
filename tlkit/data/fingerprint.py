"""What a training's images are, in a few words that change when they do."""

from __future__ import annotations

import hashlib
import os

from tlkit.data.split_image_folder import ImageFile, ImageSplits


def fingerprint_images(files: ImageSplits) -> dict[str, str]:
    """Describe the images of each part, for `ExactResume(fingerprint=...)`: another data set is another training.

    Counted are each file's place below their common folder, its labels and its size in bytes; no file is read.

    Args:
        files: The parts, as in `ImageFolder.files`.

    Returns:
        Number of images and a checksum for each part, and the class names.

    Example:
        >>> from tlkit.data import split_image_folder
        >>> fingerprint_images(split_image_folder("photos", seed=7))["classes"]
        'ant, bee'
    """
    parts = {"train": files.train, "validation": files.validation, "test": files.test}
    paths = [file.path for part in parts.values() for file in part]
    root = os.path.commonpath([path.parent for path in paths]) if paths else ""
    described = {name: f"{len(part)} images ({_checksum(part, root)})" for name, part in parts.items()}
    return {**described, "classes": ", ".join(files.class_names)}


def _checksum(part: list[ImageFile], root: str) -> str:
    digest = hashlib.sha256()
    for file in part:
        place = os.path.relpath(file.path, root)
        digest.update(f"{place}\0{file.classes}\0{file.path.stat().st_size}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()[:12]
