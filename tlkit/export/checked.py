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
from tlkit.export.agreement import Agreement, measure_agreement, measure_agreement_on_texts
from tlkit.export.litert import export_litert
from tlkit.export.onnx import export_onnx
from tlkit.export.pixels import refuse_texts
from tlkit.export.saved_model import export_image_classifier
from tlkit.export.text_saved_model import export_text_classifier

FILES = {"saved-model": ".", "litert": "model.tflite", "onnx": "model.onnx"}

# The largest difference of a probability, on any image and class, with which an export still counts as the same model.
# What benchmarks/export.py measured at most, on 153 photos and three backbones, stands behind it, or what is said.
TOLERANCES = {
    "float32": 1e-3,  # the same sums in another order: 5e-6
    "float16": 0.05,  # weights to 11 bits: 0.02
    # Everything to 8 bits, step after step. A single probability may differ by more than half, so that the mean is held
    # against it here: 0.015 to 0.016 on the sample textures, calibrated on all photos, some or one class; 0.07 to 0.14
    # where calibration has gone wrong (one photo, noise, dark or black ones). benchmarks/int8_calibration.py
    "int8": 0.06,
    # Of images. Decoders of the same JPEG differ by a grey level here and there; a turned photo differs by much more.
    "saved-model": 0.02,
    # A model that computes in 16 bits is exported in 32, one of texts in 16, but asked about other batches: bfloat16
    # keeps 8 bits of every activation.
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
        image_size: Height and width in pixels; None where it takes texts.
        class_names: In the order of the probabilities.
        multi_label: Whether each class has a probability of its own.
        float_operations: Of an int8 file, the operations that compute in floats.
        calibration_images: How many images the ranges of int8 were taken from.
        agreement: With the Keras model, or None where there was nothing to ask about.
        tolerance: The largest `difference` that passes.
        versions: Of the packages that took part.
        packages: What a process must import before it loads the model, such as "tensorflow_text"; mostly nothing.
    """

    format: str
    quantize: str | None
    bytes: int
    input: str
    image_size: int | None
    class_names: tuple[str, ...]
    multi_label: bool
    float_operations: tuple[str, ...]
    calibration_images: int
    agreement: Agreement | None
    tolerance: float
    versions: dict[str, str]
    packages: tuple[str, ...] = ()

    @property
    def difference(self) -> float:
        """What is held against the tolerance: the largest difference of a probability, of int8 the mean one; or 0."""
        if self.agreement is None:
            return 0.0
        return self.agreement.mean_difference if self.quantize == "int8" else self.agreement.largest_difference

    @property
    def agrees(self) -> bool:
        """Whether the `difference` is within the tolerance."""
        return self.difference <= self.tolerance


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
        What `export.json` says; `agrees` tells whether it answers as the model does, within the tolerance.

    Raises:
        UserError: When `quantize` is given for another format than LiteRT, or as the exporting functions do.

    Example:
        >>> images = np.random.default_rng(0).integers(0, 256, (8, 128, 128, 3), dtype=np.uint8)
        >>> report = export_checked(model, "lite", format="litert", class_names=["ant", "bee"], images=images)
        >>> report.agrees, report.agreement.num_examples
        (True, 8)
    """
    if format not in FILES:
        raise UserError(f"export_checked: expected `format` to be one of {', '.join(FILES)}. Received: {format!r}.")
    if quantize and format != "litert":
        raise UserError(f"export_checked: {format!r} has no quantize={quantize!r}. Expected it for 'litert' only.")
    refuse_texts("export_checked", model)
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
    report = ExportReport(
        format=format,
        quantize=quantize,
        bytes=_size_of(exported),
        input="contents of image files" if format == "saved-model" else "RGB pixels from 0 to 255, uint8",
        image_size=image_size,
        class_names=tuple(class_names),
        multi_label=multi_label,
        float_operations=float_operations,
        calibration_images=len(calibration) if quantize == "int8" else 0,
        agreement=measure_agreement(model, exported, images, encoded=encoded, multi_label=multi_label)
        if len(images)
        else None,
        tolerance=TOLERANCES[format] if format == "saved-model" else _tolerance(model, quantize),
        versions=_versions(_packages(format)),
    )
    _write(report, folder)
    return report


def export_texts_checked(
    model: keras.Model,
    folder: str | os.PathLike[str],
    *,
    class_names: Sequence[str],
    texts: Sequence[str],
    multi_label: bool = False,
) -> ExportReport:
    """Export a text classifier into a folder and measure there and then that it answers as the Keras model does.

    Writes `saved_model.pb` with its variables, and `export.json` beside it. There is no other format: LiteRT and ONNX
    have no tokenizers.

    Args:
        model: Classifier that maps strings, `(batch,)` or `(batch, 1)`, to probabilities.
        folder: Where to write; must not hold a SavedModel yet.
        class_names: Names in the order of the model's outputs.
        texts: What both models are asked about; may be empty.
        multi_label: Whether each class has a probability of its own.

    Returns:
        What `export.json` says; `agrees` tells whether it answers as the model does, within the tolerance.

    Raises:
        UserError: As `export_text_classifier` does.

    Example:
        >>> words = keras.layers.TextVectorization(output_mode="multi_hot", vocabulary=["legs", "wings"])
        >>> inputs = keras.Input((), dtype="string")
        >>> topics = keras.Model(inputs, keras.layers.Dense(2, activation="softmax")(words(inputs)))
        >>> texts = ["six legs", "four wings", ""]
        >>> report = export_texts_checked(topics, "checked", class_names=["ant", "bee"], texts=texts)
        >>> report.agrees, report.agreement.num_examples
        (True, 3)
    """
    folder, texts = pathlib.Path(folder), list(texts)
    packages = export_text_classifier(model, folder, class_names=class_names)
    agreement = measure_agreement_on_texts(model, folder, texts, multi_label=multi_label) if texts else None
    report = ExportReport(
        format="saved-model",
        quantize=None,
        bytes=_size_of(folder),
        input="texts, strings in UTF-8",
        image_size=None,
        class_names=tuple(class_names),
        multi_label=multi_label,
        float_operations=(),
        calibration_images=0,
        agreement=agreement,
        tolerance=_tolerance(model, None),
        versions=_versions(["tlkit", "tensorflow", "keras", *packages]),
        packages=packages,
    )
    _write(report, folder)
    return report


def _size_of(exported: pathlib.Path) -> int:
    """Bytes of a file, or of all files in a folder."""
    parts = [exported] if exported.is_file() else [file for file in exported.rglob("*") if file.is_file()]
    return sum(file.stat().st_size for file in parts)


def _versions(packages: Sequence[str]) -> dict[str, str]:
    return {package: importlib.metadata.version(package) for package in packages}


def _write(report: ExportReport, folder: pathlib.Path) -> None:
    plain = dataclasses.asdict(report) | {"agreement": report.agreement and report.agreement._asdict()}
    (folder / "export.json").write_text(json.dumps(plain, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _tolerance(model: keras.Model, quantize: str | None) -> float:
    mixed = any(layer.compute_dtype != "float32" for layer in model.layers)
    return max(TOLERANCES[quantize or "float32"], TOLERANCES["mixed precision"] if mixed else 0)


def _packages(format: str) -> list[str]:
    more = {"litert": ["ai-edge-litert"], "onnx": ["tf2onnx", "onnx", "onnxruntime"]}
    return ["tlkit", "tensorflow", "keras", *more.get(format, [])]
