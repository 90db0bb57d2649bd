"""The numbers of a report on data whose images show any number of the classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.metrics import average_precision_score

from tlkit.errors import UserError
from tlkit.evaluation.classification_metrics import divide
from tlkit.evaluation.example_log_loss import example_log_loss

THRESHOLD = (
    0.5  # a class counts as predicted above it: where the binary cross-entropy holds yes and no for equally likely
)


def multilabel_metrics(
    labels: Sequence[Sequence[int]] | np.ndarray, probabilities: np.ndarray, class_names: Sequence[str]
) -> dict[str, Any]:
    """Judge predicted probabilities by the true classes of every example; the result can be written as JSON.

        average_precision(c) = sum over the ranks k of (R_k - R_(k-1)) P_k
            P_k, R_k = precision and recall of c when the k examples most probably c are taken for c
        mean_average_precision = mean of it over the classes; it needs no threshold

    All others count a class as predicted where its probability is above 0.5:

        precision(c), recall(c), f1(c) = 2 tp / (2 tp + fp + fn)       0 where nothing was predicted, or right
        macro_f1      = mean of f1(c) over the classes
        micro_f1      = the same formula with tp, fp and fn summed over the classes: frequent classes count more
        exact_match   = share of examples whose classes are all right and complete
        hamming_loss  = share of wrong ones among all n * num_classes decisions
        log_loss      = mean binary cross-entropy

    A class of which no example is shown cannot be ranked: its average precision is None, both means leave it out, and
    `classes_without_positives` names it.

    Args:
        labels: `(n, num_classes)` of 0 and 1.
        probabilities: `(n, num_classes)`, each in [0, 1] by itself.
        class_names: Class names by number.

    Returns:
        num_examples, mean_average_precision, macro_f1, micro_f1, exact_match, hamming_loss, log_loss,
        classes_without_positives, per_class {name: {average_precision, precision, recall, f1, num_positives}}.

    Raises:
        UserError: When there is no example or no positive one, shapes do not match, or values are no probabilities.

    Example:
        >>> labels = [[1, 0], [1, 1], [0, 1]]
        >>> probabilities = np.array([[0.9, 0.1], [0.4, 0.8], [0.2, 0.7]])
        >>> result = multilabel_metrics(labels, probabilities, ["cat", "dog"])
        >>> result["mean_average_precision"], round(result["exact_match"], 3)
        (1.0, 0.667)

    Reference: M. Everingham et al., 2010, "The Pascal Visual Object Classes (VOC) Challenge", IJCV 88, for mean average
    precision (its 2007 form interpolates, this one does not), https://doi.org/10.1007/s11263-009-0275-4; M.-L. Zhang
    and Z.-H. Zhou, 2014, "A Review on Multi-Label Learning Algorithms", IEEE TKDE 26(8), for the others,
    https://doi.org/10.1109/TKDE.2013.39.
    """
    labels, probabilities = _checked(labels, probabilities, len(class_names))
    predicted = (probabilities > THRESHOLD).astype(int)
    right, positives, named = (labels * predicted).sum(axis=0), labels.sum(axis=0), predicted.sum(axis=0)
    f1 = divide(2 * right, positives + named)
    ranked = [
        float(average_precision_score(labels[:, number], probabilities[:, number])) if positives[number] else None
        for number in range(len(class_names))
    ]
    precision, recall = divide(right, named), divide(right, positives)
    wrong = labels != predicted
    return {
        "num_examples": len(labels),
        "mean_average_precision": float(np.mean([value for value in ranked if value is not None])),
        "macro_f1": float(f1[positives > 0].mean()),
        "micro_f1": float(divide(2 * right.sum(), positives.sum() + named.sum())),
        "exact_match": float(1 - wrong.any(axis=1).mean()),
        "hamming_loss": float(wrong.mean()),
        "log_loss": float(example_log_loss(labels, probabilities).mean()),
        "classes_without_positives": [name for name, count in zip(class_names, positives, strict=True) if not count],
        "per_class": {
            name: {
                "average_precision": ranked[number],
                "precision": float(precision[number]),
                "recall": float(recall[number]),
                "f1": float(f1[number]),
                "num_positives": int(positives[number]),
            }
            for number, name in enumerate(class_names)
        },
    }


def _checked(labels: Any, probabilities: Any, num_classes: int) -> tuple[np.ndarray, np.ndarray]:
    labels, probabilities = np.asarray(labels), np.asarray(probabilities, np.float64)
    if labels.ndim != 2 or labels.shape[1] != num_classes or probabilities.shape != labels.shape:
        raise UserError(
            f"multilabel_metrics: expected `labels` and `probabilities` of shape (n, {num_classes}) for {num_classes} "
            f"`class_names`. Received: {labels.shape} and {probabilities.shape}."
        )
    if not np.isin(labels, (0, 1)).all():
        raise UserError("multilabel_metrics: expected `labels` to be 0 or 1 for each class.")
    if not labels.any():
        raise UserError(
            f"multilabel_metrics: none of the {len(labels)} examples shows any of the classes. Expected some that do."
        )
    if not np.isfinite(probabilities).all():
        raise UserError(
            "multilabel_metrics: `probabilities` hold values that are not finite, so the training diverged. Train "
            "again with a smaller learning rate."
        )
    if probabilities.min() < 0 or probabilities.max() > 1:
        raise UserError(
            "multilabel_metrics: expected `probabilities` to lie in [0, 1]. For logits, apply the sigmoid first."
        )
    return labels.astype(int), probabilities
