"""Write a SavedModel that takes the bytes of image files and answers with class names: for servers and other programs.

Ask it anywhere, without tlkit and without this project:
    model = tf.saved_model.load("runs/…/export")
    model.signatures["serving_default"](image_bytes=tf.constant([open("photo.jpg", "rb").read()]))["label"]
"""

import argparse
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf

import tlkit
from tlkit.errors import UserError, exit_on_user_error
from tlkit.export import export_image_classifier
from tlkit.settings import load_config

from .config import Config
from .data import load_datasets, read_photos
from .evaluate import find_run, load_class_names

CHECKED = 16  # validation photos on which the exported model must answer like the Keras one
TOLERANCE = 0.02  # of a probability; decoders of the same JPEG differ by a grey level here and there
DECODED_BY_TENSORFLOW = {".jpg", ".jpeg", ".png", ".bmp", ".gif"}


class Check(NamedTuple):
    """How far the exported model is from the Keras one: on the photo where they differ most."""

    file: Path | None
    difference: float  # of a probability


def export_run(run: Path, folder: Path) -> Check:
    """Export the run's model, and ask both models about the same validation photos."""
    model = tlkit.load_model(run / "model.keras", compile=False)
    image_size = model.input_shape[1]
    export_image_classifier(model, folder, class_names=load_class_names(run), image_size=image_size)

    data = load_datasets(load_config(Config, run / "config.json"))
    files = [file.path for file in data.files.validation if file.path.suffix.lower() in DECODED_BY_TENSORFLOW]
    if not files:
        return Check(None, 0.0)
    files = files[:: -(-len(files) // CHECKED)]  # of every class
    expected = model.predict_on_batch(read_photos(files, image_size))
    serve = tf.saved_model.load(str(folder)).signatures["serving_default"]
    answer = serve(image_bytes=tf.constant([file.read_bytes() for file in files]))
    differences = np.abs(answer["probabilities"].numpy() - expected).max(axis=1)
    return Check(files[differences.argmax()], float(differences.max()))


def main() -> None:
    parser = argparse.ArgumentParser(
        prog=f"python -m {__package__}.export",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--run", help="a folder in runs/; without it, the newest")
    parser.add_argument("--to", type=Path, help="the folder to write; without it, export/ inside the run")
    flags = parser.parse_args()
    run = find_run(flags.run)
    folder = flags.to or run / "export"
    file, difference = export_run(run, folder)
    print(f"Exported to {folder}")
    if file is None:
        print("Not compared with the Keras model: no validation photo has a format that TensorFlow decodes.")
    elif difference > TOLERANCE:
        raise UserError(
            f"The exported model differs by {difference:.3f} on '{file}'. Expected at most {TOLERANCE}. "
            "Often such a photo is turned by its EXIF data, which TensorFlow does not look at: save it upright."
        )
    else:
        print(f"Largest difference of a probability from the Keras model on validation photos: {difference:.1e}")


if __name__ == "__main__":
    with exit_on_user_error():
        main()
