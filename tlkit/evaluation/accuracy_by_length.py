"""Whether short or long texts are judged worse."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tlkit.errors import UserError
from tlkit.evaluation._bins import equal_mass_bins
from tlkit.evaluation._check import check_predictions
from tlkit.evaluation.classification_metrics import wilson_interval


def accuracy_by_length(
    labels: Sequence[int] | np.ndarray,
    probabilities: np.ndarray,
    lengths: Sequence[int] | np.ndarray,
    num_bins: int = 5,
) -> dict[str, Any]:
    """Accuracy in bins of about equal numbers of texts, the shortest first; the result can be written as JSON.

    Long texts that are judged worse may be cut off by the backbone's sequence length; short ones may say too little.
    Bins whose intervals overlap may differ by chance.

    Args:
        labels: `(n,)`, the true class numbers.
        probabilities: `(n, num_classes)`; rows sum to 1.
        lengths: `(n,)`, the length of each text, such as `len(text.split())`: words, or characters in languages
            that put no spaces between words.
        num_bins: At most that many bins; texts of one length are never divided. Defaults to 5: of 300 test texts that
            is 60 a bin, whose accuracy is known to about 10 points.

    Returns:
        num_examples, accuracy, and bins: each low and high (of the lengths in it), num_examples, accuracy,
        accuracy_interval (95 % Wilson).

    Raises:
        UserError: When there is no example, shapes do not match, rows are no probabilities, or `num_bins` is below 1.

    Example:
        >>> probabilities = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.3, 0.7]])
        >>> found = accuracy_by_length([0, 1, 1, 0], probabilities, lengths=[3, 4, 20, 30], num_bins=2)
        >>> [(bin["low"], bin["high"], bin["accuracy"]) for bin in found["bins"]]
        [(3, 4, 1.0), (20, 30, 0.0)]
    """
    labels, probabilities = check_predictions("accuracy_by_length", labels, probabilities)
    lengths = np.asarray(lengths)
    if lengths.shape != labels.shape or not np.issubdtype(lengths.dtype, np.integer):
        raise UserError(
            f"accuracy_by_length: expected `lengths` to be one whole number for each of the {len(labels)} texts. "
            f"Received: {lengths.dtype} of shape {lengths.shape}."
        )
    if num_bins < 1:
        raise UserError(f"accuracy_by_length: expected `num_bins` of at least 1. Received: num_bins={num_bins!r}.")
    is_right = probabilities.argmax(axis=1) == labels
    bins = []
    for numbers in equal_mass_bins(lengths, num_bins):
        num_right = int(is_right[numbers].sum())
        bins.append(
            {
                "low": int(lengths[numbers].min()),
                "high": int(lengths[numbers].max()),
                "num_examples": len(numbers),
                "accuracy": num_right / len(numbers),
                "accuracy_interval": list(wilson_interval(num_right, len(numbers))),
            }
        )
    return {"num_examples": len(labels), "accuracy": float(is_right.mean()), "bins": bins}
