"""How far an exported model's answers are from the Keras model's."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Sequence
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tlkit.errors import UserError
from tlkit.export.pixels import import_extra
from tlkit.export.text_saved_model import as_inputs


class Agreement(NamedTuple):
    """What two models say about the same images or texts.

    Attributes:
        num_examples: How many images or texts both were asked about.
        largest_difference: Of one probability, over all examples and classes.
        mean_difference: The mean over examples and classes of a probability's absolute difference.
        same_answers: Share of examples with the same answer: the likeliest class, or, in a multi-label model, the set
            of classes above one half.
        worst_example: Number of the example with the largest difference.
    """

    num_examples: int
    largest_difference: float
    mean_difference: float
    same_answers: float
    worst_example: int


def measure_agreement(
    model: keras.Model,
    exported: str | os.PathLike[str],
    images: np.ndarray,
    *,
    encoded: Sequence[bytes] | None = None,
    multi_label: bool = False,
) -> Agreement:
    """Ask the Keras model and the exported one about the same images.

    Args:
        model: The Keras model that was exported; takes images in [0, 1].
        exported: A `.tflite` or `.onnx` file, or the folder of a SavedModel, as tlkit writes them.
        images: Uint8 RGB pixels `(n, height, width, 3)` of the model's size. Not those that int8 was calibrated on.
        encoded: For a SavedModel, the contents of the images' files, which it decodes for itself: what it makes of
            them is part of the difference then. Defaults to PNGs of `images`, which decode to the same pixels.
        multi_label: Whether each class is a yes or no of its own.

    Raises:
        UserError: When there is no such file, `images` are no pixels, or the package that runs the format is missing.

    Example:
        >>> from tlkit.export import export_litert
        >>> export_litert(model, "half.tflite", class_names=["ant", "bee"], quantize="float16")
        ()
        >>> images = np.random.default_rng(0).integers(0, 256, (8, 128, 128, 3), dtype=np.uint8)
        >>> measure_agreement(model, "half.tflite", images).largest_difference < 0.01
        True
    """
    exported = pathlib.Path(exported)
    if not exported.exists():
        raise UserError(f"measure_agreement: there is no '{exported}'. Expected an exported model.")
    if images.dtype != np.uint8 or images.ndim != 4 or not len(images):
        raise UserError(
            f"measure_agreement: `images` are {images.dtype} of shape {images.shape}. Expected pixels from 0 to 255, "
            f"uint8 (n, height, width, 3). Give the images as `decode_image` reads them."
        )
    expected = model.predict(images.astype("float32") / 255, batch_size=32, verbose=0)
    if exported.is_dir():
        answers = _ask_saved_model(exported, encoded or [tf.io.encode_png(image).numpy() for image in images])
    else:
        answers = (_ask_onnx if exported.suffix == ".onnx" else _ask_litert)(exported, images)
    return compare(expected.astype("float32"), answers, multi_label=multi_label)


def measure_agreement_on_texts(
    model: keras.Model, exported: str | os.PathLike[str], texts: Sequence[str], *, multi_label: bool = False
) -> Agreement:
    """Ask the Keras model and the exported one about the same texts.

    The Keras model is asked in batches, the exported one about one text at a time, as most programs do: what the
    texts beside it in a batch do to a text's answer is part of the difference.

    Args:
        model: The Keras model that was exported; maps strings to probabilities.
        exported: The folder of a SavedModel, as `export_text_classifier` writes it.
        texts: At least one.
        multi_label: Whether each class is a yes or no of its own.

    Raises:
        UserError: When there is no such folder, or no text.
    """
    exported, texts = pathlib.Path(exported), list(texts)
    if not (exported / "saved_model.pb").is_file():
        raise UserError(f"measure_agreement_on_texts: there is no SavedModel in '{exported}'. Expected its folder.")
    if not texts:
        raise UserError("measure_agreement_on_texts: `texts` is empty. Expected texts to ask both models about.")
    inputs = as_inputs(model, tf.constant(texts))
    expected = model.predict(inputs, batch_size=32, verbose=0)
    classify = tf.saved_model.load(str(exported)).signatures["serving_default"]
    answers = [classify(texts=tf.constant([text]))["probabilities"].numpy() for text in texts]
    return compare(expected.astype("float32"), np.concatenate(answers), multi_label=multi_label)


def compare(expected: np.ndarray, answers: np.ndarray, *, multi_label: bool) -> Agreement:
    """The agreement of two arrays of probabilities `(examples, classes)`."""
    differences = np.abs(expected - answers)
    if multi_label:
        same = ((expected > 0.5) == (answers > 0.5)).all(axis=1)
    else:
        same = expected.argmax(axis=1) == answers.argmax(axis=1)
    return Agreement(
        num_examples=len(expected),
        largest_difference=float(differences.max()),
        mean_difference=float(differences.mean()),
        same_answers=float(same.mean()),
        worst_example=int(differences.max(axis=1).argmax()),
    )


def _ask_saved_model(folder: pathlib.Path, encoded: Sequence[bytes]) -> np.ndarray:
    classify = tf.saved_model.load(str(folder)).signatures["serving_default"]
    answers = [classify(image_bytes=tf.constant([content]))["probabilities"].numpy() for content in encoded]
    return np.concatenate(answers)


def _ask_litert(file: pathlib.Path, images: np.ndarray) -> np.ndarray:
    interpreter = import_extra("measure_agreement", "ai_edge_litert.interpreter", "litert").Interpreter(str(file))
    classify = interpreter.get_signature_runner()
    return np.concatenate([classify(image=image[None])["probabilities"] for image in images])


def _ask_onnx(file: pathlib.Path, images: np.ndarray) -> np.ndarray:
    runtime = import_extra("measure_agreement", "onnxruntime", "onnx")
    session = runtime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    return np.concatenate([session.run(["probabilities"], {"image": image[None]})[0] for image in images])
