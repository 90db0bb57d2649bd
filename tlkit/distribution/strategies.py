"""Choosing where training runs."""

from __future__ import annotations

import contextlib
import functools
import os
from typing import Any

import tensorflow as tf

from tlkit.distribution.workers import join_workers
from tlkit.errors import UserError

STRATEGIES = ("auto", "one-device", "mirrored", "multi-worker", "tpu")


def choose_strategy(name: str = "auto") -> tf.distribute.Strategy:
    """Choose the strategy to build and compile the model under: `with strategy.scope(): ...`.

    Call it before anything else of TensorFlow runs: several workers must find each other first, and GPUs are told to
    take memory as it is needed, not all of it at once, which TensorFlow hears only before it first uses them.

    Args:
        name: "auto": all GPUs of this machine when there are several, else the one device. "one-device": the first
            GPU, or the CPU. "mirrored": every GPU, or every logical CPU device. "multi-worker": one process on each
            of several machines, as `TF_CONFIG` or SLURM tells. "tpu": the TPU of this machine or, where `TPU_NAME`
            names one, that; not tried by tlkit's tests.

    Returns:
        A `tf.distribute.Strategy`. The batch size given to `fit` is the global one, shared out among the replicas.

    Raises:
        UserError: When `name` is unknown, no workers or no TPU are there, or workers were asked for too late.

    Notes:
        A last batch with fewer images than devices leaves one device with none. On CPU devices TensorFlow 2.21's oneDNN
        convolutions fail on that, in any Keras model ("Incompatible shapes: ... vs. [0, ...]"): set the environment
        variable `TF_ENABLE_ONEDNN_OPTS=0` to try several logical CPU devices.
        Workers wait for each other to begin: whoever is waited for is named, and after ten minutes the process ends.

    Example:
        >>> choose_strategy("one-device").num_replicas_in_sync
        1
    """
    if name not in STRATEGIES:
        raise UserError(
            f"choose_strategy: there is no strategy {name!r}. Expected one of {', '.join(map(repr, STRATEGIES))}."
        )
    _take_memory_as_needed()
    if name == "multi-worker":
        return join_workers()
    if name == "tpu":
        return _tpu()
    gpus = tf.config.list_logical_devices("GPU")
    if name == "mirrored" or (name == "auto" and len(gpus) > 1):
        return _mirrored(tuple(device.name for device in gpus or tf.config.list_logical_devices("CPU")))
    # The default strategy: Keras places everything on the first GPU by itself.
    return tf.distribute.get_strategy()


def _take_memory_as_needed() -> None:
    """Other programs on the same GPU find room; `TF_FORCE_GPU_ALLOW_GROWTH=false` has the last word."""
    for gpu in tf.config.list_physical_devices("GPU"):
        # In use already, or divided by the user: it stays as it is.
        with contextlib.suppress(RuntimeError, ValueError):
            tf.config.experimental.set_memory_growth(gpu, True)


@functools.cache
def _tpu() -> tf.distribute.Strategy:
    try:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver.connect(os.environ.get("TPU_NAME", "local"))
    except (ValueError, tf.errors.OpError) as error:
        reason = str(error).splitlines()[0].split(". ")[0]
        raise UserError(
            f"choose_strategy: 'tpu' found none ({reason}). Expected a machine with a TPU and the package "
            f"tensorflow-tpu, or its name in the environment variable TPU_NAME. Take 'auto' elsewhere."
        ) from None
    return tf.distribute.TPUStrategy(resolver)


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
