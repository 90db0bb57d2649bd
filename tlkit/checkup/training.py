"""Whether what shall train does: weights, stages, the optimizer, the schedule."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tlkit.environment import Finding


@dataclass(frozen=True)
class TrainingFacts:
    """Facts about a compiled model and the schedule that will open its backbone.

    Attributes:
        num_parameters: Numbers that train when training begins.
        stages: Of the backbone, input first.
        schedule: Epoch (from 0) -> stages open from then on.
        epochs: Epochs in all.
        opened: Number of open stages -> numbers that then train beside those that train at the beginning, for each
            number that the schedule names.
        is_optimizer_built: Whether the optimizer has its list of weights.
        unknown_stages: Stages that the schedule opens, and of which the optimizer does not know a weight.
        num_replicas: Devices that train.
        weights: The setting: "pretrained" or "random".
    """

    num_parameters: int
    stages: tuple[str, ...]
    schedule: Mapping[int, int]
    epochs: int
    opened: Mapping[int, int]
    is_optimizer_built: bool = True
    unknown_stages: tuple[str, ...] = ()
    num_replicas: int = 1
    weights: str = "pretrained"


def look_at_training(config: Any, model: Any) -> TrainingFacts:
    """Gather the facts; stages are opened for it, and closed again."""
    from tlkit.finetune.prepare import known_variables

    backbone = model.get_layer("backbone")
    stages, schedule = backbone.stages, dict(config.schedule)
    before, most = sum(stage.is_open for stage in stages), max(schedule.values(), default=0)
    at_start = _trainable(model)
    opened = {}
    for number in sorted({number for number in schedule.values() if 0 < number <= len(stages)}):
        backbone.unfreeze(last=number)
        opened[number] = _trainable(model) - at_start
    opening = {id(weight) for weight in model.trainable_weights}
    if stages:
        backbone.unfreeze(last=before)
    known = known_variables(model.optimizer) if model.optimizer.built else opening
    unknown = [
        stage.name
        for stage in stages[max(len(stages) - most, 0) :]
        if any(id(weight) in opening and id(weight) not in known for weight in stage.weights)
    ]
    return TrainingFacts(
        num_parameters=at_start,
        stages=tuple(stage.name for stage in stages),
        schedule=schedule,
        epochs=config.epochs,
        opened=opened,
        is_optimizer_built=model.optimizer.built,
        unknown_stages=tuple(unknown),
        num_replicas=model.distribute_strategy.num_replicas_in_sync,
        weights=getattr(config, "weights", "pretrained"),
    )


def _trainable(model: Any) -> int:
    return sum(math.prod(weight.shape) for weight in model.trainable_weights)


def judge_training(facts: TrainingFacts, name: str) -> list[Finding]:
    """Judge them; `name` is that of the package."""
    return [
        *_weights(facts, name),
        *_schedule(facts, name),
        *_openings(facts, name),
        *_optimizer(facts, name),
    ]


def _weights(facts: TrainingFacts, name: str) -> list[Finding]:
    findings = [Finding("weights", f"{facts.num_parameters:,} numbers train from the first epoch on")]
    if facts.num_parameters == 0 and facts.schedule.get(0, 0) == 0:
        findings = [
            Finding(
                "weights",
                "nothing trains in the first epoch",
                "problem",
                "The loss stays where it is, and no error says so: even the head is frozen.",
                (f"edit {name}/model.py: take out what sets `trainable = False` on the model or its head",),
            )
        ]
    if facts.weights == "random":
        findings.append(
            Finding(
                "pretraining",
                "the setting 'weights' is 'random'",
                "warning",
                "That is the baseline: the network begins without what it was pretrained for.",
                (f"edit {name}/config.py: weights = 'pretrained'",),
            )
        )
    return findings


def _schedule(facts: TrainingFacts, name: str) -> list[Finding]:
    most, count = max(facts.schedule.values(), default=0), len(facts.stages)
    config = f"edit {name}/config.py"
    if most > count:
        return [
            Finding(
                "schedule",
                f"it opens {most} stages, and the backbone has {count}",
                "problem",
                "Training stops when it begins: there is nothing more to open.",
                (f"{config}: stages_to_open = {count}",),
            )
        ]
    late = {epoch: number for epoch, number in sorted(facts.schedule.items()) if epoch >= facts.epochs}
    if late:
        first, last = min(late), max(late)
        in_time = max((n for epoch, n in facts.schedule.items() if epoch < facts.epochs), default=0)
        return [
            Finding(
                "schedule",
                f"a stage opens in epoch {first + 1}, and training ends after {facts.epochs}",
                "problem",
                f"Of {most} stages that shall learn, {most - in_time} never do, and no error says so.",
                (f"{config}: epochs = {last + 1} or more, or stages_to_open = {in_time}",),
            )
        ]
    if most == 0:
        return [Finding("schedule", f"the backbone stays closed in all {facts.epochs} epochs: only the head learns")]
    last = min(epoch for epoch, number in facts.schedule.items() if number == most)
    left = facts.epochs - last
    found = f"{most} of {count} stages open by epoch {last + 1} of {facts.epochs}"
    if left == 1:
        meaning = "The last stage learns for one epoch only, in which its first steps disturb more than they mend."
        return [Finding("schedule", found, "warning", meaning, (f"{config}: epochs = {last + 3} or more",))]
    return [Finding("schedule", found)]


def _openings(facts: TrainingFacts, name: str) -> list[Finding]:
    """Openings after which no more trains than before."""
    before = 0
    for number, more in sorted(facts.opened.items()):
        if more <= before:
            stage = facts.stages[-number]
            return [
                Finding(
                    "stages",
                    f"opening {number} (as far as '{stage}') lets nothing train that did not train before",
                    "problem",
                    "Something keeps these weights frozen, so that the opening does nothing; training stops there.",
                    (f"edit {name}/model.py: take out what sets `trainable = False` after `build_backbone`",),
                )
            ]
        before = more
    if not facts.opened:
        return []
    return [Finding("stages", f"up to {before:,} numbers of the backbone train once they are open")]


def _optimizer(facts: TrainingFacts, name: str) -> list[Finding]:
    if not facts.opened:
        return []
    command = f"edit {name}/model.py: call `prepare_unfreezing(model)` right after `model.compile`"
    if facts.unknown_stages:
        return [
            Finding(
                "optimizer",
                f"it does not know the weights of {', '.join(facts.unknown_stages)}, which shall open",
                "problem",
                "Keras lists the weights once: stages that open later would stay as they are.",
                (command,),
            )
        ]
    if not facts.is_optimizer_built and facts.num_replicas > 1:
        return [
            Finding(
                "optimizer",
                f"it has no list of weights yet, and {facts.num_replicas} devices train",
                "problem",
                "On several devices the list cannot be made while training: the first opening stops it.",
                (command,),
            )
        ]
    return [Finding("optimizer", "it knows every weight that will open")]
