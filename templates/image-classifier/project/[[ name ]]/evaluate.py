"""Judge trained models on photos that they never saw: numbers, and pictures of what goes wrong.

Give several runs to compare them; one with pretrained and one with random weights shows what transfer is worth.
"""

import argparse
import csv
import json
import sys
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Column, Table

import tlkit.runs
from tlkit.data import ImageFolder, UnlabelledImages
from tlkit.distribution import leave_to_chief
from tlkit.errors import UserError, exit_on_user_error
from tlkit.evaluation import (
    calibration,
    classification_metrics,
    example_log_loss,
    multilabel_metrics,
    plot_calibration,
    plot_class_scores,
    plot_confusion_matrix,
    plot_domains,
    plot_learning_curves,
    plot_most_wrong,
)
from tlkit.ranking import without_training
from tlkit.report import write_report
from tlkit.settings import load_config

from .config import RUNS, Config
from .data import load_datasets, load_target
from .model import build_encoder, is_multi_label, load_classifier

MOST_WRONG = 12  # pictures in the gallery


class Evaluation(NamedTuple):
    """What there is to say about one run; the pictures lie in its folder, too."""

    run: Path
    config: Config
    metrics: dict[str, dict]  # by part: "validation" and, where the data have them, "test" and "target"
    figures: dict[str, Figure]

    @property
    def part(self) -> str:
        """The part that counts: the test photos, or the validation photos where there are no others."""
        return "test" if "test" in self.metrics else "validation"


