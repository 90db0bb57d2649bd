"""What `ProgressiveUnfreezing` refuses, in its words: arguments, schedules, and what Keras itself would fail at."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from typing import Any

import keras

from tlkit.errors import UserError
from tlkit.finetune.groups import BackboneStages, LayerGroups
from tlkit.finetune.rate_ramp import has_plain_rate


def check_number(name: str, value: int, *, at_least: int) -> None:
    """Raise when a count is none or too small."""
    if not isinstance(value, int) or value < at_least:
        raise UserError(
            f"ProgressiveUnfreezing: `{name}` is too small. Expected at least {at_least}. Received: {name}={value!r}."
        )


def checked_schedule(schedule: Mapping[int, int]) -> dict[int, int]:
    """The schedule in the order of its epochs; raises when it is none."""
    ordered = dict(sorted(schedule.items()))
    whole = all(isinstance(n, int) and n >= 0 for pair in ordered.items() for n in pair)
    stages = list(ordered.values())
    if not ordered or not whole or stages != sorted(stages):
        raise UserError(
            f"ProgressiveUnfreezing: `schedule` is not usable. Expected a dict of epochs to numbers of open stages, "
            f"neither below 0, with the stages rising, such as {{0: 0, 3: 1, 5: 2}}. Received: schedule={schedule!r}."
        )
    return ordered


def check_stages(part: BackboneStages | LayerGroups, schedule: Mapping[int, int] | None) -> None:
    """Raise when there is nothing to open, or less than the schedule opens."""
    count = len(part.groups)
    if count == 0:
        raise UserError(
            f"ProgressiveUnfreezing: {part.name} has no stage to open: {part.why_none or 'it has no weights'}. "
            f"Expected at least one. Leave this callback out: the head trains, and the backbone stays as it is."
        )
    most = max(schedule.values(), default=0) if schedule is not None else 0
    if most > count:
        raise UserError(
            f"ProgressiveUnfreezing: `schedule` opens {most} stages. Expected at most {count}, since {part.name} has "
            f"that many. Received: schedule={schedule!r}."
        )


def warn_of_what_stays_closed(
    part: BackboneStages | LayerGroups, epochs: int, schedule: Mapping[int, int] | None, pace: Mapping[str, int]
) -> None:
    """Say when training ends before a stage of the schedule opens, or any stage at all.

    Args:
        part: What there is to open.
        epochs: How many epochs the training has.
        schedule: The schedule, or None.
        pace: Without a schedule, the argument that says when the first stage opens, and the epochs that it waits.
    """
    late = [epoch for epoch in schedule or {} if epoch >= epochs]
    if late:
        warnings.warn(
            f"ProgressiveUnfreezing: `schedule` opens stages in epoch {late[0] + 1}, but the training ends after "
            f"{_epochs(epochs)}, so that they stay closed. Expected every opening before the end. Received: "
            f"schedule={schedule!r}. Train longer, or open them earlier.",
            stacklevel=2,
        )
    for name, wait in pace.items():
        first = wait + 1 if name == "patience" else wait  # the first epoch is always the best so far
        if epochs <= first and not any(group.is_open for group in part.groups):
            warnings.warn(
                f"ProgressiveUnfreezing: the first stage opens after {_epochs(first)} at the earliest, but the "
                f"training ends after {_epochs(epochs)}, so that {part.name} stays closed. Expected stages to open. "
                f"Received: {name}={wait}. Train longer, or lower `{name}`.",
                stacklevel=2,
            )


def check_neighbours(callbacks: Iterable[Any], monitor: str | None, patience: int, min_delta: float) -> None:
    """Raise when another callback of the same `fit` would undo the unfreezing or end the training before it begins.

    Args:
        callbacks: Those of the `fit`.
        monitor: With one, the metric that opens stages.
        patience: Epochs for it.
        min_delta: What a change of it must exceed.
    """
    for other in callbacks:
        if isinstance(other, keras.callbacks.BackupAndRestore):
            raise UserError(
                "ProgressiveUnfreezing: BackupAndRestore brings back weights, but not how far the unfreezing has come. "
                "Expected a callback that resumes both. Put `tlkit.callbacks.ExactResume(directory)` at the end of "
                "`callbacks` in its place."
            )
        if (
            isinstance(other, keras.callbacks.EarlyStopping)
            and other.monitor == monitor
            and other.start_from_epoch == 0
            and abs(other.min_delta) >= min_delta
            and other.patience <= patience
        ):
            raise UserError(
                f"ProgressiveUnfreezing: EarlyStopping ends the training when '{monitor}' has not improved for "
                f"{_epochs(other.patience)}, before the next stage could open. Expected it to be more patient. "
                f"Received: patience={other.patience} there, patience={patience} here. Raise that of EarlyStopping."
            )


def check_optimizer(
    model: keras.Model, count: int, all_open_from: int | None, sets_rate: str | None, callbacks: Iterable[Any] = ()
) -> None:
    """Raise for what could not be done, and for what Keras itself would fail at in the middle of training.

    Args:
        model: The model; its optimizer is looked at.
        count: How many stages there are.
        all_open_from: The first epoch in which all of them are open, or None when it is not known to come.
        sets_rate: The argument that changes the learning rate, or None.
        callbacks: Those of the `fit`.
    """
    optimizer = model.optimizer
    if sets_rate and not has_plain_rate(optimizer):
        raise UserError(
            f"ProgressiveUnfreezing: `{sets_rate}` cannot change a learning rate that follows a "
            f"schedule. Expected an optimizer with a number as its rate. Give the optimizer a number, or leave "
            f"`{sets_rate}` out."
        )
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    if getattr(inner, "use_ema", False):
        _check_averages(count, all_open_from, callbacks)
    strategy = model.distribute_strategy
    replicas = strategy.num_replicas_in_sync
    if replicas > 1 and getattr(inner, "gradient_accumulation_steps", None):
        raise UserError(
            f"ProgressiveUnfreezing: Keras cannot accumulate gradients on {replicas} devices. Expected one device, or "
            f"an optimizer without `gradient_accumulation_steps`. Leave it out: several devices hold a larger batch."
        )
    if replicas > 1 and model.jit_compile and any("CPU" in device for device in strategy.extended.worker_devices):
        raise UserError(
            f"ProgressiveUnfreezing: Keras cannot compile a step with XLA for {replicas} CPU devices. Expected GPUs, "
            f"one device, or no XLA. Received: jit_compile=True. Leave it out of `model.compile`."
        )


def _check_averages(count: int, all_open_from: int | None, callbacks: Iterable[Any]) -> None:
    """At the end Keras gives the weights their averages one after the other, from the first that trains on."""
    if all_open_from is None:
        raise UserError(
            f"ProgressiveUnfreezing: Keras cannot end a training with moving averages of the weights (`use_ema`) while "
            f"stages are closed. Expected all {count} stages to be open in the last epoch. Let the schedule open them, "
            f"or leave `use_ema` out."
        )
    stopping = [other for other in callbacks if isinstance(other, keras.callbacks.EarlyStopping)]
    # The first epoch that it looks at is the best so far.
    if any(other.start_from_epoch + max(other.patience, 1) < all_open_from for other in stopping):
        raise UserError(
            f"ProgressiveUnfreezing: EarlyStopping could end the training while stages are closed, when Keras cannot "
            f"give the weights their moving averages (`use_ema`). Expected all {count} stages to be open at the end. "
            f"Use `EarlyStopping(..., start_from_epoch={all_open_from})`."
        )


def _epochs(number: int) -> str:
    return f"{number} epoch{'' if number == 1 else 's'}"
