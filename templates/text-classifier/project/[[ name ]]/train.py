"""Train the classifier: the head first, on a closed backbone; then more and more of the backbone with it.

Every setting of config.py is a flag. A training that was interrupted goes on when the same command runs again;
`--fresh` begins anew. `--weights random` trains the same network without its pretraining, by the same schedule: what is
left of the accuracy then is not transfer's doing.
"""

import dataclasses
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import keras

import tlkit.runs
from tlkit.callbacks import (
    AdaptationRamp,
    AtomicModelCheckpoint,
    DiscriminatorWatch,
    ExactResume,
    LearningRateLogger,
    ProgressiveUnfreezing,
    RunRecord,
)
from tlkit.data import epochs, fingerprint_texts
from tlkit.distribution import check_one_process, choose_strategy, describe_strategy, train_together
from tlkit.domain import AdaptationScores, one_domain
from tlkit.errors import UserError, exit_on_user_error
from tlkit.evaluation import plot_learning_rates
from tlkit.features import fit_on_features
from tlkit.finetune import find_learning_rate
from tlkit.report import write_report
from tlkit.settings import parse_flags, save_config

from .config import BEST, PROJECT, RUNS, Config
from .data import (
    both_domains,
    inspect_data,
    load_datasets,
    load_target,
    say_class_weights,
    say_what_is_cut,
    training_class_weights,
)
from .evaluate import evaluate_run, print_table
from .model import ADVERSARIAL, compile_model

# Without target labels, how an epoch did: all that cost no more than the predictions.
LABEL_FREE_SCORES = ("source_accuracy", "source_score", "target_entropy_score", "target_information", "target_snd")
# What the advice of `DiscriminatorWatch` is called here.
FLAGS = (
    "Here the ramp's `maximum` is --adaptation_weight, its `warm_start` --adaptation_warm_start, `build_cdan` is "
    "--adaptation cdan, and the discriminator is built in model.py."
)


@dataclasses.dataclass(frozen=True)
class TrainConfig(Config):
    """The recipe's settings, and what else this command can do."""

    # Begin anew, even where a training with the same settings was interrupted and would go on.
    fresh: bool = False
    # Do not train: try learning rates on the closed backbone, draw what came of each, and suggest one.
    find_learning_rate: bool = False


