"""One set of settings and what came of it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, NamedTuple

from tlkit.tuning.files import FAILURE, METRICS, RUN, SETTINGS, read_json

ELSEWHERE = "It failed on another machine, whose folder is not this one; the reason is in that machine's output."


class Trial(NamedTuple):
    """One set of settings and what came of it.

    Attributes:
        settings: What `search_space` drew.
        score: The objective; None when the trial failed.
        metrics: All that `run` returned.
        folder: What `run` was given.
        failure: Why there is no score, or None.
        epochs: With Hyperband, how long it trained in all.
    """

    settings: dict[str, Any]
    score: float | None
    metrics: dict[str, float]
    folder: Path
    failure: str | None = None
    epochs: int | None = None


def read_trial(trial, folder: Path, search_space) -> Trial:
    """Put together what KerasTuner and our files know of a trial.

    Args:
        trial: KerasTuner's `Trial`.
        folder: The trial's folder.
        search_space: Says the settings again when they were written on another machine.
    """
    settings, metrics, failure = read_json(folder / SETTINGS), read_json(folder / METRICS), folder / FAILURE
    if settings is None:
        settings = search_space(trial.hyperparameters.copy())
    if metrics is None and trial.score is not None:
        metrics = {name: trial.metrics.get_best_value(name) for name in trial.metrics.metrics}
    reason = failure.read_text(encoding="utf-8") if failure.exists() else ELSEWHERE
    return Trial(
        settings=settings,
        score=trial.score,
        metrics={} if trial.score is None else metrics,
        folder=folder / RUN,
        failure=reason if trial.score is None else None,
        epochs=trial.hyperparameters.values.get("tuner/epochs"),
    )


def number_of(trial: Trial) -> int:
    """The trial's number, from 1, the order in which they were begun."""
    return int(trial.folder.parent.name.removeprefix("trial_")) + 1


def rank(trials: list[Trial], direction: str) -> list[Trial]:
    """The best first, the failed ones last."""
    sign = 1 if direction == "min" else -1
    return sorted(trials, key=lambda trial: math.inf if trial.score is None else sign * trial.score)


def short(value: Any) -> str:
    """A value as a person writes it."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
