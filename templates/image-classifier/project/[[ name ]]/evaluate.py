"""Judge trained models on photos that they never saw: numbers, and pictures of what goes wrong.

Give several runs to compare them; one with pretrained and one with random weights shows what transfer is worth.
"""

import argparse
import csv
import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

import tlkit
from tlkit.errors import UserError, exit_on_user_error
from tlkit.evaluation import classification_metrics, plot_confusion_matrix, plot_learning_curves, plot_most_wrong
from tlkit.settings import load_config

from .config import RUNS, Config
from .data import load_datasets

MOST_WRONG = 12  # pictures in the gallery


class Evaluation(NamedTuple):
    """What there is to say about one run; the pictures lie in its folder, too."""

    run: Path
    config: Config
    metrics: dict[str, dict]  # by part: "validation" and, where the data have it, "test"
    figures: dict[str, Figure]

    @property
    def part(self) -> str:
        """The part that counts: the test photos, or the validation photos where there are no others."""
        return "test" if "test" in self.metrics else "validation"


def evaluate_run(run: Path) -> Evaluation:
    """Judge one run; writes metrics.json, learning_curves.png, confusion_matrix.png and most_wrong.png into it."""
    config = load_config(Config, run / "config.json")
    class_names = load_class_names(run)
    data = load_datasets(config)
    if list(data.class_names) != class_names:
        raise UserError(
            f"The run '{run}' was trained on the classes {', '.join(class_names)}, but '{config.data}' now holds "
            f"{', '.join(data.class_names)}. Bring the old folders back, or train anew."
        )
    model = tlkit.load_model(run / "model.keras", compile=False)

    metrics = {}
    for part in ("validation", "test") if data.test is not None else ("validation",):
        labels, probabilities, worst = predict_dataset(model, getattr(data, part))
        metrics[part] = classification_metrics(labels, probabilities, class_names)
    (run / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n", encoding="utf-8")

    # The pictures are of the last part: the test photos, where there are any.
    openings = [(epoch, number) for epoch, number in config.schedule.items() if number]
    files = getattr(data.files, part)
    figures = {
        "learning_curves": plot_learning_curves(read_history(run), openings),
        "confusion_matrix": plot_confusion_matrix(metrics[part]["confusion_matrix"], class_names),
        "most_wrong": plot_most_wrong(
            np.stack([example.image for example in worst]),
            [example.label for example in worst],
            np.stack([example.probabilities for example in worst]),
            class_names,
            files=[files[example.number].path for example in worst],
            count=MOST_WRONG,
        ),
    }
    for name, figure in figures.items():
        figure.savefig(run / f"{name}.png", dpi=120)
    return Evaluation(run, config, metrics, figures)


class Example(NamedTuple):
    """One photo and what the model says about it."""

    number: int  # its place in the data set
    image: np.ndarray
    label: int
    probabilities: np.ndarray


def predict_dataset(model, dataset) -> tuple[np.ndarray, np.ndarray, list[Example]]:
    """True classes, probabilities, and the photos whose own class got least of them."""
    labels, probabilities, worst = [], [], []
    for images, truth in dataset.as_numpy_iterator():
        predicted = model.predict_on_batch(images)
        numbers = range(len(labels), len(labels) + len(truth))
        labels.extend(truth)
        probabilities.extend(predicted)
        # Only the worst photos so far stay in memory: the data may be larger than it.
        worst += [Example(*example) for example in zip(numbers, images, truth, predicted, strict=True)]
        worst = sorted(worst, key=lambda example: example.probabilities[example.label])[:MOST_WRONG]
    return np.array(labels), np.array(probabilities), worst


def print_table(evaluations: list[Evaluation]) -> None:
    """One row a run, and the gain where a pretrained and a random one can be compared."""
    table = Table(
        "run",
        "weights",
        "judged on",
        "accuracy (95 % int.)",
        "balanced",
        box=None,
        pad_edge=False,
        padding=(0, 2, 0, 0),
    )
    accuracy = {}
    for evaluation in evaluations:
        metrics, weights = evaluation.metrics[evaluation.part], evaluation.config.weights
        accuracy.setdefault((evaluation.part, weights), metrics["accuracy"])
        low, high = metrics["accuracy_interval"]
        table.add_row(
            evaluation.run.name,
            weights,
            f"{metrics['num_examples']} {evaluation.part}",
            f"{metrics['accuracy']:.1%} ({100 * low:.1f} to {100 * high:.1f})",
            f"{metrics['balanced_accuracy']:.1%}",
        )
    Console().print(table)
    for part in ("test", "validation"):
        if {(part, "pretrained"), (part, "random")} <= accuracy.keys():
            gain = 100 * (accuracy[part, "pretrained"] - accuracy[part, "random"])
            print(f"Pretrained over random weights, by the same schedule: {gain:+.1f} points of {part} accuracy.")


def read_history(run: Path) -> dict[str, list[float]]:
    """The columns of history.csv: losses and accuracies, epoch by epoch."""
    with (run / "history.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    return {name: [float(row[name]) for row in rows] for name in rows[0] if name != "epoch"}


def load_class_names(run: Path) -> list[str]:
    """The classes in the order of the model's outputs."""
    return json.loads((run / "class_names.json").read_text(encoding="utf-8"))


def find_run(run: str | Path | None = None) -> Path:
    """The run that was named (a folder, or its name inside runs/), or else the newest that holds a model."""
    if run is None:
        runs = sorted(RUNS.glob("*/model.keras"))
        if not runs:
            raise UserError(f"There is no trained model in '{RUNS}'. Run 'python -m {__package__}.train' first.")
        return runs[-1].parent
    for folder in (Path(run), RUNS / run):
        if (folder / "model.keras").is_file():
            return folder
    raise UserError(f"There is no trained model in '{run}'. Expected a folder of '{RUNS}' that holds model.keras.")


def main() -> None:
    parser = argparse.ArgumentParser(prog=f"python -m {__package__}.evaluate", description=__doc__)
    parser.add_argument("runs", nargs="*", help="folders in runs/; without any, the newest")
    evaluations = []
    runs = parser.parse_args().runs
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
    print("Numbers and pictures:", *(evaluation.run for evaluation in evaluations), sep="\n  ")


if __name__ == "__main__":
    with exit_on_user_error():
        main()
