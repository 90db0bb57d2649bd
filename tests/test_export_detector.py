"""A detector as SavedModel: boxes in pixels of each file, whatever its shape, and what is refused."""

import io
import json

import keras
import numpy as np
import pytest
import rest_form
import tensorflow as tf
from PIL import Image

import tlkit
from tlkit.data.boxes.letterbox import PADDING
from tlkit.export import detector_saved_model, export_detector, largest_box_difference


class BrightPlace(keras.layers.Layer):
    """Boxes of two rows: the mean of red as a score, and a box that is fixed; the second row is padding."""

    def call(self, images):
        score = tf.reduce_mean(images[..., 0], [1, 2])
        box = tf.constant([[8.0, 16.0, 24.0, 32.0], [0.0, 0.0, 0.0, 0.0]])
        count = tf.shape(images)[0]
        return {
            "boxes": tf.tile(box[tf.newaxis], [count, 1, 1]),
            "scores": tf.stack([score, tf.zeros_like(score)], axis=1),
            "labels": tf.tile(tf.constant([[1, -1]]), [count, 1]),
            "num_detections": tf.ones([count], tf.int32),
        }


@pytest.fixture(scope="module")
def model():
    images = keras.Input((32, 32, 3))
    return keras.Model(images, BrightPlace()(images))


@pytest.fixture(scope="module")
def exported(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("export") / "detector"
    export_detector(model, folder, class_names=["cat", "dog"])
    return folder


def encoded(width, height, red=255):
    Image.new("RGB", (width, height), (red, 0, 0)).save(file := io.BytesIO(), "png")
    return file.getvalue()


def test_boxes_are_in_pixels_of_each_file(exported):
    detect = tf.saved_model.load(str(exported)).signatures["serving_default"]
    found = detect(image_bytes=tf.constant([encoded(64, 32), encoded(32, 128), encoded(16, 16)]))
    # The longer side is 32 in the square: factors 2, 4 and 1/2; clipped to the file, which is 64, 32 or 16 wide.
    expected = [[16, 32, 48, 32], [32, 64, 32, 128], [4, 8, 12, 16]]
    np.testing.assert_allclose(found["boxes"][:, 0], expected)
    assert not found["boxes"][:, 1].numpy().any()
    assert found["labels"].numpy().tolist() == [[b"dog", b""]] * 3
    # One row an image, or TensorFlow Serving can neither answer by rows nor batch requests.
    assert found["class_names"].numpy().tolist() == [[b"cat", b"dog"]] * 3


def test_the_rest_of_the_square_is_grey(exported):
    detect = tf.saved_model.load(str(exported)).signatures["serving_default"]
    # Half of the square is red, half is grey.
    score = detect(image_bytes=tf.constant([encoded(64, 32)]))["scores"][0, 0]
    np.testing.assert_allclose(score, (1 + PADDING / 255) / 2, atol=1e-5)
    assert detector_saved_model._PADDING == PADDING


def test_pixels_get_the_same_answer_as_from_keras(model, exported):
    images = np.random.default_rng(0).random((3, 32, 32, 3), "float32")
    assert largest_box_difference(model, exported, images) == 0


def test_what_is_refused(model, exported):
    with pytest.raises(tlkit.UserError, match="already holds a SavedModel. Expected a new folder"):
        export_detector(model, exported, class_names=["cat", "dog"])
    images = keras.Input((32, 32, 3))
    with pytest.raises(tlkit.UserError, match="answers with no boxes. Expected the outputs boxes, labels, num_det"):
        export_detector(keras.Model(images, images), "nowhere", class_names=["cat"])
    images = keras.Input((None, None, 3))
    with pytest.raises(tlkit.UserError, match="takes images of None x None pixels. Expected one fixed side"):
        export_detector(keras.Model(images, BrightPlace()(images)), "nowhere", class_names=["cat"])


def test_tensorflow_serving_answers_what_is_documented(exported, tmp_path, monkeypatch):
    signatures = tf.saved_model.load(str(exported)).signatures
    monkeypatch.chdir(tmp_path)
    exec(rest_form.documented()[0], {})  # a photo of 320 x 240: a tenth of it is the square of 32
    (row,) = rest_form.ask(signatures["serving_default"], (tmp_path / "request.json").read_text())["predictions"]
    assert row["boxes"] == [pytest.approx([80, 160, 240, 240]), [0, 0, 0, 0]]
    assert row["labels"] == ["dog", ""] and row["num_detections"] == 1 and row["class_names"] == ["cat", "dog"]
    assert row["scores"][1] == 0 and 0 < row["scores"][0] < 1
    (row,) = rest_form.ask(signatures["pixels"], json.dumps({"instances": np.ones((1, 32, 32, 3)).tolist()}))[
        "predictions"
    ]
    assert row["boxes"][0] == [8, 16, 24, 32] and row["scores"][0] == 1
