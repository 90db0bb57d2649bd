"""A search for the best settings of anything that trains: KerasTuner's oracle, our progress, errors and files."""

from __future__ import annotations

import contextlib
import io
import json
import math
import shutil
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import keras
import keras_tuner

from tlkit.errors import UserError

# When the first trials all fail, it is a mistake in `run` or in the settings that trials share, not bad luck.
FAILURES_AT_THE_START = 3


class Trial(NamedTuple):
    """One set of settings and what came of it."""

    settings: dict[str, Any]
    score: float | None  # the objective; None when the trial failed
    metrics: dict[str, float]  # all that `run` returned
    folder: Path  # what `run` was given
    failure: str | None = None  # why there is no score


def tune(
    run: Callable[[dict[str, Any], Path], dict[str, float]],
    search_space: Callable[[keras_tuner.HyperParameters], dict[str, Any]],
    *,
    num_trials: int,
    folder: str | Path,
    objective: str,
    direction: str | None = None,
    seed: int,
    shared_settings: dict[str, Any] | None = None,
) -> list[Trial]:
    """Try settings drawn at random, each with one call of `run`, and rank them.

    The first trial takes the defaults named in `search_space`, so a search finds nothing worse than them. A trial that
    raises is recorded with its reason and the search goes on. Killed and called again with the same folder, the search
    goes on where it stopped: finished trials are kept, the one that was running starts anew. With a larger
    `num_trials`, it is extended.

    Args:
        run: Called with the settings of a trial and a folder of its own, which does not exist yet; trains and returns
            numbers by name, `objective` among them.
        search_space: Called with KerasTuner's `HyperParameters`; draws from it (`hp.Float`, `hp.Int`, `hp.Choice`, …)
            and returns the settings, a dict that JSON can hold.
        num_trials: Trials in all, counting finished ones of earlier calls, and failed ones.
        folder: Where the search is kept.
        objective: Name of the number that decides.
        direction: "min" or "max". Defaults to "min" for names that hold "loss" or "error", else "max".
        seed: Seeds the draws.
        shared_settings: What all trials have in common, a dict that JSON can hold. It is kept with the search, and a
            later call with others is refused: their scores could not be compared.

    Returns:
        Every trial, best first; failed ones last.

    Raises:
        UserError: When all trials failed (at once when the first three did), `run` does not return `objective`, or
            `folder` holds another search.

    Example:
        trials = tune(
            lambda settings, folder: {"loss": (settings["x"] - 1) ** 2},
            lambda hp: {"x": hp.Float("x", -2.0, 2.0)},
            num_trials=20, folder="search", objective="loss", seed=1,
        )
        trials[0].settings
    """
    folder = Path(folder).resolve()
    if num_trials < 1:
        raise UserError(f"tune: `num_trials` is {num_trials}. Expected at least 1.")
    if direction is None:
        direction = "min" if "loss" in objective or "error" in objective else "max"
    if direction not in ("min", "max"):
        raise UserError(f"tune: `direction` is {direction!r}. Expected 'min' or 'max'.")
    _claim_folder(folder, {"objective": objective, "direction": direction, "seed": seed}, shared_settings or {})

    tuner = _open_search(run, search_space, num_trials, folder, keras_tuner.Objective(objective, direction), seed)
    with warnings.catch_warnings():
        # keras_tuner 1.4.8 calls threading.currentThread(), deprecated since Python 3.10.
        warnings.filterwarnings("ignore", category=DeprecationWarning, module="keras_tuner")
        tuner.search(verbose=0)  # its own display clears the screen
    trials = tuner.ranked_trials()
    if trials[0].score is None:
        raise UserError(f"All {len(trials)} trials failed; the first one with: {tuner.trial_of('0').failure}")
    return trials


