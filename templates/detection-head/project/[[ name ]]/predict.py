"""Find things in images, files or whole folders of them: draws the boxes, and writes them as a table.

The pictures and boxes.csv, with the columns image, xmin, ymin, xmax, ymax, class and score, in pixels of each file, lie
in `predictions/`, or where `--to` says.
"""

import argparse
import csv
from pathlib import Path
from typing import NamedTuple

import numpy as np
from rich.console import Console
from rich.table import Column, Table

from tlkit.data import IMAGE_EXTENSIONS, read_letterboxed
from tlkit.distribution import leave_to_chief
from tlkit.errors import UserError, exit_on_user_error
from tlkit.evaluation import draw_boxes
from tlkit.settings import load_config

from .config import PROJECT, Config
from .evaluate import detections, find_run, keep_sure
from .model import load_class_names, load_detector

BATCH_SIZE = 8


class Detections(NamedTuple):
    """What the model found in one file, or why it could not look at it."""

    file: Path
    boxes: np.ndarray  # (n, 4), pixels of the file
    scores: np.ndarray
    class_names: list[str]
    problem: str | None = None


def predict_files(run: Path, paths: list[Path], score: float | None = None) -> list[Detections]:
    """What is found, with at least this score, in every file named and every image in the folders named."""
    model, class_names = load_detector(run), load_class_names(run)
    config = load_config(Config, run / "config.json")
    image_size = model.input_shape[1]
    found = {}
    files = [file for path in paths for file in list_images(Path(path))]
    for start in range(0, len(files), BATCH_SIZE):
        images, sizes, readable = [], [], []
        for file in files[start : start + BATCH_SIZE]:
            try:
                pixels, size = read_letterboxed(file, image_size)
            except UserError as error:
                found[file] = Detections(file, np.zeros((0, 4)), np.zeros(0), [], str(error))
                continue
            images.append(pixels.astype("float32") / 255)
            sizes.append(size)
            readable.append(file)
        for file, each in zip(readable, detections(model, np.stack(images), sizes) if images else [], strict=True):
            sure = keep_sure(each, config, score)
            names = [class_names[label] for label in sure["labels"]]
            found[file] = Detections(file, sure["boxes"], sure["scores"], names)
    return [found[file] for file in files]


def list_images(path: Path) -> list[Path]:
    """The file itself, or the images in the folder."""
    if not path.is_dir():
        return [path]
    return sorted(file for file in path.rglob("*") if file.suffix.lower() in IMAGE_EXTENSIONS and file.is_file())


def write(predictions: list[Detections], folder: Path, class_names: list[str]) -> None:
    """Each image with its boxes drawn, as a PNG, and all boxes in boxes.csv."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "boxes.csv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["image", "xmin", "ymin", "xmax", "ymax", "class", "score"])
        for number, found in enumerate(predictions):
            for box, score, name in zip(found.boxes, found.scores, found.class_names, strict=True):
                rows.writerow([found.file, *(f"{side:.1f}" for side in box), name, f"{score:.3f}"])
            if found.problem is None:
                # Numbered: two folders may hold files of one name.
                picture = draw_boxes(found.file, found.boxes, found.class_names, found.scores, colours=class_names)
                picture.save(folder / f"{number:04d}-{found.file.stem}.png")


def main() -> None:
    parser = argparse.ArgumentParser(
        prog=f"python -m {__package__}.predict",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="images or folders of images")
    parser.add_argument("--run", help="a folder in runs/; without it, the newest")
    parser.add_argument(
        "--score", type=float, help="the least sure detection to show; without it, the config's shown_score"
    )
    parser.add_argument("--to", type=Path, default=PROJECT / "predictions", help="the folder to write")
    flags = parser.parse_args()
    leave_to_chief("Predicting")
    if flags.score is not None and not 0 <= flags.score <= 1:
        raise UserError(f"The score is {flags.score}. Expected one from 0 to 1, such as --score 0.4.")
    run = find_run(flags.run)
    predictions = predict_files(run, flags.paths, flags.score)
    if not predictions:
        raise UserError(f"There is no image in {', '.join(map(str, flags.paths))}.")
    problems = [found.problem for found in predictions if found.problem is not None]
    if len(problems) == len(predictions):
        others = f" The other {len(problems) - 1} files cannot be read either." if len(problems) > 1 else ""
        raise UserError(f"{problems[0]}{others}")
    table = Table(Column("file", overflow="fold"), "found", "surest", title=f"by the model of {run.name}")
    for found in predictions:
        if found.problem is None:
            counts = {name: found.class_names.count(name) for name in sorted(set(found.class_names))}
            said = ", ".join(f"{count} {name}" for name, count in counts.items()) or "nothing"
            table.add_row(str(found.file), said, f"{found.scores.max():.0%}" if len(found.scores) else "")
    console = Console(markup=False, highlight=False)  # a name may hold square brackets
    console.print(table)
    for problem in problems:
        console.print(f"Skipped: {problem}")
    write(predictions, flags.to, load_class_names(run))
    print(f"Pictures and boxes.csv: {flags.to}")


if __name__ == "__main__":
    with exit_on_user_error():
        main()
