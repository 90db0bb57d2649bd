"""How far two models are apart: by arithmetic, and on files of every format."""

import io

import keras
import numpy as np
import pytest
from PIL import Image

import tlkit
from tlkit.export import export_image_classifier, export_litert, export_onnx, measure_agreement
from tlkit.export.agreement import compare

EXPECTED = np.array([[0.75, 0.25], [0.5, 0.5], [0.25, 0.75]])
ANSWERS = np.array([[0.5, 0.5], [0.25, 0.75], [0.25, 0.75]])


def test_by_arithmetic():
    agreement = compare(EXPECTED, ANSWERS, multi_label=False)
    # Differences are 1/4 in the first two images and 0 in the third; the second changes from class 0 to class 1.
    assert agreement == (3, 0.25, 4 * 0.25 / 6, 2 / 3, 0)


def test_in_multi_label_models_all_decisions_count():
    # Above one half: {0} and {}, {} and {1}, {1} and {1}.
    assert compare(EXPECTED, ANSWERS, multi_label=True).same_answers == 1 / 3


@pytest.fixture
def images():
    # Smooth, as photos are: a JPEG of it decodes to nearly the same pixels.
    ramps = np.arange(32)[None, :, None, None] * np.arange(1, 7)[:, None, None, None]
    return np.broadcast_to(ramps, (6, 32, 32, 3)).astype(np.uint8)


@pytest.fixture
def model(image_model):
    inputs = keras.Input((32, 32, 3))
    head = keras.layers.Dense(2, activation="softmax", kernel_initializer=keras.initializers.RandomNormal(0, 5, 0))
    return keras.Model(inputs, head(tlkit.load_backbone(str(image_model))(inputs)))


@pytest.mark.parametrize("file", ["folder", "m.tflite", "m.onnx"])
def test_files_of_every_format_are_asked(file, model, images, tmp_path):
    names = {"class_names": ["a", "b"]}
    if file == "folder":
        export_image_classifier(model, tmp_path / file, image_size=32, **names)
    else:
        {"m.tflite": export_litert, "m.onnx": export_onnx}[file](model, tmp_path / file, **names)
    agreement = measure_agreement(model, tmp_path / file, images)
    assert (agreement.num_examples, agreement.same_answers) == (6, 1)
    assert agreement.largest_difference < 1e-5
    # It does compare: a model with other weights disagrees.
    model.layers[-1].set_weights([-weight for weight in model.layers[-1].get_weights()])
    assert measure_agreement(model, tmp_path / file, images).largest_difference > 0.01


def test_a_saved_model_is_asked_about_the_files_themselves(model, images, tmp_path):
    export_image_classifier(model, tmp_path / "saved", class_names=["a", "b"], image_size=32)
    encoded = []
    for image in images:
        buffer = io.BytesIO()
        Image.fromarray(image).rotate(180 if len(encoded) == 3 else 0).save(buffer, "PNG")
        encoded.append(buffer.getvalue())
    agreement = measure_agreement(model, tmp_path / "saved", images, encoded=encoded)
    assert agreement.worst_example == 3


def test_mistakes(model, images, tmp_path):
    with pytest.raises(tlkit.UserError, match="there is no '.*m.tflite'"):
        measure_agreement(model, tmp_path / "m.tflite", images)
    (tmp_path / "m.tflite").touch()
    with pytest.raises(tlkit.UserError, match=r"`images` are float64 of shape \(6, 32, 32, 3\). Expected pixels"):
        measure_agreement(model, tmp_path / "m.tflite", images / 255)
