"""What a detector got wrong in one image, as somebody who looks at the picture counts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np


class Mistakes(NamedTuple):
    """Attributes: `found`, true boxes that were found; `missed`, those that were not; `false`, boxes of nothing."""

    found: int
    missed: int
    false: int


def count_mistakes(
    true: Any, predicted: Mapping[str, Any], *, score_threshold: float = 0.5, iou_threshold: float = 0.5
) -> Mistakes:
    """Count what was found, missed and invented in one image, at one score and one overlap.

    The surest detection first, each takes the true box of its class, not taken yet, that it overlaps most, if by at
    least `iou_threshold`; one that takes none is false.

        IoU(A, B) = area(A and B) / area(A or B)

    Args:
        true: Dict (or an object, as `LabelledImage` is) with "boxes" `(n, 4)`, each `(x_min, y_min, x_max, y_max)`, and
            "labels" `(n,)`.
        predicted: Dict with "boxes", "scores" and "labels". Rows with a label below 0 are padding, in both.
        score_threshold: From 0 to 1. Detections that are less sure do not count.
        iou_threshold: Above 0, at most 1.

    Example:
        >>> true = {"boxes": [[0, 0, 10, 10], [20, 20, 40, 40]], "labels": [0, 0]}
        >>> predicted = {"boxes": [[0, 0, 10, 9], [0, 0, 9, 10]], "scores": [0.9, 0.8], "labels": [0, 0]}
        >>> count_mistakes(true, predicted)
        Mistakes(found=1, missed=1, false=1)
    """
    true = true if isinstance(true, Mapping) else {"boxes": true.boxes, "labels": true.labels}
    boxes, labels = _rows(true, np.asarray(true["labels"]) >= 0)
    scores = np.asarray(predicted["scores"], np.float64)
    sure = (np.asarray(predicted["labels"]) >= 0) & (scores >= score_threshold)
    found_boxes, found_labels = _rows(predicted, sure)
    is_free = np.ones(len(boxes), bool)
    found = 0
    for row in np.argsort(-scores[sure], kind="stable"):
        overlaps = _iou(found_boxes[row], boxes) * (is_free & (labels == found_labels[row]))
        if len(overlaps) and overlaps.max() >= iou_threshold:
            is_free[overlaps.argmax()] = False
            found += 1
    return Mistakes(found, len(boxes) - found, len(found_boxes) - found)


def _rows(image: Mapping[str, Any], chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    boxes = np.asarray(image["boxes"], np.float64).reshape(-1, 4)
    return boxes[chosen], np.asarray(image["labels"])[chosen]


def _iou(box: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    sides = np.minimum(box[2:], boxes[:, 2:]) - np.maximum(box[:2], boxes[:, :2])
    both = np.maximum(sides, 0).prod(axis=1)
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1) + (box[2:] - box[:2]).prod()
    return both / np.maximum(areas - both, np.finfo(float).tiny)
