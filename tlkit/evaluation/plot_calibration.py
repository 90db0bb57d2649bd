"""A reliability diagram."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tlkit.evaluation._figure import BLUE, INK, MUTED, RULE, new_figure, set_title, tidy


def plot_calibration(found: Mapping[str, Any]) -> Figure:
    """Draw accuracy over confidence, bin by bin.

    On the dashed line the classifier is right as often as it says; below, it is too sure. Bars are 95 % intervals: a
    bin whose bar reaches the line may be off by chance. Points lie close where confidences do, for each stands for
    about as many examples.

    Args:
        found: What `calibration` returned.
    """
    bins = found["bins"]
    confidence = np.array([part["confidence"] for part in bins])
    accuracy = np.array([part["accuracy"] for part in bins])
    low, high = np.array([part["accuracy_interval"] for part in bins]).T
    figure = new_figure(5.6, 5.0)
    axes = figure.add_subplot()
    lowest = min(confidence.min(), low.min())
    start = max(0.0, lowest - 0.05 * (1 - lowest) - 0.01)
    axes.plot([start, 1], [start, 1], "--", color=MUTED, linewidth=1.2)
    axes.errorbar(
        confidence, accuracy, [accuracy - low, high - accuracy], fmt="o", color=BLUE, markersize=6, elinewidth=1.6
    )
    axes.set_xlim(start, 1 + 0.03 * (1 - start))
    axes.set_ylim(start, 1 + 0.03 * (1 - start))
    for text, x, y, align in (("too unsure", 0.03, 0.95, "left"), ("too sure", 0.97, 0.05, "right")):
        axes.text(x, y, text, transform=axes.transAxes, ha=align, va="center", color=MUTED, fontsize=9)
    axes.set_ylabel("accuracy", color=MUTED, fontsize=9)
    counts = [part["num_examples"] for part in bins]
    least, most = min(counts), max(counts)
    many = f"{most}" if least == most else f"{least} to {most}"
    axes.set_xlabel(
        f"confidence: the probability of the likeliest class\neach point: {many} examples", color=MUTED, fontsize=9
    )
    _percent(axes)
    error, chance = found["expected_calibration_error"], found["error_by_chance"]
    set_title(axes, f"Calibration error {error:.1%}; by chance alone {chance:.1%}")
    return figure


def _percent(axes: Axes) -> None:
    tidy(axes)
    axes.grid(axis="x", color=RULE, linewidth=0.8)
    axes.tick_params(labelcolor=INK)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(lambda value, _: f"{100 * value:.6g}%")  # ticks may be 2.5 % apart: no rounding
