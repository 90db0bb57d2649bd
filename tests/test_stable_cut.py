"""Units go to parts by hash, and what is missing is mended without taking from what was mended before."""

import hashlib
import random
import unicodedata

import pytest

from tlkit.data.stable_cut import Unit, cut_units, position

SHARES = (0.7, 0.15, 0.15)


def units(*classes):
    return [Unit(f"{number}.jpg", frozenset(some)) for number, some in enumerate(classes)]


def name_in(low, high, seed=0):
    """A name whose position lies between the two."""
    return next(f"{n}" for n in range(10_000) if low <= position(f"{n}", seed) < high)


def by_part(all_units, parts, label):
    """How many units of a class each part has."""
    return [
        sum(label in unit.classes for unit, p in zip(all_units, parts, strict=True) if p == part) for part in (0, 1, 2)
    ]


def test_the_position_is_the_documented_hash():
    digest = hashlib.sha256(b"3:ant/1.jpg").digest()
    assert position("ant/1.jpg", 3) == int.from_bytes(digest[:8], "big") / 2**64
    assert position(unicodedata.normalize("NFD", "Käfer"), 0) == position(unicodedata.normalize("NFC", "Käfer"), 0)
    assert position("\udcff.jpg", 0) != position("\udcfe.jpg", 0)  # bytes of a name that are no UTF-8


def test_enough_units_go_where_their_position_says():
    all_units = units(*[{number % 2} for number in range(400)])
    for unit, part in zip(all_units, cut_units(all_units, SHARES, 5), strict=True):
        place = position(unit.name, 5)
        assert part == (0 if place < 0.7 else 1 if place < 0.7 + 0.15 else 2)


def test_the_nearest_is_taken_from_a_part_that_has_another():
    # All in train's interval, [0, .7): validation takes the one nearest to .7, and test the next.
    names = [name_in(0.1, 0.2), name_in(0.3, 0.4), name_in(0.5, 0.6), name_in(0.65, 0.69)]
    assert cut_units([Unit(name, frozenset({0})) for name in names], SHARES, 0) == [0, 0, 2, 1]


def test_train_comes_first_then_validation():
    last = name_in(0.9, 1.0)
    assert cut_units([Unit(last, frozenset({0}))], SHARES, 0) == [0]
    assert sorted(cut_units([Unit(last, frozenset({0})), Unit(name_in(0.95, 1), frozenset({0}))], SHARES, 0)) == [0, 1]


def test_a_unit_of_several_classes_is_not_taken_from_a_class_that_needs_it():
    # Class 0 has three units in train; the one nearest to validation is also train's only one of class 1.
    near, far, farther = name_in(0.65, 0.7), name_in(0.5, 0.6), name_in(0.1, 0.2)
    parts = cut_units(
        [Unit(near, frozenset({0, 1})), Unit(far, frozenset({0})), Unit(farther, frozenset({0}))], SHARES, 0
    )
    assert parts == [0, 1, 2]


def test_the_rarest_class_chooses_first():
    # Test lacks both classes. One unit has both: for class 1, which has two units, it is one of two; class 0 has many.
    both, one = name_in(0.6, 0.7), name_in(0.0, 0.1)
    others = [name_in(low, low + 0.02) for low in (0.1, 0.2, 0.3, 0.72, 0.75)]
    all_units = [Unit(both, frozenset({0, 1})), Unit(one, frozenset({1}))]
    all_units += [Unit(name, frozenset({0})) for name in others]
    parts = cut_units(all_units, (0.7, 0.3, 0.0), 0)
    assert parts[:2] == [1, 0] and by_part(all_units, parts, 1) == [1, 1, 0]


@pytest.mark.parametrize("seed", range(50))
def test_what_is_always_true_of_a_cut(seed):
    generator = random.Random(seed)
    all_units = units(*[generator.sample(range(8), generator.choice([0, 1, 1, 2, 3])) for _ in range(40)])
    shares = generator.choice([SHARES, (0.5, 0.25, 0.25), (0.8, 0.2, 0.0)])
    parts = cut_units(all_units, shares, seed)
    assert parts == cut_units(all_units, shares, seed)
    order = random.Random(0).sample(range(40), 40)  # nor does the order of the units matter
    assert [cut_units([all_units[n] for n in order], shares, seed)[order.index(n)] for n in range(40)] == parts
    for label in set().union(*(unit.classes for unit in all_units)):
        counts = by_part(all_units, parts, label)
        assert counts[0] > 0
        for part, share in enumerate(shares):
            if counts[part] or not share:
                assert share or not counts[part]
                continue
            # A gap stays only where every unit of the class is the last of one of its classes in its part.
            for number, unit in enumerate(all_units):
                if label in unit.classes:
                    assert any(by_part(all_units, parts, other)[parts[number]] == 1 for other in unit.classes)


def test_added_units_move_no_old_ones_of_classes_that_are_in_every_part():
    old = units(*[{n % 4, (n // 4) % 4} for n in range(200)])
    new = [Unit(f"new{n}", frozenset({n % 4})) for n in range(300)]
    assert cut_units(old + new, SHARES, 0)[:200] == cut_units(old, SHARES, 0)
