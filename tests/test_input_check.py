"""What a backbone says of a batch that it cannot take: which dimension, type or range is wrong, and what to type."""

import re

import keras
import numpy as np
import pytest
import tensorflow as tf

import tlkit
from tlkit.errors import exit_on_user_error


@pytest.fixture(scope="module")
def backbone(image_model):
    return tlkit.load_backbone(str(image_model))


@pytest.fixture
def images():
    return np.random.default_rng(0).random((2, 32, 32, 3), "float32")


def said(backbone, batch):
    with pytest.raises(tlkit.UserError) as error:
        backbone.check_images(batch)
    return str(error.value).replace(f"'{backbone.handle}'", "'it'")


def test_right_ones(backbone, images):
    backbone.check_images(images)
    backbone.check_images(images * 1.3 - 0.2)  # an augmentation that overshoots
    backbone.check_images(images[:0])
    backbone.check_images(images.astype("float16"))


@pytest.mark.parametrize(
    ("change", "received", "advice"),
    [
        (lambda x: x[0], "(batch, 32, 3)", "for one image `image[None]`"),
        (lambda x: x[..., 0], "(batch, 32, 32)", "for grey ones `tf.image.grayscale_to_rgb(images[..., None])`"),
        (lambda x: x[..., :1], "(batch, 32, 32, 1)", "Make grey images coloured: `tf.image.grayscale_to_rgb(images)`."),
        (
            lambda x: np.repeat(x, 2, -1)[..., :4],
            "(batch, 32, 32, 4)",
            "Leave the alpha channel out: `images[..., :3]`.",
        ),
        (lambda x: np.repeat(x, 2, -1), "(batch, 32, 32, 6)", "Give images of 3 channels."),
        (
            lambda x: x.transpose(0, 3, 1, 2),
            "(batch, 3, 32, 32)",
            "The channels must come last: `tf.transpose(images, [",
        ),
        (lambda x: x.reshape(2, -1), "(batch, 3072)", "Give batches of images."),
    ],
)
def test_shapes(backbone, images, change, received, advice):
    sentence = said(backbone, change(images))
    assert sentence.startswith(
        f"Backbone: 'it' does not take inputs of shape {received}. Expected (batch, any, any, 3). "
    )
    assert advice in sentence


@pytest.mark.parametrize(
    ("change", "rest"),
    [
        (
            lambda x: (x * 255).astype("uint8"),
            "received images of uint8. Expected floats in [0, 1]. Divide pixels from 0 to 255: "
            "`tf.cast(images, 'float32') / 255`.",
        ),
        (lambda x: np.round(x) * 255, "received pixels from 0 to 255. Expected [0, 1]. Divide them by 255."),
        (
            lambda x: np.round(x) * 2 - 1,
            "received pixels from -1 to 1. Expected [0, 1]. Bring them from [-1, 1] to [0, 1]: `(images + 1) / 2`; the "
            "backbone does the rest.",
        ),
        (
            lambda x: np.round(x) * 4.5 - 2,
            "received pixels from -2 to 2.5. Expected [0, 1]. "
            "Leave out normalisation; the backbone does what it needs.",
        ),
        (lambda x: x * np.nan, "received pixels that are not numbers (NaN). Expected [0, 1]. Clean the data."),
    ],
)
def test_types_and_ranges(backbone, images, change, rest):
    assert said(backbone, change(images)) == f"Backbone: 'it' {rest}"


def test_a_call_warns_of_pixels_and_raises_for_the_rest(backbone, images):
    with pytest.warns(UserWarning, match=re.escape("Expected [0, 1]. Divide them by 255.")):
        backbone(images * 255)
    with pytest.raises(tlkit.UserError, match="received images of uint8"):
        backbone((images * 255).astype("uint8"))
    with pytest.raises(tlkit.UserError, match="Make grey images coloured"):
        backbone(images[..., :1])


def test_a_model_is_refused_while_it_is_built(backbone):
    with pytest.raises(tlkit.UserError, match="received images of uint8"):
        backbone(keras.Input((32, 32, 3), dtype="uint8"))
    with pytest.raises(tlkit.UserError, match=r"does not take inputs of shape \(batch, 32, 32, 1\)"):
        backbone(keras.Input((32, 32, 1)))


def test_a_suffix_takes_features_of_any_range(backbone, images):
    prefix, suffix = backbone.split(2)
    suffix(prefix(images) * 1000)
    suffix.check_images(prefix(images) * 1000)


def test_predictions_inside_a_function_are_not_looked_at(backbone, images):
    tf.function(backbone)(images * 255)


def test_fit_stops_at_pixels_up_to_255(image_model, images):
    inputs = keras.Input((32, 32, 3))
    model = keras.Model(inputs, keras.layers.Dense(1)(tlkit.load_backbone(str(image_model))(inputs)))
    model.compile("sgd", "mse")
    model.fit(images * 1.4, np.ones(2), verbose=0)  # what an augmentation may make of [0, 1]
    with pytest.raises(tf.errors.InvalidArgumentError, match="received pixels far above 1. .* Divide them by 255"):
        model.fit(images * 255, np.ones(2), verbose=0)
    with pytest.raises(SystemExit), exit_on_user_error():
        model.fit(images * 255, np.ones(2), verbose=0)
