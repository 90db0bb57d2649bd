"""Small models of texts: pairs in TF-Hub's form, and a BERT in the format of Hugging Face."""

import io
import json

import numpy as np
import saved_models
import tensorflow as tf

# Marks first, as in BERT's vocabularies; then letters in both cases, and a few words and their ends.
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefghijklmnopqrstuvwxyz", *"ABCDEFGHIJKLMNOPQRSTUVWXYZ"]
WORDS += ["good", "bad", "film", "##s", "the", "not", "."]
PAD, UNKNOWN, START, END = 0, 1, 2, 3
WIDTH, POSITIONS = 16, 24


def save_preprocessor(folder, *, length=12, halves=True, kind="wordpiece"):
    """Texts to `input_word_ids`, `input_mask`, `input_type_ids`, with `tokenize` and `bert_pack_inputs`."""
    import tensorflow_text

    (folder.parent / f"{folder.name}_vocab.txt").write_text("\n".join(WORDS))
    module = tf.train.Checkpoint()
    if kind == "fast":
        tokenizer = tensorflow_text.FastBertTokenizer(WORDS, token_out_type=tf.int32, lower_case_nfd_strip_accents=True)
    elif kind == "sentencepiece":
        tokenizer = tensorflow_text.SentencepieceTokenizer(sentencepiece_model(), out_type=tf.int32)
    else:
        file = tf.lookup.TextFileInitializer(
            str(folder.parent / f"{folder.name}_vocab.txt"),
            tf.string, tf.lookup.TextFileIndex.WHOLE_LINE, tf.int64, tf.lookup.TextFileIndex.LINE_NUMBER,
        )  # fmt: skip
        module.table = tf.lookup.StaticHashTable(file, UNKNOWN)
        tokenizer = tensorflow_text.BertTokenizer(module.table, token_out_type=tf.int32, lower_case=True)
    texts = tf.TensorSpec((None,), tf.string)

    def pack(tokens, seq_length):
        tokens = [segment.merge_dims(-2, -1) if segment.shape.rank == 3 else segment for segment in tokens]
        trimmed = tensorflow_text.RoundRobinTrimmer(seq_length - 2).trim(tokens)
        ids, kinds = tensorflow_text.combine_segments(trimmed, START, END)
        word_ids, mask = tensorflow_text.pad_model_inputs(ids, seq_length, pad_value=PAD)
        type_ids, _ = tensorflow_text.pad_model_inputs(kinds, seq_length, pad_value=0)
        return {"input_word_ids": word_ids, "input_mask": mask, "input_type_ids": type_ids}

    tokenize = tf.function(tokenizer.tokenize)
    ragged = tf.RaggedTensorSpec((None, None, None), tf.int32)
    tokenize.get_concrete_function(texts)
    bert_pack_inputs = tf.function(pack)
    for tokens in (ragged, tf.RaggedTensorSpec((None, None), tf.int32)):
        bert_pack_inputs.get_concrete_function([tokens], seq_length=tf.TensorSpec((), tf.int32))
    call = tf.function(lambda texts: pack([tokenizer.tokenize(texts)], length))
    call.get_concrete_function(texts)
    module.tokenizer = tokenizer
    if halves:
        module.tokenize = tf.train.Checkpoint()
        module.tokenize.__call__ = tokenize
        module.bert_pack_inputs = tf.train.Checkpoint()
        module.bert_pack_inputs.__call__ = bert_pack_inputs
    module.__call__ = call
    tf.saved_model.save(module, str(folder))


def sentencepiece_model(control_symbols=()):
    """A model of SentencePiece of about 40 pieces, as ALBERT and T5 have it."""
    import sentencepiece

    model = io.BytesIO()
    corpus = ["the good film is not the bad film", "a bad film and a good end", "films are films and not the end"] * 5
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(corpus), model_writer=model, vocab_size=40, hard_vocab_limit=False, minloglevel=2,
        pad_id=PAD, unk_id=UNKNOWN, bos_id=START, eos_id=END, control_symbols=control_symbols,
    )  # fmt: skip
    return model.getvalue()


