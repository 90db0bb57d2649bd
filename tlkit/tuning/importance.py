"""Which settings the scores depend on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tlkit.tuning.trial import Trial

# Fewer finished trials for each setting than these say little: a forest finds a reason for every chance.
TRIALS_PER_SETTING = 10
_FEWEST_TRIALS = 4


def setting_importance(trials: Sequence[Trial]) -> dict[str, float]:
    """The share of each setting in what a random forest knows of the scores; most important first.

    A forest is fitted to the scores, and each setting's column shuffled in turn: how much worse the forest then is
    (permutation importance, Breiman 2001, section 10, https://doi.org/10.1023/A:1010933404324), as a share of all
    settings together. With Hyperband, "epochs" is a setting, too.

    Args:
        trials: What `tune` returned; failed ones do not count.

    Returns:
        Shares that sum to 1, or nothing when there are fewer than four scores, or all are equal.

    Example:
        >>> from pathlib import Path
        >>> from tlkit.tuning import Trial
        >>> trials = [Trial({"rate": r, "seed": r * 7 % 5}, score=r * r, metrics={}, folder=Path()) for r in range(20)]
        >>> setting_importance(trials)["rate"] > 0.9
        True
    """
    from sklearn.ensemble import RandomForestRegressor
    from sklearn.inspection import permutation_importance

    scored = [trial for trial in trials if trial.score is not None]
    rows = [trial.settings | ({} if trial.epochs is None else {"epochs": trial.epochs}) for trial in scored]
    names = list(dict.fromkeys(name for row in rows for name in row))
    scores = np.array([trial.score for trial in scored])
    if len(scored) < _FEWEST_TRIALS or np.ptp(scores) == 0:
        return {}
    columns = np.array([_numbers([row.get(name) for row in rows]) for name in names]).T
    forest = RandomForestRegressor(n_estimators=200, random_state=0).fit(columns, scores)
    lost = permutation_importance(forest, columns, scores, n_repeats=20, random_state=0).importances_mean
    shares = np.maximum(lost, 0) / np.maximum(lost, 0).sum()
    return dict(sorted(zip(names, map(float, shares), strict=True), key=lambda pair: -pair[1]))


def _numbers(values: list) -> list[float]:
    """Numbers as they are, since a tree only asks what is larger; others by their place among those that occur."""
    if all(isinstance(value, int | float) for value in values):
        return [float(value) for value in values]
    places = {value: place for place, value in enumerate(sorted({*values}, key=str))}
    return [float(places[value]) for value in values]
