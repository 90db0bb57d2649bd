"""Folders of runs as trainings leave them, made by hand: no training, no TensorFlow."""

import json

import numpy as np
from PIL import Image

from tlkit.evaluation import calibration, classification_metrics, write_most_wrong_texts

CLASSES = ["ant", "bee", "cat"]
IMAGES = {
    "data": "data", "image_size": 128, "backbone": "tlkit:mini-image", "weights": "pretrained",
    "head_epochs": 2, "stages_to_open": 2, "epochs_per_stage": 2, "epochs": 6, "monitor": "val_loss",
    "adaptation": "none", "learning_rate": 0.001,
    "layer_decay": 0.5, "split": [0.7, 0.15, 0.15], "seed": 0,
}  # fmt: skip
RECORD = {
    "command": "python -m flowers.train --epochs 6", "began": "2026-11-21T13:35:17+00:00",
    "ended": "2026-11-21T13:36:00+00:00", "seconds": 43.2, "epochs": 6, "device": "2 CPU cores (x86_64)", "devices": 1,
    "versions": {"tlkit": "0.1.0", "tensorflow": "2.21.0"}, "weights": 486458,
    "data": {"train": "127 images (10f036ccc7f4)", "classes": "ant, bee, cat"},
    "openings": [[2, 1], [4, 2]],
    "movements": [
        [1, {"other layers": 0.25}],
        [3, {"stride_32": 0.004, "other layers": 0.03}],
        [5, {"stride_16": 0.0005, "stride_32": 0.002, "other layers": 0.01}],
    ],
}  # fmt: skip


def make_project(folder):
    """What tells a project from other folders; returns its runs/."""
    (folder / "flowers").mkdir(parents=True)
    for file in ("pyproject.toml", "flowers/train.py", "flowers/config.py"):
        (folder / file).touch()
    (folder / "runs").mkdir()
    return folder / "runs"


def make_run(
    runs,
    name="2026-11-21_13-35-17",
    *,
    config=IMAGES,
    record=RECORD,
    metrics=None,
    classes=CLASSES,
    pictures=(),
):
    """A run with these files; what is None or empty is not written."""
    folder = runs / name
    folder.mkdir(parents=True)
    for file, content in {"config": config, "run": record, "metrics": metrics, "class_names": classes}.items():
        if content is not None:
            (folder / f"{file}.json").write_text(json.dumps(content), encoding="utf-8")
    for picture in pictures:
        Image.new("RGB", (400, 300), "navy").save(folder / f"{picture}.png")
    return folder


def write_history(file, epochs=6):
    """Curves that get better in every epoch."""
    lines = ["epoch,accuracy,loss,val_accuracy,val_loss"]
    lines += [f"{n},{0.3 + 0.1 * n},{2 - 0.2 * n},{0.3 + 0.08 * n},{2 - 0.1 * n}" for n in range(epochs)]
    file.write_text("\n".join(lines), encoding="utf-8")


def judged(right, wrong, classes=CLASSES):
    """The numbers of a classifier that takes so many of the first class for the last, and so many rightly."""
    sure = [0.8] + [0.2 / (len(classes) - 1)] * (len(classes) - 1)
    labels, probabilities = [0] * right + [0] * wrong, [sure] * right + [sure[::-1]] * wrong
    for number in range(1, len(classes)):
        labels.append(number)
        probabilities.append([sure[0] if place == number else sure[1] for place in range(len(classes))])
    return classification_metrics(labels, probabilities, classes) | {"calibration": calibration(labels, probabilities)}


def make_image_run(runs, name="2026-11-21_13-35-17", right=80, wrong=20, weights="pretrained", **changes):
    metrics = {"validation": judged(9, 3), "test": judged(right, wrong)}
    pictures = ("confusion_matrix", "calibration", "most_wrong")
    return make_run(runs, name, config=IMAGES | {"weights": weights} | changes, metrics=metrics, pictures=pictures)


def make_text_run(runs, name="2026-11-21_14-00-00", texts=("free at <last>",), classes=("ham", "spam")):
    config = {**IMAGES, "text_column": "text", "backbone": "tlkit:mini-text"}
    metrics = {"test": judged(8, 2, list(classes))}
    folder = make_run(
        runs, name, config=config, metrics=metrics, classes=list(classes), pictures=["accuracy_by_length"]
    )

    def predict(texts):
        return np.array([[0.2, 0.8] if "free" in text else [0.8, 0.2] for text in texts])

    places = [f"messages.csv, line {2 + number}" for number in range(len(texts))]
    labels = [0] * len(texts)
    write_most_wrong_texts(
        folder / "most_wrong.html", list(texts), labels, list(classes), predict=predict, places=places
    )
    return folder


def make_detection_run(runs, name="2026-11-21_15-00-00", map50=0.5, weights="pretrained"):
    classes = {name: {"ap50": map50, "ap": 0.2, "recall": 0.7, "num_boxes": 20} for name in CLASSES}
    metrics = {
        "test": {"num_images": 50, "num_boxes": 60, "map50": map50, "map": 0.25, "map75": 0.2, "per_class": classes}
    }
    config = {"data": "data", "backbone": "keras:MobileNetV2", "weights": weights, "max_detections": 100}
    return make_run(
        runs, name, config=config, metrics=metrics, pictures=("precision_recall", "worst", "examples"), record=None
    )
