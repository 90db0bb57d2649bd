"""KerasTuner's oracles, which choose the settings of each trial, made to survive a kill at any moment.

What is mended here, all of it true of KerasTuner 1.4.8: its files are written in place, so that a kill tears them; a
trial that was begun when the process died before it was noted stays "running" for ever; Bayesian search draws other
numbers after a restart; grid search forgets where it was and ends; the trial of a worker that is gone is never begun
again.
"""

from __future__ import annotations

import itertools
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras_tuner
import numpy as np

from tlkit.errors import UserError
from tlkit.tuning.files import FAILURE, METRICS, RUN, mend_json, read_json, remove_models, remove_state, write_json
from tlkit.tuning.workers import REJOIN

FACTOR = (
    3  # Hyperband: of so many trials one goes on, for so many times the epochs (Li et al. 2018, section 3.1: 3 or 4)
)
# A worker asks for its trial every `trial_runner.BEAT` seconds. One that is silent for so long is gone, with its
# machine or its network: no step holds up all threads of a process for minutes.
LOST_AFTER = 300.0


class _Kept:
    """The part that is the same for all algorithms; comes before KerasTuner's class."""

    folder: Path
    keep_models: int
    heard: dict[str, float]  # when the worker of a running trial last asked for it

    def create_trial(self, tuner_id: str):
        """The next trial; a lost worker's first. While any runs, nobody is sent home: it may yet be lost."""
        now = time.monotonic()
        for worker, trial in [*self.ongoing_trials.items()]:
            if worker != tuner_id and now - self.heard.setdefault(trial.trial_id, now) > LOST_AFTER:
                print(f"Trial {int(trial.trial_id) + 1}: {worker} is not heard of any more; it is given to another.")
                del self.ongoing_trials[worker], self.heard[trial.trial_id]
                self.tuner_ids.discard(worker)
                self._retry_queue.append(trial.trial_id)
        trial = super().create_trial(tuner_id)
        if trial.status == "STOPPED" and self.ongoing_trials:
            trial.status = "IDLE"
            self.tuner_ids.add(tuner_id)
        return trial

    def get_trial(self, trial_id: str):
        self.heard[trial_id] = time.monotonic()
        return super().get_trial(trial_id)

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """Let the first trial take the defaults, so that no search finds anything worse than them."""
        response = super().populate_space(trial_id)
        if not self.start_order and response["status"] == "RUNNING":
            space = self.get_space()
            defaults = {hp.name: hp.default for hp in space.space if space.is_active(hp)}
            own = {name: value for name, value in response["values"].items() if name.startswith("tuner/")}
            response["values"] = defaults | own
        return response

    def end_trial(self, trial) -> None:
        if trial.trial_id in self.end_order:  # by a worker that was thought lost, while another ran it
            return
        super().end_trial(trial)
        self.remove_what_is_not_needed()

    def remove_what_is_not_needed(self) -> None:
        """Keep the models of the best trials, and what later rounds go on from; numbers are kept of all."""
        going_on = self.may_go_on()
        ended = [self.trials[trial_id] for trial_id in self.end_order]
        scored = [trial for trial in ended if trial.score is not None]
        scored.sort(key=lambda trial: trial.score, reverse=self.objective.direction == "max")
        best = {trial.trial_id for trial in scored[: self.keep_models]}
        for trial_id in {trial.trial_id for trial in ended} - going_on:
            folder = self.folder / f"trial_{trial_id}" / RUN
            remove_state(folder)
            if trial_id not in best:
                remove_models(folder)

    def may_go_on(self) -> set[str]:
        """The trials of which a later one may go on."""
        return set()

    def get_state(self) -> dict[str, Any]:
        state = super().get_state()
        # KerasTuner saves a trial that has just ended among those that run, too: it would run again after a kill.
        ongoing = state["ongoing_trials"].items()
        state["ongoing_trials"] = {tuner: trial_id for tuner, trial_id in ongoing if trial_id not in self.end_order}
        return state

    # What KerasTuner would write in place. `_save_trial` is a private name, for want of a public one.

    def save(self) -> None:
        write_json(self.folder / "oracle.json", self.get_state(), keep_previous=True)

    def _save_trial(self, trial) -> None:
        folder = self.folder / f"trial_{trial.trial_id}"
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / "trial.json", trial.get_state(), keep_previous=True)

    def reload(self) -> None:
        mend_json(self.folder / "oracle.json")
        folders = [folder for folder in self.folder.glob("trial_*") if folder.is_dir()]
        for folder in folders:
            mend_json(folder / "trial.json")
        known = read_json(self.folder / "oracle.json")
        if known is None:
            raise ValueError("oracle.json is no JSON")
        for folder in folders:
            # Begun, but the process died before the oracle had noted it: it will be begun again under this name.
            if folder.name.removeprefix("trial_") not in known["start_order"]:
                shutil.rmtree(folder)
        super().reload()
        # As they were begun, not as the disk lists them: sums in another order end in other numbers.
        self.trials = {trial_id: self.trials[trial_id] for trial_id in self.start_order}
        if REJOIN in os.environ:  # the chief died, its workers live: their trials are still theirs
            self.ongoing_trials = {name: self.trials[id_] for name, id_ in known["ongoing_trials"].items()}
            taken = [*known["ongoing_trials"].values()]
            self._retry_queue = [trial_id for trial_id in self._retry_queue if trial_id not in taken]
        for trial_id in self.end_order:
            if self.trials[trial_id].status == "RUNNING":
                self._finish(self.trials[trial_id])

    def _finish(self, trial) -> None:
        """End a trial whose file has fallen back to an earlier state, by what our own files say."""
        folder = self.folder / f"trial_{trial.trial_id}"
        metrics = read_json(folder / METRICS)
        if metrics is None or (folder / FAILURE).exists():
            trial.status = "FAILED"
        else:
            trial.status, trial.score = "COMPLETED", metrics[self.objective.name]
        self._save_trial(trial)


