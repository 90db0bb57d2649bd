"""What a detector's boxes are trained with."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from tlkit.detection.losses import generalized_iou_loss
from tlkit.errors import UserError


@keras.saving.register_keras_serializable("tlkit")
class DetectionBoxLoss(keras.losses.Loss):
    """How far the boxes are from the true ones: 1 - GIoU at the locations with an object, summed over an image.

    The loss of the output "box" of `build_detector`. A location at the middle of its object counts most. With the
    weights of `detection_targets` the sum over a batch is divided by the sum of these weights.

        loss of an image = sum over locations of centerness * (1 - GIoU)
        centerness = sqrt(min(l, r) / max(l, r) * min(t, b) / max(t, b)) of the true distances; 0 where all are 0

    Args:
        reduction: As in every Keras loss.
        name: As in every Keras loss.
        dtype: As in every Keras loss.

    Call arguments:
        y_true: `(batch, locations, 4)`, distances to the left, upper, right and lower side, 0 where no object is.
        y_pred: The same of the prediction, above 0.

    Raises:
        UserError: When a shape is another.

    Example:
        >>> from tlkit.detection import DetectionBoxLoss
        >>> true = np.array([[[4.0, 4, 4, 4], [0, 0, 0, 0]]])
        >>> round(float(DetectionBoxLoss()(true, np.full((1, 2, 4), 2.0))), 4)  # 16 of 64 pixels, at the centre
        0.75

    Notes:
        It computes in float32 in mixed precision, too.

    Reference: Tian, Shen, Chen and He, 2019, "FCOS: Fully Convolutional One-Stage Object Detection", ICCV,
        https://arxiv.org/abs/1904.01355, L_reg of equation 2. Differs from it in: GIoU instead of IoU, and the weight,
        both as in the paper's improved version and the authors' code, https://github.com/tianzhi0549/FCOS.
    """

    def __init__(self, *, reduction: str = "sum_over_batch_size", name: str = "detection_box_loss", dtype: Any = None):
        super().__init__(name=name, reduction=reduction, dtype=dtype)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        if len(y_pred.shape) != 3 or y_pred.shape[-1] != 4 or len(y_true.shape) != 3:
            raise UserError(
                f"DetectionBoxLoss: the shapes do not fit. Expected targets and distances (batch, locations, 4). "
                f"Received: shapes {tuple(y_true.shape)} and {tuple(y_pred.shape)}. `detection_targets` makes such "
                f"targets."
            )
        start, end = ops.split(y_true, 2, axis=-1)
        ratios = ops.divide_no_nan(ops.minimum(start, end), ops.maximum(start, end))
        weights = ops.sqrt(ratios[..., 0] * ratios[..., 1])
        return ops.sum(weights * generalized_iou_loss(_around(y_true), _around(y_pred)), axis=1)


def _around(distances: Any) -> Any:
    """Boxes as seen from their location: GIoU does not change when both are moved."""
    start, end = ops.split(distances, 2, axis=-1)
    return ops.concatenate([-start, end], axis=-1)
