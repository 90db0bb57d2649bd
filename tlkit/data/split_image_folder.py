"""Training, validation and test images from a folder, the same ones every time."""

from __future__ import annotations

import hashlib
import unicodedata
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tlkit.data.image_listing import list_classes, some, visible
from tlkit.errors import UserError

_PARTS = ("train", "validation", "test")
_FOLDER_NAMES = {
    "train": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
}


class ImageFile(NamedTuple):
    """An image and the number of its class."""

    path: Path
    label: int


class ImageSplits(NamedTuple):
    """Three lists of `ImageFile`, in order of class and path, and the class names by number."""

    train: list[ImageFile]
    validation: list[ImageFile]
    test: list[ImageFile]
    class_names: list[str]


def split_image_folder(folder: str | Path, *, split: Sequence[float] = (0.7, 0.15, 0.15), seed: int) -> ImageSplits:
    """Split a folder of class folders into training, validation and test images.

    Two layouts are understood:
    - class folders (`folder/daisy/1.jpg`): every class is split;
    - `train/` and `val/` (or `valid/`, `validation/`), `test/`, or both, each of class folders: the given parts are
      taken as they are. With no validation folder, validation is cut from train, in the proportion
      split[1] / (split[0] + split[1]). With `train/` and `val/` only, test is empty.

    The split is stable. The part of an image depends on nothing but `seed` and its path below the folder of class
    folders:

        h = first 8 bytes of SHA-256("seed:class/name.jpg") / 2^64, in [0, 1)
        train if h < split[0], validation if h < split[0] + split[1], otherwise test

    so images added later move none of the old ones, and the number of a class in each part is binomial about its
    share. One exception serves classes of a few images: a part with a share above zero that would get none of a class
    takes the image whose h is nearest to the part's interval, from the parts that have more than one (when none has,
    from the parts after it: a class of one image goes to train, one of two to train and validation). Such an image
    may go back when more arrive.

    Args:
        folder: The folder. Images may lie deeper inside a class folder; hidden files are passed over.
        split: Shares of training, validation and test; they sum to 1, and only the last may be 0.
        seed: Chooses the split.

    Raises:
        UserError: When the folder is missing, or is not laid out as above.
    """
    folder = Path(folder)
    shares = _checked_shares(split)
    if not folder.is_dir():
        raise UserError(f"There is no folder {folder}: give a folder that holds one folder of images for each class.")
    given = _given_parts(folder)
    found = {part: list_classes(path) for part, path in given.items()} if given else {"train": list_classes(folder)}
    _require_equal_classes(given, found)
    class_names = list(found["train"])
    if len(found) == 1:
        found = _cut(found["train"], given.get("train", folder), shares, seed)
    elif "validation" not in found:
        kept = shares[0] + shares[1]
        cut = _cut(found["train"], given["train"], (shares[0] / kept, shares[1] / kept, 0.0), seed)
        found = {**cut, "test": found["test"]}
    train, validation, test = (
        [ImageFile(path, label) for label, name in enumerate(class_names) for path in found.get(part, {}).get(name, [])]
        for part in _PARTS
    )
    return ImageSplits(train, validation, test, class_names)


def _checked_shares(split: Sequence[float]) -> tuple[float, float, float]:
    shares = tuple(float(share) for share in split)
    if len(shares) != 3 or abs(sum(shares) - 1) > 1e-6 or min(shares) < 0 or not (shares[0] > 0 and shares[1] > 0):
        raise UserError(
            f"The split {tuple(split)} is not one: expected three shares for training, validation and test that sum "
            "to 1, of which only the last may be 0, as in (0.7, 0.15, 0.15)."
        )
    return shares[0], shares[1], shares[2]


def _given_parts(folder: Path) -> dict[str, Path]:
    """The folders that are parts by name, when `train` is one and nothing but parts, or another part, is beside it."""
    folders = [entry for entry in visible(folder) if entry.is_dir()]
    named = [entry for entry in folders if entry.name.lower() in _FOLDER_NAMES]
    others = [entry.name for entry in folders if entry not in named]
    parts = {_FOLDER_NAMES[entry.name.lower()]: entry for entry in named}
    if "train" not in parts:
        if named and not others:
            raise UserError(
                f"{folder} has {named[0].name}/ but no train/ in it: expected the training images in train/."
            )
        return {}
    if len(parts) == 1 and others:
        return {}  # a class that happens to be called "train"
    if len(parts) < len(named):
        names = ", ".join(entry.name for entry in named)
        raise UserError(f"{folder} has two folders for the same part ({names}): keep one of them.")
    if others:
        warnings.warn(f"{some(others, 'folder')} beside {folder / 'train'} left out of the split.", stacklevel=3)
    return parts


def _require_equal_classes(given: dict[str, Path], found: dict[str, dict[str, list[Path]]]) -> None:
    for part, classes in found.items():
        for name in sorted(set(classes) ^ set(found["train"])):
            has, lacks = (part, "train") if name in classes else ("train", part)
            raise UserError(
                f"{given[has]} has a class {name!r} and {given[lacks]} has none of that name: expected the same class "
                "folders in both."
            )


def _cut(
    classes: dict[str, list[Path]], root: Path, shares: tuple[float, float, float], seed: int
) -> dict[str, dict[str, list[Path]]]:
    cut: dict[str, dict[str, list[Path]]] = {part: {} for part in _PARTS}
    for name, paths in classes.items():
        positions = {path: _position(path.relative_to(root), seed) for path in paths}
        for part, members in zip(_PARTS, _cut_class(positions, shares), strict=True):
            cut[part][name] = members
    return cut


def _position(path: Path, seed: int) -> float:
    """A number in [0, 1) for a relative path; the same on every system (separators, and Unicode as macOS spells it)."""
    name = unicodedata.normalize("NFC", path.as_posix())
    digest = hashlib.sha256(f"{seed}:{name}".encode("utf-8", "surrogateescape")).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def _cut_class(positions: dict[Path, float], shares: tuple[float, float, float]) -> list[list[Path]]:
    """The images of one class by part, none empty that has a share, as long as there are images enough."""
    train_end = shares[0]
    validation_end = shares[0] + shares[1] if shares[2] else 1.0
    intervals = ((0.0, train_end), (train_end, validation_end), (validation_end, 1.0))
    members = [{path for path, position in positions.items() if start <= position < end} for start, end in intervals]
    for part, (start, end) in enumerate(intervals):
        if members[part] or not shares[part]:
            continue
        givers = [giver for giver in members if len(giver) > 1] or members[part + 1 :]
        distances = [(max(start - positions[path], positions[path] - end), path) for giver in givers for path in giver]
        if distances:
            nearest = min(distances)[1]
            for giver in givers:
                giver.discard(nearest)
            members[part].add(nearest)
    return [sorted(paths) for paths in members]
