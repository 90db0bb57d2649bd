"""Pascal VOC: one XML file for each image."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

from tlkit.data.boxes.records import Problem, RawBox, RawImage, RawTable, corners_of, name_of, path_inside, read_small
from tlkit.data.image_listing import is_image, some, visible
from tlkit.data.manifest import PART_NAMES
from tlkit.errors import UserError, printable

_SIDES = ("xmin", "ymin", "xmax", "ymax")


class _Refusing(ElementTree.TreeBuilder):
    """Builds a tree of a document that declares nothing of its own."""

    def doctype(self, name: str, pubid: str, system: str) -> None:
        raise UserError("it has a DOCTYPE, by which a file can name other files or grow without end")


def has_xml(folder: Path) -> bool:
    """Whether the folder is laid out as Pascal VOC."""
    return any(True for _, _, _ in _places(folder))


def read_voc(folder: Path) -> RawTable:
    """Read `Annotations/*.xml` with the lists in `ImageSets/Main`, or XML files beside their images.

    Images are in `JPEGImages/` (or `images/`), under the annotation's own name or the one that its `filename` gives.
    Coordinates are taken as they stand.
    """
    table = RawTable(folder, [], None, [], [])
    lists = _lists(folder, table)
    listed: dict[Path, dict[str, Path]] = {}
    unlisted = []
    for annotation, images, part in _places(folder):
        parts = [part] if lists is None else lists.pop(annotation.stem, None)
        place = name_of(folder, annotation)
        if parts is None:
            unlisted.append(place)
        elif len(parts) > 1:
            what = f"the image is in the lists of {' and of '.join(map(str, parts))}; keep it in one"
            table.problems.append(Problem("repeated", annotation.stem, place, what))
        else:
            if images not in listed:
                listed[images] = {path.stem: path for path in reversed(visible(images)) if is_image(path)}
            _read(table, annotation, images, listed[images], parts[0])
    for stem, parts in (lists or {}).items():
        what = f"names '{stem}', which has no file in Annotations"
        table.problems.append(Problem("annotation", stem, f"the list of {parts[0]} in ImageSets/Main", what))
    if unlisted:
        table.left_out.append(f"{some(unlisted, 'annotation')} in none of the lists train, val and test: left out.")
    _note_images_without(table)
    return table


def _places(folder: Path) -> Iterator[tuple[Path, Path, str | None]]:
    """Each annotation, the folder of its image, and the part that its own folder says."""
    annotations = folder / "Annotations"
    if annotations.is_dir():
        images = next((folder / name for name in ("JPEGImages", "images") if (folder / name).is_dir()), folder)
        yield from ((path, images, None) for path in _xml_in(annotations))
        return
    yield from ((path, folder, None) for path in _xml_in(folder))
    for name, part in PART_NAMES.items():
        if (folder / name).is_dir():
            yield from ((path, folder / name, part) for path in _xml_in(folder / name))


def _xml_in(folder: Path) -> list[Path]:
    return [path for path in visible(folder) if path.suffix.lower() == ".xml"]


def _lists(folder: Path, table: RawTable) -> dict[str, list[str | None]] | None:
    """Name -> its parts, by `ImageSets/Main`; None without such lists."""
    main = folder / "ImageSets" / "Main"
    files = {name: main / f"{name}.txt" for name in ("train", "val", "trainval", "test")}
    found = {name: path for name, path in files.items() if path.is_file()}
    if "train" in found:
        found.pop("trainval", None)  # the two together
    elif "trainval" in found:
        found["train"] = found.pop("trainval")
        found.pop("val", None)  # a part of it
    if "train" not in found:
        if found:
            table.left_out.append(f"{main} has no train.txt: its lists are not used, and the images are split anew.")
        return None
    parts: dict[str, list[str | None]] = {}
    for name, path in found.items():
        for line in read_small(path).decode("utf-8", "replace").splitlines():
            stem = line.strip()
            if stem and not os.path.exists(folder / "Annotations" / f"{stem}.xml"):
                stem = stem.split()[0]  # lists of a class have 1 or -1 behind the name
            if stem and PART_NAMES[name] not in parts.setdefault(stem, []):
                parts[stem].append(PART_NAMES[name])
    return parts


def _read(table: RawTable, annotation: Path, images: Path, by_stem: dict[str, Path], part: str | None) -> None:
    place = name_of(table.root, annotation)
    try:
        tree = _parse(annotation)
    except UserError as error:
        table.problems.append(Problem("annotation", annotation.stem, place, str(error).removesuffix(".")))
        return
    named = (tree.findtext("filename") or "").strip()
    path = _image_of(table, annotation, images, by_stem.get(annotation.stem), named)
    if path is not None:
        boxes = [_box(number, element) for number, element in enumerate(tree.findall("object"), start=1)]
        table.images.append(RawImage(path, place, part, _size(tree), boxes))


def _parse(path: Path) -> ElementTree.Element:
    content = read_small(path)
    plain = content.replace(b"\0", b"").upper()  # without the zeros of UTF-16
    if b"<!DOCTYPE" in plain or b"<!ENTITY" in plain:
        raise UserError("it has a DOCTYPE, by which a file can name other files or grow without end")
    try:
        return ElementTree.fromstring(content, ElementTree.XMLParser(target=_Refusing()))
    except (ElementTree.ParseError, ValueError, LookupError) as error:  # the last: an encoding that is not known
        raise UserError(str(error) if isinstance(error, UserError) else f"no XML that can be read ({error})") from error


def _image_of(table: RawTable, annotation: Path, images: Path, own: Path | None, named: str) -> Path | None:
    """The file that has the annotation's name, or else the one that is named in it."""
    place = name_of(table.root, annotation)
    other = path_inside(table.root, name_of(table.root, images / named)) if named else None
    if named and other is None:
        problem = Problem("leaves", annotation.stem, place, f"the file name {named!r} leads out of {table.root}")
        table.problems.append(problem)
        return None
    if own and other and os.path.isfile(other) and other.stem != own.stem:
        what = f"it names the image {named}, and there is one of its own name, {own.name}, as well"
        table.problems.append(Problem("annotation", annotation.stem, place, what))
        return None
    return own or other or images / f"{annotation.stem}.jpg"


def _size(tree: ElementTree.Element) -> tuple[int, int] | None:
    try:
        width, height = (int(float(tree.findtext(f"size/{side}") or 0)) for side in ("width", "height"))
    except (ValueError, OverflowError):
        return None
    return (width, height) if width > 0 and height > 0 else None  # some tools write zeros


def _box(number: int, element: ElementTree.Element) -> RawBox:
    values = [(element.findtext(f"bndbox/{side}") or "").strip() for side in _SIDES]
    name = (element.findtext("name") or "").strip()
    return RawBox(f"box {number}", name, corners_of(values), ", ".join(printable(value[:20]) for value in values))


def _note_images_without(table: RawTable) -> None:
    """Images that have no annotation; an image without boxes has one that is empty."""
    known = {image.path for image in table.images}
    stems = {Path(problem.place).stem for problem in table.problems}
    folders = sorted({image.path.parent for image in table.images})
    without = [
        name_of(table.root, path)
        for folder in folders
        if folder.is_dir()
        for path in visible(folder)
        if is_image(path) and path not in known and path.stem not in stems
    ]
    if without and not (table.root / "ImageSets" / "Main").is_dir():
        table.left_out.append(f"{some(without, 'image')} without an annotation: left out.")
