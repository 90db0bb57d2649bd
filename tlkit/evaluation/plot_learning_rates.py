"""The loss at each learning rate that was tried."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tlkit.evaluation._figure import BLUE, INK, MUTED, ORANGE, RULE, new_figure, set_title, tidy


class RateCurve(Protocol):
    """What is drawn: rates and losses of equal length, and the rate suggested, if there is one."""

    rates: np.ndarray
    losses: np.ndarray
    smoothed_losses: np.ndarray
    suggestion: float | None


def plot_learning_rates(curve: RateCurve) -> Figure:
    """Plot the loss of each batch over the learning rate it was tried with, and mark the rate to train with.

    The moving mean is drawn as a line, the batches behind it as dots. A good rate lies where the line falls, well
    before its lowest point: beyond that the steps are too long.

    Args:
        curve: What `tlkit.finetune.find_learning_rate` returns.

    Example:
        >>> from tlkit.finetune import find_learning_rate
        >>> figure = plot_learning_rates(find_learning_rate(model, train, num_steps=20))
    """
    figure = new_figure(6.4, 3.8)
    axes = figure.add_subplot()
    axes.plot(curve.rates, curve.losses, "o", color=RULE, markersize=3.5, label="one batch")
    axes.plot(curve.rates, curve.smoothed_losses, color=BLUE, linewidth=1.8, label="moving mean")
    if curve.suggestion is not None:
        loss = np.interp(np.log(curve.suggestion), np.log(curve.rates), curve.smoothed_losses)
        axes.axvline(curve.suggestion, color=ORANGE, linewidth=1, linestyle=(0, (4, 3)), zorder=0.5)
        label = f"suggested: {curve.suggestion:.1e}"
        axes.plot(
            curve.suggestion, loss, "o", markersize=9, markerfacecolor="none", markeredgecolor=ORANGE, label=label
        )
    axes.set_xlim(curve.rates[0] / 1.5, curve.rates[-1] * 1.5)
    axes.set_xscale("log")
    _show_the_line(axes, curve)
    tidy(axes)
    found = "" if curve.suggestion is not None else ": it does not fall, so none is suggested"
    set_title(axes, f"Loss by learning rate{found}")
    axes.set_xlabel("learning rate", color=MUTED, fontsize=9)
    axes.legend(facecolor="white", edgecolor="none", framealpha=0.85, fontsize=9, labelcolor=INK)
    return figure


def _show_the_line(axes: Axes, curve: RateCurve) -> None:
    """Keep the last batches, whose losses run away, from pressing the rest of the curve flat."""
    if curve.suggestion is None:
        return
    low = min(np.min(curve.smoothed_losses), np.quantile(curve.losses, 0.02))
    start = np.max(curve.losses[: max(len(curve.losses) // 10, 1)])  # the smallest rates change nothing
    high = min(np.max(curve.losses), low + 1.6 * (start - low))
    margin = 0.06 * (high - low)
    axes.set_ylim(low - margin, high + margin)
