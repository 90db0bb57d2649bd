"""The numbers of a comparison: what each method reached over the seeds, at which epoch, and against the baseline."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy import stats

SOURCE_ONLY = "source only"
ORACLE = "oracle"
TRUTH = "target_accuracy"  # the only score that target labels are needed for
_SMALLEST_GAP = 0.005  # half a point: a share of less is a share of noise


@dataclasses.dataclass(frozen=True)
class PairedDifference:
    """A method minus source only, seed by seed.

    Attributes:
        values: One difference for each seed that both have.
        mean: Their mean.
        deviation: Their standard deviation (n - 1), None for one seed.
        low: Lower end of the 95 % interval of the mean, None for one seed.
        high: Upper end.
    """

    values: tuple[float, ...]
    mean: float
    deviation: float | None
    low: float | None
    high: float | None


@dataclasses.dataclass(frozen=True)
class MethodSummary:
    """What one method reached.

    Attributes:
        method: Its name.
        seeds: Those it was trained with; the tuples that follow are in their order.
        chosen_epochs: The epoch, from 0, chosen without target labels (the oracle's is its last).
        chosen: The score compared at the chosen epoch: target accuracy, or without target labels the validator.
        last: The same at the last epoch.
        best_epochs: The epoch that target labels would have chosen, the first of equals; empty without them.
        best: Target accuracy at it.
        source_accuracy: Mean over the seeds, at the chosen epoch.
        a_distance: Mean proxy A-distance of the features of the returned models; None where they have none.
        difference: Of `chosen`, against source only; None for source only itself.
        gap_closed: Share of the way from source only to the oracle; None without an oracle that is half a point above.
    """

    method: str
    seeds: tuple[int, ...]
    chosen_epochs: tuple[int, ...]
    chosen: tuple[float, ...]
    last: tuple[float, ...]
    best_epochs: tuple[int, ...]
    best: tuple[float, ...]
    source_accuracy: float
    a_distance: float | None
    difference: PairedDifference | None
    gap_closed: float | None


def summarize(runs: Sequence[Mapping[str, Any]], validator: str, measure: str) -> dict[str, MethodSummary]:
    """The summary of each method, in the order in which they come."""
    by_method: dict[str, list[Mapping[str, Any]]] = {}
    for run in runs:
        by_method.setdefault(run["method"], []).append(run)
    base, oracle = (at_chosen(by_method.get(name, ()), validator, measure) for name in (SOURCE_ONLY, ORACLE))
    summaries = {}
    for method, own in by_method.items():
        chosen = at_chosen(own, validator, measure)
        distances = [run["a_distance"] for run in own if run["a_distance"] is not None]
        epochs = [chosen_epoch(run, validator) for run in own]
        accuracies = [[epoch[TRUTH] for epoch in run["epochs"]] for run in own] if measure == TRUTH else []
        summaries[method] = MethodSummary(
            method,
            tuple(run["seed"] for run in own),
            tuple(epochs),
            tuple(chosen.values()),
            tuple(run["epochs"][-1][measure] for run in own),
            tuple(int(np.argmax(values)) for values in accuracies),
            tuple(max(values) for values in accuracies),
            float(
                np.mean([run["epochs"][e].get("source_accuracy", math.nan) for run, e in zip(own, epochs, strict=True)])
            ),
            float(np.mean(distances)) if distances else None,
            None if method == SOURCE_ONLY else paired_difference(chosen, base),
            gap_closed(chosen, base, oracle) if method not in (SOURCE_ONLY, ORACLE) and measure == TRUTH else None,
        )
    return summaries


def chosen_epoch(run: Mapping[str, Any], validator: str) -> int:
    """The epoch that is chosen without target labels.

    By the validator's highest value, the first of equals (as `ModelCheckpoint` does). Source only has seen no target
    row, so its own validation rows choose; the oracle takes its last epoch.
    """
    by = {SOURCE_ONLY: "source_score", ORACLE: None}.get(run["method"], validator)
    values = np.array([epoch.get(by, math.nan) for epoch in run["epochs"]], float)
    return len(values) - 1 if np.isnan(values).all() else int(np.nanargmax(values))


def at_chosen(runs: Sequence[Mapping[str, Any]], validator: str, score: str) -> dict[int, float]:
    """Seed -> a score at the chosen epoch."""
    return {run["seed"]: run["epochs"][chosen_epoch(run, validator)][score] for run in runs}


def paired_difference(values: Mapping[int, float], base: Mapping[int, float]) -> PairedDifference:
    """Differences of the same seeds, and the interval that their mean is compatible with.

    low, high = mean -+ t(0.975, n - 1) * deviation / sqrt(n);   t = quantile of Student's distribution; n = seeds
    """
    differences = np.array([values[seed] - base[seed] for seed in values if seed in base])
    mean, n = float(differences.mean()), len(differences)
    if n < 2:
        return PairedDifference(tuple(differences.tolist()), mean, None, None, None)
    deviation = float(differences.std(ddof=1))
    half = float(stats.t.ppf(0.975, n - 1)) * deviation / math.sqrt(n)
    return PairedDifference(tuple(differences.tolist()), mean, deviation, mean - half, mean + half)


def gap_closed(values: Mapping[int, float], base: Mapping[int, float], oracle: Mapping[int, float]) -> float | None:
    """(mean of the method - mean of source only) / (mean of the oracle - mean of source only)."""
    if not oracle:
        return None
    low, high = np.mean(list(base.values())), np.mean(list(oracle.values()))
    return float((np.mean(list(values.values())) - low) / (high - low)) if high - low >= _SMALLEST_GAP else None
