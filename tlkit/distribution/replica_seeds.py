"""Random draws that differ from device to device."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from tlkit.distribution.together import worker_number


def seed_replicas(model: keras.Model) -> None:
    """Let dropout and augmentation draw otherwise on every replica.

    Keras 3.15 gives each replica the same seeds, on the devices of one machine and on several workers: the first row
    of each share of a batch loses the same features, and is turned by the same angle, as the first row of the others.
    The batch then holds fewer independent draws than examples. Call it after `compile`, before `fit`.

    Args:
        model: A built model, made inside the strategy's scope. On one device nothing changes.

    Example:
        >>> seed_replicas(model)

    Notes:
        The first replica keeps its seeds; the seed of another follows from it and the replica's number. What a
        `Backbone` drops with its own training graph (`training_mode=True`) keeps its seeds among the weights, which
        TensorFlow holds equal: those draws stay alike on all replicas.
    """
    strategy = model.distribute_strategy
    if strategy.num_replicas_in_sync == 1:
        return
    for state in _seed_states(model):
        copies = strategy.experimental_local_results(state.value)
        for index, copy in enumerate(copies):
            replica = worker_number() * len(copies) + index
            if replica:
                seed, count = copy.numpy()
                copy.assign(np.array([_seed_of(int(seed), replica), count], copy.dtype.as_numpy_dtype))


def _seed_of(seed: int, replica: int) -> int:
    # Below 1e9, as the seeds that Keras itself draws; a hash, so that no other layer's seed is near.
    return int(np.random.SeedSequence([seed, replica]).generate_state(1)[0]) % 10**9


def _seed_states(model: keras.Model) -> list[Any]:
    """Seed generators' states: Keras counts them among a model's variables, but not its weights."""
    known = {id(variable) for variable in (*model.weights, *model.metrics_variables)}
    return list({id(v): v for v in model.variables if id(v) not in known}.values())
