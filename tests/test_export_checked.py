"""An export says how well it agrees with the Keras model, on the spot and in export.json."""

import dataclasses
import json

import keras
import numpy as np
import pytest
import tensorflow as tf

import tlkit
from tlkit.export import export_checked
from tlkit.export.checked import TOLERANCES

NAMES = ["größte Wespe", "bee"]


@pytest.fixture
def model():
    inputs = keras.Input((16, 16, 3))
    head = keras.layers.Dense(2, activation="softmax", kernel_initializer=keras.initializers.RandomNormal(0, 3, 0))
    return keras.Model(inputs, head(keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(8, 3)(inputs))))


@pytest.fixture
def images():
    random = np.random.default_rng(0)
    return (random.uniform(0, 256, (6, 16, 16, 3)) * random.uniform(0.1, 1, (6, 1, 1, 1))).astype(np.uint8)


@pytest.mark.parametrize(
    ("format", "quantize", "file", "tolerance"),
    [
        ("saved-model", None, "saved_model.pb", TOLERANCES["saved-model"]),
        ("litert", None, "model.tflite", TOLERANCES["float32"]),
        ("litert", "int8", "model.tflite", TOLERANCES["int8"]),
        ("onnx", None, "model.onnx", TOLERANCES["float32"]),
    ],
)
def test_the_report_says_what_was_written(format, quantize, file, tolerance, model, images, tmp_path):
    report = export_checked(
        model, tmp_path, format=format, class_names=NAMES, images=images, quantize=quantize, calibration=images
    )
    assert report.agrees
    written = json.loads((tmp_path / "export.json").read_text(encoding="utf-8"))
    assert (written["format"], written["quantize"], written["tolerance"]) == (format, quantize, tolerance)
    assert (written["class_names"], written["image_size"], written["multi_label"]) == (NAMES, 16, False)
    assert written["agreement"]["num_examples"] == 6
    assert written["agreement"]["largest_difference"] == report.agreement.largest_difference
    assert report.difference <= tolerance
    assert written["calibration_images"] == (6 if quantize else 0)
    assert written["versions"]["tlkit"] == tlkit.__version__
    sizes = {path: path.stat().st_size for path in tmp_path.rglob("*") if path.is_file()}
    assert written["bytes"] == sum(sizes.values()) - sizes[tmp_path / "export.json"]
    assert tmp_path / file in sizes


def test_too_large_a_difference_is_no_agreement(model, images, tmp_path):
    # A SavedModel is asked about the files: here, those of other images.
    encoded = [tf.io.encode_png(image).numpy() for image in images[::-1]]
    report = export_checked(model, tmp_path, format="saved-model", class_names=NAMES, images=images, encoded=encoded)
    assert report.agreement.largest_difference > report.tolerance
    assert not report.agrees


@pytest.mark.parametrize(
    ("quantize", "largest", "mean", "agrees"),
    [
        ("int8", 0.5, 0.02, True),
        ("int8", 0.5, 0.1, False),
        ("float16", 0.5, 0.02, False),
        ("float16", 0.01, 0.01, True),
    ],
)
def test_of_int8_the_mean_counts(quantize, largest, mean, agrees, model, images, tmp_path):
    report = export_checked(model, tmp_path, format="saved-model", class_names=NAMES, images=images)
    agreement = report.agreement._replace(largest_difference=largest, mean_difference=mean)
    changed = dataclasses.replace(report, quantize=quantize, agreement=agreement, tolerance=TOLERANCES[quantize])
    assert changed.agrees is agrees


def test_without_images_nothing_is_compared(model, tmp_path):
    report = export_checked(model, tmp_path, format="saved-model", class_names=NAMES, images=np.zeros((0, 16, 16, 3)))
    assert report.agreement is None
    assert json.loads((tmp_path / "export.json").read_text(encoding="utf-8"))["agreement"] is None


def test_a_model_of_16_bit_layers_may_differ_by_more(images, tmp_path):
    keras.config.set_dtype_policy("mixed_bfloat16")
    inputs = keras.Input((16, 16, 3))
    model = keras.Model(inputs, keras.layers.Dense(2, dtype="float32")(keras.layers.GlobalMaxPooling2D()(inputs)))
    report = export_checked(model, tmp_path, format="onnx", class_names=NAMES, images=images)
    assert report.tolerance == TOLERANCES["mixed precision"]
    assert report.agrees


@pytest.mark.parametrize(
    ("kwargs", "sentence"),
    [
        ({"format": "tflite"}, "expected `format` to be one of saved-model, litert, onnx. Received: 'tflite'"),
        ({"format": "onnx", "quantize": "int8"}, "'onnx' has no quantize='int8'. Expected it for 'litert' only"),
    ],
)
def test_mistakes(kwargs, sentence, model, images, tmp_path):
    with pytest.raises(tlkit.UserError, match=sentence):
        export_checked(model, tmp_path / "new", class_names=NAMES, images=images, **kwargs)
    assert not list(tmp_path.iterdir())
