"""How far apart two domains are, as seen by a linear classifier."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from tlkit.errors import UserError

_COSTS = np.logspace(-5, -1, 5)  # "a large range of C values"; above 0.1 fitting 1,024 features takes many seconds


def proxy_a_distance(source_features: Any, target_features: Any, *, max_rows: int = 2000, seed: int = 0) -> float:
    """Measure how easily source and target features can be told apart: 0 not at all, 2 without error.

    Compare it before and after adaptation, on the same rows and on layers of the same width: with more features, any
    two domains are easier to tell apart. A small distance is no success by itself, for features that tell nothing at
    all have it, too.

        d = 2 (1 - 2 e),   not below 0
        e = lowest error, on the second half of the rows, of linear support vector machines fitted to the first half
            with C = 1e-5, 1e-4, ..., 0.1 to tell source from target

    Args:
        source_features: `(n, k)`.
        target_features: `(m, k)`.
        max_rows: Int, at least 4. Rows of each domain that are used, chosen at random; as many of each, so that
            guessing is wrong half the time. Defaults to `2000`, as many as the paper's data have.
        seed: Int. Of the choice and the halves. Defaults to `0`.

    Returns:
        Float from 0 to 2.

    Raises:
        UserError: When a domain has fewer than 4 rows, widths differ, or values are not finite.

    Example:
        >>> rows = np.random.default_rng(0).normal(size=(400, 5))
        >>> proxy_a_distance(rows[:200], rows[200:]) < 0.3, proxy_a_distance(rows[:200], rows[200:] + 10)
        (True, 2.0)

    Notes:
        With few rows it is uncertain: for e near one half, by about 2 / sqrt(rows of one domain), and a little too
        high, as the lowest of five errors is taken.

    Reference: Ben-David et al., 2007, "Analysis of Representations for Domain Adaptation", NeurIPS,
        https://papers.nips.cc/paper/2983-analysis-of-representations-for-domain-adaptation; the procedure is that of
        Ganin et al., 2016, JMLR 17(59), equations (2) and (3) and section 5.1.5,
        https://jmlr.org/papers/v17/15-239.html. Differs from it in: features are standardised, domains of different
        size are cut to the smaller, and negative values count as 0.
    """
    source, target = (np.asarray(f, np.float64) for f in (source_features, target_features))
    _check(source, target, max_rows)
    random = np.random.default_rng(seed)
    num_rows = min(len(source), len(target), max_rows)
    rows = np.concatenate([f[random.permutation(len(f))[:num_rows]] for f in (source, target)])
    domains = np.repeat([0, 1], num_rows)
    first = np.tile(np.arange(num_rows) < num_rows // 2, 2)  # each half holds as many of both
    scaler = StandardScaler().fit(rows[first])
    fitted, judged = scaler.transform(rows[first]), scaler.transform(rows[~first])
    errors = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # of the largest C; the lowest error counts
        for cost in _COSTS:
            machine = LinearSVC(C=cost, dual="auto", random_state=seed).fit(fitted, domains[first])
            errors.append(1 - machine.score(judged, domains[~first]))
            if errors[-1] == 0:
                break
    return max(0.0, 2 * (1 - 2 * min(errors)))


def _check(source: np.ndarray, target: np.ndarray, max_rows: int) -> None:
    if source.ndim != 2 or target.ndim != 2 or source.shape[1] != target.shape[1]:
        raise UserError(
            f"proxy_a_distance: the features do not match. Expected shapes (n, k) and (m, k). "
            f"Received: {source.shape} and {target.shape}. Take the same layer of the same model for both domains."
        )
    if min(len(source), len(target), max_rows) < 4:
        raise UserError(
            f"proxy_a_distance: there are too few rows to fit and to judge on. Expected at least 4 of each domain. "
            f"Received: {len(source)} and {len(target)}, max_rows={max_rows!r}."
        )
    if not (np.isfinite(source).all() and np.isfinite(target).all()):
        raise UserError(
            "proxy_a_distance: features are not finite, so the training diverged. Expected finite values. Train again "
            "with a smaller learning rate."
        )
