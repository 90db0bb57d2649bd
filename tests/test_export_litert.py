"""The LiteRT file answers as the model does, is as small as it says, and has its labels inside."""

import struct
import sys
import zipfile

import keras
import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from ai_edge_litert.tools import flatbuffer_utils

import tlkit
from tlkit.export import export_litert

NAMES = ["ant", "bee", "größte Wespe"]


def classifier(backbone, image_size, activation="softmax"):
    """A head with weights large enough for answers that differ from image to image."""
    inputs = keras.Input((image_size, image_size, 3))
    features = keras.layers.BatchNormalization()(tlkit.load_backbone(backbone, image_size=image_size)(inputs))
    head = keras.layers.Dense(3, activation=activation, kernel_initializer=keras.initializers.RandomNormal(0, 0.05, 0))
    return keras.Model(inputs, head(keras.layers.Dropout(0.5)(features)))


@pytest.fixture(scope="module")
def model(image_model):
    return classifier(str(image_model), 32)


@pytest.fixture
def images():
    # Of different brightness and contrast: answers to mere noise would all be alike.
    random = np.random.default_rng(0)
    noise = random.normal(0, 1, (16, 32, 32, 3)) * random.uniform(5, 60, (16, 1, 1, 1))
    return (noise + random.uniform(40, 210, (16, 1, 1, 3))).clip(0, 255).astype(np.uint8)


def ask(file, images):
    classify = Interpreter(str(file)).get_signature_runner("serving_default")
    return np.concatenate([classify(image=image[None])["probabilities"] for image in images])


def operations(file):
    content = flatbuffer_utils.read_model(str(file))
    return {
        flatbuffer_utils.opcode_to_name(content, operator.opcodeIndex)
        for subgraph in content.subgraphs
        for operator in subgraph.operators
    }


@pytest.mark.parametrize(
    ("quantize", "tolerance"),
    [
        (None, 1e-5),  # the same numbers, added up in another order
        ("float16", 0.01),  # weights to 11 bits
        ("int8", 0.1),  # 8 bits, step after step
    ],
)
def test_answers_as_the_model_does(quantize, tolerance, model, images, tmp_path):
    expected = model.predict(images / 255.0, verbose=0)
    assert np.ptp(expected, axis=0).min() > 0.1  # else equal answers would say little
    export_litert(model, tmp_path / "m.tflite", class_names=NAMES, quantize=quantize, calibration=images)
    answers = ask(tmp_path / "m.tflite", images)
    assert answers.dtype == np.float32
    np.testing.assert_allclose(answers, expected, atol=tolerance)


def test_each_class_of_a_multi_label_model_has_its_own_probability(image_model, images, tmp_path):
    model = classifier(str(image_model), 32, "sigmoid")
    export_litert(model, tmp_path / "m.tflite", class_names=NAMES)
    answers = ask(tmp_path / "m.tflite", images)
    np.testing.assert_allclose(answers, model.predict(images / 255.0, verbose=0), atol=1e-5)
    assert np.ptp(answers.sum(axis=1)) > 0.1


def test_takes_one_image_of_pixels(model, tmp_path):
    export_litert(model, tmp_path / "m.tflite", class_names=NAMES)
    (given,) = Interpreter(str(tmp_path / "m.tflite")).get_input_details()
    assert (given["dtype"], given["shape"].tolist()) == (np.uint8, [1, 32, 32, 3])


def test_labels_are_read_from_the_file(model, tmp_path):
    export_litert(model, tmp_path / "m.tflite", class_names=NAMES)
    with zipfile.ZipFile(tmp_path / "m.tflite") as archive:
        assert archive.namelist() == ["labels.txt"]
        assert archive.read("labels.txt").decode() == "ant\nbee\ngrößte Wespe\n"


