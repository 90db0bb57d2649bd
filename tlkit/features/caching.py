"""A frozen model run once over a data set, what it returns kept on disk."""

from __future__ import annotations

import collections
import contextlib
import hashlib
import json
import os
import pathlib
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

import tlkit
from tlkit.backbones import Backbone
from tlkit.errors import UserError
from tlkit.features.feature_store import FeatureStore, check_precision
from tlkit.features.folder import cache_folder

# What training itself changes, chance (numbers of objects, seeds, which are ours here), and the graph of a `Backbone`,
# in which TensorFlow numbers the names anew each time that it is loaded: handle, weights and operations stand for it.
_LEFT_OUT = (
    *("trainable", "num_open", "seed", "shared_object_id"),
    *("program", "training_program", "endpoints", "training_endpoints"),
)


def cache_features(
    prefix: keras.Model,
    batches: tf.data.Dataset,
    num_rows: int,
    *,
    fingerprint: Any,
    folder: str | os.PathLike[str] | None = None,
    training: bool = False,
    seed: int = 0,
    copy: int = 0,
    precision: str = "float16",
    title: str | None = None,
) -> FeatureStore:
    """Run a frozen model over a data set and keep what it returns; what is on disk already is not computed again.

    The folder is named after everything the features depend on: the layers of the prefix with their settings and
    weights, `fingerprint`, and with `training` also seed, copy and batch size. Another input is another folder. A run
    that was interrupted goes on after the last whole shard; several processes may write the same features.

    Args:
        prefix: A model with frozen weights and one output, as `cut_model` returns it.
        batches: Finite data set of batches in a fixed order: inputs, or tuples that begin with them.
        num_rows: Int. How many examples it holds.
        fingerprint: What tells these examples from others, such as `fingerprint_images(files)`: anything JSON holds.
        folder: Path of the cache. Defaults to `None`: `cache_folder()`.
        training: Bool. Whether the layers with random draws (augmentation) draw.
        seed: Int. With `copy`, what they draw follows from it.
        copy: Int from 0. The number of this augmented version.
        precision: "float16", "bfloat16" or "float32": how numbers are kept. Defaults to "float16", half the disk and
            three digits.
        title: What to say above the progress bar. None: neither is shown.

    Returns:
        The complete store; row i belongs to the i-th example.

    Raises:
        UserError: When the data set has another number of examples, features do not fit the precision or are not
            finite, or the disk is full.

    Example:
        >>> from tlkit.features import cache_features, cut_model
        >>> prefix, tail = cut_model(model, 5)
        >>> store = cache_features(prefix, train, 8, fingerprint="noise", folder="features")
        >>> store.read([0, 7]).shape
        (2, 320)
    """
    draws = (seed, copy, _num_rows(_inputs(next(iter(batches))))) if training else None
    store = open_store(prefix, describe_prefix(prefix), fingerprint, num_rows, folder, precision, draws)
    fill_store(store, prefix, batches, draws, progress_bar([store], title))
    return store


def open_store(
    prefix: keras.Model,
    described: dict[str, Any],
    fingerprint: Any,
    num_rows: int,
    folder: str | os.PathLike[str] | None,
    precision: str,
    draws: tuple[int, int, int] | None,
) -> FeatureStore:
    """The store of these features, as complete as it is.

    Args:
        prefix: As for `cache_features`.
        described: What `describe_prefix` returned of it.
        fingerprint: As for `cache_features`.
        num_rows: Likewise.
        folder: Likewise.
        precision: Likewise.
        draws: Seed, copy and batch size of an augmentation, or None.
    """
    check_precision("cache_features", precision)
    made_of = {**described, "data": fingerprint, "rows": num_rows, "precision": precision}
    if draws is not None:
        made_of |= dict(zip(("seed", "copy", "batch_size"), draws, strict=True))
    key = hashlib.sha256(json.dumps(made_of, sort_keys=True, default=repr).encode()).hexdigest()[:20]
    root = cache_folder() if folder is None else pathlib.Path(folder)
    return FeatureStore(
        root / key, num_rows=num_rows, row_shape=prefix.output.shape[1:], precision=precision, made_of=made_of
    )


def describe_prefix(prefix: keras.Model) -> dict[str, Any]:
    """Everything that the outputs of a model depend on, as JSON holds it."""
    layers = _all_layers(prefix)
    # Keras numbers the names of layers anew in each process.
    places = {layer.name: f"{type(layer).__name__} {place}" for place, layer in enumerate(layers)}
    places[prefix.name] = "prefix"
    weights = hashlib.sha256()
    for weight in prefix.weights:
        weights.update(np.ascontiguousarray(keras.ops.convert_to_numpy(weight)).tobytes())
    backbones = [layer for layer in layers if isinstance(layer, Backbone)]
    return {
        "backbone": [backbone.handle for backbone in backbones],
        "frozen_stages": [[stage.name for stage in backbone.stages] for backbone in backbones],
        "operations": [_count_operations(backbone) for backbone in backbones],
        "weights": f"sha256 {weights.hexdigest()}",
        "output": [list(prefix.output.shape[1:]), keras.backend.standardize_dtype(prefix.output.dtype)],
        "layers": _plain(prefix.get_config(), places),
        "versions": [tlkit.__version__, tf.__version__],
    }


