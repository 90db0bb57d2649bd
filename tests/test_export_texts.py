"""The exported text classifier answers from plain strings, without tlkit or Keras, and says how well it agrees."""

import json
import subprocess
import sys

import keras
import numpy as np
import pytest
import rest_form
import saved_models
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

import tlkit
from tlkit.export import (
    export_checked,
    export_litert,
    export_onnx,
    export_text_classifier,
    export_texts_checked,
    measure_agreement_on_texts,
)
from tlkit.export.text_saved_model import packages_of

NAMES = ["größte Wespe", "bee", "蜂"]
TEXTS = ["ant", "bee", "cat", "ant ", "", "😀", "دب", "蜂", "x" * 100_000]


def classifier(features, inputs):
    head = keras.layers.Dense(3, activation="softmax", kernel_initializer=keras.initializers.RandomNormal(0, 3, 0))
    return keras.Model(inputs, head(features(inputs)))


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """Over a backbone with a lookup table, and trained for a step, so that there is an optimizer."""
    saved_models.save_lookup_table(folder := tmp_path_factory.mktemp("words"))
    model = classifier(tlkit.load_backbone(str(folder)), keras.Input((), dtype="string"))
    model.get_layer("backbone").unfreeze()
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(tf.constant(["ant", "bee"]), np.array([0, 1]), verbose=0)
    return model


@pytest.fixture(scope="module")
def exported(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported") / "1"
    assert export_text_classifier(model, folder, class_names=NAMES) == ()
    return folder


def test_answers_as_the_model_does(model, exported):
    answer = tf.saved_model.load(str(exported)).signatures["serving_default"](texts=tf.constant(TEXTS))
    expected = model.predict(tf.constant(TEXTS), verbose=0)
    assert np.ptp(expected[:3], axis=0).min() > 0.1  # else equal answers would say little
    np.testing.assert_allclose(answer["probabilities"], expected, atol=1e-6)
    assert [name.decode() for name in answer["label"].numpy()] == [NAMES[number] for number in expected.argmax(-1)]
    # One row a text, or TensorFlow Serving can neither answer by rows nor batch requests.
    assert [[name.decode() for name in row] for row in answer["class_names"].numpy()] == [NAMES] * len(TEXTS)


def test_the_signature_takes_any_number_of_strings(exported):
    classify = tf.saved_model.load(str(exported)).signatures["serving_default"]
    assert classify.structured_input_signature == ((), {"texts": tf.TensorSpec((None,), tf.string, "texts")})
    assert classify(texts=tf.constant([], tf.string))["probabilities"].shape == (0, 3)


def test_tensorflow_serving_answers_what_is_documented(model, exported):
    classify = tf.saved_model.load(str(exported)).signatures["serving_default"]
    expected = model.predict(tf.constant(["where is my parcel?", "thank you"]), verbose=0)
    by_rows, by_columns = rest_form.documented()[1]
    predictions = rest_form.ask(classify, by_rows)["predictions"]
    np.testing.assert_allclose([row["probabilities"] for row in predictions], expected, atol=1e-6)
    assert [row["label"] for row in predictions] == [NAMES[number] for number in expected.argmax(-1)]
    assert [row["class_names"] for row in predictions] == [NAMES] * 2
    outputs = rest_form.ask(classify, by_columns)["outputs"]
    assert outputs["label"] == [predictions[0]["label"]] and outputs["class_names"] == [NAMES]
    np.testing.assert_allclose(outputs["probabilities"], expected[:1], atol=1e-6)
    (named,) = rest_form.ask(classify, '{"instances": [{"texts": "where is my parcel?"}]}')["predictions"]
    np.testing.assert_allclose(named["probabilities"], expected[0], atol=1e-6)


def test_weights_are_written_once_and_the_optimizer_not_at_all(model, exported):
    written = tf.train.list_variables(str(exported / "variables" / "variables"))
    assert sum(np.prod(shape) for name, shape in written if "OBJECT_GRAPH" not in name) == model.count_params()


def test_a_vocabulary_of_keras_comes_along(tmp_path):
    words = keras.layers.TextVectorization(output_mode="multi_hot", vocabulary=["ant", "bee"])
    model = classifier(words, keras.Input((1,), dtype="string"))  # (batch, 1), as in Keras's own examples
    export_text_classifier(model, tmp_path, class_names=NAMES)
    agreement = measure_agreement_on_texts(model, tmp_path, ["Ant!", "bee ant", "cat", ""])
    assert agreement.largest_difference < 1e-6 and agreement.same_answers == 1


# `None` in sys.modules: not to be imported, and TensorFlow, which looks whether Keras is installed, finds none.
PROCESS_WITHOUT_KERAS = """
import json, sys
packages = sys.argv[3:]
hidden = ["tlkit", "keras_hub"] if packages else ["tlkit", "keras_hub", "keras", "tf_keras"]  # they may need Keras
sys.modules.update(dict.fromkeys(hidden))
import tensorflow as tf
for package in packages:
    __import__(package)
answer = tf.saved_model.load(sys.argv[1]).signatures["serving_default"](texts=tf.constant(json.loads(sys.argv[2])))
print(json.dumps([[name.decode() for name in answer["label"].numpy()], answer["probabilities"].numpy().tolist()]))
"""


def ask_without_keras(folder, texts, *packages):
    command = [sys.executable, "-I", "-c", PROCESS_WITHOUT_KERAS, str(folder), json.dumps(texts), *packages]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=folder)


