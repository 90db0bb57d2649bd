"""What adaptation reached, every seed as a point."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from tlkit.evaluation._figure import BLUE, INK, MUTED, ORANGE, new_figure, set_title, shorten, tidy

_COLOURS = (ORANGE, "#2a8a57", "#7d4fb0", "#a8740a", "#c2407a", "#2f8f9d")  # of the methods between the two below
_TRUTH = "target_accuracy"


def plot_adaptation(comparison: Any) -> Figure:
    """Draw the score of each method at its chosen epoch, and by epoch; each seed is a point or a line of its own.

    A bar is the mean over the seeds. With target labels a hollow point is what the same training reached at the epoch
    that labels would have chosen: how much the choice costs. Beside it the same scores by epoch, chosen ones marked.

    Args:
        comparison: What `tlkit.domain.compare_adaptation` returned.
    """
    summaries: Mapping[str, Any] = comparison.summaries
    between = [name for name in summaries if name not in ("source only", "oracle")]
    colours = dict(zip(between, _COLOURS * len(between), strict=False)) | {"source only": MUTED, "oracle": BLUE}
    figure = new_figure(max(2.6 + 1.1 * len(summaries), 4.8) + 5.2, 4.1)
    left, right = figure.subplots(1, 2, width_ratios=(max(2.6 + 1.1 * len(summaries), 4.8), 5.2))
    _plot_methods(left, summaries, colours, 0.1 if comparison.measure == _TRUTH else 0.0)
    _plot_epochs(right, comparison, colours)
    what = "Target accuracy" if comparison.measure == _TRUTH else comparison.measure
    set_title(left, f"{what} at the chosen epoch")
    left.set_xlabel(_how_chosen(summaries, comparison.validator), color=MUTED, fontsize=9)
    set_title(right, f"{what} by epoch")
    for axes in (left, right):
        tidy(axes)
        if comparison.measure == _TRUTH:
            axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.3g} %"))
    return figure


def _how_chosen(summaries: Mapping[str, Any], validator: str) -> str:
    """Which score chose the epochs: not the same for all, see `compare_adaptation`."""
    others = {"source only": "source_score", "oracle": "the last epoch"}
    others = {name: how for name, how in others.items() if name in summaries and how != validator}
    note = "; ".join(f"{name}: {how}" for name, how in others.items())
    return f"chosen by {validator}" + (f"\n{note}" if note else "")


def _plot_methods(axes: Axes, summaries: Mapping[str, Any], colours: Mapping[str, str], smallest_span: float) -> None:
    for place, (name, summary) in enumerate(summaries.items()):
        # Seeds side by side, so that equal ones do not hide each other.
        places = place + (np.arange(len(summary.chosen)) - (len(summary.chosen) - 1) / 2) * min(
            0.09, 0.5 / len(summary.chosen)
        )
        if summary.best:
            axes.vlines(places, summary.chosen, summary.best, color=colours[name], linewidth=0.8, alpha=0.6)
            axes.plot(places, summary.best, "o", markersize=6, markerfacecolor="white", markeredgecolor=colours[name])
        axes.plot(places, summary.chosen, "o", markersize=6, color=colours[name])
        mean = float(np.mean(summary.chosen))
        axes.hlines(mean, place - 0.34, place + 0.34, color=colours[name], linewidth=2)
        text = f"{100 * mean:.1f} %" if summary.best else f"{mean:.3f}"
        axes.annotate(text, (place + 0.36, mean), va="center", fontsize=9, color=INK)
    if any(summary.best for summary in summaries.values()):
        axes.plot([], [], "o", color=MUTED, label="chosen without target labels")
        axes.plot([], [], "o", markerfacecolor="white", markeredgecolor=MUTED, label="by target labels: not to be had")
        axes.figure.legend(loc="outside lower left", ncols=2, frameon=False, fontsize=9, labelcolor=INK)
    axes.set_xticks(range(len(summaries)), [shorten(name, 16) for name in summaries], color=INK)
    axes.set_xlim(-0.6, len(summaries) - 0.1)
    axes.margins(y=0.12)
    low, high = axes.get_ylim()
    widen = max(smallest_span - (high - low), 0) / 2  # small differences shall not look large
    axes.set_ylim(low - widen, high + widen)


def _plot_epochs(axes: Axes, comparison: Any, colours: Mapping[str, str]) -> None:
    longest, lines = 1, []
    for name, summary in comparison.summaries.items():
        own = [run for run in comparison.runs if run["method"] == name]
        for index, (run, epoch) in enumerate(zip(own, summary.chosen_epochs, strict=True)):
            values = [scores[comparison.measure] for scores in run["epochs"]]
            drawn = axes.plot(
                range(1, len(values) + 1),
                values,
                color=colours[name],
                linewidth=1.2,
                alpha=0.75,
                label=shorten(name, 20),
            )
            lines += drawn if index == 0 else []
            axes.plot(epoch + 1, values[epoch], "o", markersize=5, color=colours[name])
            longest = max(longest, len(values))
    axes.set_xlim(0.5, longest + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True, min_n_ticks=1))
    axes.set_xlabel("epoch; points: chosen", color=MUTED, fontsize=9)
    axes.figure.legend(
        loc="outside lower right", handles=lines, ncols=min(len(lines), 4), frameon=False, fontsize=9, labelcolor=INK
    )
