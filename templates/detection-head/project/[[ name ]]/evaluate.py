"""Judge trained detectors on images that they never saw: COCO's numbers, and pictures of what goes wrong.

Give several runs to compare them; one with pretrained and one with random weights shows what transfer is worth.
"""

import argparse
import csv
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf
from matplotlib.figure import Figure
from PIL import Image, ImageOps
from rich.console import Console
from rich.table import Column, Table

import tlkit.runs
from tlkit.data import LabelledImage, to_original_pixels
from tlkit.detection import count_mistakes, evaluate_boxes, keep_surest
from tlkit.distribution import leave_to_chief
from tlkit.errors import UserError, exit_on_user_error
from tlkit.evaluation import plot_boxes, plot_learning_curves, plot_precision_recall
from tlkit.report import write_report
from tlkit.settings import load_config

from .config import RUNS, Config
from .data import load_datasets
from .model import load_class_names, load_detector

SHOWN = 6  # images in each gallery


class Evaluation(NamedTuple):
    """What there is to say about one run; the pictures lie in its folder, too."""

    run: Path
    config: Config
    metrics: dict[str, dict]  # by part: "validation" and, where the data have it, "test"
    figures: dict[str, Figure]

    @property
    def part(self) -> str:
        """The part that counts: the test images, or the validation images where there are no others."""
        return "test" if "test" in self.metrics else "validation"


def evaluate_run(run: Path) -> Evaluation:
    """Judge one run; writes metrics.json and four pictures into it.

    learning_curves.png; precision_recall.png, a curve a class; examples.png and worst.png, true boxes and found ones
    side by side, of the first images and of those with the most mistakes.
    """
    config = load_config(Config, run / "config.json")
    class_names = load_class_names(run)
    data = load_datasets(config)
    if list(data.class_names) != class_names:
        raise UserError(
            f"The run '{run}' was trained on the classes {', '.join(class_names)}, but '{config.data}' now holds "
            f"{', '.join(data.class_names)}. Bring the old boxes back, or train anew."
        )
    model = load_detector(run)
    metrics = {}
    for part in ("validation", "test") if data.test is not None else ("validation",):
        rows, batches = getattr(data.rows, part), getattr(data, part)
        found = detect_dataset(model, batches, rows)
        metrics[part] = evaluate_boxes(rows, found, class_names)
    (run / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n", encoding="utf-8")

    # The pictures are of the last part: the test images, where there are any.
    openings = [(epoch, number) for epoch, number in config.schedule.items() if number]
    shown = [keep_sure(each, config) for each in found]
    worst = most_mistakes(rows, shown)
    figures = {
        "learning_curves": plot_learning_curves(read_history(run), openings, **config.best_by),
        "precision_recall": plot_precision_recall(metrics[part]),
        "examples": plot_some(rows, shown, range(min(SHOWN, len(rows))), class_names),
        "worst": plot_some(rows, shown, worst, class_names),
    }
    for name, figure in figures.items():
        figure.savefig(run / f"{name}.png", dpi=120)
    return Evaluation(run, config, metrics, figures)


def detect_dataset(model: keras.Model, batches: tf.data.Dataset, rows: list[LabelledImage]) -> list[dict]:
    """What the model finds in each image: "boxes" in pixels of the file, "scores" and "labels"."""
    found = []
    for images, _ in batches:
        found += detections(
            model, images.numpy(), [(row.width, row.height) for row in rows[len(found) :][: len(images)]]
        )
    return found


def detections(model: keras.Model, images: np.ndarray, original_sizes: list[tuple[int, int]]) -> list[dict]:
    """What the model finds in a batch of resized images, in pixels of the files of these widths and heights."""
    answer = model.predict_on_batch(images)
    boxes = to_original_pixels(answer["boxes"], original_sizes, images.shape[1])
    return [
        {
            "boxes": boxes[i][: answer["num_detections"][i]],
            "scores": answer["scores"][i][: answer["num_detections"][i]],
            "labels": answer["labels"][i][: answer["num_detections"][i]],
        }
        for i in range(len(images))
    ]


def keep_sure(found: dict, config: Config, score: float | None = None) -> dict:
    """What is worth showing of an image's detections: the surest of those that overlap, from a score on."""
    score = config.shown_score if score is None else score
    return keep_surest(found, score_threshold=score, iou_threshold=config.suppression_overlap)


def most_mistakes(rows: list[LabelledImage], shown: list[dict]) -> list[int]:
    """The numbers of the images with the most missed and invented boxes, the worst first."""
    mistakes = [count_mistakes(row, each, score_threshold=0) for row, each in zip(rows, shown, strict=True)]
    order = np.argsort([-(each.missed + each.false) for each in mistakes], kind="stable")
    return order[:SHOWN].tolist()


def plot_some(rows: list[LabelledImage], shown: list[dict], numbers: Iterable[int], class_names: list[str]) -> Figure:
    """Some of the images, with true boxes on the left and found ones on the right."""
    chosen = [rows[number] for number in numbers]
    return plot_boxes(
        [np.asarray(ImageOps.exif_transpose(Image.open(row.path)).convert("RGB")) for row in chosen],
        chosen,
        class_names,
        [shown[number] for number in numbers],
        score_threshold=0,
        titles=[row.path.name for row in chosen],
    )


def read_history(run: Path) -> dict[str, list[float]]:
    """The columns of history.csv: losses and average precisions, epoch by epoch."""
    with (run / "history.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    return {name: [float(row[name]) for row in rows] for name in rows[0] if name != "epoch"}


def print_table(evaluations: list[Evaluation]) -> None:
    """One row a run, and the gain where a pretrained and a random one can be compared."""
    table = Table(
        Column("run", no_wrap=True),
        *("weights", "judged on", "mAP50", "mAP", "AP50 by class"),
        box=None,
        pad_edge=False,
        padding=(0, 2, 0, 0),
    )
    scores: dict[str, dict[str, float]] = {}
    for evaluation in evaluations:
        metrics, weights, part = evaluation.metrics[evaluation.part], evaluation.config.weights, evaluation.part
        scores.setdefault(part, {}).setdefault(weights, metrics["map50"])
        by_class = ", ".join(
            f"{name} {each['ap50']:.2f}" for name, each in metrics["per_class"].items() if each["ap50"] is not None
        )
        judged_on = f"{metrics['num_boxes']} boxes, {metrics['num_images']} {part} images"
        table.add_row(
            evaluation.run.name, weights, judged_on, f"{metrics['map50']:.3f}", f"{metrics['map']:.3f}", by_class
        )
    Console().print(table)
    for part, by_weights in scores.items():
        if {"pretrained", "random"} <= by_weights.keys():
            gain = by_weights["pretrained"] - by_weights["random"]
            print(f"Pretrained over random weights, by the same schedule: {gain:+.3f} of {part} mAP50.")
    if any(evaluation.part == "validation" for evaluation in evaluations):
        print(
            "Where there are no test images the validation images judge, by which the best epoch was chosen, too: such"
        )
        print("figures are somewhat too good. Give `split` a third share.")


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
