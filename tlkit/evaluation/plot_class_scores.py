"""How well each class of multi-label data is found."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from tlkit.evaluation._figure import BLUE, INK, MUTED, ORANGE, RULE, new_figure, set_title, shorten, tidy

_MOST_CLASSES = 60  # more would make the figure higher than a screen can show readably; the worst are kept


def plot_class_scores(metrics: Mapping[str, Any]) -> Figure:
    """Draw average precision and F1 of every class as bars, the worst class first.

    Beside each name is the number of examples that show the class; a tick marks the average precision of guessing,
    which is their share. Classes that no example shows stand last, without bars. Of more than 60 classes the worst
    are shown.

    Args:
        metrics: What `multilabel_metrics` returned.
    """
    classes = sorted(metrics["per_class"].items(), key=lambda item: _last_if_none(item[1]["average_precision"]))
    shown = classes[:_MOST_CLASSES]
    few = len(shown) <= 25
    names = [f"{shorten(name, 28)} ({scores['num_positives']})" for name, scores in shown]
    row = 0.34 if few else 0.22  # inches
    figure = new_figure(4.6 + 0.075 * max(map(len, names)), 1.4 + row * len(shown))
    axes = figure.add_subplot()
    places = np.arange(len(shown))
    found = [scores["average_precision"] or 0.0 for _, scores in shown]
    axes.barh(places - 0.16, found, height=0.42, color=BLUE, label="average precision")
    axes.barh(places + 0.22, [scores["f1"] for _, scores in shown], height=0.22, color=ORANGE, label="F1 above 50 %")
    guessing = [scores["num_positives"] / metrics["num_examples"] or np.nan for _, scores in shown]
    size = 9 if few else 7.5  # points
    axes.plot(guessing, places - 0.16, "|", color=INK, markersize=size, markeredgewidth=1.4, label="guessing")
    for place, (_, scores) in zip(places, shown, strict=True):
        value = scores["average_precision"]
        text, x = ("no example", 0.01) if value is None else (f"{value:.2f}", value + 0.012)
        axes.text(x, place - 0.14, text, va="center", fontsize=size - 1, color=MUTED)
    tidy(axes)
    axes.grid(axis="y", visible=False)
    axes.grid(axis="x", color=RULE, linewidth=0.8)
    axes.set_yticks(places, names, fontsize=size, color=INK)
    axes.set_ylim(len(shown) - 0.4, -0.6)
    axes.set_xlim(0, 1.08)
    axes.set_xticks(np.linspace(0, 1, 6))
    axes.set_xlabel("in brackets: examples that show the class", color=MUTED, fontsize=9)
    figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize=9, labelcolor=INK)
    which = "" if len(shown) == len(classes) else f"; the worst {len(shown)} of {len(classes)} classes"
    set_title(axes, f"Mean average precision {metrics['mean_average_precision']:.3f}{which}")
    return figure


def _last_if_none(value: float | None) -> float:
    return 2.0 if value is None else value
