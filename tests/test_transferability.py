"""LogME beside SciPy's normal distribution maximised by SciPy, LEEP by hand."""

import math

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.stats import multivariate_normal

from tlkit import UserError
from tlkit.evaluation import leep, log_me


def evidence_by_scipy(features, y):
    """y = F w + noise is normal with covariance I / beta + F F' / alpha; the best of both, searched for."""
    gram, ones = features @ features.T, np.eye(len(y))

    def minus(log_alpha_beta):
        alpha, beta = np.exp(np.clip(log_alpha_beta, -15, 15))
        return -multivariate_normal.logpdf(y, cov=ones / beta + gram / alpha)

    starts = [(a, b) for a in (-2.0, 2.0) for b in (0.0, 3.0)]
    options = {"xatol": 1e-8, "fatol": 1e-10, "maxiter": 4000}
    return max(-minimize(minus, start, method="Nelder-Mead", options=options).fun for start in starts)


@pytest.mark.parametrize(("rows", "columns"), [(40, 5), (30, 60)])
def test_log_me_is_the_largest_evidence(rows, columns):
    rng = np.random.default_rng(columns)
    labels = rng.integers(0, 3, rows)
    features = rng.normal(size=(rows, columns)) + 0.8 * labels[:, None] * (np.arange(columns) < 2)
    expected = np.mean([evidence_by_scipy(features, (labels == c).astype(float)) for c in range(3)]) / rows
    assert log_me(features, labels) == pytest.approx(expected, abs=1e-4)


def test_log_me_does_not_mind_columns_that_say_nothing_new():
    rng = np.random.default_rng(0)
    labels, features = rng.integers(0, 2, 50), rng.normal(size=(50, 4))
    features[:, 0] += labels
    score = log_me(features, labels)
    assert log_me(np.hstack([features, np.zeros((50, 3))]), labels) == pytest.approx(score, abs=1e-6)
    turned = features @ np.linalg.qr(rng.normal(size=(4, 4)))[0]
    assert log_me(turned, labels + 7) == pytest.approx(score, abs=1e-6)  # nor a rotation, nor the labels' names
    assert log_me(rng.normal(size=(50, 4)), labels) < score


def test_log_me_of_features_that_fit_exactly_is_finite():
    labels = np.array([0, 1] * 5)
    assert math.isfinite(log_me(np.eye(10), labels))
    assert math.isfinite(log_me(np.stack([labels, 1 - labels], axis=1), labels))


def test_leep_by_hand():
    probabilities, labels = [[0.8, 0.2], [0.6, 0.4], [0.1, 0.9]], [0, 0, 1]
    # Sums by source class: 1.5 and 1.5; of label 0: 1.4 and 0.6, of label 1: 0.1 and 0.9.
    zero, one = (1.4 / 1.5, 0.6 / 1.5), (0.1 / 1.5, 0.9 / 1.5)
    likelihoods = [0.8 * zero[0] + 0.2 * zero[1], 0.6 * zero[0] + 0.4 * zero[1], 0.1 * one[0] + 0.9 * one[1]]
    assert leep(probabilities, labels) == pytest.approx(sum(map(math.log, likelihoods)) / 3)
    # A source class that never occurs, and a model that says the same of all: the labels' own frequencies remain.
    same = np.tile([0.5, 0.5, 0.0], (4, 1))
    assert leep(same, [0, 1, 1, 1]) == pytest.approx((math.log(1 / 4) + 3 * math.log(3 / 4)) / 4)


@pytest.mark.parametrize(
    ("values", "labels", "message"),
    [
        (np.ones((3, 2, 2)), [0, 1, 1], r"shape \(3, 2, 2\) and `labels` \(3,\). Expected \(n, d\) and \(n,\)"),
        (np.ones((3, 2)), [0, 1], r"Expected \(n, d\) and \(n,\)"),
        ([[0.5, math.nan], [0.5, 0.5]], [0, 1], "not finite"),
        (np.full((2, 2), 0.5), [1, 1], "all 2 labels are the same"),
    ],
)
@pytest.mark.parametrize("score", [log_me, leep])
def test_wrong_input(score, values, labels, message):
    with pytest.raises(UserError, match=message):
        score(values, labels)


def test_what_each_of_them_needs():
    with pytest.raises(UserError, match="every feature is 0"):
        log_me(np.zeros((2, 2)), [0, 1])
    with pytest.raises(UserError, match="sum to 1 in each row; take the softmax of logits"):
        leep([[3.0, -1.0], [0.5, 0.5]], [0, 1])
