"""Whether keeping features pays: what was measured, what follows from it, and how it is said."""

from __future__ import annotations

import dataclasses
import os
import shutil
import tempfile
import time
from collections.abc import Iterable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tlkit.features.caching import own_draws, runner_of
from tlkit.features.feature_store import FeatureStore, size

_MEASURED = 0.5  # seconds that are measured; with that a batch of 20 ms is known to a few percent
_MOST_BATCHES = 3  # a data set of a few batches is not to be computed twice for it


@dataclasses.dataclass(frozen=True)
class Plan:
    """What training on features costs, and what training from the inputs does, over the epochs of one cut.

        once = rows_missing * p                                   the features that are not on disk yet
        kept = once + epochs * rows_an_epoch * r
        anew = epochs * rows_an_epoch * p / devices

        p = seconds for the prefix of a row; r = seconds to read a row's features; rows_an_epoch = those of training
        and validation; devices = those that the training runs on, while features are computed on one. What the tail
        costs is the same either way.

    Attributes:
        epochs: Epochs until the cut moves.
        rows_an_epoch: Rows of training and validation.
        rows_missing: Rows of all copies that are not on disk.
        row_bytes: Bytes of a row on disk.
        budget: Bytes that the missing rows may take.
        prefix_seconds: p, or None where it was not measured, since nothing depends on it.
        read_seconds: r, likewise.
        devices: How many devices train.
        decided: What an earlier call decided, which this one goes on with; None where it decides.
    """

    epochs: int
    rows_an_epoch: int
    rows_missing: int
    row_bytes: int
    budget: float
    prefix_seconds: float | None = None
    read_seconds: float | None = None
    devices: int = 1
    decided: bool | None = None

    @property
    def disk(self) -> int:
        """Bytes of what is missing on disk."""
        return self.rows_missing * self.row_bytes

    @property
    def needs_measuring(self) -> bool:
        """Whether p and r decide: nothing is left to compute, or more than without, whatever they are."""
        rows_anew = self.epochs * self.rows_an_epoch / self.devices
        if self.decided is not None:
            return False
        return self.rows_missing > 0 and self.disk <= self.budget and self.rows_missing < rows_anew

    @property
    def keeps(self) -> bool:
        """Whether features are kept."""
        if self.decided is not None:
            return self.decided and self.disk <= self.budget
        if self.rows_missing == 0:
            return True
        if not self.needs_measuring:
            return False
        return self.once + self.epochs * self.rows_an_epoch * self.read_seconds < self.anew

    @property
    def once(self) -> float:
        """Seconds for the features that are missing."""
        return self.rows_missing * self.prefix_seconds

    @property
    def anew(self) -> float:
        """Seconds of the prefix without features kept."""
        return self.epochs * self.rows_an_epoch * self.prefix_seconds / self.devices

    def sentence(self, where: str) -> str:
        """What is done and why; `where` is where the model is cut, such as "stage 'stride_32'"."""
        epochs, train = ("1 epoch", "trains") if self.epochs == 1 else (f"{self.epochs} epochs", "train")
        if self.decided is not None and self.keeps == self.decided:
            how = f"on features after {where}" if self.keeps else "end to end"
            return f"{epochs} {train} {how}, as was decided before."
        if self.rows_missing == 0:
            return f"the features after {where} are on disk already; {epochs} {train} on them."
        if self.disk > self.budget:
            return (
                f"{epochs} {train} end to end: the features after {where} would take {size(self.disk)}, more than the "
                f"{size(self.budget)} of `budget`."
            )
        if not self.needs_measuring:
            return (
                f"{epochs} {train} end to end: the frozen part would run over "
                f"{self.rows_missing:,} rows to keep their features, and no more than that without."
            )
        costs = (
            f"{self.once:.1f} s and {size(self.disk)} once, against {self.anew:.1f} s of the frozen part in {epochs}"
        )
        if self.keeps:
            return f"features after {where} are kept: about {costs}."
        return f"{epochs} {train} end to end: features after {where} would cost {costs}, and reading them."


def measured(plan: Plan, prefix: keras.Model, batches: Iterable[Any], store: FeatureStore, training: bool) -> Plan:
    """The plan with p and r, measured on a few batches, if they decide.

    Reading is measured as writing and reading a file, so from the operating system's memory: the truth for features
    that fit there.
    """
    if not plan.needs_measuring:
        return plan
    run = runner_of(prefix, training=training)
    seconds, rows, begun = 0.0, 0, None
    # Draws of its own: where nothing is kept, the training's shall be those of `fit`.
    with own_draws(prefix, (0, 0, 0) if training else None):
        for x, *_ in batches:
            if begun is None:
                run(x[:1])  # to trace it: that is paid for either way
                begun = time.perf_counter()
            features = run(x).numpy()
            seconds, rows = time.perf_counter() - begun, rows + len(features)
            if seconds >= _MEASURED or rows >= _MOST_BATCHES * len(features):
                break
    try:
        read = _seconds_to_read(features.astype(store.dtype), store.folder.parent) / len(features)
    except OSError as error:
        raise store.no_room(error) from None
    return dataclasses.replace(plan, prefix_seconds=seconds / rows, read_seconds=read)


def _seconds_to_read(features: np.ndarray, folder: os.PathLike[str]) -> float:
    with tempfile.TemporaryFile(dir=folder) as file:
        begun = time.perf_counter()
        np.save(file, features.view(np.uint8))
        file.seek(0)
        np.load(file).view(features.dtype).astype(np.float32)
        return time.perf_counter() - begun


def epochs_of_this_cut(callbacks: Iterable[Any], epoch: int, epochs: int) -> int:
    """How many epochs from this one on have the same stages open, as far as a callback that opens them tells."""
    for callback in callbacks:
        stages_open_at = getattr(callback, "stages_open_at", None)  # ProgressiveUnfreezing
        if stages_open_at is not None:
            now = stages_open_at(epoch)
            return next((e for e in range(epoch, epochs) if stages_open_at(e) != now), epochs) - epoch
    return epochs - epoch


def default_budget(folder: os.PathLike[str]) -> float:
    """Half of what is free on the disk: the rest is for checkpoints, and for others."""
    return shutil.disk_usage(folder).free / 2


def num_devices(model: keras.Model) -> int:
    """How many devices a model trains on."""
    return model.distribute_strategy.num_replicas_in_sync


def order_seed(seed: int, epoch: int) -> tf.Tensor:
    """The pair that an order of examples follows from."""
    return tf.stack([tf.constant(seed, tf.int64), tf.constant(epoch, tf.int64)])
