"""The range of pixels that a model expects, read from its graph: each way in which networks prepare their input."""

import keras
import numpy as np
import pytest
import saved_models
import tensorflow as tf

import tlkit

MEAN, DEVIATION = np.array([0.485, 0.456, 0.406], "float32"), np.array([0.229, 0.224, 0.225], "float32")  # ImageNet's


def save(folder, prepare):
    kernel = saved_models.variable("kernel", 3, 3, 3, 4)

    def call(images):
        return tf.reduce_mean(tf.nn.conv2d(prepare(images), kernel, 2, "SAME"), (1, 2))

    saved_models._save(folder, call, tf.TensorSpec((None, None, None, 3), tf.float32), [kernel])


@pytest.mark.parametrize(
    ("prepare", "expected"),
    [
        (lambda x: x, None),
        (lambda x: x * 2 - 1, (0, 1)),
        (lambda x: (x - 0.5) * 2, (0, 1)),
        (lambda x: (x - MEAN) / DEVIATION, (0, 1)),
        (lambda x: x / 255, (0, 255)),
        (lambda x: x * (1 / 255) + 0.0, (0, 255)),
        (lambda x: x / 127.5 - 1, (0, 255)),
        (lambda x: (x - 127.5) / 127.5, (0, 255)),
        (lambda x: (x - 255 * MEAN) / (255 * DEVIATION), (0, 255)),
        (lambda x: (tf.cast(x, tf.float32) - 255 * MEAN) / tf.maximum(tf.sqrt((255 * DEVIATION) ** 2), 1e-7), (0, 255)),
        (lambda x: x - 255 * MEAN, (0, 255)),  # VGG: the mean colour is taken away, nothing else
        (lambda x: 1 - x, None),  # not scaled from the left: not understood, so not guessed
    ],
    ids="none tf tf2 imagenet rescaling rescaling2 inception inception2 torch normalization vgg inverted".split(),
)
def test_preprocessing_tells_the_range(tmp_path, prepare, expected):
    save(tmp_path / "model", prepare)
    backbone = tlkit.load_backbone(str(tmp_path / "model"))
    assert backbone.input_range == expected
    images = np.random.default_rng(0).random((2, 16, 16, 3), "float32")
    original = tf.saved_model.load(str(tmp_path / "model"))
    np.testing.assert_allclose(backbone(images), original(images * (expected or (0, 1))[1]), rtol=1e-4, atol=1e-4)


def test_a_given_range_wins(tmp_path):
    save(tmp_path / "model", lambda x: x / 255)
    assert tlkit.load_backbone(str(tmp_path / "model"), input_range=(0, 1)).input_range == (0, 1)


def test_it_travels_in_the_keras_file(tmp_path):
    save(tmp_path / "model", lambda x: x / 255)
    inputs = keras.Input((16, 16, 3))
    model = keras.Model(inputs, tlkit.load_backbone(str(tmp_path / "model"))(inputs))
    model.save(tmp_path / "model.keras")
    images = np.random.default_rng(0).random((2, 16, 16, 3), "float32")
    np.testing.assert_array_equal(tlkit.load_model(tmp_path / "model.keras")(images), model(images))


def test_features_have_no_range(tmp_path):
    saved_models.save_plain_loop(tmp_path / "model")
    assert tlkit.load_backbone(str(tmp_path / "model")).input_range is None
