"""Did adaptation help? Source only, adapted and oracle, over seeds, judged without and, where possible, with labels."""

from __future__ import annotations

import json
import math
import os
import re
import time
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tlkit.domain.adaptation_comparison import AdaptationComparison, to_json
from tlkit.domain.adaptation_scores import AdaptationScores
from tlkit.domain.adaptation_summary import ORACLE, SOURCE_ONLY, TRUTH
from tlkit.domain.label_free_scores import LABEL_FREE_SCORES
from tlkit.domain.predictions import class_reader, read_domains
from tlkit.domain.proxy_a_distance import proxy_a_distance
from tlkit.errors import UserError


def compare_adaptation(
    train: Callable[[str, int, list[keras.callbacks.Callback]], keras.Model],
    *,
    methods: Sequence[str],
    source_validation: Any,
    target: Any,
    target_test: Any = None,
    seeds: Iterable[int] = (0, 1, 2),
    oracle: bool = False,
    validator: str = "target_information",
    scores: Sequence[str] | None = None,
    folder: str | os.PathLike[str] | None = None,
    fingerprint: Mapping[str, Any] | str | None = None,
    features: str | None = None,
    without_training: float | None = None,
    batch_size: int = 256,
    verbose: int = 1,
) -> AdaptationComparison:
    """Train each method and the baseline with several seeds, and say whether adaptation helped, hurt, or may be chance.

    `train` is yours: it trains one model with Keras as always and returns it. It is called with every one of `methods`
    and always with "source only", the baseline that adaptation must beat; with `oracle=True` also with "oracle", the
    model that was given target labels, which bounds what is to be had.

        gap closed = (adapted - source only) / (oracle - source only)           means over the seeds
        difference = adapted - source only of the same seed; its mean with the 95 % interval of Student's t

    The epoch is chosen without target labels, as it must be in practice; what label-using selection would have taken
    is reported beside it, and that this is not to be had. Where there are no target labels at all, the label-free
    scores are compared instead, and the verdict says how little that proves.

    Args:
        train: `train(method, seed, callbacks) -> keras.Model`. Give all of `callbacks` to `fit`, first in the list. The
            random seed of Python, NumPy and Keras is set to `seed` before each call, so that models which are built
            alike begin alike.
        methods: Names of your choice that `train` knows, such as `("dann", "cdan")`.
        source_validation: `(x, y)`, or a finite data set of such batches: source rows that are not trained on.
        target: `x`, or a finite data set of it: unlabelled target rows for the label-free scores; best such as are not
            trained on. About 2,000 rows do.
        target_test: `(x, y)` or a data set: labelled target rows that tell the truth. Defaults to `None`.
        seeds: Ints, without repeats. Fewer than three hardly tell a difference from chance. Defaults to `(0, 1, 2)`.
        oracle: Whether `train` knows "oracle". Needs `target_test`. Defaults to `False`.
        validator: Which label-free score chooses the epoch of the adapted models, a name of `AdaptationScores`.
            Defaults to `"target_information"`: of those that look at the target and need no features it chose best in
            the study at the head of `tlkit.domain.validators`, and it sees a collapse into one class. `source_score`
            is the safer one where adaptation does harm, but prefers epochs in which it has not begun. For source only
            it is always `source_score`, for that baseline knows no target; for the oracle the last epoch.
        scores: Which label-free scores are computed each epoch, as for `AdaptationScores`. Defaults to all.
        folder: Where each finished training is written down as JSON, so that it is not run again when the comparison
            is. Defaults to `None`: nothing is kept.
        fingerprint: Dict or string of what the results depend on, such as the config; results of another one in
            `folder` are refused.
        features: Name of the layer whose output are the features. Defaults to what the last layer with weights before
            the label output is given.
        without_training: Target accuracy without any training (`tlkit.ranking.without_training`), for the first row
            of the table: what you get in ten seconds. Defaults to `None`: no such row.
        batch_size: Int, rows predicted at once where arrays are given. Defaults to `256`.
        verbose: 0 for silence, 1 for a line when a training ends. Defaults to `1`.

    Returns:
        The `AdaptationComparison`: `print()`, `save(folder)`, `plot()`, and the numbers.

    Raises:
        UserError: When an argument is not usable, `train` does not return a model or did not hand on `callbacks`, or
            `folder` holds results of another comparison.

    Example:
        >>> random = np.random.default_rng(0)
        >>> y = np.arange(200) % 2
        >>> x = random.normal(size=(200, 2)).astype("float32") + 3 * y[:, None]
        >>> shifted = x + 1
        >>> def train(method, seed, callbacks):
        ...     inputs = keras.Input((2,))
        ...     outputs = keras.layers.Dense(2, activation="softmax", name="head")(inputs)
        ...     model = keras.Model(inputs, outputs)
        ...     model.compile(keras.optimizers.Adam(0.1), "sparse_categorical_crossentropy")
        ...     rows = x[:100] - (method == "centred") * (x[:100].mean(axis=0) - shifted.mean(axis=0))
        ...     best = keras.callbacks.ModelCheckpoint(  # the weights of the epoch that will be chosen
        ...         f"{method} {seed}.keras", monitor="target_information", mode="max", save_best_only=True
        ...     )
        ...     model.fit(rows, y[:100], epochs=3, verbose=0, callbacks=[*callbacks, best])
        ...     return model
        >>> comparison = compare_adaptation(
        ...     train, methods=["centred"], source_validation=(x[100:], y[100:]), target=shifted[:100],
        ...     target_test=(shifted[100:], y[100:]), seeds=[0, 1], folder="comparison", verbose=0,
        ... )
        >>> len(comparison.summaries["centred"].chosen)
        2
        >>> comparison.save("comparison")

    Notes:
        Choosing an epoch here reports numbers; no weights are kept. To have those of the chosen epoch, give `fit` a
        `ModelCheckpoint` that monitors the same score with `mode="max"`, after `callbacks`, as in the example.
        The A-distance is that of the models as returned: of the last epoch, unless `train` puts others back.
        The interval tells the luck of initialisation and order apart from an effect, not the luck of the test rows:
        with 100 of them the accuracy itself is uncertain by up to 10 points (`wilson_interval`), whatever the seeds.
        To choose among many methods by their target accuracy is choosing by labels, too.

    Reference: the gap closed is that of Ganin et al., 2016, JMLR 17(59), table 2,
        https://jmlr.org/papers/v17/15-239.html. That selection belongs to what is compared, and target labels not into
        it: Ericsson et al., 2023, https://arxiv.org/abs/2309.03879. Differs from it in: a paired interval over seeds,
        where these report means.
    """
    seeds = _check(methods, seeds, oracle, validator, scores, target_test)
    runs = []
    for method in (SOURCE_ONLY, *methods, *([ORACLE] if oracle else [])):
        for seed in seeds:
            file = None if folder is None else Path(folder) / "runs" / f"{_file_name(method)}-seed{seed}.json"
            run = None if file is None else _stored(file, method, seed, fingerprint, validator, target_test is not None)
            if run is None:
                judge = AdaptationScores(
                    source_validation,
                    target,
                    target_test=target_test,
                    scores=scores,
                    features=features,
                    batch_size=batch_size,
                )
                run = _train(train, method, seed, judge)
                if file is not None:
                    _write(file, run | {"fingerprint": fingerprint})
                if verbose:
                    print(_line(run, validator))
            runs.append(run)
    return AdaptationComparison(tuple(runs), validator, without_training)


