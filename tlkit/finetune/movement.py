"""How far weights moved: the proof that what was opened learned."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import keras
import numpy as np


def values_of(weights: Iterable[keras.Variable]) -> list[np.ndarray]:
    """Copies of the weights that train now."""
    return [np.array(keras.ops.convert_to_numpy(weight)) for weight in weights if weight.trainable]


def relative_movement(before: Sequence[np.ndarray], after: Sequence[np.ndarray]) -> float:
    """How far weights moved in relation to their size: ||after - before|| / ||before||, all numbers as one vector.

    Weights that were all zero (a fresh bias) have no size; then the norm of what they became.

    Example:
        >>> from tlkit.finetune.movement import relative_movement
        >>> relative_movement([np.array([3.0, 4.0])], [np.array([3.0, 4.5])])  # 0.5 / 5
        0.1
    """
    moved = sum(float(np.sum(np.square(b.astype(np.float64) - a))) for a, b in zip(before, after, strict=True))
    size = sum(float(np.sum(np.square(a.astype(np.float64)))) for a in before)
    return float(np.sqrt(moved / size) if size else np.sqrt(moved))
