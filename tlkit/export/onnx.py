"""A trained classifier as an ONNX file, for ONNX Runtime and what else reads the format."""

from __future__ import annotations

import json
import os
import pathlib
from collections.abc import Sequence
from typing import Any

import keras

from tlkit.errors import UserError
from tlkit.export.pixels import check_class_names, image_size_of, import_extra, new_file, pixel_classifier

# The newest that tf2onnx 1.17 writes by itself is 15; ONNX Runtime has read it since 1.10 (2021).
OPSET = 15


def export_onnx(model: keras.Model, file: str | os.PathLike[str], *, class_names: Sequence[str]) -> None:
    """Write an `.onnx` file that takes pixels and returns probabilities, with the labels in it.

    Its input `image` takes uint8 RGB pixels `(batch, height, width, 3)` from 0 to 255, any number of images; its output
    `probabilities` is float32 `(batch, classes)`: scaling and the backbone's own preprocessing are inside. The file's
    metadata holds `class_names`, a JSON list, and `image_size`, height and width.

    Args:
        model: Classifier, single-label or multi-label, that maps images `(batch, height, width, 3)` in [0, 1] to
            probabilities.
        file: Where to write; must end in `.onnx` and not be there yet.
        class_names: Names in the order of the model's outputs.

    Raises:
        UserError: When the names do not match the model's outputs, the file is there, the extra `onnx` is not
            installed, or ONNX has no form for an operation.

    Example:
        >>> export_onnx(model, "model.onnx", class_names=["ant", "bee"])
        >>> import onnxruntime
        >>> session = onnxruntime.InferenceSession("model.onnx")
        >>> (probabilities,) = session.run(None, {"image": np.zeros((4, 128, 128, 3), "uint8")})
        >>> probabilities.shape
        (4, 2)
        >>> session.get_modelmeta().custom_metadata_map["class_names"]
        '["ant", "bee"]'

    Reference: tf2onnx, https://github.com/onnx/tensorflow-onnx
    """
    file = pathlib.Path(file)
    check_class_names("export_onnx", model, class_names)
    image_size = image_size_of("export_onnx", model)
    onnx = import_extra("export_onnx", "onnx", "onnx")
    tf2onnx = import_extra("export_onnx", "tf2onnx", "onnx")
    new_file("export_onnx", file, ".onnx")

    classify = pixel_classifier("export_onnx", model, batch_size=None)
    proto, _ = tf2onnx.convert.from_function(classify, input_signature=classify.input_signature, opset=OPSET)
    _check_operations(proto, onnx)
    for value in (*proto.graph.input, *proto.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"  # tf2onnx calls it unk__123
    metadata = {"class_names": json.dumps(list(class_names), ensure_ascii=False), "image_size": json.dumps(image_size)}
    onnx.helper.set_model_props(proto, metadata)
    onnx.checker.check_model(proto, full_check=True)
    file.write_bytes(proto.SerializeToString())


def _check_operations(proto: Any, onnx: Any) -> None:
    """Raise when an operation is left that tf2onnx knew no form for: it copies such a one as it is."""
    unknown = sorted({node.op_type for node in proto.graph.node if not onnx.defs.has(node.op_type, node.domain)})
    if unknown:
        raise UserError(
            f"export_onnx: ONNX has no form for the model's operations {', '.join(unknown)}. Expected operations that "
            f"tf2onnx converts. Replace the layer that uses them, or export a SavedModel or LiteRT file."
        )
