"""Whether a classifier is right as often as it says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tlkit.errors import UserError
from tlkit.evaluation._bins import equal_mass_bins
from tlkit.evaluation._check import check_predictions
from tlkit.evaluation.classification_metrics import wilson_interval


def calibration(labels: Sequence[int] | np.ndarray, probabilities: np.ndarray, num_bins: int = 10) -> dict[str, Any]:
    """Compare confidence and accuracy, bin by bin; the result can be written as JSON.

    Of the texts that a calibrated classifier calls 80 % sure, 80 % are right. The confidence is the probability of the
    likeliest class, with two classes as with many.

        expected_calibration_error = sum over bins b of n_b / n |accuracy(b) - confidence(b)|
        maximum_calibration_error  = max over bins b of |accuracy(b) - confidence(b)|
        accuracy(b), confidence(b) = mean over the n_b examples of b: right or not; probability of the likeliest class

    Bins hold about equal numbers of examples. Bins of equal width, as in Guo et al., leave most of them nearly empty
    where a classifier is mostly sure; then a few examples make the maximum, and one crowded bin the expectation.

    Both errors are above 0 by chance alone, the more so the fewer the examples. `error_by_chance` is what the expected
    calibration error of a perfectly calibrated classifier with these confidences would be on average:

        error_by_chance = sum over b of n_b / n sqrt(2 / pi) sqrt(sum over i in b of p_i (1 - p_i)) / n_b
        p_i = confidence of example i

    the mean absolute value of a normal variable, to which the count of right answers in a bin comes close. An error not
    clearly above it is no finding.

    Args:
        labels: `(n,)`, the true class numbers.
        probabilities: `(n, num_classes)`; rows sum to 1.
        num_bins: At most that many bins; equal confidences are never divided. Defaults to 10, as in Naeini et al.

    Returns:
        num_examples, accuracy, confidence (the mean one), expected_calibration_error, maximum_calibration_error,
        error_by_chance, and bins, least confident first: each low, high (of the confidences in it), confidence,
        accuracy, accuracy_interval (95 % Wilson), num_examples.

    Raises:
        UserError: When there is no example, shapes do not match, rows are no probabilities, or `num_bins` is below 1.

    Example:
        >>> probabilities = np.array([[0.625, 0.375], [0.25, 0.75], [0.875, 0.125], [1.0, 0.0]])
        >>> found = calibration([1, 1, 0, 0], probabilities, num_bins=2)
        >>> [(bin["confidence"], bin["accuracy"]) for bin in found["bins"]]
        [(0.6875, 0.5), (0.9375, 1.0)]
        >>> found["expected_calibration_error"]  # half of 3/16 and half of 1/16
        0.125

    Reference: M. P. Naeini, G. F. Cooper, M. Hauskrecht, 2015, "Obtaining Well Calibrated Probabilities Using Bayesian
    Binning", AAAI, https://ojs.aaai.org/index.php/AAAI/article/view/9602, for both errors; C. Guo et al., 2017, "On
    Calibration of Modern Neural Networks", ICML, https://arxiv.org/abs/1706.04599, equations 2 to 5. Differs from the
    latter in the bins, and in `error_by_chance`.
    """
    labels, probabilities = check_predictions("calibration", labels, probabilities)
    if num_bins < 1:
        raise UserError(f"calibration: expected `num_bins` of at least 1. Received: num_bins={num_bins!r}.")
    confidences = probabilities.max(axis=1)
    is_right = probabilities.argmax(axis=1) == labels
    members = equal_mass_bins(confidences, num_bins)
    bins = [_bin(confidences[numbers], is_right[numbers]) for numbers in members]
    gaps = np.array([abs(part["accuracy"] - part["confidence"]) for part in bins])
    shares = np.array([part["num_examples"] for part in bins]) / len(labels)
    deviations = [np.sqrt((confidences[i] * (1 - confidences[i])).sum()) / len(i) for i in members]
    return {
        "num_examples": len(labels),
        "accuracy": float(is_right.mean()),
        "confidence": float(confidences.mean()),
        "expected_calibration_error": float(shares @ gaps),
        "maximum_calibration_error": float(gaps.max()),
        "error_by_chance": float(np.sqrt(2 / np.pi) * (shares @ deviations)),
        "bins": bins,
    }


def _bin(confidences: np.ndarray, is_right: np.ndarray) -> dict[str, Any]:
    num_right, num_examples = int(is_right.sum()), len(is_right)
    return {
        "low": float(confidences.min()),
        "high": float(confidences.max()),
        "confidence": float(confidences.mean()),
        "accuracy": num_right / num_examples,
        "accuracy_interval": list(wilson_interval(num_right, num_examples)),
        "num_examples": num_examples,
    }
