"""What lies in a folder of class folders: images found, mistakes told."""

from __future__ import annotations

import os
import warnings
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from tlkit.data.decoding import COMMON_EXTENSIONS, IMAGE_EXTENSIONS
from tlkit.errors import UserError, printable

# What systems leave in folders without hiding it: archives made on macOS, thumbnails of Synology's file servers.
_SYSTEM_NAMES = {"__MACOSX", "@eaDir", "Thumbs.db", "desktop.ini"}
# Of boxes, in the formats of Pascal VOC, COCO and YOLO: a folder of them is no class.
_ANNOTATIONS = {".xml", ".json", ".txt", ".yaml"}
# Files that data sets carry beside their images: passed over in silence. Any other unknown extension is warned about.
_COMPANIONS = frozenset(".txt .md .rst .csv .tsv .json .jsonl .xml .yaml .yml .html .pdf .ini .db .log .zip".split())


def list_classes(folder: Path) -> dict[str, list[Path]]:
    """The images of every class folder, searched to the bottom; classes and paths sorted.

    Hidden files and folders are passed over, links to folders are followed. A file whose extension is not in
    `IMAGE_EXTENSIONS` is left out with a warning, so that it is not lost unseen.

    Raises:
        UserError: When images lie beside the class folders, there are fewer than two classes, or one has no image.
    """
    loose = [entry.name for entry in visible(folder) if entry.is_file() and is_image(entry)]
    if loose:
        raise UserError(
            f"{some(loose, 'image')} directly in {folder}: expected one folder for each class with the images inside; "
            "move each image into its class folder."
        )
    classes = {entry.name: files_below(entry) for entry in visible(folder) if entry.is_dir()}
    if len(classes) < 2:
        found = f"only the one class folder {next(iter(classes))!r}" if classes else "no folder"
        raise UserError(f"{folder} has {found} in it: expected a folder of images for each of at least two classes.")
    images = {name: [path for path in paths if is_image(path)] for name, paths in classes.items()}
    for name, paths in images.items():
        if not paths:
            if {path.suffix.lower() for path in classes[name]} & _ANNOTATIONS:
                raise UserError(
                    f"The class folder {folder / name} has no image in it, but {extensions(classes[name])}: these look "
                    f"like boxes of images in the folders beside it. Images with boxes are for the template "
                    f"detection-head; for classes, move the file{'s' * (len(classes[name]) > 1)} elsewhere."
                )
            raise UserError(
                f"The class folder {folder / name} has no image in it ({extensions(classes[name])}): add images "
                f"({COMMON_EXTENSIONS} ...) or remove the folder."
            )
    _warn_of_unknown(folder, [path for paths in classes.values() for path in paths])
    return images


def visible(folder: Path) -> list[Path]:
    """The entries of a folder that are not hidden, sorted by name."""
    try:
        return sorted(entry for entry in folder.iterdir() if not is_hidden(entry.name))
    except OSError as error:
        raise _locked(error) from error


def is_hidden(name: str) -> bool:
    """Whether a file or folder is passed over: hidden by its name, or a system's own."""
    return name.startswith(".") or name in _SYSTEM_NAMES


def is_companion(path: Path) -> bool:
    """Whether it is one of the files that data sets carry beside their images."""
    return path.suffix.lower() in _COMPANIONS


def is_image(path: Path) -> bool:
    """Whether the extension is one that is read."""
    return path.suffix.lower() in IMAGE_EXTENSIONS


def some(names: list[str], noun: str) -> str:
    """A few names and how many there are in all: "7 images (a.png, b.png, c.png and 4 more)"."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"{len(names)} {noun}{'s' if len(names) > 1 else ''} ({', '.join(map(printable, names[:3]))}{more})"


def files_below(folder: Path) -> list[Path]:
    """All files of a folder that are not hidden, at any depth, sorted; links to folders are followed."""
    found: list[Path] = []
    top = Path(os.path.realpath(folder))
    seen = {str(place) for place in (top, *top.parents)}

    def refuse(error: OSError) -> None:
        raise _locked(error) from error

    for parent, folders, files in os.walk(folder, followlinks=True, onerror=refuse):
        visible_folders = (name for name in sorted(folders) if not is_hidden(name))
        inside = [(name, os.path.realpath(os.path.join(parent, name))) for name in visible_folders]
        folders[:] = [name for name, real in inside if real not in seen]  # a link to a folder above ends here
        seen.update(real for _, real in inside)
        found += [Path(parent, name) for name in files if not is_hidden(name)]
    return sorted(found)


def _locked(error: OSError) -> UserError:
    return UserError(
        f"The folder {printable(error.filename)} cannot be read ({error.strerror}): give yourself the right to, or "
        "move it away."
    )


def extensions(paths: Iterable[Path]) -> str:
    """How many files there are of each extension: "3 x .heic, 1 x no extension"."""
    counts = Counter(path.suffix.lower() or "no extension" for path in paths)
    return ", ".join(f"{number} x {extension}" for extension, number in counts.most_common(5)) or "it is empty"


def _warn_of_unknown(folder: Path, paths: list[Path]) -> None:
    unknown = [path for path in paths if not is_image(path) and not is_companion(path)]
    if unknown:
        warnings.warn(
            f"{len(unknown)} of the {len(paths)} files in {folder} are left out, because their extensions are not "
            f"those of images that are read ({extensions(unknown)}).",
            stacklevel=4,
        )
