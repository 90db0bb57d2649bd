"""One data set of two domains, in the form that Keras' own `fit` trains on."""

from __future__ import annotations

import math
from typing import Any

import tensorflow as tf

from tlkit.domain.class_balance import balanced
from tlkit.domain.domains import SOURCE_DOMAIN, TARGET_DOMAIN
from tlkit.domain.rows import labelled_rows, regrouped, unlabelled_rows
from tlkit.errors import UserError


def pair_domains(
    source: tf.data.Dataset,
    target: tf.data.Dataset,
    *,
    global_batch_size: int,
    num_replicas: int = 1,
    balance_classes: bool = False,
    seed: int | tf.Tensor | None = None,
    steps: int | None = None,
) -> tf.data.Dataset:
    """Put labelled source rows and unlabelled target rows into common batches: s, t, s, t and so on.

    A batch is an ordinary `(x, y, sample_weight)` of Keras, for a model with the outputs "label" and "domain":

        y              = {"label": (n,), "domain": (n, 1)}    label 0 on target rows; domain 0 = source, 1 = target
        sample_weight  = {"label": (n,), "domain": (n,)}      label n / n_source on source rows, 0 on target rows
        n = rows of the batch, half of them from each domain; n_source = n / 2

    Keras divides the sum of weighted losses by n, so these weights make the label's loss the mean over source rows, and
    that of the domain the mean over all. Interleaved, every share of a batch that a strategy gives to a device holds as
    many rows of both domains. The shorter domain begins anew when it ends. An epoch is one pass over the longer, whose
    last batch is filled with its first rows: every batch is full.

    Args:
        source: Labelled: elements `(x, y)` or `(x, y, sample_weight)`, rows or batches, their size does not matter. `y`
            is a number or a one-hot vector. Shuffle it before.
        target: Elements `x`, or `(x, y)` whose labels are not looked at; rows or batches. Shuffle it before.
        global_batch_size: Int, rows of a batch on all devices together: a multiple of `2 * num_replicas`.
        num_replicas: Int, at least 1: devices that share a batch, `strategy.num_replicas_in_sync`. Defaults to `1`.
        balance_classes: Bool. Whether all classes are given equally many source rows, see Notes. Defaults to False.
        seed: Int, or the pair of integers that `tlkit.data.epochs` hands over: chooses the rows of `balance_classes`.
        steps: Int, at least 1: batches of an epoch. Defaults to None: one pass over the longer domain. Needed where its
            rows cannot be counted: a data set of unknown or endless length, and inside `tlkit.data.epochs`.

    Returns:
        A finite `tf.data.Dataset` of `steps` batches.

    Raises:
        UserError: When the batch cannot be shared out, a domain is empty or both are the same data set, their rows
            differ in shape or type, or the number of steps is not known.

    Example:
        >>> source = tf.data.Dataset.from_tensor_slices(([[1.0], [2.0], [3.0]], [0, 1, 1]))
        >>> target = tf.data.Dataset.from_tensor_slices([[7.0], [8.0]])
        >>> pairs = pair_domains(source, target, global_batch_size=4)
        >>> x, y, weights = next(iter(pairs))
        >>> x.numpy().ravel().tolist(), y["label"].numpy().tolist(), weights["label"].numpy().tolist()
        ([1.0, 7.0, 2.0, 8.0], [0, 0, 1, 0], [2.0, 0.0, 2.0, 0.0])
        >>> len(pairs)
        2

        With `ExactResume` the order is a function of seed and epoch; here the same photos stand for both domains:

        >>> from tlkit.data import epochs, load_image_folder
        >>> photos = load_image_folder("photos", image_size=32, batch_size=4, seed=7)
        >>> scans = load_image_folder("photos", image_size=32, batch_size=4, seed=8)
        >>> steps = max(len(photos.files.train), len(scans.files.train)) // 2
        >>> def epoch(pair):
        ...     return pair_domains(
        ...         photos.train_epoch(pair), scans.train_epoch(pair), global_batch_size=4, steps=steps
        ...     )
        >>> pairs = epochs(epoch, seed=7)  # and fit(pairs, steps_per_epoch=steps, shuffle=False, …)

    Notes:
        Metrics must be given to `compile` as `weighted_metrics`: `metrics` would count target rows as class 0.
        A batched data set of unknown batch size is counted as its batches times the rows of the first, which is read
        for it; smaller last batches make an epoch a little longer than the pass.
        `balance_classes` reads each row once and holds 512 rows in memory (308 MB of 224 px images as float32). Of each
        512 it takes as many of every class among them, in turn, drawn without putting back until a class is used up: so
        rows of rare classes come several times and some of frequent ones not at all. A class that is missing from 512
        rows is missing from those batches, so the source must be shuffled well. Target rows stay as they come.
        Several workers: each takes its share of a batch's rows, as with `load_image_folder`.
    """
    half = _half(global_batch_size, num_replicas)
    if source is target:
        raise UserError(
            "pair_domains: `source` and `target` are the same data set. Expected two domains. Give the unlabelled one "
            "as `target`."
        )
    row, source_is_batched = labelled_rows("pair_domains", "source", source)
    target, target_is_batched = unlabelled_rows("pair_domains", "target", target, row[0])
    steps = _steps(steps, half, {"source": (source, source_is_batched), "target": (target, target_is_batched)})
    sources = _endless("source", source)
    if balance_classes:
        if seed is None:
            raise UserError(
                "pair_domains: `balance_classes` draws rows. Expected a seed, or the order would be another one each "
                "time. Received: seed=None. Type `seed=0`."
            )
        sources, source_is_batched = balanced(sources, source_is_batched, seed), True
    batches = tf.data.Dataset.zip(
        regrouped(sources, source_is_batched, half), regrouped(_endless("target", target), target_is_batched, half)
    )
    options = tf.data.Options()
    options.deterministic = True
    # Several workers: each takes its share of the batches' rows; there are no input files to share out.
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
    pairs = batches.map(_pair, num_parallel_calls=tf.data.AUTOTUNE).take(steps)
    pairs = pairs.apply(tf.data.experimental.assert_cardinality(steps))
    return pairs.prefetch(tf.data.AUTOTUNE).with_options(options)


