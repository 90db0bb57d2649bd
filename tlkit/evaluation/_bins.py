"""Examples in bins of about equal numbers."""

from __future__ import annotations

import numpy as np


def equal_mass_bins(values: np.ndarray, num_bins: int) -> list[np.ndarray]:
    """Examples by bin, lowest values first; equal values are always in the same bin.

    So the bins do not depend on the order of the examples, and where many values are equal there are fewer bins.

    Args:
        values: `(n,)`, n of at least 1.
        num_bins: At most that many; never more than there are different values.

    Returns:
        Arrays of the numbers of the examples, each at least one, ordered by value.
    """
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    ends = np.round(np.arange(1, num_bins) * len(values) / num_bins).astype(int)
    # An end in the midst of equal values moves behind the last of them.
    ends = np.searchsorted(ordered, ordered[np.maximum(ends, 1) - 1], side="right")
    return [part for part in np.split(order, np.unique(ends)) if len(part)]
