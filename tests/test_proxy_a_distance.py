"""2 (1 - 2 e) of the best linear classifier of the domains."""

import numpy as np
import pytest

from tlkit import UserError
from tlkit.domain.proxy_a_distance import proxy_a_distance


def test_domains_apart_and_domains_alike():
    rows = np.random.default_rng(0).normal(size=(2000, 6))
    assert proxy_a_distance(rows[:1000], rows[1000:] + [9, 0, 0, 0, 0, 0]) == 2
    assert proxy_a_distance(rows[:1000], rows[1000:]) < 0.2
    assert proxy_a_distance(rows, rows) < 0.2


def test_equation_3_with_an_error_of_one_quarter():
    # Three quarters of the source and one quarter of the target are at 1, the rest at 0: the best guess is wrong for a
    # quarter of each, so d = 2 (1 - 2 / 4) = 1.
    source, target = np.arange(2000) % 4 > 0, np.arange(2000) % 4 == 0
    assert proxy_a_distance(source[:, None], target[:, None]) == pytest.approx(1, abs=0.1)


def test_a_smaller_domain_is_no_easier_to_guess():
    rows = np.random.default_rng(0).normal(size=(1100, 3))
    assert proxy_a_distance(rows[:1000], rows[1000:]) < 0.5  # guessing "source" would be wrong for one in eleven


def test_scale_of_a_feature_does_not_count_and_the_seed_settles_it():
    random = np.random.default_rng(0)
    source, target = random.normal(size=(300, 4)), random.normal(size=(300, 4)) + 0.5
    distance = proxy_a_distance(source, target)
    assert 0 < distance < 2
    assert proxy_a_distance(source, target) == distance
    assert proxy_a_distance(source * 1000, target * 1000) == pytest.approx(distance)
    assert proxy_a_distance(source, target, max_rows=50) != distance


@pytest.mark.parametrize(
    ("source", "target", "options", "sentence"),
    [
        (np.ones((9, 2)), np.ones((9, 3)), {}, r"Received: \(9, 2\) and \(9, 3\). Take the same layer"),
        (np.ones((9, 2, 2)), np.ones((9, 2, 2)), {}, "the features do not match"),
        (np.ones((3, 2)), np.ones((9, 2)), {}, "Expected at least 4 of each domain. Received: 3 and 9"),
        (np.ones((9, 2)), np.ones((9, 2)), {"max_rows": 1}, "max_rows=1"),
        (np.full((9, 2), np.nan), np.ones((9, 2)), {}, "the training diverged"),
    ],
)
def test_bad_input(source, target, options, sentence):
    with pytest.raises(UserError, match=sentence):
        proxy_a_distance(source, target, **options)
