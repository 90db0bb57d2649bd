"""The ONNX file answers as the model does, for any number of images, and has its labels inside."""

import json
import sys

import keras
import numpy as np
import onnxruntime
import pytest
import tensorflow as tf

import tlkit
from tlkit.export import export_onnx

NAMES = ["ant", "bee", "größte Wespe"]


def classifier(backbone, activation):
    inputs = keras.Input((32, 32, 3))
    features = keras.layers.BatchNormalization()(tlkit.load_backbone(str(backbone))(inputs))
    head = keras.layers.Dense(3, activation=activation, kernel_initializer=keras.initializers.RandomNormal(0, 0.05, 0))
    return keras.Model(inputs, head(keras.layers.Dropout(0.5)(features)))


@pytest.fixture(scope="module")
def model(image_model):
    return classifier(image_model, "softmax")


@pytest.fixture
def images():
    random = np.random.default_rng(0)
    noise = random.normal(0, 1, (8, 32, 32, 3)) * random.uniform(5, 60, (8, 1, 1, 1))
    return (noise + random.uniform(40, 210, (8, 1, 1, 3))).clip(0, 255).astype(np.uint8)


def open_file(file):
    return onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_answers_as_the_model_does(activation, image_model, images, tmp_path):
    model = classifier(image_model, activation)
    export_onnx(model, tmp_path / "m.onnx", class_names=NAMES)
    expected = model.predict(images / 255.0, verbose=0)
    assert np.ptp(expected, axis=0).min() > 0.1  # else equal answers would say little
    session = open_file(tmp_path / "m.onnx")
    for count in (1, 8):
        (answers,) = session.run(["probabilities"], {"image": images[:count]})
        np.testing.assert_allclose(answers, expected[:count], atol=1e-5)


def test_input_output_and_labels_are_in_the_file(model, tmp_path):
    export_onnx(model, tmp_path / "m.onnx", class_names=NAMES)
    session = open_file(tmp_path / "m.onnx")
    (given,), (got,) = session.get_inputs(), session.get_outputs()
    assert (given.name, given.type, given.shape) == ("image", "tensor(uint8)", ["batch", 32, 32, 3])
    assert (got.name, got.type, got.shape) == ("probabilities", "tensor(float)", ["batch", 3])
    metadata = session.get_modelmeta().custom_metadata_map
    assert {key: json.loads(value) for key, value in metadata.items()} == {"class_names": NAMES, "image_size": [32, 32]}


@pytest.mark.slow
def test_the_size_is_that_of_the_weights(tmp_path):
    inputs = keras.Input((128, 128, 3))
    model = keras.Model(inputs, keras.layers.Dense(3)(tlkit.load_backbone("tlkit:mini-image")(inputs)))
    export_onnx(model, tmp_path / "m.onnx", class_names=NAMES)
    assert 0.95 < (tmp_path / "m.onnx").stat().st_size / (4 * model.count_params()) < 1.05


def test_a_model_of_16_bit_layers_is_exported_in_32(image_model, images, tmp_path):
    keras.config.set_dtype_policy("mixed_bfloat16")
    inputs = keras.Input((32, 32, 3))
    features = tlkit.load_backbone(str(image_model))(inputs)
    model = keras.Model(inputs, keras.layers.Dense(3, activation="softmax", dtype="float32")(features))
    export_onnx(model, tmp_path / "m.onnx", class_names=NAMES)
    (answers,) = open_file(tmp_path / "m.onnx").run(None, {"image": images})
    np.testing.assert_allclose(answers, model.predict(images / 255.0, verbose=0), atol=0.02)


def test_tensors_that_a_layer_keeps_are_exported(images, tmp_path):
    """Normalization keeps its mean so; the gradient of swish, which TensorFlow defines itself, is in the way then."""
    inputs = keras.Input((32, 32, 3))
    scaled = keras.layers.Normalization(mean=[0.4, 0.5, 0.6], variance=[0.1, 0.2, 0.3])(inputs)
    scaled = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(4, 3, activation="swish")(scaled))
    model = keras.Model(inputs, keras.layers.Dense(3, activation="softmax")(scaled))
    export_onnx(model, tmp_path / "m.onnx", class_names=NAMES)
    (answers,) = open_file(tmp_path / "m.onnx").run(None, {"image": images})
    np.testing.assert_allclose(answers, model.predict(images / 255.0, verbose=0), atol=1e-5)


# Mistakes -------------------------------------------------------------------------------------------------------------


def test_names_must_match(model, tmp_path):
    with pytest.raises(tlkit.UserError, match="has 3 outputs. Expected one for each of the 2 `class_names`"):
        export_onnx(model, tmp_path / "m.onnx", class_names=["a", "b"])


def test_nothing_is_overwritten(model, tmp_path):
    (tmp_path / "m.onnx").write_bytes(b"mine")
    with pytest.raises(tlkit.UserError, match="m.onnx' is there already. Expected a new file"):
        export_onnx(model, tmp_path / "m.onnx", class_names=NAMES)
    assert (tmp_path / "m.onnx").read_bytes() == b"mine"


def test_an_operation_without_a_form_is_named(tmp_path):
    class Odd(keras.layers.Layer):
        def call(self, inputs):
            return tf.math.digamma(inputs)

    inputs = keras.Input((8, 8, 3))
    model = keras.Model(inputs, keras.layers.Dense(3)(keras.layers.GlobalAveragePooling2D()(Odd()(inputs))))
    with pytest.raises(tlkit.UserError, match="ONNX has no form for the model's operations Digamma. Expected"):
        export_onnx(model, tmp_path / "m.onnx", class_names=NAMES)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("missing", ["onnx", "tf2onnx"])
def test_without_the_extra(missing, model, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(tlkit.UserError, match=rf"'{missing}' is missing. .* Run `pip install 'tlkit\[onnx\]'`"):
        export_onnx(model, tmp_path / "m.onnx", class_names=NAMES)
