"""`fit`, with the frozen part of the model run once instead of in every epoch."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import tensorflow as tf

from tlkit.errors import UserError
from tlkit.features.cutting import the_backbone
from tlkit.features.feature_store import check_precision
from tlkit.features.plan import epochs_of_this_cut
from tlkit.features.rows import Rows
from tlkit.features.ways import Settings, Way, choose_way, training_weights


def fit_on_features(
    model: keras.Model,
    train: tf.data.Dataset,
    validation: tf.data.Dataset | None = None,
    *,
    epochs: int,
    fingerprint: Any,
    seed: int,
    train_epoch: Callable[[tf.Tensor], tf.data.Dataset] | None = None,
    labels: tuple[Any, Any] | None = None,
    initial_epoch: int = 0,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    class_weight: dict[int, float] | None = None,
    copies: int = 1,
    precision: str = "float16",
    folder: str | os.PathLike[str] | None = None,
    budget: float | None = None,
    verbose: int | str = "auto",
) -> keras.callbacks.History:
    """Train as `model.fit` does, running the frozen stages of the backbone once instead of in every epoch.

    While stages are frozen, what they make of an example stays the same: it is kept on disk, and the rest of the model
    trains on it. When `ProgressiveUnfreezing` opens a stage, the cut moves back. Where keeping features costs more than
    it saves (measured, and said in a sentence), or takes more disk than `budget`, epochs train end to end. Either way
    it is the same training: the same batches in the same order, losses, optimizer, callbacks and draws of dropout, so
    the loss curve agrees to the precision that features are kept in.

    Args:
        model: A compiled functional model with one `Backbone` among its layers; `prepare_unfreezing(model)` was called
            where stages will open.
        train: Finite data set of batches (x, y) or (x, y, sample_weight) in a fixed order. It is gone through once for
            labels and weights, which stay in memory, and again for features that are not on disk.
        validation: As `train`, or None.
        epochs: Int. The number of the epoch at which training ends.
        fingerprint: What tells these examples from others, such as `fingerprint_images(files, times=True)`: anything
            JSON holds.
        seed: Int. The order of epoch e follows from (seed, e), as that of `train_epoch` in `load_image_folder`.
        train_epoch: Function of the tensor `[seed, epoch]` to the batches of that epoch, for those trained end to end,
            such as `ImageFolder.train_epoch`. Defaults to `None`: the inputs of `train` are then held in memory.
        labels: Pair of arrays: y of `train` and of `validation`, in their order, such as `ImageFolder.labels`. Defaults
            to `None`: a pass over both finds them, which decodes every image.
        initial_epoch: Int. The epoch to begin with, such as `ExactResume.initial_epoch`.
        callbacks: As for `fit`. They see the whole model.
        class_weight: As for `fit`.
        copies: Int, at least 1. How many versions of each training example are kept where layers before the backbone
            draw at random (augmentation); epoch e trains on version e % copies, where `fit` would draw a new one in
            every epoch. Without such layers there is one. Defaults to `1`.
        precision: "float16", "bfloat16" or "float32": how features are kept.
        folder: Path of the cache. Defaults to `None`: `cache_folder()`.
        budget: Float. Bytes that the features of a cut may add to the disk. Defaults to `None`: half of what is free.
        verbose: As for `fit`; 0 also leaves out what is said about features.

    Returns:
        What `fit` returns.

    Raises:
        UserError: When the model is not compiled or has not one backbone, the data sets are of another kind, the disk
            is full, or `BackupAndRestore` is among the callbacks.

    Example:
        >>> model.compile("adam", "sparse_categorical_crossentropy")
        >>> history = fit_on_features(
        ...     model, train, epochs=3, seed=7, fingerprint="noise", folder="features", verbose=0
        ... )
        >>> history.epoch
        [0, 1, 2]

    Notes:
        The model trains: the part behind the cut shares its weights and its optimizer. Under a strategy it trains on
        all devices; features are computed on one. Of several workers, each computes all of them; the first one decides.
        What cannot be cut (several inputs, outputs that need more than the backbone's, `training_mode=True`) trains
        end to end, which is said.
        With `ExactResume` a killed training ends in the same weights, bit for bit: it goes on with what was decided,
        and features that are gone are computed again.
        Not for data sets that mix their rows anew in each epoch, as `pair_domains` does.
    """
    _check(model, copies, precision, callbacks)
    settings = Settings(fingerprint, seed, train_epoch, copies, precision, folder, budget, talks=verbose != 0)
    train_labels, validation_labels = labels or (None, None)
    rows = Rows.read("train", train, train_labels)
    validation_rows = None if validation is None else Rows.read("validation", validation, validation_labels)
    options = {"verbose": verbose, "epochs": epochs, "steps": rows.steps}
    kept, bar = KeptFeatures(), _LateBar()
    callback_list = keras.callbacks.CallbackList(
        [kept, *callbacks, *([bar] if verbose else [])], add_history=True, model=model, **options
    )
    within, way, logs = _WithinEpoch(callback_list, model), None, {}
    model.stop_training = False
    _build_metrics(model, rows)
    callback_list.on_train_begin()
    with _averages_at_the_end(model.optimizer), model.distribute_strategy.scope():
        for epoch in range(initial_epoch, epochs):
            callback_list.on_epoch_begin(epoch)
            if way is None or way.weights != training_weights(model):
                planned = epochs_of_this_cut(callbacks, epoch, epochs)
                way = choose_way(model, rows, validation_rows, range(epoch, epoch + planned), settings, kept.decisions)
            if verbose:
                bar.begin(epoch)
            logs = within.run(way, epoch, class_weight)
            callback_list.on_epoch_end(epoch, logs)
            if model.stop_training:
                break
    if epochs > 0:
        model.optimizer.finalize_variable_values(model.trainable_weights)
    callback_list.on_train_end(logs)
    return model.history


class KeptFeatures(keras.callbacks.Callback):
    """Which epochs train on features, for `ExactResume` to keep."""

    def __init__(self) -> None:
        super().__init__()
        self.decisions: dict[str, bool] = {}  # by the number of frozen stages

    def get_state(self) -> dict[str, bool]:
        return dict(self.decisions)

    def set_state(self, state: dict[str, bool]) -> None:
        self.decisions.update(state)


class _WithinEpoch(keras.callbacks.CallbackList):
    """Hands on to the callbacks what happens to batches; epochs and the training begin and end outside.

    Args:
        outer: The callbacks, which see the whole model.
        model: The whole model; callbacks end the training there.
    """

    def __init__(self, outer: keras.callbacks.CallbackList, model: keras.Model):
        super().__init__()
        self.outer, self.whole = outer, model
        self.trained: keras.Model | None = None
        self.logs: dict[str, Any] = {}

    def run(self, way: Way, epoch: int, class_weight: dict[int, float] | None) -> dict[str, Any]:
        """Train one epoch; returns its logs."""
        self.trained = way.trained
        way.trained.history = self.whole.history  # which Keras returns at the end
        way.trained.fit(
            way.train(epoch),
            validation_data=way.validation,
            initial_epoch=epoch,
            epochs=epoch + 1,
            class_weight=class_weight,
            shuffle=False,
            callbacks=self,
            verbose=0,
        )
        return self.logs

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        pass

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        pass

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        pass

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self.logs = dict(logs or {})

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        self.outer.on_train_batch_begin(batch, logs)

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        self.outer.on_train_batch_end(batch, logs)
        self.trained.stop_training = self.whole.stop_training

    def on_test_begin(self, logs: dict[str, Any] | None = None) -> None:
        self.outer.on_test_begin(logs)

    def on_test_end(self, logs: dict[str, Any] | None = None) -> None:
        self.outer.on_test_end(logs)

    def on_test_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        self.outer.on_test_batch_begin(batch, logs)

    def on_test_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        self.outer.on_test_batch_end(batch, logs)


def _build_metrics(model: keras.Model, rows: Rows) -> None:
    """Let the whole model know its metrics: callbacks with `mode="auto"` look for theirs there, whoever trains."""
    y = keras.tree.map_structure(lambda values: tf.constant(values[:1]), rows.rest[0])
    predicted = keras.tree.map_structure(lambda output: tf.zeros((1, *output.shape[1:]), output.dtype), model.output)
    run = model.distribute_strategy.run
    tf.function(lambda: run(lambda: model.compute_metrics(None, y, predicted)), autograph=False)()
    model.reset_metrics()


class _LateBar(keras.callbacks.ProgbarLogger):
    """Keras' bar, begun once the features are there: what is said of them comes first, and their time is not its."""

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        pass

    def begin(self, epoch: int) -> None:
        super().on_epoch_begin(epoch)


@contextlib.contextmanager
def _averages_at_the_end(optimizer: keras.optimizers.Optimizer) -> Iterator[None]:
    """Keras ends each `fit` by giving weights their moving averages (`use_ema`); here only the training ends so."""
    optimizer.finalize_variable_values = lambda variables: None
    try:
        yield
    finally:
        del optimizer.finalize_variable_values


def _check(model: keras.Model, copies: int, precision: str, callbacks: Sequence[keras.callbacks.Callback]) -> None:
    if getattr(model, "optimizer", None) is None:
        raise UserError(
            f"fit_on_features: the model '{model.name}' has no optimizer. Expected a compiled model. Call "
            f"`model.compile(...)` first."
        )
    if not isinstance(copies, int) or copies < 1:
        raise UserError(f"fit_on_features: `copies` is too small. Expected at least 1. Received: copies={copies!r}.")
    if any(isinstance(callback, keras.callbacks.BackupAndRestore) for callback in callbacks):
        raise UserError(
            "fit_on_features: BackupAndRestore tells only `fit` itself which epoch it goes on with. Expected "
            "`tlkit.callbacks.ExactResume(directory)`. Put it at the end of `callbacks`, and pass `initial_epoch`."
        )
    check_precision("fit_on_features", precision)
    the_backbone(model)
