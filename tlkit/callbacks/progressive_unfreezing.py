"""Stages open from the top as training goes on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from tlkit.backbones import Backbone
from tlkit.errors import UserError
from tlkit.finetune.prepare import find_backbones, prepare_unfreezing


class ProgressiveUnfreezing(keras.callbacks.Callback):
    """Trains the head first, then opens the backbone's stages one after another, from the output to the input.

    A fresh head sends large, meaningless gradients into the backbone; opened late and from the top, the general
    first stages are disturbed least. Which stages are open is a function of the epoch alone. Each opening retraces
    the train step once and keeps the optimizer's moments; at the end of the epoch the callback compares the weights
    of the opened stages with what they were, and raises when they did not move.

    Args:
        epochs_per_stage: Int, at least 1. Epochs with the backbone frozen, and then epochs until the next stage
            opens. Ignored when `schedule` is given. Defaults to `1`, as in the paper.
        backbone: None for the only `Backbone` in the model, its name, or the layer.
        schedule: Dict `{epoch: stages}`: from that epoch on (counted from 0), that many stages are open, counted
            from the output. Epochs and stages both rise. `{0: 0, 5: 2}` opens two stages before the sixth epoch.
        learning_rate_multiplier: Float above 0. The optimizer's rate is multiplied by it at every opening.
            Defaults to `1.0`.
        verbose: 0 or 1. Whether to print each opening.

    Attributes:
        openings: List of `(epoch, number of open stages)` of the last `fit`.

    Raises:
        UserError: When the arguments do not fit the model, when the optimizer does not know the backbone's weights
            (call `prepare_unfreezing` after `compile`; under a strategy that is required), or when an opened stage
            did not move in an epoch in which the optimizer took steps.

    Example:
        >>> model.compile("adam", "sparse_categorical_crossentropy")
        >>> prepare_unfreezing(model)
        >>> unfreezing = ProgressiveUnfreezing(schedule={0: 0, 1: 1, 2: 3}, verbose=0)
        >>> history = model.fit(train, epochs=3, callbacks=[unfreezing], shuffle=False, verbose=0)
        >>> [stage.name for stage in model.get_layer("backbone").stages if stage.is_open]
        ['stride_8', 'stride_16', 'stride_32']

    Notes:
        A second `fit` starts the schedule anew at its `initial_epoch`.

    Reference: Howard and Ruder, 2018, "Universal Language Model Fine-tuning for Text Classification", ACL,
        https://arxiv.org/abs/1801.06146, section 3.3 (gradual unfreezing). Differs from it in: stages are groups of
        layers instead of single layers.
    """

    def __init__(
        self,
        epochs_per_stage: int = 1,
        *,
        backbone: str | Backbone | None = None,
        schedule: Mapping[int, int] | None = None,
        learning_rate_multiplier: float = 1.0,
        verbose: int = 1,
    ):
        super().__init__()
        if epochs_per_stage < 1:
            raise UserError(
                f"ProgressiveUnfreezing: `epochs_per_stage` is too small. Expected at least 1. "
                f"Received: epochs_per_stage={epochs_per_stage!r}."
            )
        if not learning_rate_multiplier > 0:
            raise UserError(
                f"ProgressiveUnfreezing: `learning_rate_multiplier` must let the stages learn. Expected a number above "
                f"0. Received: learning_rate_multiplier={learning_rate_multiplier!r}."
            )
        self.epochs_per_stage = epochs_per_stage
        # A name, not the layer: KerasTuner copies callbacks deeply, and a copied layer is another layer.
        self.backbone_name = backbone.name if isinstance(backbone, Backbone) else backbone
        self.schedule = None if schedule is None else _checked_schedule(schedule)
        self.learning_rate_multiplier = learning_rate_multiplier
        self.verbose = verbose
        self.openings: list[tuple[int, int]] = []
        self._snapshot: dict[str, list[np.ndarray]] = {}  # what the stages just opened looked like
        self._steps_at_opening = 0.0

    def stages_open_at(self, epoch: int) -> int:
        """How many stages are open in this epoch, counted from the output."""
        if self.schedule is None:
            return min(epoch // self.epochs_per_stage, len(self._find_backbone().stages))
        return max((stages for start, stages in self.schedule.items() if start <= epoch), default=0)

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        self.openings, self._snapshot = [], {}
        backbone = self._find_backbone()
        count = len(backbone.stages)
        if count == 0:
            reason = backbone.why_whole or "it has no weights"
            raise UserError(
                f"ProgressiveUnfreezing: the backbone '{backbone.name}' has no stage to open: {reason}. Expected a "
                f"backbone with stages. Train without this callback."
            )
        most = max(self.schedule.values(), default=0) if self.schedule is not None else 0
        if most > count:
            raise UserError(
                f"ProgressiveUnfreezing: `schedule` opens {most} stages. Expected at most {count}, since the backbone "
                f"'{backbone.name}' has that many. Received: schedule={self.schedule!r}."
            )
        optimizer = self.model.optimizer
        if self.learning_rate_multiplier != 1.0 and not _has_plain_rate(optimizer):
            raise UserError(
                "ProgressiveUnfreezing: `learning_rate_multiplier` cannot change a learning rate that follows a "
                "schedule. Expected an optimizer with a number as its rate. Give the optimizer a number, or leave the "
                "multiplier at 1.0."
            )
        prepare_unfreezing(self.model)

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        backbone = self._find_backbone()
        wanted = self.stages_open_at(epoch)
        now = sum(stage.is_open for stage in backbone.stages)
        if wanted == now:
            return
        backbone.unfreeze(last=wanted)
        steps = self._openings_between(now, wanted, len(backbone.stages))
        if steps and self.learning_rate_multiplier != 1.0:
            optimizer = self.model.optimizer
            optimizer.learning_rate = _number(optimizer.learning_rate) * self.learning_rate_multiplier**steps
        # The traced step holds the old list of trainable weights.
        self.model.make_train_function(force=True)
        opened = [stage for stage in backbone.stages[-wanted:] if wanted][: max(wanted - now, 0)]
        self._snapshot = {stage.name: _trainable_values(stage) for stage in opened}
        self._steps_at_opening = _number(self.model.optimizer.iterations)
        self.openings.append((epoch, wanted))
        if self.verbose:
            self._print_opening(epoch, backbone, [stage.name for stage in opened])

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        # No step yet (gradients still accumulate, or overflowed in 16 bits): look again after the next epoch.
        if not self._snapshot or _number(self.model.optimizer.iterations) == self._steps_at_opening:
            return
        for stage in self._find_backbone().stages:
            before = self._snapshot.get(stage.name)
            if not before:
                continue
            after = _trainable_values(stage)
            if all(np.array_equal(a, b) for a, b in zip(before, after, strict=True)):
                raise UserError(
                    f"ProgressiveUnfreezing: stage '{stage.name}' was opened but none of its {len(before)} trainable "
                    f"weights moved in epoch {epoch + 1}. Expected every opened stage to learn. The learning rate is "
                    f"{_number(self.model.optimizer.learning_rate):g}: check that it is above 0 and that the loss "
                    f"depends on the backbone."
                )
        self._snapshot = {}

    def _find_backbone(self) -> Backbone:
        found = find_backbones(self.model)
        chosen = [b for b in found if self.backbone_name in (None, b.name)]
        if len(chosen) == 1:
            return chosen[0]
        names = ", ".join(f"'{b.name}'" for b in found) or "none"
        raise UserError(
            f"ProgressiveUnfreezing: the model '{self.model.name}' has {len(chosen)} backbones "
            f"{'' if self.backbone_name is None else f'named {self.backbone_name!r} '}to choose from. Expected one. "
            f"Found: {names}. Name it: `ProgressiveUnfreezing(backbone=NAME)`."
        )

    def _openings_between(self, now: int, wanted: int, count: int) -> int:
        """How many openings of the schedule lie between two states; several when training starts in the middle."""
        if self.schedule is None:
            return max(wanted - now, 0)
        return len({stages for stages in self.schedule.values() if now < stages <= wanted})

    def _print_opening(self, epoch: int, backbone: Backbone, opened: list[str]) -> None:
        trained = sum(int(np.prod(w.shape)) for w in self.model.trainable_weights)
        total = sum(int(np.prod(w.shape)) for w in self.model.weights)
        rate = _number(self.model.optimizer.learning_rate)
        what = f"opened {', '.join(opened)} of '{backbone.name}'" if opened else f"froze stages of '{backbone.name}'"
        print(f"\nEpoch {epoch + 1}: {what}; {trained:,} of {total:,} weights train now, learning rate {rate:.2g}.")


def _checked_schedule(schedule: Mapping[int, int]) -> dict[int, int]:
    ordered = dict(sorted(schedule.items()))
    whole = all(isinstance(n, int) and n >= 0 for pair in ordered.items() for n in pair)
    stages = list(ordered.values())
    if not ordered or not whole or stages != sorted(stages):
        raise UserError(
            f"ProgressiveUnfreezing: `schedule` is not usable. Expected a dict of epochs to numbers of open stages, "
            f"neither below 0, with the stages rising, such as {{0: 0, 3: 1, 5: 2}}. Received: schedule={schedule!r}."
        )
    return ordered


def _has_plain_rate(optimizer: keras.optimizers.Optimizer) -> bool:
    rate = optimizer.get_config().get("learning_rate")
    inner = getattr(optimizer, "inner_optimizer", None)
    if inner is not None:
        return _has_plain_rate(inner)
    return isinstance(rate, (int, float))


def _number(variable: Any) -> float:
    # Under a strategy the optimizer's numbers are mirrored variables, which `float` does not take.
    return float(keras.ops.convert_to_numpy(variable))


def _trainable_values(stage: Any) -> list[np.ndarray]:
    return [keras.ops.convert_to_numpy(weight) for weight in stage.weights if weight.trainable]