def save_encoder(folder, *, blocks=2, rows=None):
    """Token, position and kind embeddings, `blocks` blocks of attention and a pooler, named as TF-Hub's BERT."""
    variables = []

    def variable(name, *shape, **options):
        variables.append(saved_models.variable(name, *shape, seed=len(variables), **options))
        return variables[-1]

    def norm(name):
        gamma = variable(f"{name}/gamma", value=tf.linspace(0.5, 1.5, WIDTH))
        beta = variable(f"{name}/beta", value=tf.linspace(-0.1, 0.1, WIDTH))

        def apply(x):
            mean, variance = tf.nn.moments(x, -1, keepdims=True)
            return (x - mean) * tf.math.rsqrt(variance + 1e-12) * gamma + beta

        return apply

    words = variable("word_embeddings/embeddings", rows or len(WORDS), WIDTH)
    positions = variable("position_embedding/embeddings", POSITIONS, WIDTH)
    kinds = variable("type_embeddings/embeddings", 2, WIDTH)
    first_norm = norm("embeddings/layer_norm")
    parts = []
    for block in range(blocks):
        name = f"transformer/layer_{block}"
        attention = {part: variable(f"{name}/self_attention/{part}/kernel", WIDTH, 2, WIDTH // 2)
                     for part in ("query", "key", "value")}  # fmt: skip
        attention["output"] = variable(f"{name}/self_attention/attention_output/kernel", 2, WIDTH // 2, WIDTH)
        norms = norm(f"{name}/self_attention_layer_norm"), norm(f"{name}/output_layer_norm")
        dense = variable(f"{name}/intermediate/kernel", WIDTH, 32), variable(f"{name}/output/kernel", 32, WIDTH)
        parts.append((attention, norms, dense))
    pooler = variable("pooler_transform/kernel", WIDTH, WIDTH), variable("pooler_transform/bias", value=tf.zeros(WIDTH))

    def dropped(x, training):
        return tf.nn.dropout(x, 0.1) if training else x

    @tf.function
    def call(inputs, training=False, mask=None):
        x = tf.gather(words, inputs["input_word_ids"]) + tf.gather(kinds, inputs["input_type_ids"])
        x = dropped(first_norm(x + positions[: tf.shape(x)[1]]), training)
        bias = (1.0 - tf.cast(inputs["input_mask"], tf.float32))[:, None, None] * -1e9
        outputs = []
        for attention, (norm_1, norm_2), (inner, outer) in parts:
            q, k, v = (tf.einsum("btd,dhk->bhtk", x, attention[part]) for part in ("query", "key", "value"))
            weights = tf.nn.softmax(tf.einsum("bhqk,bhtk->bhqt", q, k) / (WIDTH // 2) ** 0.5 + bias)
            read = tf.einsum("bhqt,bhtk,hkd->bqd", dropped(weights, training), v, attention["output"])
            x = norm_1(x + dropped(read, training))
            x = norm_2(x + dropped(tf.nn.gelu(x @ inner) @ outer, training))
            outputs.append(x)
        pooled = tf.tanh(x[:, 0] @ pooler[0] + pooler[1])
        return {"default": pooled, "pooled_output": pooled, "sequence_output": x, "encoder_outputs": outputs}

    names = ("input_word_ids", "input_mask", "input_type_ids")
    specs = {name: tf.TensorSpec((None, None), tf.int32, name) for name in names}
    for training in (True, False):
        call.get_concrete_function(specs, training=training)
    tf.saved_model.save(saved_models.Model(call, variables), str(folder))


def save_hugging_face(folder, *, pooling=None, settings=True, words=WORDS):
    """A BERT of two layers as Hugging Face keeps it; returns its tensors by name."""
    from safetensors.numpy import save_file

    folder.mkdir()
    rng = np.random.default_rng(0)
    inner = 32
    tensors = {
        "embeddings.word_embeddings.weight": rng.normal(size=(len(words), WIDTH)),
        "embeddings.position_embeddings.weight": rng.normal(size=(POSITIONS, WIDTH)),
        "embeddings.token_type_embeddings.weight": rng.normal(size=(2, WIDTH)),
        "embeddings.LayerNorm.weight": np.linspace(0.5, 1.5, WIDTH),
        "embeddings.LayerNorm.bias": np.linspace(-0.1, 0.1, WIDTH),
        "pooler.dense.weight": rng.normal(size=(WIDTH, WIDTH)),
        "pooler.dense.bias": np.zeros(WIDTH),
    }
    for layer in range(2):
        name = f"encoder.layer.{layer}"
        shapes = {f"attention.self.{part}": (WIDTH, WIDTH) for part in ("query", "key", "value")}
        shapes |= {"attention.output.dense": (WIDTH, WIDTH), "intermediate.dense": (inner, WIDTH)}
        shapes |= {"output.dense": (WIDTH, inner)}
        for part, shape in shapes.items():
            tensors[f"{name}.{part}.weight"] = rng.normal(scale=0.3, size=shape)
            tensors[f"{name}.{part}.bias"] = rng.normal(scale=0.1, size=shape[0])
        for part in ("attention.output", "output"):
            tensors[f"{name}.{part}.LayerNorm.weight"] = np.ones(WIDTH)
            tensors[f"{name}.{part}.LayerNorm.bias"] = np.zeros(WIDTH)
    tensors = {name: value.astype(np.float32) for name, value in tensors.items()}
    save_file(tensors, str(folder / "model.safetensors"))
    config = {
        "model_type": "bert", "architectures": ["BertModel"], "vocab_size": len(words), "num_hidden_layers": 2,
        "num_attention_heads": 2, "hidden_size": WIDTH, "intermediate_size": inner,
        "max_position_embeddings": POSITIONS,
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "vocab.txt").write_text("\n".join(words) + "\n")
    if settings:
        (folder / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": False}))
    if pooling:
        (folder / "1_Pooling").mkdir()
        (folder / "1_Pooling" / "config.json").write_text(json.dumps({"word_embedding_dimension": WIDTH, **pooling}))
    return tensors
