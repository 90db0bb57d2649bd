"""The numbers of a classification report."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tlkit.evaluation._check import check_predictions


def classification_metrics(
    labels: Sequence[int] | np.ndarray, probabilities: np.ndarray, class_names: Sequence[str]
) -> dict[str, Any]:
    """Judge predicted probabilities by the true classes; the result can be written as JSON.

        recall(c)    = right among the n_c examples of class c
        precision(c) = right among those predicted as c; 0 when nothing was
        f1           = 2 precision recall / (precision + recall); 0 when both are
        balanced_accuracy = mean recall over the classes that have examples
        log_loss     = mean of -ln p(true class), p clipped below at 2.2e-16

    `accuracy_interval` is the 95 % Wilson interval (`wilson_interval`). `confusion_matrix[i][j]` counts the examples of
    class i that were predicted as class j: rows are the truth, columns the prediction, both in the order of
    `class_names`. Where probabilities tie, the first class counts as predicted.

    Args:
        labels: `(n,)`, the true class numbers.
        probabilities: `(n, num_classes)`; rows sum to 1.
        class_names: Class names by number.

    Returns:
        num_examples, accuracy, accuracy_interval [low, high], balanced_accuracy, log_loss,
        per_class {name: {precision, recall, f1, num_examples}}, confusion_matrix.

    Raises:
        UserError: When there is no example, shapes do not match, or rows are no probabilities.

    Example:
        >>> probabilities = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]])
        >>> classification_metrics([0, 1, 1], probabilities, ["ant", "bee"])["accuracy"]
        0.6666666666666666
    """
    labels, probabilities = check_predictions("classification_metrics", labels, probabilities, len(class_names))
    num_examples, num_classes = probabilities.shape
    matrix = np.zeros((num_classes, num_classes), int)
    np.add.at(matrix, (labels, probabilities.argmax(axis=1)), 1)
    right, examples, predicted = matrix.diagonal(), matrix.sum(axis=1), matrix.sum(axis=0)
    recall, precision = divide(right, examples), divide(right, predicted)
    f1 = divide(2 * right, examples + predicted)  # the same as 2 p r / (p + r)
    of_truth = probabilities[np.arange(num_examples), labels]
    num_right = int(right.sum())
    return {
        "num_examples": num_examples,
        "accuracy": num_right / num_examples,
        "accuracy_interval": list(wilson_interval(num_right, num_examples)),
        "balanced_accuracy": float(recall[examples > 0].mean()),
        "log_loss": float(-np.log(np.maximum(of_truth, np.finfo(np.float64).eps)).mean()),
        "per_class": {
            name: {
                "precision": float(precision[number]),
                "recall": float(recall[number]),
                "f1": float(f1[number]),
                "num_examples": int(examples[number]),
            }
            for number, name in enumerate(class_names)
        },
        "confusion_matrix": matrix.tolist(),
    }


def wilson_interval(num_right: int, num_examples: int, z: float = 1.959963984540054) -> tuple[float, float]:
    """The interval of accuracies that a count of right answers is compatible with.

        centre = (p + z^2 / 2n) / (1 + z^2 / n)
        half   = z sqrt(p (1 - p) / n + z^2 / 4n^2) / (1 + z^2 / n)
        p = num_right / n; n = num_examples; z = quantile of the normal distribution, 1.96 for 95 %

    It stays within [0, 1] and keeps its coverage for few examples and for accuracies near 1, where the common
    p +- z sqrt(p (1 - p) / n) fails. It takes examples for independent draws: photographs of one scene, or crops of one
    picture, are not, and their interval is too narrow.

    Reference: E. B. Wilson, 1927, "Probable Inference, the Law of Succession, and Statistical Inference", JASA 22(158),
    https://doi.org/10.1080/01621459.1927.10502953; in this form in R. G. Newcombe, 1998, "Two-sided confidence
    intervals for the single proportion", Statistics in Medicine 17(8), method 3,
    https://doi.org/10.1002/(SICI)1097-0258(19980430)17:8%3C857::AID-SIM777%3E3.0.CO;2-E.
    """
    share = num_right / num_examples
    widening = 1 + z**2 / num_examples
    centre = (share + z**2 / (2 * num_examples)) / widening
    half = z * math.sqrt(share * (1 - share) / num_examples + z**2 / (4 * num_examples**2)) / widening
    # At 0 and 1 the formula gives exactly 0 and 1, which rounding would miss by 1e-17.
    return (0.0 if num_right == 0 else centre - half), (1.0 if num_right == num_examples else centre + half)


def divide(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """The quotient, and 0 where there is nothing to divide by."""
    return np.where(denominator > 0, numerator / np.maximum(denominator, 1), 0.0)
