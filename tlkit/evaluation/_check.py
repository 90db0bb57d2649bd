"""What all judgements of a single-label classifier ask of its predictions."""

from __future__ import annotations

from typing import Any

import numpy as np

from tlkit.errors import UserError


def check_predictions(
    caller: str, labels: Any, probabilities: Any, num_classes: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Both as arrays, with rows that sum to 1 to the last bit.

    Args:
        caller: Name of the public function, for messages.
        labels: `(n,)`, the true class numbers.
        probabilities: `(n, num_classes)`.
        num_classes: How many classes there are; None takes it from `probabilities`.

    Raises:
        UserError: When there is no example, shapes do not match, or rows are no probabilities.
    """
    labels, probabilities = np.asarray(labels), np.asarray(probabilities, np.float64)
    if len(labels) == 0:
        raise UserError(f"{caller}: there is no example to judge. Expected at least one label.")
    names = "" if num_classes is None else f" for {num_classes} `class_names`"
    if num_classes is None and probabilities.ndim == 2:
        num_classes = probabilities.shape[1]
    if labels.ndim != 1 or probabilities.shape != (len(labels), num_classes):
        raise UserError(
            f"{caller}: expected `labels` of shape (n,) and `probabilities` of shape (n, {num_classes or 'classes'})"
            f"{names}. Received: {labels.shape} and {probabilities.shape}."
        )
    if not np.issubdtype(labels.dtype, np.integer) or labels.min() < 0 or labels.max() >= probabilities.shape[1]:
        raise UserError(f"{caller}: expected `labels` to be integers from 0 to {probabilities.shape[1] - 1}.")
    if not np.isfinite(probabilities).all():
        raise UserError(
            f"{caller}: `probabilities` hold values that are not finite, so the training diverged. "
            "Train again with a smaller learning rate."
        )
    # 0.05: rows that were computed in 16 bits miss 1 by up to a few hundredths.
    if probabilities.min() < 0 or abs(probabilities.sum(axis=1) - 1).max() > 0.05:
        raise UserError(
            f"{caller}: expected rows of `probabilities` to be positive and to sum to 1. For logits, "
            "apply softmax first."
        )
    return labels, probabilities / probabilities.sum(axis=1, keepdims=True)