@pytest.mark.slow
def test_answers_in_a_process_without_tlkit_and_keras(model, exported):
    texts = TEXTS[:-1]  # what a command line holds
    done = ask_without_keras(exported, texts)
    assert done.returncode == 0, done.stderr
    labels, probabilities = json.loads(done.stdout)
    expected = model.predict(tf.constant(texts), verbose=0)
    np.testing.assert_allclose(probabilities, expected, atol=1e-6)
    assert labels == [NAMES[number] for number in expected.argmax(-1)]


# What export.json says ------------------------------------------------------------------------------------------------


def test_the_report_says_what_was_written(model, tmp_path):
    report = export_texts_checked(model, tmp_path, class_names=NAMES, texts=TEXTS)
    assert report.agrees and report.agreement.num_examples == len(TEXTS) and report.agreement.same_answers == 1
    written = json.loads((tmp_path / "export.json").read_text(encoding="utf-8"))
    assert (written["format"], written["input"], written["image_size"]) == (
        "saved-model",
        "texts, strings in UTF-8",
        None,
    )
    assert (written["class_names"], written["packages"], written["tolerance"]) == (NAMES, [], 1e-3)
    assert written["agreement"]["largest_difference"] == report.agreement.largest_difference <= 1e-3
    sizes = {path: path.stat().st_size for path in tmp_path.rglob("*") if path.is_file()}
    assert written["bytes"] == sum(sizes.values()) - sizes[tmp_path / "export.json"]


def test_another_model_does_not_agree(model, exported):
    other = keras.models.clone_model(model)
    other.set_weights(model.get_weights())
    kernel, bias = other.layers[-1].get_weights()
    other.layers[-1].set_weights([-kernel, bias])
    agreement = measure_agreement_on_texts(other, exported, ["ant", "bee"])
    assert agreement.largest_difference > 0.1


def test_what_the_other_texts_of_a_batch_do_is_measured(tmp_path):
    @keras.saving.register_keras_serializable("tests")
    class LengthInBatch(keras.layers.Layer):
        """Like a padding that is not masked: the longest text of the batch counts for all."""

        def call(self, texts):
            lengths = tf.cast(tf.strings.length(texts), tf.float32)
            return tf.stack([lengths, tf.zeros_like(lengths) + tf.reduce_max(lengths)], axis=1)

    model = classifier(LengthInBatch(), keras.Input((), dtype="string"))
    report = export_texts_checked(model, tmp_path, class_names=NAMES, texts=["a", "a b c d e"])
    assert report.agreement.worst_example == 0 and not report.agrees


def test_without_texts_nothing_is_compared(model, tmp_path):
    assert export_texts_checked(model, tmp_path, class_names=NAMES, texts=[]).agreement is None


def save_graph(folder, operation, inside_function):
    """A saved_model.pb with one operation, which need not be known here."""
    saved_model = saved_model_pb2.SavedModel()
    graph = saved_model.meta_graphs.add().graph_def
    graph.node.add(name="texts", op="Placeholder")
    if inside_function:
        graph.library.function.add().node_def.add(name="x", op=operation)
    else:
        graph.node.add(name="x", op=operation)
    (folder / "saved_model.pb").write_bytes(saved_model.SerializeToString())


