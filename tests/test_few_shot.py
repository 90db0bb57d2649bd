"""Heads without a training loop, by hand and beside scikit-learn."""

import math

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.metrics.pairwise import cosine_similarity
from sklearn.neighbors import NearestCentroid

from tlkit import UserError
from tlkit.evaluation import Prototypes, few_shot_accuracies, fit_few_shot

HEADS = ("nearest class mean", "cosine prototypes", "ridge", "logistic regression")


def test_means_and_angles_disagree():
    # Means: (1, 0) and (0, 8). (2, 2) is nearer to the first; both are 45 degrees away, and (1, 2) leans to the second.
    features, labels = [[1.0, 0.0], [0.0, 8.0]], ["short", "long"]
    assert fit_few_shot(features, labels, "nearest class mean").predict([[1.0, 2.0]]).tolist() == ["short"]
    assert fit_few_shot(features, labels, "cosine prototypes").predict([[1.0, 2.0]]).tolist() == ["long"]


@pytest.mark.filterwarnings("ignore:self.within_class_std_dev_")
def test_means_are_those_of_scikit_learn():
    images, labels = load_digits(return_X_y=True)
    expected = NearestCentroid().fit(images, labels).predict(images)
    np.testing.assert_array_equal(fit_few_shot(images, labels, "nearest class mean").predict(images), expected)


def test_prototypes_are_means_of_directions():
    head = Prototypes("cosine").fit([[10.0, 0.0], [0.0, 1.0], [-1.0, 0.0]], [0, 0, 1])
    diagonal = 1 / math.sqrt(2)  # the mean of (1, 0) and (0, 1), however long they were
    np.testing.assert_allclose(head.prototypes_, [[diagonal, diagonal], [-1.0, 0.0]])
    rows = np.random.default_rng(0).normal(size=(5, 2))
    np.testing.assert_allclose(head.decision_function(rows), cosine_similarity(rows, head.prototypes_))
    assert head.predict([[0.0, 0.0]]).tolist() == [0]  # no direction: no angle, but an answer


def test_digits():
    """With ten a class about as good as linear discriminants; with one a class still above chance."""
    images, labels = load_digits(return_X_y=True)
    train = np.concatenate([np.flatnonzero(labels == c)[:10] for c in range(10)])
    test = np.setdiff1d(np.arange(len(labels)), train)
    found = few_shot_accuracies(images[train], labels[train], images[test], labels[test])
    assert tuple(found) == HEADS
    other = LinearDiscriminantAnalysis(solver="eigen", shrinkage="auto").fit(images[train], labels[train])
    expected = other.score(images[test], labels[test])
    assert all(abs(accuracy - expected) < 0.1 for accuracy in found.values()), (found, expected)
    one = [np.flatnonzero(labels == c)[0] for c in range(10)]
    found = few_shot_accuracies(images[one], labels[one], images[test], labels[test])
    assert all(accuracy > 0.3 for accuracy in found.values()), found  # chance is 0.1


def test_wrong_input():
    for features, labels, message in (
        ([[1.0]], [0, 1], r"shape \(1, 1\) and `labels` \(2,\)"),
        ([[1.0], [math.inf]], [0, 1], "not finite"),
        ([[1.0], [2.0]], [3, 3], "all 2 labels are the same"),
    ):
        with pytest.raises(UserError, match=message):
            fit_few_shot(features, labels)
    with pytest.raises(UserError, match="`head` is 'svm'. Expected one of 'nearest class mean', 'cosine prototypes'"):
        fit_few_shot([[1.0], [2.0]], [0, 1], "svm")
