"""Judge trained models on texts that they never saw: numbers, pictures, and the texts that go most wrong.

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
from tlkit.data import TextTable, UnlabelledTexts
from tlkit.distribution import leave_to_chief
from tlkit.errors import UserError, exit_on_user_error
from tlkit.evaluation import (
    accuracy_by_length,
    calibration,
    classification_metrics,
    most_wrong,
    plot_accuracy_by_length,
    plot_calibration,
    plot_confusion_matrix,
    plot_domains,
    plot_learning_curves,
    write_most_wrong_texts,
)
from tlkit.ranking import without_training
from tlkit.report import write_report
from tlkit.settings import load_config

from .config import RUNS, Config
from .data import load_datasets, load_target
from .model import build_encoder, load_classifier

MOST_WRONG = 12  # texts on the page; each is read again without each of its words, up to 65 times
BATCH_SIZE = 256  # texts predicted at once


class Evaluation(NamedTuple):
    """What there is to say about one run; the pictures lie in its folder, too."""

    run: Path
    config: Config
    metrics: dict[str, dict]  # by part: "validation" and, where the data have them, "test" and "target"
    figures: dict[str, Figure]
    texts: list[str]  # those that the model was furthest from the truth about

    @property
    def part(self) -> str:
        """The part that counts: the test texts, or the validation texts where there are no others."""
        return "test" if "test" in self.metrics else "validation"


def evaluate_run(run: Path) -> Evaluation:
    """Judge one run; writes metrics.json, pictures, and most_wrong.html, where words are coloured by what they did.

    The pictures: learning_curves.png, confusion_matrix.png, calibration.png (whether 80 % sure is right in 80 %), and
    accuracy_by_length.png. Where the config names a target, domains.png shows the features of both domains, and
    metrics.json has the target's, too, if its labels are known.
    """
    config = load_config(Config, run / "config.json")
    class_names = load_class_names(run)
    data = load_datasets(config)
    if list(data.class_names) != class_names:
        raise UserError(
            f"The run '{run}' was trained on the classes {', '.join(class_names)}, but '{config.data}' now holds "
            f"{', '.join(data.class_names)}. Bring the old classes back, or train anew."
        )
    model = load_classifier(run / "model.keras")

    metrics = {}
    for part in ("validation", "test") if data.test is not None else ("validation",):
        judged = predict_dataset(model, getattr(data, part))
        metrics[part] = judge(judged, class_names)
    target = load_target(config, data)
    if target and target.labelled is not None:
        metrics["target"] = judge(predict_dataset(model, target.labelled), class_names)
    (run / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n", encoding="utf-8")

    # The pictures are of the last part: the test texts, where there are any.
    openings = [(epoch, number) for epoch, number in config.schedule.items() if number]
    figures = {
        "learning_curves": plot_learning_curves(read_history(run), openings, **config.best_by),
        "confusion_matrix": plot_confusion_matrix(metrics[part]["confusion_matrix"], class_names),
        "calibration": plot_calibration(metrics[part]["calibration"]),
        "accuracy_by_length": plot_accuracy_by_length(metrics[part]["accuracy_by_length"]),
    }
    if target:
        figures["domains"] = plot_features(data, target, [model], [f"Features, adaptation: {config.adaptation}"])
    for name, figure in figures.items():
        figure.savefig(run / f"{name}.png", dpi=120)
    rows = getattr(data.rows, part)
    worst = most_wrong(judged.labels, judged.probabilities, MOST_WRONG)
    texts = rows.read(worst)
    write_most_wrong_texts(
        run / "most_wrong.html",
        texts,
        judged.labels[worst],
        class_names,
        predict=lambda texts: predict_texts(model, texts),
        places=rows.places(worst),
    )
    return Evaluation(run, config, metrics, figures, texts)


class Judged(NamedTuple):
    """What a model says about a part of the data, and what is true."""

    labels: np.ndarray  # class numbers
    probabilities: np.ndarray  # (texts, classes)
    lengths: np.ndarray  # words


def predict_dataset(model: keras.Model, dataset) -> Judged:
    """Go through a part batch by batch: no text stays in memory."""
    labels, probabilities, lengths = [], [], []
    for texts, truth in dataset.as_numpy_iterator():
        labels.extend(truth)
        probabilities.extend(model.predict_on_batch(texts))
        lengths.extend(len(text.split()) for text in texts)
    return Judged(np.array(labels), np.array(probabilities), np.array(lengths))


def judge(judged: Judged, class_names: list[str]) -> dict:
    """The numbers of one part."""
    return {
        **classification_metrics(judged.labels, judged.probabilities, class_names),
        "calibration": calibration(judged.labels, judged.probabilities),
        "accuracy_by_length": accuracy_by_length(judged.labels, judged.probabilities, judged.lengths),
    }


def predict_texts(model: keras.Model, texts: list[str]) -> np.ndarray:
    """Probabilities `(len(texts), num_classes)` of any number of texts."""
    parts = range(0, len(texts), BATCH_SIZE)
    return np.concatenate([model.predict_on_batch(np.array(texts[i : i + BATCH_SIZE], object)) for i in parts])


def plot_features(data: TextTable, target: UnlabelledTexts, models: list[keras.Model], titles: list[str]) -> Figure:
    """What the backbones of one or two models make of texts of both domains that were not trained on."""
    texts = data.validation.map(lambda texts, _: texts)
    encoders = [keras.Model(model.input, model.get_layer("backbone").output) for model in models]
    return plot_domains(
        *((encoder.predict(texts, verbose=0), encoder.predict(target.held_out, verbose=0)) for encoder in encoders),
        source_labels=data.rows.validation.labels,
        target_labels=target.rows.test.labels if target.labelled is not None else None,
        class_names=data.class_names,
        titles=titles,
    )


def plot_before_and_after(before: Path, after: Path) -> Figure:
    """Features of both domains by two runs on the same texts: not adapted and adapted."""
    config = load_config(Config, after / "config.json")
    data = load_datasets(config)
    models = [load_classifier(run / "model.keras") for run in (before, after)]
    titles = ["Before adaptation", f"After adaptation, {config.adaptation}"]
    return plot_features(data, load_target(config, data), models, titles)


def print_table(evaluations: list[Evaluation]) -> None:
    """What there is without training, one row a run, and the gain where two runs can be compared."""
    rows, scores, intervals, on_target = rows_without_training(evaluations), {}, {}, {}
    for evaluation in evaluations:
        metrics, weights, part = evaluation.metrics[evaluation.part], evaluation.config.weights, evaluation.part
        scores.setdefault(part, {}).setdefault(weights, metrics["accuracy"])
        intervals.setdefault(part, {}).setdefault(weights, metrics["accuracy_interval"])
        row = {
            "run": evaluation.run.name,
            "weights": weights,
            "judged on": f"{metrics['num_examples']} {part}",
            **headline(metrics),
        }
        if evaluation.config.target:
            row["adapted"] = evaluation.config.adaptation
        if "target" in evaluation.metrics:
            accuracy = evaluation.metrics["target"]["accuracy"]
            row["target"] = f"{accuracy:.1%}"
            on_target.setdefault(weights, {})[evaluation.config.adaptation] = accuracy
        rows.append(row)
    Console().print(table_of(rows))
    for part, by_weights in scores.items():
        if {"pretrained", "random"} <= by_weights.keys():
            gain = 100 * (by_weights["pretrained"] - by_weights["random"])
            low, high = intervals[part]["pretrained"][0], intervals[part]["random"][1]
            by_chance = " Their intervals overlap: it may be chance." if low < high else ""
            points = f"{gain:+.1f} points of {part} accuracy"
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
            "Where there are no test texts the validation texts judge, by which the best epoch was chosen, too: such\n"
            "figures are somewhat too good. Mark some rows 'test' in a column split, or give `split` a third share."
        )


def rows_without_training(evaluations: list[Evaluation]) -> list[dict[str, str]]:
    """What you get in ten seconds, for each of the backbones: what a training must beat.

    A ridge regression on the closed backbone's features of up to 2,000 training texts, in closed form.
    """
    known, rows = {}, []
    for run, config, metrics, *_ in evaluations:
        part = "test" if "test" in metrics else "validation"
        if config.weights != "pretrained":
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
    low, high = metrics["accuracy_interval"]
    accuracy = f"{metrics['accuracy']:.1%} ({100 * low:.1f} to {100 * high:.1f})"
    return {"accuracy (95 % int.)": accuracy, "balanced": f"{metrics['balanced_accuracy']:.1%}"}


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