@pytest.mark.parametrize(
    ("operation", "packages"),
    [
        ("LookupTableFindV2", ()),
        ("TFText>WhitespaceTokenizeWithOffsetsV2", ("tensorflow_text",)),
        ("FastWordpieceTokenizeWithOffsets", ("tensorflow_text",)),  # most of its names have no prefix
        ("Addons>SkipGramGenerateCandidates", ("tensorflow_addons",)),
    ],
)
@pytest.mark.parametrize("inside_function", [False, True])
def test_operations_that_tensorflow_lacks_name_their_package(operation, packages, inside_function, tmp_path):
    save_graph(tmp_path, operation, inside_function)
    assert packages_of(tmp_path) == packages


@pytest.mark.slow
def test_a_tokenizer_of_tensorflow_text_is_named_and_needed(tmp_path):
    tensorflow_text = pytest.importorskip("tensorflow_text", exc_type=ImportError)

    class Words(keras.layers.Layer):
        def call(self, texts):
            words = tensorflow_text.WhitespaceTokenizer().tokenize(texts)
            numbers = tf.cast(words.row_lengths(), tf.float32)
            return tf.stack([numbers, -numbers], axis=1)

    model = classifier(Words(), keras.Input((), dtype="string"))
    report = export_texts_checked(model, tmp_path / "1", class_names=NAMES, texts=["a b", "c", ""])
    assert report.agrees and report.packages == ("tensorflow_text",) and "tensorflow_text" in report.versions
    without = ask_without_keras(tmp_path / "1", ["a b"])
    assert without.returncode == 1 and "WhitespaceTokenize" in without.stderr
    done = ask_without_keras(tmp_path / "1", ["a b"], *report.packages)
    assert done.returncode == 0, done.stderr
    np.testing.assert_allclose(json.loads(done.stdout)[1], model.predict(tf.constant(["a b"]), verbose=0), atol=1e-6)


# Mistakes -------------------------------------------------------------------------------------------------------------


def of_images():
    inputs = keras.Input((8, 8, 3))
    return keras.Model(inputs, keras.layers.Dense(3)(keras.layers.Flatten()(inputs)))


def test_a_model_of_images_is_refused(tmp_path):
    with pytest.raises(tlkit.UserError, match=r"input has shape \(None, 8, 8, 3\). Expected one string for each text"):
        export_text_classifier(of_images(), tmp_path / "new", class_names=NAMES)
    assert not list(tmp_path.iterdir())


def test_other_formats_are_refused(model, tmp_path):
    sentence = "the model takes texts, which only a SavedModel can: LiteRT and ONNX have no tokenizers"
    pixels = np.zeros((1, 8, 8, 3), np.uint8)
    with pytest.raises(tlkit.UserError, match=f"export_litert: {sentence}"):
        export_litert(model, tmp_path / "m.tflite", class_names=NAMES)
    with pytest.raises(tlkit.UserError, match=f"export_onnx: {sentence}"):
        export_onnx(model, tmp_path / "m.onnx", class_names=NAMES)
    with pytest.raises(tlkit.UserError, match=f"export_checked: {sentence}"):
        export_checked(model, tmp_path / "new", format="saved-model", class_names=NAMES, images=pixels)
    assert not list(tmp_path.iterdir())


def test_names_must_match(model, tmp_path):
    with pytest.raises(tlkit.UserError, match="has 3 outputs. Expected one for each of the 2 `class_names`"):
        export_texts_checked(model, tmp_path / "new", class_names=["a", "b"], texts=TEXTS)
    assert not list(tmp_path.iterdir())


def test_nothing_is_overwritten(model, tmp_path):
    (tmp_path / "saved_model.pb").write_bytes(b"mine")
    with pytest.raises(tlkit.UserError, match="already holds a SavedModel. Expected a new folder"):
        export_text_classifier(model, tmp_path, class_names=NAMES)
    assert (tmp_path / "saved_model.pb").read_bytes() == b"mine"


def test_there_must_be_something_to_ask(model, exported, tmp_path):
    with pytest.raises(tlkit.UserError, match="there is no SavedModel in '.*nowhere'"):
        measure_agreement_on_texts(model, tmp_path / "nowhere", TEXTS)
    with pytest.raises(tlkit.UserError, match="`texts` is empty"):
        measure_agreement_on_texts(model, exported, [])
