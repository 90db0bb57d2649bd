"""COCO: one JSON file for all images of a part."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from tlkit.data.boxes.records import Problem, RawBox, RawImage, RawTable, corners_of, name_of, path_inside
from tlkit.data.image_listing import some, visible
from tlkit.data.manifest import PART_NAMES
from tlkit.errors import UserError, printable

_KEYS = ("images", "annotations", "categories")
_SNIFFED = 2**16  # bytes at both ends of a file in which the keys are looked for; they stand at the top level


class _File(NamedTuple):
    """One JSON file, read."""

    path: Path
    part: str | None
    content: dict[str, list[Any]]


def find_coco(folder: Path) -> list[Path]:
    """The JSON files of a folder, of its `annotations/`, and of the folders of parts, that look like COCO's."""
    places = [folder, folder / "annotations", *(folder / name for name in PART_NAMES)]
    return [
        path
        for place in places
        if place.is_dir()
        for path in visible(place)
        if path.suffix.lower() == ".json" and path.is_file() and _looks_like_coco(path)
    ]


def _looks_like_coco(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            ends = file.read(_SNIFFED)
            file.seek(max(path.stat().st_size - _SNIFFED, 0))
            ends += file.read()
    except OSError:
        return False
    return sum(f'"{key}"'.encode() in ends for key in _KEYS) >= 2


def read_coco(root: Path, paths: list[Path]) -> RawTable:
    """Read files with `images`, `annotations` (`bbox`: x, y, width, height) and `categories`.

    Images are looked for beside the file, in `images/`, and in folders that are called as the file or its part. Regions
    of a crowd (`iscrowd`) are no boxes of one thing, and are left out.
    """
    files = [_File(path, _part_of(root, path) if len(paths) > 1 else None, _load(path)) for path in paths]
    if len(files) > 1:
        files = _only_parts(files)
    names: dict[str, None] = {}
    for file in files:
        names.update(dict.fromkeys(_categories(file).values()))
    table = RawTable(root, [], [*names], [], [])
    if len(paths) > len(files):
        others = [name_of(root, path) for path in paths if path not in {file.path for file in files}]
        table.left_out.append(
            f"{some(others, 'JSON file')} left out, whose part (train, val, test) is not in the name."
        )
    for file in files:
        _read(table, file)
    return table


def _part_of(root: Path, path: Path) -> str | None:
    """By a word of the file's name, as in "instances_val2017", or by the name of its folder below the root."""
    words = re.findall("[a-z]+", path.stem.lower())
    words += [path.parent.name.lower()] if path.parent != root else []
    return next((PART_NAMES[word] for word in words if word in PART_NAMES), None)


def _only_parts(files: list[_File]) -> list[_File]:
    named = [file for file in files if file.part]
    parts = [file.part for file in named]
    twice = next((part for part in parts if parts.count(part) > 1), None)
    if twice or "train" not in parts:
        what = f"are both of the part {twice!r}" if twice else "are several, and none is called train"
        raise UserError(
            f"The files {', '.join(printable(file.path) for file in (named if twice else files))} {what}. Expected one "
            "JSON file, or one each for train, val and test. Name the file to read instead of the folder."
        )
    return named


def _load(path: Path) -> dict[str, list[Any]]:
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise UserError(f"{printable(path)} cannot be read ({error.strerror}).") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{printable(path)} is no JSON that can be read ({printable(error)[:200]}).") from error
    if not isinstance(content, dict) or not all(isinstance(content.get(key), list) for key in _KEYS):
        raise UserError(f"{printable(path)} is not laid out as COCO: expected lists {', '.join(_KEYS)} at its top.")
    return content


def _categories(file: _File) -> dict[Any, str]:
    """Category id -> name, in the order of the ids."""
    found: dict[Any, str] = {}
    for entry in file.content["categories"]:
        if not isinstance(entry, dict) or type(entry.get("id")) is not int or not str(entry.get("name", "")).strip():
            raise UserError(f"{printable(file.path)}: expected a category to have an id and a name: {entry!r:.200}.")
        if entry["id"] in found:
            raise UserError(f"{printable(file.path)}: the category {entry['id']} is there twice. Keep one of them.")
        found[entry["id"]] = str(entry["name"]).strip()
    return dict(sorted(found.items()))


def _read(table: RawTable, file: _File) -> None:
    place = name_of(table.root, file.path)
    boxes = _boxes(table, file, place)
    folders: list[Path] = []
    seen: set[int] = set()
    for number, entry in enumerate(file.content["images"], start=1):
        name = entry.get("file_name") if isinstance(entry, dict) else None
        if not isinstance(name, str) or not name or type(entry.get("id")) is not int:
            problem = Problem("annotation", f"image {number}", place, f"image {number} has no id or no file_name")
            table.problems.append(problem)
            continue
        if entry["id"] in seen:
            what = f"the id {entry['id']!r:.40} is of another image, too, so that it is not known whose the boxes are"
            table.problems.append(Problem("repeated", name, place, what))
            continue
        seen.add(entry["id"])
        its = boxes.pop(entry["id"], [])
        folders = folders or _folders(table.root, file, name)
        path = _find(table.root, folders, name)
        if path is None:
            what = f"the file name {name!r} leads out of {table.root}"
            table.problems.append(Problem("leaves", name, place, what))
        else:
            table.images.append(RawImage(path, place, file.part, _size(entry), its))
    for image_id, its in boxes.items():
        what = f"{len(its)} boxes are of the image {image_id!r:.40}, which is not in the list of images"
        table.problems.append(Problem("annotation", f"id {image_id!r:.40}", place, what))


def _boxes(table: RawTable, file: _File, place: str) -> dict[Any, list[RawBox]]:
    """Image id -> its boxes."""
    names = _categories(file)
    found: dict[Any, list[RawBox]] = {}
    for number, entry in enumerate(file.content["annotations"], start=1):
        image = entry.get("image_id") if isinstance(entry, dict) else None
        if type(image) is not int:
            problem = Problem("annotation", f"annotation {number}", place, f"annotation {number} has no image_id")
            table.problems.append(problem)
            continue
        where = f"annotation {entry.get('id', number)!r:.40}"
        if entry.get("iscrowd") == 1:
            table.problems.append(Problem("crowd", f"id {image}", f"{place}, {where}", "a region of a crowd"))
            continue
        category = entry.get("category_id")
        name = names.get(category, "") if type(category) is int else ""
        bbox = entry.get("bbox")
        values = bbox if isinstance(bbox, list) and all(type(value) in (int, float) for value in bbox) else []
        corners = corners_of(values)
        if corners is not None:
            x, y, width, height = corners
            corners = (x, y, x + width, y + height)
        box = RawBox(where, name or f"category {category!r:.40}", corners, f"{bbox!r:.80}")
        found.setdefault(image, []).append(box)
    return found


def _size(entry: dict[str, Any]) -> tuple[int, int] | None:
    width, height = entry.get("width"), entry.get("height")
    return (width, height) if type(width) is int and type(height) is int and width > 0 and height > 0 else None


def _folders(root: Path, file: _File, name: str) -> list[Path]:
    """Where images may be, the folder first in which the file of that name is."""
    places = [*_candidates(root, file)]
    return sorted(places, key=lambda place: not os.path.isfile(place / name))


def _candidates(root: Path, file: _File) -> Iterator[Path]:
    part_names = [name for name, part in PART_NAMES.items() if part == file.part]
    tail = file.path.stem.rpartition("_")[2]  # "train2017" of "instances_train2017"
    for base in dict.fromkeys((file.path.parent, root)):
        yield base
        for place in (base, base / "images", base / "JPEGImages"):
            if place != base:
                yield place
            yield from (place / name for name in (file.path.stem, tail, *part_names))


def _find(root: Path, folders: list[Path], name: str) -> Path | None:
    """The file in the first folder that has it, or where it should be; None when the name leads out of the root."""
    paths = [path_inside(root, name_of(root, folder / name)) for folder in folders]
    if os.path.isabs(name) or "\0" in name or paths[0] is None:
        return None
    inside = [path for path in paths if path is not None]
    return next((path for path in inside if os.path.isfile(path)), inside[0])
