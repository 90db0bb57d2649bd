"""What a search has tried: settings beside scores, curves of the trainings, and which settings matter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from tlkit.errors import UserError
from tlkit.evaluation._figure import BLUE, INK, LABEL_BOX, MUTED, RULE, new_figure, set_title, shorten, tidy

_COLOURS = colormaps["viridis_r"]  # light to dark: the best is darkest
_WIDE = 20.0  # largest over smallest from which a range of positive numbers is drawn logarithmically


def plot_parallel_coordinates(
    settings: Sequence[Mapping[str, Any]], scores: Sequence[float], *, objective: str, lower_is_better: bool
) -> Figure:
    """Draw each trial as a line over one axis for each setting, and the score as the last; the best are dark.

    Args:
        settings: Of each trial, numbers or texts by name; the same names.
        scores: Of each trial.
        objective: Name of the score.
        lower_is_better: Whether the best score is the smallest.

    Raises:
        UserError: When there is no trial.
    """
    if not settings:
        raise UserError("plot_parallel_coordinates: there is no trial. Expected at least one with a score.")
    names = [*settings[0], objective]
    rows = [{**row, objective: score} for row, score in zip(settings, scores, strict=True)]
    figure = new_figure(2.0 + 1.5 * len(names), 4.2)
    axes = figure.add_subplot()
    axes.set_axis_off()
    axes.set_xlim(-0.3, len(names) - 0.4)
    heights = np.array(
        [_draw_axis(axes, place, name, [row.get(name) for row in rows]) for place, name in enumerate(names)]
    )
    order = np.argsort(scores)[:: -1 if lower_is_better else 1]  # the best last, on top
    for rank, trial in enumerate(order):
        share = rank / max(len(order) - 1, 1)
        colour, best = _COLOURS(share), rank == len(order) - 1
        axes.plot(heights[:, trial], color=colour, linewidth=2.4 if best else 1.0, alpha=1.0 if best else 0.75)
    axes.set_ylim(-0.12, 1.18)
    set_title(axes, f"{len(rows)} trials, the best in bold", pad=4)
    return figure


def plot_trial_curves(curves: Mapping[str, Sequence[float]], *, objective: str, best: str) -> Figure:
    """Draw the score of each training by epoch; one of them stands out.

    Args:
        curves: By the trial's name, one value an epoch.
        objective: Name of the score.
        best: Name of the trial to stand out.

    Raises:
        UserError: When there is no curve.
    """
    if not curves:
        raise UserError("plot_trial_curves: there is no curve. Expected one of a trial at least.")
    figure = new_figure(6.4, 4.0)
    axes = figure.add_subplot()
    for name, values in sorted(curves.items(), key=lambda pair: pair[0] == best):
        stands_out = name == best
        axes.plot(
            range(1, len(values) + 1),
            values,
            color=BLUE if stands_out else MUTED,
            linewidth=2.2 if stands_out else 1.0,
            alpha=1.0 if stands_out else 0.5,
            marker="o" if len(values) == 1 else None,
            markersize=4,
            label=name if stands_out else None,
        )
    tidy(axes)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True, min_n_ticks=1))
    axes.set_xlabel("epoch", color=MUTED, fontsize=9)
    set_title(axes, f"{objective} of {len(curves)} trials")
    if best in curves:
        axes.legend(facecolor="white", edgecolor="none", framealpha=0.85, fontsize=9, labelcolor=INK)
    return figure


def plot_setting_importance(shares: Mapping[str, float]) -> Figure:
    """Draw which share each setting has, the largest on top.

    Args:
        shares: By the setting's name, largest first.

    Raises:
        UserError: When there is none.
    """
    if not shares:
        raise UserError("plot_setting_importance: there is no setting. Expected a share of one at least.")
    figure = new_figure(6.4, 1.0 + 0.4 * len(shares))
    axes = figure.add_subplot()
    places = range(len(shares))[::-1]
    axes.barh(places, [*shares.values()], color=BLUE, height=0.6)
    for place, share in zip(places, shares.values(), strict=True):
        axes.annotate(f" {100 * share:.0f} %", (share, place), va="center", fontsize=9, color=INK)
    tidy(axes)
    axes.grid(visible=False)
    axes.set_yticks(places, [shorten(name, 32) for name in shares], color=INK)
    axes.set_xlim(0, 1.12 * max(shares.values()))
    axes.set_xticks([])
    set_title(axes, "What the score depends on")
    return figure


def _draw_axis(axes, place: int, name: str, values: list[Any]) -> np.ndarray:
    """One vertical axis with its ends written at it; returns where between them each value lies."""
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
    if numbers:
        found = np.array(values, dtype=float)
        low, high = found.min(), found.max()
        ticks = {low: f"{low:.3g}", high: f"{high:.3g}"}
        if low > 0 and high / low >= _WIDE:
            found, ticks = np.log(found), {np.log(value): text for value, text in ticks.items()}
    else:
        kinds = sorted({str(value) for value in values})
        ticks = dict(enumerate(shorten(kind, 12) for kind in kinds))
        found = np.array([kinds.index(str(value)) for value in values], dtype=float)
    scale = Normalize(found.min(), found.max()) if np.ptp(found) else (lambda value: np.full(np.shape(value), 0.5))
    axes.plot([place, place], [0, 1], color=RULE, linewidth=1, zorder=0.5)
    for value, text in ticks.items():
        height = float(scale(value))
        if height in (0, 1):  # beyond the ends, where no line goes
            axes.annotate(
                text,
                (place, height + (0.025 if height else -0.025)),
                ha="center",
                va="bottom" if height else "top",
                fontsize=8,
                color=INK,
            )
        else:
            axes.annotate(text, (place + 0.04, height), va="center", fontsize=8, color=INK, bbox=LABEL_BOX, zorder=5)
    axes.annotate(shorten(name, 18), (place, 1.11), ha="center", fontsize=9, color=INK)
    return np.asarray(scale(found), dtype=float)
