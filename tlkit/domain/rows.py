"""What the elements of a data set are: single rows or batches, and of what shape a row is."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from tlkit.errors import UserError


def labelled_rows(caller: str, name: str, dataset: tf.data.Dataset) -> tuple[Any, bool]:
    """The specs of a labelled row, `(x, y)` or `(x, y, weight)`, and whether the data set's elements are batches of it.

    One label tells a row from a batch: a number or a one-hot vector. Where a vector could be either, what it stands
    beside decides: in a batch, everything has the same first dimension.

    Raises:
        UserError: When there is no label, or what an element is cannot be known.
    """
    spec = dataset.element_spec
    if not isinstance(spec, tuple) or len(spec) not in (2, 3) or not isinstance(spec[1], tf.TensorSpec):
        raise UserError(
            f"{caller}: `{name}` has no labels. Expected elements (x, y) or (x, y, sample_weight), with one tensor of "
            f"labels. Received: {in_words(spec)}. Give the labelled data set."
        )
    parts = tf.nest.flatten(spec)
    _check_dense(caller, name, parts)
    label = spec[1]
    if label.shape.rank != 1:
        is_batched = label.shape.rank > 1 and all(part.shape.rank > 0 for part in parts)
    else:
        others = {part.shape[0] for part in parts if part.shape.rank > 0} - {None}
        is_batched = len(others) < 2 and all(part.shape.rank > 0 for part in parts)
        if is_batched and label.shape[0] is not None and not label.dtype.is_integer:
            raise UserError(
                f"{caller}: the elements of `{name}` may be batches with a number as label, or rows with a one-hot "
                f"label. Expected one of the two. Received: {in_words(spec)}. Batch it with "
                f"`.batch(size)`, without `drop_remainder`."
            )
    return (_row_of(spec) if is_batched else spec), is_batched


def unlabelled_rows(caller: str, name: str, dataset: tf.data.Dataset, like: Any) -> tuple[tf.data.Dataset, bool]:
    """The inputs of a data set, without labels where it has some, and whether its elements are batches.

    Args:
        caller: For the message.
        name: For the message.
        dataset: Elements `x`, `(x,)`, `(x, y)` or `(x, y, weight)`.
        like: The specs of one row's inputs in the other domain.

    Raises:
        UserError: When its rows are not of the same structure, shape and type as those of the other domain.
    """
    if isinstance(dataset.element_spec, tuple):
        dataset = dataset.map(lambda x, *_: x, num_parallel_calls=tf.data.AUTOTUNE)
    spec = dataset.element_spec
    for is_batched in (False, True):
        if _fits(like, spec, is_batched):
            return dataset, is_batched
    raise UserError(
        f"{caller}: the rows of the two domains differ. Expected the same shape and type in both. Received: "
        f"{in_words(like)} in `source`, {in_words(spec)} in `{name}`. Make them alike with `.map`, or load both with "
        f"the same settings."
    )


def regrouped(dataset: tf.data.Dataset, is_batched: bool, size: int) -> tf.data.Dataset:
    """Batches of exactly `size` rows, whatever the elements held."""
    regroup = dataset.rebatch if is_batched else dataset.batch
    return regroup(size, drop_remainder=True)


def in_words(spec: Any) -> str:
    """Specs as a reader writes them.

    Example:
        >>> in_words((tf.TensorSpec((None, 28, 28)), {"label": tf.TensorSpec((), tf.int32)}))
        '((None, 28, 28) float32, {label: () int32})'
    """
    if isinstance(spec, dict):
        return f"{{{', '.join(f'{key}: {in_words(value)}' for key, value in spec.items())}}}"
    if isinstance(spec, tuple | list):
        return f"({', '.join(map(in_words, spec))})"
    if isinstance(spec, tf.TensorSpec):
        shape = "(unknown shape)" if spec.shape.rank is None else str(tuple(spec.shape))
        return f"{shape} {spec.dtype.name}"
    return type(spec).__name__


def _check_dense(caller: str, name: str, parts: list[Any]) -> None:
    for part in parts:
        if not isinstance(part, tf.TensorSpec) or part.shape.rank is None:
            raise UserError(
                f"{caller}: the rows of `{name}` cannot be put into batches. Expected dense tensors of a known rank. "
                f"Received: {in_words(part)}. Pad them with `.to_tensor()`, or set the rank with `tf.ensure_shape`."
            )


def _row_of(spec: Any) -> Any:
    return tf.nest.map_structure(lambda part: tf.TensorSpec(part.shape[1:], part.dtype), spec)


def _fits(row: Any, spec: Any, is_batched: bool) -> bool:
    try:
        tf.nest.assert_same_structure(row, spec)
    except (TypeError, ValueError):
        return False
    for wanted, given in zip(tf.nest.flatten(row), tf.nest.flatten(spec), strict=True):
        if not isinstance(given, tf.TensorSpec) or given.dtype != wanted.dtype or given.shape.rank is None:
            return False
        if is_batched and given.shape.rank == 0:
            return False
        shape = given.shape[1:] if is_batched else given.shape
        if shape.rank != wanted.shape.rank or not shape.is_compatible_with(wanted.shape):
            return False
    return True
