"""What is to be said of boxes and of the images that they are in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from tlkit.data.boxes.letterbox import to_resized_pixels
from tlkit.data.boxes.records import MENDED, Kind, LabelledImage, Problem
from tlkit.data.inspection.class_counts import Things, find_in_counts
from tlkit.data.inspection.facts import ImageFacts
from tlkit.data.inspection.finding import Finding, Severity, counted
from tlkit.errors import printable

STRIDES = (8, 16, 32)  # pixels between the cells of the three maps that a detector looks for things on
MANY_SMALL = 0.01  # share of boxes below the smallest stride, from which on it is a warning

_SENTENCES: dict[Kind, tuple[str, str, str]] = {
    "annotation": ("annotation", "annotations", "cannot be used"),
    "leaves": ("path leads", "paths lead", "out of the folder"),
    "missing": ("image is", "images are", "missing"),
    "corrupt": ("image does", "images do", "not decode"),
    "size": ("image has", "images have", "another size than annotated, so that its boxes may be elsewhere"),
    "repeated": ("image is", "images are", "there twice"),
    "class": ("box has", "boxes have", "no known class"),
    "number": ("box has", "boxes have", "corners that are no numbers"),
    "outside": ("box is", "boxes are", "outside of the image, as if for an image of another size"),
    "zero": ("box has", "boxes have", "no area"),
    "swapped": ("box has", "boxes have", "corners in another order than smallest, largest; they are put in order"),
    "clipped": ("box is", "boxes are", "a little over the edge of the image; clipped to it"),
    "duplicate": ("box is", "boxes are", "there twice in an image, with equal corners and class; one is kept"),
    "crowd": ("region", "regions", "of a crowd (iscrowd) left out, as no box of one thing"),
}


def find_in_problems(problems: Sequence[Problem]) -> list[Finding]:
    """What cannot be used, and what was mended."""
    findings = []
    for kind, (one, many, what) in _SENTENCES.items():
        its = [problem for problem in problems if problem.kind == kind]
        if not its:
            continue
        sentence = f"{counted(its, one, many)} {what}"
        if kind not in MENDED:
            left = "it is" if len(its) == 1 else "they are"
            sentence += f": training stops there, or {left} left out with on_bad='skip'. Mend what is wrong"
        files = tuple(dict.fromkeys(problem.image for problem in its))
        severity: Severity = "warning" if kind in MENDED else "error"
        findings.append(Finding(severity, f"{sentence}.", files, tuple(map(str, its))))
    return findings


def find_in_boxes(
    images: Sequence[LabelledImage], class_names: Sequence[str], name: Callable[[Path], str], image_size: int | None
) -> list[Finding]:
    """What the boxes that can be used tell."""
    return [*_two_classes(images, class_names, name), *_without(images, name), *_small(images, name, image_size)]


def _two_classes(
    images: Sequence[LabelledImage], class_names: Sequence[str], name: Callable[[Path], str]
) -> list[Finding]:
    details, files = [], []
    for image in images:
        places: dict[tuple[float, ...], list[int]] = {}
        for box, label in zip(image.boxes.tolist(), image.labels.tolist(), strict=True):
            places.setdefault(tuple(box), []).append(label)
        several = [labels for labels in places.values() if len(labels) > 1]
        files += [name(image.path)] if several else []
        for labels in several:
            classes = " and ".join(printable(class_names[label]) for label in labels)
            details.append(f"{printable(name(image.path))}: {classes}")
    if not details:
        return []
    sentence = (
        f"{counted(details, 'box is', 'boxes are')} there with several classes: the model is taught all of them. Keep "
        "the right one."
    )
    return [Finding("warning", sentence, tuple(files), tuple(details))]


def _without(images: Sequence[LabelledImage], name: Callable[[Path], str]) -> list[Finding]:
    without = [name(image.path) for image in images if not len(image.boxes)]
    if not without:
        return []
    sentence = (
        f"{counted(without, 'image has', 'images have')} no box: what is in such an image counts as background. Make "
        "sure that there is nothing to be found."
    )
    return [Finding("note", sentence, tuple(without))]


def shorter_sides(image: LabelledImage, image_size: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Of each box, in pixels of the resized image."""
    boxes = to_resized_pixels(image.boxes, (image.width, image.height), image_size)
    sides: np.ndarray[tuple[int], np.dtype[np.float64]] = (boxes[:, 2:] - boxes[:, :2]).min(axis=1)
    return sides


def _small(images: Sequence[LabelledImage], name: Callable[[Path], str], image_size: int | None) -> list[Finding]:
    """Boxes that may lie between the places at which the finest map looks."""
    if image_size is None:
        return []
    files, details, number = [], [], 0
    for image in images:
        sides = shorter_sides(image, image_size)
        few = sides[sides < STRIDES[0]]
        if len(few):
            number += len(few)
            files.append(name(image.path))
            details.append(f"{printable(files[-1])}: {counted(few, 'box', 'boxes')}, {few.min():.2g} pixels or more")
    if not number:
        return []
    sentence = (
        f"{number:,} {'box is' if number == 1 else 'boxes are'} less than {STRIDES[0]} pixels wide or high at "
        f"{image_size} pixels a side, less than from one place to the next where a detector looks: hard to find. Train "
        "at a larger image_size, or on parts of the images."
    )
    many = number > MANY_SMALL * sum(len(image.boxes) for image in images)
    return [Finding("warning" if many else "note", sentence, tuple(files), tuple(details))]


def find_in_class_counts(classes: dict[str, dict[str, int]], parts: dict[str, int]) -> list[Finding]:
    """What the numbers of boxes of each class tell."""
    advice = "few of the rare ones are learned from, and judged by. Look at the average precision of each class."
    return find_in_counts(classes, parts, Things("boxes", "box", "boxes", advice))


def find_in_pictures(
    facts: Sequence[ImageFacts], groups: Sequence[Sequence[ImageFacts]], name: Callable[[Path], str]
) -> list[Finding]:
    """Files that do not decode, that are turned, or that show the same picture as another."""
    bad = [one for one in facts if one.problem is not None]
    problems = [
        Problem("corrupt", name(one.file.path), name(one.file.path), f"it does not decode ({one.problem})")
        for one in bad
    ]
    findings = find_in_problems(problems)
    turned = [name(one.file.path) for one in facts if one.is_turned]
    if turned:
        sentence = (
            f"{counted(turned, 'image is', 'images are')} turned upright by EXIF data: boxes are taken to be for what "
            "a viewer shows. Look at some of them with their boxes."
        )
        findings.append(Finding("note", sentence, tuple(turned)))
    leaking = [group for group in groups if len({one.part for one in group}) > 1]
    others = [group for group in groups if group not in leaking]
    for severity, its, what in (
        ("warning", leaking, "in more than one of the parts: the model is judged on what it has learned by heart."),
        ("note", others, "stored more than once, and so counts more than others."),
    ):
        if its:
            sentence = f"{counted(its, 'picture is', 'pictures are')} {what} Remove the copies."
            files = tuple(name(one.file.path) for group in its for one in group)
            details = tuple(" = ".join(f"{printable(name(o.file.path))} ({o.part})" for o in group) for group in its)
            findings.append(Finding(severity, sentence, files, details))  # type: ignore[arg-type]
    return findings


def count_by_part(
    images: Mapping[str, Sequence[LabelledImage]], class_names: Sequence[str]
) -> dict[str, dict[str, int]]:
    """Class name -> part -> boxes."""
    counts = {part: Counter(n for image in its for n in image.labels.tolist()) for part, its in images.items()}
    return {name: {part: counts[part][label] for part in images} for label, name in enumerate(class_names)}
