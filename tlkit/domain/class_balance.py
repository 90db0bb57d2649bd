"""As many rows of every class, from a stream that is read once."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from tlkit.domain.rows import regrouped

# Rows that are looked at together. Of a class with a share of 1 in 100 there are about five among them, and in one
# window of 200 none; four times as many would hold 1.2 GB of 224 px images in memory.
WINDOW = 512


def balanced(dataset: tf.data.Dataset, is_batched: bool, seed: int | tf.Tensor) -> tf.data.Dataset:
    """Batches of `WINDOW` rows in which all classes of each window come in turn.

    Args:
        dataset: Endless, of elements `(x, y, …)`; `y` is a class number or a one-hot vector.
        is_batched: Whether its elements are batches.
        seed: Int, or a pair of integers.
    """
    pair = tf.cast(seed, tf.int64)
    pair = tf.stack([pair, 0]) if pair.shape.rank == 0 else pair

    def choose(number: tf.Tensor, rows: Any) -> Any:
        chosen = class_turns(_class_numbers(rows[1]), tf.random.experimental.stateless_fold_in(pair, number))
        return tf.nest.map_structure(lambda part: tf.gather(part, chosen), rows)

    windows = regrouped(dataset, is_batched, WINDOW)
    return windows.enumerate().map(choose, num_parallel_calls=tf.data.AUTOTUNE)


def class_turns(classes: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Numbers of rows, as many as there are, such that the classes come in turn.

    The order of the classes, and of the rows of each, is random; a class begins again when all its rows were taken.

    Args:
        classes: Tensor `(n,)`, the class of each row.
        seed: Pair of integers.

    Example:
        >>> turns = class_turns(tf.constant([5, 5, 5, 9]), seed=[0, 0]).numpy()
        >>> turns.tolist().count(3), len(set(turns))  # row 3 is the only one of its class
        (2, 3)
    """
    of_rows, of_classes = tf.unstack(tf.random.experimental.stateless_split(seed, 2))
    size = tf.size(classes)
    _, kinds, counts = tf.unique_with_counts(classes)
    shuffled = tf.random.experimental.stateless_shuffle(tf.range(size), of_rows)
    by_class = tf.gather(shuffled, tf.argsort(tf.gather(kinds, shuffled), stable=True))
    first = tf.cumsum(counts, exclusive=True)
    order = tf.random.experimental.stateless_shuffle(tf.range(tf.size(counts)), of_classes)
    rounds, turns = tf.range(size) // tf.size(counts), tf.range(size) % tf.size(counts)
    kind = tf.gather(order, turns)
    return tf.gather(by_class, tf.gather(first, kind) + rounds % tf.gather(counts, kind))


def _class_numbers(labels: tf.Tensor) -> tf.Tensor:
    if labels.shape.rank == 2 and labels.shape[1] != 1:
        return tf.argmax(labels, axis=1)
    return tf.reshape(labels, [-1])
