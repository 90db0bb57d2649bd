"""The labels of a LiteRT file, where mobile tools look for them: TFLite metadata and an appended `labels.txt`.

References:
    The schema that the tables below follow, field by field:
    https://github.com/google-ai-edge/mediapipe/blob/master/mediapipe/tasks/metadata/metadata_schema.fbs
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from typing import Any

import flatbuffers
import numpy as np

LABELS_FILE = "labels.txt"

# Numbers of the schema's enumerations and unions.
_AXIS_LABELS = np.uint8(2)  # AssociatedFileType.TENSOR_AXIS_LABELS
_RGB = np.uint8(1)  # ColorSpaceType.RGB
_FEATURE, _IMAGE = np.uint8(1), np.uint8(2)  # ContentProperties


def make_metadata(name: str, image_size: tuple[int, int]) -> bytes:
    """A `ModelMetadata` flatbuffer: RGB pixels in, a probability for each line of `labels.txt` out.

    A table is a tuple with one entry for each field, in the schema's order; a union takes two, its type and its value.
    """
    height, width = image_size
    default_size = (np.uint32(width), np.uint32(height))
    pixels = (_IMAGE, (_RGB, default_size))
    image = ("image", "RGB pixels from 0 to 255; scaling is inside the model.", None, pixels)
    labels = (LABELS_FILE, "The classes, one a line, in the order of the probabilities.", _AXIS_LABELS)
    probabilities = ("probabilities", "One for each class.", None, (_FEATURE, ()), None, None, [labels])
    subgraph = (None, None, [image], [probabilities])
    builder = flatbuffers.Builder()
    # The oldest parser that knows all of these fields; `default_size` is the youngest.
    model = (name, "Image classifier", None, [subgraph], None, None, None, "1.4.0")
    builder.Finish(_write(builder, model), file_identifier=b"M001")
    return bytes(builder.Output())


def append_labels(model: bytes, class_names: Sequence[str]) -> bytes:
    """The model with a zip archive behind it: interpreters read the front, `unzip` the end."""
    file = io.BytesIO(model)
    with zipfile.ZipFile(file, "a") as archive:  # stored, not deflated: readers on phones map it into memory
        # A fixed date: the same model gives the same file.
        archive.writestr(zipfile.ZipInfo(LABELS_FILE), "".join(f"{name}\n" for name in class_names))
    return file.getvalue()


def _write(builder: flatbuffers.Builder, value: Any) -> int:
    """Write a string, a table or a list of tables; returns where."""
    if isinstance(value, str):
        return builder.CreateString(value)
    if isinstance(value, list):
        offsets = [_write(builder, item) for item in value]
        builder.StartVector(4, len(offsets), 4)
        for offset in reversed(offsets):  # a flatbuffer grows towards its front
            builder.PrependUOffsetTRelative(offset)
        return builder.EndVector()
    # What a table points to is written before the table itself.
    fields = [field if field is None or isinstance(field, np.generic) else _write(builder, field) for field in value]
    builder.StartObject(len(fields))
    for number, field in enumerate(fields):
        if isinstance(field, np.uint8):
            builder.PrependUint8Slot(number, int(field), 0)
        elif isinstance(field, np.uint32):
            builder.PrependUint32Slot(number, int(field), 0)
        elif field is not None:
            builder.PrependUOffsetTRelativeSlot(number, field, 0)
    return builder.EndObject()
