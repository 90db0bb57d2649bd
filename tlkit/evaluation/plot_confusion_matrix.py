"""Which classes are taken for which."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from tlkit.evaluation._figure import INK, MUTED, RULE, new_figure, set_title, shorten

_WHITE_TO_BLUE = LinearSegmentedColormap.from_list("white_to_blue", ["#ffffff", "#cfe0f3", "#6fa3d8", "#174a84"])
_MOST_WITH_NUMBERS = 25  # classes; beyond, the numbers would not be readable


def plot_confusion_matrix(matrix: Sequence[Sequence[int]] | np.ndarray, class_names: Sequence[str]) -> Figure:
    """Draw a confusion matrix: rows are the true class, columns the predicted one.

    Colours show the share of the row, so that small classes are seen as well as large ones; the numbers are counts.
    Above 25 classes the numbers are left out, and the confusions that happened most often are named below.

    Args:
        matrix: `(num_classes, num_classes)` counts, as in `classification_metrics(...)["confusion_matrix"]`.
        class_names: Class names by number.
    """
    counts = np.asarray(matrix)
    num_classes = len(class_names)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    cell = 0.55 if num_classes <= _MOST_WITH_NUMBERS else 0.24  # inches
    side = min(max(cell * num_classes, 2.4), 14)
    names = [shorten(name, 24) for name in class_names]
    margin = 0.8 + 0.075 * max(map(len, names))
    below = 1.4 if num_classes > _MOST_WITH_NUMBERS else 0.6  # inches for the title, and for the confusions named
    figure = new_figure(side + margin + 0.9, side + margin + below)
    axes = figure.add_subplot()
    image = axes.imshow(shares, cmap=_WHITE_TO_BLUE, vmin=0, vmax=1)
    _label(axes, names)
    if num_classes <= _MOST_WITH_NUMBERS:
        for row, column in np.argwhere(counts > 0):
            colour = "white" if shares[row, column] > 0.55 else INK
            number = counts[row, column]
            axes.text(
                column, row, f"{number}", ha="center", va="center", color=colour, fontsize=9 - (number > 9999) * 2
            )
    else:
        axes.set_xlabel(_worst(counts, class_names), color=MUTED, fontsize=9, labelpad=12)
    bar = figure.colorbar(image, ax=axes, shrink=0.6, aspect=25, ticks=[0, 0.5, 1], format=lambda x, _: f"{x:.0%}")
    bar.outline.set_visible(False)
    bar.ax.tick_params(colors=MUTED, labelsize=8, length=0)
    bar.set_label("share of the true class", color=MUTED, fontsize=9)
    right, total = int(np.trace(counts)), int(counts.sum())
    set_title(axes, f"{right} of {total} right" + (f" ({right / total:.1%})" if total else ""))
    return figure


def _label(axes: Axes, names: list[str]) -> None:
    upright = len(names) > 3 or max(map(len, names)) > 8
    size = 9 if len(names) <= _MOST_WITH_NUMBERS else 7
    positions = range(len(names))
    turned: dict[str, Any] = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"} if upright else {}
    if len(names) > _MOST_WITH_NUMBERS:
        turned = {"rotation": 90}
    axes.set_xticks(positions, names, fontsize=size, color=INK, **turned)
    axes.set_yticks(positions, names, fontsize=size, color=INK)
    axes.set_xticks(np.arange(len(names) + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(len(names) + 1) - 0.5, minor=True)
    axes.grid(which="minor", color=RULE, linewidth=0.6)
    axes.tick_params(which="both", length=0)
    axes.set_xlabel("predicted", color=MUTED, fontsize=9)
    axes.set_ylabel("true", color=MUTED, fontsize=9)
    for spine in axes.spines.values():
        spine.set_color(RULE)


def _worst(counts: np.ndarray, class_names: Sequence[str]) -> str:
    wrong = counts - np.diag(np.diag(counts))
    order = np.argsort(-wrong, axis=None, kind="stable")[:3]
    pairs = [np.unravel_index(index, wrong.shape) for index in order if wrong.flat[index] > 0]
    lines = [f"{class_names[row]} taken for {class_names[column]}: {wrong[row, column]}" for row, column in pairs]
    return "predicted" + ("\n\nmost frequent confusions\n" + "\n".join(lines) if lines else "")
