"""The embedded text encoder: small, complete, and finite on whatever text comes."""

import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

import tlkit
from tlkit.backbones.catalog import find
from tlkit.backbones.load import EMBEDDED_FOLDER

FOLDER = EMBEDDED_FOLDER / "mini_text"
HANDLE = "tlkit:mini-text"
ODD = {
    "empty": "",
    "spaces": " \t\n\u00a0\u3000 ",
    "zero byte": "a\x00b",
    "no UTF-8": b"caf\xe9 \xff\xfe ok",
    "cut in a letter": "naïve".encode()[:3],
    "emoji": "👩‍👩‍👧 🏳️‍🌈 so good 😂😂",
    "right to left": "مرحبا بالعالم שלום עולם",
    "no spaces": "今日は良い天気ですね",
    "combining marks": "Z͑ͫ̓ͪ̂ͫ̽͏̴̙̤̞͉͚̯̞̠͍A̴̵̜̰͔ͫ͗͢L̠ͨͧͩ͘G̴̻͈͍͔̹̑͗̎̅͛́Ǫ̵̹̻̝̳͂̌̌͘!",
    "one long word": "x" * 100_000,
    "100,000 characters": "good film. " * 9091,
    "marks": "?!...,,;;'\"()[]{}<>\\/|~`@#$%^&*_+-=",
}


@pytest.fixture(scope="module")
def backbone():
    return tlkit.load_backbone(HANDLE)


@pytest.fixture(scope="module")
def saved_model():
    return tf.saved_model.load(str(FOLDER))


def vectors(backbone, *texts):
    return backbone(tf.constant(texts)).numpy()


def cosine(a, b):
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


# What is in the package ---------------------------------------------------------------------------


def test_it_takes_less_than_8_mb():
    size = sum(path.stat().st_size for path in FOLDER.rglob("*") if path.is_file())
    assert 1e6 < size < 8e6


def test_the_catalogue_tells_what_it_is(backbone):
    entry = find(HANDLE)
    assert (entry.kind, entry.languages, entry.licence) == ("text", "English", "Apache-2.0")
    assert entry.features == vectors(backbone, "a").shape[1]
    assert entry.weights == backbone.count_params()
    assert entry.stages == len(backbone.stages)


def test_the_table_of_words_is_the_first_stage(backbone):
    assert [stage.name for stage in backbone.stages] == ["embedding", "layer_1"]
    [table] = backbone.stages[0].weights
    assert table.shape == (13_048, 128)  # 11,000 words, and 2,048 rows for n-grams


# What a text becomes ------------------------------------------------------------------------------


def test_lifted_it_computes_what_the_saved_model_does(backbone, saved_model):
    texts = tf.constant(["The film was great!", "What is a xylothumper?", *ODD.values()])
    np.testing.assert_array_equal(backbone(texts), saved_model(texts))


def test_case_accents_and_space_do_not_count(backbone):
    plain, *others = vectors(
        backbone, "a cafe, isn't it", "A CAFE, Isn't It", "  a   café ,isn’t\tit\n", "a cafe, is not it"
    )
    for other in others:
        np.testing.assert_allclose(other, plain, rtol=1e-5, atol=1e-6)


def test_unknown_words_are_told_apart_by_their_spelling(backbone):
    one, related, unrelated = vectors(backbone, "zorblatting", "zorblatted", "quixmumfy")
    assert cosine(one, related) > cosine(one, unrelated)
    assert not np.allclose(one, unrelated)
    # Of an unknown number only the length counts.
    short, same, long = vectors(backbone, "7391826", "5550123", "73918264650")
    np.testing.assert_array_equal(short, same)
    assert not np.allclose(short, long)


def test_the_order_of_words_counts(backbone):
    one, other = vectors(backbone, "good, not bad", "bad, not good")
    assert not np.allclose(one, other)


def test_a_neighbour_in_the_batch_does_not_count(backbone):
    texts = ["good film", "", "bad film", "not", "xqzt"]
    together = vectors(backbone, *texts)
    alone = np.concatenate([vectors(backbone, text) for text in texts])
    np.testing.assert_allclose(together, alone, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("text", ODD.values(), ids=ODD.keys())
def test_odd_texts_give_finite_vectors(backbone, text):
    [vector] = vectors(backbone, text)
    assert np.isfinite(vector).all()
    assert np.abs(vector).max() < 1e3
    words = text.strip() if isinstance(text, str) else text
    assert vector.any() == bool(words)  # zeros for what holds no word


def test_a_batch_without_texts(backbone):
    assert backbone(tf.constant([], tf.string)).shape == (0, find(HANDLE).features)


def test_alike_in_meaning_is_alike_in_vectors(backbone):
    one, alike, other = vectors(
        backbone, "How far is it to the moon?", "What is the distance to the sun?", "The soup tasted awful."
    )
    assert cosine(one, alike) > cosine(one, other)


# Training and saving ------------------------------------------------------------------------------


def test_the_gradient_reaches_the_rows_of_the_words_that_stand_there():
    backbone = tlkit.load_backbone(HANDLE)
    backbone.unfreeze()
    [table] = backbone.stages[0].weights
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(backbone(tf.constant(["good good film"])))
    gradients = tape.gradient(loss, backbone.trainable_variables)
    rows = tf.convert_to_tensor(gradients[[v is table for v in backbone.trainable_variables].index(True)])
    assert np.count_nonzero(np.abs(rows.numpy()).sum(1)) == 2
    assert all(np.abs(tf.convert_to_tensor(g)).max() > 0 for g in gradients)


def test_a_fresh_process_reloads_it_from_a_keras_file(backbone, tmp_path):
    inputs = keras.Input((), dtype="string")
    model = keras.Model(inputs, keras.layers.Dense(2)(backbone(inputs)))
    path = tmp_path / "model.keras"
    model.save(path)
    texts = ["good film", "", "zorblatting"]
    code = (
        "import sys, numpy as np, tensorflow as tf, tlkit\n"
        "np.save(sys.argv[2], tlkit.load_model(sys.argv[1])(tf.constant(sys.argv[3:])).numpy())"
    )
    subprocess.run([sys.executable, "-c", code, path, tmp_path / "y.npy", *texts], check=True, timeout=300)
    np.testing.assert_array_equal(np.load(tmp_path / "y.npy"), model(tf.constant(texts)))
    assert path.stat().st_size < 9e6
