"""Whether a batch is what a backbone takes: shape, type, range."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from tlkit.errors import UserError

# Augmentation may overshoot [0, 1] a little (noise, contrast); pixels in [0, 255] or [-1, 1] are farther off.
_SLACK = 0.5
_FAR = 10.0  # no augmentation of pixels in [0, 1] comes here; those of pixels in [0, 255] all but do


def check_shape(shape: Sequence[int | None], expected: Sequence[int | None], handle: str) -> None:
    """Raise when a model does not take inputs of this shape; both without the batch, None where any number fits.

    Raises:
        UserError: When it does not, naming the dimension that differs.
    """
    shape, expected = tuple(shape), tuple(expected)
    fits = len(shape) == len(expected) and all(
        None in pair or pair[0] == pair[1] for pair in zip(shape, expected, strict=True)
    )
    if fits:
        return
    wanted = "(" + ", ".join(["batch", *("any" if n is None else str(n) for n in expected)]) + ")"
    received = "(" + ", ".join(["batch", *map(str, shape)]) + ")"
    raise UserError(
        f"Backbone: '{handle}' does not take inputs of shape {received}. Expected {wanted}. {_advice(shape, expected)}"
    )


def _advice(shape: tuple[int | None, ...], expected: tuple[int | None, ...]) -> str:
    if not expected:
        return "Give one text for each row: `tf.squeeze(texts, -1)` takes a last dimension of 1 away."
    if len(expected) != 3:
        return "Look at what the model's page says of its input."
    if len(shape) == 2:
        return (
            "Give batches: for one image `image[None]`, for grey ones `tf.image.grayscale_to_rgb(images[..., None])`."
        )
    if len(shape) != 3:
        return "Give batches of images."
    if shape[0] == expected[2] and shape[2] != expected[2]:
        return "The channels must come last: `tf.transpose(images, [0, 2, 3, 1])`."
    if shape[2] == 1:
        return "Make grey images coloured: `tf.image.grayscale_to_rgb(images)`."
    if shape[2] == 4:
        return "Leave the alpha channel out: `images[..., :3]`."
    if shape[2] != expected[2]:
        return f"Give images of {expected[2]} channels."
    return "Resize the images, or load the backbone with the `image_size` of your data."


def check_type(dtype: tf.DType, handle: str) -> None:
    """Raise when images are not floats.

    Raises:
        UserError: When they are whole numbers, which would silently be 255 times too bright.
    """
    if not tf.as_dtype(dtype).is_floating:
        raise UserError(
            f"Backbone: '{handle}' received images of {tf.as_dtype(dtype).name}. Expected floats in [0, 1]. Divide "
            f"pixels from 0 to 255: `tf.cast(images, 'float32') / 255`."
        )


def stop_at_wrong_pixels(images: tf.Tensor, handle: str) -> None:
    """Inside a `tf.function`, let it fail at pixels far beyond [0, 1] (not under XLA, which leaves checks out)."""
    largest = tf.reduce_max(images)
    sentence = f"UserError: Backbone: '{handle}' received pixels far above 1. Expected [0, 1]. Divide them by 255."
    tf.debugging.Assert(largest < _FAR, [sentence, "The largest is", largest])


def wrong_pixels(images: Any, handle: str) -> str | None:
    """The sentence about pixels far beyond [0, 1]; None for right ones, and for those that a trace does not know."""
    if not (hasattr(images, "numpy") and images.shape.num_elements()):  # symbolic, or empty
        return None
    low, high = float(tf.reduce_min(images)), float(tf.reduce_max(images))
    if -_SLACK <= low and high <= 1 + _SLACK:
        return None
    found, advice = f"from {low:g} to {high:g}", "Leave out normalisation; the backbone does what it needs."
    if math.isnan(low + high):
        found, advice = "that are not numbers (NaN)", "Clean the data."
    elif low >= -_SLACK and high <= 256:
        advice = "Divide them by 255."
    elif -1.5 <= low < 0 and high <= 1.5:
        advice = "Bring them from [-1, 1] to [0, 1]: `(images + 1) / 2`; the backbone does the rest."
    return f"Backbone: '{handle}' received pixels {found}. Expected [0, 1]. {advice}"
