"""Train the detector: pyramid and head first, on a closed backbone; then more and more of the backbone with them.

Every setting of config.py is a flag. A training that was interrupted goes on when the same command runs again;
`--fresh` begins anew. `--weights random` trains the same network without its pretraining, by the same schedule: what is
left of the average precision then is not transfer's doing.
"""

import dataclasses
import functools
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import keras

import tlkit.runs
from tlkit.callbacks import AtomicModelCheckpoint, ExactResume, LearningRateLogger, ProgressiveUnfreezing, RunRecord
from tlkit.data import epochs, fingerprint_boxes
from tlkit.detection import CocoMetrics, detection_targets
from tlkit.distribution import choose_strategy, describe_strategy, train_together
from tlkit.errors import UserError, exit_on_user_error
from tlkit.report import write_report
from tlkit.settings import parse_flags, save_config

from .config import BEST, RUNS, Config
from .data import inspect_data, load_datasets, training_epoch
from .evaluate import evaluate_run, print_table
from .model import compile_model, predicting_model


@dataclasses.dataclass(frozen=True)
class TrainConfig(Config):
    """The recipe's settings, and what else this command can do."""

    # Begin anew, even where a training with the same settings was interrupted and would go on.
    fresh: bool = False


def train(
    config: Config, run: Path, callbacks: Sequence[keras.callbacks.Callback] = (), pause_after: int | None = None
) -> dict[str, list[float]]:
    """Train into the folder `run`; the model of the best epoch is in `run / "model.keras"` at any time.

    A training that was interrupted there goes on after its last whole epoch, and ends as if it had not been.
    `callbacks` are called before those of the recipe.
    After `pause_after` epochs it ends early, and keeps what a later call in the same folder goes on from.
    """
    # The run's folder is made after data and model: a mistake in them shall not leave an empty one behind.
    data = load_datasets(config)
    model = compile_model(config, data)
    run.mkdir(parents=True, exist_ok=True)
    save_config(config, run / "config.json")
    (run / "class_names.json").write_text(json.dumps(list(data.class_names), ensure_ascii=False), encoding="utf-8")

    boxes = fingerprint_boxes(data.rows)
    resume = ExactResume(run / tlkit.runs.STATE, fingerprint=boxes, pause_after=pause_after)
    callbacks = [
        *callbacks,
        ProgressiveUnfreezing(schedule=config.schedule),
        LearningRateLogger(groups=False),
        RunRecord(run, data=boxes),
        # What it finds in the validation images, for those below to choose by.
        CocoMetrics(data.validation, data.class_names, predict_model=functools.partial(predicting_model, config)),
        AtomicModelCheckpoint(run / "model.keras", **config.best_by, save_best_only=True),
        # Not before the last stage is open: a head that stands still is the reason to open one, not to stop.
        keras.callbacks.EarlyStopping(
            **config.best_by, patience=config.patience, start_from_epoch=config.last_opening, verbose=1
        ),
        keras.callbacks.CSVLogger(run / "history.csv"),
        keras.callbacks.TensorBoard(run / "tensorboard", write_graph=False),
        resume,  # last: it saves what the others have done in the epoch
    ]
    history = model.fit(
        # The order of the images is a function of seed and epoch, also where a training goes on.
        epochs(training_epoch(data), seed=config.seed, first_epoch=resume.initial_epoch),
        steps_per_epoch=len(data.train),
        initial_epoch=resume.initial_epoch,
        epochs=config.epochs,
        validation_data=data.validation.map(detection_targets),
        shuffle=False,  # by Keras
        callbacks=callbacks,
        verbose=1 if sys.stdout.isatty() else 2,  # a moving bar on a terminal, one line an epoch in a log
    )
    if pause_after is None:
        resume.clear()  # nothing is left to go on with
    return history.history


def new_run() -> Path:
    """A folder for another run, named after the time."""
    return tlkit.runs.new_run(RUNS)


def main() -> None:
    flags = vars(parse_flags(TrainConfig, best=BEST))
    fresh = flags.pop("fresh")
    config = Config(**flags)
    # Before anything else of TensorFlow runs: several workers must find each other first.
    with train_together(choose_strategy(config.strategy)) as scratch:
        print(describe_strategy(config.strategy, config.batch_size))
        if scratch:  # a worker that helps: only the first one writes, judges and speaks
            train(config, scratch)
        else:
            train_and_judge(config, fresh)


def train_and_judge(config: Config, fresh: bool) -> None:
    """Train in a new run, or go on with an interrupted one; then judge it on images that it never saw."""
    run = None if fresh else tlkit.runs.find_interrupted(RUNS, config)
    if run:
        print(f"Going on with the interrupted training in {run}; --fresh begins anew.")
    run = run or new_run()
    report = inspect_data(config) if config.inspect else None
    if report:
        report.print(compact=True)
    try:
        train(config, run)
    except KeyboardInterrupt:
        if not (run / "model.keras").exists():
            raise UserError("Stopped by hand before the first epoch was over: there is nothing to keep.") from None
        print("\nStopped by hand. The best epoch so far is kept and judged; the same command goes on with it.")
    if report:
        report.save(run)
    print_table([evaluate_run(run)])
    print(f"Model, numbers and pictures: {run}\nAll of it on one page: {write_report(run)}")


if __name__ == "__main__":
    with exit_on_user_error():
        main()
