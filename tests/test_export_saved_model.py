"""The exported classifier answers from image bytes, without tlkit."""

import io
import json
import subprocess
import sys

import keras
import numpy as np
import pytest
import rest_form
import tensorflow as tf
from PIL import Image

import tlkit
from tlkit.export import export_image_classifier


@pytest.fixture(scope="module")
def model(image_model):
    inputs = keras.Input((32, 32, 3))
    features = tlkit.load_backbone(str(image_model))(inputs)
    return keras.Model(inputs, keras.layers.Dense(3, activation="softmax")(features))


def encoded(pixels, form="PNG"):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, form)
    return buffer.getvalue()


@pytest.fixture
def photos():
    return np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), dtype=np.uint8)


def test_answers_as_the_model_does(model, photos, tmp_path):
    export_image_classifier(model, tmp_path / "out", class_names=["a", "b", "c"], image_size=32)
    classify = tf.saved_model.load(str(tmp_path / "out")).signatures["serving_default"]
    answer = classify(image_bytes=tf.constant([encoded(photo) for photo in photos]))
    expected = model.predict(photos / 255.0, verbose=0)
    np.testing.assert_allclose(answer["probabilities"], expected, atol=1e-6)
    # One row an image, or TensorFlow Serving can neither answer by rows nor batch requests.
    assert answer["class_names"].numpy().tolist() == [[b"a", b"b", b"c"]] * 4
    assert [name.decode() for name in answer["label"].numpy()] == ["abc"[i] for i in expected.argmax(-1)]


def test_other_sizes_and_formats_are_taken(model, photos, tmp_path):
    export_image_classifier(model, tmp_path / "out", class_names=["a", "b", "c"], image_size=32)
    classify = tf.saved_model.load(str(tmp_path / "out")).signatures["serving_default"]
    grey = encoded(photos[0, :, :16, 0])
    answer = classify(image_bytes=tf.constant([grey, encoded(photos[1], "JPEG"), encoded(photos[2], "GIF")]))
    np.testing.assert_allclose(answer["probabilities"].numpy().sum(-1), np.ones(3), atol=1e-5)


@pytest.mark.slow
def test_answers_in_a_process_without_tlkit(model, photos, tmp_path):
    export_image_classifier(model, tmp_path / "out", class_names=["a", "b", "c"], image_size=32)
    (tmp_path / "photo.png").write_bytes(encoded(photos[0]))
    script = (
        "import sys, tensorflow as tf\n"
        "classify = tf.saved_model.load(sys.argv[1]).signatures['serving_default']\n"
        "print(classify(image_bytes=tf.constant([open(sys.argv[2], 'rb').read()]))['label'].numpy()[0].decode())\n"
        "assert 'tlkit' not in sys.modules\n"
    )
    arguments = [sys.executable, "-c", script, str(tmp_path / "out"), str(tmp_path / "photo.png")]
    printed = subprocess.run(arguments, capture_output=True, text=True, timeout=120)
    assert printed.returncode == 0, printed.stderr
    assert printed.stdout.strip() == "abc"[model.predict(photos[:1] / 255.0, verbose=0).argmax()]


def test_names_must_match(model, tmp_path):
    with pytest.raises(tlkit.UserError, match="has 3 outputs. Expected one for each of the 2 `class_names`"):
        export_image_classifier(model, tmp_path / "out", class_names=["a", "b"], image_size=32)


def test_nothing_is_overwritten(model, tmp_path):
    (tmp_path / "saved_model.pb").write_bytes(b"mine")
    with pytest.raises(tlkit.UserError, match="already holds a SavedModel. Expected a new folder"):
        export_image_classifier(model, tmp_path, class_names=["a", "b", "c"], image_size=32)
    assert (tmp_path / "saved_model.pb").read_bytes() == b"mine"


def test_each_weight_is_written_once(model, tmp_path):
    export_image_classifier(model, tmp_path / "out", class_names=["a", "b", "c"], image_size=32)
    written = tf.train.list_variables(str(tmp_path / "out" / "variables" / "variables"))
    assert sum(np.prod(shape) for name, shape in written if "OBJECT_GRAPH" not in name) == model.count_params()


def test_tensorflow_serving_answers_what_is_documented(model, tmp_path, monkeypatch):
    export_image_classifier(model, tmp_path / "1", class_names=["a", "b", "c"], image_size=32)
    classify = tf.saved_model.load(str(tmp_path / "1")).signatures["serving_default"]
    monkeypatch.chdir(tmp_path)
    exec(rest_form.documented()[0], {})
    body = (tmp_path / "request.json").read_text()
    two = json.dumps({"instances": json.loads(body)["instances"] * 2})
    photo = tf.image.resize(tf.io.decode_jpeg((tmp_path / "photo.jpg").read_bytes()), (32, 32), antialias=True)
    (expected,) = model.predict(photo[None] / 255, verbose=0)
    for rows, sent in ((1, body), (2, two)):
        predictions = rest_form.ask(classify, sent)["predictions"]
        assert len(predictions) == rows
        for row in predictions:
            assert row["label"] == "abc"[expected.argmax()] and row["class_names"] == ["a", "b", "c"]
            np.testing.assert_allclose(row["probabilities"], expected, atol=1e-6)
    b64 = json.loads(body)["instances"][0]["image_bytes"]
    outputs = rest_form.ask(classify, json.dumps({"inputs": {"image_bytes": [b64]}}))["outputs"]
    assert outputs["label"] == [predictions[0]["label"]] and outputs["class_names"] == [["a", "b", "c"]]
    np.testing.assert_allclose(outputs["probabilities"], [expected], atol=1e-6)
