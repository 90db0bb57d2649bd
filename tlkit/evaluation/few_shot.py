"""Classifiers on frozen features that need no training loop: what you get in ten seconds."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy.spatial.distance import cdist
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.linear_model import LogisticRegression, RidgeClassifierCV
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from tlkit.errors import UserError

_RIDGE_STRENGTHS = np.logspace(-2, 5, 15)  # of the penalty on standardised features; chosen by leaving one out
_LOGISTIC_STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)  # scikit-learn's C, the inverse of the penalty
_FOLDS = 3


class Prototypes(ClassifierMixin, BaseEstimator):
    """The class whose prototype is nearest.

    Args:
        metric: "euclidean": prototypes are class means (nearest class mean: Mensink et al. 2013, section 3.1,
            https://hal.science/hal-00817211; prototypes: Snell et al. 2017, section 2.3,
            https://arxiv.org/abs/1703.05175). "cosine": the same of features scaled to length 1, so that only
            directions count (Gidaris and Komodakis 2018, section 3.1, https://arxiv.org/abs/1804.09458).
    """

    # scikit-learn's NearestCentroid has no cosine and warns of every feature that is constant within classes, of which
    # networks with ReLU have many.

    def __init__(self, metric: Literal["euclidean", "cosine"] = "euclidean"):
        self.metric = metric

    def fit(self, X: ArrayLike, y: ArrayLike) -> Prototypes:
        rows, y = self._rows(X), np.asarray(y)
        self.classes_ = np.unique(y)
        self.prototypes_ = self._rows([rows[y == c].mean(axis=0) for c in self.classes_])
        return self

    def decision_function(self, X: ArrayLike) -> np.ndarray:
        """The cosine with each prototype, from -1 to 1, or minus the distance from it: (n, classes)."""
        rows = self._rows(X)
        return rows @ self.prototypes_.T if self.metric == "cosine" else -cdist(rows, self.prototypes_)

    def predict(self, X: ArrayLike) -> np.ndarray:
        return self.classes_[self.decision_function(X).argmax(axis=1)]

    def _rows(self, rows: ArrayLike) -> np.ndarray:
        rows = np.asarray(rows, dtype=float)
        if self.metric != "cosine":
            return rows
        return rows / np.maximum(np.linalg.norm(rows, axis=-1, keepdims=True), np.finfo(float).tiny)


HEADS: dict[str, Callable[[int], BaseEstimator]] = {
    # Of each, given how many examples the smallest class has.
    "nearest class mean": lambda smallest: Prototypes(),
    "cosine prototypes": lambda smallest: Prototypes("cosine"),
    "ridge": lambda smallest: make_pipeline(StandardScaler(), RidgeClassifierCV(alphas=_RIDGE_STRENGTHS)),
    "logistic regression": lambda smallest: make_pipeline(StandardScaler(), _logistic(smallest)),
}


def fit_few_shot(features: ArrayLike, labels: ArrayLike, head: str = "ridge") -> BaseEstimator:
    """Fit a classifier on frozen features: no training loop, no settings, seconds on a CPU.

    Args:
        features: Array (n, d).
        labels: Integers or names (n,), at least two different.
        head: "nearest class mean" or "cosine prototypes" (nothing is fitted but means: for one to five examples a
            class), "ridge" (least squares on standardised features, its penalty chosen by leaving one out), or
            "logistic regression" (its penalty chosen in three folds; the slowest).

    Returns:
        A fitted scikit-learn classifier, with `predict` and `score`.

    Raises:
        UserError: When there is no such head, shapes do not match, a feature is not finite, or there is but one class.
    """
    if head not in HEADS:
        raise UserError(f"fit_few_shot: `head` is {head!r}. Expected one of {', '.join(map(repr, HEADS))}.")
    features, labels = np.asarray(features), np.asarray(labels)
    if features.ndim != 2 or labels.shape != features.shape[:1]:
        raise UserError(
            f"fit_few_shot: `features` has shape {features.shape} and `labels` {labels.shape}. Expected (n, d) and "
            f"(n,)."
        )
    if not np.isfinite(features).all():
        raise UserError("fit_few_shot: `features` holds a number that is not finite. Expected finite numbers.")
    _, counts = np.unique(labels, return_counts=True)
    if len(counts) < 2:
        raise UserError(f"fit_few_shot: all {len(labels)} labels are the same. Expected at least two classes.")
    return HEADS[head](int(counts.min())).fit(features, labels)


def few_shot_accuracies(
    features: ArrayLike,
    labels: ArrayLike,
    test_features: ArrayLike,
    test_labels: ArrayLike,
    heads: Iterable[str] = tuple(HEADS),
) -> dict[str, float]:
    """The share of test examples that each head, fitted on the others, gets right: head -> accuracy from 0 to 1.

    Raises:
        UserError: As `fit_few_shot`.
    """
    test_features, test_labels = np.asarray(test_features), np.asarray(test_labels)
    return {head: float(fit_few_shot(features, labels, head).score(test_features, test_labels)) for head in heads}


def _logistic(smallest: int) -> BaseEstimator:
    if smallest < _FOLDS:  # too few to choose a penalty by: a strong one
        return LogisticRegression(C=1e-2, max_iter=2000)
    return GridSearchCV(LogisticRegression(max_iter=2000), {"C": _LOGISTIC_STRENGTHS}, cv=_FOLDS)
