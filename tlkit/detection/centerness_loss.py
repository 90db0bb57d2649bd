"""What a detector's centerness is trained with."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from tlkit.errors import UserError


@keras.saving.register_keras_serializable("tlkit")
class CenternessLoss(keras.losses.Loss):
    """How wrong the centerness is at the locations with an object: binary cross-entropy, summed over an image.

    The loss of the output "centerness" of `build_detector`. Locations far from the middle of an object give poor boxes;
    a detector that knows them lets their boxes lose against better ones. With the weights of `detection_targets` the
    sum over a batch is divided by its number of locations with an object.

        loss of an image = sum over locations with c > 0 of  c log(1 / p) + (1 - c) log(1 / (1 - p))
        c = true centerness, p = 1 / (1 + exp(-logit))

    Args:
        reduction: As in every Keras loss.
        name: As in every Keras loss.
        dtype: As in every Keras loss.

    Call arguments:
        y_true: `(batch, locations, 1)`, centerness from 0 to 1, 0 where no object is.
        y_pred: `(batch, locations, 1)`, logits.

    Raises:
        UserError: When a shape is another.

    Example:
        >>> from tlkit.detection import CenternessLoss
        >>> true, logits = np.array([[[1.0], [0.5], [0.0]]]), np.zeros((1, 3, 1))
        >>> round(float(CenternessLoss()(true, logits)), 4)  # 2 log 2
        1.3863

    Notes:
        The least value is not 0 but the entropy of the true centerness. It computes in float32 in mixed precision, too.

    Reference: Tian, Shen, Chen and He, 2019, "FCOS: Fully Convolutional One-Stage Object Detection", ICCV,
        https://arxiv.org/abs/1904.01355, section 3.3. Differs from it in: nothing.
    """

    def __init__(self, *, reduction: str = "sum_over_batch_size", name: str = "centerness_loss", dtype: Any = None):
        super().__init__(name=name, reduction=reduction, dtype=dtype)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        if len(y_pred.shape) != 3 or y_pred.shape[-1] != 1 or len(y_true.shape) != 3:
            raise UserError(
                f"CenternessLoss: the shapes do not fit. Expected targets and logits (batch, locations, 1). Received: "
                f"shapes {tuple(y_true.shape)} and {tuple(y_pred.shape)}. `detection_targets` makes such targets."
            )
        there = ops.cast(y_true > 0, y_pred.dtype)
        return ops.sum(there * ops.binary_crossentropy(y_true, y_pred, from_logits=True), axis=(1, 2))
