"""Stages open from the top as training goes on."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from tlkit.backbones import Backbone
from tlkit.callbacks.neighbours import neighbours
from tlkit.errors import UserError
from tlkit.finetune.best_epoch import BestEpoch
from tlkit.finetune.groups import BackboneStages, LayerGroups, find_backbones
from tlkit.finetune.movement import relative_movement, values_of
from tlkit.finetune.prepare import prepare_unfreezing
from tlkit.finetune.rate_ramp import RateRamp, number
from tlkit.finetune.unfreezing_checks import (
    check_neighbours,
    check_number,
    check_optimizer,
    check_stages,
    checked_schedule,
    warn_of_what_stays_closed,
)

OTHER_LAYERS = "other layers"  # what trains without being opened: the head, above all


class ProgressiveUnfreezing(keras.callbacks.Callback):
    """Trains the head first, then opens the backbone's stages one after another, from the output to the input.

    A fresh head sends large, meaningless gradients into the backbone; opened late and from the top, the general
    first stages are disturbed least. When a stage opens is said by a number of epochs, by a schedule, or by a metric
    that no longer improves. Each opening retraces the train step once and keeps the optimizer's moments. After its
    first epoch every opened stage is compared with what it was, and at the end of each phase every open one: how far
    they moved is printed, and one that did not move is an error.

    Args:
        epochs_per_stage: Int, at least 1. Epochs with the backbone frozen, and then epochs until the next stage
            opens. Ignored when `schedule` or `monitor` is given. Defaults to `1`, as in the paper.
        backbone: None for the only `Backbone` in the model, its name, or the layer.
        groups: In the place of a backbone, layers of any Keras model: lists of layer names, input first, or a dict of
            them by the name of the group. Layers that are in none stay as they are.
        schedule: Dict `{epoch: stages}`: from that epoch on (counted from 0), that many stages are open, counted
            from the output. Epochs and stages both rise. `{0: 0, 5: 2}` opens two stages before the sixth epoch.
        monitor: String. The next stage opens when this metric (such as "val_loss") has not improved for `patience`
            epochs, counted anew after each opening.
        patience: Int, at least 1. Epochs, for `monitor`. Defaults to `2`.
        min_delta: Float. What a change must exceed to be an improvement, for `monitor` and `restore_best`.
        mode: "min", "max" or "auto", which takes "max" for names that end in "accuracy", "acc" or "auc".
        restore_best: String or None. A metric: before each opening and at the end, the model goes back to the weights
            of the epoch in which it was best. Keeps one copy of the weights in memory.
        learning_rate_multiplier: Float above 0. The optimizer's rate is multiplied by it at every opening.
            Defaults to `1.0`.
        warmup_steps: Int. Steps after each opening in which the rate rises in a straight line to its value; see
            `tlkit.finetune.rate_ramp.RateRamp` for why. Defaults to `0`.
        verbose: 0 or 1. Whether to print each opening and how far what is open moved.

    Attributes:
        openings: List of `(epoch, number of open stages)` of the last `fit`.
        movements: List of `(epoch, {group: movement})` of the last `fit`, one for each phase at its last epoch: how far
            the weights of each open group moved in the phase, ||after - before|| / ||before||.

    Raises:
        UserError: When the arguments do not fit the model, when the optimizer does not know the backbone's weights
            (call `prepare_unfreezing` after `compile`; under a strategy that is required), when Keras itself would
            fail (moving averages of weights with stages closed at the end), or when an opened stage did not move.

    Example:
        >>> model.compile("adam", "sparse_categorical_crossentropy")
        >>> prepare_unfreezing(model)
        >>> unfreezing = ProgressiveUnfreezing(schedule={0: 0, 1: 1, 2: 3}, verbose=0)
        >>> history = model.fit(train, epochs=3, callbacks=[unfreezing], shuffle=False, verbose=0)
        >>> [stage.name for stage in model.get_layer("backbone").stages if stage.is_open]
        ['stride_8', 'stride_16', 'stride_32']

    Notes:
        A second `fit` starts the schedule anew at its `initial_epoch`; with `monitor` it goes on from what is open.
        BatchNorm of closed layers runs in inference mode; that of an open `Backbone` too, unless it was loaded with
        `training_mode=True`.

    Reference: Howard and Ruder, 2018, "Universal Language Model Fine-tuning for Text Classification", ACL,
        https://arxiv.org/abs/1801.06146, section 3.3 (gradual unfreezing). Differs from it in: stages are groups of
        layers instead of single layers.
    """

    def __init__(
        self,
        epochs_per_stage: int = 1,
        *,
        backbone: str | Backbone | None = None,
        groups: Sequence[Sequence[str]] | Mapping[str, Sequence[str]] | None = None,
        schedule: Mapping[int, int] | None = None,
        monitor: str | None = None,
        patience: int = 2,
        min_delta: float = 0.0,
        mode: str = "auto",
        restore_best: str | None = None,
        learning_rate_multiplier: float = 1.0,
        warmup_steps: int = 0,
        verbose: int = 1,
    ):
        super().__init__()
        check_number("epochs_per_stage", epochs_per_stage, at_least=1)
        check_number("patience", patience, at_least=1)
        check_number("warmup_steps", warmup_steps, at_least=0)
        if not learning_rate_multiplier > 0:
            raise UserError(
                f"ProgressiveUnfreezing: `learning_rate_multiplier` must let the stages learn. Expected a number above "
                f"0. Received: learning_rate_multiplier={learning_rate_multiplier!r}."
            )
        if monitor is not None and schedule is not None:
            raise UserError(
                "ProgressiveUnfreezing: `schedule` and `monitor` both say when to open. Expected one of them. Leave "
                "one out."
            )
        if groups is not None and backbone is not None:
            raise UserError(
                "ProgressiveUnfreezing: `backbone` and `groups` both say what to open. Expected one of them. Leave one "
                "out."
            )
        self.epochs_per_stage = epochs_per_stage
        # Names, not layers: KerasTuner copies callbacks deeply, and a copied layer is another layer.
        self.backbone_name = backbone.name if isinstance(backbone, Backbone) else backbone
        self.group_names = groups
        self.schedule = None if schedule is None else checked_schedule(schedule)
        self.learning_rate_multiplier = learning_rate_multiplier
        self.warmup_steps = warmup_steps
        self.verbose = verbose
        self.openings: list[tuple[int, int]] = []
        self.movements: list[tuple[int, dict[str, float]]] = []
        self._stalled = BestEpoch(monitor, min_delta=min_delta, mode=mode) if monitor else None
        self.patience = patience
        self._best = (
            BestEpoch(restore_best, min_delta=min_delta, mode=mode, keep_weights=True) if restore_best else None
        )
        self._epoch = 0
        self._wanted = 0  # with `monitor`: how many stages shall be open
        self._before: dict[str, list[np.ndarray]] = {}  # what the open groups looked like when the phase began
        self._unproven: set[str] = set()  # groups just opened, until their first epoch with a step is over
        self._steps_at_opening = 0.0
        self._ramp: RateRamp | None = None

    def stages_open_at(self, epoch: int) -> int:
        """How many stages are open in this epoch, counted from the output; with `monitor`, how many shall be now."""
        if self._stalled is not None:
            return self._wanted
        if self.schedule is None:
            return min(epoch // self.epochs_per_stage, len(self._find_part().groups))
        return max((stages for start, stages in self.schedule.items() if start <= epoch), default=0)

    # Hooks

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        self.openings, self.movements, self._unproven, self._ramp = [], [], set(), None
        part = self._find_part()
        self._check_fits(part, neighbours(self, sys._getframe()) or ())
        prepare_unfreezing(self.model, self.group_names)
        self._wanted = sum(group.is_open for group in part.groups)
        for tracker in (self._stalled, self._best):
            if tracker is not None:
                tracker.start()
        self._begin_phase(part)

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        part = self._find_part()
        wanted = self.stages_open_at(epoch)
        now = sum(group.is_open for group in part.groups)
        if wanted == now:
            self._epoch = epoch
            return
        self._require_moved(self._end_phase(part))
        self._epoch = epoch
        if self._best is not None:
            self._best.restore(self.model)
        part.open(wanted)
        steps = self._openings_between(now, wanted)
        optimizer = self.model.optimizer
        if steps and self.learning_rate_multiplier != 1.0:
            optimizer.learning_rate = number(optimizer.learning_rate) * self.learning_rate_multiplier**steps
        if steps and self.warmup_steps:
            self._ramp = RateRamp(optimizer, self.warmup_steps)
        # The traced step holds the old list of trainable weights.
        self.model.make_train_function(force=True)
        opened = [group.name for group in part.groups[-wanted:] if wanted][: max(wanted - now, 0)]
        self._begin_phase(part)
        self._unproven, self._steps_at_opening = set(opened), number(optimizer.iterations)
        self.openings.append((epoch, wanted))
        if self.verbose:
            self._print_opening(epoch, part, opened)

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        if self._ramp is not None and not self._ramp.set_rate():
            self._ramp = None

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        part = self._find_part()
        # No step yet (gradients still accumulate, or overflowed in 16 bits): look again after the next epoch.
        if self._unproven and number(self.model.optimizer.iterations) != self._steps_at_opening:
            self._prove_opening(part)
        if self._best is not None:
            self._best.update(logs, self.model)
        if self._stalled is not None and not self._stalled.update(logs) and self._stalled.epochs_since >= self.patience:
            self._wanted = min(self._wanted + 1, len(part.groups))
            self._stalled.start_over()

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        if self._ramp is not None:
            self._ramp.finish()
            self._ramp = None
        # No error here: EarlyStopping may have put weights back that are older than the opening.
        self._end_phase(self._find_part())
        if self._best is not None:
            self._best.restore(self.model)

    # What `ExactResume` keeps

    def get_state(self) -> dict[str, Any]:
        """What is remembered from one epoch to the next; which stages are open is in the model."""
        return {
            "openings": self.openings,
            "movements": self.movements,
            "epoch": self._epoch,
            "wanted": self._wanted,
            "before": self._before,
            "unproven": sorted(self._unproven),
            "steps_at_opening": self._steps_at_opening,
            "stalled": self._stalled and self._stalled.get_state(),
            "best": self._best and self._best.get_state(),
            "ramp": self._ramp and self._ramp.get_state(),
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on from `get_state`, after `on_train_begin` and after the model was restored."""
        self.openings, self.movements = state["openings"], state["movements"]
        self._epoch, self._wanted, self._before = state["epoch"], state["wanted"], state["before"]
        self._unproven, self._steps_at_opening = set(state["unproven"]), state["steps_at_opening"]
        for tracker, saved in ((self._stalled, state["stalled"]), (self._best, state["best"])):
            if tracker is not None and saved is not None:
                tracker.set_state(saved)
        if state["ramp"] is not None:
            self._ramp = RateRamp(self.model.optimizer, self.warmup_steps)
            self._ramp.set_state(state["ramp"])

    # Phases and their proof

    def _begin_phase(self, part: BackboneStages | LayerGroups) -> None:
        self._before = {name: values_of(weights) for name, weights in self._training(part).items()}

    def _end_phase(self, part: BackboneStages | LayerGroups) -> list[str]:
        """Say how far everything that trained has moved since the phase began; returns the groups that stood still."""
        training = self._training(part)
        movement = {
            name: relative_movement(before, values_of(training[name]))
            for name, before in self._before.items()
            if before
        }
        if not any(movement.values()):  # no step was taken: there is nothing to prove
            return []
        self.movements.append((self._epoch, movement))
        if self.verbose:
            words = ", ".join(f"{name} {share:.2g}" for name, share in movement.items())
            print(f"\nMoved by the end of epoch {self._epoch + 1}, relative to their size: {words}.")
        return [name for name, share in movement.items() if not share and name != OTHER_LAYERS]

    def _training(self, part: BackboneStages | LayerGroups) -> dict[str, list[keras.Variable]]:
        """The weights that train now by the group they are in, those of all other layers last."""
        training = {g.name: [w for w in g.weights if w.trainable] for g in part.groups if g.is_open}
        known = {id(weight) for group in part.groups for weight in group.weights}
        others = [weight for weight in self.model.trainable_weights if id(weight) not in known]
        return {**training, OTHER_LAYERS: others}

    def _prove_opening(self, part: BackboneStages | LayerGroups) -> None:
        """After the first epoch of what was opened."""
        training = self._training(part)
        still = [
            name
            for name in self._unproven
            if self._before.get(name) and not relative_movement(self._before[name], values_of(training[name]))
        ]
        self._unproven = set()
        self._require_moved(still)

    def _require_moved(self, still: Sequence[str]) -> None:
        if still:
            raise UserError(
                f"ProgressiveUnfreezing: stage '{still[0]}' was opened but none of its {len(self._before[still[0]])} "
                f"trainable weights moved in epoch {self._epoch + 1}. Expected every opened stage to learn. The "
                f"learning rate is {number(self.model.optimizer.learning_rate):g}: check that it is above 0 and that "
                f"the loss depends on the backbone."
            )

    # What there is to open

    def _find_part(self) -> BackboneStages | LayerGroups:
        if self.group_names is not None:
            return LayerGroups(self.model, self.group_names)
        found = find_backbones(self.model)
        chosen = [b for b in found if self.backbone_name in (None, b.name)]
        if len(chosen) == 1:
            return BackboneStages(chosen[0])
        names = ", ".join(f"'{b.name}'" for b in found) or "none"
        raise UserError(
            f"ProgressiveUnfreezing: the model '{self.model.name}' has {len(chosen)} backbones "
            f"{'' if self.backbone_name is None else f'named {self.backbone_name!r} '}to choose from. Expected one. "
            f"Found: {names}. Name it: `ProgressiveUnfreezing(backbone=NAME)`, or name layers of any model: `groups`."
        )

    def _check_fits(self, part: BackboneStages | LayerGroups, callbacks: Sequence[Any]) -> None:
        check_stages(part, self.schedule)
        if self._stalled is not None:
            check_neighbours(callbacks, self._stalled.monitor, self.patience, self._stalled.min_delta)
            pace = {"patience": self.patience}
        else:
            check_neighbours(callbacks, None, 0, 0.0)
            pace = {} if self.schedule is not None else {"epochs_per_stage": self.epochs_per_stage}
        epochs, count = self.params.get("epochs"), len(part.groups)
        check_optimizer(self.model, count, self._all_open_from(epochs), self._sets_rate, callbacks)
        if epochs is not None:
            warn_of_what_stays_closed(part, epochs, self.schedule, pace)

    @property
    def _sets_rate(self) -> str | None:
        """The argument that needs a rate that can be set."""
        if self.learning_rate_multiplier != 1.0:
            return "learning_rate_multiplier"
        return "warmup_steps" if self.warmup_steps else None

    def _all_open_from(self, epochs: int | None) -> int | None:
        """The first epoch in which all stages are open, when that is known."""
        count = len(self._find_part().groups)
        known = 0 if self._stalled is not None or epochs is None else epochs
        return next((epoch for epoch in range(known) if self.stages_open_at(epoch) == count), None)

    def _openings_between(self, now: int, wanted: int) -> int:
        """How many openings of the schedule lie between two states; several when training starts in the middle."""
        if self.schedule is None:
            return max(wanted - now, 0)
        return len({stages for stages in self.schedule.values() if now < stages <= wanted})

    def _print_opening(self, epoch: int, part: BackboneStages | LayerGroups, opened: list[str]) -> None:
        trained = sum(int(np.prod(w.shape)) for w in self.model.trainable_weights)
        total = sum(int(np.prod(w.shape)) for w in self.model.weights)
        rate = number(self.model.optimizer.learning_rate)
        what = f"opened {', '.join(opened)} of {part.name}" if opened else f"froze stages of {part.name}"
        print(f"\nEpoch {epoch + 1}: {what}; {trained:,} of {total:,} weights train now, learning rate {rate:.2g}.")
