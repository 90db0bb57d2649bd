"""What asks the oracle for settings, runs a trial with them, and reports what came of it."""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import keras
import keras_tuner

from tlkit.errors import UserError
from tlkit.tuning.files import (
    BEGUN,
    FAILURE,
    METRICS,
    RUN,
    begin_run,
    full_disk,
    is_disk_full,
    read_json,
    write_json,
)
from tlkit.tuning.trial import Trial, rank, read_trial, short

# When the first trials all fail, it is a mistake in `run` or in the settings that trials share, not bad luck.
FAILURES_AT_THE_START = 3
# A worker that dies gets its trial back; one that kills its worker so often (memory, mostly) is a failed one.
DEATHS = 3
BEAT = 10.0  # seconds between two signs of life of a worker
_IDLE_SECONDS = 0.5  # between two questions, when nothing can begin before other workers have finished
_LONGEST_REASON = 400  # characters: TensorFlow writes pages


class TrialRunner(keras_tuner.engine.base_tuner.BaseTuner):
    """KerasTuner's documented way to tune anything, an own `run_trial`: nothing is deep-copied or saved by it.

    https://keras.io/keras_tuner/getting_started/ ("Tune any function", by overriding `Tuner.run_trial`)
    """

    def __init__(self, run: Callable[..., dict[str, float]], draw_settings: Callable, oracle: keras_tuner.Oracle):
        self.run = run
        self.draw_settings = draw_settings
        self.folder: Path = oracle.folder
        self.num_trials: int = oracle.max_trials
        self._idle = False
        super().__init__(oracle, directory=str(self.folder.parent), project_name=self.folder.name)
        self.is_worker = not isinstance(self.oracle, keras_tuner.Oracle)
        if not self.is_worker and any(self.folder.glob("oracle.json*")):
            self.oracle.reload()

    def save(self) -> None:
        """Have the oracle saved; nothing else here has a state."""
        if isinstance(self.oracle, keras_tuner.Oracle):
            self.oracle.save()

    def reload(self) -> None:
        """Nothing, for KerasTuner's constructor: see there below it."""

    def pre_create_trial(self) -> None:
        if self._idle:
            time.sleep(_IDLE_SECONDS)
        self._idle = True

    def on_trial_begin(self, trial) -> None:
        self._idle = False

    def run_trial(self, trial, **_) -> dict[str, float]:
        objective, folder = self.oracle.objective, self.folder_of(trial.trial_id)
        metrics = read_json(folder.with_name(METRICS))
        if metrics is None:  # else the process died between the end of the trial and its report
            with self._signs_of_life(trial.trial_id):
                metrics = self._run(trial, folder)
        return {objective.name: math.nan} if metrics is None else metrics

    @contextlib.contextmanager
    def _signs_of_life(self, trial_id: str) -> Iterator[None]:
        """Let the chief know while the block runs that this worker has not been lost."""
        ended = threading.Event()

        def ask():
            with contextlib.suppress(grpc.RpcError):  # the chief has ended, which the search will hear of
                while not ended.wait(BEAT):
                    self.oracle.get_trial(trial_id)

        if self.is_worker:
            threading.Thread(target=ask, daemon=True).start()
        try:
            yield
        finally:
            ended.set()

    def _run(self, trial, folder: Path) -> dict[str, float] | None:
        """Call `run`; None when the trial failed. Not raised: KerasTuner would print a traceback for each."""
        settings = self.draw_settings(trial.hyperparameters)
        number, name = f"Trial {int(trial.trial_id) + 1} of {self.num_trials}", self.oracle.objective.name
        values = trial.hyperparameters.values
        this_round = {"epochs": values["tuner/epochs"]} if "tuner/epochs" in values else {}
        earlier = self.folder_of(values["tuner/trial_id"]) if values.get("tuner/trial_id") else None
        begun, started = self._note_beginning(folder), time.monotonic()
        said = ", ".join(f"{key}={short(value)}" for key, value in (settings | this_round).items())
        print(f"{number}: {said}", flush=True)
        try:
            if begun["deaths"] >= DEATHS:
                raise UserError(f"The process that ran it died {DEATHS} times, perhaps for want of memory.")
            begin_run(folder, settings, earlier)
            metrics = {key: float(value) for key, value in self.run(settings, folder, **this_round).items()}
            if not math.isfinite(metrics.get(name, 0.0)):
                raise ArithmeticError(f"{name} became {metrics[name]}")
            if name in metrics:
                write_json(folder.with_name(METRICS), metrics)
        except Exception as error:
            if is_disk_full(error):
                raise DiskFull(full_disk(self.folder)) from error
            reason = reason_of(error)
            folder.with_name(FAILURE).write_text(reason, encoding="utf-8")
            print(f"{number} failed. {reason}", flush=True)
            return None
        finally:
            keras.utils.clear_session()  # a search of a night must not keep every model it built
        if name not in metrics:
            raise NoObjective(f"`run` returned {sorted(metrics)} but the objective is '{name}'.")
        print(f"{number}: {name} {short(metrics[name])} after {time.monotonic() - started:.0f} s", flush=True)
        return metrics

    def _note_beginning(self, folder: Path) -> dict[str, Any]:
        """Who runs the trial since when, for those who watch, and how often it has taken its process along."""
        deaths = (read_json(folder.with_name(BEGUN)) or {"deaths": 0})["deaths"]
        begun = {"worker": self.tuner_id, "since": time.time(), "deaths": deaths}
        write_json(folder.with_name(BEGUN), begun)
        return begun

    def on_trial_end(self, trial) -> None:
        folder = self.folder_of(trial.trial_id).parent
        failure = folder / FAILURE
        if failure.exists():
            trial.status, trial.message = "FAILED", failure.read_text(encoding="utf-8")
        super().on_trial_end(trial)
        begun = read_json(folder / BEGUN)
        if begun is not None and "seconds" not in begun:
            write_json(folder / BEGUN, {**begun, "seconds": time.time() - begun["since"]})
        if failure.exists() and not any(self.folder.glob(f"trial_*/{METRICS}")):
            failed = len([*self.folder.glob(f"trial_*/{FAILURE}")])
            if failed >= FAILURES_AT_THE_START:  # above it when two workers fail at once
                raise UserError(
                    f"The first {failed} trials all failed, the last one with: {trial.message} Mend that, remove the "
                    f"folder '{self.folder}' and start again."
                )

    def folder_of(self, trial_id: str) -> Path:
        return Path(self.get_trial_dir(trial_id)) / RUN

    def ranked_trials(self) -> list[Trial]:
        """What the oracle knows, best first."""
        trials = [self.oracle.trials[trial_id] for trial_id in self.oracle.end_order]
        found = [read_trial(trial, self.folder_of(trial.trial_id).parent, self.draw_settings) for trial in trials]
        return rank(found, self.oracle.objective.direction)


class NoObjective(keras_tuner.errors.FatalError, UserError):
    """A mistake that every trial would repeat: KerasTuner lets a FatalError end the search."""


class DiskFull(keras_tuner.errors.FatalError, UserError):
    """No trial's fault: it goes on when there is room."""


def reason_of(error: Exception) -> str:
    """Why a trial failed, in a line."""
    if isinstance(error, UserError):
        return str(error)
    text = f"{type(error).__name__}: {error}".strip().splitlines()[0]
    if len(text) > _LONGEST_REASON:
        text = f"{text[: _LONGEST_REASON - 1]}…"
    if type(error).__name__ == "ResourceExhaustedError":  # TensorFlow's; importing it here would be for this alone
        text += " A smaller batch_size needs less memory."
    return text
