"""The label-free scores of every epoch, in the logs."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from typing import Any

import keras

from tlkit.distribution import from_chief
from tlkit.domain.label_free_scores import LABEL_FREE_SCORES, NEED_FEATURES
from tlkit.domain.predictions import check_rows, class_reader, read, read_domains
from tlkit.errors import UserError


class AdaptationScores(keras.callbacks.Callback):
    """Judges the model at the end of each epoch without target labels, and puts the scores into the logs.

    So `history` holds them, and `ModelCheckpoint` or `EarlyStopping` can choose an epoch by one of them. List this
    callback before those. Higher is better for every score, so these need `mode="max"`:

        source_accuracy       share of right source rows
        source_score          `source_score`: minus the log loss on source rows
        target_entropy_score  `entropy_score` of target predictions
        target_information    `information_maximization` of target predictions
        target_snd            `soft_neighborhood_density` of target predictions
        target_clusters       `cluster_agreement` of target features and predictions
        target_reverse        `reverse_validation`

    Args:
        source: `(x, y)`, or a finite data set of such batches: labelled source rows that are not trained on.
        target: `x`, or a finite data set of batches of it (labels in it are not read): target rows, best ones that are
            not trained on either, since what was aligned looks better than what was not.
        target_test: Labelled target rows for a study, where there are some: adds `target_accuracy` to the logs. To
            choose an epoch by that is to train on the test set. Defaults to `None`.
        scores: Names from the list above. Defaults to all; the last two are left out when the model's features cannot
            be had. Those two take the longest, seconds an epoch: they fit a model to the features.
        features: Name of the layer whose output are the features. Defaults to what the last layer with weights before
            the label output is given.
        batch_size: Int, rows predicted at once where arrays are given. Defaults to `256`.

    Attributes:
        epochs: A dict of scores for each epoch, over all calls of `fit` with this callback; a score that cannot be had
            (the training diverged) is NaN.

    Raises:
        UserError: When rows are missing or endless, a name is unknown, or predictions are no probabilities.

    Example:
        >>> x, y = np.random.default_rng(0).normal(size=(60, 4)).astype("float32"), np.arange(60) % 2
        >>> inputs = keras.Input((4,))
        >>> model = keras.Model(inputs, keras.layers.Dense(2, activation="softmax")(inputs))
        >>> model.compile("sgd", "sparse_categorical_crossentropy")
        >>> scores = AdaptationScores((x[:20], y[:20]), x[20:40])
        >>> best = keras.callbacks.ModelCheckpoint("best.keras", monitor="target_information", mode="max",
        ...                                        save_best_only=True)
        >>> history = model.fit(x[40:], y[40:], epochs=2, verbose=0, callbacks=[scores, best])
        >>> history.history["target_information"] == [epoch["target_information"] for epoch in scores.epochs]
        True

    Notes:
        A model with dict outputs is read at "label". Rows are predicted on one device, also under a strategy.
        With `ExactResume` the scores go on. A copy (KerasTuner copies callbacks) shares the rows and starts anew.
    """

    def __init__(
        self,
        source: Any,
        target: Any,
        *,
        target_test: Any = None,
        scores: Sequence[str] | None = None,
        features: str | None = None,
        batch_size: int = 256,
    ):
        super().__init__()
        if unknown := set(scores or ()) - set(LABEL_FREE_SCORES):
            raise UserError(
                f"AdaptationScores: there is no score of that name. Expected some of: {', '.join(LABEL_FREE_SCORES)}. "
                f"Received: scores={sorted(unknown)}."
            )
        check_rows("AdaptationScores", "source", source, with_labels=True)
        check_rows("AdaptationScores", "target", target, with_labels=False)
        if target_test is not None:
            check_rows("AdaptationScores", "target_test", target_test, with_labels=True)
        self.source = source
        self.target = target
        self.target_test = target_test
        self.scores = None if scores is None else tuple(scores)
        self.features = features
        self.batch_size = batch_size
        self.epochs: list[dict[str, float]] = []
        self._reader: tuple[keras.Model, bool] | None = None

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        self._reader = None  # of another model, perhaps

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if self._reader is None:
            self._reader = class_reader(self.model, self.features)
        reader = self._reader
        scores = from_chief(lambda: self._score(*reader))  # by which all workers choose the same epoch
        self.epochs.append(scores)
        if logs is not None:
            logs.update(scores)

    def get_state(self) -> dict[str, Any]:
        """What `ExactResume` keeps."""
        return {"epochs": [dict(epoch) for epoch in self.epochs]}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go on from `get_state`."""
        self.epochs = [dict(epoch) for epoch in state["epochs"]]

    def __deepcopy__(self, memo: dict[int, Any]) -> AdaptationScores:
        # The rows are shared: a data set cannot be copied, and arrays may be large.
        fresh = copy.copy(self)
        fresh.epochs, fresh._reader = [], None
        return fresh

    def _score(self, reader: keras.Model, has_features: bool) -> dict[str, float]:
        names = self.scores or [name for name in LABEL_FREE_SCORES if has_features or name not in NEED_FEATURES]
        if not has_features and (missing := [name for name in names if name in NEED_FEATURES]):
            raise UserError(
                f"AdaptationScores: {' and '.join(missing)} cannot be had, for the features of '{self.model.name}' are "
                f"not known. Expected a functional model. Leave them out of `scores`."
            )
        outputs = read_domains(reader, self.source, self.target, self.batch_size)
        scores = {name: LABEL_FREE_SCORES[name](outputs) if outputs.is_finite else math.nan for name in names}
        if self.target_test is not None:
            predicted, labels = read(reader, self.target_test, self.batch_size)
            scores["target_accuracy"] = float((predicted["label"].argmax(axis=1) == labels).mean())
        return scores