class _Random(_Kept, keras_tuner.oracles.RandomSearchOracle):
    pass


class _Bayesian(_Kept, keras_tuner.oracles.BayesianOptimizationOracle):
    def populate_space(self, trial_id: str) -> dict[str, Any]:
        # By the trial, not by how many were drawn in this process: a search that was killed draws the same.
        self._random_state = np.random.RandomState(self.seed + int(trial_id))
        return super().populate_space(trial_id)


class _Hyperband(_Kept, keras_tuner.oracles.HyperbandOracle):
    def set_state(self, state: dict[str, Any]) -> None:
        iterations = self.hyperband_iterations
        super().set_state(state)
        self.hyperband_iterations = iterations  # a search that is extended has more of them

    def may_go_on(self) -> set[str]:
        found, ended = set(), {*self.end_order}
        for bracket in self.get_state()["brackets"]:
            for this, following in itertools.pairwise(bracket["rounds"]):
                gone_on = {entry["past_id"] for entry in following if entry["id"] in ended}
                found |= {entry["id"] for entry in this} - gone_on
        return found


class _Grid(_Kept, keras_tuner.Oracle):
    """Every combination, in the order of `keras_tuner.oracles.GridSearchOracle`: defaults first, the last name fastest.

    Which comes next follows from how many were begun, so there is nothing to forget.
    """

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        found = next(itertools.islice(self._combinations(), len(self.start_order), None), None)
        return {"status": "RUNNING" if found else "STOPPED", "values": found}

    def _combinations(self):
        space = self.get_space()
        values = ([hp.default, *(v for v in hp.values if v != hp.default)] for hp in space.space)
        seen = set()
        for combination in itertools.product(*values):
            space.values = dict(zip((hp.name for hp in space.space), combination, strict=True))
            active = {hp.name: space.values[hp.name] for hp in space.space if space.is_active(hp)}
            if tuple(active.items()) not in seen:  # the others differ in what is not active only
                seen.add(tuple(active.items()))
                yield active


ALGORITHMS = {"random": _Random, "bayesian": _Bayesian, "hyperband": _Hyperband, "grid": _Grid}


def make_oracle(
    algorithm: str,
    search_space: Callable[[keras_tuner.HyperParameters], dict[str, Any]],
    objective: keras_tuner.Objective,
    *,
    num_trials: int,
    seed: int,
    folder: Path,
    max_epochs: int | None,
    keep_models: int,
) -> keras_tuner.Oracle:
    """An oracle that knows the whole space before its first trial, so that several workers can begin at once.

    Raises:
        UserError: When there is no such algorithm, or what it needs is missing.
    """
    if algorithm not in ALGORITHMS:
        raise UserError(f"tune: `algorithm` is {algorithm!r}. Expected one of {', '.join(map(repr, ALGORITHMS))}.")
    if (algorithm == "hyperband") != (max_epochs is not None):
        raise UserError(
            f"tune: `max_epochs` is {max_epochs!r} with `algorithm={algorithm!r}`. Expected the epochs of a whole "
            f"training with 'hyperband', and None with the others."
        )
    space = keras_tuner.HyperParameters()
    search_space(space)
    options = {"max_epochs": max_epochs, "factor": FACTOR, "hyperband_iterations": num_trials} if max_epochs else {}
    oracle = ALGORITHMS[algorithm](
        objective=objective,
        hyperparameters=space,
        seed=seed + 1,  # KerasTuner takes 0 for "no seed"
        max_consecutive_failed_trials=num_trials + 1,  # failures do not end the search by themselves
        **options,
    )
    oracle.max_trials = num_trials  # Hyperband has no such argument, but heeds it
    oracle.folder, oracle.keep_models, oracle.heard = folder, keep_models, {}
    return oracle
