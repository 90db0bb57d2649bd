"""Multi-label metrics against numbers worked by hand, scikit-learn and Keras."""

import json
import math

import keras
import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from tlkit import UserError
from tlkit.evaluation import example_log_loss, multilabel_metrics

NAMES = ["ant", "bee", "cat"]
# Four examples of ant, bee and cat; no example shows a cat.
LABELS = np.array([[1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 0, 0]])
PROBABILITIES = np.array([[0.9, 0.6, 0.1], [0.5, 0.8, 0.2], [0.7, 0.3, 0.3], [0.2, 0.1, 0.6]])


def test_by_hand():
    result = multilabel_metrics(LABELS, PROBABILITIES, NAMES)
    assert result["num_examples"] == 4
    # Ant, most probable first: examples 0 (ant), 2, 1 (ant), 3: precision 1 at recall 1/2, 2/3 at recall 1.
    # Bee: 1 (bee), 0, 2 (bee), 3: the same.
    assert result["per_class"]["ant"] == pytest.approx(
        # Above 0.5: examples 0 (right) and 2 (wrong); example 1 stands at 0.5, which is not above.
        {
            "average_precision": 1 / 2 + 1 / 2 * 2 / 3,
            "precision": 1 / 2,
            "recall": 1 / 2,
            "f1": 1 / 2,
            "num_positives": 2,
        }
    )
    assert result["per_class"]["bee"] == pytest.approx(
        {"average_precision": 5 / 6, "precision": 1 / 2, "recall": 1 / 2, "f1": 1 / 2, "num_positives": 2}
    )
    assert result["per_class"]["cat"] == {
        "average_precision": None, "precision": 0, "recall": 0, "f1": 0, "num_positives": 0,
    }  # fmt: skip
    assert result["classes_without_positives"] == ["cat"]
    assert result["mean_average_precision"] == pytest.approx(5 / 6)
    assert result["macro_f1"] == pytest.approx(1 / 2)  # of ant and bee
    # Right: ant in 0, bee in 1. Said: ant in 0 and 2, bee in 0 and 1, cat in 3. Shown: 4 in all.
    assert result["micro_f1"] == pytest.approx(2 * 2 / (5 + 4))
    # Wrong: bee in 0, ant in 1, ant and bee in 2, cat in 3.
    assert result["hamming_loss"] == pytest.approx(5 / 12)
    assert result["exact_match"] == 0
    terms = [0.9, 0.4, 0.9, 0.5, 0.8, 0.8, 0.3, 0.3, 0.7, 0.8, 0.9, 0.4]  # probability of what is true, row by row
    assert result["log_loss"] == pytest.approx(-sum(map(math.log, terms)) / 12)
    assert json.loads(json.dumps(result)) == result


def test_against_scikit_learn():
    generator = np.random.default_rng(0)
    labels = (generator.random((300, 6)) < [0.5, 0.3, 0.2, 0.1, 0.05, 0.3]).astype(int)
    probabilities = np.clip(0.3 * labels + generator.normal(0.4, 0.25, labels.shape), 0, 1).round(2)  # with ties
    predicted = probabilities > 0.5
    result = multilabel_metrics(labels, probabilities, list("abcdef"))
    assert result["mean_average_precision"] == pytest.approx(
        sklearn_metrics.average_precision_score(labels, probabilities, average="macro")
    )
    for average in ("micro", "macro"):
        assert result[f"{average}_f1"] == pytest.approx(sklearn_metrics.f1_score(labels, predicted, average=average))
    assert result["exact_match"] == pytest.approx(sklearn_metrics.accuracy_score(labels, predicted))
    assert result["hamming_loss"] == pytest.approx(sklearn_metrics.hamming_loss(labels, predicted))
    expected = np.transpose(sklearn_metrics.precision_recall_fscore_support(labels, predicted))
    found = [
        [row[key] for key in ("precision", "recall", "f1", "num_positives")] for row in result["per_class"].values()
    ]
    np.testing.assert_allclose(found, expected)


def test_one_class_is_judged_as_shown_or_not():
    result = multilabel_metrics([[1], [0], [1]], np.array([[0.9], [0.6], [0.4]]), ["ant"])
    assert result["per_class"]["ant"]["precision"] == result["micro_f1"] == 0.5
    assert result["hamming_loss"] == pytest.approx(2 / 3)


def test_the_log_loss_is_what_keras_reports():
    generator = np.random.default_rng(1)
    probabilities = generator.uniform(0.01, 0.99, (20, 3))
    labels = generator.integers(0, 2, (20, 3))
    np.testing.assert_allclose(
        example_log_loss(labels, probabilities),
        keras.losses.binary_crossentropy(labels.astype("float32"), probabilities),
        rtol=1e-5,
    )
    single = probabilities / probabilities.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(
        example_log_loss(labels.argmax(axis=1), single),
        keras.losses.sparse_categorical_crossentropy(labels.argmax(axis=1), single),
        rtol=1e-5,
    )


def test_a_certain_mistake_costs_a_finite_loss():
    assert example_log_loss([0], np.array([[0.0, 1.0]])) == pytest.approx(36.04, abs=0.01)
    assert example_log_loss([[1, 0]], np.array([[0.0, 1.0]])) == pytest.approx(36.04, abs=0.01)


@pytest.mark.parametrize(
    ("labels", "probabilities", "message"),
    [
        ([0, 1], np.eye(2), r"shape \(n, 2\) for 2 `class_names`. Received: \(2,\) and \(2, 2\)"),
        (np.eye(2), np.eye(3), "Received"),
        (np.zeros((0, 2)), np.zeros((0, 2)), "none of the 0 examples"),
        (np.zeros((3, 2)), np.zeros((3, 2)), "none of the 3 examples shows any of the classes"),
        (2 * np.eye(2), np.eye(2), "`labels` to be 0 or 1"),
        (np.eye(2), np.full((2, 2), np.nan), "the training diverged"),
        (np.eye(2), np.array([[3.0, -2.0], [1.0, 0.0]]), "For logits, apply the sigmoid"),
    ],
)
def test_mistakes(labels, probabilities, message):
    with pytest.raises(UserError, match=message):
        multilabel_metrics(labels, probabilities, ["ant", "bee"])
