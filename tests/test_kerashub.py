"""`kerashub:` on a folder in the format of Hugging Face: outputs against a forward pass in NumPy."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf
import text_models

import tlkit
from tlkit.backbones import kerashub

pytest.importorskip("keras_hub")
pytest.importorskip("safetensors")

TEXTS = ["the good film", "Bad films."]
IDS = [text_models.START, 61, 57, 59, text_models.END]  # of the first, by hand from text_models.WORDS


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("presets") / "bert"


@pytest.fixture(scope="module")
def tensors(folder):
    return text_models.save_hugging_face(folder, pooling={"pooling_mode_cls_token": True})


@pytest.fixture(scope="module")
def backbone(folder, tensors):
    return tlkit.load_backbone(f"kerashub:{folder}", outputs="sequence", sequence_length=8)


def layer_norm(x, gamma, beta):
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-12) * gamma + beta


def forward(tensors, ids):
    """Devlin et al. 2019 as the original code has it: two layers, two heads, GELU by its tangent."""
    t = {name: value.astype(np.float64) for name, value in tensors.items()}
    x = t["embeddings.word_embeddings.weight"][ids] + t["embeddings.position_embeddings.weight"][: len(ids)]
    x = x + t["embeddings.token_type_embeddings.weight"][0]
    x = layer_norm(x, t["embeddings.LayerNorm.weight"], t["embeddings.LayerNorm.bias"])
    for layer in range(2):

        def dense(x, name, layer=layer):
            name = f"encoder.layer.{layer}.{name}"
            return x @ t[f"{name}.weight"].T + t[f"{name}.bias"]

        q, k, v = (dense(x, f"attention.self.{part}").reshape(len(ids), 2, -1) for part in ("query", "key", "value"))
        scores = np.einsum("qhd,khd->hqk", q, k) / np.sqrt(q.shape[-1])
        weights = np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)
        read = np.einsum("hqk,khd->qhd", weights, v).reshape(x.shape)
        x = layer_norm(x + dense(read, "attention.output.dense"), 1, 0)
        inner = dense(x, "intermediate.dense")
        inner = inner / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (inner + 0.044715 * inner**3)))
        x = layer_norm(x + dense(inner, "output.dense"), 1, 0)
    return x


def test_a_vector_a_token_equals_a_forward_pass_in_numpy(backbone, tensors):
    vectors = backbone(TEXTS).numpy()
    assert vectors.shape == (2, 8, text_models.WIDTH)
    np.testing.assert_allclose(vectors[0, :5], forward(tensors, IDS), atol=1e-4)


def test_what_is_padding_in_every_text_is_not_computed(folder, tensors):
    """16 tokens are asked for, 5 and 4 are there: the graph sees 8 columns, and the answer is the same."""
    backbone = tlkit.load_backbone(f"kerashub:{folder}", outputs="sequence", sequence_length=16)
    vectors = backbone(TEXTS).numpy()
    assert vectors.shape == (2, 16, text_models.WIDTH)
    np.testing.assert_allclose(vectors[0, :5], forward(tensors, IDS), atol=1e-4)
    assert not vectors[:, 8:].any()
    assert backbone(["a " * 30]).numpy()[0].any(axis=-1).all()
    assert backbone(tf.constant([], tf.string)).shape == (0, 16, text_models.WIDTH)


@pytest.mark.filterwarnings("ignore:.*vocabulary.spm")  # KerasHub leaves it open
def test_a_model_that_looks_at_padding_keeps_it(tmp_path):
    """FNet has no mask: its vectors are those of all 16 tokens, of which at most 8 are there."""
    texts = ["a film", "the end"]
    hub = pytest.importorskip("keras_hub")
    tokenizer = hub.models.FNetTokenizer(proto=text_models.sentencepiece_model(["[CLS]", "[SEP]", "[MASK]"]))
    sizes = {"num_layers": 1, "hidden_dim": 8, "intermediate_dim": 16, "max_sequence_length": 24}
    original = hub.models.FNetBackbone(vocabulary_size=tokenizer.vocabulary_size(), **sizes)
    for part in (original, tokenizer):
        part.save_to_preset(str(tmp_path / "fnet"))
    backbone = tlkit.load_backbone(f"kerashub:{tmp_path / 'fnet'}", outputs="sequence", sequence_length=16)
    pack = hub.layers.MultiSegmentPacker(
        sequence_length=16,
        start_value=tokenizer.cls_token_id,
        end_value=tokenizer.sep_token_id,
        pad_value=tokenizer.pad_token_id,
    )
    token_ids, segment_ids = pack((tokenizer(tf.constant(texts)),))
    assert (token_ids.numpy()[:, 8:] == tokenizer.pad_token_id).all()
    expected = original({"token_ids": token_ids, "segment_ids": segment_ids})
    expected = expected["sequence_output"] if isinstance(expected, dict) else expected
    np.testing.assert_allclose(backbone(texts), expected, atol=1e-4)


def test_what_it_tells(backbone):
    expected = "Takes texts, capitals kept, cut after 8 tokens; the vector of a text is that of its first token"
    assert backbone.input_in_words == expected
    assert [stage.name for stage in backbone.stages] == ["embedding", "block_0", "block_1"]
    assert backbone.count_tokens(["the good film", "a " * 30]).tolist() == [5, 32]


def test_the_folder_says_how_to_pool(folder, backbone, tmp_path):
    pooled = tlkit.load_backbone(f"kerashub:{folder}", sequence_length=8)
    np.testing.assert_allclose(pooled(TEXTS), backbone(TEXTS)[:, 0], atol=1e-6)
    pooled.unfreeze(last=1)
    texts = keras.Input((), dtype="string")
    model = keras.Model(texts, keras.layers.Dense(1)(pooled(texts)))
    model.compile(keras.optimizers.Adam(1e-2), "mse")
    before = {stage.name: [weight.numpy() for weight in stage.weights] for stage in pooled.stages}
    model.fit(tf.constant(TEXTS), np.ones((2, 1)), verbose=0)
    moved = [
        any((weight.numpy() != old).any() for weight, old in zip(stage.weights, before[stage.name], strict=True))
        for stage in pooled.stages
    ]
    assert moved == [False, False, True]
    model.save(tmp_path / "model.keras")
    again = tlkit.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(again(tf.constant(TEXTS)), model(tf.constant(TEXTS)), atol=1e-6)


def test_three_files_are_enough(tmp_path):
    """Without a word on case letters are made small, and without one on pooling the tokens are averaged."""
    tensors = text_models.save_hugging_face(tmp_path / "bare", settings=False)
    backbone = tlkit.load_backbone(f"kerashub:{tmp_path / 'bare'}", training_mode=True)
    # 128 tokens are more than its 24 positions.
    expected = "Takes texts, lower-cased, cut after 24 tokens; the vector of a text is the mean over its tokens"
    assert backbone.input_in_words == expected
    mean = forward(tensors, IDS).mean(0)
    np.testing.assert_allclose(backbone(["The GOOD film"])[0], mean, atol=1e-4)
    for last, drops in ((0, False), (1, True), (None, True)):  # it has no statistics that a part could not move alone
        backbone.unfreeze(last=last)
        once, twice = (backbone(TEXTS, training=True).numpy() for _ in range(2))
        assert (np.abs(once - twice).max() > 1e-3) == drops
    backbone.trainable = False
    np.testing.assert_array_equal(backbone(TEXTS, training=True), backbone(TEXTS))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("pooling_mode_mean_tokens", [2.0, 1.0]),
        ("pooling_mode_cls_token", [1.0, 3.0]),
        ("pooling_mode_max_tokens", [3.0, 3.0]),
        ("pooling_mode_mean_sqrt_len_tokens", [4 / np.sqrt(2), 2 / np.sqrt(2)]),
    ],
)
def test_ways_to_pool(name, expected):
    vectors = tf.constant([[[1.0, 3.0], [3.0, -1.0], [9.0, 9.0]]])  # the third is padding
    pool, _ = kerashub._POOLINGS[name]
    np.testing.assert_allclose(pool(vectors, tf.constant([[[1.0], [1.0], [0.0]]]))[0], expected, rtol=1e-6)


class TestErrors:
    def test_a_folder_that_is_neither(self, tmp_path):
        (tmp_path / "notes.txt").touch()
        sentence = r"is no preset of KerasHub\. Expected a folder with 'config\.json': .* Found: notes\.txt\."
        with pytest.raises(tlkit.UserError, match=sentence):
            tlkit.load_backbone(f"kerashub:{tmp_path}")

    def test_a_model_that_kerashub_does_not_know(self, tmp_path):
        (tmp_path / "config.json").write_text(json.dumps({"model_type": "word2vec"}))
        with pytest.raises(
            tlkit.UserError, match=r"cannot be loaded: .*word2vec.* Expected a folder that `save_to_pre"
        ):
            tlkit.load_backbone(f"kerashub:{tmp_path}")

    def test_a_name_that_is_nearly_right(self):
        with pytest.raises(tlkit.UserError, match=r"Did you mean 'kerashub:bert_tiny_en_uncased'\?"):
            tlkit.load_backbone("kerashub:bert_tiny_en_uncase")

    def test_no_network(self, monkeypatch):
        import keras_hub

        def offline(*_, **__):
            raise ConnectionError("Name or service not known\nand more")

        monkeypatch.setattr(keras_hub.models.Backbone, "from_preset", offline)
        sentence = (
            r"'kerashub:bert_tiny_en_uncased' cannot be fetched: ConnectionError: Name or service not known\. "
            r"Expected a connection, .* give it: 'kerashub:/path/of/the/folder'"
        )
        with pytest.raises(tlkit.UserError, match=sentence):
            tlkit.load_backbone("kerashub:bert_tiny_en_uncased")

    def test_a_preset_for_sounds(self, monkeypatch):
        import keras_hub

        sound = keras.Input((8, 80))
        network = keras.Model(sound, keras.layers.Flatten()(sound))
        monkeypatch.setattr(keras_hub.models.Backbone, "from_preset", lambda *_, **__: network)
        with pytest.raises(tlkit.UserError, match="is no encoder of texts or images: it takes other inputs"):
            tlkit.load_backbone("kerashub:resnet_50_imagenet")

    def test_a_tokenizer_that_cannot_be_carried(self, tmp_path):
        import keras_hub

        vocabulary = {
            word: index for index, word in enumerate(["<s>", "<pad>", "</s>", "<unk>", "<mask>", "a", "b", "ab"])
        }
        tokenizer = keras_hub.models.RobertaTokenizer(vocabulary=vocabulary, merges=["a b"])
        sizes = {"num_layers": 1, "num_heads": 1, "hidden_dim": 4, "intermediate_dim": 4, "max_sequence_length": 8}
        keras_hub.models.RobertaBackbone(vocabulary_size=8, **sizes).save_to_preset(str(tmp_path / "preset"))
        tokenizer.save_to_preset(str(tmp_path / "preset"))
        with pytest.raises(tlkit.UserError, match="cuts texts by byte pairs .* Expected a preset with word pieces"):
            tlkit.load_backbone(f"kerashub:{tmp_path / 'preset'}")

    def test_not_installed(self, monkeypatch):
        real = kerashub.importlib.import_module

        def missing(name, *package):
            if name == "keras_hub":
                raise ModuleNotFoundError(f"No module named '{name}'")
            return real(name, *package)

        monkeypatch.setattr(kerashub.importlib, "import_module", missing)
        with pytest.raises(tlkit.UserError, match=r"needs KerasHub, which does not import here .* 'tlkit\[kerashub\]'"):
            tlkit.load_backbone("kerashub:bert_tiny_en_uncased")

    def test_what_it_does_not_take(self, folder, tensors):
        for arguments, sentence in [
            ({"preprocessor": "x"}, "takes no `preprocessor`"),
            ({"image_size": 32}, "reads texts and takes no `image_size`"),
            ({"sequence_length": 25}, "from 3 to 24, the positions that 'kerashub:"),
        ]:
            with pytest.raises(tlkit.UserError, match=sentence):
                tlkit.load_backbone(f"kerashub:{folder}", **arguments)

    def test_an_unknown_way_to_pool(self, tmp_path):
        (tmp_path / "1_Pooling").mkdir()
        settings = {"pooling_mode_lasttoken": True, "pooling_mode_mean_tokens": False}
        (tmp_path / "1_Pooling" / "config.json").write_text(json.dumps(settings))
        with pytest.raises(tlkit.UserError, match=r"pools its tokens in a way .* Found: pooling_mode_lasttoken\."):
            kerashub._pooling("bert", tmp_path)
