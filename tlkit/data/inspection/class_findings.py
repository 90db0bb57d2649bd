"""What the classes and the parts of the split make of the images: labels that contradict, parts that leak, gaps."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Sequence

from tlkit.data.inspection.facts import ImageFacts
from tlkit.data.inspection.report import Finding, Severity
from tlkit.data.inspection.seen import Seen, counted

FEW_IMAGES = 10  # of a class: a split of 70/15/15 leaves one or two to judge by
UNEVEN = 10  # times as many images: always naming the common one of two such classes is right for 91 %
GREY_GAP = 0.5  # between the shares of grey images of two classes: guessing by colour is then right for 75 % of them
_GREY = ("1", "L", "LA", "I", "F")


def find_in_classes(seen: Seen) -> list[Finding]:
    """All findings of this kind, in no order."""
    counts = Counter(label for one in seen.good for label in one.file.classes)
    return [
        *_same_pictures(seen),
        *_few(seen, counts),
        *_lacking(seen),
        *_uneven(seen, counts),
        *_alike(seen),
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


def _few(seen: Seen, counts: Counter[int]) -> list[Finding]:
    few = sorted((counts[label], label) for label in range(len(seen.class_names)) if counts[label] < FEW_IMAGES)
    if not few:
        return []
    sentence = (
        f"{counted(few, 'class has', 'classes have')} fewer than {FEW_IMAGES} images that decode: too few to learn "
        "from, or to judge by. Add images, or leave the class out."
    )
    return [Finding("warning", sentence, (), tuple(f"{seen.class_name(label)}: {number}" for number, label in few))]


def _lacking(seen: Seen) -> list[Finding]:
    """Classes that a part has no image of, though it has images."""
    present: dict[str, set[int]] = {}
    for one in seen.good:
        present.setdefault(one.part, set()).update(one.file.classes)
    meanings = {
        "train": "cannot be learned",
        "validation": "is not judged while training",
        "test": "is not judged in the end",
    }
    findings = []
    for part, meaning in meanings.items():
        missing = set(range(len(seen.class_names))) - present.get(part, set())
        if part in present and missing:
            sentence = (
                f"{counted(missing, 'class has', 'classes have')} no {part} image that decodes: what is not there "
                f"{meaning}. Add images, or leave the class out."
            )
            findings.append(
                Finding("warning", sentence, (), tuple(seen.class_name(label) for label in sorted(missing)))
            )
    return findings


def _uneven(seen: Seen, counts: Counter[int]) -> list[Finding]:
    by_size = sorted((number, label) for label, number in counts.items())
    if not by_size or by_size[-1][0] < UNEVEN * by_size[0][0]:
        return []
    (least, smallest), (most, largest) = by_size[0], by_size[-1]
    sentence = (
        f"The class '{seen.class_name(largest)}' has {most / least:.0f} times as many images as "
        f"'{seen.class_name(smallest)}' ({most:,} and {least:,}): the accuracy hardly tells how the rare classes do. "
        "Go by the balanced accuracy, and weigh the classes (class_weights, as generated projects do)."
    )
    return [Finding("warning", sentence)]


def _alike(seen: Seen) -> list[Finding]:
    """Class names that differ only in case, spaces, spelling of accents, or a plural."""
    spellings: dict[str, list[int]] = {}
    for label, name in enumerate(seen.class_names):
        key = unicodedata.normalize("NFC", name).casefold().translate(dict.fromkeys(map(ord, " _-")))
        spellings.setdefault(key or name, []).append(label)
    for key in [*spellings]:
        for plural in (f"{key}s", f"{key}es"):
            if len(key) > 2 and key in spellings and plural in spellings:  # "a" and "as" are no such pair
                spellings[key] += spellings.pop(plural)
    groups = [[f"'{seen.class_name(label)}'" for label in labels] for labels in spellings.values() if len(labels) > 1]
    if not groups:
        return []
    sentence = (
        f"{counted(groups, 'class seems', 'classes seem')} to be there under several names, which the model has to "
        "tell apart. Merge them if they mean the same."
    )
    return [Finding("warning", sentence, (), tuple(" and ".join(names) for names in groups))]


def _grey(seen: Seen, counts: Counter[int]) -> list[Finding]:
    """A lack of colour that tells the class."""
    grey = Counter(label for one in seen.good if one.mode.split(";")[0] in _GREY for label in one.file.classes)
    shares = sorted((grey[label] / number, label) for label, number in counts.items() if number >= FEW_IMAGES)
    if not shares or shares[-1][0] - shares[0][0] < GREY_GAP:
        return []
    (least, colourful), (most, pale) = shares[0], shares[-1]
    sentence = (
        f"{most:.0%} of the images of '{seen.class_name(pale)}' are grey and {least:.0%} of those of "
        f"'{seen.class_name(colourful)}': the model may learn that instead of what they show. Make all of them grey, "
        "or find images of one kind."
    )
    return [Finding("warning", sentence)]
