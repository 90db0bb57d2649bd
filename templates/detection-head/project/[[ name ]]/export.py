"""Write the trained detector for use elsewhere, and measure that it answers there as it does here.

A SavedModel that takes the bytes of image files and answers with boxes in their pixels, scores and class names; it
needs neither tlkit nor this project to run; export.json beside it names the classes. Its signature `pixels` takes
images as the Keras model does.
"""

import argparse
import json
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tlkit.distribution import leave_to_chief
from tlkit.errors import UserError, exit_on_user_error
from tlkit.export import export_detector, largest_box_difference
from tlkit.settings import load_config

from .config import Config
from .data import load_datasets
from .evaluate import find_run
from .model import load_class_names, load_detector

CHECKED = 32  # validation images, at most, that both models are asked about
TOLERANCE = 1e-2  # pixels; the same sums in another order differ by less


class Export(NamedTuple):
    """What came of it."""

    num_images: int
    largest_difference: float  # pixels


def export_run(run: Path, folder: Path) -> Export:
    """Export the run's detector into a folder, and ask it and the Keras model about the same validation images."""
    model, class_names = load_detector(run), load_class_names(run)
    export_detector(model, folder, class_names=class_names)
    batches = load_datasets(load_config(Config, run / "config.json")).validation.unbatch().take(CHECKED)
    images = np.stack([image for image, _ in batches.as_numpy_iterator()])
    export = Export(len(images), largest_box_difference(model, folder, images))
    said = {
        "format": "saved-model",
        "input": "contents of image files",
        "image_size": model.input_shape[1],
        "class_names": class_names,
        "agreement": export._asdict(),
    }
    (folder / "export.json").write_text(json.dumps(said, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return export


def main() -> None:
    parser = argparse.ArgumentParser(
        prog=f"python -m {__package__}.export",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--run", help="a folder in runs/; without it, the newest")
    parser.add_argument("--to", type=Path, help="the folder to write; without it, export/ inside the run")
    flags = parser.parse_args()
    leave_to_chief("Exporting a model")
    run = find_run(flags.run)
    folder = flags.to or run / "export"
    if folder.is_dir() and any(folder.iterdir()):
        raise UserError(f"'{folder}' is not empty. Expected a new folder: name one with --to.")
    report = export_run(run, folder)
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    print(f"Exported to {folder} ({size / 1e6:.1f} MB)")
    print(
        f"Compared with the Keras model on {report.num_images} validation images: the sides of the boxes differ by at "
        f"most {report.largest_difference:.1e} pixels."
    )
    if report.largest_difference > TOLERANCE:
        raise UserError(
            f"The exported detector's boxes differ by {report.largest_difference:.3g} pixels from the Keras one's. "
            f"Expected at most {TOLERANCE}. In mixed precision boxes are less exact: train with --precision float32."
        )


if __name__ == "__main__":
    with exit_on_user_error():
        main()
