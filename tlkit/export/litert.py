"""A trained classifier as a LiteRT (TFLite) file, for phones and small computers."""

from __future__ import annotations

import os
import pathlib
import re
import tempfile
from collections.abc import Callable, Sequence
from typing import Any, Literal

import keras
import numpy as np
import tensorflow as tf

from tlkit.errors import UserError
from tlkit.export.litert_metadata import append_labels, make_metadata
from tlkit.export.pixels import check_class_names, image_size_of, import_extra, new_file, pixel_classifier

# Operations that turn one type into another; whatever else touches a float computes in floats.
_CONVERSIONS = {"CAST", "QUANTIZE", "DEQUANTIZE"}


def export_litert(
    model: keras.Model,
    file: str | os.PathLike[str],
    *,
    class_names: Sequence[str],
    quantize: Literal["float16", "int8"] | None = None,
    calibration: np.ndarray | None = None,
) -> tuple[str, ...]:
    """Write a `.tflite` file that takes pixels and returns probabilities, with the labels in it.

    Its signature `serving_default` maps `image`, uint8 RGB pixels `(1, height, width, 3)` from 0 to 255, to
    `probabilities`, float32 `(1, classes)`: scaling and the backbone's own preprocessing are inside. One image a call,
    which is what mobile tools expect. The class names are in the file's TFLite metadata, as MediaPipe's
    `ImageClassifier` reads them, and `unzip -p model.tflite labels.txt` prints them.

    `quantize="float16"` stores weights in 16 bits: half the size, computed in float32 on a CPU. `"int8"` stores and
    computes in 8-bit integers: about a quarter of the size and quicker on most phones; an operation without an integer
    kernel stays in floats, and probabilities come in steps of 1/256. Only operations that every LiteRT runtime has are
    used. Measure what it costs with `measure_agreement`.

    Args:
        model: Classifier, single-label or multi-label, that maps images `(batch, height, width, 3)` in [0, 1] to
            probabilities.
        file: Where to write; must end in `.tflite` and not be there yet.
        class_names: Names in the order of the model's outputs.
        quantize: None, "float16" or "int8". Defaults to None, 32 bits.
        calibration: For "int8": uint8 images `(n, height, width, 3)` from the training data, of every class, from
            which the converter takes the range of every tensor. 100 to 200 are enough: LiteRT's documentation asks for
            100 to 500. On three backbones one image gave noise, 8 up to three times the mean difference of 128, and
            more than 128 nothing.

    Returns:
        Names of the operations that compute in floats all the same; empty unless `quantize` is "int8".

    Raises:
        UserError: When the names do not match the model's outputs, the file is there, calibration images are missing
            or are no such pixels, the extra `litert` is not installed, or LiteRT has no kernel for an operation.

    Example:
        >>> export_litert(model, "model.tflite", class_names=["ant", "bee"])
        ()
        >>> from ai_edge_litert.interpreter import Interpreter
        >>> classify = Interpreter("model.tflite").get_signature_runner()
        >>> classify(image=np.zeros((1, 128, 128, 3), "uint8"))["probabilities"].shape
        (1, 2)

    References:
        LiteRT post-training quantization: https://ai.google.dev/edge/litert/models/post_training_quantization
        Operations: https://ai.google.dev/edge/litert/models/ops_compatibility
    """
    file = pathlib.Path(file)
    check_class_names("export_litert", model, class_names)
    if torn := [name for name in class_names if len(name.splitlines()) != 1]:
        raise UserError(f"export_litert: the class name {torn[0]!r} is not one line. Expected names that are.")
    if quantize not in (None, "float16", "int8"):
        raise UserError(f"export_litert: expected `quantize` to be None, 'float16' or 'int8'. Received: {quantize!r}.")
    image_size = image_size_of("export_litert", model)
    if quantize == "int8":
        _check_calibration(calibration, image_size)
    flatbuffer_utils = import_extra("export_litert", "ai_edge_litert.tools.flatbuffer_utils", "litert")
    schema = import_extra("export_litert", "ai_edge_litert.schema_py_generated", "litert")
    new_file("export_litert", file, ".tflite")

    converted = _convert(pixel_classifier("export_litert", model, batch_size=1), quantize, calibration)
    content = flatbuffer_utils.convert_bytearray_to_object(bytearray(converted))
    content.buffers.append(schema.BufferT(data=np.frombuffer(make_metadata(model.name, image_size), np.uint8)))
    entry = schema.MetadataT(name="TFLITE_METADATA", buffer=len(content.buffers) - 1)
    content.metadata = [*(content.metadata or []), entry]
    file.write_bytes(append_labels(bytes(flatbuffer_utils.convert_object_to_bytearray(content)), class_names))
    return _float_operations(content, schema, flatbuffer_utils) if quantize == "int8" else ()


