"""A trained detector as a SavedModel that answers with boxes, without tlkit."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from tlkit.errors import UserError
from tlkit.export.new_folder import check_new_folder
from tlkit.export.pixels import resize_as_pillow

_PADDING = 114  # grey of what is no image, as `tlkit.data.load_boxes` fills the square
_OUTPUTS = {"boxes", "scores", "labels", "num_detections"}


def export_detector(model: keras.Model, folder: str | os.PathLike[str], *, class_names: Sequence[str]) -> None:
    """Write a SavedModel that takes encoded images and returns boxes; suppression and class names are inside.

    Signature `serving_default`: `image_bytes`, strings `(batch,)` with the contents of JPEG, PNG, BMP or GIF files, to
    `boxes`, floats `(batch, k, 4)`, each x_min, y_min, x_max, y_max in pixels of the file; `scores` `(batch, k)`, the
    highest first; `labels`, strings `(batch, k)`, empty from `num_detections` `(batch,)` on; and `class_names`, strings
    `(batch, classes)`, the same for every image, as TensorFlow Serving wants it (docs/serving.md). An image is fitted
    into the model's square as `load_boxes` does it.

    Signature `pixels`: `images`, floats `(batch, size, size, 3)` in [0, 1], fitted already, to the same with boxes in
    pixels of the square: what the Keras model answers.

    TensorFlow decodes these formats without looking at EXIF rotation: turn such photos before sending them.

    Args:
        model: Of `with_decoder`: images `(batch, size, size, 3)` in [0, 1] to boxes, scores, labels, num_detections.
        folder: Where to write; must be new or empty.
        class_names: Names in the order of the model's numbers.

    Raises:
        UserError: When the model answers with no boxes, its size is not fixed, or `folder` is not empty.
    """
    folder = pathlib.Path(folder)
    size = _check(model, folder)
    names = tf.constant([*class_names, ""])  # the last for rows that only pad, whose number is -1

    def answer(images: tf.Tensor) -> dict[str, tf.Tensor]:
        found = model(images, training=False)
        labels = tf.gather(names, tf.where(found["labels"] < 0, len(class_names), found["labels"]))
        return {**found, "labels": labels, "class_names": tf.tile(names[tf.newaxis, :-1], (tf.shape(images)[0], 1))}

    @tf.function(input_signature=[tf.TensorSpec((None, size, size, 3), tf.float32, "images")], autograph=False)
    def detect_pixels(images: tf.Tensor) -> dict[str, tf.Tensor]:
        return answer(images)

    @tf.function(input_signature=[tf.TensorSpec((None,), tf.string, "image_bytes")], autograph=False)
    def detect(image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        specs = tf.TensorSpec((size, size, 3)), tf.TensorSpec((2,)), tf.TensorSpec((2,))
        images, scales, sides = tf.map_fn(lambda each: _fitted(each, size), image_bytes, fn_output_signature=specs)
        found = answer(images)
        boxes = found["boxes"] * tf.tile(scales, [1, 2])[:, tf.newaxis]
        boxes = tf.clip_by_value(boxes, 0.0, tf.tile(sides, [1, 2])[:, tf.newaxis])
        is_box = tf.sequence_mask(found["num_detections"], tf.shape(boxes)[1])[..., tf.newaxis]
        return {**found, "boxes": tf.where(is_box, boxes, 0.0)}

    served = tf.Module()
    served.detect, served.detect_pixels = detect, detect_pixels
    served.state = [variable.value for variable in model.variables]
    # The gradients of such as swish are of no use here, and not all can be saved.
    options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
    tf.saved_model.save(served, str(folder), {"serving_default": detect, "pixels": detect_pixels}, options)


def largest_box_difference(
    model: keras.Model, exported: str | os.PathLike[str], images: np.ndarray, *, score: float = 0.1
) -> float:
    """Ask the Keras model and the exported one about the same images: the most pixels that a side of a box differs by.

    Args:
        model: The one that was exported.
        exported: The folder.
        images: `(batch, size, size, 3)` in [0, 1].
        score: Detections that are less sure do not count: of equally unsure ones, either model may keep others.

    Returns:
        Pixels; infinite when one of them finds another number of boxes, or boxes of other classes.
    """
    detect = tf.saved_model.load(str(exported)).signatures["pixels"]
    expected, found = model.predict(images, verbose=0), detect(images=tf.constant(images, tf.float32))
    names = [*(name.decode() for name in found["class_names"].numpy()[0]), ""]
    largest = 0.0
    for row in range(len(images)):
        count = int((expected["scores"][row] >= score).sum())
        labels = [names[label].encode() for label in expected["labels"][row][:count]]
        if count != int((found["scores"][row] >= score).numpy().sum()) or labels != list(
            found["labels"][row].numpy()[:count]
        ):
            return float("inf")
        differences = np.abs(expected["boxes"][row][:count] - found["boxes"][row].numpy()[:count])
        largest = max(largest, float(differences.max(initial=0)))
    return largest


def _fitted(encoded: tf.Tensor, size: int) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """An image in a square as `decode_letterboxed` makes it, the factors to pixels of the file, width and height."""
    image = tf.io.decode_image(encoded, channels=3, expand_animations=False)
    image.set_shape((None, None, 3))
    sides = tf.cast(tf.shape(image)[:2], tf.float32)  # height and width
    resized = tf.maximum(tf.round(sides * size / tf.reduce_max(sides)), 1.0)
    height, width = tf.unstack(tf.cast(resized, tf.int32))
    small = resize_as_pillow(image, height, width)
    space = size - tf.cast(resized, tf.int32)
    square = tf.pad(small, [[0, space[0]], [0, space[1]], [0, 0]], constant_values=float(_PADDING)) / 255.0
    return tf.ensure_shape(square, (size, size, 3)), tf.reverse(sides / resized, [0]), tf.reverse(sides, [0])


def _check(model: keras.Model, folder: pathlib.Path) -> int:
    if not isinstance(model.output, dict) or not set(model.output) >= _OUTPUTS:
        raise UserError(
            f"export_detector: the model '{model.name}' answers with no boxes. Expected the outputs "
            f"{', '.join(sorted(_OUTPUTS))}, as `with_decoder` makes them of a detector."
        )
    height, width = model.input_shape[1:3]
    if height is None or height != width:
        raise UserError(
            f"export_detector: the model '{model.name}' takes images of {height} x {width} pixels. Expected one fixed "
            f"side, as `load_boxes` fits images into a square."
        )
    check_new_folder("export_detector", folder)
    return height
