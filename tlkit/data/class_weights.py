"""Weights that make uneven classes count alike."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from tlkit.errors import UserError


def class_weights(labels: Iterable[int], num_classes: int, balance: float = 1.0) -> dict[int, float]:
    """Weight each class by the inverse of its frequency, or less so, for `fit(class_weight=...)`.

        weight(c) = n_c ** -balance * n / sum(n_k ** (1 - balance) over the classes k)
        n = number of examples; n_c = number of examples of class c

    The mean weight over the examples is 1, so the learning rate keeps its meaning. With `balance` 1 every class has the
    same total weight, n / (num_classes * n_c) for each of its examples.

    Args:
        labels: The class number of each training example.
        num_classes: Number of classes; labels are in [0, num_classes).
        balance: From 0, every example counts alike, to 1, every class does.

    Raises:
        UserError: When a class has no example, or a label or `balance` is out of range.

    Example:
        >>> class_weights([0, 0, 0, 1], num_classes=2)
        {0: 0.6666666666666666, 1: 2.0}

    Reference: G. King and L. Zeng, 2001, "Logistic Regression in Rare Events Data", Political Analysis 9(2), section 3,
    https://gking.harvard.edu/files/0s.pdf; the same as scikit-learn's `compute_class_weight("balanced")`.
    """
    if not 0.0 <= balance <= 1.0:
        raise UserError(
            f"class_weights: `balance` is {balance!r}. Expected a number from 0 (each example counts alike) to 1 (each "
            f"class)."
        )
    numbers = np.fromiter(labels, dtype=np.int64)
    wrong = numbers[(numbers < 0) | (numbers >= num_classes)]
    if len(wrong):
        raise UserError(
            f"class_weights: the label {wrong[0]} is out of range. Expected labels from 0 to {num_classes - 1}."
        )
    counts = np.bincount(numbers, minlength=num_classes)
    if 0 in counts:
        raise UserError(
            f"class_weights: class {int(np.argmin(counts))} has no example among the {len(numbers)} labels. Expected "
            f"at least one of each of the {num_classes} classes; remove the class or add examples."
        )
    total = np.sum(counts ** (1.0 - balance))
    return {number: float(count**-balance * len(numbers) / total) for number, count in enumerate(counts)}
