"""What a detector's precision is at each recall, class by class."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from tlkit.errors import UserError
from tlkit.evaluation._figure import CLASS_COLOURS, INK, MUTED, RULE, new_figure, set_title, shorten, tidy

_CHARACTERS = 24  # of a class name


def plot_precision_recall(metrics: Mapping[str, Any]) -> Figure:
    """Plot the precision at each recall, at an IoU of 0.5: how many mistakes come with finding how much.

    A curve that stops short says that the rest is not found at any score; one that falls early, that the surest
    predictions are already wrong. The area under a curve is the class's AP50. Of more classes than there are colours,
    those with the lowest AP50 have one, and the others are grey.

    Args:
        metrics: What `evaluate_boxes` gives.

    Raises:
        UserError: When there is no curve in it.

    Example:
        >>> curve = [1.0] * 51 + [0.0] * 50
        >>> per_class = {"cell": {"ap50": 0.505, "precision50": curve}}
        >>> figure = plot_precision_recall({"map50": 0.505, "per_class": per_class})
        >>> figure.axes[0].get_legend().get_texts()[0].get_text()
        'cell: 0.505'
    """
    curves = {name: one for name, one in metrics.get("per_class", {}).items() if one.get("precision50") is not None}
    if not curves:
        raise UserError(
            "plot_precision_recall: there is no curve. Expected what `evaluate_boxes` gives, with a true box at least."
        )
    figure = new_figure(6, 4.6)
    axes = figure.add_subplot()
    worst_first = sorted(curves, key=lambda name: curves[name]["ap50"])
    coloured = sorted(worst_first[: len(CLASS_COLOURS)], key=[*curves].index)
    for name in (name for name in worst_first if name not in coloured):
        _plot(axes, curves[name], RULE)
    for name, colour in zip(coloured, CLASS_COLOURS, strict=False):
        _plot(axes, curves[name], colour, f"{shorten(name, _CHARACTERS)}: {curves[name]['ap50']:.3f}")
    if len(coloured) < len(curves):
        axes.plot([], [], color=RULE, linewidth=1.8, label=f"{len(curves) - len(coloured)} classes above these")
    tidy(axes)
    axes.set_xlim(0, 1.01)
    axes.set_ylim(0, 1.02)
    axes.set_xlabel("recall: share of the true boxes that is found", color=MUTED, fontsize=9)
    axes.set_ylabel("precision: share of what is found that is right", color=MUTED, fontsize=9)
    axes.legend(title="AP50", loc="lower left", frameon=False, fontsize=9, labelcolor=INK, title_fontsize=9)
    set_title(axes, f"Precision and recall, mAP50 {metrics['map50']:.3f}")
    return figure


def _plot(axes: Any, one: Mapping[str, Any], colour: str, label: str | None = None) -> None:
    precision = np.asarray(one["precision50"], float)
    recall = np.linspace(0, 1, len(precision))
    reached = precision > 0
    axes.plot(recall[reached], precision[reached], color=colour, linewidth=1.8, label=label)
