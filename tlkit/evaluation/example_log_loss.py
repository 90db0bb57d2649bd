"""What each example costs, in single-label and in multi-label data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


def example_log_loss(labels: Sequence[int] | np.ndarray, probabilities: np.ndarray) -> np.ndarray[Any, Any]:
    """The log loss of every example: the larger, the more the model was surprised by the truth.

        single-label: loss = -ln p(true class)
        multi-label:  loss = -mean over the classes of (y ln p + (1 - y) ln(1 - p)), y = 1 for a class shown, else 0

    Probabilities are clipped to [2.2e-16, 1 - 2.2e-16], so that a certain mistake costs a finite 36. Means over the
    examples are what Keras reports as sparse categorical and as binary cross-entropy.

    Args:
        labels: `(n,)` class numbers; in multi-label data `(n, num_classes)` of 0 and 1.
        probabilities: `(n, num_classes)`.

    Returns:
        `(n,)` floats.

    Example:
        >>> example_log_loss([0, 1], np.array([[0.5, 0.5], [0.75, 0.25]])).round(3).tolist()
        [0.693, 1.386]
    """
    labels = np.asarray(labels)
    smallest = np.finfo(np.float64).eps
    clipped = np.clip(np.asarray(probabilities, np.float64), smallest, 1 - smallest)
    if labels.ndim == 1:
        return -np.log(clipped[np.arange(len(labels)), labels])
    return -np.where(labels > 0, np.log(clipped), np.log1p(-clipped)).mean(axis=1)
