"""What a detector's classes are trained with."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from tlkit.detection.losses import sigmoid_focal_loss
from tlkit.errors import UserError


@keras.saving.register_keras_serializable("tlkit")
class DetectionClassLoss(keras.losses.Loss):
    """How wrong the classes at all locations are: the focal loss, summed over an image.

    The loss of the output "class" of `build_detector`. With the weights of `detection_targets` the sum over a batch is
    divided by its number of locations with an object.

        loss of an image = sum over locations and classes of `sigmoid_focal_loss`

    Args:
        alpha: Float in [0, 1], weight of a class that is there. Defaults to `0.25`, as in RetinaNet and FCOS.
        gamma: Float, at least 0, how fast what is already right loses its weight. Defaults to `2.0`, as there.
        reduction: As in every Keras loss.
        name: As in every Keras loss.
        dtype: As in every Keras loss.

    Call arguments:
        y_true: `(batch, locations)`, the class at each, -1 for none.
        y_pred: `(batch, locations, classes)`, logits.

    Raises:
        UserError: When a shape is another, or `alpha` or `gamma` is out of range.

    Example:
        >>> from tlkit.detection import DetectionClassLoss
        >>> labels, logits = np.array([[1, -1]]), np.zeros((1, 2, 2), "float32")
        >>> round(float(DetectionClassLoss()(labels, logits)), 4)  # (0.25 + 3 * 0.75) * 0.5**2 * log 2
        0.4332

    Notes:
        It computes in float32 in mixed precision, too.

    Reference: Tian, Shen, Chen and He, 2019, "FCOS: Fully Convolutional One-Stage Object Detection", ICCV,
        https://arxiv.org/abs/1904.01355, L_cls of equation 2. Differs from it in: nothing.
    """

    def __init__(
        self,
        alpha: float = 0.25,
        gamma: float = 2.0,
        *,
        reduction: str = "sum_over_batch_size",
        name: str = "detection_class_loss",
        dtype: Any = None,
    ):
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.alpha, self.gamma = alpha, gamma

    def call(self, y_true: Any, y_pred: Any) -> Any:
        if len(y_pred.shape) != 3 or len(y_true.shape) != 2:
            raise UserError(
                f"DetectionClassLoss: the shapes do not fit. Expected targets (batch, locations) and logits (batch, "
                f"locations, classes). Received: shapes {tuple(y_true.shape)} and {tuple(y_pred.shape)}. "
                f"`detection_targets` makes such targets."
            )
        labels = ops.one_hot(ops.cast(y_true, "int32"), y_pred.shape[-1], dtype=y_pred.dtype)  # of -1 all zeros
        return ops.sum(sigmoid_focal_loss(labels, y_pred, self.alpha, self.gamma), axis=(1, 2))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "alpha": self.alpha, "gamma": self.gamma}
