"""The network of `tlkit:mini-text`: a table of word vectors and one layer that looks at five words at a time.

Only TensorFlow's own operations, so that its SavedModel needs no other package.
"""

from __future__ import annotations

import os
import pathlib
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

# The letters and marks that an English text may borrow, as BERT's uncased vocabulary has them.
_PLAIN = {
    "a": "àáâãäå",
    "c": "ç",
    "e": "èéêë",
    "i": "ìíîï",
    "n": "ñ",
    "o": "òóôõöø",
    "u": "ùúûü",
    "y": "ýÿ",
    "'": "‘’",
}
# Characters; fastText takes 3 to 6 (https://arxiv.org/abs/1607.04606), but here few rows share all of them.
_GRAMS = (3, 4, 5)
_LONGEST = 24  # characters of an unknown word that are looked at: a bound on what a text without spaces costs


class MiniText(tf.Module):
    """Strings `(N,)` in, vectors `(N, 2 * hidden + dim)` out; zeros for a text without a word.

    Args:
        words: The known words. An unknown one is the mean of its n-grams' rows.
        num_buckets: Rows for the n-grams of unknown words, found by hashing.
        dim: Length of a row.
        hidden: Units of the layer over neighbouring words.
        radius: Neighbours on each side that this layer looks at.
        seed: Of the initial weights.
    """

    def __init__(self, words: Sequence[str], *, num_buckets: int, dim: int, hidden: int, radius: int, seed: int):
        super().__init__(name="mini_text")
        rng = np.random.default_rng(seed)
        self.num_words, self.num_buckets, self.dim, self.radius = len(words), num_buckets, dim, radius
        keys = tf.lookup.KeyValueTensorInitializer(list(words), np.arange(len(words), dtype=np.int32))
        self.table = tf.lookup.StaticHashTable(keys, -1)
        rows = rng.normal(0, 0.3, (len(words) + num_buckets, dim))
        inputs = (2 * radius + 1) * dim
        kernel = rng.normal(0, (2 / inputs) ** 0.5, (inputs, hidden))
        self.embedding = tf.Variable(rows, dtype=tf.float32, name="embedding/table")
        self.kernel = tf.Variable(kernel, dtype=tf.float32, name="context/kernel")
        self.bias = tf.Variable(np.zeros(hidden), dtype=tf.float32, name="context/bias")

    def tokens(self, texts: tf.Tensor) -> tf.RaggedTensor:
        """Words and single marks, in small letters without accents."""
        texts = tf.strings.unicode_transcode(texts, "UTF-8", "UTF-8")  # what is no UTF-8 becomes a mark
        texts = tf.strings.lower(texts, "utf-8")
        for letter, accented in _PLAIN.items():
            texts = tf.strings.regex_replace(texts, f"[{accented}]", letter)
        texts = tf.strings.regex_replace(texts, r"[\x{a0}\pZ\pC]", " ")
        texts = tf.strings.regex_replace(texts, r"n't\b", " not")
        return tf.strings.split(tf.strings.regex_replace(texts, r"([^\pL\pM\pN ])", r" \1 "))

    def vectors(self, words: tf.Tensor, forgotten: float = 0.0) -> tf.Tensor:
        """A vector for each word; a share of the known ones is taken for unknown, so that n-grams learn."""
        ids = self.table.lookup(words)
        if forgotten:
            ids = tf.where(tf.random.uniform(tf.shape(ids)) < forgotten, -1, ids)
        known = tf.cast(tf.where(ids >= 0)[:, 0], tf.int32)
        unknown = tf.cast(tf.where(ids < 0)[:, 0], tf.int32)
        grams = self._grams(tf.gather(words, unknown))
        buckets = self.num_words + tf.strings.to_hash_bucket_fast(grams.flat_values, self.num_buckets)
        rows = tf.gather(self.embedding, tf.concat([tf.cast(tf.gather(ids, known), tf.int64), buckets], 0))
        count = tf.shape(known)[0]
        spelled = tf.math.unsorted_segment_mean(rows[count:], grams.value_rowids(), tf.shape(unknown)[0])
        return tf.dynamic_stitch([known, unknown], [rows[:count], spelled])

    def _grams(self, words: tf.Tensor) -> tf.RaggedTensor:
        words = tf.strings.regex_replace(words, r"\pN", "0")  # of an unknown number only its length counts
        words = tf.strings.join(["<", tf.strings.substr(words, 0, _LONGEST, "UTF8_CHAR"), ">"])
        return tf.strings.ngrams(tf.strings.unicode_split(words, "UTF-8"), _GRAMS, separator="")

    def features(self, texts: tf.Tensor, forgotten: float = 0.0) -> tf.Tensor:
        """What the layer finds at each word, its mean and its maximum over the text; and the mean of the words."""
        tokens = self.tokens(texts)
        words, text_of = self.vectors(tokens.flat_values, forgotten), tokens.value_rowids()
        found = tf.nn.relu(self._neighbourhoods(words, text_of) @ self.kernel + self.bias)
        # Words lie in the order of their texts, for which these take a sixth of the unsorted ones' time. An empty text
        # gets zeros from them, but those at the end get no row.
        parts = [
            tf.math.segment_mean(found, text_of),
            tf.math.segment_max(found, text_of),
            tf.math.segment_mean(words, text_of),
        ]
        rows = tf.concat(parts, 1)
        return tf.concat([rows, tf.zeros((tf.shape(texts)[0] - tf.shape(rows)[0], rows.shape[1]))], 0)

    def _neighbourhoods(self, words: tf.Tensor, text_of: tf.Tensor) -> tf.Tensor:
        """Each word's vector between those of its neighbours; zeros beyond the ends of its text."""
        count, edge = tf.shape(words)[0], [self.radius, self.radius]
        # All texts lie in one long row: a neighbour counts only when it belongs to the same text.
        row, texts = tf.pad(words, [edge, [0, 0]]), tf.pad(text_of, [edge], constant_values=-1)
        places = range(2 * self.radius + 1)
        same = [tf.cast(texts[place : place + count] == text_of, words.dtype)[:, None] for place in places]
        return tf.concat([row[place : place + count] * same[place] for place in places], 1)

    def save(self, folder: os.PathLike[str]) -> None:
        """Write a SavedModel in TF-Hub's form."""
        spec = [tf.TensorSpec((None,), tf.string, "texts")]
        weights = [self.embedding, self.kernel, self.bias]
        module = tf.train.Checkpoint(
            variables=weights, trainable_variables=weights, regularization_losses=[], table=self.table
        )
        module.__call__ = tf.function(lambda texts: self.features(texts), input_signature=spec)
        tf.saved_model.save(module, str(pathlib.Path(folder)))
