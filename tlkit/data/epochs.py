"""An order of examples that is a function of the seed and the epoch."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import tensorflow as tf


def epochs(make_epoch: Callable[[tf.Tensor], tf.data.Dataset], *, seed: int, first_epoch: int = 0) -> tf.data.Dataset:
    """Chain epochs without end, each one a function of (seed, epoch) only, whatever ran before it in the process.

    `Dataset.shuffle(seed=...)` starts its stream of orders again in a new process, so a training resumed at epoch 5
    sees the orders of epoch 0. Here epoch 5 is epoch 5. The result has no end: give `fit` its `steps_per_epoch`.

    Args:
        make_epoch: Function of a pair of integers, the tensor `[seed, epoch]` for TensorFlow's stateless random
            operations, to the finite, batched data set of that epoch. `ImageFolder.train_epoch` is one.
        seed: The first number of the pair.
        first_epoch: Epoch to begin with: 0, or `fit`'s `initial_epoch` when resuming.

    Example:
        >>> from tlkit.data import load_image_folder
        >>> data = load_image_folder("photos", image_size=128, batch_size=32, seed=7)
        >>> train = epochs(data.train_epoch, seed=7, first_epoch=5)
        >>> history = model.fit(
        ...     train, steps_per_epoch=len(data.train), initial_epoch=5, epochs=7, shuffle=False, verbose=0
        ... )
        >>> history.epoch
        [5, 6]
    """
    import tensorflow as tf

    numbers = tf.data.Dataset.range(first_epoch, tf.int64.max)
    chained = numbers.flat_map(lambda epoch: make_epoch(tf.stack([tf.constant(seed, tf.int64), epoch])))
    return chained.prefetch(tf.data.AUTOTUNE)
