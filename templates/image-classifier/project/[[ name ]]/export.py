"""Write the trained model for use elsewhere, and measure that it answers there as it does here.

--format saved-model  takes the bytes of image files: for servers and other programs with TensorFlow
--format litert       takes pixels: for phones and small computers; `--quantize` makes it smaller and quicker
--format onnx         takes pixels: for ONNX Runtime, in any language

None needs tlkit or this project to run. The class names are inside; export.json beside the model says what it takes.
"""

import argparse
from pathlib import Path

import numpy as np

from tlkit.data import ImageFile, decode_image
from tlkit.distribution import leave_to_chief
from tlkit.errors import UserError, exit_on_user_error
from tlkit.export import ExportReport, export_checked
from tlkit.settings import load_config

from .config import Config
from .data import load_datasets
from .evaluate import find_run, load_class_names
from .model import is_multi_label, load_classifier

CHECKED = 100  # validation photos, at most, that both models are asked about
CALIBRATION = 128  # training photos from which int8 takes the range of every number; LiteRT asks for 100 to 500
DECODED_BY_TENSORFLOW = {".jpg", ".jpeg", ".png", ".bmp", ".gif"}


def export_run(run: Path, folder: Path, format: str = "saved-model", quantize: str | None = None) -> ExportReport:
    """Export the run's model into a folder, and ask it and the Keras model about the same validation photos."""
    model = load_classifier(run / "model.keras")
    files = load_datasets(load_config(Config, run / "config.json")).files
    checked = files.validation
    if format == "saved-model":  # it decodes the photos for itself, and these formats only
        checked = [file for file in checked if file.path.suffix.lower() in DECODED_BY_TENSORFLOW]
    checked = spread(checked, CHECKED)
    image_size = model.input_shape[1]
    return export_checked(
        model,
        folder,
        format=format,
        class_names=load_class_names(run),
        images=read_pixels(checked, image_size),
        encoded=[file.path.read_bytes() for file in checked] if format == "saved-model" else None,
        quantize=quantize,
        calibration=read_pixels(spread(files.train, CALIBRATION), image_size) if quantize == "int8" else None,
        multi_label=is_multi_label(model),
    )


def spread(files: list[ImageFile], count: int) -> list[ImageFile]:
    """At most `count` of the files, evenly over the list and so over the classes."""
    return files[:: max(1, -(-len(files) // count))]


def read_pixels(files: list[ImageFile], image_size: int) -> np.ndarray:
    """Photos as other programs hand them over: `(len(files), image_size, image_size, 3)`, bytes from 0 to 255."""
    pixels = [decode_image(file.path, image_size) for file in files]
    return np.array(pixels, np.uint8).reshape(-1, image_size, image_size, 3)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog=f"python -m {__package__}.export",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--run", help="a folder in runs/; without it, the newest")
    parser.add_argument("--format", choices=["saved-model", "litert", "onnx"], default="saved-model")
    parser.add_argument("--quantize", choices=["none", "float16", "int8"], default="none", help="for litert only")
    parser.add_argument("--to", type=Path, help="the folder to write; without it, export-<format>/ inside the run")
    flags = parser.parse_args()
    leave_to_chief("Exporting a model")
    quantize = None if flags.quantize == "none" else flags.quantize
    run = find_run(flags.run)
    folder = flags.to or run / "-".join(["export", flags.format, *([quantize] if quantize else [])])
    if folder.is_dir() and any(folder.iterdir()):
        raise UserError(f"'{folder}' is not empty. Expected a new folder: name one with --to.")
    report = export_run(run, folder, flags.format, quantize)
    print(f"Exported to {folder} ({report.bytes / 1e6:.1f} MB)")
    if report.float_operations:
        print(f"These operations compute in floats, for want of integer ones: {', '.join(report.float_operations)}")
    if report.agreement is None:
        print("Not compared with the Keras model: no validation photo has a format that TensorFlow decodes.")
        return
    print(
        f"Compared with the Keras model on {report.agreement.num_examples} validation photos: the same answer to "
        f"{report.agreement.same_answers:.1%}.\nLargest difference of a probability: "
        f"{report.agreement.largest_difference:.1e}, mean difference: {report.agreement.mean_difference:.1e}"
    )
    if not report.agrees:
        why = {
            "saved-model": "Often a photo is turned by its EXIF data, which TensorFlow ignores: save it upright.",
            "int8": "Perhaps the network does not bear 8 bits: use --quantize float16.",
        }
        raise UserError(
            f"The exported model differs by {report.difference:.3f} from the Keras one. Expected at "
            f"most {report.tolerance}. {why.get(quantize or flags.format, 'Use --format saved-model instead.')}"
        )


if __name__ == "__main__":
    with exit_on_user_error():
        main()
