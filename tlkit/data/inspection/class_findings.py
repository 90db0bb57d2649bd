"""What the classes and the parts of the split make of the images: labels that contradict, parts that leak, gaps."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from tlkit.data.inspection.class_counts import FEW_EXAMPLES, Things, find_in_counts
from tlkit.data.inspection.facts import ImageFacts
from tlkit.data.inspection.finding import Finding, Severity, counted
from tlkit.data.inspection.seen import Seen
from tlkit.data.stable_cut import PARTS

GREY_GAP = 0.5  # between the shares of grey images of two classes: guessing by colour is then right for 75 % of them
_GREY = ("1", "L", "LA", "I", "F")


def find_in_classes(seen: Seen) -> list[Finding]:
    """All findings of this kind, in no order."""
    counts = Counter(label for one in seen.good for label in one.file.classes)
    return [
        *_same_pictures(seen),
        *_in_counts(seen),
        *_grey(seen, counts),
    ]


def _same_pictures(seen: Seen) -> list[Finding]:
    differing = [group for group in seen.pictures if len({one.file.label for one in group}) > 1]
    leaking = [group for group in seen.pictures if len({one.part for one in group}) > 1]
    others = [group for group in seen.pictures if group not in differing and group not in leaking]
    return [
        *_same(
            seen,
            "warning",
            differing,
            "stored with different labels: the model is taught both. Keep each picture where it belongs.",
        ),
        *_same(
            seen,
            "warning",
            leaking,
            "in more than one of the parts train, validation and test: the model is judged on what it has learned by "
            "heart. Remove the copies; what is merely of the same scene stays in one part by a group_pattern.",
            with_part=True,
        ),
        *_same(seen, "note", others, "stored more than once, and so counts more than others. Remove the copies."),
    ]


def _same(
    seen: Seen, severity: Severity, groups: Sequence[Sequence[ImageFacts]], what: str, with_part: bool = False
) -> list[Finding]:
    if not groups:
        return []

    def name(one: ImageFacts) -> str:
        return seen.file_name(one) + (f" ({one.part})" if with_part else "")

    groups = sorted(sorted(group, key=lambda one: one.file.path) for group in groups)
    files = tuple(seen.name(one.file.path) for group in groups for one in group)
    details = tuple(" = ".join(name(one) for one in group) for group in groups)
    return [Finding(severity, f"{counted(groups, 'picture is', 'pictures are')} {what}", files, details)]


def _in_counts(seen: Seen) -> list[Finding]:
    by_part = Counter((label, one.part) for one in seen.good for label in one.file.classes)
    classes = {name: {part: by_part[label, part] for part in PARTS} for label, name in enumerate(seen.class_names)}
    parts = Counter(one.part for one in seen.good)
    return find_in_counts(classes, parts, Things("images", "image that decodes", "images that decode"))


def _grey(seen: Seen, counts: Counter[int]) -> list[Finding]:
    """A lack of colour that tells the class."""
    grey = Counter(label for one in seen.good if one.mode.split(";")[0] in _GREY for label in one.file.classes)
    shares = sorted((grey[label] / number, label) for label, number in counts.items() if number >= FEW_EXAMPLES)
    if not shares or shares[-1][0] - shares[0][0] < GREY_GAP:
        return []
    (least, colourful), (most, pale) = shares[0], shares[-1]
    sentence = (
        f"{most:.0%} of the images of '{seen.class_name(pale)}' are grey and {least:.0%} of those of "
        f"'{seen.class_name(colourful)}': the model may learn that instead of what they show. Make all of them grey, "
        "or find images of one kind."
    )
    return [Finding("warning", sentence)]
