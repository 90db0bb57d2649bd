"""Metrics against numbers worked by hand, scikit-learn and scipy."""

import json
import math

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn import metrics as sklearn_metrics

from tlkit import UserError
from tlkit.evaluation import classification_metrics
from tlkit.evaluation.classification_metrics import wilson_interval


def test_by_hand():
    labels = [0, 0, 0, 1]
    probabilities = np.array([[0.5, 0.5], [0.75, 0.25], [0.25, 0.75], [0.5, 0.5]])  # a tie counts as the first class
    result = classification_metrics(labels, probabilities, ["ant", "bee"])
    assert result["num_examples"] == 4
    assert result["confusion_matrix"] == [[2, 1], [1, 0]]  # rows are the truth
    assert result["accuracy"] == 0.5
    assert result["balanced_accuracy"] == pytest.approx((2 / 3 + 0) / 2)
    assert result["log_loss"] == pytest.approx(-(2 * math.log(1 / 2) + math.log(3 / 4) + math.log(1 / 4)) / 4)
    assert result["per_class"]["ant"] == pytest.approx(
        {"precision": 2 / 3, "recall": 2 / 3, "f1": 2 / 3, "num_examples": 3}
    )
    assert result["per_class"]["bee"] == {"precision": 0, "recall": 0, "f1": 0, "num_examples": 1}


def test_against_scikit_learn():
    generator = np.random.default_rng(0)
    labels = generator.choice(4, 200, p=[0.6, 0.2, 0.1, 0.1])
    probabilities = generator.dirichlet(np.ones(4), 200)
    probabilities[np.arange(100), labels[:100]] += 1
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    predicted = probabilities.argmax(axis=1)
    result = classification_metrics(labels, probabilities, list("abcd"))
    assert result["accuracy"] == pytest.approx(sklearn_metrics.accuracy_score(labels, predicted))
    assert result["balanced_accuracy"] == pytest.approx(sklearn_metrics.balanced_accuracy_score(labels, predicted))
    assert result["log_loss"] == pytest.approx(sklearn_metrics.log_loss(labels, probabilities))
    assert result["confusion_matrix"] == sklearn_metrics.confusion_matrix(labels, predicted).tolist()
    expected = np.transpose(sklearn_metrics.precision_recall_fscore_support(labels, predicted))
    np.testing.assert_allclose([list(row.values()) for row in result["per_class"].values()], expected)
    assert json.loads(json.dumps(result)) == result


def test_wilson_interval_by_hand():
    # z = 2, 8 of 16: centre (.5 + 4/32) / (1 + 4/16) = .5; half 2 sqrt(.25/16 + 4/1024) / 1.25 = 2 * .13975 / 1.25
    low, high = wilson_interval(8, 16, z=2)
    assert low == pytest.approx(0.5 - 1 / math.sqrt(20)) and high == pytest.approx(0.5 + 1 / math.sqrt(20))


@pytest.mark.parametrize(("right", "number"), [(0, 5), (5, 5), (1, 1), (9, 10), (283, 300), (1, 1000)])
def test_wilson_interval_against_scipy(right, number):
    expected = binomtest(right, number).proportion_ci(0.95, method="wilson")
    assert wilson_interval(right, number) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_a_class_without_examples_does_not_count():
    result = classification_metrics([0, 1], np.eye(3)[[0, 1]], ["ant", "bee", "wasp"])
    assert result["balanced_accuracy"] == 1.0
    assert result["per_class"]["wasp"]["num_examples"] == 0


def test_a_certain_mistake_costs_a_finite_loss():
    assert classification_metrics([0], np.array([[0.0, 1.0]]), ["ant", "bee"])["log_loss"] == pytest.approx(
        36.04, abs=0.01
    )


def test_sixteen_bit_rows_pass():
    rows = np.array([[0.5, 0.508]], np.float16)
    assert classification_metrics([1], rows, ["ant", "bee"])["accuracy"] == 1.0


@pytest.mark.parametrize(
    ("labels", "probabilities", "message"),
    [
        ([], np.zeros((0, 2)), "no example"),
        ([0, 1], np.eye(3)[:2], r"shape \(n, 2\)"),
        ([0, 2], np.eye(2), "integers from 0 to 1"),
        ([0.0, 1.0], np.eye(2), "integers from 0 to 1"),
        ([0, 1], np.full((2, 2), np.nan), "the training diverged"),
        ([0, 1], np.array([[3.0, -2.0], [1.0, 0.0]]), "For logits, apply softmax"),
    ],
)
def test_mistakes(labels, probabilities, message):
    with pytest.raises(UserError, match=message):
        classification_metrics(labels, probabilities, ["ant", "bee"])