def _train(train: Callable[..., Any], method: str, seed: int, scores: AdaptationScores) -> dict[str, Any]:
    keras.utils.set_random_seed(seed)
    begin = time.monotonic()
    model = train(method, seed, [scores])
    seconds = time.monotonic() - begin
    if not isinstance(model, keras.Model):
        raise UserError(
            f"compare_adaptation: `train` gave no model for {method!r}. Expected it to return the trained "
            f"`keras.Model`. Received: {type(model).__name__}. End it with `return model`."
        )
    if not scores.epochs:
        raise UserError(
            f"compare_adaptation: nothing was seen of the training of {method!r}. Expected `train` to give its "
            f"`callbacks` to `fit`. Write `model.fit(..., callbacks=[*callbacks])`."
        )
    return {
        "method": method,
        "seed": seed,
        "epochs": scores.epochs,
        "a_distance": _distance(model, scores),
        "seconds": round(seconds, 1),
    }


def _distance(model: keras.Model, scores: AdaptationScores) -> float | None:
    reader, has_features = class_reader(model, scores.features)
    outputs = read_domains(reader, scores.source, scores.target, scores.batch_size)
    if not has_features or not outputs.is_finite or min(len(outputs.source_labels), len(outputs.target_features)) < 4:
        return None
    return proxy_a_distance(outputs.source_features, outputs.target_features)


