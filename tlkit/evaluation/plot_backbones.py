"""What each backbone reaches beside what it costs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from tlkit.evaluation._figure import BLUE, INK, MUTED, new_figure, set_title, shorten, tidy

_LONGEST_NAME = 34


def plot_backbones(ranked: Sequence[Any]) -> Figure:
    """Draw accuracy with its interval over milliseconds for an example, a point for each backbone; up and left is best.

    Points that no other beats in both are filled: one of them is the one to take.

    Args:
        ranked: Those of `tlkit.ranking.rank_backbones` without a failure, or anything with `handle`, `accuracy`,
            `interval` and `milliseconds`.
    """
    figure = new_figure(7.5, max(3.6, 2.4 + 0.25 * len(ranked)))
    axes = figure.subplots()
    for one in ranked:
        beaten = any(other.accuracy > one.accuracy and other.milliseconds < one.milliseconds for other in ranked)
        color = MUTED if beaten else BLUE
        low, high = one.interval
        axes.vlines(one.milliseconds, low, high, color=color, linewidth=1.2, alpha=0.5)
        face = "white" if beaten else color
        axes.plot(one.milliseconds, one.accuracy, "o", markersize=7, markerfacecolor=face, markeredgecolor=color)
        axes.annotate(
            _name(one.handle),
            (one.milliseconds, one.accuracy),
            (7, 4),
            textcoords="offset points",
            fontsize=9,
            color=INK,
        )
    axes.set_xscale("log")
    slowest, fastest = (choose(one.milliseconds for one in ranked) for choose in (max, min))
    axes.set_xlim(fastest / 1.6, slowest * 4)  # room for the names
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(FuncFormatter(lambda value, _: f"{value:g}" if f"{value:g}"[0] in "25" else ""))
    axes.yaxis.set_major_locator(MaxNLocator(6))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.3g} %"))
    axes.set_xlabel("milliseconds an example, forward, here", color=MUTED, fontsize=9)
    tidy(axes)
    axes.tick_params(which="minor", colors=MUTED, labelsize=9, length=0)
    set_title(axes, "Accuracy of a linear probe, 95 % interval, and its cost")
    return figure


def _name(handle: str) -> str:
    """What tells it from others: the last part, or the last three where that is a version (".../classification/5")."""
    parts = handle.rstrip("/").removesuffix("/saved_model").split("/")
    return shorten("/".join(parts[-3:] if parts[-1].isdigit() else parts[-1:]), _LONGEST_NAME)
