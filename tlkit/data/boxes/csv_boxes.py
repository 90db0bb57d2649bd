"""A CSV table with a row for each box."""

from __future__ import annotations

from pathlib import Path

from tlkit.data.boxes.records import Problem, RawBox, RawImage, RawTable, corners_of, path_inside
from tlkit.data.csv_table import read_cells
from tlkit.data.manifest import read_parts
from tlkit.errors import UserError, printable

_SIDES = ("xmin", "ymin", "xmax", "ymax")
_REQUIRED = {
    "image": ("file", "filename", "file_name", "path", "image_path", "image_id", "image_name", "img"),
    "xmin": ("x_min", "x1", "left"),
    "ymin": ("y_min", "y1", "top"),
    "xmax": ("x_max", "x2", "right"),
    "ymax": ("y_max", "y2", "bottom"),
    "class": ("label", "class_name", "category", "classname", "name"),
}
_OPTIONAL = {"split": ("part", "subset", "set", "partition"), "width": (), "height": ()}


def has_boxes(path: Path) -> bool:
    """Whether the first line of a table looks like that of boxes."""
    try:
        with path.open(encoding="utf-8-sig", errors="replace") as file:
            first = file.readline(10_000).lower()
    except OSError:
        return False
    return all(side in first for side in _SIDES)


def read_csv(table: Path) -> RawTable:
    """Read `image,xmin,ymin,xmax,ymax,class`, and `split`, `width` and `height` where they are.

    An image without boxes is a row whose other cells are empty. Files are relative to the table's folder.
    """
    cells = read_cells(table, required=_REQUIRED, optional=_OPTIONAL)
    raw = RawTable(table.parent, [], None, [], [])
    rows: dict[str, list[tuple[int, dict[str, str], str | None]]] = {}
    for (line, row), part in zip(cells, read_parts(table, cells), strict=True):
        if not row["image"]:
            raise UserError(f"{table}, line {line}: no image is named. Name it or remove the row.")
        rows.setdefault(row["image"], []).append((line, row, part))
    for name, its in rows.items():
        first, row, part = its[0]
        place = f"{table.name}, line {first}"
        path = path_inside(table.parent, name)
        other = next((line for line, _, its_part in its if its_part != part), None)
        if path is None:
            raw.problems.append(Problem("leaves", name, place, f"the path {name!r} leads out of {table.parent}"))
        elif other is not None:
            what = f"the image {name} is in another split than in line {first}; keep it in one"
            raw.problems.append(Problem("repeated", name, f"{table.name}, line {other}", what))
        else:
            boxes = [_box(line, cells) for line, cells, _ in its if any(cells[c] for c in (*_SIDES, "class"))]
            raw.images.append(RawImage(path, table.name, part, _size(row), boxes))
    return raw


def _box(line: int, row: dict[str, str]) -> RawBox:
    values = [row[side] for side in _SIDES]
    return RawBox(f"line {line}", row["class"], corners_of(values), ", ".join(printable(v[:20]) for v in values))


def _size(row: dict[str, str]) -> tuple[int, int] | None:
    try:
        return int(row["width"]), int(row["height"])
    except (KeyError, ValueError):
        return None
