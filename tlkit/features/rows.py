"""Training examples by number: their labels in memory, their order in each epoch, their features or inputs."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from tlkit.errors import UserError
from tlkit.features.feature_store import FeatureStore


@dataclasses.dataclass(frozen=True)
class Rows:
    """The examples of a data set in a fixed order.

    Attributes:
        batches: The data set: `(x, y)` or `(x, y, sample_weight)`.
        rest: All that comes after x, as arrays of one row an example.
        num_rows: How many examples there are.
        batch_size: How many are in a batch; the last one may hold fewer.
    """

    batches: tf.data.Dataset
    rest: tuple[Any, ...]
    num_rows: int
    batch_size: int

    @classmethod
    def read(cls, name: str, batches: tf.data.Dataset, labels: Any = None) -> Rows:
        """Go through a data set once for its labels, unless they are given."""
        spec = getattr(batches, "element_spec", None)
        if not isinstance(spec, tuple) or len(spec) not in (2, 3):
            raise UserError(
                f"fit_on_features: `{name}` is of the wrong kind. Expected a `tf.data.Dataset` of batches (x, y) or "
                f"(x, y, sample_weight). Received: {spec if spec is not None else type(batches).__name__}."
            )
        if batches.cardinality() == tf.data.INFINITE_CARDINALITY:
            raise UserError(
                f"fit_on_features: `{name}` never ends. Expected each example once, in a fixed order. Leave out "
                f"`repeat()` and `shuffle()`."
            )
        looked_at = batches if labels is None else batches.take(1)
        found = [tf.nest.map_structure(lambda t: t.numpy(), batch[1:]) for batch in looked_at]
        if not found:
            raise UserError(f"fit_on_features: `{name}` holds no example. Expected at least one.")
        rest = tf.nest.map_structure(lambda *parts: np.concatenate(parts), *found)
        batch_size = len(tf.nest.flatten(found[0])[0])
        if labels is not None:
            rest = (np.asarray(labels),)
            if len(spec) != 2 or -(-len(rest[0]) // batch_size) != batches.cardinality():
                raise UserError(
                    f"fit_on_features: the labels of `{name}` are not those of its examples. Expected one for each, "
                    f"and batches (x, y). Received: {len(rest[0])} for {batches.cardinality()} batches of "
                    f"{batch_size}. Leave out `labels`: they are then read."
                )
        return cls(batches, rest, len(tf.nest.flatten(rest)[0]), batch_size)

    @property
    def steps(self) -> int:
        """Batches an epoch."""
        return -(-self.num_rows // self.batch_size)

    def in_order(self) -> tf.Tensor:
        """The numbers of all rows as they come."""
        return tf.range(self.num_rows, dtype=tf.int64)

    def shuffled(self, pair: tf.Tensor) -> tf.Tensor:
        """The numbers of all rows in the order of `[seed, epoch]`: that of `load_image_folder(...).train_epoch`."""
        return tf.random.experimental.stateless_shuffle(self.in_order(), seed=pair)

    def features(self, store: FeatureStore, order: tf.Tensor, dtype: str) -> tf.data.Dataset:
        """Batches of features in the place of inputs, the rest as it was."""
        return self._take(store.read, tf.as_dtype(store.dtype), store.row_shape, order, dtype)

    def inputs(self, order: tf.Tensor) -> tf.data.Dataset:
        """Batches of the inputs, from memory."""
        x = self._all_inputs
        return self._take(lambda numbers: x[numbers], tf.as_dtype(x.dtype), x.shape[1:], order, None)

    @functools.cached_property
    def _all_inputs(self) -> np.ndarray:
        return np.concatenate([x.numpy() for x, *_ in self.batches])

    def _take(
        self, take: Callable[[np.ndarray], np.ndarray], kept: tf.DType, shape: Any, order: tf.Tensor, dtype: str | None
    ) -> tf.data.Dataset:
        rest = tf.nest.map_structure(tf.constant, self.rest)

        def read(numbers: tf.Tensor) -> tuple[Any, ...]:
            x = tf.ensure_shape(tf.numpy_function(take, [numbers], kept, stateful=False), (None, *shape))
            x = x if dtype is None else tf.cast(x, dtype)
            return (x, *tf.nest.map_structure(lambda values: tf.gather(values, numbers), rest))

        options = tf.data.Options()
        options.deterministic = True
        # Several workers: each takes its share of the batches' rows; there are no input files to share out.
        options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
        numbers = tf.data.Dataset.from_tensor_slices(order).batch(self.batch_size)
        return numbers.map(read, num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE).with_options(options)
