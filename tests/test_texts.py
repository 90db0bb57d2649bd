"""What goes into a backbone of texts: case, length, marks, operations, stages by name."""

import keras
import numpy as np
import pytest
import saved_models
import tensorflow as tf

import tlkit
from tlkit.backbones import text_operations
from tlkit.backbones.initial import random_values
from tlkit.backbones.text_stages import block_number, stages_by_block
from tlkit.backbones.texts import TextInput, check_length, count_ragged, find_lower_case


class TestCase:
    def test_found_from_single_letters(self):
        def lengths_and_bytes(texts):
            return tf.ragged.map_flat_values(lambda x: x, tf.strings.unicode_decode(texts, "UTF-8"))

        assert find_lower_case(lengths_and_bytes) is False
        assert find_lower_case(lambda texts: lengths_and_bytes(tf.strings.lower(texts))) is True
        assert find_lower_case(lambda texts: tf.zeros_like(tf.strings.length(texts))) is None  # all unknown

    def test_words(self):
        assert TextInput(64, True).in_words == "Takes texts, lower-cased, cut after 64 tokens"
        assert TextInput(None, False).in_words == "Takes texts, capitals kept"
        told = TextInput(8, None, "the mean over its tokens").in_words
        assert told == "Takes texts, cut after 8 tokens; the vector of a text is the mean over its tokens"


def test_tokens_are_counted_over_words():
    assert count_ragged(tf.ragged.constant([[1, 2], [], [3]])).numpy().tolist() == [2, 0, 1]
    assert count_ragged(tf.ragged.constant([[[1], [2, 3]], [[]], [[4]]])).numpy().tolist() == [3, 0, 1]
    assert count_ragged(tf.constant([[1, 2], [3, 4]])).numpy().tolist() == [2, 2]


@pytest.mark.parametrize(("length", "longest"), [(2, None), (25, 24), (8.0, None), (True, 24)])
def test_a_length_that_is_not_to_be_had(length, longest):
    end = "3 to 24, the positions that 'bert' knows" if longest else "3 on"
    with pytest.raises(tlkit.UserError, match=f"whole number of tokens from {end}. Received: sequence_length={length}"):
        check_length(length, longest, "bert", fewest=3)


class TestStages:
    # As the models write them: TF-Hub's BERT, KerasHub, Hugging Face's TensorFlow models, ALBERT in KerasHub, T5, USE.
    @pytest.mark.parametrize(
        ("name", "number"),
        [
            ("transformer/layer_11/self_attention/query/kernel", 11),
            ("transformer_layer_3/self_attention_layer_norm/gamma", 3),
            ("tf_bert_model/bert/encoder/layer_._2/attention/self/query/kernel", 2),
            ("group_0_inner_layer_1/feedforward/kernel", 0),
            ("encoder/block_4/layer_norm/scale", 4),
            ("EncoderDNN/DNN/ResidualHidden_1/dense/kernel/part_0", 1),
            ("embeddings/layer_norm/gamma", None),
            ("layer_normalization_7/gamma", None),
            ("multi_head_attention_2/query/kernel", None),
            ("Embeddings_en/sharded_5", None),
            ("pooled_dense/kernel", None),
        ],
    )
    def test_block_of_a_name(self, name, number):
        assert block_number(name) == number

    def test_what_stands_outside_goes_with_its_neighbours(self):
        names = [
            "layer_1/kernel",
            "final_norm/gamma",
            "word_embeddings",
            "layer_0/kernel",
            "layer_0/bias",
            "shared_embed",
        ]
        positions = [5, 9, 0, 2, 3, 4]
        expected = {"embedding": [2, 5], "block_0": [3, 4], "block_1": [0, 1]}
        assert stages_by_block(names, positions) == expected

    def test_names_without_blocks(self):
        assert stages_by_block(["kernel", "bias"], [0, 1]) is None
        assert stages_by_block(["layer_1/kernel", "layer_1/bias"], [0, 1]) is None  # one block is all of the model


def save_averaging(folder):
    """Words of a text looked up, averaged, and two dense layers: as nnlm and Universal Sentence Encoder."""
    embeddings = saved_models.variable("embeddings", 4, 3)
    kernels = [saved_models.variable("first/kernel", 3, 5), saved_models.variable("second/kernel", 5, 2, seed=1)]
    bias = saved_models.variable("first/bias", value=[0.1] * 5)
    words = tf.lookup.KeyValueTensorInitializer(["ant", "bee", "cat"], tf.constant([1, 2, 3], tf.int64))
    table = tf.lookup.StaticHashTable(words, 0)

    def call(texts):
        ids = tf.ragged.map_flat_values(table.lookup, tf.strings.split(tf.strings.lower(texts)))
        mean = tf.reduce_mean(tf.ragged.map_flat_values(lambda i: tf.gather(embeddings, i), ids), axis=1)
        return tf.tanh(mean @ kernels[0] + bias) @ kernels[1]

    spec = tf.TensorSpec((None,), tf.string)
    saved_models._save(folder, call, spec, [embeddings, *kernels, bias], table=table)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("averaging") / "model"
    save_averaging(folder)
    return folder


