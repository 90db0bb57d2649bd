"""One call for every format: export, ask both models about the same images, and write down what came out."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json
import os
import pathlib
from collections.abc import Sequence
from typing import Literal

import keras
import numpy as np

from tlkit.errors import UserError
from tlkit.export.agreement import Agreement, measure_agreement
from tlkit.export.litert import export_litert
from tlkit.export.onnx import export_onnx
from tlkit.export.saved_model import export_image_classifier

FILES = {"saved-model": ".", "litert": "model.tflite", "onnx": "model.onnx"}

# The largest difference of a probability, on any image and class, with which an export still counts as the same model.
# What benchmarks/export.py measured at most, on 153 photos and three backbones, stands behind it.
TOLERANCES = {
    "float32": 1e-3,  # the same sums in another order: 5e-6
    "float16": 0.05,  # weights to 11 bits: 0.02
    "int8": 0.3,  # everything to 8 bits, step after step: 0.22; with calibration gone wrong 0.41 to 0.5
    # Decoders of the same JPEG differ by a grey level here and there; a turned photo differs by much more.
    "saved-model": 0.02,
    # A model that computes in 16 bits is exported in 32: bfloat16 keeps 8 bits of every activation.
    "mixed precision": 0.05,
}


@dataclasses.dataclass(frozen=True)
class ExportReport:
    """What `export.json` says.

    Attributes:
        format: "saved-model", "litert" or "onnx".
        quantize: "float16", "int8" or None.
        bytes: Of all files of the model.
        input: What the model takes, in words.
        image_size: Height and width in pixels.
        class_names: In the order of the probabilities.
        multi_label: Whether each class has a probability of its own.
        float_operations: Of an int8 file, the operations that compute in floats.
        calibration_images: How many images the ranges of int8 were taken from.
        agreement: With the Keras model, or None where there was no image to ask about.
        tolerance: The largest difference of a probability that passes.
        versions: Of the packages that took part.
    """

    format: str
    quantize: str | None
    bytes: int
    input: str
    image_size: int
    class_names: tuple[str, ...]
    multi_label: bool
    float_operations: tuple[str, ...]
    calibration_images: int
    agreement: Agreement | None
    tolerance: float
    versions: dict[str, str]

    @property
    def agrees(self) -> bool:
        """Whether no probability differs by more than the tolerance."""
        return self.agreement is None or self.agreement.largest_difference <= self.tolerance


def export_checked(
    model: keras.Model,
    folder: str | os.PathLike[str],
    *,
    format: Literal["saved-model", "litert", "onnx"],
    class_names: Sequence[str],
    images: np.ndarray,
    encoded: Sequence[bytes] | None = None,
    quantize: Literal["float16", "int8"] | None = None,
    calibration: np.ndarray | None = None,
    multi_label: bool = False,
) -> ExportReport:
    """Export a classifier into a folder and measure there and then that it answers as the Keras model does.

    Writes `saved_model.pb` with its variables, `model.tflite` or `model.onnx`, and `export.json` beside it.

    Args:
        model: Classifier that maps images `(batch, image_size, image_size, 3)` in [0, 1] to probabilities.
        folder: Where to write; must not hold such an export yet.
        format: "saved-model", "litert" or "onnx".
        class_names: Names in the order of the model's outputs.
        images: Uint8 pixels `(n, image_size, image_size, 3)` that both models are asked about; n may be 0.
        encoded: For a SavedModel, the contents of these images' files; see `measure_agreement`.
        quantize: For LiteRT: see `export_litert`.
        calibration: For int8: see `export_litert`.
        multi_label: Whether each class has a probability of its own.

    Returns:
        What `export.json` says; `agrees` tells whether the largest difference is within the tolerance.

    Raises:
        UserError: When `quantize` is given for another format than LiteRT, or as the exporting functions do.

    Example:
        >>> images = np.random.default_rng(0).integers(0, 256, (8, 128, 128, 3), dtype=np.uint8)
        >>> report = export_checked(model, "lite", format="litert", class_names=["ant", "bee"], images=images)
        >>> report.agrees, report.agreement.num_images
        (True, 8)
    """
    if format not in FILES:
        raise UserError(f"export_checked: expected `format` to be one of {', '.join(FILES)}. Received: {format!r}.")
    if quantize and format != "litert":
        raise UserError(f"export_checked: {format!r} has no quantize={quantize!r}. Expected it for 'litert' only.")
    folder = pathlib.Path(folder)
    image_size, exported = model.input_shape[1], folder / FILES[format]
    float_operations: tuple[str, ...] = ()
    if format == "saved-model":
        export_image_classifier(model, folder, class_names=class_names, image_size=image_size)
    elif format == "onnx":
        export_onnx(model, exported, class_names=class_names)
    else:
        float_operations = export_litert(
            model, exported, class_names=class_names, quantize=quantize, calibration=calibration
        )
    parts = [exported] if exported.is_file() else [file for file in folder.rglob("*") if file.is_file()]
    report = ExportReport(
        format=format,
        quantize=quantize,
        bytes=sum(file.stat().st_size for file in parts),
        input="contents of image files" if format == "saved-model" else "RGB pixels from 0 to 255, uint8",
        image_size=image_size,
        class_names=tuple(class_names),
        multi_label=multi_label,
        float_operations=float_operations,
        calibration_images=len(calibration) if quantize == "int8" else 0,
        agreement=measure_agreement(model, exported, images, encoded=encoded, multi_label=multi_label)
        if len(images)
        else None,
        tolerance=_tolerance(model, format, quantize),
        versions={package: importlib.metadata.version(package) for package in _packages(format)},
    )
    plain = dataclasses.asdict(report) | {"agreement": report.agreement and report.agreement._asdict()}
    (folder / "export.json").write_text(json.dumps(plain, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return report


def _tolerance(model: keras.Model, format: str, quantize: str | None) -> float:
    if format == "saved-model":
        return TOLERANCES[format]
    mixed = any(layer.compute_dtype != "float32" for layer in model.layers)
    return max(TOLERANCES[quantize or "float32"], TOLERANCES["mixed precision"] if mixed else 0)


def _packages(format: str) -> list[str]:
    more = {"litert": ["ai-edge-litert"], "onnx": ["tf2onnx", "onnx", "onnxruntime"]}
    return ["tlkit", "tensorflow", "keras", *more.get(format, [])]
