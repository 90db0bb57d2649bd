"""Texts of tables and folders as `tf.data` for training and evaluation."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tlkit.data.reading_threads import reader
from tlkit.data.texts.split_texts import TextSplits, split_texts
from tlkit.data.texts.text_rows import TextRows

if TYPE_CHECKING:
    import tensorflow as tf


class TextTable(NamedTuple):
    """Data sets of `(text, label)` batches, and what they were made from.

    Attributes:
        train: Finite; every iteration (epoch of `fit`) has another order.
        validation: In the order of `rows.validation`.
        test: In the order of `rows.test`; None when that is empty.
        class_names: Class names by number.
        rows: The rows of each part; those that were left out are not among them.
        train_epoch: `[seed, epoch]` -> one epoch of the training texts, for `epochs`.
        train_in_order: The training texts in the order of `rows.train`, for `tlkit.features`.
    """

    train: tf.data.Dataset
    validation: tf.data.Dataset
    test: tf.data.Dataset | None
    class_names: list[str]
    rows: TextSplits
    train_epoch: Callable[[tf.Tensor], tf.data.Dataset]
    train_in_order: tf.data.Dataset


def load_texts(
    source: str | Path,
    *,
    batch_size: int,
    text_column: str = "text",
    label_column: str = "label",
    split: Sequence[float] = (0.7, 0.15, 0.15),
    seed: int,
    on_bad: Literal["error", "skip"] = "error",
) -> TextTable:
    """Load a table or a folder of texts as training, validation and test data sets.

    Texts come as strings `(batch,)` in UTF-8, labels as integers `(batch,)`. `split_texts` says which tables and
    folders are understood and how they are split.

    The source is read once to find its rows. Every batch is then read from the disk, so that memory holds about 40
    bytes a row and a few batches, however long the texts are: 3.7 million rows of a CSV of 2 GB took 180 MB at most
    (`python benchmarks/text_table.py`). The order of training texts is shuffled over all of them.
    The orders of `train` follow from the seed (and TensorFlow's global one, if set) and from how often it was iterated
    in this process; for a training that is to be resumed exactly, `epochs(data.train_epoch, ...)` makes each order a
    function of (seed, epoch).

    Args:
        source: The file or folder.
        batch_size: Texts a batch; under a distribution strategy the global batch. The last batch may be smaller.
        text_column: The column of the texts.
        label_column: The column of their classes.
        split: Shares of training, validation and test, for what the source does not give as parts.
        seed: Chooses the split and the orders.
        on_bad: What to do about rows that cannot be used, as in `split_texts`.

    Raises:
        UserError: When the source is not laid out as expected, or rows of it cannot be used.

    Example:
        >>> data = load_texts("messages.csv", batch_size=4, seed=7)
        >>> texts, labels = next(iter(data.train))
        >>> data.class_names, texts.shape, labels.dtype
        (['order', 'refund'], TensorShape([4]), tf.int32)
    """
    rows = split_texts(
        source, text_column=text_column, label_column=label_column, split=split, seed=seed, on_bad=on_bad
    )
    train, validation, test = (Texts(part, batch_size) for part in (rows.train, rows.validation, rows.test))
    return TextTable(
        train.shuffled(seed),
        validation.in_order(),
        test.in_order() if len(rows.test) else None,
        rows.class_names,
        rows,
        train.epoch,
        train.in_order(),
    )


class Texts:
    """One part of the texts: reads them from the disk by number, a batch at a time."""

    def __init__(self, rows: TextRows, batch_size: int) -> None:
        self.rows = rows
        # Of fewer texts than a batch the first one holds a power of two: see `load_image_folder.Images`.
        self.batch_size = batch_size if len(rows) >= batch_size else 2 ** int(math.log2(max(len(rows), 1)))

    def in_order(self) -> tf.data.Dataset:
        import tensorflow as tf

        return self._read(tf.data.Dataset.range(len(self.rows)))

    def shuffled(self, seed: int) -> tf.data.Dataset:
        """A new order each time; `Dataset.shuffle` would hold an object for each row."""
        import tensorflow as tf

        pairs = tf.data.Dataset.random(seed=seed, rerandomize_each_iteration=True).batch(2, drop_remainder=True).take(1)
        return self._read(pairs.flat_map(self._order).apply(tf.data.experimental.assert_cardinality(len(self.rows))))

    def epoch(self, seed: tf.Tensor) -> tf.data.Dataset:
        return self._read(self._order(seed))

    def _order(self, seed: tf.Tensor) -> tf.data.Dataset:
        import tensorflow as tf

        numbers = tf.range(len(self.rows), dtype=tf.int64)
        return tf.data.Dataset.from_tensor_slices(tf.random.experimental.stateless_shuffle(numbers, seed=seed))

    def _read(self, numbers: tf.data.Dataset) -> tf.data.Dataset:
        import tensorflow as tf

        def read(numbers: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            texts, labels = tf.numpy_function(self._batch, [numbers], (tf.string, tf.int32), stateful=False)
            return tf.ensure_shape(texts, numbers.shape), tf.ensure_shape(labels, numbers.shape)

        options = tf.data.Options()
        options.deterministic = True
        # Several workers: each takes its share of the batches' rows; there are no input files to share out.
        options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
        dataset = numbers.batch(self.batch_size).map(read, num_parallel_calls=tf.data.AUTOTUNE)
        return dataset.prefetch(tf.data.AUTOTUNE).with_options(options)

    @reader
    def _batch(self, numbers: NDArray[np.int64]) -> tuple[NDArray[Any], NDArray[np.int32]]:
        texts = np.array([text.encode() for text in self.rows.read(numbers)], object)
        return texts, self.rows.scan.labels[self.rows.numbers[numbers]]
