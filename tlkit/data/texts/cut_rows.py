"""Which part a row belongs to: by the hash of its text or group, for millions of rows at once; `stable_cut` mends."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tlkit.data.stable_cut import PARTS, Unit, cut_at

_CHUNK = 2**18  # rows that are computed with at once


def cut_rows(
    hashes: NDArray[np.uint64],
    keys: NDArray[np.uint64] | None,
    labels: NDArray[np.int32],
    shares: Sequence[float],
    seed: int,
) -> NDArray[np.uint8]:
    """The part of each row: by position, mended for classes that a part has none of.

    Args:
        hashes: Of the texts.
        keys: Of the groups, where there are any.
        labels: Class numbers.
        shares: Of the parts.
        seed: Of the positions.
    """
    names = hashes if keys is None else _unit_names(hashes, keys)
    ends = np.array([shares[0], shares[0] + shares[1] if shares[2] else 1.0])
    parts = np.empty(len(names), np.uint8)
    for chunk in _chunks(len(names)):
        parts[chunk] = np.searchsorted(ends, positions(names[chunk], seed), side="right")
    counts = count_by_part(labels, parts, int(labels.max(initial=0)) + 1)
    present = counts.sum(axis=1) > 0
    lacking = present & ((counts == 0) & (np.array(shares) > 0)).any(axis=1)
    if lacking.any():
        _mend(names, labels, parts, lacking[labels], shares, seed)
    return parts


def _chunks(number: int) -> list[slice]:
    """Rows so many at a time that what is computed from them does not count."""
    return [slice(start, start + _CHUNK) for start in range(0, number, _CHUNK)]


def positions(hashes: NDArray[np.uint64], seed: int) -> NDArray[np.float64]:
    """Numbers in [0, 1) for hashes and a seed, as in `split_texts`."""
    mixed = hashes ^ np.uint64(int.from_bytes(hashlib.sha256(f"{seed}".encode()).digest()[:8], "big"))
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed ^= mixed >> np.uint64(31)
    # As many bits as a float has, so that none rounds up to 1.
    return (mixed >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _mend(
    names: NDArray[np.uint64],
    labels: NDArray[np.int32],
    parts: NDArray[np.uint8],
    of_lacking: NDArray[np.bool_],
    shares: Sequence[float],
    seed: int,
) -> None:
    """Give each part a text of the classes that it lacks, where there are enough."""
    units, unit_of = np.unique(names[of_lacking], return_inverse=True)
    all_of_them = np.isin(names, units)
    classes: list[set[int]] = [set() for _ in units]
    numbers = np.searchsorted(units, names[all_of_them])
    for number, label in zip(numbers.tolist(), labels[all_of_them].tolist(), strict=True):
        classes[number].add(label)
    places = positions(units, seed).tolist()
    named = [Unit(f"{name:016x}", frozenset(its)) for name, its in zip(units.tolist(), classes, strict=True)]
    cut = cut_at(named, places, shares)
    parts[all_of_them] = np.array(cut, np.uint8)[numbers]


def _unit_names(hashes: NDArray[np.uint64], keys: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """One number for all rows that a chain of groups and equal texts connects: the smallest key among them."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    texts, text_of = np.unique(hashes, return_inverse=True)
    groups, group_of = np.unique(keys, return_inverse=True)
    size = len(texts) + len(groups)
    links = coo_array((np.ones(len(hashes), bool), (text_of, len(texts) + group_of)), shape=(size, size))
    number, component = connected_components(links, directed=False)
    smallest = np.full(number, np.iinfo(np.uint64).max, np.uint64)
    np.minimum.at(smallest, component[text_of], keys)
    named: NDArray[np.uint64] = smallest[component[text_of]]
    return named


# Rows that belong together -------------------------------------------------------------------------


def count_by_part(labels: NDArray[np.int32], parts: NDArray[np.uint8], num_classes: int) -> NDArray[np.int64]:
    """`(num_classes, 3)`: how many rows of each class each part has."""
    counts = np.zeros(num_classes * len(PARTS), np.int64)
    for chunk in _chunks(len(labels)):
        counts += np.bincount(len(PARTS) * labels[chunk].astype(np.int64) + parts[chunk], minlength=len(counts))
    return counts.reshape(num_classes, len(PARTS))


class Copies(NamedTuple):
    """Rows of which there are several with the same hash.

    Attributes:
        rows: Those of one hash beside each other, in order.
        starts: Places in `rows` where another hash begins.
    """

    rows: NDArray[np.int64]
    starts: NDArray[np.int64]

    def differ(self, values: NDArray[Any]) -> NDArray[np.bool_]:
        """For each hash, whether its rows do not all have the same value."""
        if not len(self.rows):
            return np.empty(0, bool)
        its = values[self.rows]
        different: NDArray[np.bool_] = np.minimum.reduceat(its, self.starts) != np.maximum.reduceat(its, self.starts)
        return different

    def groups(self, chosen: NDArray[np.bool_], most: int) -> list[list[int]]:
        """The rows of each of the chosen hashes, those first that have the first row; so many at most."""
        numbers = np.flatnonzero(chosen)
        numbers = numbers[np.argsort(self.rows[self.starts[numbers]])][:most]
        ends = np.append(self.starts[1:], len(self.rows))
        return [self.rows[self.starts[number] : ends[number]][:most].tolist() for number in numbers]


def find_copies(hashes: NDArray[np.uint64]) -> Copies:
    """The rows that share their hash with another."""
    order = np.argsort(hashes, kind="stable")
    ordered = hashes[order]
    like_next = ordered[1:] == ordered[:-1]
    like_last = np.concatenate(([False], like_next))[: len(order)]
    like_any = like_last.copy()
    like_any[:-1] |= like_next
    return Copies(order[like_any], np.flatnonzero(~like_last[like_any]))
