"""A trained classifier as a SavedModel that answers without tlkit, from the bytes of an image file."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Sequence

import keras
import tensorflow as tf

from tlkit.export.new_folder import check_new_folder
from tlkit.export.pixels import check_class_names, resize_as_pillow


def export_image_classifier(
    model: keras.Model, folder: str | os.PathLike[str], *, class_names: Sequence[str], image_size: int
) -> None:
    """Write a SavedModel that takes encoded images and returns labels.

    Decoding, resizing and the class names are inside, so the process that serves it needs TensorFlow alone. Its
    signature `serving_default` maps `image_bytes`, strings `(batch,)` with the contents of JPEG, PNG, BMP or GIF
    files, to `label`, strings `(batch,)`, `probabilities`, floats `(batch, classes)`, and `class_names`, strings
    `(batch, classes)`: the same names for every image, because TensorFlow Serving takes only outputs with one row for
    each input, when it answers by rows and when it makes batches of requests (docs/serving.md).

    `label` is the likeliest class, in a multi-label model too; there, read `probabilities`.

    TensorFlow decodes these formats without looking at EXIF rotation, drops transparency instead of putting it on
    white, and cuts 16-bit values to 8: turn and convert such photos before sending them.

    Args:
        model: Classifier that maps images `(batch, image_size, image_size, 3)` in [0, 1] to probabilities.
        folder: Where to write; must be new or empty.
        class_names: Names in the order of the model's outputs.
        image_size: Int. Height and width in pixels that the model was trained on.

    Raises:
        UserError: When the names do not match the model's outputs, or `folder` is not empty.

    Example:
        >>> export_image_classifier(model, "exported", class_names=["ant", "bee"], image_size=128)
        >>> classify = tf.saved_model.load("exported").signatures["serving_default"]
        >>> answer = classify(image_bytes=tf.constant([pathlib.Path("photo.jpg").read_bytes()]))
        >>> answer["probabilities"].shape
        TensorShape([1, 2])
    """
    folder = pathlib.Path(folder)
    check_class_names("export_image_classifier", model, class_names)
    check_new_folder("export_image_classifier", folder)

    names = tf.constant(list(class_names))

    def decode(encoded: tf.Tensor) -> tf.Tensor:
        image = tf.io.decode_image(encoded, channels=3, expand_animations=False)
        image.set_shape((None, None, 3))
        return resize_as_pillow(image, image_size, image_size) / 255.0  # the whole picture, as tlkit.data does it

    @tf.function(input_signature=[tf.TensorSpec((None,), tf.string, "image_bytes")], autograph=False)
    def classify(image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        images = tf.map_fn(decode, image_bytes, fn_output_signature=tf.TensorSpec((image_size, image_size, 3)))
        probabilities = model(images, training=False)
        label = tf.gather(names, tf.argmax(probabilities, axis=-1))
        rows = tf.tile(names[tf.newaxis], (tf.size(image_bytes), 1))
        return {"label": label, "probabilities": probabilities, "class_names": rows}

    # Not with keras.export.ExportArchive, which writes every weight twice (3.15).
    served = tf.Module()
    served.classify, served.state = classify, [variable.value for variable in model.variables]
    # The gradients of such as swish are of no use here, and not all can be saved.
    options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
    tf.saved_model.save(served, str(folder), {"serving_default": classify}, options)
