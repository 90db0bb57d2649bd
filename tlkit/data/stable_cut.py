"""Which part an image, or a group of them, belongs to: a function of the seed and its name, with a repair for the rare.

Nothing here knows of files or folders: units have a name and classes, and get the number of a part.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

PARTS = ("train", "validation", "test")


class Unit(NamedTuple):
    """What is never divided: one image, or all images of a group."""

    name: str
    classes: frozenset[int]  # of all its images; none in multi-label data that show none


def position(name: str, seed: int) -> float:
    """A number in [0, 1) for a name; the same on every system (Unicode is taken as macOS spells it or not, alike).

    h = first 8 bytes of SHA-256("seed:name") / 2^64
    """
    spelled = unicodedata.normalize("NFC", name)
    digest = hashlib.sha256(f"{seed}:{spelled}".encode("utf-8", "surrogateescape")).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def cut_units(units: Sequence[Unit], shares: Sequence[float], seed: int) -> list[int]:
    """The part (0 train, 1 validation, 2 test) of every unit: by its position, and then repaired.

    A part with a share above zero shall have every class. Part by part and from the rarest class on, one that lacks a
    class takes the unit of it whose position is nearest to the part's interval, among those that can be spared: whose
    part keeps another unit of each of their classes. When none can be, it is taken from the parts after this one. So
    train has every class, validation comes next, and what was given to one part is not taken from it again.

    The order, from the rarest class on, is that of iterative stratification: a unit of several classes serves the class
    that has the least choice.

    Reference: K. Sechidis, G. Tsoumakas and I. Vlahavas, 2011, "On the Stratification of Multi-Label Data", ECML PKDD,
    https://doi.org/10.1007/978-3-642-23808-6_10. Differs from it in: the hash decides, and only gaps are mended.
    """
    return cut_at(units, [position(unit.name, seed) for unit in units], shares)


def cut_at(units: Sequence[Unit], positions: Sequence[float], shares: Sequence[float]) -> list[int]:
    """The same for units whose positions are known."""
    train_end = shares[0]
    validation_end = shares[0] + shares[1] if shares[2] else 1.0
    intervals = ((0.0, train_end), (train_end, validation_end), (validation_end, 1.0))
    part_of = [next(part for part, (_, end) in enumerate(intervals) if place < end) for place in positions]
    counts: list[Counter[int]] = [Counter(), Counter(), Counter()]  # units of each class, by part
    having: dict[int, list[int]] = {}  # class -> numbers of the units that have it
    for number, unit in enumerate(units):
        counts[part_of[number]].update(unit.classes)
        for label in unit.classes:
            having.setdefault(label, []).append(number)
    rarest_first = sorted(having, key=lambda label: (len(having[label]), label))
    for part, (start, end) in enumerate(intervals):
        for label in rarest_first:
            if counts[part][label] or not shares[part]:
                continue
            spare = [n for n in having[label] if all(counts[part_of[n]][other] > 1 for other in units[n].classes)]
            spare = spare or [n for n in having[label] if part_of[n] > part]
            if spare:
                nearest = min(spare, key=lambda n: (max(start - positions[n], positions[n] - end), units[n].name))
                counts[part_of[nearest]].subtract(units[nearest].classes)
                counts[part].update(units[nearest].classes)
                part_of[nearest] = part
    return part_of
