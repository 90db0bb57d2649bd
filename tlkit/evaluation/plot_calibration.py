"""A reliability diagram."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tlkit.evaluation._figure import BLUE, INK, MUTED, RULE, new_figure, set_title, tidy


def plot_calibration(found: Mapping[str, Any]) -> Figure:
    """Draw accuracy over confidence, bin by bin, and how many examples each bin holds.

    On the dashed line the classifier is right as often as it says; below, it is too sure. Bars are 95 % intervals: a
    bin whose bar reaches the line may be off by chance.

    Args:
        found: What `calibration` returned.
    """
    bins = found["bins"]
    confidence = np.array([part["confidence"] for part in bins])
    accuracy = np.array([part["accuracy"] for part in bins])
    low, high = np.array([part["accuracy_interval"] for part in bins]).T
    figure = new_figure(5.6, 5.4)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[4, 1])
    least = min(confidence.min(), low.min())
    start = max(0.0, least - 0.05 * (1 - least) - 0.01)
    upper.plot([start, 1], [start, 1], "--", color=MUTED, linewidth=1.2)
    upper.errorbar(
        confidence, accuracy, [accuracy - low, high - accuracy], fmt="o", color=BLUE, markersize=6, elinewidth=1.6
    )
    upper.set_xlim(start, 1 + 0.03 * (1 - start))
    upper.set_ylim(start, 1 + 0.03 * (1 - start))
    for text, x, y, align in (("too unsure", 0.03, 0.95, "left"), ("too sure", 0.97, 0.05, "right")):
        upper.text(x, y, text, transform=upper.transAxes, ha=align, va="center", color=MUTED, fontsize=9)
    upper.set_ylabel("accuracy", color=MUTED, fontsize=9)
    # Lines, not bars over each bin's range: bins of equal numbers differ in width, and areas would mislead.
    counts = [part["num_examples"] for part in bins]
    lower.vlines(confidence, 0, counts, color=BLUE, linewidth=3)
    lower.set_ylim(0, 1.15 * max(counts))
    lower.set_ylabel("examples", color=MUTED, fontsize=9)
    lower.set_xlabel("confidence: the probability of the likeliest class", color=MUTED, fontsize=9)
    for axes in (upper, lower):
        _percent(axes)
    lower.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    lower.locator_params(axis="y", nbins=3, integer=True)
    error, chance = found["expected_calibration_error"], found["error_by_chance"]
    set_title(upper, f"Calibration error {error:.1%}; by chance alone {chance:.1%}")
    return figure


def _percent(axes: Axes) -> None:
    tidy(axes)
    axes.grid(axis="x", color=RULE, linewidth=0.8)
    axes.tick_params(labelcolor=INK)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
