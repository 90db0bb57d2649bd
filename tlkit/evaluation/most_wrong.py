"""Which examples a classifier is furthest from the truth about."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tlkit.errors import UserError
from tlkit.evaluation.example_log_loss import example_log_loss
from tlkit.evaluation.multilabel_metrics import THRESHOLD


def most_wrong(labels: Sequence[Any] | np.ndarray, probabilities: np.ndarray, count: int = 12) -> np.ndarray:
    """The numbers of the examples to look at: misjudged ones first, among them those that cost most.

    The cost is `example_log_loss`. Wrong labels, odd examples and true confusions show here. Where fewer than `count`
    are misjudged, the right ones that the model was least sure of follow.

    Args:
        labels: `(n,)`, the true class numbers; in multi-label data `(n, num_classes)` of 0 and 1.
        probabilities: `(n, num_classes)`.
        count: At most that many.

    Returns:
        `(min(count, n),)` integers.

    Raises:
        UserError: When there are not as many labels as rows of probabilities.

    Example:
        >>> most_wrong([0, 1, 1], np.array([[0.9, 0.1], [0.6, 0.4], [0.8, 0.2]]), count=2).tolist()
        [2, 1]
    """
    labels, probabilities = np.asarray(labels).astype(int), np.asarray(probabilities)
    if len(labels) != len(probabilities):
        raise UserError(
            f"most_wrong: expected one row of `probabilities` for each label. Received: {len(probabilities)} rows "
            f"for {len(labels)} labels."
        )
    is_right = ~is_misjudged(labels, probabilities)
    losses = example_log_loss(labels, probabilities)
    return np.lexsort((-losses, is_right))[:count]  # by the last key first; stable


def is_misjudged(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """For each example, whether the likeliest class is wrong; in multi-label data, whether any class is."""
    if labels.ndim == 1:
        return probabilities.argmax(axis=1) != labels
    return ((probabilities > THRESHOLD) != labels).any(axis=1)
