"""Scores without target labels: numbers worked out by hand on three rows, and what each must prefer."""

import math
import tracemalloc

import numpy as np
import pytest
from scipy.special import softmax
from scipy.stats import entropy

import tlkit.domain.validators as validators
from tlkit import UserError
from tlkit.domain.feature_validators import cluster_agreement, reverse_validation
from tlkit.domain.label_free_scores import LABEL_FREE_SCORES, NEED_FEATURES, DomainOutputs
from tlkit.domain.validators import entropy_score, information_maximization, soft_neighborhood_density, source_score

ROWS = np.array([[0.5, 0.5], [1.0, 0.0], [0.25, 0.75]])
LN2 = math.log(2)
H_QUARTER = 0.25 * math.log(4) + 0.75 * math.log(4 / 3)  # entropy of (1/4, 3/4)


def test_source_score_is_minus_the_log_loss():
    # ln(1/2), ln(1) and ln(3/4): their mean is ln(3/8) / 3
    assert source_score([0, 0, 1], ROWS) == pytest.approx(math.log(3 / 8) / 3)
    assert source_score([0, 0, 0], ROWS) < source_score([0, 0, 1], ROWS)


def test_entropy_score_is_minus_the_mean_entropy():
    assert entropy_score(ROWS) == pytest.approx(-(LN2 + 0 + H_QUARTER) / 3)
    assert entropy_score(np.full((3, 4), 0.25)) == pytest.approx(-math.log(4))
    assert entropy_score(np.eye(3)) == 0


def test_information_maximization_is_the_entropy_of_the_mean_less_the_mean_entropy():
    a, b = 7 / 12, 5 / 12  # the mean row: (1/2 + 1 + 1/4) / 3 and (1/2 + 0 + 3/4) / 3
    assert information_maximization(ROWS) == pytest.approx(-a * math.log(a) - b * math.log(b) - (LN2 + H_QUARTER) / 3)
    assert information_maximization(np.eye(3)) == pytest.approx(math.log(3))
    collapsed = np.tile([1.0, 0.0, 0.0], (3, 1))
    assert information_maximization(collapsed) == pytest.approx(0) and entropy_score(collapsed) == 0


def two_neighbours(difference):
    """Entropy of a row with two neighbours whose logits differ by that much."""
    less = math.exp(-difference) / (1 + math.exp(-difference))
    return -less * math.log(less) - (1 - less) * math.log(1 - less)


def test_soft_neighborhood_density_on_three_rows():
    # Of length 1: (1, 0), (0, 1), (0.6, 0.8); similarities 0, 0.6 and 0.8; divided by T = 0.2: 0, 3 and 4.
    rows = np.array([[2.0, 0.0], [0.0, 1.0], [3.0, 4.0]])
    expected = (two_neighbours(3 - 0) + two_neighbours(4 - 0) + two_neighbours(4 - 3)) / 3
    assert soft_neighborhood_density(rows, temperature=0.2) == pytest.approx(expected)
    assert soft_neighborhood_density(rows * 7, temperature=0.2) == pytest.approx(expected)  # length does not count


def test_soft_neighborhood_density_prefers_dense_clusters_and_one_cluster_most_of_all():
    two = np.repeat(np.eye(2), 5, axis=0)
    assert soft_neighborhood_density(two) == pytest.approx(math.log(4), abs=1e-6)  # four others in each cluster
    assert soft_neighborhood_density(np.ones((10, 3))) == pytest.approx(math.log(9))
    assert soft_neighborhood_density([[1.0, 0.0], [0.0, 1.0]]) == pytest.approx(0)


@pytest.mark.parametrize("at_once", [1, 100, 2**21])
def test_soft_neighborhood_density_in_slices_is_that_of_the_whole_matrix(monkeypatch, at_once):
    monkeypatch.setattr(validators, "_SIMILARITIES_AT_ONCE", at_once)
    rows = np.random.default_rng(0).dirichlet(np.full(4, 0.3), 37)
    units = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    others = [np.delete(units @ unit, index) for index, unit in enumerate(units)]
    expected = np.mean([entropy(softmax(similarities / 0.05)) for similarities in others])
    assert soft_neighborhood_density(rows) == pytest.approx(expected)