def train(
    config: Config, run: Path, callbacks: Sequence[keras.callbacks.Callback] = (), pause_after: int | None = None
) -> dict[str, list[float]]:
    """Train into the folder `run`; the model of the best epoch is in `run / "model.keras"` at any time.

    A training that was interrupted there goes on after its last whole epoch, and ends as if it had not been.
    `callbacks` are called before those of the recipe; with adaptation, they take the place of its label-free scores.
    After `pause_after` epochs it ends early, and keeps what a later call in the same folder goes on from.
    """
    # The run's folder is made after data and model: a mistake in them shall not leave an empty one behind.
    data = load_datasets(config)
    target = load_target(config, data) if config.adapts else None
    model = compile_model(config, data)
    class_weight = training_class_weights(config, data)
    say_class_weights(class_weight, data.class_names)
    say_what_is_cut(model.get_layer("backbone"), data)
    train_epoch, validation, texts = data.train_epoch, data.validation, fingerprint_texts(data.rows)
    if target:  # labelled and unlabelled texts in every batch, and what watches over the two
        train_epoch = both_domains(config, data, target, class_weight)
        validation, class_weight = one_domain(data.validation), None  # the batches hold the weights
        texts |= {f"target {name}": found for name, found in fingerprint_texts(target.rows).items()}
        callbacks = [
            *(callbacks or [AdaptationScores(data.validation, target.held_out, scores=LABEL_FREE_SCORES)]),
            # It sets in slowly: what a beginner makes of the target is noise.
            AdaptationRamp(warm_start=config.adaptation_warm_start, maximum=config.adaptation_weight),
            *(
                [DiscriminatorWatch(epochs(train_epoch, seed=config.seed), hint=FLAGS)]
                if config.adaptation in ADVERSARIAL
                else []
            ),
        ]
    run.mkdir(parents=True, exist_ok=True)
    save_config(config, run / "config.json")
    (run / "class_names.json").write_text(json.dumps(list(data.class_names), ensure_ascii=False), encoding="utf-8")

    resume = ExactResume(run / tlkit.runs.STATE, fingerprint=texts, pause_after=pause_after)
    callbacks = [
        *callbacks,
        ProgressiveUnfreezing(schedule=config.schedule),
        LearningRateLogger(groups=False),
        RunRecord(run, data=texts),
        AtomicModelCheckpoint(run / "model.keras", **config.best_by, save_best_only=True),
        # Not before the last stage is open: a head that stands still is the reason to open one, not to stop.
        keras.callbacks.EarlyStopping(
            **config.best_by, patience=config.patience, start_from_epoch=config.last_opening, verbose=1
        ),
        keras.callbacks.CSVLogger(run / "history.csv"),
        keras.callbacks.TensorBoard(run / "tensorboard", write_graph=False),
        resume,  # last: it saves what the others have done in the epoch
    ]
    options = {
        "initial_epoch": resume.initial_epoch,
        "epochs": config.epochs,
        "class_weight": class_weight,
        "callbacks": callbacks,
        "verbose": 1 if sys.stdout.isatty() else 2,  # a moving bar on a terminal, one line an epoch in a log
    }
    # Either way the order of the texts is a function of seed and epoch, also where a training goes on.
    if config.keep_features and not target:  # what is closed runs once, not in every epoch, where that is faster
        history = fit_on_features(
            model,
            data.train_in_order,
            validation,
            fingerprint=fingerprint_texts(data.rows, times=True),
            seed=config.seed,
            train_epoch=train_epoch,
            **options,
        )
    else:
        batches = epochs(train_epoch, seed=config.seed, first_epoch=resume.initial_epoch)
        history = model.fit(
            batches, steps_per_epoch=len(data.train), validation_data=validation, shuffle=False, **options
        )
    if pause_after is None:
        resume.clear()  # nothing is left to go on with
    return history.history


def suggest_learning_rate(config: Config) -> None:
    """Draw the loss of the labelled texts against the learning rate, and say which one to take."""
    config = dataclasses.replace(config, adaptation="none")
    data = load_datasets(config)
    curve = find_learning_rate(
        compile_model(config, data), data.train, class_weight=training_class_weights(config, data)
    )
    plot_learning_rates(curve).savefig(PROJECT / "learning_rates.png", dpi=120)
    print(f"Loss by learning rate: {PROJECT / 'learning_rates.png'}")
    if curve.suggestion is None:
        print("The loss fell at no learning rate, so none is suggested: look at the data and at the head.")
    else:
        print(f"Train with the suggested one: python -m {__package__}.train --learning_rate {curve.suggestion:.1e}")


def new_run() -> Path:
    """A folder for another run, named after the time."""
    return tlkit.runs.new_run(RUNS)


def main() -> None:
    flags = vars(parse_flags(TrainConfig, best=BEST))
    fresh, only_rates = flags.pop("fresh"), flags.pop("find_learning_rate")
    config = Config(**flags)
    if only_rates:
        check_one_process(config.strategy, "Trying learning rates")
        return suggest_learning_rate(config)
    # Before anything else of TensorFlow runs: several workers must find each other first.
    with train_together(choose_strategy(config.strategy)) as scratch:
        print(describe_strategy(config.strategy, config.batch_size))
        if scratch:  # a worker that helps: only the first one writes, judges and speaks
            train(config, scratch)
        else:
            train_and_judge(config, fresh)


def train_and_judge(config: Config, fresh: bool) -> None:
    """Train in a new run, or go on with an interrupted one; then judge it on texts that it never saw."""
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
