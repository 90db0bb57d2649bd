"""What was chosen, in a line."""

from __future__ import annotations

import tensorflow as tf

from tlkit.distribution.strategies import choose_strategy
from tlkit.distribution.together import num_workers


def describe_strategy(name: str, batch_size: int) -> str:
    """What `choose_strategy(name)` chose and why, and how a batch is shared out.

    Args:
        name: As for `choose_strategy`.
        batch_size: Int. The global batch, of all devices together.

    Example:
        >>> describe_strategy("one-device", 32)
        "Strategy 'one-device': 1 CPU, 32 examples a step."
    """
    strategy = choose_strategy(name)
    replicas = strategy.num_replicas_in_sync
    kind = "TPU" if name == "tpu" else "GPU" if tf.config.list_physical_devices("GPU") else "CPU"
    workers = num_workers()
    if workers > 1:
        where = f"{workers} workers with {replicas // workers} {kind} each"
    else:
        where = f"{replicas} {kind}{'s' if replicas > 1 else ''}"
    why = {"CPU": ", since TensorFlow sees no GPU", "GPU": ", all that TensorFlow sees"}[kind] if name == "auto" else ""
    share = f", {batch_size / replicas:.4g} on each device" if replicas > 1 else ""
    return f"Strategy '{name}': {where}{why}, {batch_size} examples a step{share}."
