"""Several processes that train one model: finding each other, and a strategy that Keras can train under."""

from __future__ import annotations

import contextlib
import faulthandler
import functools
import socket
import sys
from collections.abc import Iterator
from typing import Any

import tensorflow as tf

from tlkit.distribution.cluster import find_cluster, members, no_cluster, number_of
from tlkit.errors import UserError

# Seconds to wait for workers that have not begun: queues of clusters start jobs minutes apart.
START_TIMEOUT = 600
_REACHABLE = 1.0  # seconds to knock at another worker's door


@functools.cache
def join_workers() -> tf.distribute.Strategy:
    """The strategy over all workers that the environment tells of; it waits for them.

    Raises:
        UserError: When it tells of none, or TensorFlow runs already.
    """
    resolver = find_cluster()
    if resolver is None:
        raise no_cluster()
    own = number_of(resolver)
    with _ending_when_alone([member.address for n, member in enumerate(members(resolver)) if n != own]):
        try:
            return _MultiWorkerStrategy(cluster_resolver=resolver)
        except RuntimeError as error:
            if "program startup" not in str(error):
                raise
            raise UserError(
                "choose_strategy: several workers were asked for too late. Expected before anything else of TensorFlow "
                "runs. Call choose_strategy('multi-worker') at the start of the program; later calls return the same."
            ) from None


def joined() -> tf.distribute.Strategy | None:
    """The strategy of `join_workers`, where it was called; None in a process that works alone."""
    return join_workers() if join_workers.cache_info().currsize else None


@contextlib.contextmanager
def _ending_when_alone(others: list[str]) -> Iterator[None]:
    """TensorFlow waits for workers without end or a word, in C++, where no exception or thread of Python runs."""
    silent = [address for address in others if not answers(address)]
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


def answers(address: str) -> bool:
    """Whether a process listens at `host:port`."""
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
