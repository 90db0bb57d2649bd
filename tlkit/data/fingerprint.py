"""What a training's images are, in a few words that change when they do."""

from __future__ import annotations

import hashlib
import os

from tlkit.data.split_image_folder import ImageFile, ImageSplits


def fingerprint_images(files: ImageSplits, *, times: bool = False) -> dict[str, str]:
    """Describe the images of each part, for `ExactResume(fingerprint=...)`: another data set is another training.

    Counted are each file's place below their common folder, its labels and its size in bytes; no file is read.

    Args:
        files: The parts, as in `ImageFolder.files`.
        times: Whether these very files are meant, for `fit_on_features(fingerprint=...)`: their folder and when each
            was last changed are counted then, and their labels, which features do not depend on, are not.

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
    described = {name: f"{len(part)} images ({_checksum(part, root, times)})" for name, part in parts.items()}
    return described | ({"folder": os.path.abspath(root)} if times else {"classes": ", ".join(files.class_names)})


def _checksum(part: list[ImageFile], root: str, times: bool) -> str:
    digest = hashlib.sha256()
    for file in part:
        found = file.path.stat()
        known: object = found.st_mtime_ns if times else file.classes
        line = f"{os.path.relpath(file.path, root)}\0{known}\0{found.st_size}\n"
        digest.update(line.encode("utf-8", "surrogateescape"))
    return digest.hexdigest()[:12]
