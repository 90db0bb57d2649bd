"""What the names of the classes and their numbers of examples tell, whatever the examples are."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from tlkit.data.inspection.finding import Finding, counted
from tlkit.errors import printable

FEW_EXAMPLES = 10  # of a class: a split of 70/15/15 leaves one or two to judge by
UNEVEN = 10  # times as many: always naming the common one of two such classes is right for 91 %


class Things(NamedTuple):
    """What the examples are called: "images", and of those that can be used "image that decodes" and the plural.

    Besides, what to do where some classes have many times as many as others.
    """

    all: str
    one: str
    many: str
    if_uneven: str = (
        "the accuracy hardly tells how the rare classes do. Go by the balanced accuracy; class_weights, in a project "
        "the setting class_balance, makes rare classes count for more."
    )


def find_in_counts(classes: Mapping[str, Mapping[str, int]], parts: Mapping[str, int], things: Things) -> list[Finding]:
    """All findings of this kind, in no order.

    Args:
        classes: Class name -> part -> how many examples can be used.
        parts: Part -> how many of all classes, and of none.
        things: What they are called.
    """
    counts = {name: sum(by_part.values()) for name, by_part in classes.items()}
    return [
        *_few(counts, things),
        *_lacking(classes, parts, things),
        *_uneven(counts, things),
        *_alike([*classes]),
    ]


def _few(counts: Mapping[str, int], things: Things) -> list[Finding]:
    few = sorted((number, place, name) for place, (name, number) in enumerate(counts.items()) if number < FEW_EXAMPLES)
    if not few:
        return []
    sentence = (
        f"{counted(few, 'class has', 'classes have')} fewer than {FEW_EXAMPLES} {things.many}: too few to learn "
        f"from, or to judge by. Add {things.all}, or leave the class out."
    )
    return [Finding("warning", sentence, (), tuple(f"{printable(name)}: {number}" for number, _, name in few))]


def _lacking(classes: Mapping[str, Mapping[str, int]], parts: Mapping[str, int], things: Things) -> list[Finding]:
    """Classes that a part has no example of, though it has others."""
    meanings = {
        "train": "cannot be learned",
        "validation": "is not judged while training",
        "test": "is not judged in the end",
    }
    findings = []
    for part, meaning in meanings.items():
        missing = [name for name, by_part in classes.items() if not by_part[part]]
        if parts[part] and missing:
            sentence = (
                f"{counted(missing, 'class has', 'classes have')} no {part} {things.one}: what is not there "
                f"{meaning}. Add {things.all}, or leave the class out."
            )
            findings.append(Finding("warning", sentence, (), tuple(map(printable, missing))))
    return findings


def _uneven(counts: Mapping[str, int], things: Things) -> list[Finding]:
    by_size = sorted((number, place, name) for place, (name, number) in enumerate(counts.items()) if number)
    if not by_size or by_size[-1][0] < UNEVEN * by_size[0][0]:
        return []
    (least, _, smallest), (most, _, largest) = by_size[0], by_size[-1]
    sentence = (
        f"The class '{printable(largest)}' has {most / least:.0f} times as many {things.all} as "
        f"'{printable(smallest)}' ({most:,} and {least:,}): {things.if_uneven}"
    )
    return [Finding("warning", sentence)]


def _alike(names: Sequence[str]) -> list[Finding]:
    """Class names that differ only in case, spaces, spelling of accents, or a plural."""
    spellings: dict[str, list[str]] = {}
    for name in names:
        key = unicodedata.normalize("NFC", name).casefold().translate(dict.fromkeys(map(ord, " _-")))
        spellings.setdefault(key or name, []).append(name)
    for key in [*spellings]:
        for plural in (f"{key}s", f"{key}es"):
            if len(key) > 2 and key in spellings and plural in spellings:  # "a" and "as" are no such pair
                spellings[key] += spellings.pop(plural)
    groups = [[f"'{printable(name)}'" for name in alike] for alike in spellings.values() if len(alike) > 1]
    if not groups:
        return []
    sentence = (
        f"{counted(groups, 'class seems', 'classes seem')} to be there under several names, which the model has to "
        "tell apart. Merge them if they mean the same."
    )
    return [Finding("warning", sentence, (), tuple(" and ".join(names) for names in groups))]
