"""Train the classifier: the head first, on a closed backbone; then more and more of the backbone with it.

Every setting of config.py is a flag. `--weights random` trains the same network without its pretraining, by the same
schedule: what is left of the accuracy then is not transfer's doing.
"""

import datetime
import json
import sys
from pathlib import Path

import keras

from tlkit.callbacks import ProgressiveUnfreezing
from tlkit.data import ImageFolder
from tlkit.distribution import choose_strategy
from tlkit.errors import UserError, exit_on_user_error
from tlkit.finetune import prepare_unfreezing
from tlkit.settings import parse_flags, save_config

from .config import RUNS, Config
from .data import inspect_data, load_datasets, training_class_weights
from .evaluate import evaluate_run, print_table
from .model import build_model


def train(config: Config, run: Path) -> dict[str, list[float]]:
    """Train into the folder `run`; the model of the best epoch is in `run / "model.keras"` at any time."""
    keras.utils.set_random_seed(config.seed)
    keras.config.set_dtype_policy(config.precision)

    # The run's folder is made after data and model: a mistake in them shall not leave an empty one behind.
    data = load_datasets(config)
    class_weight = training_class_weights(data)
    if config.monitor == "val_pr_auc" and not data.multi_label:
        raise UserError(
            "The setting 'monitor' is 'val_pr_auc', which is for multi-label data. Expected val_loss or val_accuracy."
        )

    # Under the scope, several GPUs hold copies of the model. `prepare_unfreezing` lets the optimizer know every weight
    # that may ever train; without it, what is opened later would silently stay as it is.
    with choose_strategy(config.strategy).scope():
        model = build_model(config, len(data.class_names), data.multi_label)
        model.compile(keras.optimizers.Adam(config.learning_rate), **loss_and_metrics(data))
        prepare_unfreezing(model)
    num_stages = len(model.get_layer("backbone").stages)
    if config.stages_to_open > num_stages:
        raise UserError(
            f"The setting 'stages_to_open' is {config.stages_to_open}. Expected at most {num_stages}, "
            f"the stages of '{config.backbone}'."
        )

    run.mkdir(parents=True)
    save_config(config, run / "config.json")
    (run / "class_names.json").write_text(json.dumps(list(data.class_names), ensure_ascii=False), encoding="utf-8")
    if class_weight is not None:
        rare, common = max(class_weight, key=class_weight.get), min(class_weight, key=class_weight.get)
        if class_weight[rare] > 1.2 * class_weight[common]:  # less is not worth a line
            print(
                f"Uneven classes are weighted: a photo of '{data.class_names[rare]}' counts {class_weight[rare]:.2f}, "
                f"one of '{data.class_names[common]}' {class_weight[common]:.2f}."
            )

    callbacks = [
        ProgressiveUnfreezing(
            schedule=config.schedule, learning_rate_multiplier=config.opening_learning_rate_multiplier
        ),
        keras.callbacks.ModelCheckpoint(run / "model.keras", monitor=config.monitor, save_best_only=True),
        # Not before the last stage is open: a head that stands still is the reason to open one, not to stop.
        keras.callbacks.EarlyStopping(
            config.monitor, patience=config.patience, start_from_epoch=config.last_opening, verbose=1
        ),
        keras.callbacks.CSVLogger(run / "history.csv"),
        keras.callbacks.TensorBoard(run / "tensorboard", write_graph=False),
    ]
    history = model.fit(
        data.train,
        validation_data=data.validation,
        epochs=config.epochs,
        class_weight=class_weight,
        shuffle=False,  # by Keras; the training data come in a new order each epoch
        callbacks=callbacks,
        verbose=1 if sys.stdout.isatty() else 2,  # a moving bar on a terminal, one line an epoch in a log
    )
    return history.history


def loss_and_metrics(data: ImageFolder) -> dict:
    """What `compile` needs beside the optimizer: one class of several, or yes and no for every class."""
    if not data.multi_label:
        return {"loss": "sparse_categorical_crossentropy", "metrics": ["accuracy"]}
    areas = keras.metrics.AUC(curve="PR", multi_label=True, num_labels=len(data.class_names), name="pr_auc")
    return {"loss": "binary_crossentropy", "metrics": [keras.metrics.BinaryAccuracy(name="accuracy"), areas]}


def new_run() -> Path:
    """A folder named after the time, so that names sort by age."""
    run = RUNS / datetime.datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
    return run if not run.exists() else run.with_name(f"{run.name}-{datetime.datetime.now().microsecond:06d}")


def main() -> None:
    config, run = parse_flags(Config), new_run()
    report = inspect_data(config) if config.inspect else None
    if report:
        report.print(compact=True)
    try:
        train(config, run)
    except KeyboardInterrupt:
        if not (run / "model.keras").exists():
            raise
        print("\nStopped by hand. The best epoch so far is kept and judged.")
    if report:
        report.save(run)
    print_table([evaluate_run(run)])
    print(f"Model, numbers and pictures: {run}")


if __name__ == "__main__":
    with exit_on_user_error():
        main()