def _line(run: Mapping[str, Any], validator: str) -> str:
    last = run["epochs"][-1]
    found = f"target accuracy {100 * last[TRUTH]:.1f} %" if TRUTH in last else f"{validator} {last[validator]:.3f}"
    return f"{run['method']}, seed {run['seed']}: {found} after {len(run['epochs'])} epochs ({run['seconds']:.0f} s)"


def _write(file: Path, run: Mapping[str, Any]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_suffix(".part")
    part.write_text(to_json(run), encoding="utf-8")
    os.replace(part, file)  # whole or not at all, whenever it is killed


def _stored(
    file: Path, method: str, seed: int, fingerprint: Any, validator: str, with_truth: bool
) -> dict[str, Any] | None:
    if not file.exists():
        return None
    try:
        run = json.loads(file.read_text(encoding="utf-8"))
        epochs = [{name: math.nan if v is None else float(v) for name, v in e.items()} for e in run["epochs"]]
        stored = {"method": run["method"], "seed": run["seed"], "epochs": epochs}
        stored |= {"a_distance": run["a_distance"], "seconds": run["seconds"]}
        names = epochs[0].keys()
    except (OSError, ValueError, KeyError, IndexError, TypeError, AttributeError):
        warnings.warn(
            f"compare_adaptation: '{file}' is damaged, so {method!r} with seed {seed} is trained again.", stacklevel=3
        )
        return None
    same = json.loads(to_json(fingerprint)) == run.get("fingerprint")
    if not same or (method, seed) != (stored["method"], stored["seed"]) or (TRUTH in names) != with_truth:
        raise UserError(
            f"compare_adaptation: '{file}' is of another comparison. Expected the same `fingerprint`, and "
            f"`target_test` in both or in neither. Received: fingerprint={fingerprint!r}, kept was "
            f"{run.get('fingerprint')!r}. Give another `folder`, or delete this one."
        )
    if validator not in names:
        raise UserError(
            f"compare_adaptation: '{file}' has no {validator!r}. Expected one of: {', '.join(names)}. Choose by one of "
            f"those, or give another `folder`."
        )
    return stored


def _file_name(method: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", method.lower()).strip("_")


def _check(
    methods: Sequence[str],
    seeds: Iterable[int],
    oracle: bool,
    validator: str,
    scores: Sequence[str] | None,
    target_test: Any,
) -> tuple[int, ...]:
    if isinstance(methods, str) or not methods or {SOURCE_ONLY, ORACLE} & set(methods):
        raise UserError(
            f"compare_adaptation: `methods` is not usable. Expected a list of at least one name other than "
            f"{SOURCE_ONLY!r}, which is always trained, and {ORACLE!r}, for which there is `oracle=True`. "
            f"Received: methods={methods!r}."
        )
    names = [_file_name(method) for method in methods]
    if len({*names}) < len(names) or "" in names or {_file_name(SOURCE_ONLY), ORACLE} & set(names):
        raise UserError(
            f"compare_adaptation: `methods` would be kept under the same name. Expected names that differ in their "
            f"letters and digits. Received: methods={list(methods)!r}."
        )
    seeds = tuple(seeds)
    if not seeds or len(set(seeds)) < len(seeds) or not all(isinstance(s, (int, np.integer)) and s >= 0 for s in seeds):
        raise UserError(
            f"compare_adaptation: `seeds` is not usable. Expected different whole numbers from 0. "
            f"Received: seeds={list(seeds)!r}. Three are `range(3)`."
        )
    if validator == TRUTH:
        raise UserError(
            f"compare_adaptation: `validator` needs target labels, so it is no way to choose. Expected one of: "
            f"{', '.join(LABEL_FREE_SCORES)}. Received: validator={validator!r}."
        )
    if validator not in LABEL_FREE_SCORES:
        raise UserError(
            f"compare_adaptation: there is no score of that name. Expected one of: {', '.join(LABEL_FREE_SCORES)}. "
            f"Received: validator={validator!r}."
        )
    needed = {validator, "source_score"}  # the second chooses for source only
    if scores is not None and not needed <= set(scores):
        raise UserError(
            f"compare_adaptation: `scores` leaves out what epochs are chosen by. Expected "
            f"{' and '.join(sorted(needed))} among them. Received: scores={list(scores)!r}."
        )
    if oracle and target_test is None:
        raise UserError(
            "compare_adaptation: the oracle cannot be judged. Expected `target_test` with `oracle=True`. "
            "Give labelled target rows, or leave the oracle out."
        )
    return tuple(int(seed) for seed in seeds)
