"""From what a detector's head says to boxes, each object once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tlkit.detection.locations import STRIDES, check_image_size, check_strides, locations
from tlkit.errors import UserError

OUTPUTS = ("class", "box", "centerness")


@keras.saving.register_keras_serializable("tlkit")
class DetectionDecoder(keras.layers.Layer):
    """Turn the outputs of a `DetectionHead` into the boxes of an image, best first.

    An object is found at several locations: of the boxes of one class that overlap, only the one with the highest score
    is kept (non-maximum suppression). `with_decoder` puts this layer on a trained detector.

        score = sqrt(sigmoid(class) * sigmoid(centerness))
        box = (x - l, y - t, x + r, y + b), cut at the borders of the image
        x, y = location; l, t, r, b = the head's distances

    Args:
        image_size: Int, or pair of ints, height and width in pixels.
        strides: Ints, finest first. Defaults to `(8, 16, 32)`.
        max_detections: Int above 0, how many boxes an image has at most. Defaults to `100`, as COCO counts.
        score_threshold: Float in [0, 1). Boxes with a lower score are left out. Defaults to `0.05`, as in FCOS: low,
            for mAP looks at the whole curve; to show boxes, leave out those below 0.3 or 0.5.
        iou_threshold: Float in (0, 1]. Boxes of a class overlap when their intersection over union is above this.
            Defaults to `0.6`, as in FCOS.

    Call arguments:
        outputs: Dict "class", "box", "centerness" of a `DetectionHead` on images of this size.

    Output shape: A dict of "boxes" `(batch, max_detections, 4)`, x_min, y_min, x_max, y_max in pixels; "scores"
        `(batch, max_detections)`; "labels" `(batch, max_detections)`, int32, the class; "num_detections" `(batch,)`,
        int32. Rows after the last detection have score 0, label -1 and a box of zeros.

    Raises:
        UserError: When an argument is out of its range, or the outputs have another number of locations.

    Example:
        >>> from tlkit.detection import DetectionDecoder
        >>> outputs = {"class": np.array([[[-9.0, 2.0]]]), "box": np.array([[[6.0, 6, 6, 20]]]),
        ...            "centerness": np.array([[[2.0]]])}
        >>> found = DetectionDecoder(image_size=16, strides=(16,), max_detections=2)(outputs)
        >>> found["boxes"].numpy()[0].tolist()  # around (8, 8), and not below the image
        [[2.0, 2.0, 14.0, 16.0], [0.0, 0.0, 0.0, 0.0]]
        >>> found["labels"].numpy()[0].tolist(), round(float(found["scores"][0, 0]), 3)  # sigmoid(2)
        ([1, -1], 0.881)

    Notes:
        It has no weights and computes in float32 in mixed precision, too. XLA does not know TensorFlow's non-maximum
        suppression: `fit` and `predict` do not compile it, and `jit_compile=True` fails.

    Reference: Tian, Shen, Chen and He, 2019, "FCOS: Fully Convolutional One-Stage Object Detection", ICCV,
        https://arxiv.org/abs/1904.01355, sections 3.1 and 3.3; the square root and the thresholds as in the authors'
        code, https://github.com/tianzhi0549/FCOS. Differs from it in: the threshold is that of the score, not of the
        class; no choice of the best 1,000 locations before.
    """

    def __init__(
        self,
        image_size: int | Sequence[int],
        strides: Sequence[int] = STRIDES,
        max_detections: int = 100,
        score_threshold: float = 0.05,
        iou_threshold: float = 0.6,
        **kwargs: Any,
    ):
        super().__init__(**{"dtype": "float32", **kwargs})
        self.image_size, self.strides = check_image_size(image_size), check_strides(strides)
        if isinstance(max_detections, bool) or not isinstance(max_detections, int) or max_detections < 1:
            raise UserError(
                f"DetectionDecoder: `max_detections` is how many boxes an image has at most. Expected a whole number "
                f"above 0. Received: max_detections={max_detections!r}."
            )
        if not 0 <= score_threshold < 1 or not 0 < iou_threshold <= 1:
            raise UserError(
                f"DetectionDecoder: a threshold is out of range. Expected `score_threshold` from 0 to below 1 and "
                f"`iou_threshold` above 0, up to 1. Received: score_threshold={score_threshold!r}, "
                f"iou_threshold={iou_threshold!r}."
            )
        self.max_detections = max_detections
        self.score_threshold, self.iou_threshold = float(score_threshold), float(iou_threshold)
        self.supports_jit = False

    def build(self, outputs_shape: dict[str, Sequence[int | None]]) -> None:
        expected = len(locations(self.image_size, self.strides))
        missing = [name for name in OUTPUTS if name not in outputs_shape]
        if missing or outputs_shape["class"][1] not in (None, expected):
            height, width = self.image_size
            raise UserError(
                f"DetectionDecoder: the outputs do not fit. Expected 'class', 'box' and 'centerness' at {expected} "
                f"locations, those of images of {height} x {width} pixels at strides {self.strides}. Received: shapes "
                f"{ {name: tuple(shape) for name, shape in outputs_shape.items()} }."
            )
        self.built = True

    def call(self, outputs: dict[str, Any]) -> dict[str, Any]:
        boxes = self._boxes(outputs["box"])
        scores = tf.sqrt(tf.sigmoid(outputs["class"]) * tf.sigmoid(outputs["centerness"]))
        # Around a location beyond the border nothing may be left of a box.
        is_there = tf.reduce_all(boxes[..., 2:] > boxes[..., :2], axis=-1, keepdims=True)
        boxes, scores, labels, count = tf.image.combined_non_max_suppression(
            boxes[:, :, tf.newaxis],
            tf.where(is_there, scores, 0.0),
            max_output_size_per_class=self.max_detections,
            max_total_size=self.max_detections,
            iou_threshold=self.iou_threshold,
            # It keeps what is above the threshold; a score of 0 is never an object.
            score_threshold=self.score_threshold,
            clip_boxes=False,  # to 0 and 1, it would
        )
        is_found = tf.range(self.max_detections) < count[:, tf.newaxis]
        labels = tf.where(is_found, tf.cast(labels, tf.int32), -1)
        return {"boxes": boxes, "scores": scores, "labels": labels, "num_detections": count}

    def _boxes(self, distances: Any) -> Any:
        places = locations(self.image_size, self.strides)
        corners = tf.concat([places - distances[..., :2], places + distances[..., 2:]], axis=-1)
        height, width = self.image_size
        return tf.clip_by_value(corners, 0.0, np.array([width, height, width, height], "float32"))

    def compute_output_spec(self, outputs: dict[str, Any]) -> dict[str, keras.KerasTensor]:
        batch = outputs["class"].shape[0]
        rows = (batch, self.max_detections)
        return {
            "boxes": keras.KerasTensor((*rows, 4), "float32"),
            "scores": keras.KerasTensor(rows, "float32"),
            "labels": keras.KerasTensor(rows, "int32"),
            "num_detections": keras.KerasTensor((batch,), "int32"),
        }

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "image_size": list(self.image_size),
            "strides": list(self.strides),
            "max_detections": self.max_detections,
            "score_threshold": self.score_threshold,
            "iou_threshold": self.iou_threshold,
        }
