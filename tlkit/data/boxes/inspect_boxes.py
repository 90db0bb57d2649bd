"""A look at every box and its image before anything is trained: what is there, and what will go wrong."""

from __future__ import annotations

import functools
import statistics
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tlkit.data.boxes.box_findings import (
    STRIDES,
    count_by_part,
    find_in_boxes,
    find_in_class_counts,
    find_in_pictures,
    find_in_problems,
    shorter_sides,
)
from tlkit.data.boxes.box_report import BoxReport
from tlkit.data.boxes.records import BoxTable, Format, LabelledImage, name_of
from tlkit.data.boxes.scan_boxes import Scan, scan_boxes
from tlkit.data.boxes.split_boxes import split_table
from tlkit.data.inspection.facts import alike_at_first_sight, in_parallel, look, same_pictures
from tlkit.data.inspection.finding import Finding, counted, worst_first
from tlkit.data.inspection.left_out import left_out_of_table
from tlkit.data.inspection.printing import progress_bar
from tlkit.data.split_image_folder import ImageFile, checked_shares
from tlkit.data.stable_cut import PARTS
from tlkit.errors import UserError, printable


def inspect_boxes(
    source: str | Path,
    *,
    format: Format | None = None,
    class_names: Sequence[str] | None = None,
    split: Sequence[float] = (0.7, 0.15, 0.15),
    seed: int = 0,
    image_size: int | None = None,
    progress: bool = False,
) -> BoxReport:
    """Look at all boxes and decode all images, and report what to mend before training on them.

    Counted are the boxes of each class and part, and sizes of images and boxes. Found are boxes that cannot be used
    (without area, outside of the image, of an unknown class, without numbers); images that are missing, damaged, of
    another size than annotated, named twice, or the same picture as another; what `read_boxes` mends (swapped corners,
    edges a little outside, equal boxes); images without boxes, boxes with two classes, classes with few boxes or names
    that look alike, and boxes that are too small to be found at the size that is trained at.

    What is found raises nothing.

    Args:
        source: As `read_boxes` takes it.
        format: As in `read_boxes`.
        class_names: The same: boxes of other classes are reported.
        split: As training will split.
        seed: The same.
        image_size: Side in pixels that training will bring images to: box sizes are told at that.
        progress: Show a progress bar on standard error.

    Raises:
        UserError: When there is nothing to inspect, because no annotations are found or they cannot be read.

    Example:
        >>> report = inspect_boxes("scenes", image_size=64)
        >>> report.num_images, report.num_boxes, report.by_stride["16 to 32"]
        (12, 24, 12)
        >>> report.findings
        ()
    """
    shares = checked_shares(split)
    with progress_bar(progress) as follow, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's, which name no file
        scan = scan_boxes(source, format, class_names)
        parts, findings = _split(source, scan, shares, seed)
        files = [(ImageFile(image.path, 0), part) for part, images in parts.items() for image in images]
        facts = [*in_parallel(look, files, follow("Looking at images", len(files)))]
        candidates = alike_at_first_sight(facts)
        groups = same_pictures(candidates, follow("Comparing pictures", len(candidates)))
    bad = {one.file.path for one in facts if one.problem is not None}
    good = {part: [image for image in images if image.path not in bad] for part, images in parts.items()}
    every = [image for images in good.values() for image in images]
    name = functools.partial(name_of, scan.root)
    classes = count_by_part(good, scan.class_names)
    num_boxes = {part: sum(len(image.boxes) for image in images) for part, images in good.items()}
    findings += [Finding("warning", printable(sentence)) for sentence in scan.left_out]
    findings += [*_beside(scan), *find_in_problems(scan.problems), *find_in_pictures(facts, groups, name)]
    findings += [
        *find_in_boxes(every, scan.class_names, name, image_size),
        *find_in_class_counts(classes, num_boxes),
    ]
    per_image = sorted(len(image.boxes) for image in every)
    return BoxReport(
        source=str(source),
        format=scan.format,
        split=shares,
        seed=seed,
        image_size=image_size,
        images={part: len(images) for part, images in good.items()},
        classes=classes,
        num_without_boxes=sum(not len(image.boxes) for image in every),
        image_sizes=_sizes([(image.width, image.height) for image in every]),
        box_sizes=_sizes([size for image in every for size in _box_sizes(image)]),
        boxes_per_image={"median": statistics.median_low(per_image), "most": per_image[-1]} if per_image else {},
        by_stride=_by_stride(every, image_size),
        findings=worst_first(findings),
    )


def _beside(scan: Scan) -> list[Finding]:
    """Images that a table or a file for all does not name, in the folders of those that it names."""
    if scan.format not in ("csv", "coco"):
        return []  # where every image has a file of its own, reading tells
    known = {problem.image for problem in scan.problems}
    found = [name_of(scan.root, path) for path in left_out_of_table(image.path for image in scan.images).images]
    others = tuple(name for name in found if name not in known)
    if not others:
        return []
    sentence = f"{counted(others, 'image is', 'images are')} not named, and left out. Add those without boxes, too."
    return [Finding("warning", sentence, others)]


def _split(
    source: str | Path, scan: Scan, shares: tuple[float, float, float], seed: int
) -> tuple[dict[str, Sequence[LabelledImage]], list[Finding]]:
    """The images by part; all in train, and why, when they cannot be split."""
    table = BoxTable(scan.images, scan.class_names, scan.format, scan.root)
    try:
        splits = split_table(source, table, shares, seed)
    except UserError as error:
        return {"train": scan.images, "validation": [], "test": []}, [Finding("error", str(error))]
    return {part: getattr(splits, part) for part in PARTS}, []


def _box_sizes(image: LabelledImage) -> list[tuple[float, float]]:
    sides = image.boxes[:, 2:] - image.boxes[:, :2]
    return [(width, height) for width, height in sides.tolist()]


def _sizes(sizes: Sequence[tuple[float, float]]) -> dict[str, tuple[float, float]]:
    if not sizes:
        return {}
    by_area = sorted(sizes, key=lambda size: (size[0] * size[1], size))
    widths, heights = zip(*sizes, strict=True)
    return {
        "smallest": by_area[0],
        "median": (statistics.median_low(widths), statistics.median_low(heights)),
        "largest": by_area[-1],
    }


def _by_stride(images: Sequence[LabelledImage], image_size: int | None) -> dict[str, int]:
    if image_size is None:
        return {}
    sides = np.concatenate([np.empty(0), *(shorter_sides(image, image_size) for image in images)])
    counts = np.bincount(np.searchsorted(STRIDES, sides, side="right"), minlength=len(STRIDES) + 1)
    fine, middle, coarse = STRIDES
    names = (f"below {fine}", f"{fine} to {middle}", f"{middle} to {coarse}", f"{coarse} or more")
    return dict(zip(names, counts.tolist(), strict=True))
