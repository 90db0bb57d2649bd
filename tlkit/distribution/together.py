"""Several workers as one program: one speaks and writes, and all hear what one of them knows."""

from __future__ import annotations

import contextlib
import os
import pickle
import re
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import tensorflow as tf

from tlkit.distribution.cluster import is_chief, members, number_of
from tlkit.distribution.workers import answers, joined
from tlkit.errors import UserError

T = TypeVar("T")

_PIECE = 2**22  # numbers sent at once: 16 MB, little beside the gradients of any backbone
_LOOK_AGAIN = 1.0  # seconds between two looks whether the chief still runs


def num_workers() -> int:
    """How many processes train together, as far as this one has joined others with `choose_strategy`."""
    strategy = joined()
    return 1 if strategy is None else len(members(strategy.cluster_resolver))


def worker_number() -> int:
    """Of several workers that this process has joined, its number; 0, the chief's, for a process that works alone."""
    strategy = joined()
    return 0 if strategy is None else number_of(strategy.cluster_resolver)


def from_chief(make: Callable[[], T]) -> T:
    """What `make` returns on the chief, on every worker; others do not call it. In one process, what it returns.

    Decisions that must be the same everywhere are made so: a worker that ends an epoch earlier than the others, or
    goes on from another one, would be waited for without end. All workers must call it, in the same order.

    Args:
        make: Function without arguments; what it returns is sent with `pickle`.

    Example:
        >>> from_chief(lambda: "epoch 3")
        'epoch 3'
    """
    strategy = joined()
    if strategy is None:
        return make()
    made = make() if worker_number() == 0 else None
    received = _send(strategy, 0, pickle.dumps(made))
    return made if worker_number() == 0 else pickle.loads(received)  # type: ignore[return-value]


def from_workers(value: T) -> list[T]:
    """The value of every worker, the chief's first; in one process, a list of its own. All workers must call it.

    Args:
        value: What can be sent with `pickle`.

    Example:
        >>> from_workers(7)
        [7]
    """
    strategy = joined()
    if strategy is None:
        return [value]
    payload = pickle.dumps(value)
    return [pickle.loads(_send(strategy, sender, payload)) for sender in range(num_workers())]


def _send(strategy: tf.distribute.Strategy, sender: int, payload: bytes) -> bytes:
    """`payload` of the worker `sender`, on every worker."""
    told = _sum(strategy, sender, np.frombuffer(np.uint64(len(payload)).tobytes(), np.uint16))
    length = int(np.frombuffer(told.tobytes(), np.uint64)[0])
    own = payload if worker_number() == sender else bytes(length)
    halves = np.frombuffer(own + bytes(length % 2), np.uint16)
    pieces = [_sum(strategy, sender, halves[at : at + _PIECE]) for at in range(0, len(halves), _PIECE)]
    return b"".join(piece.tobytes() for piece in pieces)[:length]


def _sum(strategy: tf.distribute.Strategy, sender: int, halves: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Numbers of 16 bits from one worker, as the sum of its own and of everybody else's zeros.

    A sum of float32 is what any device and any transport between them can do, and of such numbers it is exact.
    """
    replicas = strategy.num_replicas_in_sync // num_workers()

    def own(context: Any) -> tf.Tensor:
        sends = context.replica_id_in_sync_group == sender * replicas
        return tf.constant(halves if sends else np.zeros_like(halves), tf.float32)

    total = strategy.reduce("SUM", strategy.experimental_distribute_values_from_function(own), axis=None)
    return np.asarray(total.numpy()).astype(np.uint16)


@contextlib.contextmanager
def train_together(strategy: tf.distribute.Strategy) -> Iterator[Path | None]:
    """Let several workers act as one program: the chief speaks and writes, the others train along with it.

    All run the same training, since they must take every step together. What the others print is not shown, and what
    they write goes into a folder that is deleted at the end. They stay until the chief has ended, since it may have
    models to judge when training is over, and some clusters end a job soon after its first process.

    Args:
        strategy: As `choose_strategy` returned it.

    Yields:
        None where this process speaks and writes; otherwise the folder to write into instead.

    Raises:
        UserError: When another worker is lost: it died, its machine stopped, or it ended with an error.

    Example:
        >>> with train_together(tlkit.distribution.choose_strategy("auto")) as scratch:
        ...     print(scratch)
        None
    """
    if joined() is None:
        yield None
    elif is_chief(strategy):
        with _losses_in_words(strategy):
            yield None
    else:
        with (
            _naming_the_worker(strategy),
            _losses_in_words(strategy),
            tempfile.TemporaryDirectory(prefix="tlkit-worker-") as folder,
            open(os.devnull, "w") as nowhere,
            contextlib.redirect_stdout(nowhere),
        ):
            yield Path(folder)
        chief = members(strategy.cluster_resolver)[0].address
        while answers(chief):
            time.sleep(_LOOK_AGAIN)


@contextlib.contextmanager
def _naming_the_worker(strategy: tf.distribute.Strategy) -> Iterator[None]:
    """Where the output of all workers comes together, it must be told whose mistake this is."""
    try:
        yield
    except UserError as error:
        raise UserError(f"Worker {worker_number()}: {error}") from None


@contextlib.contextmanager
def _losses_in_words(strategy: tf.distribute.Strategy) -> Iterator[None]:
    """A worker that is lost, as one sentence.

    TensorFlow 2.21 ends every collective operation when a connection breaks (seconds after `kill -9`), or when a worker
    has not been heard of for ten seconds (its machine stopped): then it raises one of these errors wherever the step
    was called.
    """
    try:
        yield
    except (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.InternalError) as error:
        if "ollective" not in str(error) and "oordination" not in str(error):
            raise
        lost = _who_was_lost(strategy, str(error))
        raise UserError(
            f"The training stopped because another worker was lost: {lost}. What it said last tells why. Start all "
            f"{num_workers()} workers again with the same command: the training goes on after its last whole epoch."
        ) from None


def _who_was_lost(strategy: tf.distribute.Strategy, message: str) -> str:
    """Those that no longer answer; if all do, a machine has stopped that TensorFlow's message names."""
    named = {(job, int(number)) for job, number in re.findall(r"/job:(\w+)(?:/replica:\d+)?/task:(\d+)", message)}
    others = [pair for pair in enumerate(members(strategy.cluster_resolver)) if pair[0] != worker_number()]
    silent = [(n, member) for n, member in others if not answers(member.address)]
    lost = silent or [(n, member) for n, member in others if (member.job, member.number) in named]
    return " and ".join(f"worker {n} at {member.address}" for n, member in lost) or "which one is not known"