def test_soft_neighborhood_density_never_holds_the_whole_matrix():
    rows = np.random.default_rng(0).dirichlet(np.ones(3), 4000)  # 128 MB of similarities
    tracemalloc.start()
    soft_neighborhood_density(rows)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 64e6


def test_cluster_agreement_is_the_v_measure():
    # Clusters {0, 1} and {2, 3} against predictions 0, 0, 0, 1: mutual information H(1/4, 3/4) - ln(2) / 2,
    # entropies H(1/4, 3/4) and ln 2; the V-measure is twice the first by the sum of the others.
    features = np.array([[0.0, 1.0], [0.1, 1.0], [1.0, 0.0], [1.0, 0.1]])
    expected = 2 * (H_QUARTER - LN2 / 2) / (H_QUARTER + LN2)
    assert cluster_agreement(features, [0, 0, 0, 1]) == pytest.approx(expected)
    assert cluster_agreement(features, [1, 1, 0, 0]) == pytest.approx(1)  # names of clusters do not count
    assert cluster_agreement(features, np.eye(2)[[0, 0, 1, 1]]) == pytest.approx(1)
    assert cluster_agreement(features * [[5], [1], [2], [9]], [0, 0, 1, 1]) == pytest.approx(1)  # nor does length


def test_cluster_agreement_of_a_collapse():
    assert cluster_agreement(np.ones((6, 2)), np.tile([0.9, 0.1], (6, 1))) == pytest.approx(1)  # see its docstring
    assert cluster_agreement(np.ones((2, 3)), np.tile([0.2, 0.3, 0.5], (2, 1))) == pytest.approx(1)


def test_reverse_validation_is_the_accuracy_on_the_source_of_what_the_target_taught():
    source, labels = np.arange(8.0)[:, None], np.repeat([0, 1], 4)
    target = source + 0.25
    assert reverse_validation(source, labels, target, labels) == 1
    assert reverse_validation(source, labels, target, 1 - labels) == 0
    assert reverse_validation(source, labels, target, np.eye(2)[labels]) == 1
    assert reverse_validation(source, [0, 0, 0, 0, 0, 1, 1, 1], target, np.zeros(8, int)) == 5 / 8  # one class only


def test_every_score_by_its_name_prefers_the_better_model():
    random = np.random.default_rng(0)
    labels = np.arange(60) % 3
    features = np.eye(3)[labels] + random.normal(scale=0.1, size=(60, 3))
    right = 0.9 * np.eye(3)[labels] + 0.1 / 3
    wrong = random.dirichlet(np.ones(3), 60)
    good, bad = (DomainOutputs(labels, p, p, features, features) for p in (right, wrong))
    for name, score in LABEL_FREE_SCORES.items():
        assert score(good) > score(bad), name
        assert isinstance(score(good), float), name
    assert set(NEED_FEATURES) < set(LABEL_FREE_SCORES) and good.is_finite
    assert not DomainOutputs(labels, right, np.full((2, 3), np.nan)).is_finite


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: entropy_score([[2.0, -1.0]]), "rows are no probabilities.*apply softmax first"),
        (lambda: entropy_score([[0.7], [0.2]]), r"shape \(2, 1\). For one sigmoid output p give the two columns"),
        (lambda: entropy_score(np.zeros((0, 3))), "with one row and two classes at least"),
        (lambda: information_maximization([[np.nan, 1.0]]), "rows are no probabilities"),
        (lambda: source_score([0, 2, 1], ROWS), "expected 3 labels, integers from 0 to 1"),
        (lambda: source_score([0, 1], ROWS), r"Received: shape \(2,\)"),
        (lambda: source_score([0.0, 1.0, 1.0], ROWS), "integers from 0 to 1.*dtype float64"),
        (lambda: soft_neighborhood_density([[1.0, 0.0]]), "n at least 2. Received: shape"),
        (lambda: soft_neighborhood_density(ROWS, temperature=0), "Received: temperature=0. The paper's is 0.05"),
        (lambda: cluster_agreement(ROWS, [0, 1]), "a class for each of the 3 rows"),
        (lambda: reverse_validation(ROWS, [0, 1, 0], np.ones((2, 5)), [0, 1]), "features of different width"),
        (lambda: reverse_validation(ROWS * np.nan, [0, 1, 0], ROWS, [0, 1, 0]), "finite features"),
    ],
)
def test_bad_input(call, sentence):
    with pytest.raises(UserError, match=sentence):
        call()
