"""Pairs of a preprocessor and an encoder, as TF-Hub's BERT family: one Backbone from texts to vectors."""

import shutil
import subprocess
import sys
import textwrap

import keras
import numpy as np
import pytest
import tensorflow as tf
import text_models

import tlkit
from tlkit.callbacks import ProgressiveUnfreezing
from tlkit.distribution import choose_strategy
from tlkit.finetune import prepare_unfreezing

pytest.importorskip("tensorflow_text")

TEXTS = ["the good film", "Bad films. not good", "a " * 30]
LABELS = np.array([1.0, 0.0, 1.0])


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pair")
    text_models.save_preprocessor(folder / "preprocessor")
    text_models.save_encoder(folder / "encoder")
    return folder


@pytest.fixture(scope="module")
def original(folders):
    """Both, as TensorFlow loads them; before the layer, which must work without tensorflow-text imported by others."""
    return [tf.saved_model.load(str(folders / name)) for name in ("preprocessor", "encoder")]


@pytest.fixture(scope="module")
def backbone(folders):
    return tlkit.load_backbone(folders / "encoder", preprocessor=folders / "preprocessor")


def classifier(backbone):
    texts = keras.Input((), dtype="string")
    return keras.Model(texts, keras.layers.Dense(1)(backbone(texts)))


def test_it_is_both_one_after_the_other(backbone, original):
    preprocessor, encoder = original
    expected = encoder(preprocessor(tf.constant(TEXTS)), training=False)["default"]
    np.testing.assert_allclose(backbone(TEXTS), expected, atol=1e-6)
    np.testing.assert_allclose(backbone(np.array(TEXTS)), expected, atol=1e-6)
    assert backbone.input_in_words == "Takes texts, lower-cased, cut after 12 tokens"
    # [CLS] the good film [SEP]; [CLS] bad film ##s . not good [SEP]; 30 letters and two marks.
    assert backbone.count_tokens(TEXTS).tolist() == [5, 8, 32]


def test_stages_are_the_embedding_and_the_blocks(backbone):
    # Three tables, gamma and beta; query, key, value, output, two norms of two, two dense kernels; the pooler's two.
    assert [(stage.name, len(stage.weights)) for stage in backbone.stages] == [
        ("embedding", 5),
        ("block_0", 10),
        ("block_1", 12),
    ]


def test_a_vector_a_token_at_another_length(folders, original):
    preprocessor, encoder = original
    pair = {"preprocessor": folders / "preprocessor", "outputs": "sequence", "sequence_length": 6}
    backbone = tlkit.load_backbone(folders / "encoder", **pair, stages=2)
    tokens = preprocessor.bert_pack_inputs([preprocessor.tokenize(tf.constant(TEXTS))], seq_length=tf.constant(6))
    expected = encoder(tokens)["sequence_output"]
    assert expected.shape == (3, 6, text_models.WIDTH)
    np.testing.assert_allclose(backbone(TEXTS), expected, atol=1e-6)
    assert backbone.compute_output_spec(keras.KerasTensor((None,), "string")).shape == (None, 6, text_models.WIDTH)
    assert [stage.name for stage in backbone.stages] == ["stage_1", "stage_2"]


def test_what_is_padding_in_every_text_is_not_computed(folders, original):
    """12 tokens are the preprocessor's length, 8 the longest here: the rest of each text's vectors is zeros."""
    preprocessor, encoder = original
    backbone = tlkit.load_backbone(folders / "encoder", preprocessor=folders / "preprocessor", outputs="sequence")
    expected = encoder(preprocessor(tf.constant(TEXTS[:2])))["sequence_output"]
    vectors = backbone(TEXTS[:2]).numpy()
    np.testing.assert_allclose(vectors[:, :8], expected[:, :8], atol=1e-6)
    assert vectors.shape == expected.shape and not vectors[:, 8:].any()