def test_the_metadata_names_the_labels_of_the_output(model, tmp_path):
    """By hand, as the flatbuffer format is described: https://flatbuffers.dev/internals."""
    export_litert(model, tmp_path / "m.tflite", class_names=NAMES)
    content = flatbuffer_utils.read_model(str(tmp_path / "m.tflite"))
    (entry,) = [entry for entry in content.metadata if entry.name == b"TFLITE_METADATA"]
    data = bytes(content.buffers[entry.buffer].data)
    assert data[4:8] == b"M001"

    def number(position, form="I"):
        return struct.unpack_from(f"<{form}", data, position)[0]

    def field(table, slot):
        return table + number(table - number(table, "i") + 4 + 2 * slot, "H")

    def follow(table, slot):
        place = field(table, slot)
        return place + number(place)

    def first(table, slot):
        vector = follow(table, slot)
        assert number(vector) == 1
        return vector + 4 + number(vector + 4)

    def text(table, slot):
        string = follow(table, slot)
        return data[string + 4 : string + 4 + number(string)].decode()

    # Slots are the positions of the fields in metadata_schema.fbs.
    subgraph = first(number(0), 3)
    pixels, probabilities = first(subgraph, 2), first(subgraph, 3)
    assert number(field(follow(pixels, 3), 0), "B") == 2  # ContentProperties.ImageProperties
    image = follow(follow(pixels, 3), 1)
    assert number(field(image, 0), "B") == 1  # ColorSpaceType.RGB
    assert [number(field(follow(image, 1), slot)) for slot in (0, 1)] == [32, 32]
    labels = first(probabilities, 6)
    assert text(labels, 0) == "labels.txt"
    assert number(field(labels, 2), "B") == 2  # AssociatedFileType.TENSOR_AXIS_LABELS


@pytest.mark.slow
def test_sizes_are_those_of_the_weights(tmp_path):
    model = classifier("tlkit:mini-image", 128)
    photos = np.random.default_rng(0).integers(0, 256, (4, 128, 128, 3), dtype=np.uint8)
    size = {}
    for quantize in (None, "float16", "int8"):
        file = tmp_path / f"{quantize}.tflite"
        assert export_litert(model, file, class_names=NAMES, quantize=quantize, calibration=photos) == ()
        size[quantize] = file.stat().st_size / (4 * model.count_params())
        assert not [name for name in operations(file) if name.startswith(("Flex", "VAR", "READ", "CALL"))]
    assert 0.95 < size[None] < 1.05  # each weight once
    assert 0.5 < size["float16"] < 0.55
    assert 0.25 < size["int8"] < 0.4  # a quarter, and the ranges of 5,000 channels


def test_a_model_of_16_bit_layers_is_exported_in_32(image_model, images, tmp_path):
    keras.config.set_dtype_policy("mixed_bfloat16")
    inputs = keras.Input((32, 32, 3))
    head = keras.Sequential([keras.layers.Dropout(0.2), keras.layers.Dense(3, activation="softmax", dtype="float32")])
    model = keras.Model(inputs, head(tlkit.load_backbone(str(image_model))(inputs)))
    export_litert(model, tmp_path / "m.tflite", class_names=NAMES)
    tensors = flatbuffer_utils.read_model(str(tmp_path / "m.tflite")).subgraphs[0].tensors
    assert {flatbuffer_utils.type_to_name(tensor.type) for tensor in tensors} <= {"FLOAT32", "UINT8", "INT32"}
    # bfloat16 keeps 8 bits of a feature.
    np.testing.assert_allclose(ask(tmp_path / "m.tflite", images), model.predict(images / 255.0, verbose=0), atol=0.02)
    assert model.layers[-1].layers[0].compute_dtype == "bfloat16"  # the model itself stays as it is


def test_tensors_that_a_layer_keeps_are_exported(images, tmp_path):
    """Normalization keeps its mean so; the gradient of swish, which TensorFlow defines itself, is in the way then."""
    inputs = keras.Input((32, 32, 3))
    scaled = keras.layers.Normalization(mean=[0.4, 0.5, 0.6], variance=[0.1, 0.2, 0.3])(inputs)
    scaled = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(4, 3, activation="swish")(scaled))
    model = keras.Model(inputs, keras.layers.Dense(3, activation="softmax")(scaled))
    export_litert(model, tmp_path / "m.tflite", class_names=NAMES)
    np.testing.assert_allclose(ask(tmp_path / "m.tflite", images), model.predict(images / 255.0, verbose=0), atol=1e-5)


