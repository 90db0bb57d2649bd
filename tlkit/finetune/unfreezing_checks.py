"""What `ProgressiveUnfreezing` refuses, in its words: arguments, schedules, and what Keras itself would fail at."""

from __future__ import annotations

from collections.abc import Mapping

import keras

from tlkit.errors import UserError
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


def check_optimizer(model: keras.Model, count: int, opens_all: bool, sets_rate: str | None) -> None:
    """Raise for what could not be done, and for what Keras itself would fail at in the middle of training."""
    optimizer = model.optimizer
    if sets_rate and not has_plain_rate(optimizer):
        raise UserError(
            f"ProgressiveUnfreezing: `{sets_rate}` cannot change a learning rate that follows a "
            f"schedule. Expected an optimizer with a number as its rate. Give the optimizer a number, or leave "
            f"`{sets_rate}` out."
        )
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    replicas = model.distribute_strategy.num_replicas_in_sync
    if getattr(inner, "use_ema", False) and not opens_all:
        raise UserError(
            f"ProgressiveUnfreezing: Keras cannot end a training with moving averages of the weights (`use_ema`) while "
            f"stages are closed. Expected all {count} stages to be open in the last epoch. Let the schedule open them, "
            f"or leave `use_ema` out."
        )
    if replicas > 1 and getattr(inner, "gradient_accumulation_steps", None):
        raise UserError(
            f"ProgressiveUnfreezing: Keras cannot accumulate gradients on {replicas} devices. Expected one device, or "
            f"an optimizer without `gradient_accumulation_steps`. Leave it out: several devices hold a larger batch."
        )
