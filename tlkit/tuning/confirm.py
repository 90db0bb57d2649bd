"""The best trials again, on seeds that they were not chosen on: the best of thirty is lucky, too."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from tlkit.errors import UserError
from tlkit.tuning.files import (
    FAILURE,
    METRICS,
    RUN,
    begin_run,
    full_disk,
    is_disk_full,
    read_json,
    remove_models,
    remove_state,
    write_json,
)
from tlkit.tuning.trial import Trial, number_of, short
from tlkit.tuning.trial_runner import DiskFull, reason_of
from tlkit.tuning.workers import LOGS, as_child, run_in_shares, share

CONFIRMED = "confirmed"  # the folder in a search for these trainings
CANDIDATES = 3


class Confirmed(NamedTuple):
    """A trial's settings on other seeds.

    Attributes:
        number: Of the trial, from 1; 1 has the defaults.
        settings: Its settings.
        scores: The objective on each seed.
        seeds: Of the scores.
    """

    number: int
    settings: dict[str, Any]
    scores: list[float]
    seeds: tuple[int, ...] = ()

    @property
    def mean(self) -> float:
        """Of the scores."""
        return statistics.fmean(self.scores)

    @property
    def spread(self) -> float:
        """The standard deviation over the seeds; infinite for one seed, of which nothing is known."""
        return statistics.stdev(self.scores) if len(self.scores) > 1 else math.inf


def confirm_best(
    run: Callable[..., dict[str, float]],
    trials: Sequence[Trial],
    *,
    seeds: Sequence[int],
    folder: str | Path,
    objective: str,
    direction: str,
    workers: int = 1,
) -> list[Confirmed]:
    """Run the best three trials, and the defaults, once on each of some new seeds.

    Killed and called again, it goes on where it stopped. What fails is said, left out, and not tried again. With
    several `workers` the command that was typed is run again by each, as `tune` does it.

    Args:
        run: As for `tune`; it gets the setting "seed" besides.
        trials: What `tune` returned.
        seeds: Others than that of the search. With none, nothing is run.
        folder: The search's.
        objective: Name of the number that decides.
        direction: "min" or "max".
        workers: How many run at once.

    Returns:
        Best mean first.

    Raises:
        UserError: When the disk is full.
    """
    folder = Path(folder).resolve()
    best = [trial for trial in trials if trial.score is not None][:CANDIDATES]
    chosen = {number_of(trial): trial for trial in (*best, *trials) if trial in best or number_of(trial) == 1}
    # With Hyperband a trial has a number for each of its rounds: one of them is enough.
    chosen = {n: t for n, t in chosen.items() if all(t.settings != chosen[m].settings for m in chosen if m < n)}
    trainings = [
        (number, trial.settings | {"seed": seed}, folder / CONFIRMED / f"trial_{number}_seed_{seed}")
        for number, trial in chosen.items()
        for seed in (seeds if len(chosen) > 1 else ())
    ]
    if (mine := share()) is not None:
        with as_child(folder):
            for _, settings, place in trainings[mine]:
                _run_once(run, settings, place, objective, folder)
        raise SystemExit(0)
    left = [place for *_, place in trainings if not _is_done(place)]
    if workers > 1 and len(left) > 1:
        print(f"{len(left)} trainings on other seeds, up to {workers} at once. What they say is in {folder / LOGS}.")
        run_in_shares(folder, min(workers, len(trainings)), num_gpus=len(tf.config.list_physical_devices("GPU")))
    scores: dict[int, dict[int, float]] = {number: {} for number in chosen}
    for number, settings, place in trainings:
        metrics = _run_once(run, settings, place, objective, folder)
        if metrics:
            scores[number][settings["seed"]] = metrics[objective]
    found = [
        Confirmed(number, chosen[number].settings, [*values.values()], (*values,))
        for number, values in scores.items()
        if values
    ]
    return sorted(found, key=lambda confirmed: confirmed.mean, reverse=direction == "max")


def verdict(confirmed: Sequence[Confirmed], objective: str) -> str:
    """Whether the best is better than the defaults by more than chance, in a sentence."""
    default = next((candidate for candidate in confirmed if candidate.number == 1), None)
    if default is None:
        return "On new seeds nothing was compared with the defaults."
    best = confirmed[0]
    if best is default:
        return "On new seeds nothing was better than the defaults: keep them."
    difference, spread = abs(best.mean - default.mean), _spread_of_difference(best, default)
    seeds = "on one new seed" if len(best.scores) == 1 else f"the mean of {len(best.scores)} new seeds"
    means = f"{objective} {short(best.mean)} against {short(default.mean)}, {seeds}"
    if math.isinf(spread):
        return f"Trial {best.number} against the defaults: {means}. One seed says nothing of chance; take more."
    if difference > spread:
        return f"Trial {best.number} beats the defaults by more than the spread over seeds, {short(spread)}: {means}."
    return (
        f"Trial {best.number} does not beat the defaults by more than the spread over seeds, {short(spread)}: "
        f"{means}. It may be luck."
    )


def _spread_of_difference(one: Confirmed, other: Confirmed) -> float:
    """The standard deviation over seeds of what one is better by: a seed is often kind, or not, to both."""
    if one.seeds != other.seeds:  # a training failed
        return max(one.spread, other.spread)
    pairs = zip(one.scores, other.scores, strict=True)
    return statistics.stdev(a - b for a, b in pairs) if len(one.scores) > 1 else math.inf


def _run_once(run, settings: dict[str, Any], place: Path, objective: str, search: Path) -> dict[str, float] | None:
    if not _is_done(place):
        print(f"On another seed, {place.name}: {', '.join(f'{k}={short(v)}' for k, v in settings.items())}", flush=True)
        _train_once(run, settings, place, objective, search)
    metrics = read_json(place / METRICS)
    if metrics is None:
        print(f"On another seed, {place.name} failed. {(place / FAILURE).read_text(encoding='utf-8')}", flush=True)
    else:
        print(f"On another seed, {place.name}: {objective} {short(metrics[objective])}", flush=True)
    return metrics


def _is_done(place: Path) -> bool:
    return read_json(place / METRICS) is not None or (place / FAILURE).exists()


def _train_once(run, settings: dict[str, Any], place: Path, objective: str, search: Path) -> None:
    """Leave the numbers, or why there are none, in the folder."""
    try:
        place.mkdir(parents=True, exist_ok=True)
        begin_run(place / RUN, settings, None)
        metrics = {name: float(value) for name, value in run(settings, place / RUN).items()}
        if not math.isfinite(metrics.get(objective, math.nan)):
            raise UserError(f"{objective} is not a number.")
        write_json(place / METRICS, metrics)
    except Exception as error:
        if is_disk_full(error):
            raise DiskFull(full_disk(search)) from error
        (place / FAILURE).write_text(reason_of(error), encoding="utf-8")
    finally:
        keras.utils.clear_session()
    remove_models(place / RUN)
    remove_state(place / RUN)