def evaluate_run(run: Path) -> Evaluation:
    """Judge one run; writes metrics.json, learning_curves.png and most_wrong.png into it, and a picture of the classes.

    That picture is confusion_matrix.png, with calibration.png (whether 80 % sure is right in 80 %), or, for multi-label
    data, class_scores.png. Where the config names a target, domains.png shows the features of both domains, and
    metrics.json has the target's, too, if its labels are known.
    """
    config = load_config(Config, run / "config.json")
    class_names = load_class_names(run)
    data = load_datasets(config)
    if list(data.class_names) != class_names:
        raise UserError(
            f"The run '{run}' was trained on the classes {', '.join(class_names)}, but '{config.data}' now holds "
            f"{', '.join(data.class_names)}. Bring the old folders back, or train anew."
        )
    model = load_classifier(run / "model.keras")
    if is_multi_label(model) != data.multi_label:
        raise UserError(
            f"The run '{run}' was trained on {'multi' if is_multi_label(model) else 'single'}-label data, which "
            f"'{config.data}' no longer is. Bring the old labels back, or train anew."
        )

    judge = multilabel_metrics if data.multi_label else classification_metrics
    metrics = {}
    for part in ("validation", "test") if data.test is not None else ("validation",):
        labels, probabilities, worst = predict_dataset(model, getattr(data, part))
        metrics[part] = judge(labels, probabilities, class_names)
        if not data.multi_label:
            metrics[part]["calibration"] = calibration(labels, probabilities)
    target = load_target(config, data)
    if target and target.labelled is not None:
        metrics["target"] = judge(*predict_dataset(model, target.labelled)[:2], class_names)
    (run / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n", encoding="utf-8")

    # The pictures are of the last part: the test photos, where there are any.
    openings = [(epoch, number) for epoch, number in config.schedule.items() if number]
    files = getattr(data.files, part)
    figures = {
        "learning_curves": plot_learning_curves(read_history(run), openings, **config.best_by),
        "class_scores" if data.multi_label else "confusion_matrix": plot_classes(metrics[part], class_names),
        "most_wrong": plot_most_wrong(
            np.stack([example.image for example in worst]),
            [example.label for example in worst],
            np.stack([example.probabilities for example in worst]),
            class_names,
            files=[files[example.number].path for example in worst],
            count=MOST_WRONG,
        ),
    }
    if not data.multi_label:
        figures["calibration"] = plot_calibration(metrics[part]["calibration"])
    if target:
        figures["domains"] = plot_features(data, target, [model], [f"Features, adaptation: {config.adaptation}"])
    for name, figure in figures.items():
        figure.savefig(run / f"{name}.png", dpi=120)
    return Evaluation(run, config, metrics, figures)


def plot_features(data: ImageFolder, target: UnlabelledImages, models: list[keras.Model], titles: list[str]) -> Figure:
    """What the backbones of one or two models make of photos of both domains that were not trained on."""
    photos = data.validation.map(lambda images, _: images)
    encoders = [keras.Model(model.input, model.get_layer("backbone").output) for model in models]
    return plot_domains(
        *((encoder.predict(photos, verbose=0), encoder.predict(target.held_out, verbose=0)) for encoder in encoders),
        source_labels=[file.label for file in data.files.validation],
        target_labels=[file.label for file in target.files.test] if target.labelled is not None else None,
        class_names=data.class_names,
        titles=titles,
    )


def plot_before_and_after(before: Path, after: Path) -> Figure:
    """Features of both domains by two runs on the same photos: not adapted and adapted."""
    config = load_config(Config, after / "config.json")
    data = load_datasets(config)
    models = [load_classifier(run / "model.keras") for run in (before, after)]
    titles = ["Before adaptation", f"After adaptation, {config.adaptation}"]
    return plot_features(data, load_target(config, data), models, titles)


def plot_classes(metrics: dict, class_names: list[str]) -> Figure:
    """Which classes are taken for which; in multi-label data, how well each is found."""
    if "confusion_matrix" in metrics:
        return plot_confusion_matrix(metrics["confusion_matrix"], class_names)
    return plot_class_scores(metrics)


class Example(NamedTuple):
    """One photo and what the model says about it."""

    number: int  # its place in the data set
    image: np.ndarray
    label: int | np.ndarray  # the class number, or a row of 0 and 1
    probabilities: np.ndarray
    loss: float

    @property
    def is_right(self) -> bool:
        """Whether the model names its class; in multi-label data, all of its classes and no other."""
        if np.ndim(self.label) == 0:
            return self.probabilities.argmax() == self.label
        return np.array_equal(self.probabilities > 0.5, self.label > 0.5)


def predict_dataset(model, dataset) -> tuple[np.ndarray, np.ndarray, list[Example]]:
    """True classes, probabilities, and the photos of which the model was furthest from the truth."""
    labels, probabilities, worst = [], [], []
    for images, truth in dataset.as_numpy_iterator():
        predicted = model.predict_on_batch(images)
        numbers = range(len(labels), len(labels) + len(truth))
        labels.extend(truth)
        probabilities.extend(predicted)
        # Only the worst photos so far stay in memory: the data may be larger than it. Misjudged ones come first.
        losses = example_log_loss(truth, predicted)
        worst += [Example(*example) for example in zip(numbers, images, truth, predicted, losses, strict=True)]
        worst = sorted(worst, key=lambda example: (example.is_right, -example.loss))[:MOST_WRONG]
    return np.array(labels), np.array(probabilities), worst


def print_table(evaluations: list[Evaluation]) -> None:
    """What there is without training, one row a run, and the gain where two runs can be compared."""
    rows, scores, intervals, on_target = rows_without_training(evaluations), {}, {}, {}
    for evaluation in evaluations:
        metrics, weights, part = evaluation.metrics[evaluation.part], evaluation.config.weights, evaluation.part
        score = "accuracy" if "accuracy" in metrics else "mean_average_precision"
        scores.setdefault((part, score), {}).setdefault(weights, metrics[score])
        intervals.setdefault((part, score), {}).setdefault(weights, metrics.get("accuracy_interval"))
        judged_on = f"{metrics['num_examples']} {part}"
        row = {"run": evaluation.run.name, "weights": weights, "judged on": judged_on, **headline(metrics)}
        if evaluation.config.target:
            row["adapted"] = evaluation.config.adaptation
        if "target" in evaluation.metrics:
            accuracy = evaluation.metrics["target"]["accuracy"]
            row["target"] = f"{accuracy:.1%}"
            on_target.setdefault(weights, {})[evaluation.config.adaptation] = accuracy
        rows.append(row)
    Console().print(table_of(rows))
    for (part, score), by_weights in scores.items():
        if {"pretrained", "random"} <= by_weights.keys():
            gain = 100 * (by_weights["pretrained"] - by_weights["random"])
            points = f"{gain:+.1f} points of {part} {score.replace('_', ' ')}"
            low, high = intervals[part, score]["pretrained"], intervals[part, score]["random"]
            by_chance = " Their intervals overlap: it may be chance." if low and high and low[0] < high[1] else ""
            print(f"Pretrained over random weights, by the same schedule: {points}.{by_chance}")
    for accuracies in on_target.values():
        for method in accuracies.keys() - {"none"} if "none" in accuracies else ():
            gain = 100 * (accuracies[method] - accuracies["none"])
            print(
                f"Adapted with {method} over not adapted: {gain:+.1f} points of target accuracy, of one training each; "
                f"'python -m {__package__}.compare' tells whether it is chance."
            )
    if any(evaluation.part == "validation" for evaluation in evaluations):
        print(
            "Where there are no test photos the validation photos judge, by which the best epoch was chosen, too: such"
        )
        print("figures are somewhat too good. Set photos aside in a folder test/, or give `split` a third share.")


def rows_without_training(evaluations: list[Evaluation]) -> list[dict[str, str]]:
    """What you get in ten seconds, for each of the backbones: what a training must beat.

    A ridge regression on the closed backbone's features of up to 2,000 training photos, in closed form.
    """
    known, rows = {}, []
    for run, config, metrics, *_ in evaluations:
        part = "test" if "test" in metrics else "validation"
        if config.weights != "pretrained" or "accuracy" not in metrics[part]:
            continue
        key = (config.backbone, config.data, part)
        if key not in known:
            data = load_datasets(config)
            known[key] = without_training(build_encoder(config), data.train, getattr(data, part))
            judged_on = f"{known[key].num_examples} {part}"
            numbers = headline(known[key]._asdict())
            rows.append({"run": "without training", "weights": "pretrained", "judged on": judged_on, **numbers})
        (run / tlkit.runs.FIRST_ROW).write_text(json.dumps(known[key]._asdict()), encoding="utf-8")  # for its report
    return rows


def table_of(rows: list[dict[str, str]]) -> Table:
    """A table of these cells by column, to be read on 80 characters, too."""
    names = dict.fromkeys(name for row in rows for name in row)
    if "adapted" in names and all(row["weights"] == "pretrained" for row in rows):
        del names["weights"]  # the same in every row; there is no room for it
    # The runs of a day differ in the last characters of their names: only what has blanks goes on in a second line.
    columns = (Column(name, no_wrap=name not in ("judged on", "accuracy (95 % int.)")) for name in names)
    table = Table(*columns, box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for row in rows:
        table.add_row(*(row.get(name, "") for name in names))
    return table


def headline(metrics: dict) -> dict[str, str]:
    """The numbers for a table, by column."""
    if "accuracy" in metrics:
        low, high = metrics["accuracy_interval"]
        accuracy = f"{metrics['accuracy']:.1%} ({100 * low:.1f} to {100 * high:.1f})"
        return {"accuracy (95 % int.)": accuracy, "balanced": f"{metrics['balanced_accuracy']:.1%}"}
    columns = {"mean_average_precision": "mAP", "macro_f1": "macro F1", "exact_match": "exact match"}
    return {column: f"{metrics[name]:.1%}" for name, column in columns.items()}


def read_history(run: Path) -> dict[str, list[float]]:
    """The columns of history.csv: losses and accuracies, epoch by epoch."""
    with (run / "history.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    return {name: [float(row[name]) for row in rows] for name in rows[0] if name != "epoch"}


def load_class_names(run: Path) -> list[str]:
    """The classes in the order of the model's outputs."""
    return json.loads((run / "class_names.json").read_text(encoding="utf-8"))


def find_run(run: str | Path | None = None) -> Path:
    """The run that was named (a folder, or its name inside runs/), or else the newest that holds a pretrained model.

    Says so where its training is not at its end: the model is then the best of fewer epochs than were planned.
    """
    found = newest_run() if run is None else named_run(run)
    epochs = tlkit.runs.epochs_so_far(found)
    if epochs is not None:
        planned = load_config(Config, found / "config.json").epochs
        # Not to standard output, which may be read by another program.
        print(
            f"{found}: stopped after epoch {epochs} of {planned}, or still training, so this is the best of those; "
            f"'python -m {__package__}.train', with the flags that it had, goes on with it.",
            file=sys.stderr,
        )
    return found


def newest_run() -> Path:
    """The newest run that holds a pretrained model, or a random one where there is no other."""
    runs = sorted(file.parent for file in RUNS.glob("*/model.keras"))
    if not runs:
        raise UserError(f"There is no trained model in '{RUNS}'. Run 'python -m {__package__}.train' first.")
    pretrained = [run for run in runs if load_config(Config, run / "config.json").weights == "pretrained"]
    return (pretrained or runs)[-1]  # random weights are the baseline that a pretrained run is compared with


def named_run(run: str | Path) -> Path:
    """A folder, given by its path or by its name inside runs/."""
    for folder in (Path(run), RUNS / run):
        if (folder / "model.keras").is_file():
            return folder
    raise UserError(f"There is no trained model in '{run}'. Expected a folder of '{RUNS}' that holds model.keras.")


def main() -> None:
    parser = argparse.ArgumentParser(prog=f"python -m {__package__}.evaluate", description=__doc__)
    parser.add_argument("runs", nargs="*", help="folders in runs/; without any, the newest")
    evaluations = []
    runs = parser.parse_args().runs
    leave_to_chief("Judging a model")
    for run in runs or [None]:
        try:
            evaluations.append(evaluate_run(find_run(run)))
        except UserError as error:
            if len(runs) < 2:
                raise
            print(f"Skipped: {error}")  # `runs/*` may hold one that was stopped in its first epoch
    if not evaluations:
        raise UserError("None of these runs holds a trained model.")
    print_table(evaluations)
    print("Numbers and pictures, on one page:", *(write_report(each.run) for each in evaluations), sep="\n  ")


if __name__ == "__main__":
    with exit_on_user_error():
        main()