def _count_operations(backbone: Backbone) -> dict[str, int]:
    return dict(sorted(collections.Counter(node.op for node in backbone.program.graph_def.node).items()))


def _all_layers(model: keras.Model) -> list[keras.layers.Layer]:
    return [x for layer in model.layers for x in (layer, *(_all_layers(layer) if hasattr(layer, "layers") else ()))]


def _plain(value: Any, places: dict[str, str]) -> Any:
    if isinstance(value, dict):
        plain = {places.get(str(k), str(k)): _plain(v, places) for k, v in value.items() if k not in _LEFT_OUT}
        if isinstance(value.get("name"), str) and value["name"] not in places:
            plain["name"] = re.sub(r"_\d+$", "", value["name"])  # the input of a `Sequential` is not among its layers
        return plain
    if isinstance(value, list | tuple):
        return [_plain(item, places) for item in value]
    if isinstance(value, str):
        return places.get(value, value)
    return value.tolist() if hasattr(value, "tolist") else value


def fill_store(
    store: FeatureStore,
    prefix: keras.Model,
    batches: tf.data.Dataset,
    draws: tuple[int, int, int] | None,
    advance: Callable[[int], None],
) -> None:
    """Compute what a store lacks; `advance` is called with the number of rows that each batch brought."""
    missing = store.missing()
    if not missing:
        return
    wanted = set(missing)
    pending: dict[int, list[np.ndarray]] = {shard: [] for shard in missing}
    run = runner_of(prefix, training=draws is not None)
    row = 0
    with own_draws(prefix, draws) as seed_for:
        for batch in batches:
            x = _inputs(batch)
            first, row = row, row + _num_rows(x)
            shards = range(first // store.shard_rows, -(-row // store.shard_rows))
            if row > store.num_rows or wanted.isdisjoint(shards):
                continue
            seed_for(first)
            features = run(x).numpy()
            _check_finite(features, first, row)
            for shard in wanted.intersection(shards):
                rows = store.rows_of(shard)
                part = features[max(rows.start - first, 0) : rows.stop - first]
                pending[shard].append(part)
                advance(len(part))
                if row >= rows.stop:
                    store.write(shard, np.concatenate(pending.pop(shard)))
                    wanted.remove(shard)
    if row != store.num_rows:
        raise UserError(
            f"cache_features: the data set has {row} examples. Expected the {store.num_rows} of `num_rows`. Give the "
            f"number that it really holds."
        )


def progress_bar(stores: Sequence[FeatureStore], title: str | None) -> Callable[[int], None]:
    """A bar over the rows that stores lack, moving where it can move, one line in a log; nothing without a title."""
    num_rows = sum(len(store.rows_of(shard)) for store in stores for shard in store.missing())
    if title is None or num_rows == 0:
        return lambda more: None
    print(title)
    moves = sys.stdout.isatty() or "ipykernel" in sys.modules
    return keras.utils.Progbar(num_rows, unit_name="row", verbose=1 if moves else 2).add


def runner_of(prefix: keras.Model, *, training: bool) -> Callable[[tf.Tensor], tf.Tensor]:
    """The model as a TensorFlow function from a batch of any number of rows to its features."""
    # Said, not left out: an augmentation of Keras that is not told draws.
    function = tf.function(lambda x: prefix(x, training=training))
    traced: dict[tf.TensorSpec, Any] = {}

    def run(x: tf.Tensor) -> tf.Tensor:
        spec = tf.TensorSpec((None, *x.shape[1:]), x.dtype)
        if spec not in traced:
            traced[spec] = function.get_concrete_function(spec)
        return traced[spec](x)

    return run


def seeds_of(prefix: keras.Model) -> list[keras.Variable]:
    """The states of the layers with random draws."""
    known = {id(weight) for weight in prefix.weights}
    return list({id(v): v for v in prefix.variables if id(v) not in known}.values())


@contextlib.contextmanager
def own_draws(prefix: keras.Model, draws: tuple[int, int, int] | None) -> Iterator[Any]:
    """Gives a function that makes what is drawn for a batch follow from seed, copy and the batch's first row.

    So a batch is the same after a kill, too. Afterwards the states are what they were: training goes on with its own.
    """
    if draws is None:
        yield lambda row: None
        return
    copies = prefix.distribute_strategy.experimental_local_results  # of a variable on each device
    states = [(index, state) for index, v in enumerate(seeds_of(prefix)) for state in copies(v.value)]
    before = [state.numpy() for _, state in states]

    def seed_for(row: int) -> None:
        for index, state in states:
            words = np.random.SeedSequence([draws[0] % 2**32, draws[1], row, index]).generate_state(2)
            state.assign(words.astype(state.dtype.as_numpy_dtype).reshape(state.shape))

    try:
        yield seed_for
    finally:
        for (_, state), value in zip(states, before, strict=True):
            state.assign(value)


def _check_finite(features: np.ndarray, first: int, end: int) -> None:
    if not np.isfinite(features).all():
        raise UserError(
            f"cache_features: what the frozen layers make of examples {first} to {end - 1} is not finite. Expected "
            f"numbers. Look at the inputs: missing values, or pixels outside of [0, 1]."
        )


def _inputs(batch: Any) -> Any:
    return batch[0] if isinstance(batch, tuple) else batch


def _num_rows(x: Any) -> int:
    return int(tf.shape(x)[0])
