"""How the epochs of one cut train: on kept features, or end to end."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from tlkit.distribution import from_chief
from tlkit.errors import UserError
from tlkit.features.caching import describe_prefix, fill_store, open_store, progress_bar, seeds_of
from tlkit.features.cutting import cut_model, the_backbone
from tlkit.features.feature_store import FeatureStore
from tlkit.features.plan import Plan, default_budget, measured, num_devices, order_seed
from tlkit.features.rows import Rows


@dataclasses.dataclass(frozen=True)
class Settings:
    """The arguments of `fit_on_features` that say how features are kept, and whether this is talked about."""

    fingerprint: Any
    seed: int
    train_epoch: Callable[[tf.Tensor], tf.data.Dataset] | None
    copies: int
    precision: str
    folder: str | os.PathLike[str] | None
    budget: float | None
    talks: bool

    def say(self, epoch: int, sentence: str) -> None:
        """Print what becomes of features from an epoch on."""
        if self.talks:
            print(f"Features, epoch {epoch + 1}: {sentence}")


@dataclasses.dataclass(frozen=True)
class Way:
    """How the epochs train while the same weights do.

    Attributes:
        weights: Which weights these are, as `training_weights` tells them.
        trained: The model, or its tail.
        train: Function of the number of an epoch to its batches.
        validation: Batches to judge on, or None.
    """

    weights: frozenset[int]
    trained: keras.Model
    train: Callable[[int], tf.data.Dataset]
    validation: tf.data.Dataset | None


def training_weights(model: keras.Model) -> frozenset[int]:
    """Which weights train now; with others, what was cut and traced holds no more."""
    return frozenset(id(weight) for weight in model.trainable_weights)


def choose_way(
    model: keras.Model,
    rows: Rows,
    validation: Rows | None,
    epochs: range,
    settings: Settings,
    decisions: dict[str, bool],
) -> Way:
    """Choose how these epochs train, say it, and compute the features that are missing.

    Args:
        model: The whole model.
        rows: Training examples.
        validation: Those for validation, or None.
        epochs: The epochs until another stage opens.
        settings: How features are kept.
        decisions: By the number of frozen stages, whether features are kept: followed where it is there, else written
            down. What was measured once is another time a little different, and a resumed training shall be the same.
    """
    if not num_frozen(model) and the_backbone(model).stages:
        settings.say(epochs.start, "every stage is open: it trains end to end.")
        return _end_to_end(model, rows, validation, settings)
    try:
        prefix, tail, where = _cut(model)
        compile_like(model, tail)
    except UserError as error:
        # Of an error as all of tlkit's are (who: what. Expected ...), what: there is nothing to do about it.
        reason = str(error).partition(": ")[2].partition(". Expected")[0]
        settings.say(epochs.start, f"it trains end to end, since {reason}.")
        return _end_to_end(model, rows, validation, settings)
    stores = _Stores.open(prefix, rows, validation, epochs, settings)
    plan = stores.plan(len(epochs), settings.budget, num_devices(model))
    plan = dataclasses.replace(plan, decided=decisions.get(str(num_frozen(model))))
    # Of several workers, each may measure something else, but all must train alike; what is missing, each computes.
    plan = from_chief(lambda: measured(plan, prefix, rows.batches, stores.all[0], stores.draws is not None))
    settings.say(epochs.start, plan.sentence(where) + stores.note(len(epochs)))
    decisions[str(num_frozen(model))] = plan.keeps
    if not plan.keeps:
        return _end_to_end(model, rows, validation, settings)
    stores.fill(prefix, where, settings.talks)
    dtype = keras.backend.standardize_dtype(tail.inputs[0].dtype)

    def train(epoch: int) -> tf.data.Dataset:
        return rows.features(stores.train[epoch % stores.copies], _order(rows, settings.seed, epoch), dtype)

    kept = None if validation is None else validation.features(stores.validation, validation.in_order(), dtype)
    return Way(training_weights(model), tail, train, kept)


def num_frozen(model: keras.Model) -> int:
    """How many stages of the model's backbone do not train."""
    return sum(not stage.is_open for stage in the_backbone(model).stages)


def _order(rows: Rows, seed: int, epoch: int) -> tf.Tensor:
    return rows.shuffled(order_seed(seed, epoch))


def _end_to_end(model: keras.Model, rows: Rows, validation: Rows | None, settings: Settings) -> Way:
    def train(epoch: int) -> tf.data.Dataset:
        if settings.train_epoch is not None:
            return settings.train_epoch(order_seed(settings.seed, epoch))
        return rows.inputs(_order(rows, settings.seed, epoch))

    return Way(training_weights(model), model, train, None if validation is None else validation.batches)


