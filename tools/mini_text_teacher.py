"""The teacher's sentence vectors: a BERT-like encoder in Hugging Face's format, run by KerasHub."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

MAX_LENGTH = 64  # WordPieces with the two marks around them; longer texts are cut
_BLOCK = 8192  # texts sorted by length together, and kept together
_BATCH_TOKENS = 4096


class Teacher:
    """Mean of the last layer's token vectors, as sentence-transformers pools this teacher.

    Args:
        folder: With `config.json`, `model.safetensors`, `tokenizer.json` and `vocab.txt`.
        dtype: "mixed_bfloat16" is twice as quick on processors that multiply in it.
    """

    def __init__(self, folder: os.PathLike[str], dtype: str = "float32"):
        import keras_hub

        folder = os.fspath(folder)
        self.backbone = keras_hub.models.Backbone.from_preset(folder, dtype=dtype)
        self.tokenizer = keras_hub.models.Tokenizer.from_preset(folder)
        self._encode = tf.function(self._encode, reduce_retracing=True)

    def _encode(self, pieces: tf.Tensor) -> tf.Tensor:
        mask = tf.cast(pieces != 0, tf.int32)
        inputs = {"token_ids": pieces, "padding_mask": mask, "segment_ids": tf.zeros_like(pieces)}
        states = tf.cast(self.backbone(inputs)["sequence_output"], tf.float32)
        weights = tf.cast(mask, tf.float32)[..., None]
        return tf.reduce_sum(states * weights, 1) / tf.reduce_sum(weights, 1)

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        """`(len(texts), 384)`, float32."""
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


def teacher_vectors(folder: os.PathLike[str], texts: Sequence[str], path: pathlib.Path) -> np.ndarray:
    """The teacher's vectors of `texts`, float16; kept in `path`, where a killed run goes on."""
    parts = pathlib.Path(f"{path}.parts")
    if not path.exists():
        parts.mkdir(parents=True, exist_ok=True)
        teacher = Teacher(folder, dtype="mixed_bfloat16")
        progress = keras.utils.Progbar(len(texts))
        for first in range(0, len(texts), _BLOCK):
            part = parts / f"{first:08}.npy"
            if not part.exists():
                np.save(parts / "unfinished.npy", teacher(texts[first : first + _BLOCK]).astype(np.float16))
                (parts / "unfinished.npy").rename(part)
            progress.update(min(first + _BLOCK, len(texts)))
        np.save(path, np.concatenate([np.load(part) for part in sorted(parts.glob("0*.npy"))]))
    return np.load(path)
