"""Training, validation and test images from a folder or a table, the same ones every time."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tlkit.data.image_listing import is_image, list_classes, some, visible
from tlkit.data.manifest import PART_NAMES, read_manifest
from tlkit.data.stable_cut import PARTS, Unit, cut_units
from tlkit.errors import UserError


class ImageFile(NamedTuple):
    """An image and the number of its class; in multi-label data a sorted tuple of the numbers, which may be empty.

    Attributes:
        path: Of the file.
        label: Class number, or numbers.
    """

    path: Path
    label: int | tuple[int, ...]

    @property
    def classes(self) -> tuple[int, ...]:
        """The class numbers as a tuple, of one in ordinary data."""
        return (self.label,) if isinstance(self.label, int) else self.label


class ImageSplits(NamedTuple):
    """Three lists of `ImageFile`, in order of class and path, and the class names by number.

    Attributes:
        train: To learn from.
        validation: To choose the epoch by.
        test: To judge by; may be empty.
        class_names: By number.
        multi_label: Whether an image may show several classes, or none.
    """

    train: list[ImageFile]
    validation: list[ImageFile]
    test: list[ImageFile]
    class_names: list[str]
    multi_label: bool = False


def split_image_folder(
    folder: str | Path,
    *,
    split: Sequence[float] = (0.7, 0.15, 0.15),
    seed: int,
    group_pattern: str | None = None,
) -> ImageSplits:
    r"""Split images into training, validation and test: of a folder of class folders, or of a CSV manifest.

    Three layouts are understood:
    - class folders (`folder/daisy/1.jpg`): every class is split;
    - `train/` and `val/` (or `valid/`, `validation/`), `test/`, or both, each of class folders: the given parts are
      taken as they are. With no validation folder, validation is cut from train, in the proportion
      split[1] / (split[0] + split[1]). With `train/` and `val/` only, test is empty;
    - a table whose first line names the columns `file` and `label` and, where wanted, `split` and `group`, in any order
      and among others: CSV in UTF-8 with commas, tabs or semicolons. Files are relative to the table's folder. `split`
      holds train, val (valid, validation) or test for every row, and means what the folders of that name mean.

    A label cell with several class names makes the data multi-label: `cat|dog`, `cat;dog`, `["cat", "dog"]`. A row may
    then show none of the classes, which is written `[]` or left empty. Labels come out as sorted tuples.

    The split is stable. The part of an image depends on nothing but `seed` and its path below the folder of class
    folders, or of the table:

        h = first 8 bytes of SHA-256("seed:class/name.jpg") / 2^64, in [0, 1)
        train if h < split[0], validation if h < split[0] + split[1], otherwise test

    so images added later move none of the old ones, and the number of a class in each part is binomial about its
    share. One exception serves classes of a few images: a part with a share above zero that would get none of a class
    takes the image whose h is nearest to the part's interval, from the parts that have more than one (when none has,
    from the parts after it: a class of one image goes to train, one of two to train and validation). Such an image
    may go back when more arrive. In multi-label data, an image is taken only where each of its classes has another one.

    Images of one group (a patient, a burst, a scene) are all in the same part, which is chosen as for an image, with
    h of "seed:group": a model that is judged on what it has all but seen looks better than it is. Shares are then of
    groups. Groups that straddle given parts are warned about.

    Args:
        folder: The folder, or the table's file. Images may lie deeper inside a class folder; hidden ones are passed
            over.
        split: Shares of training, validation and test; they sum to 1, and only the last may be 0.
        seed: Chooses the split.
        group_pattern: Regular expression that finds the group in the path, as it is hashed above ("ant/p07_2.jpg"): its
            first capturing group, or the whole match when there is none. `r"(p\d+)_"` finds "p07". A file that it does
            not match is a group of its own. Defaults to None: the table's column `group`, or no groups.

    Raises:
        UserError: When something is missing, is not laid out as above, or is too little to split.
    """
    path, shares = Path(folder), checked_shares(split)
    is_table = path.is_file() or (path.suffix.lower() in (".csv", ".tsv") and not path.is_dir())
    source = _from_table(path) if is_table else _from_folder(path)
    if group_pattern:
        source = _grouped_by(group_pattern, source, path)
    found = source.images
    if len(found) == 1:
        found = _cut(found["train"], shares, seed)
    elif "validation" not in found:
        kept = shares[0] + shares[1]
        found = {**_cut(found["train"], (shares[0] / kept, shares[1] / kept, 0.0), seed), "test": found["test"]}
    if not found["validation"]:
        raise UserError(_too_few(path, found["train"]))
    _warn_of_straddling(path, found)
    train, validation, test = (
        sorted((image.file for image in found.get(part, [])), key=lambda file: (file.label, file.path))
        for part in PARTS
    )
    return ImageSplits(train, validation, test, source.class_names, source.multi_label)


class _Image(NamedTuple):
    file: ImageFile
    name: str  # what is hashed: the path below the folder of class folders, or of the table
    group: str | None = None


class _Source(NamedTuple):
    """The images by part, "train" holding all when nothing is given, and what the classes are."""

    images: dict[str, list[_Image]]
    class_names: list[str]
    multi_label: bool = False


def _from_folder(folder: Path) -> _Source:
    if not folder.is_dir():
        raise UserError(f"There is no folder {folder}: give a folder that holds one folder of images for each class.")
    given = _given_parts(folder)
    roots = given or {"train": folder}
    found = {part: list_classes(root) for part, root in roots.items()}
    _require_equal_classes(given, found)
    images = {
        part: [
            _Image(ImageFile(path, label), path.relative_to(roots[part]).as_posix())
            for label, paths in enumerate(classes.values())
            for path in paths
        ]
        for part, classes in found.items()
    }
    return _Source(images, list(found["train"]))


def _from_table(table: Path) -> _Source:
    if not table.is_file():
        raise UserError(f"There is no table {table}: give a CSV file with the columns file and label, or a folder.")
    rows, class_names, multi_label = read_manifest(table)
    numbers = {name: number for number, name in enumerate(class_names)}
    images: dict[str, list[_Image]] = {}
    for row in rows:
        classes = tuple(sorted(numbers[name] for name in row.classes))
        file = ImageFile(row.path, classes if multi_label else classes[0])
        images.setdefault(row.part or "train", []).append(_Image(file, row.name, row.group))
    return _Source(images, class_names, multi_label)


def checked_shares(split: Sequence[float]) -> tuple[float, float, float]:
    """The shares of the parts, which must be such."""
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
    named = [entry for entry in folders if entry.name.lower() in PART_NAMES]
    others = [entry.name for entry in folders if entry not in named]
    parts = {PART_NAMES[entry.name.lower()]: entry for entry in named}
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
    loose = [entry.name for entry in visible(folder) if entry.is_file() and is_image(entry)]
    for names_beside, noun in ((others, "folder"), (loose, "image")):
        if names_beside:
            warnings.warn(f"{some(names_beside, noun)} beside {folder / 'train'} left out of the split.", stacklevel=4)
    return parts


def _require_equal_classes(given: dict[str, Path], found: dict[str, dict[str, list[Path]]]) -> None:
    for part, classes in found.items():
        for name in sorted(set(classes) ^ set(found["train"])):
            has, lacks = (part, "train") if name in classes else ("train", part)
            raise UserError(
                f"{given[has]} has a class {name!r} and {given[lacks]} has none of that name: expected the same class "
                "folders in both."
            )


def _grouped_by(pattern: str, source: _Source, path: Path) -> _Source:
    """The same images with the group that the pattern finds in their names."""
    try:
        search = re.compile(pattern).search
    except re.error as error:
        raise UserError(
            f"The group_pattern {pattern!r} is no regular expression ({error}). Expected one that finds the group in a "
            "path, such as '(patient[0-9]+)'."
        ) from error
    every = [image for images in source.images.values() for image in images]
    if any(image.group is not None for image in every):
        raise UserError(f"{path} has a column 'group', and a group_pattern is given as well: leave one of them out.")
    matches = {image.name: search(image.name) for image in every}
    groups = {name: match[1 if match.re.groups else 0] for name, match in matches.items() if match}
    if not any(groups.values()):
        raise UserError(
            f"The group_pattern {pattern!r} finds nothing in any of the {len(every)} paths, such as {every[0].name!r}. "
            "Expected a regular expression that finds the group in some."
        )
    images = {
        part: [image._replace(group=groups.get(image.name) or None) for image in members]
        for part, members in source.images.items()
    }
    return source._replace(images=images)


def _cut(images: list[_Image], shares: Sequence[float], seed: int) -> dict[str, list[_Image]]:
    """The images by part, those of a group together."""
    units: dict[tuple[bool, str], list[_Image]] = {}
    for image in images:
        key = (False, image.name) if image.group is None else (True, image.group)
        units.setdefault(key, []).append(image)
    parts = cut_units(
        [Unit(name, frozenset(c for image in unit for c in image.file.classes)) for (_, name), unit in units.items()],
        shares,
        seed,
    )
    cut: dict[str, list[_Image]] = {part: [] for part in PARTS}
    for unit, part in zip(units.values(), parts, strict=True):
        cut[PARTS[part]] += unit
    return cut


def _too_few(path: Path, train: list[_Image]) -> str:
    groups = sorted({image.group for image in train if image.group is not None})
    if groups:
        why = f"its {len(train)} images are of {some(groups, 'group')}, and no class is in two of them"
    else:
        why = "no class has a second image"
    return (
        f"{path} is too little to split: {why}, so that nothing is left for validation. Expected at least two "
        f"{'groups' if groups else 'images'} of a class."
    )


def _warn_of_straddling(path: Path, found: dict[str, list[_Image]]) -> None:
    """Groups in two given parts; what is cut here never divides one."""
    places: dict[str, set[str]] = {}
    for part, images in found.items():
        for image in images:
            if image.group is not None:
                places.setdefault(image.group, set()).add(part)
    straddling = sorted(group for group, parts in places.items() if len(parts) > 1)
    if straddling:
        warnings.warn(
            f"{path} has images of {some(straddling, 'group')} in several of its given parts, so the model is judged "
            "on what it has all but seen. Move each group into one part.",
            stacklevel=3,
        )
