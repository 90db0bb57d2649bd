"""A trained text classifier as a SavedModel that answers without tlkit, from plain strings."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Sequence

import keras
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from tlkit.errors import UserError
from tlkit.export.new_folder import check_new_folder
from tlkit.export.pixels import check_class_names, takes_texts


def export_text_classifier(
    model: keras.Model, folder: str | os.PathLike[str], *, class_names: Sequence[str]
) -> tuple[str, ...]:
    """Write a SavedModel that takes texts and returns labels.

    Tokenizer, vocabulary and the class names are inside, so the process that serves it needs TensorFlow alone, and
    what this function returns. Its signature `serving_default` maps `texts`, strings `(batch,)` in UTF-8, to `label`,
    strings `(batch,)`, `probabilities`, floats `(batch, classes)`, and `class_names`, strings `(batch, classes)`: the
    same names for every text, because TensorFlow Serving takes only outputs with one row for each input, when it
    answers by rows and when it makes batches of requests.

    `label` is the likeliest class, in a multi-label model too; there, read `probabilities`.

    TensorFlow Serving wants the folder as a numbered version, `models/topics/1/`, and answers over HTTP:

        POST http://localhost:8501/v1/models/topics:predict
        {"instances": ["first text", "second text"]}
        -> {"predictions": [{"label": "ant", "probabilities": [0.9, 0.1], "class_names": ["ant", "bee"]}, …]}

    Args:
        model: Classifier that maps strings, `(batch,)` or `(batch, 1)`, to probabilities.
        folder: Where to write; must be new or empty.
        class_names: Names in the order of the model's outputs.

    Returns:
        The packages that a process must import before it loads the model, because they bring operations that
        TensorFlow lacks: `("tensorflow_text",)` where one of its tokenizers is inside, mostly `()`.

    Raises:
        UserError: When the model takes no texts, the names do not match its outputs, or `folder` is not
            empty.

    Example:
        >>> words = keras.layers.TextVectorization(output_mode="multi_hot", vocabulary=["legs", "wings"])
        >>> inputs = keras.Input((), dtype="string")
        >>> topics = keras.Model(inputs, keras.layers.Dense(2, activation="softmax")(words(inputs)))
        >>> export_text_classifier(topics, "topics/1", class_names=["ant", "bee"])
        ()
        >>> classify = tf.saved_model.load("topics/1").signatures["serving_default"]
        >>> classify(texts=tf.constant(["six legs", "four wings"]))["probabilities"].shape
        TensorShape([2, 2])

    Reference: TensorFlow Serving, "RESTful API", https://www.tensorflow.org/tfx/serving/api_rest
    """
    folder = pathlib.Path(folder)
    check_text_classifier("export_text_classifier", model, class_names)
    check_new_folder("export_text_classifier", folder)
    names = tf.constant(list(class_names))

    @tf.function(input_signature=[tf.TensorSpec((None,), tf.string, "texts")], autograph=False)
    def classify(texts: tf.Tensor) -> dict[str, tf.Tensor]:
        probabilities = model(as_inputs(model, texts), training=False)
        return {
            "label": tf.gather(names, tf.argmax(probabilities, axis=-1)),
            "probabilities": tf.cast(probabilities, tf.float32),
            "class_names": tf.tile(names[None], (tf.size(texts), 1)),
        }

    served = tf.Module()
    served.classify = classify
    # Keras finds the tables and vocabulary files of every layer. Over the same layers, but not the model itself, which
    # would bring its optimizer: three times the size.
    served.layers = keras.Model(model.inputs, model.outputs)
    # The gradients of such as swish are of no use here, and not all can be saved.
    options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
    tf.saved_model.save(served, str(folder), {"serving_default": classify}, options)
    return packages_of(folder)


def check_text_classifier(caller: str, model: keras.Model, class_names: Sequence[str]) -> None:
    """Raise unless the model maps one string an example to one number for each class."""
    if not takes_texts(model) or model.input_shape not in ((None,), (None, 1)):
        shape = getattr(model, "input_shape", None)
        raise UserError(
            f"{caller}: the model's input has shape {shape}. Expected one string for each text, (batch,). "
            f'Build it on `keras.Input((), dtype="string")`, with the tokenizer inside.'
        )
    check_class_names(caller, model, class_names)


def as_inputs(model: keras.Model, texts: tf.Tensor) -> tf.Tensor:
    """Strings `(batch,)` in the shape that the model takes: some of Keras's examples have `(batch, 1)`."""
    return texts if len(model.input_shape) == 1 else texts[:, None]


def packages_of(folder: pathlib.Path) -> tuple[str, ...]:
    """The packages that bring those operations of a SavedModel which TensorFlow itself lacks."""
    saved_model = saved_model_pb2.SavedModel.FromString((folder / "saved_model.pb").read_bytes())
    operations = set()
    for meta_graph in saved_model.meta_graphs:
        graph = meta_graph.graph_def
        operations.update(node.op for node in graph.node)
        operations.update(node.op for function in graph.library.function for node in function.node_def)
    # Some of tensorflow_text's are called "TFText>…", others just FastWordpieceTokenizeWithOffsets or SentencepieceOp.
    foreign = [name for name in operations if not hasattr(tf.raw_ops, name)]
    return tuple(sorted({"tensorflow_addons" if n.startswith("Addons>") else "tensorflow_text" for n in foreign}))