def _cut(model: keras.Model) -> tuple[keras.Model, keras.Model, str]:
    """Cut after as many frozen stages as possible: not every boundary of every network is one tensor."""
    stages = the_backbone(model).stages
    reason = None
    for number in range(num_frozen(model), 0, -1) or [0]:  # a backbone that is kept whole has no stages
        try:
            prefix, tail = cut_model(model, number)
        except UserError as error:
            reason = reason or error
        else:
            whole = number == len(stages)
            return prefix, tail, "the backbone" if whole else f"its stage '{stages[number - 1].name}'"
    raise reason


@dataclasses.dataclass(frozen=True)
class _Stores:
    """The stores of one cut.

    Attributes:
        train: For each augmented version that these epochs train on, by its number; one where nothing draws.
        validation: That of the validation, or None.
        copies: How many versions there are.
        draws: Seed and batch size of the augmentation; None without.
        data: The examples of training and validation.
    """

    train: dict[int, FeatureStore]
    validation: FeatureStore | None
    copies: int
    draws: tuple[int, int] | None
    data: tuple[Rows, Rows | None]

    @classmethod
    def open(
        cls, prefix: keras.Model, rows: Rows, validation: Rows | None, epochs: range, settings: Settings
    ) -> _Stores:
        described = describe_prefix(prefix)
        draws = (settings.seed, rows.batch_size) if seeds_of(prefix) else None
        copies = settings.copies if draws else 1

        def store(part: str, num_rows: int, copy: int | None = None) -> FeatureStore:
            data = {"part": part, "fingerprint": settings.fingerprint}
            drawn = None if draws is None or copy is None else (draws[0], copy, draws[1])
            return open_store(prefix, described, data, num_rows, settings.folder, settings.precision, drawn)

        train = {copy: store("train", rows.num_rows, copy) for copy in sorted({e % copies for e in epochs})}
        kept = None if validation is None else store("validation", validation.num_rows)
        return cls(train, kept, copies, draws, (rows, validation))

    @property
    def all(self) -> list[FeatureStore]:
        return [*self.train.values(), *([self.validation] if self.validation else [])]

    def plan(self, epochs: int, budget: float | None, devices: int) -> Plan:
        return Plan(
            epochs=epochs,
            rows_an_epoch=sum(rows.num_rows for rows in self.data if rows),
            rows_missing=sum(len(store.rows_of(shard)) for store in self.all for shard in store.missing()),
            row_bytes=self.all[0].row_bytes,
            budget=default_budget(self.all[0].folder.parent) if budget is None else budget,
            devices=devices,
        )

    def note(self, epochs: int) -> str:
        """What is not as without features: an augmentation that draws anew in each epoch."""
        if self.draws is None or len(self.train) >= epochs:
            return ""
        versions = "version" if len(self.train) == 1 else "versions"
        return f" Augmentation: {len(self.train)} {versions} of each example for {epochs} epochs (`copies`)."

    def fill(self, prefix: keras.Model, where: str, talks: bool) -> None:
        """Compute what is missing."""
        rows, validation = self.data
        versions = f"{len(self.train)} versions of " if len(self.train) > 1 else ""
        judged = f" and {validation.num_rows:,} validation" if validation else ""
        title = f"Features after {where}: {versions}{rows.num_rows:,} training{judged} examples"
        advance = progress_bar(self.all, title if talks else None)
        for copy, store in self.train.items():
            drawn = None if self.draws is None else (self.draws[0], copy, self.draws[1])
            fill_store(store, prefix, rows.batches, drawn, advance)
        if validation is not None:
            fill_store(self.validation, prefix, validation.batches, None, advance)


def compile_like(model: keras.Model, tail: keras.Model) -> None:
    """Compile the tail as the model is, with the model's own optimizer."""
    try:
        options = {k: v for k, v in model.get_compile_config().items() if k not in ("optimizer", "loss")}
        options = keras.saving.deserialize_keras_object(options)
    except (TypeError, ValueError) as error:
        raise UserError(
            f"fit_on_features: the metrics of '{model.name}' cannot be made again ({error}). Expected those "
            f"of Keras, or functions and classes registered with `keras.saving.register_keras_serializable`."
        ) from None
    # The same loss, which has no state; and what "auto" came to for the whole model.
    options |= {"loss": model.loss, "jit_compile": model.jit_compile}
    with model.distribute_strategy.scope():
        tail.compile(optimizer=model.optimizer, **options)
