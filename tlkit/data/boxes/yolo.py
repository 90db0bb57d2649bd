"""YOLO: a text file for each image, a line for each box, numbers as shares of the image."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tlkit.data.boxes.records import Problem, RawBox, RawImage, RawTable, corners_of, name_of, read_small
from tlkit.data.image_listing import files_below, is_image, visible
from tlkit.data.manifest import PART_NAMES
from tlkit.errors import UserError, printable

_NAMES = ("classes.txt", "obj.names")
_LOOKED_FOR = "`names` in data.yaml, classes.txt or obj.names"


def has_labels(folder: Path) -> bool:
    """Whether the folder is laid out as YOLO's are."""
    return any(True for _ in _places(folder))


def read_yolo(folder: Path) -> RawTable:
    """Read `images/` and `labels/`, with parts inside them or around them, or `obj_train_data/`.

    A line is `class x_center y_center width height`, the class by its number, the others as shares of the image's
    width or height. An image without a file of labels has no boxes.
    """
    names = _class_names(folder)
    table = RawTable(folder, [], names, [], [])
    for name in PART_NAMES:
        if (folder / "images" / name).is_dir() and not (folder / "labels" / name).is_dir():
            table.left_out.append(f"The images in images/{name} are left out, since there is no labels/{name}.")
    for images, labels, part in _places(folder):
        seen = set()
        for image in files_below(images):
            if is_image(image):
                text = (labels / image.relative_to(images)).with_suffix(".txt")
                seen.add(text)
                _read(table, image, text, part, names)
        for text in files_below(labels):
            if text.suffix == ".txt" and text not in seen and text.name not in (*_NAMES, "train.txt"):
                place, expected = name_of(folder, text), name_of(folder, images / text.relative_to(labels).stem)
                problem = Problem("missing", expected, place, f"there is no image {expected}.* for these labels")
                table.problems.append(problem)
    return table


def _places(folder: Path) -> Iterator[tuple[Path, Path, str | None]]:
    """The folders of images, of labels, and the part that they are."""
    images, labels = folder / "images", folder / "labels"
    if images.is_dir() and labels.is_dir():
        parts = [name for name in PART_NAMES if (images / name).is_dir()]
        if not parts:
            yield images, labels, None
        for name in parts:
            if (labels / name).is_dir():
                yield images / name, labels / name, PART_NAMES[name]
    for name, part in PART_NAMES.items():
        if (folder / name / "images").is_dir() and (folder / name / "labels").is_dir():
            yield folder / name / "images", folder / name / "labels", part
    darknet = folder / "obj_train_data"
    if darknet.is_dir():
        yield darknet, darknet, None


def _class_names(folder: Path) -> list[str]:
    for path in (*visible(folder), *(visible(folder / "labels") if (folder / "labels").is_dir() else ())):
        if path.suffix.lower() in (".yaml", ".yml"):
            names = _names_in_yaml(path)
            if names is not None:
                return names
        elif path.name in _NAMES:
            lines = read_small(path).decode("utf-8-sig", "replace").splitlines()
            while lines and not lines[-1].strip():
                lines.pop()
            return _checked(path, [line.strip() for line in lines])
    raise UserError(f"{folder} holds YOLO labels, but no names of the classes. Expected {_LOOKED_FOR}.")


def _names_in_yaml(path: Path) -> list[str] | None:
    """The names in a file of YOLO's; None when it has none."""
    import yaml

    try:
        content = yaml.safe_load(read_small(path))
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise UserError(f"{path} is no YAML that can be read ({printable(error)[:200]}).") from error
    names = content.get("names") if isinstance(content, dict) else None
    if isinstance(names, dict) and sorted(names, key=str) == sorted(range(len(names)), key=str):
        names = [names[number] for number in range(len(names))]
    if names is None:
        return None
    if not isinstance(names, list) or not all(isinstance(name, str | int | float) for name in names):
        raise UserError(f"{path}: expected `names` to be a list of names, or a name for each number from 0 on.")
    return _checked(path, [str(name).strip() for name in names])


def _checked(path: Path, names: list[str]) -> list[str]:
    if not names or not all(names) or len(set(names)) < len(names):
        raise UserError(f"{path}: expected a name for each class, none of them empty or twice. Received: {names[:20]}.")
    return names


def _read(table: RawTable, image: Path, text: Path, part: str | None, names: list[str]) -> None:
    place = name_of(table.root, text)
    try:
        content = read_small(text).decode("utf-8-sig") if text.exists() else ""
        rows = [(number, row.split()) for number, row in enumerate(content.splitlines(), start=1) if row.strip()]
        boxes = [_box(number, row, names) for number, row in rows]
    except (UserError, UnicodeDecodeError) as error:
        what = str(error) if isinstance(error, UserError) else "it is no text in UTF-8"
        table.problems.append(Problem("annotation", name_of(table.root, image), place, what.removesuffix(".")))
        return
    table.images.append(RawImage(image, place, part, None, boxes, is_relative=True))


def _box(line: int, row: list[str], names: list[str]) -> RawBox:
    if len(row) != 5:
        raise UserError(
            f"line {line} has {len(row)} values; expected five: class, x and y of the centre, width and height (longer "
            "ones are outlines, which are not read)"
        )
    number, *values = row
    is_known = number.isascii() and number.isdigit() and len(number) < 10 and int(number) < len(names)
    name = names[int(number)] if is_known else f"number {number[:20]}"
    center = corners_of(values)
    corners = None
    if center is not None:
        x, y, width, height = center
        corners = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
    return RawBox(f"line {line}", name, corners, ", ".join(value[:20] for value in values))
