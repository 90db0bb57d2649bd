"""What the teacher makes of texts: a BERT-like encoder in Hugging Face's format, run by KerasHub."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

MAX_LENGTH = 64  # WordPieces with the two marks around them; longer texts are cut
# Blocks whose answers are put together. The third knows more of opinions and of questions than the last (a probe on the
# training texts of SST-2 and TREC, threefold cross-validation: .808 and .854 for the third, .801 and .843 for the last,
# .819 and .877 for both).
LAYERS = (3, 6)
_BLOCK = 8192  # texts sorted by length together, and kept together
_BATCH_TOKENS = 4096


class Teacher:
    """Means of the token vectors after some of its blocks; sentence-transformers takes the last one's.

    Args:
        folder: With `config.json`, `model.safetensors`, `tokenizer.json` and `vocab.txt`.
        layers: Numbers of the blocks, from 1.
        dtype: "mixed_bfloat16" is twice as quick on processors that multiply in it.
    """

    def __init__(self, folder: os.PathLike[str], layers: Sequence[int] = (6,), dtype: str = "float32"):
        import keras_hub

        folder = os.fspath(folder)
        backbone = keras_hub.models.Backbone.from_preset(folder, dtype=dtype)
        blocks = [backbone.get_layer(f"transformer_layer_{number - 1}").output for number in layers]
        self.blocks = keras.Model(backbone.input, blocks)
        self.token_embedding = keras.ops.convert_to_numpy(backbone.get_layer("token_embedding").embeddings)
        self.tokenizer = keras_hub.models.Tokenizer.from_preset(folder)
        self._encode = tf.function(self._encode, reduce_retracing=True)

    def _encode(self, pieces: tf.Tensor) -> tf.Tensor:
        mask = tf.cast(pieces != 0, tf.int32)
        inputs = {"token_ids": pieces, "padding_mask": mask, "segment_ids": tf.zeros_like(pieces)}
        states = tf.cast(tf.concat(self.blocks(inputs), -1), tf.float32)
        weights = tf.cast(mask, tf.float32)[..., None]
        return tf.reduce_sum(states * weights, 1) / tf.reduce_sum(weights, 1)

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        """`(len(texts), 384 * len(layers))`, float32."""
        rows = self.tokenizer(tf.constant(list(texts)))
        start, end = self.tokenizer.cls_token_id, self.tokenizer.sep_token_id
        rows = [[start, *row[: MAX_LENGTH - 2], end] for row in rows]
        order = np.argsort([len(row) for row in rows], kind="stable")
        answers: list[np.ndarray] = []
        first = 0
        while first < len(order):
            length = len(rows[order[first]])
            last = first + max(1, _BATCH_TOKENS // (length + 2))
            batch = [rows[i] for i in order[first:last]]
            padded = np.zeros((len(batch), max(map(len, batch))), np.int32)
            for index, row in enumerate(batch):
                padded[index, : len(row)] = row
            answers.append(self._encode(padded).numpy())
            first = last
        vectors = np.concatenate(answers)
        result = np.empty_like(vectors)
        result[order] = vectors
        return result


def token_vectors(folder: os.PathLike[str], words: Sequence[str]) -> np.ndarray:
    """The mean of each word's rows in the teacher's own table, `(len(words), 384)`."""
    teacher = Teacher(folder)
    rows = teacher.tokenizer(tf.constant(list(words)))
    return np.stack([teacher.token_embedding[np.array(row)].mean(0) for row in rows])


def teacher_vectors(folder: os.PathLike[str], texts: Sequence[str], path: pathlib.Path) -> np.ndarray:
    """The teacher's vectors of `texts`, float16; kept in `path`, where a killed run goes on."""
    parts = pathlib.Path(f"{path}.parts")
    if not path.exists():
        parts.mkdir(parents=True, exist_ok=True)
        teacher = Teacher(folder, LAYERS, dtype="mixed_bfloat16")
        progress = keras.utils.Progbar(len(texts))
        for first in range(0, len(texts), _BLOCK):
            part = parts / f"{first:08}.npy"
            if not part.exists():
                np.save(parts / "unfinished.npy", teacher(texts[first : first + _BLOCK]).astype(np.float16))
                (parts / "unfinished.npy").rename(part)
            progress.update(min(first + _BLOCK, len(texts)))
        np.save(path, np.concatenate([np.load(part) for part in sorted(parts.glob("0*.npy"))]))
    return np.load(path)
