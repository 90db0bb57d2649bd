"""Which of the formats annotations are in, by what is there."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

from tlkit.data.boxes.coco import find_coco, read_coco
from tlkit.data.boxes.csv_boxes import has_boxes, read_csv
from tlkit.data.boxes.records import Format, RawTable
from tlkit.data.boxes.voc import has_xml, read_voc
from tlkit.data.boxes.yolo import has_labels, read_yolo
from tlkit.data.image_listing import visible
from tlkit.errors import UserError

_LOOKED_FOR = {
    "voc": "Annotations/*.xml beside JPEGImages/, or *.xml beside the images (Pascal VOC)",
    "coco": "*.json with images, annotations and categories, also in annotations/ (COCO)",
    "csv": "one *.csv with the columns image, xmin, ymin, xmax, ymax and class",
    "yolo": "labels/ beside images/, or obj_train_data/ (YOLO)",
}


def read_raw(source: Path, format: Format | None) -> tuple[Format, RawTable]:
    """The format, and what stands in the annotations.

    Raises:
        UserError: When there is nothing of that format, or of any; the message says what was looked for.
    """
    if format is not None and format not in get_args(Format):
        raise UserError(f"Expected `format` to be one of {', '.join(get_args(Format))}. Received: {format!r}.")
    if not source.exists():
        raise UserError(f"There is no {source}: give a folder of images with boxes, or the file of the boxes.")
    if source.is_file():
        return _read_file(source, format)
    found = _formats_in(source)
    if format is None:
        if len(found) > 1:
            raise UserError(
                f"{source} holds boxes in several formats: {', '.join(found)}. Name the one to read with `format`."
            )
        if not found:
            raise UserError(
                f"No boxes were found in {source}. Looked for: {'; '.join(_LOOKED_FOR.values())}. Of a table or a JSON "
                f"file of boxes, name the file itself, and what is wrong with it is told; a folder for each class is "
                f"for the template image-classifier."
            )
        format = found[0]
    if format not in found:
        raise UserError(f"No boxes in the format {format!r} were found in {source}. Looked for: {_LOOKED_FOR[format]}.")
    if format == "csv":
        return format, read_csv(_the_table(source))
    if format == "coco":
        return format, read_coco(source, find_coco(source))
    return format, (read_voc if format == "voc" else read_yolo)(source)


def _read_file(source: Path, format: Format | None) -> tuple[Format, RawTable]:
    kinds: dict[str, Format] = {".csv": "csv", ".tsv": "csv", ".json": "coco", ".yaml": "yolo", ".yml": "yolo"}
    kind = kinds.get(source.suffix.lower())
    if kind is None or (format is not None and format != kind):
        raise UserError(
            f"{source} is no file of boxes{f' in the format {format!r}' if format else ''}. Expected a folder, a .csv, "
            "a .json (COCO), or the data.yaml of YOLO."
        )
    if kind == "csv":
        return kind, read_csv(source)
    if kind == "yolo":
        return kind, read_yolo(source.parent)
    parent = source.parent
    return kind, read_coco(parent.parent if parent.name == "annotations" else parent, [source])


def _formats_in(folder: Path) -> list[Format]:
    tests: dict[Format, bool] = {
        "voc": has_xml(folder),
        "coco": bool(find_coco(folder)),
        "csv": bool(_tables(folder)),
        "yolo": has_labels(folder),
    }
    return [format for format, is_there in tests.items() if is_there]


def _tables(folder: Path) -> list[Path]:
    return [path for path in visible(folder) if path.suffix.lower() in (".csv", ".tsv") and has_boxes(path)]


def _the_table(folder: Path) -> Path:
    tables = _tables(folder)
    if len(tables) > 1:
        raise UserError(f"{folder} has several tables of boxes: {', '.join(path.name for path in tables)}. Name one.")
    return tables[0]
