"""COCO's average precision after every epoch, in the logs."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tlkit.detection.evaluate_boxes import evaluate_boxes
from tlkit.distribution import from_chief
from tlkit.errors import UserError

_OUTPUTS = ("boxes", "scores", "labels")


class CocoMetrics(keras.callbacks.Callback):
    """Judges a detector by COCO's metrics at the end of each epoch, and puts `val_map` and `val_map50` into the logs.

    So `history` holds them, and `ModelCheckpoint` or `EarlyStopping` can choose an epoch by them, with `mode="max"`:
    list this callback before those, since each callback sees what those before it have put into the logs. A detector's
    loss tells little of what it finds, because most of it is made at places where nothing is.

    Args:
        validation: Finite data set of batches `(images, {"boxes", "labels"})`, as `load_boxes` gives: boxes in pixels
            of the resized image, rows of padding with the label -1.
        class_names: Class names by number.
        predict_model: Function of the model that is trained, giving the one that predicts boxes, of the same weights:
            `with_decoder`. It is called once in each `fit`. Defaults to `None`: the model itself predicts them.

    Call arguments:
        The predicting model gives a dict of "boxes" `(batch, k, 4)` as in the data, "scores" `(batch, k)` and "labels"
        `(batch, k)` with -1 for padding; and "num_detections" `(batch,)`, if there is such an output.

    Attributes:
        epochs: What `evaluate_boxes` gives for each epoch, over all calls of `fit` with this callback, without
            sizes and curves; empty, and the logs NaN, where the predictions are not finite.

    Raises:
        UserError: When the data set is endless, is not of such batches, or the model does not predict boxes.

    Example:
        >>> from tlkit.detection import CocoMetrics
        >>> images, boxes = np.zeros((2, 8, 8, 3), "float32"), np.array([[[1.0, 1, 5, 5]]] * 2, "float32")
        >>> data = tf.data.Dataset.from_tensors((images, {"boxes": boxes, "labels": np.zeros((2, 1), "int32")}))
        >>> class Finder(keras.Model):  # finds the same box everywhere
        ...     def call(self, images):
        ...         rows = keras.ops.zeros_like(images[:, 0, :1, 0])
        ...         box = rows[:, None] + keras.ops.array([1.0, 1, 5, 5])
        ...         return {"boxes": box, "scores": rows + 0.9, "labels": keras.ops.cast(rows, "int32")}
        >>> metrics = CocoMetrics(data, ["cell"])
        >>> metrics.set_model(Finder())
        >>> logs = {}
        >>> metrics.on_epoch_end(0, logs)
        >>> logs
        {'val_map': 1.0, 'val_map50': 1.0}

    Notes:
        Rows are predicted on one device, also under a strategy. With `ExactResume` the epochs go on. A copy (KerasTuner
        copies callbacks) shares the data and starts anew.
    """

    def __init__(
        self,
        validation: tf.data.Dataset,
        class_names: Sequence[str],
        *,
        predict_model: Callable[[keras.Model], keras.Model] | None = None,
    ):
        super().__init__()
        if not isinstance(validation, tf.data.Dataset) or validation.cardinality() == tf.data.INFINITE_CARDINALITY:
            raise UserError(
                "CocoMetrics: expected `validation` to be a finite data set, such as `load_boxes(...).validation`. "
                f"Received: {type(validation).__name__}."
            )
        if isinstance(predict_model, keras.Model) or not (predict_model is None or callable(predict_model)):
            raise UserError(
                "CocoMetrics: expected `predict_model` to be a function of the model that is trained, since a copy of "
                f"this callback is for another model. Received: {type(predict_model).__name__}. Write "
                "`lambda model: with_decoder(model)`, for example."
            )
        self.validation = validation
        self.class_names = [str(name) for name in class_names]
        self.predict_model = predict_model
        self.epochs: list[dict[str, Any]] = []
        self._detector: keras.Model | None = None

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        self._detector = None  # of another model, perhaps

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if self._detector is None:
            self._detector = self.model if self.predict_model is None else self.predict_model(self.model)
        detector = self._detector
        metrics = from_chief(lambda: self._evaluate(detector))  # by which all workers choose the same epoch
        self.epochs.append(metrics)
        if logs is not None:
            logs.update({f"val_{name}": metrics.get(name, math.nan) for name in ("map", "map50")})

    def get_state(self) -> dict[str, Any]:
        """What `ExactResume` keeps."""
        return {"epochs": copy.deepcopy(self.epochs)}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go on from `get_state`."""
        self.epochs = copy.deepcopy(list(state["epochs"]))

    def __deepcopy__(self, memo: dict[int, Any]) -> CocoMetrics:
        fresh = copy.copy(self)  # a data set cannot be copied
        fresh.epochs, fresh._detector = [], None
        return fresh

    def _evaluate(self, detector: keras.Model) -> dict[str, Any]:
        true, predicted = self._predict(detector)
        if not all(np.isfinite(image[name]).all() for image in predicted for name in ("boxes", "scores")):
            return {}
        metrics = evaluate_boxes(true, predicted, self.class_names, by_size=False)
        for one in metrics["per_class"].values():
            del one["precision50"]
        return metrics

    def _predict(self, detector: keras.Model) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        true, predicted = [], []
        for batch in self.validation:
            images, truth = _checked_batch(batch)
            found = detector.predict_on_batch(images)
            if not isinstance(found, dict) or not all(name in found for name in _OUTPUTS):
                raise UserError(
                    f"CocoMetrics: the model does not predict boxes. Expected a dict of {', '.join(_OUTPUTS)}. "
                    f"Received: {', '.join(found) if isinstance(found, dict) else type(found).__name__}. Give the "
                    "function that turns it into one that does, such as predict_model=with_decoder."
                )
            true += _by_image({name: np.asarray(truth[name]) for name in ("boxes", "labels")})
            names = [name for name in (*_OUTPUTS, "num_detections") if name in found]
            predicted += _by_image({name: np.asarray(found[name]) for name in names})
        return true, predicted


def _checked_batch(batch: Any) -> tuple[Any, Mapping[str, Any]]:
    if not isinstance(batch, tuple) or len(batch) < 2 or not isinstance(batch[1], Mapping):
        batch = (None, {})
    if not {"boxes", "labels"} <= batch[1].keys():
        raise UserError(
            'CocoMetrics: expected batches `(images, {"boxes", "labels"})` in `validation`, as `load_boxes` gives them '
            "(before `detection_targets`)."
        )
    return batch[0], batch[1]


def _by_image(batch: dict[str, np.ndarray]) -> list[dict[str, Any]]:
    return [{name: values[row] for name, values in batch.items()} for row in range(len(batch["boxes"]))]