def _convert(classify: Callable[..., Any], quantize: str | None, calibration: np.ndarray | None) -> bytes:
    owner = tf.Module()
    owner.classify = classify
    with tempfile.TemporaryDirectory() as folder:
        # Given the function itself, the converter saves it too, but with gradients, and where one cannot be saved (that
        # of swish) it falls back to a path without signatures.
        options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
        tf.saved_model.save(owner, folder, classify.get_concrete_function(), options)
        return _convert_saved_model(folder, quantize, calibration)


def _convert_saved_model(folder: str, quantize: str | None, calibration: np.ndarray | None) -> bytes:
    converter = tf.lite.TFLiteConverter.from_saved_model(folder)
    if quantize is not None:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if quantize == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if quantize == "int8":
        converter.representative_dataset = lambda: ([image[None]] for image in calibration)
        # Integers where there is a kernel for them, floats where there is none.
        converter.target_spec.supported_ops = [
            tf.lite.OpsSet.TFLITE_BUILTINS_INT8,
            tf.lite.OpsSet.TFLITE_BUILTINS,
        ]
    try:
        return converter.convert()
    except Exception as error:
        # "Select" operations would need a runtime with TensorFlow's kernels in it, which none of the wheels is.
        missing = re.findall(r"(?:Custom|TF Select) ops: ([^\n]+)", str(error))
        if not missing:
            raise
        operations = ", ".join(sorted({name.strip() for names in missing for name in names.split(",")}))
        raise UserError(
            f"export_litert: LiteRT has no kernel for the model's operations {operations}. Expected operations of "
            f"LiteRT's own set. Replace the layer that uses them, or export a SavedModel or ONNX file."
        ) from error


def _check_calibration(calibration: np.ndarray | None, image_size: tuple[int, int]) -> None:
    if calibration is None:
        raise UserError(
            "export_litert: quantize='int8' needs `calibration`. Expected 100 to 200 training images, uint8 "
            f"(n, {image_size[0]}, {image_size[1]}, 3). Give them, or use quantize='float16', which needs none."
        )
    calibration = np.asanyarray(calibration)
    if calibration.dtype != np.uint8 or calibration.shape[1:] != (*image_size, 3) or not len(calibration):
        raise UserError(
            f"export_litert: `calibration` is {calibration.dtype} of shape {calibration.shape}. Expected pixels from "
            f"0 to 255, uint8 (n, {image_size[0]}, {image_size[1]}, 3). Give the images as `decode_image` reads them."
        )


def _float_operations(content: Any, schema: Any, flatbuffer_utils: Any) -> tuple[str, ...]:
    """Names of the operations with a float tensor among their inputs or outputs."""
    names = set()
    for subgraph in content.subgraphs:
        for operator in subgraph.operators:
            touched = [subgraph.tensors[i] for i in (*operator.inputs, *operator.outputs) if i >= 0]
            if any(tensor.type == schema.TensorType.FLOAT32 for tensor in touched):
                names.add(flatbuffer_utils.opcode_to_name(content, operator.opcodeIndex))
    return tuple(sorted(names - _CONVERSIONS))
