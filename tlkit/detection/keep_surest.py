"""One answer for each thing in an image, as somebody who looks at the picture wants it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import tensorflow as tf


def keep_surest(
    predicted: Mapping[str, np.ndarray], *, score_threshold: float = 0.5, iou_threshold: float = 0.6
) -> dict[str, np.ndarray]:
    """Leave out unsure detections, and those that overlap a surer one, whatever their classes.

    A detector suppresses within a class only, and average precision wants it so: of two classes that a box may be, the
    second can be right. To somebody who looks, a box that is 60 % a 3 and 50 % a 2 is one thing. Two things of which
    one hides most of the other become one, too.

    Args:
        predicted: Dict of arrays, of one image: "boxes" `(n, 4)`, each `(x_min, y_min, x_max, y_max)`, "scores" and
            "labels" `(n,)`.
        score_threshold: From 0 to 1. Less sure detections are left out.
        iou_threshold: Above 0, at most 1. How much two boxes may overlap (intersection over union).

    Returns:
        The same dict with fewer rows, the surest first.

    Example:
        >>> boxes = np.array([[0, 0, 9, 9], [0, 0, 9, 8], [20, 20, 30, 30]], "float32")
        >>> found = {"boxes": boxes, "scores": np.array([0.6, 0.7, 0.3], "float32"), "labels": np.array([3, 2, 0])}
        >>> keep_surest(found)["labels"].tolist()
        [2]
    """
    scores = np.asarray(predicted["scores"])
    boxes = np.asarray(predicted["boxes"]).reshape(-1, 4)
    rows = np.flatnonzero(scores >= score_threshold)
    if len(rows):  # the order of the axes is no matter to an overlap
        rows = rows[tf.image.non_max_suppression(boxes[rows], scores[rows], len(rows), iou_threshold).numpy()]
    return {"boxes": boxes[rows], "scores": scores[rows], "labels": np.asarray(predicted["labels"])[rows]}