def _pair(source: Any, target: Any) -> tuple[Any, dict[str, tf.Tensor], dict[str, tf.Tensor]]:
    """A batch of both domains from half a batch of each."""
    x, labels, *weights = source
    domain = tf.zeros(labels.shape[:1])
    # n / n_source = 2
    share = 2 * (tf.reshape(tf.cast(weights[0], tf.float32), domain.shape) if weights else tf.ones_like(domain))
    y = {
        "label": _interleaved(labels, tf.zeros_like(labels)),
        "domain": _interleaved(domain + SOURCE_DOMAIN, domain + TARGET_DOMAIN)[:, None],
    }
    sample_weight = {
        "label": _interleaved(share, domain),
        "domain": tf.ones_like(y["domain"][:, 0]),
    }
    return tf.nest.map_structure(_interleaved, x, target), y, sample_weight


def _interleaved(source: tf.Tensor, target: tf.Tensor) -> tf.Tensor:
    rows = tf.reshape(tf.stack([source, target], axis=1), tf.concat([[-1], tf.shape(source)[1:]], axis=0))
    return tf.ensure_shape(rows, [2 * source.shape[0], *source.shape[1:]])


def _endless(name: str, dataset: tf.data.Dataset) -> tf.data.Dataset:
    """The data set again and again, or an error from the pipeline when it turns out to be empty."""
    empty = f"UserError: pair_domains: {_EMPTY.format(name=name)}"

    def fail(_: tf.Tensor) -> Any:
        with tf.control_dependencies([tf.debugging.Assert(False, [empty])]):
            return tf.nest.map_structure(
                lambda part: tf.zeros([size or 0 for size in part.shape], part.dtype), dataset.element_spec
            )

    # What repeats without end is only followed by anything when there is nothing to repeat.
    return dataset.repeat().concatenate(tf.data.Dataset.range(1).map(fail))


_EMPTY = "`{name}` is empty. Expected at least one row. Check its folder, or the filter it went through."


def _half(global_batch_size: int, num_replicas: int) -> int:
    for name, value in {"global_batch_size": global_batch_size, "num_replicas": num_replicas}.items():
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise UserError(
                f"pair_domains: `{name}` is no number of rows or devices. Expected a whole number above 0. "
                f"Received: {name}={value!r}."
            )
    unit = 2 * num_replicas
    if global_batch_size % unit:
        down = global_batch_size // unit * unit
        choice = f"{down} or {down + unit}" if down else str(unit)
        raise UserError(
            f"pair_domains: `global_batch_size` cannot be shared out so that every device gets as many rows of both "
            f"domains. Expected a multiple of {unit}, 2 rows for each of {num_replicas} "
            f"device{'s' if num_replicas > 1 else ''}. Received: global_batch_size={global_batch_size}. Take {choice}."
        )
    return global_batch_size // 2


def _steps(steps: int | None, half: int, domains: dict[str, tuple[tf.data.Dataset, bool]]) -> int:
    """How many batches an epoch has."""
    if steps is not None and (not isinstance(steps, int) or isinstance(steps, bool) or steps < 1):
        raise UserError(
            f"pair_domains: `steps` are the batches of an epoch. Expected a whole number above 0. "
            f"Received: steps={steps!r}."
        )
    counts = {name: _cardinality(dataset) for name, (dataset, _) in domains.items()}
    for name, count in counts.items():
        if count == 0:
            raise UserError(f"pair_domains: {_EMPTY.format(name=name)}")
        if steps is None and count < 0:
            length = "has no end" if count == tf.data.INFINITE_CARDINALITY else "does not say how long it is"
            raise UserError(
                f"pair_domains: `{name}` {length}, so an epoch has none either. Expected `steps`, or two data sets of "
                f"known length. Type `steps=`, the rows of the longer domain divided by {half}."
            )
    if steps is not None:
        return steps
    rows = [counts[name] * (_batch_size(dataset) if batched else 1) for name, (dataset, batched) in domains.items()]
    return math.ceil(max(rows) / half)


def _cardinality(dataset: tf.data.Dataset) -> int:
    # While `tf.data` traces a function, as that of `tlkit.data.epochs`, no number can be read.
    return int(dataset.cardinality()) if tf.executing_eagerly() else tf.data.UNKNOWN_CARDINALITY


def _batch_size(dataset: tf.data.Dataset) -> int:
    sizes = {part.shape[0] for part in tf.nest.flatten(dataset.element_spec)} - {None}
    if sizes:
        return int(sizes.pop())
    return int(tf.shape(tf.nest.flatten(next(iter(dataset.take(1))))[0])[0])
