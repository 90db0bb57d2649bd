"""Whether short or long texts are judged worse."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from tlkit.evaluation._figure import BLUE, INK, LABEL_BOX, MUTED, new_figure, set_title, tidy


def plot_accuracy_by_length(found: Mapping[str, Any], unit: str = "words") -> Figure:
    """Draw the accuracy of short and of long texts, with 95 % intervals, beside that of all.

    Below each point are the lengths and the number of texts. Intervals that overlap may differ by chance.

    Args:
        found: What `accuracy_by_length` returned.
        unit: What the lengths count.
    """
    bins = found["bins"]
    places = np.arange(len(bins))
    accuracy = np.array([part["accuracy"] for part in bins])
    low, high = np.array([part["accuracy_interval"] for part in bins]).T
    figure = new_figure(max(4.5, 1.6 + 0.95 * len(bins)), 3.8)
    axes = figure.add_subplot()
    axes.axhline(found["accuracy"], color=MUTED, linestyle="--", linewidth=1.2)
    axes.errorbar(
        places, accuracy, [accuracy - low, high - accuracy], fmt="o", color=BLUE, markersize=6, elinewidth=1.6
    )
    for place, value in zip(places, accuracy, strict=True):
        axes.annotate(
            f"{value:.0%}",
            (place, value),
            (8, 0),
            textcoords="offset points",
            va="center",
            fontsize=9,
            color=INK,
            bbox=LABEL_BOX,
        )
    names = [f"{part['low']}" if part["low"] == part["high"] else f"{part['low']} to {part['high']}" for part in bins]
    tidy(axes)
    axes.set_xticks(
        places, [f"{name}\n({part['num_examples']})" for name, part in zip(names, bins, strict=True)], color=INK
    )
    axes.set_xlim(-0.5, len(bins) - 0.3)
    least = max(0.0, low.min() - 0.05)
    axes.set_ylim(least, 1 + 0.03 * (1 - least))
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    axes.set_xlabel(f"{unit}; in brackets: texts", color=MUTED, fontsize=9)
    set_title(axes, f"Accuracy by length; of all {found['num_examples']} texts {found['accuracy']:.1%}")
    return figure
