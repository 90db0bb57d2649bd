"""How the two domains are told apart, and how a batch of both is read."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from tlkit.errors import UserError

# As in Ganin et al., 2016, section 4.1: d = 0 for a source row, 1 for a target row.
SOURCE_DOMAIN = 0
TARGET_DOMAIN = 1


def as_rows(name: str, values: Any) -> Any:
    """A batch of vectors in at least float32, whatever precision it came in.

    Kernels and covariances add and square hundreds of numbers: they overflow in float16 above 65,504 and keep three
    digits only.
    """
    values = ops.convert_to_tensor(values)
    if len(values.shape) != 2:
        raise UserError(
            f"{name}: these are no rows of features. Expected the shape (batch, features). Received: shape="
            f"{tuple(values.shape)}. Pool or flatten them first, as `keras.layers.GlobalAveragePooling2D()` does."
        )
    return ops.cast(values, keras.backend.result_type(values.dtype, "float32"))


def masks(domain: Any, dtype: str) -> tuple[Any, Any]:
    """1 for the rows of the source and 0 for others, and the same for the target: two vectors."""
    is_target = ops.cast(ops.reshape(domain, (-1,)), dtype)
    return 1 - is_target, is_target


def stacked(name: str, source: Any, target: Any) -> tuple[Any, Any]:
    """The rows of both domains in one batch, and the column that tells them apart."""
    source, target = as_rows(name, source), as_rows(name, target)
    domain = ops.concatenate(
        [SOURCE_DOMAIN * ops.ones_like(source[:, 0]), TARGET_DOMAIN * ops.ones_like(target[:, 0])], axis=0
    )
    return ops.concatenate([source, target], axis=0), domain


def for_each_row(value: Any, rows: Any) -> Any:
    """A batch's one number as the loss of each row, so that Keras' mean over rows is that number."""
    return value * ops.ones_like(rows[:, 0])