def test_operations_that_stay_in_floats_are_named(images, tmp_path):
    inputs = keras.Input((32, 32, 3))
    features = keras.layers.GlobalAveragePooling2D()(keras.ops.sin(keras.layers.Conv2D(4, 3)(inputs)))
    model = keras.Model(inputs, keras.layers.Dense(3, activation="softmax")(features))
    export = {"class_names": NAMES, "quantize": "int8", "calibration": images}
    assert export_litert(model, tmp_path / "m.tflite", **export) == ("SIN",)


# Mistakes -------------------------------------------------------------------------------------------------------------


def small(operation=lambda x: x, shape=(8, 8, 3)):
    inputs = keras.Input(shape)
    return keras.Model(inputs, keras.layers.Dense(3)(keras.layers.GlobalAveragePooling2D()(operation(inputs))))


@pytest.mark.parametrize(
    ("kwargs", "sentence"),
    [
        ({"class_names": ["a"]}, "the model has 3 outputs. Expected one for each of the 1 `class_names`"),
        ({"class_names": ["a", "b\nc", "d"]}, r"the class name 'b\\nc' is not one line"),
        ({"quantize": "int4"}, "expected `quantize` to be None, 'float16' or 'int8'. Received: 'int4'"),
        ({"quantize": "int8"}, "quantize='int8' needs `calibration`. Expected 100 to 200 training images"),
        (
            {"quantize": "int8", "calibration": np.zeros((4, 8, 8, 3))},
            r"is float64 of shape \(4, 8, 8, 3\). Expected pixels from 0 to 255, uint8 \(n, 8, 8, 3\)",
        ),
        ({"quantize": "int8", "calibration": np.zeros((0, 8, 8, 3), "uint8")}, r"is uint8 of shape \(0, 8, 8, 3\)"),
        ({"file": "model.onnx"}, "'model.onnx' does not end in '.tflite'"),
    ],
)
def test_a_mistake_is_one_sentence(kwargs, sentence, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(tlkit.UserError, match=sentence):
        export_litert(small(), **{"file": "m.tflite", "class_names": NAMES, **kwargs})
    assert not list(tmp_path.iterdir())


def test_the_images_must_have_one_size(tmp_path):
    with pytest.raises(tlkit.UserError, match=r"input has shape \(None, None, None, 3\). Expected images of one size"):
        export_litert(small(shape=(None, None, 3)), tmp_path / "m.tflite", class_names=NAMES)


def test_nothing_is_overwritten(tmp_path):
    (tmp_path / "m.tflite").write_bytes(b"mine")
    with pytest.raises(tlkit.UserError, match="m.tflite' is there already. Expected a new file"):
        export_litert(small(), tmp_path / "m.tflite", class_names=NAMES)
    assert (tmp_path / "m.tflite").read_bytes() == b"mine"


@pytest.mark.parametrize(
    ("operation", "name"),
    [
        # None of LiteRT's, though its "select" kernels have it; then one that even they lack.
        (lambda x: x * tf.linalg.det(x[..., 0])[:, None, None, None], "MatrixDeterminant"),
        (tf.math.digamma, "Digamma"),
    ],
)
def test_an_operation_without_a_kernel_is_named(operation, name, tmp_path):
    class Odd(keras.layers.Layer):
        def call(self, inputs):
            return operation(inputs)

    with pytest.raises(tlkit.UserError, match=f"LiteRT has no kernel for the model's operations {name}. Expected"):
        export_litert(small(Odd()), tmp_path / "m.tflite", class_names=NAMES)
    assert not list(tmp_path.iterdir())


def test_state_beside_the_weights_is_refused(tmp_path):
    state = tf.Variable(2.0)

    class Odd(keras.layers.Layer):
        def call(self, inputs):
            return inputs * state

    with pytest.raises(tlkit.UserError, match="variables or lookup tables that are none of its Keras weights"):
        export_litert(small(Odd()), tmp_path / "m.tflite", class_names=NAMES)


def test_without_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ai_edge_litert", None)
    monkeypatch.setitem(sys.modules, "ai_edge_litert.tools.flatbuffer_utils", None)
    with pytest.raises(tlkit.UserError, match=r"Expected the extra 'litert' of tlkit. Run `pip install 'tlkit\[litert"):
        export_litert(small(), tmp_path / "m.tflite", class_names=NAMES)
