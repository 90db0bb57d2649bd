"""What came of a search, to read the next morning: report.md with pictures, the same as data, TensorBoard's HParams."""

from __future__ import annotations

import contextlib
import csv
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Column, Table

from tlkit.evaluation import plot_parallel_coordinates, plot_setting_importance, plot_trial_curves
from tlkit.tuning.confirm import Confirmed, confirm_best, verdict
from tlkit.tuning.files import write_json
from tlkit.tuning.importance import TRIALS_PER_SETTING, setting_importance
from tlkit.tuning.trial import Trial, number_of, short

REPORT, SUMMARY = "report.md", "report.json"
_SHOWN = 4  # trials, beside names such as opening_learning_rate_multiplier, in 80 columns


def conclude(
    run: Callable[..., dict[str, float]],
    trials: Sequence[Trial],
    *,
    seeds: Sequence[int],
    folder: str | Path,
    objective: str,
    direction: str,
    workers: int = 1,
) -> dict[str, Any]:
    """Confirm the best trials on new seeds, write the report, print the table; returns the settings to train with.

    Args:
        run: As for `tune`; for the confirmation it gets the setting "seed" besides.
        trials: What `tune` returned.
        seeds: New ones, or none: then the best is taken as it was found.
        folder: The search's. `report.md`, its pictures and `tensorboard` are written into it.
        objective: Name of the number that decides.
        direction: "min" or "max".
        workers: How many confirm at once, as for `tune`.

    Returns:
        Those with the best mean over the new seeds, which may be the defaults.
    """
    folder = Path(folder).resolve()
    print_trials(trials, objective)
    goal = {"objective": objective, "direction": direction}
    confirmed = confirm_best(run, trials, seeds=seeds, folder=folder, **goal, workers=workers)
    write_report(trials, folder, **goal, confirmed=confirmed)
    write_hparams(trials, folder / "tensorboard", objective)
    if confirmed:
        print(verdict(confirmed, objective))
    print(f"Report and pictures: {folder / REPORT}")
    return confirmed[0].settings if confirmed else trials[0].settings


def print_trials(trials: Sequence[Trial], objective: str) -> None:
    """Print the best trials, a column each: the settings are many, and a terminal has 80 columns."""
    names = ["trial", objective, *_columns(trials)]
    shown = [_cells(trial, trials) for trial in trials[:_SHOWN]]
    table = Table(*(Column(cell, no_wrap=True) for cell in (names[0], *(cells[0] for cells in shown))))
    for place, name in enumerate(names[1:], 1):
        table.add_row(name, *(cells[place] for cells in shown))
    table.title = "best first" if len(shown) == len(trials) else f"the best {len(shown)} of {len(trials)}"
    Console(markup=False, highlight=False).print(table)


def write_report(
    trials: Sequence[Trial], folder: Path, *, objective: str, direction: str, confirmed: Sequence[Confirmed] = ()
) -> Path:
    """Write report.md, the pictures that it shows, and report.json for `tlkit report`; returns the first's path."""
    scored = [trial for trial in trials if trial.score is not None]
    default = next((trial for trial in trials if number_of(trial) == 1), None)
    best = confirmed[0].settings if confirmed else trials[0].settings
    failed = f", of which {len(trials) - len(scored)} failed" if len(scored) < len(trials) else ""
    lucky = f"The best of {len(scored)} was not run again, so a part of its score is luck."
    summary = {"objective": objective, "direction": direction, "num_trials": len(trials)}
    summary |= {"num_failed": len(trials) - len(scored), "default": default and default.settings, "best": best}
    write_json(folder / SUMMARY, summary | {"verdict": verdict(confirmed, objective) if confirmed else lucky})
    lines = [
        f"# Search by {objective}",
        "",
        f"{len(trials)} trials{failed}; {objective} shall be {_EXTREME[direction]}.",
    ]
    lines += ["", "## The best beside the defaults", "", "| setting | default | best |", "|---|---|---|"]
    lines += [f"| {k} | {short(default.settings.get(k)) if default else ''} | {short(v)} |" for k, v in best.items()]
    lines += ["", "## On new seeds", ""]
    if confirmed:
        lines += [
            verdict(confirmed, objective),
            "",
            f"| trial | mean {objective} | spread | each |",
            "|---|---|---|---|",
        ]
        lines += [
            f"| {_name(c)} | {short(c.mean)} | {_spread(c)} | {', '.join(map(short, c.scores))} |" for c in confirmed
        ]
    else:
        lines += [lucky]
    lines += ["", "## What the score depends on", "", *_importance(scored, folder)]
    if scored:
        lines += ["", "## Every trial", "", *_pictures(scored, folder, objective, direction)]
    lines += [
        "",
        f"| trial | {objective} | {' | '.join(_columns(trials))} |",
        "|---" * (2 + len(_columns(trials))) + "|",
    ]
    lines += [f"| {' | '.join(_cells(trial, trials))} |" for trial in trials]
    reasons = [f"- Trial {number_of(trial)} failed: {trial.failure}" for trial in trials if trial.score is None]
    (folder / REPORT).write_text("\n".join([*lines, "", *reasons]).rstrip() + "\n", encoding="utf-8")
    return folder / REPORT


