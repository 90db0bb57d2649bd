"""Choosing where training runs: the one door to `tf.distribute`."""

from __future__ import annotations

import contextlib
import faulthandler
import functools
import json
import os
import socket
import sys
from collections.abc import Iterator
from typing import Any

import tensorflow as tf

from tlkit.errors import UserError

STRATEGIES = ("auto", "one-device", "mirrored", "multi-worker", "tpu")

# Seconds to wait for workers that have not begun: queues of clusters start jobs minutes apart.
START_TIMEOUT = 600
_REACHABLE = 1.0  # seconds to knock at another worker's door


def choose_strategy(name: str = "auto") -> tf.distribute.Strategy:
    """Choose the strategy to build and compile the model under: `with strategy.scope(): ...`.

    Args:
        name: "auto": all GPUs of this machine when there are several, else the one device. "one-device": the first
            GPU, or the CPU. "mirrored": every GPU, or every logical CPU device. "multi-worker": one process on each
            of several machines, as `TF_CONFIG` or SLURM tells; call it before anything else of TensorFlow runs.
            "tpu": the TPU of this machine or, where `TPU_NAME` names one, that; not tried by tlkit's tests.

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
    if name == "multi-worker":
        return _multi_worker()
    if name == "tpu":
        return _tpu()
    gpus = tf.config.list_logical_devices("GPU")
    if name == "mirrored" or (name == "auto" and len(gpus) > 1):
        return _mirrored(tuple(device.name for device in gpus or tf.config.list_logical_devices("CPU")))
    # The default strategy: Keras places everything on the first GPU by itself.
    return tf.distribute.get_strategy()


def is_chief(strategy: tf.distribute.Strategy | None = None) -> bool:
    """Whether this process is the one that writes: of several workers the first one, otherwise every one.

    Args:
        strategy: Defaults to the one whose scope this is called in.
    """
    resolver = (strategy or tf.distribute.get_strategy()).cluster_resolver
    if resolver is None or resolver.task_type in (None, "", "chief"):
        return True
    return resolver.task_type == "worker" and resolver.task_id == 0 and "chief" not in resolver.cluster_spec().jobs


def _check_tf_config() -> None:
    words = os.environ["TF_CONFIG"]
    try:
        config = json.loads(words)
    except ValueError:
        config = None
    if not isinstance(config, dict):
        raise UserError(
            f"The environment variable TF_CONFIG is no JSON object: {words!r}. Expected one such as "
            '{"cluster": {"worker": ["host1:12345", "host2:12345"]}, "task": {"type": "worker", "index": 0}}.'
        )


@functools.cache
def _multi_worker() -> tf.distribute.Strategy:
    if os.environ.get("TF_CONFIG"):
        _check_tf_config()
        resolver = tf.distribute.cluster_resolver.TFConfigClusterResolver()
    elif os.environ.get("SLURM_JOB_ID"):
        resolver = tf.distribute.cluster_resolver.SlurmClusterResolver()
    else:
        raise UserError(
            "choose_strategy: 'multi-worker' needs to know the workers. Expected the environment variable TF_CONFIG, "
            'such as {"cluster": {"worker": ["host1:12345", "host2:12345"]}, "task": {"type": "worker", "index": 0}} '
            "with this process's index, or a job of SLURM."
        )
    with _ending_when_alone(_other_addresses(resolver)):
        try:
            return _MultiWorkerStrategy(cluster_resolver=resolver)
        except RuntimeError as error:
            if "program startup" not in str(error):
                raise
            raise UserError(
                "choose_strategy: several workers were asked for too late. Expected before anything else of TensorFlow "
                "runs. Call choose_strategy('multi-worker') at the start of the program; later calls return the same."
            ) from None


def _other_addresses(resolver: Any) -> list[str]:
    spec = resolver.cluster_spec().as_dict()
    own = (resolver.task_type, resolver.task_id)
    jobs = [(job, number, address) for job, addresses in spec.items() for number, address in enumerate(addresses)]
    return [address for job, number, address in jobs if (job, number) != own]


@contextlib.contextmanager
def _ending_when_alone(others: list[str]) -> Iterator[None]:
    """TensorFlow waits for workers without end or a word, in C++, where no exception or thread of Python runs."""
    silent = [address for address in others if not _answers(address)]
    if not silent:
        yield
        return
    minutes = START_TIMEOUT / 60
    print(f"Waiting for the workers {', '.join(silent)}, {minutes:.3g} minutes at most.", file=sys.stderr, flush=True)
    faulthandler.dump_traceback_later(START_TIMEOUT, exit=True)  # it needs no Python to run
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()


def _answers(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host, int(port)), timeout=_REACHABLE):
            return True
    except (OSError, ValueError):
        return False


class _MultiWorkerStrategy(tf.distribute.MultiWorkerMirroredStrategy):  # type: ignore[misc]
    """One that Keras 3.15 can train under (https://github.com/keras-team/keras/issues/20585).

    Keras averages the first batch, of which it needs shapes only, over all replicas: shares of different sizes have no
    mean. And it averages logs over their first axis, which numbers do not have. A test tells when Keras no longer does.
    """

    def reduce(self, reduce_op: Any, value: Any, axis: int | None) -> Any:
        if reduce_op == "MEAN" and axis is None and isinstance(value, tuple):  # as Keras asks, of a batch
            return tf.nest.map_structure(lambda leaf: self.experimental_local_results(leaf)[0], value)
        if axis == 0 and self.experimental_local_results(value)[0].shape.rank == 0:
            axis = None
        return super().reduce(reduce_op, value, axis)


@functools.cache
def _tpu() -> tf.distribute.Strategy:
    try:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver.connect(os.environ.get("TPU_NAME", "local"))
    except (ValueError, tf.errors.OpError) as error:
        raise UserError(
            f"choose_strategy: 'tpu' found none ({str(error).splitlines()[0]}). Expected a machine with a TPU and the "
            f"package tensorflow-tpu, or its name in the environment variable TPU_NAME. Take 'auto' elsewhere."
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