def test_one_function_that_cuts_as_it_will(folders, original, tmp_path):
    """A preprocessor without halves and with the faster tokenizer, whose vocabulary is a constant of the graph."""
    text_models.save_preprocessor(tmp_path / "whole", length=8, halves=False, kind="fast")
    backbone = tlkit.load_backbone(folders / "encoder", preprocessor=tmp_path / "whole")
    assert backbone.input_in_words == "Takes texts, lower-cased, cut after 8 tokens"
    preprocessor = tf.saved_model.load(str(tmp_path / "whole"))
    expected = original[1](preprocessor(tf.constant(TEXTS)))["default"]
    np.testing.assert_allclose(backbone(TEXTS), expected, atol=1e-6)
    with pytest.raises(tlkit.UserError, match="does not tell how many tokens"):
        backbone.count_tokens(TEXTS)
    with pytest.raises(tlkit.UserError, match="cuts texts after 8 tokens only, since it has no `tokenize`"):
        tlkit.load_backbone(folders / "encoder", preprocessor=tmp_path / "whole", sequence_length=6)


@pytest.mark.slow
def test_the_keras_file_is_complete(folders, tmp_path):
    """It holds vocabulary and tokenizer; a fresh process needs neither folder, nor an import but tlkit's."""
    pair = shutil.copytree(folders, tmp_path / "pair")
    backbone = tlkit.load_backbone(pair / "encoder", preprocessor=pair / "preprocessor")
    backbone.unfreeze(last=1)
    model = classifier(backbone)
    expected = model.predict_on_batch(tf.constant(TEXTS))
    model.save(tmp_path / "model.keras")
    shutil.rmtree(pair)
    script = f"""
        import sys, numpy as np, tensorflow as tf, tlkit
        model = tlkit.load_model({str(tmp_path / "model.keras")!r})
        backbone = model.get_layer("backbone")
        assert [stage.is_open for stage in backbone.stages] == [False, False, True]
        assert backbone.text.sequence_length == 12 and backbone.count_tokens(["the film"]).tolist() == [4]
        np.save({str(tmp_path / "got.npy")!r}, model.predict_on_batch(tf.constant({TEXTS!r})))
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=True, capture_output=True, text=True)
    np.testing.assert_allclose(np.load(tmp_path / "got.npy"), expected, atol=1e-6)


def test_the_last_block_opens_during_fit_on_two_devices(folders):
    with choose_strategy("mirrored").scope():
        backbone = tlkit.load_backbone(folders / "encoder", preprocessor=folders / "preprocessor")
        texts = keras.Input((), dtype="string")
        model = keras.Model(texts, keras.layers.Dense(1)(backbone(texts)))
        model.compile(keras.optimizers.Adam(1e-2), "mse")
    prepare_unfreezing(model)
    before = [[weight.numpy() for weight in stage.weights] for stage in backbone.stages]
    data = tf.data.Dataset.from_tensor_slices((TEXTS + ["not bad"], np.append(LABELS, 1.0))).batch(4)
    unfreezing = ProgressiveUnfreezing(schedule={0: 0, 1: 1}, verbose=0)
    model.fit(data, epochs=2, shuffle=False, verbose=0, callbacks=[unfreezing])
    moved = [
        any((weight.numpy() != old).any() for weight, old in zip(stage.weights, values, strict=True))
        for stage, values in zip(backbone.stages, before, strict=True)
    ]
    assert moved == [False, False, True]


def test_dropout_and_mixed_precision(folders):
    keras.mixed_precision.set_global_policy("mixed_bfloat16")
    pair = {"preprocessor": folders / "preprocessor", "training_mode": True}
    backbone = tlkit.load_backbone(folders / "encoder", **pair)
    backbone.unfreeze()
    assert backbone(TEXTS).dtype == tf.bfloat16 and backbone.weights[0].dtype == "float32"
    once, twice = (backbone(TEXTS, training=True).numpy().astype(float) for _ in range(2))
    assert np.abs(once - twice).max() > 1e-3  # other features were dropped
    np.testing.assert_array_equal(backbone(TEXTS), backbone(TEXTS, training=False))


def test_a_tokenizer_of_sentencepiece(folders, original, tmp_path):
    """Its model is a resource, no table; it must be in the file."""
    pytest.importorskip("sentencepiece")
    text_models.save_preprocessor(tmp_path / "pieces", kind="sentencepiece")
    preprocessor = tf.saved_model.load(str(tmp_path / "pieces"))
    expected = original[1](preprocessor(tf.constant(TEXTS)))["default"]
    backbone = tlkit.load_backbone(folders / "encoder", preprocessor=tmp_path / "pieces")
    np.testing.assert_allclose(backbone(TEXTS), expected, atol=1e-6)
    number = preprocessor.tokenize(tf.constant(TEXTS)).row_lengths().numpy() + 2
    assert backbone.count_tokens(TEXTS).tolist() == number.tolist()
    again = tlkit.Backbone.from_config(backbone.get_config())
    again.build((None,))
    again.set_weights(backbone.get_weights())
    np.testing.assert_array_equal(again(TEXTS), backbone(TEXTS))


def test_random_weights(folders, backbone):
    random = tlkit.load_backbone(folders / "encoder", preprocessor=folders / "preprocessor", weights="random")
    weights = {weight.name: weight.numpy() for weight in random.weights}
    np.testing.assert_array_equal(weights["embeddings.layer_norm.gamma"], np.ones(text_models.WIDTH))
    np.testing.assert_array_equal(weights["pooler_transform.bias"], np.zeros(text_models.WIDTH))
    query = weights["transformer.layer_0.self_attention.query.kernel"]
    assert query.std() == pytest.approx(0.02, rel=0.2)  # of 256 numbers
    features = random(TEXTS).numpy()
    assert np.isfinite(features).all() and np.abs(features - backbone(TEXTS)).max() > 1e-2


class TestErrors:
    def test_no_preprocessor(self, folders):
        sentence = (
            "takes no texts but numbers of tokens: input_mask, input_type_ids, input_word_ids. Expected `preproc"
            "essor`, .* preprocessor='https://tfhub.dev/tensorflow/bert_en_uncased_preprocess/3' if that is the vocab"
        )
        with pytest.raises(tlkit.UserError, match=sentence):
            tlkit.load_backbone(folders / "encoder")

    def test_the_size_of_the_vocabulary_tells_which(self, tmp_path):
        text_models.save_encoder(tmp_path / "encoder", blocks=1, rows=28996)
        sentence = (
            "'https://tfhub.dev/tensorflow/bert_en_cased_preprocess/3', which has its vocabulary of 28,996 tokens"
        )
        with pytest.raises(tlkit.UserError, match=sentence):
            tlkit.load_backbone(tmp_path / "encoder")

    def test_more_tokens_than_positions(self, folders):
        with pytest.raises(tlkit.UserError, match="from 3 to 24, the positions that .* Received: sequence_length=30"):
            tlkit.load_backbone(folders / "encoder", preprocessor=folders / "preprocessor", sequence_length=30)

    def test_no_preprocessor_at_all(self, folders):
        with pytest.raises(tlkit.UserError, match="is no preprocessor: it cannot be called on a batch of texts"):
            tlkit.load_backbone(folders / "encoder", preprocessor=folders / "encoder")
        with pytest.raises(tlkit.UserError, match="'nowhere' is not a SavedModel"):
            tlkit.load_backbone(folders / "encoder", preprocessor="nowhere")

    def test_a_vocabulary_that_is_too_large(self, folders, tmp_path):
        text_models.save_encoder(tmp_path / "small", blocks=1, rows=50)
        sentence = "does not fit the encoder in .* Expected numbers below 50, the rows of its table. Found: 63."
        with pytest.raises(tlkit.UserError, match=sentence):
            tlkit.load_backbone(tmp_path / "small", preprocessor=folders / "preprocessor")

    def test_one_that_makes_something_else(self, folders, tmp_path):
        module = tf.train.Checkpoint()
        module.__call__ = tf.function(lambda texts: {"input_word_ids": tf.strings.length(texts)[:, None]})
        module.__call__.get_concrete_function(tf.TensorSpec((None,), tf.string))
        tf.saved_model.save(module, str(tmp_path / "other"))
        sentence = (
            "does not fit the encoder in .*, which also takes input_mask, input_type_ids. .* makes: input_word_ids"
        )
        with pytest.raises(tlkit.UserError, match=sentence):
            tlkit.load_backbone(folders / "encoder", preprocessor=tmp_path / "other")


def test_it_is_described(folders):
    from tlkit.backbones.describe import describe_backbone

    told = describe_backbone(str(folders / "encoder"), preprocessor=str(folders / "preprocessor"), sequence_length=6)
    assert told["scan"] == "nothing suspicious" and "maps" not in told
    assert told["input"] == "Takes texts, lower-cased, cut after 6 tokens"
    assert told["tokens"] == "outputs='sequence' gives a vector for each; count_tokens() tells how many a text has"
    assert told["stages"].startswith("3 (name and parameters, input first): embedding ")
    assert told["training"].endswith("training_mode=True in the model's own (moving BatchNorm, dropout)")
