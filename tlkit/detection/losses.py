"""What a detector is trained with: how wrong a class is, and how wrong a box is. One number each, not reduced."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from tlkit.errors import UserError


def sigmoid_focal_loss(labels: Any, logits: Any, alpha: float = 0.25, gamma: float = 2.0) -> Any:
    """Cross-entropy in which what is already right counts little.

    Nearly all places in an image hold nothing: easy examples that together outweigh the few with an object. The factor
    (1 - p_t)^gamma takes their weight away. Sum it over all places and classes, and divide by the number of objects.

        loss = -alpha_t * (1 - p_t)^gamma * log(p_t)
        p = sigmoid(logit);  p_t = p and alpha_t = alpha where the label is 1,  1 - p and 1 - alpha where it is 0

    Args:
        labels: Tensor of 0 and 1, of any dtype. Whether the object is there.
        logits: Tensor of the same shape, float. What the model puts out, before a sigmoid.
        alpha: Float in [0, 1]. Weight of label 1, against `1 - alpha` of label 0. Defaults to `0.25`, the paper's best
            beside `gamma=2`: its table 1b.
        gamma: Float, at least 0. How fast the weight falls as p_t grows; 0 is cross-entropy weighted by alpha.
            Defaults to `2.0`, the paper's best.

    Returns:
        Tensor of the shape and dtype of `logits`.

    Raises:
        UserError: When `alpha` or `gamma` is out of range.

    Example:
        >>> from tlkit.detection import sigmoid_focal_loss
        >>> sigmoid_focal_loss(np.array([1, 0]), np.array([0.0, 0.0], "float32")).numpy().round(3)
        array([0.043, 0.13 ], dtype=float32)

    Notes:
        `keras.losses.binary_focal_crossentropy` gives the same numbers, as a mean over an axis; its gradient is NaN for
        `gamma` below 1 at a logit of 20.

    Reference: Lin, Goyal, Girshick, He and Dollár, 2017, "Focal Loss for Dense Object Detection", ICCV,
        https://arxiv.org/abs/1708.02002, equation 5. Differs from it in: nothing.
    """
    if not 0 <= alpha <= 1 or not gamma >= 0:
        raise UserError(
            f"sigmoid_focal_loss: a weight is out of range. Expected `alpha` from 0 to 1 and `gamma` from 0. "
            f"Received: alpha={alpha!r}, gamma={gamma!r}."
        )
    logits = ops.convert_to_tensor(logits)
    labels = ops.cast(labels, logits.dtype)
    side = (2.0 * labels - 1.0) * logits  # p_t = sigmoid(side)
    weight = alpha * labels + (1.0 - alpha) * (1.0 - labels)
    # log(p_t) = -softplus(-side) and log(1 - p_t) = -softplus(side): no probability is rounded to 0 or 1 on the way.
    return weight * ops.exp(-gamma * ops.softplus(side)) * ops.softplus(-side)


def generalized_iou_loss(boxes_true: Any, boxes_predicted: Any) -> Any:
    """How far a box is from another: 0 when they are the same, 1 when they touch, up to 2 when they are far apart.

    IoU alone says nothing to a box that misses: it is 0 near by and far away, and so is its gradient. Here the
    smallest box around both is counted, too: the gradient lets such a box grow towards the other.

        loss = 1 - GIoU,  GIoU = intersection / union - (hull - union) / hull
        intersection, union = areas of what is in both boxes and in any;  hull = area of the smallest box around both

    Args:
        boxes_true: Tensor `(..., 4)`. Boxes as `(x_min, y_min, x_max, y_max)` in pixels; `(y_min, x_min, y_max, x_max)`
            gives the same numbers, and so does any other unit of length.
        boxes_predicted: Tensor of the same form, float, of the same shape or one that broadcasts with it.

    Returns:
        Tensor `(...)` of the dtype of `boxes_predicted`, in [0, 2]: one number for each pair.

    Raises:
        UserError: When the last axis has not four numbers.

    Example:
        >>> from tlkit.detection import generalized_iou_loss
        >>> first, second = np.array([[0.0, 0, 2, 2]]), np.array([[1.0, 1, 3, 3]])  # they share 1 of 7, in a hull of 9
        >>> generalized_iou_loss(first, second).numpy().round(4)  # 1 - (1 / 7 - 2 / 9)
        array([1.0794])

    Notes:
        A box without an area (its corners swapped, or the same) counts as empty; two of them give 1. All gradients are
        finite.
        Areas are computed in float32 at least: in float16 that of 256 x 256 pixels is infinite. Coordinates lose
        more: above 512 float16 knows half pixels only, so let a head put out float32.

    Reference: Rezatofighi, Tsoi, Gwak, Sadeghian, Reid and Savarese, 2019, "Generalized Intersection over Union: A
        Metric and A Loss for Bounding Box Regression", CVPR, https://arxiv.org/abs/1902.09630, algorithm 2. Differs
        from it in: what has no area counts as 0, not 0 / 0.
    """
    predicted = ops.convert_to_tensor(boxes_predicted)
    true = ops.convert_to_tensor(boxes_true)
    for name, boxes in (("boxes_true", true), ("boxes_predicted", predicted)):
        if tuple(boxes.shape)[-1:] != (4,):
            raise UserError(
                f"generalized_iou_loss: `{name}` holds no boxes. Expected a shape that ends in 4: x_min, y_min, x_max, "
                f"y_max. Received: {name} of shape {tuple(boxes.shape)}."
            )
    dtype = keras.backend.result_type(predicted.dtype, "float32")
    low_a, high_a = ops.split(ops.cast(true, dtype), 2, axis=-1)
    low_b, high_b = ops.split(ops.cast(predicted, dtype), 2, axis=-1)
    intersection = _area(ops.maximum(low_a, low_b), ops.minimum(high_a, high_b))
    union = _area(low_a, high_a) + _area(low_b, high_b) - intersection
    hull = _area(ops.minimum(low_a, low_b), ops.maximum(high_a, high_b))
    giou = ops.divide_no_nan(intersection, union) - ops.divide_no_nan(hull - union, hull)
    return ops.cast(1.0 - giou, keras.backend.result_type(predicted.dtype, float))


def _area(low: Any, high: Any) -> Any:
    sides = ops.relu(high - low)
    return sides[..., 0] * sides[..., 1]
