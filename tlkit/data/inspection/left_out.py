"""What lies in a data folder and is no part of the data: nothing is passed over without a word."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable
from pathlib import Path

from tlkit.data.image_listing import is_companion, is_hidden, is_image


@dataclasses.dataclass
class LeftOut:
    """Files and folders that are not among the data, by the reason for it.

    Attributes:
        hidden: Hidden files and folders (not what is in these).
        companions: Files of other kinds that data sets carry beside their images.
        unknown: Files whose extension is not one of images that are read.
        images: Images in no class folder, or in no row of the table.
        dead_links: Links to nothing.
        empty_folders: Folders with nothing in them.
    """

    hidden: list[Path] = dataclasses.field(default_factory=list)
    companions: list[Path] = dataclasses.field(default_factory=list)
    unknown: list[Path] = dataclasses.field(default_factory=list)
    images: list[Path] = dataclasses.field(default_factory=list)
    dead_links: list[Path] = dataclasses.field(default_factory=list)
    empty_folders: list[Path] = dataclasses.field(default_factory=list)


def left_out_of_folder(folder: Path, taken: Iterable[Path]) -> LeftOut:
    """Everything below the folder but what is taken; links to folders are followed, as when images are listed."""
    found, known = LeftOut(), set(taken)
    top = Path(os.path.realpath(folder))
    seen = {str(place) for place in (top, *top.parents)}

    for parent, folders, files in os.walk(folder, followlinks=True):
        here = Path(parent)
        if not folders and not files:
            found.empty_folders.append(here)
        found.hidden += [here / name for name in folders if is_hidden(name)]
        inside = [(name, os.path.realpath(here / name)) for name in folders if not is_hidden(name)]
        folders[:] = [name for name, real in inside if real not in seen]
        seen.update(real for _, real in inside)
        for path in (here / name for name in files):
            if path not in known:
                _place_for(path, found).append(path)
    for paths in vars(found).values():
        paths.sort()
    return found


def left_out_of_table(taken: Iterable[Path]) -> LeftOut:
    """The images that a table does not name in the folders of those that it names."""
    found = LeftOut()
    known = {os.path.abspath(path) for path in taken}
    for folder in sorted({os.path.dirname(path) for path in known}):
        with os.scandir(folder) as entries:
            others = sorted(entry.path for entry in entries if entry.path not in known and entry.is_file())
        found.images += [path for path in map(Path, others) if is_image(path) and not is_hidden(path.name)]
    return found


def _place_for(path: Path, found: LeftOut) -> list[Path]:
    if is_hidden(path.name):
        return found.hidden
    if not os.path.exists(path):
        return found.dead_links
    if is_image(path):
        return found.images
    return found.companions if is_companion(path) else found.unknown