@pytest.fixture(scope="module")
def backbone(folder):
    return tlkit.load_backbone(folder)


class TestModelOfStrings:
    def test_its_table_is_a_stage_and_its_layers_are(self, folder, backbone):
        texts = ["ant bee", "CAT"]
        np.testing.assert_allclose(backbone(texts), tf.saved_model.load(str(folder))(tf.constant(texts)), atol=1e-6)
        named = [(stage.name, [weight.name for weight in stage.weights]) for stage in backbone.stages]
        assert named == [
            ("embedding", ["embeddings"]),
            ("layer_1", ["first.kernel", "first.bias"]),
            ("layer_2", ["second.kernel"]),
        ]

    def test_what_it_does_not_take(self, folder):
        for arguments, sentence in [
            ({"image_size": 32}, "`image_size` is for images, and .* takes texts"),
            ({"input_range": (0, 1)}, "`input_range` is for images, and .* takes texts"),
            ({"outputs": "spatial"}, "`outputs='spatial'` is for images, and .* Expected outputs=\"pooled\"\\."),
            ({"outputs": "sequence"}, "`outputs='sequence'` is not to be had: .* gives no vectors of single tokens"),
            ({"sequence_length": 8}, "`sequence_length` is not for the model in .* takes its input as it comes"),
            ({"preprocessor": folder}, "`preprocessor` is not for the model in "),
        ]:
            with pytest.raises(tlkit.UserError, match=sentence):
                tlkit.load_backbone(folder, **arguments)

    def test_what_it_is_not_given(self, backbone):
        with pytest.raises(
            tlkit.UserError, match="received int32. Expected texts as strings: it cuts them into tokens"
        ):
            backbone(tf.constant([1, 2]))
        with pytest.raises(tlkit.UserError, match=r"inputs of shape \(batch, 1\). .* `tf.squeeze\(texts, -1\)`"):
            backbone(tf.constant([["ant"]]))
        with pytest.raises(tlkit.UserError, match="check_images: .* takes texts. Expected a backbone of images"):
            backbone.check_images(np.zeros((1, 8, 8, 3), "float32"))
        with pytest.raises(tlkit.UserError, match="count_tokens: .* does not tell how many tokens a text has"):
            backbone.count_tokens(["ant"])

    def test_random_weights_are_those_that_bert_starts_with(self, backbone):
        values = random_values(backbone.program)
        kernels = np.concatenate([value.ravel() for value in values if value.ndim > 1])
        assert kernels.std() == pytest.approx(0.02, rel=0.3)  # of 37 numbers
        assert all((value == 0).all() for value in values if value.ndim == 1)

    def test_keras_does_not_compile_it(self, backbone):
        texts = keras.Input((), dtype="string")
        model = keras.Model(texts, keras.layers.Dense(1)(backbone(texts)))
        model.compile("sgd", "mse")
        assert model.jit_compile is False
        with pytest.warns(UserWarning, match="Model doesn't support `jit_compile=True`"):
            model.compile("sgd", "mse", jit_compile=True)

    def test_images_have_no_length(self, image_model):
        with pytest.raises(tlkit.UserError, match="`outputs='sequence'` is not to be had: .* is no model of texts"):
            tlkit.load_backbone(image_model, outputs="sequence")
        with pytest.raises(tlkit.UserError, match="'keras:MobileNetV2' takes no `sequence_length`"):
            tlkit.load_backbone("keras:MobileNetV2", sequence_length=8)


class TestOperations:
    def test_each_is_one_of_tensorflow_text(self):
        pytest.importorskip("tensorflow_text")
        from tensorflow.python.framework import op_def_registry

        for name in text_operations.TEXT_OPERATIONS:
            assert op_def_registry.get(name) is not None, name
            assert not hasattr(tf.raw_ops, name), name

    def test_the_package_is_missing(self, monkeypatch):
        def missing(name):
            raise ModuleNotFoundError(f"No module named '{name}'")

        monkeypatch.setattr(text_operations.importlib, "import_module", missing)
        text_operations.provide_text_operations(["MatMul"], "The model")
        sentence = (
            r"The model cuts texts into tokens by operations of tensorflow-text \(CaseFoldUTF8\), which does not "
            r"import here \(ModuleNotFoundError: No module named 'tensorflow_text'\)\. .* `pip install 'tlkit\[text\]'`"
        )
        with pytest.raises(tlkit.UserError, match=sentence):
            text_operations.provide_text_operations(["MatMul", "RegexSplitWithOffsets", "CaseFoldUTF8"], "The model")