def write_hparams(trials: Sequence[Trial], folder: Path, objective: str) -> None:
    """Write settings and scores for the tab HParams of TensorBoard: `tensorboard --logdir FOLDER`."""
    import tensorflow as tf
    from tensorboard.plugins.hparams import api

    for trial in trials:
        place = folder / f"trial_{number_of(trial)}"
        if trial.score is None or place.exists():
            continue
        settings = {k: v if isinstance(v, bool | int | float | str) else str(v) for k, v in trial.settings.items()}
        writer = tf.summary.create_file_writer(str(place))
        with writer.as_default():
            api.hparams(settings, trial_id=f"trial {number_of(trial)}")
            tf.summary.scalar(objective, trial.score, step=trial.epochs or 0)
        writer.close()


_EXTREME = {"min": "small", "max": "large"}


def _columns(trials: Sequence[Trial]) -> list[str]:
    names = dict.fromkeys(name for trial in trials for name in trial.settings)
    return [*names, *(["epochs"] if any(trial.epochs is not None for trial in trials) else [])]


def _cells(trial: Trial, trials: Sequence[Trial]) -> list[str]:
    values = trial.settings | {"epochs": trial.epochs}
    score = "failed" if trial.score is None else f"{trial.score:.4f}"
    return [str(number_of(trial)), score, *(short(values.get(name, "")) for name in _columns(trials))]


def _name(confirmed: Confirmed) -> str:
    return "1, the defaults" if confirmed.number == 1 else str(confirmed.number)


def _spread(confirmed: Confirmed) -> str:
    return short(confirmed.spread) if len(confirmed.scores) > 1 else "unknown"


def _importance(scored: Sequence[Trial], folder: Path) -> list[str]:
    shares = setting_importance(scored)
    if not shares:
        return ["There are too few scores to tell."]
    plot_setting_importance(shares).savefig(folder / "importance.png", dpi=110)
    lines = ["![importance of each setting](importance.png)", ""]
    lines += ["The share that shuffling a setting takes from what a random forest knows of the scores."]
    if len(scored) < TRIALS_PER_SETTING * len(shares):
        lines += [f"With {len(scored)} trials for {len(shares)} settings this means little."]
    return lines


def _pictures(scored: Sequence[Trial], folder: Path, objective: str, direction: str) -> list[str]:
    longest = max(trial.epochs or 0 for trial in scored)
    whole = [trial for trial in scored if (trial.epochs or 0) == longest]  # Hyperband: those that were not cut short
    figure = plot_parallel_coordinates(
        [trial.settings for trial in whole],
        [trial.score for trial in whole],
        objective=objective,
        lower_is_better=direction == "min",
    )
    figure.savefig(folder / "trials.png", dpi=110)
    lines = ["![each trial a line over its settings](trials.png)"]
    curves = {f"trial {number_of(trial)}": _curve(trial, objective) for trial in scored}
    curves = {name: curve for name, curve in curves.items() if curve}
    if curves:
        best = f"trial {number_of(scored[0])}"
        plot_trial_curves(curves, objective=objective, best=best).savefig(folder / "curves.png", dpi=110)
        lines += ["", "![the score of each trial by epoch](curves.png)"]
    return lines


def _curve(trial: Trial, objective: str) -> list[float]:
    """The objective by epoch, from the log of `keras.callbacks.CSVLogger` in the trial's folder, if there is one."""
    with contextlib.suppress(OSError, KeyError, ValueError), open(trial.folder / "history.csv", newline="") as file:
        return [float(row[objective]) for row in csv.DictReader(file)]
    return []
