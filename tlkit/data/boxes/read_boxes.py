"""Images with boxes, whatever format they are annotated in."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from tlkit.data.boxes.records import MENDED, OF_IMAGES, BoxTable, Format, Kind, Problem
from tlkit.data.boxes.scan_boxes import Scan, scan_boxes
from tlkit.errors import UserError, printable

IN_WORDS: dict[Kind, str] = {
    "annotation": "annotation that cannot be used",
    "leaves": "path that leads out of the folder",
    "missing": "missing image",
    "corrupt": "unreadable image",
    "size": "image of another size than annotated",
    "repeated": "image that is there twice",
    "class": "box of an unknown class",
    "number": "box without numbers",
    "outside": "box outside of its image",
    "zero": "box without an area",
    "swapped": "box with swapped corners (put in order)",
    "clipped": "box over the edge of its image (clipped)",
    "duplicate": "box that is there twice (one dropped)",
    "crowd": "region of a crowd (left out)",
}


def read_boxes(
    source: str | Path,
    *,
    format: Format | None = None,
    class_names: Sequence[str] | None = None,
    on_bad: Literal["error", "skip"] = "error",
) -> BoxTable:
    """Read images with boxes: Pascal VOC, COCO, a CSV table, or YOLO; whichever is there.

    - voc: `Annotations/*.xml` and `JPEGImages/`, with the parts that `ImageSets/Main/train.txt`, `val.txt` (or
      `trainval.txt`) and `test.txt` list; or XML files beside their images, in one folder or in train/, val/, test/.
    - coco: a JSON file, or a folder with one or with one each for train, val and test, also in `annotations/`. Images
      are beside it, in `images/`, or in a folder that is called as the file or its part ("train2017").
    - csv: columns `image,xmin,ymin,xmax,ymax,class`, and `split`, `width`, `height` where wanted. An image without
      boxes is a row whose other cells are empty. Files are relative to the table's folder.
    - yolo: `images/` and `labels/` (with train/, val/, test/ inside or around them), or `obj_train_data/`; names of the
      classes in data.yaml, classes.txt or obj.names.

    Every format is turned into boxes `(x_min, y_min, x_max, y_max)` in pixels of the image file as viewers show it
    (after an EXIF rotation), x to the right and y down from the upper left corner, taken as they stand: that the VOC
    challenge itself counted pixels from 1 is not undone, because most tools that write its format count from 0.

    What is certain is mended, with a warning: swapped corners are put in order, edges up to 5 % of the image's side
    outside of it are clipped, and of boxes with equal corners and class one is kept.

    Args:
        source: The folder, or the file of a format that has one.
        format: "voc", "coco", "csv" or "yolo". Defaults to what is found.
        class_names: Class names by number, when they are to be checked or to have an order of their own; a box of
            another class is bad. Defaults to those that the annotations declare, or all that occur, sorted.
        on_bad: "error" raises at what cannot be used: boxes without area, outside, of an unknown class or without
            numbers; images that are missing, damaged, of another size than annotated, or named twice. "skip" leaves
            such boxes and images out, with a warning that counts them. An image none of whose boxes is good is left
            out as well, or it would teach that nothing is there.

    Raises:
        UserError: When no annotations are found, or something cannot be used.

    Example:
        >>> table = read_boxes("scenes")
        >>> table.format, table.class_names, len(table.images)
        ('csv', ['circle', 'square'], 12)
        >>> table.images[0].boxes.tolist()
        [[4.0, 6.0, 20.0, 22.0], [20.0, 22.0, 60.0, 62.0]]
    """
    if on_bad not in ("error", "skip"):
        raise UserError(f"read_boxes: expected `on_bad` to be 'error' or 'skip'. Received: {on_bad!r}.")
    scan = scan_boxes(source, format, class_names)
    settle_problems(source, scan, on_bad)
    return BoxTable(scan.images, scan.class_names, scan.format, scan.root)


def settle_problems(source: str | Path, scan: Scan, on_bad: Literal["error", "skip"]) -> None:
    """Raise at the first of what cannot be used, or warn of all; warn of what was mended.

    Raises:
        UserError: See there; or when no image is left.
    """
    bad = [problem for problem in scan.problems if problem.kind not in MENDED]
    if bad and on_bad == "error":
        others = f"are {len(bad) - 1:,} others" if len(bad) > 2 else "is another one"
        more = f" So {others} (inspect_boxes lists them all)." if len(bad) > 1 else ""
        thing = "images" if bad[0].kind in OF_IMAGES else "boxes"
        raise UserError(
            f"{printable(source)}: this cannot be used: {bad[0]}.{more} Mend it, or leave such {thing} out with "
            "on_bad='skip'."
        )
    if not any(len(image.boxes) for image in scan.images):
        raise UserError(f"{printable(source)} holds no image with boxes that can be used. {_summary(bad)}".rstrip())
    for problems, what in ((bad, "left out"), ([p for p in scan.problems if p.kind in MENDED], "mended")):
        if problems:
            warnings.warn(f"{printable(source)}, {what}: {_summary(problems)}", stacklevel=3)
    for sentence in scan.left_out:
        warnings.warn(f"{printable(source)}: {printable(sentence)}", stacklevel=3)


def _summary(problems: Sequence[Problem]) -> str:
    """How many of each kind, and the first of them: "2 x box without an area (a.xml, box 1: ...)"."""
    if not problems:
        return ""
    counts = Counter(problem.kind for problem in problems)
    firsts = {problem.kind: problem for problem in reversed(problems)}
    named = [f"{number} x {IN_WORDS[kind]} (as {firsts[kind]})" for kind, number in counts.items()]
    return f"{'; '.join(named)}."