class _Search(keras_tuner.RandomSearch):
    """KerasTuner's documented way to tune anything, an own `run_trial`: nothing is deep-copied or saved by it.

    https://keras.io/keras_tuner/getting_started/ ("Tune any function", by overriding `Tuner.run_trial`)
    """

    def __init__(self, run, draw_settings, **kwargs):
        super().__init__(**kwargs)
        self.run = run
        self.draw_settings = draw_settings

    def run_trial(self, trial, **_):
        settings = self.draw_settings(trial.hyperparameters)
        folder = self.folder_of(trial)
        shutil.rmtree(folder, ignore_errors=True)  # what a killed call of the same trial left
        folder.with_name("failure.txt").unlink(missing_ok=True)
        _write_json(folder.parent / "settings.json", settings)
        number, num_trials = int(trial.trial_id) + 1, self.oracle.max_trials
        print(f"Trial {number} of {num_trials}: " + ", ".join(f"{k}={_short(v)}" for k, v in settings.items()))
        started, objective = time.monotonic(), self.oracle.objective
        try:
            metrics = {name: float(value) for name, value in self.run(settings, folder).items()}
            score = metrics.get(objective.name)
            if score is not None and not math.isfinite(score):
                raise ArithmeticError(f"{objective.name} became {score}")
        except Exception as error:
            reason = f"{type(error).__name__}: {error}" if not isinstance(error, UserError) else str(error)
            (folder.parent / "failure.txt").write_text(reason, encoding="utf-8")
            print(f"Trial {number} of {num_trials} failed. {reason}")
            return {objective.name: math.nan}  # not raised: KerasTuner would print a traceback for each
        finally:
            keras.utils.clear_session()  # a search of a night must not keep every model it built
        if score is None:
            raise _NoObjective(f"`run` returned {sorted(metrics)} but the objective is '{objective.name}'.")
        _write_json(folder.parent / "metrics.json", metrics)
        seconds = time.monotonic() - started
        print(f"Trial {number} of {num_trials}: {objective.name} {_short(score)} after {seconds:.0f} s")
        return {objective.name: score}

    def on_trial_end(self, trial):
        failure = self.folder_of(trial).with_name("failure.txt")
        if failure.exists():
            trial.status, trial.message = "FAILED", failure.read_text(encoding="utf-8")
        super().on_trial_end(trial)
        ended = [self.oracle.trials[trial_id] for trial_id in self.oracle.end_order]
        if len(ended) == FAILURES_AT_THE_START and all(trial.score is None for trial in ended):
            reason = self.trial_of(ended[-1].trial_id).failure
            raise UserError(
                f"The first {len(ended)} trials all failed, the last one with: {reason} Mend that, remove the folder "
                f"'{self.project_dir}' and start again."
            )

    def folder_of(self, trial) -> Path:
        return Path(self.get_trial_dir(trial.trial_id)) / "run"

    def trial_of(self, trial_id: str) -> Trial:
        trial = next(trial for key, trial in self.oracle.trials.items() if int(key) == int(trial_id))
        folder = self.folder_of(trial)
        settings, metrics, failure = (folder.with_name(f) for f in ("settings.json", "metrics.json", "failure.txt"))
        return Trial(
            settings=json.loads(settings.read_text(encoding="utf-8")),
            score=trial.score,
            metrics={} if trial.score is None else json.loads(metrics.read_text(encoding="utf-8")),
            folder=folder,
            failure=failure.read_text(encoding="utf-8") if trial.score is None else None,
        )

    def ranked_trials(self) -> list[Trial]:
        trials = [self.trial_of(trial_id) for trial_id in self.oracle.end_order]
        sign = 1 if self.oracle.objective.direction == "min" else -1
        return sorted(trials, key=lambda trial: math.inf if trial.score is None else sign * trial.score)


class _NoObjective(keras_tuner.errors.FatalError, UserError):
    """A mistake that every trial would repeat: KerasTuner lets a FatalError end the search."""


def _open_search(run, search_space, num_trials, folder, objective, seed) -> _Search:
    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(said):
            search = _Search(
                run,
                search_space,
                objective=objective,
                max_trials=num_trials,
                seed=seed + 1,  # keras_tuner takes 0 for "no seed"
                max_consecutive_failed_trials=num_trials + 1,  # failures do not end the search; see on_trial_end
                directory=str(folder.parent),
                project_name=folder.name,
                overwrite=False,
            )
    except (ValueError, KeyError) as error:
        raise UserError(
            f"The search in '{folder}' is damaged and cannot go on ({error}). Remove the folder."
        ) from error
    if search.oracle.end_order:
        print(f"Going on with the search in {folder}: {len(search.oracle.end_order)} trials are done.")
    return search


def _claim_folder(folder: Path, search: dict[str, Any], shared_settings: dict[str, Any]) -> None:
    """Write down what the folder's scores depend on, or refuse when it holds scores that depend on something else."""
    description = json.loads(json.dumps({**shared_settings, **search}))
    file = folder / "search.json"
    if file.exists():
        kept = json.loads(file.read_text(encoding="utf-8"))
        changed = sorted(name for name in kept | description if kept.get(name) != description.get(name))
        if changed:
            raise UserError(
                f"The folder '{folder}' holds a search with other settings ({', '.join(changed)}), whose scores could "
                "not be compared. Name another folder, or remove this one."
            )
    else:
        folder.mkdir(parents=True, exist_ok=True)
        _write_json(file, description)


def _write_json(file: Path, content: Any) -> None:
    file.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
