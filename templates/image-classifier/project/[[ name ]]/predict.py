"""Name the class of photos, or in multi-label data their classes: files, or whole folders of them."""

import argparse
from pathlib import Path
from typing import NamedTuple

import numpy as np
from rich.console import Console
from rich.table import Column, Table

from tlkit.data import IMAGE_EXTENSIONS
from tlkit.distribution import leave_to_chief
from tlkit.errors import UserError, exit_on_user_error

from .data import read_photos
from .evaluate import find_run, load_class_names
from .model import is_multi_label, load_classifier

BATCH_SIZE = 32


class Prediction(NamedTuple):
    """What the model says about one file, or why it could not look at it."""

    file: Path
    classes: dict[str, float]  # with their probabilities: the best one, or, in multi-label data, all above 0.5
    problem: str | None = None


def predict_files(run: Path, paths: list[Path]) -> list[Prediction]:
    """One prediction for every file named, and for every image in the folders named, at any depth."""
    model, class_names = load_classifier(run / "model.keras"), load_class_names(run)
    image_size, multi_label = model.input_shape[1], is_multi_label(model)
    files = [file for path in paths for file in list_images(Path(path))]
    predictions = []
    for start in range(0, len(files), BATCH_SIZE):
        images, readable = [], []
        for file in files[start : start + BATCH_SIZE]:
            try:
                images.append(read_photos([file], image_size))
                readable.append(file)
            except UserError as error:
                predictions.append(Prediction(file, {}, str(error)))
        if images:
            for file, probabilities in zip(readable, model.predict_on_batch(np.concatenate(images)), strict=True):
                said = choose(probabilities, multi_label)
                predictions.append(Prediction(file, {class_names[c]: float(probabilities[c]) for c in said}))
    return sorted(predictions, key=lambda prediction: files.index(prediction.file))


def choose(probabilities: np.ndarray, multi_label: bool) -> list[int]:
    """The numbers of the classes that the model names: the likeliest, or, in multi-label data, all above 0.5."""
    return np.flatnonzero(probabilities > 0.5).tolist() if multi_label else [int(probabilities.argmax())]


def list_images(path: Path) -> list[Path]:
    """The file itself, or the images in the folder."""
    if not path.is_dir():
        return [path]
    return sorted(file for file in path.rglob("*") if file.suffix.lower() in IMAGE_EXTENSIONS and file.is_file())


def main() -> None:
    parser = argparse.ArgumentParser(prog=f"python -m {__package__}.predict", description=__doc__)
    parser.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="photos or folders of photos")
    parser.add_argument("--run", help="a folder in runs/; without it, the newest")
    flags = parser.parse_args()
    leave_to_chief("Predicting")
    run = find_run(flags.run)
    predictions = predict_files(run, flags.paths)
    if not predictions:
        raise UserError(f"There is no image in {', '.join(map(str, flags.paths))}.")
    problems = [prediction.problem for prediction in predictions if prediction.problem is not None]
    if len(problems) == len(predictions):
        others = f" The other {len(problems) - 1} files cannot be read either." if len(problems) > 1 else ""
        raise UserError(f"{problems[0]}{others}")
    table = Table(Column("file", overflow="fold"), "class", "probability", title=f"by the model of {run.name}")
    for file, classes, problem in predictions:
        if problem is None:
            shares = (f"{probability:.1%}" for probability in classes.values())
            table.add_row(str(file), "\n".join(classes) or "none", "\n".join(shares))
    console = Console(markup=False, highlight=False)  # a name may hold square brackets
    console.print(table)
    for problem in problems:
        console.print(f"Skipped: {problem}")


if __name__ == "__main__":
    with exit_on_user_error():
        main()
