"""A trained classifier as one closed function from pixels to probabilities, which is what converters want."""

from __future__ import annotations

import importlib
import pathlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import tensorflow as tf

from tlkit.errors import UserError


def check_class_names(caller: str, model: keras.Model, class_names: Sequence[str]) -> None:
    """Raise unless there is one name for each output of the model."""
    num_outputs = model.output_shape[-1]
    if num_outputs != len(class_names):
        raise UserError(
            f"{caller}: the model has {num_outputs} outputs. Expected one for each of the "
            f"{len(class_names)} `class_names`. Give the names in the order that the model was trained on."
        )


def new_file(caller: str, file: pathlib.Path, suffix: str) -> None:
    """Raise unless `file` has the suffix of its format and is not there yet; makes its folder."""
    if file.suffix != suffix:
        raise UserError(f"{caller}: '{file}' does not end in '{suffix}'. Expected the name of such a file.")
    if file.exists():
        raise UserError(f"{caller}: '{file}' is there already. Expected a new file. Choose another name or remove it.")
    file.parent.mkdir(parents=True, exist_ok=True)


def import_extra(caller: str, module: str, extra: str) -> Any:
    """Import a module that comes with one of tlkit's extras."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise UserError(
            f"{caller}: the package '{error.name}' is missing. Expected the extra '{extra}' of tlkit. "
            f"Run `pip install 'tlkit[{extra}]'`."
        ) from error


def takes_texts(model: keras.Model) -> bool:
    """Whether the model's one input are strings."""
    inputs = getattr(model, "inputs", None) or ()
    return len(inputs) == 1 and inputs[0].dtype == "string"


def refuse_texts(caller: str, model: keras.Model) -> None:
    """Raise where a model of texts is given to what exports models of images."""
    if takes_texts(model):
        raise UserError(
            f"{caller}: the model takes texts, which only a SavedModel can: LiteRT and ONNX have no tokenizers. "
            f"Expected a model of images. Use `export_text_classifier` or `export_texts_checked`."
        )


def image_size_of(caller: str, model: keras.Model) -> tuple[int, int]:
    """Height and width of the images that the model takes."""
    refuse_texts(caller, model)
    shape = getattr(model, "input_shape", None)
    if not isinstance(shape, tuple) or len(shape) != 4 or shape[3] != 3 or None in shape[1:]:
        raise UserError(
            f"{caller}: the model's input has shape {shape}. Expected images of one size, (batch, height, width, 3). "
            f"Build it on `keras.Input((image_size, image_size, 3))`."
        )
    return shape[1], shape[2]


def resize_as_pillow(image: tf.Tensor, height: int | tf.Tensor, width: int | tf.Tensor) -> tf.Tensor:
    """Resize one image as Pillow does, by which `tlkit.data` reads files: bilinear, with antialiasing, in whole levels.

    Pillow resizes one direction after the other, and rounds to bytes each time, halves up; the height goes first where
    it shrinks, and by more than the width (seen in its version 13). Without that, pixels differ by up to one level of
    255, and probabilities of a network whose images are enlarged by as much as 0.07 (sample photos of 96 px at 128 px).
    Left is what Pillow's fixed-point sums do otherwise at ties, and that it takes averages of pixels first where it
    makes an image much smaller.

    Args:
        image: Tensor `(h, w, 3)` of levels from 0 to 255, any type.
        height: Of the result, in pixels.
        width: Of the result, in pixels.

    Returns:
        Float tensor `(height, width, 3)` of whole numbers from 0 to 255.
    """
    shape = tf.shape(image)
    height_first = tf.maximum(shape[0], height) * width > tf.maximum(shape[1], width) * height
    first = tf.where(height_first, [height, shape[1]], [shape[0], width])
    for size in (first, [height, width]):
        image = tf.floor(tf.image.resize(image, size, antialias=True) + 0.5)
    return image


def pixel_classifier(caller: str, model: keras.Model, batch_size: int | None) -> Callable[..., dict[str, tf.Tensor]]:
    """A TensorFlow function with every weight in it as a constant.

    Converters copy a variable that reaches a wrapped function through its inputs, as those of a `Backbone` do, or
    leave it a variable; constants they fold, quantize and store once.

    Args:
        caller: Name of the public function, for messages.
        model: Classifier that maps images in [0, 1] to probabilities.
        batch_size: Int, or None for any.

    Returns:
        A `tf.function` that maps `image`, uint8 `(batch_size, height, width, 3)`, to a dict with `probabilities`,
        float32 `(batch_size, classes)`. Its one concrete function captures nothing.

    Raises:
        UserError: When the model takes no images of one size, or holds state that no constant can stand for.
    """
    spec = tf.TensorSpec((batch_size, *image_size_of(caller, model), 3), tf.uint8, "image")
    model = _in_float32(model)
    trainable = [variable.numpy() for variable in model.trainable_variables]
    others = [variable.numpy() for variable in model.non_trainable_variables]

    @tf.function(input_signature=[spec], autograph=False)
    def classify(image: tf.Tensor) -> dict[str, tf.Tensor]:
        state = [tf.constant(value) for value in trainable], [tf.constant(value) for value in others]
        # As tlkit.data makes [0, 1] of bytes.
        probabilities, _ = model.stateless_call(*state, tf.cast(image, tf.float32) / 255.0, training=False)
        return {"probabilities": probabilities}

    concrete = classify.get_concrete_function()
    if not concrete.captured_inputs:
        return classify
    # Tensors that a layer made when it was built, such as the mean of keras.layers.Normalization.
    if any(tensor.dtype == tf.resource for tensor in concrete.captured_inputs):
        raise UserError(
            f"{caller}: the model holds variables or lookup tables that are none of its Keras weights. Expected all "
            f"of its state in layers' weights. Export it as a SavedModel with `export_image_classifier`."
        )
    graph_def = concrete.graph.as_graph_def()
    captured = [tensor.numpy() for tensor in concrete.captured_inputs]

    @tf.function(input_signature=[spec], autograph=False)
    def closed(image: tf.Tensor) -> dict[str, tf.Tensor]:
        values = [image, *(tf.constant(value) for value in captured)]
        feeds = {tensor.name: value for tensor, value in zip(concrete.inputs, values, strict=True)}
        output = concrete.structured_outputs["probabilities"].name
        (probabilities,) = tf.graph_util.import_graph_def(graph_def, feeds, [output], name="")
        return {"probabilities": probabilities}

    return closed


def _in_float32(model: keras.Model) -> keras.Model:
    """The model itself, or a copy that computes in float32 where it computes in 16 bits: runtimes lack such casts."""
    if all(layer.compute_dtype == "float32" for layer in _layers(model)):
        return model
    copy = model.__class__.from_config(_with_float32(model.get_config()))
    copy.set_weights(model.get_weights())
    return copy


def _with_float32(config: Any) -> Any:
    """A model's config with every 16-bit policy, and every 16-bit tensor between its layers, in float32."""
    if isinstance(config, (list, tuple)):
        return type(config)(_with_float32(value) for value in config)
    if not isinstance(config, dict):
        return config
    if config.get("class_name") == "DTypePolicy":
        return "float32"
    config = {key: _with_float32(value) for key, value in config.items()}
    if config.get("class_name") in ("InputLayer", "__keras_tensor__") and "float" in config["config"]["dtype"]:
        config["config"]["dtype"] = "float32"
    return config


def _layers(layer: keras.layers.Layer) -> Iterator[keras.layers.Layer]:
    yield layer
    for inner in getattr(layer, "layers", ()):
        yield from _layers(inner)
