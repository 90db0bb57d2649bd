"""A search for the best settings of anything that trains: KerasTuner's oracles, our progress, errors and files."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras_tuner
import tensorflow as tf

from tlkit.errors import UserError
from tlkit.tuning.files import claim_folder, full_disk, is_disk_full, size_in_words
from tlkit.tuning.oracles import make_oracle
from tlkit.tuning.progress import Progress
from tlkit.tuning.trial import Trial
from tlkit.tuning.trial_runner import DiskFull, TrialRunner
from tlkit.tuning.workers import as_child, role, search_with_workers, share


def tune(
    run: Callable[..., dict[str, float]],
    search_space: Callable[[keras_tuner.HyperParameters], dict[str, Any]],
    *,
    num_trials: int,
    folder: str | Path,
    objective: str,
    direction: str | None = None,
    seed: int,
    algorithm: str = "random",
    max_epochs: int | None = None,
    keep_models: int = 3,
    workers: int = 1,
    listen: str | None = None,
    chief: str | None = None,
    shared_settings: dict[str, Any] | None = None,
) -> list[Trial]:
    """Try settings, each with one call of `run`, and rank them.

    The first trial takes the defaults named in `search_space`, so a search finds nothing worse than them. A trial that
    raises, runs out of memory or ends in NaN is recorded with its reason and the search goes on. Killed at any moment
    and called again with the same folder, it goes on where it stopped and ends as if it had not been killed: finished
    trials are kept, and the one that was running finds what it had written below `folder / "state"`
    (`ExactResume(folder / tlkit.runs.STATE)` does all of that). With a larger `num_trials`, a search is extended. A
    full disk stops it in order.

    Hyperband trains many a few epochs, and goes on with the best third of them for three times as many, again and
    again. `run` is then called as `run(settings, folder, epochs=n)`, to train up to epoch `n`; where a trial goes on,
    `folder` is a copy of what the earlier round left in its own. A round counts as a trial.

    With several `workers` the command that was typed is run again by each of them, with KerasTuner's variables in its
    environment; its `tune` with the same arguments then runs trials and ends the process. Nothing that comes before
    `tune` may mind being run several times. What each says is in `folder / "workers"`. A worker that dies is started
    again and goes on with its trial; that of a worker which is silent for five minutes, its machine perhaps gone, is
    given to another.

    Args:
        run: Called with the settings of a trial and a folder of its own, which does not exist yet unless there is
            something in it to go on from; trains and returns numbers by name, `objective` among them.
        search_space: Called with KerasTuner's `HyperParameters`; draws from it (`hp.Float`, `hp.Int`, `hp.Choice`, …)
            and returns the settings, a dict that JSON can hold.
        num_trials: Trials in all, counting finished ones of earlier calls, and failed ones.
        folder: Where the search is kept.
        objective: Name of the number that decides.
        direction: "min" or "max". Defaults to "min" for names that hold "loss" or "error", else "max".
        seed: Seeds the draws.
        algorithm: "random" (the sturdiest, and for few trials as good as any), "bayesian" (a model of the scores
            chooses; from about 3 trials a searched setting), "hyperband", or "grid" (every combination, the last named
            setting fastest; of a `Float` without `step`, ten values).
        max_epochs: With "hyperband", and only then: the epochs of a whole training.
        keep_models: Of how many best trials the files `*.keras` and `*.h5` stay in their folders.
        workers: How many processes run trials on this machine at once. Each has its share of the cores, or a graphics
            card.
        listen: "HOST:PORT" where other machines may ask for trials, such as "0.0.0.0:5000". There is no password: only
            in a network that you trust. Defaults to none.
        chief: "HOST:PORT" of a search that listens on another machine: this one only helps, and then ends the process.
            `folder` must be the same folder, on a disk that both have; without it, each keeps the files of its own
            trials, and Hyperband cannot go on.
        shared_settings: What all trials have in common, a dict that JSON can hold. It is kept with the search, and a
            later call with others is refused: their scores could not be compared.

    Returns:
        Every trial, best first; failed ones last.

    Raises:
        UserError: When all trials failed (at once when the first three did), `run` does not return `objective`,
            `folder` holds another search, or the disk is full.

    Example:
        trials = tune(
            lambda settings, folder: {"loss": (settings["x"] - 1) ** 2},
            lambda hp: {"x": hp.Float("x", -2.0, 2.0)},
            num_trials=20, folder="search", objective="loss", seed=1,
        )
        trials[0].settings
    """
    folder = Path(folder).resolve()
    direction = _check(num_trials, keep_models, workers, objective, direction)
    oracle = make_oracle(
        algorithm,
        search_space,
        keras_tuner.Objective(objective, direction),
        num_trials=num_trials,
        seed=seed,
        folder=folder,
        max_epochs=max_epochs,
        keep_models=keep_models,
    )
    description = {"objective": objective, "direction": direction, "seed": seed}
    if algorithm != "random":  # searches of before there were others name none
        description |= {"algorithm": algorithm, "max_epochs": max_epochs}
    progress = Progress(folder, num_trials, objective, direction, workers)
    try:
        claim_folder(folder, (shared_settings or {}) | description)
        if role() is not None:
            with as_child(folder):
                _search(TrialRunner(run, search_space, oracle))
            raise SystemExit(0)
        if share() is not None:  # of what comes after the search
            return _results(_open_search(run, search_space, oracle))
        if chief or listen or workers > 1:
            _search_with_others(progress, workers, listen, chief)
            if chief:
                print(f"The search has ended; its results are where {chief} is.")
                raise SystemExit(0)
            return _results(_open_search(run, search_space, oracle))
        runner = _open_search(run, search_space, oracle)
        with progress.shown():
            _search(runner)
    except OSError as error:
        if not is_disk_full(error):
            raise
        raise DiskFull(full_disk(folder)) from error
    return _results(runner)


def _check(num_trials: int, keep_models: int, workers: int, objective: str, direction: str | None) -> str:
    """Refuse what cannot be; returns the direction."""
    for name, value, least in (("num_trials", num_trials, 1), ("keep_models", keep_models, 0), ("workers", workers, 1)):
        if value < least:
            raise UserError(f"tune: `{name}` is {value}. Expected at least {least}.")
    if direction is None:
        direction = "min" if "loss" in objective or "error" in objective else "max"
    if direction not in ("min", "max"):
        raise UserError(f"tune: `direction` is {direction!r}. Expected 'min' or 'max'.")
    return direction


def _open_search(run, search_space, oracle: keras_tuner.Oracle) -> TrialRunner:
    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(said):
            runner = TrialRunner(run, search_space, oracle)
    except (ValueError, KeyError, RuntimeError) as error:
        raise UserError(
            f"The search in '{oracle.folder}' is damaged and cannot go on ({error}). Remove the folder."
        ) from error
    if not runner.is_worker and oracle.end_order:
        print(f"Going on with the search in {oracle.folder}: {len(oracle.end_order)} trials are done.")
    return runner


def _search(runner: TrialRunner) -> None:
    with warnings.catch_warnings():
        # keras_tuner 1.4.8 calls threading.currentThread(), deprecated since Python 3.10.
        warnings.filterwarnings("ignore", category=DeprecationWarning, module="keras_tuner")
        # It takes the best of a failed trial's numbers, of which there are none.
        warnings.filterwarnings("ignore", "All-NaN", RuntimeWarning)
        runner.search(verbose=0)  # its own display clears the screen


def _search_with_others(progress: Progress, workers: int, listen: str | None, chief: str | None) -> None:
    num_gpus = len(tf.config.list_physical_devices("GPU"))
    progress.skip_known()
    with progress.shown():
        search_with_workers(
            progress.folder, workers, listen=listen, chief=chief, num_gpus=num_gpus, watch=progress.print_news
        )


def _results(runner: TrialRunner) -> list[Trial]:
    trials = runner.ranked_trials()
    if trials[0].score is None:
        first = runner.oracle.end_order[0]
        reason = next(t.failure for t in trials if t.folder == runner.folder_of(first))
        raise UserError(f"All {len(trials)} trials failed; the first one with: {reason}")
    models = len({file.parent for file in runner.folder.glob("trial_*/run/*.keras")})
    kept = f", the models of {models} trials among it" if models else ""
    print(f"{len(trials)} trials in {runner.folder}, which takes {size_in_words(runner.folder)}{kept}.")
    return trials
