"""Choosing where training runs: the one door to `tf.distribute`."""

from __future__ import annotations

import functools
from typing import Any

import tensorflow as tf

from tlkit.errors import UserError

STRATEGIES = ("auto", "one-device", "mirrored")


def choose_strategy(name: str = "auto") -> tf.distribute.Strategy:
    """Choose the strategy to build and compile the model under: `with strategy.scope(): ...`.

    Args:
        name: "auto": all GPUs of this machine when there are several, else the one device. "one-device": the first
            GPU, or the CPU. "mirrored": every GPU, or every logical CPU device.

    Returns:
        A `tf.distribute.Strategy`. The batch size given to `fit` is the global one, shared out among the replicas.

    Raises:
        UserError: When `name` is unknown.

    Notes:
        A last batch with fewer images than devices leaves one device with none. On CPU devices TensorFlow 2.21's oneDNN
        convolutions fail on that, in any Keras model ("Incompatible shapes: ... vs. [0, ...]"): set the environment
        variable `TF_ENABLE_ONEDNN_OPTS=0` to try several logical CPU devices.

    Example:
        >>> choose_strategy("one-device").num_replicas_in_sync
        1
    """
    if name not in STRATEGIES:
        raise UserError(
            f"choose_strategy: there is no strategy {name!r}. Expected one of {', '.join(map(repr, STRATEGIES))}."
        )
    gpus = tf.config.list_logical_devices("GPU")
    if name == "mirrored" or (name == "auto" and len(gpus) > 1):
        return _mirrored(tuple(device.name for device in gpus or tf.config.list_logical_devices("CPU")))
    # The default strategy: Keras places everything on the first GPU by itself.
    return tf.distribute.get_strategy()


@functools.cache
def _mirrored(devices: tuple[str, ...]) -> tf.distribute.Strategy:
    # One a process: every strategy numbers its collective operations from the same start, and two of them on the same
    # devices (two trials of a search) then meet as "Shape mismatch in the collective instance".
    return _MirroredStrategy(list(devices))


class _MirroredStrategy(tf.distribute.MirroredStrategy):  # type: ignore[misc]
    """One that also takes texts as inputs.

    To build a model, Keras 3.15 averages the first batch over the replicas (`_maybe_symbolic_build`), and for texts
    TensorFlow has no mean ("AddN" of strings; https://github.com/keras-team/keras/issues/20585 is about the same
    place). Of the batch only shapes and types are used, so that one replica's texts do as well.
    """

    def reduce(self, reduce_op: Any, value: Any, axis: int | None) -> Any:
        def one(leaf: Any) -> Any:
            local = self.experimental_local_results(leaf)
            if getattr(local[0], "dtype", None) == tf.string:
                return local[0]
            return super(_MirroredStrategy, self).reduce(reduce_op, leaf, axis)

        return tf.nest.map_structure(one, value)
