"""Losses and metrics by epoch, with the openings of backbone stages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from tlkit.errors import UserError
from tlkit.evaluation._figure import BLUE, INK, LABEL_BOX, MUTED, ORANGE, RULE, new_figure, set_title, tidy

_TITLES = {
    "loss": "Loss",
    "accuracy": "Accuracy",
    "pr_auc": "Area under precision-recall curves",
    "map50": "Average precision, IoU 0.5",
    "map": "Average precision, COCO's mean",
    "learning_rate": "Learning rate",
}
_RATE_OF_GROUP = "learning_rate/"  # as LearningRateLogger names them
_OF_VALIDATION_ROWS = ("source_accuracy", "source_score")  # of `AdaptationScores`, where it is given the same rows
_BEST_IS_LOWEST = ("loss", "error", "entropy")


def plot_learning_curves(
    history: Mapping[str, Sequence[float]],
    openings: Sequence[tuple[int, int]] = (),
    *,
    monitor: str | None = None,
    mode: Literal["min", "max"] = "min",
    columns: int = 3,
) -> Figure:
    """Plot every value that `fit` recorded: training and validation together, one panel for each.

    The learning rates of groups of layers (`LearningRateLogger` with `LayerwiseLearningRates`) share one panel, from
    the darkest, the output's, to the lightest, the input's; a rate of 0, of a group that does not train, is no point.

    Epochs count from 1 on the axis. The best validation value is marked. A dashed line stands before the first epoch
    that trained with a stage newly opened. What says nothing is left out: a rate that stays as it is, a validation loss
    of 0 in every epoch, as `one_domain` makes it, and scores that repeat a validation curve.

    Args:
        history: `fit(...).history`: name -> one value an epoch; "val_" marks validation.
        openings: (epoch, number of open stages), epochs from 0, as in `ProgressiveUnfreezing.openings`.
        monitor: String. Name of the metric whose best epoch was kept (`ModelCheckpoint(save_best_only=True)`): that
            epoch is shaded in every panel. Defaults to `None`: no epoch is.
        mode: "min" or "max": which value of `monitor` is best. Defaults to `"min"`.
        columns: Int, at least 1. Panels beside each other, at most. Defaults to `3`.

    Raises:
        UserError: When the history is empty or has no `monitor`.
    """
    history = {name: values for name, values in history.items() if not _is_unweighted(name, values)}
    names = _panels(history, monitor)
    groups = [name for name in history if name.startswith(_RATE_OF_GROUP)]
    kept = None if monitor is None else _best_epoch(history, monitor, mode)
    columns = min(len(names), columns)
    rows = -(-len(names) // columns)
    figure = new_figure(1 + 4.3 * columns, 0.4 + 3.2 * rows)
    for index, name in enumerate(names):
        axes = figure.add_subplot(rows, columns, index + 1)
        if name == "learning_rate" and groups:
            _plot_rates(axes, {group.removeprefix(_RATE_OF_GROUP): history[group] for group in groups})
        else:
            _plot_one(axes, name, history)
        _mark_openings(axes, openings, _num_epochs(history, name))
        tidy(axes)
        set_title(axes, _TITLES.get(name, name.replace("_", " ").capitalize()), pad=22 if openings else 10)
        if kept is not None:
            axes.axvspan(kept + 0.7, kept + 1.3, color=RULE, alpha=0.6, linewidth=0, zorder=0)
        note = "" if kept is None else f"; shaded: the one kept, by {monitor}"
        axes.set_xlabel(f"epoch{note}", color=MUTED, fontsize=9)
    return figure


def _is_unweighted(name: str, values: Sequence[float]) -> bool:
    """A loss of validation rows that do not count: no row at all would give an exact 0 in every epoch otherwise."""
    return name.startswith("val_") and name.endswith("_loss") and not any(values)


def _panels(history: Mapping[str, Sequence[float]], monitor: str | None) -> list[str]:
    """The names that get a panel each, in order."""
    names = [name for name in history if not name.startswith("val_") and name != "epoch" and len(history[name])]
    names = [name for name in names if not name.startswith(_RATE_OF_GROUP)]  # all in the panel of the learning rate
    validated = {name.removeprefix("val_"): history[name] for name in history if name.startswith("val_")}
    repeated = [name for name in _OF_VALIDATION_ROWS if name != monitor and _repeats(history.get(name, ()), validated)]
    names = [name for name in names if name not in repeated]
    # Such as a detector's average precision.
    names += [name for name, values in validated.items() if len(values) and name not in names]
    has_groups = any(name.startswith(_RATE_OF_GROUP) for name in history)
    if "learning_rate" in names and not has_groups and len(set(history["learning_rate"])) == 1:
        names.remove("learning_rate")  # a constant tells nothing
    if not names:
        raise UserError("plot_learning_curves: the history is empty. Expected the `history` of a `fit` of one epoch.")
    return sorted(names, key=lambda name: list(_TITLES).index(name) if name in _TITLES else len(_TITLES) - 1.5)


def _repeats(values: Sequence[float], validated: Mapping[str, Sequence[float]]) -> bool:
    """Whether a validation curve shows the same, or the same with the other sign, to what 16-bit numbers can tell."""
    return any(
        len(other) == len(values) and np.allclose(np.abs(values), np.abs(other), rtol=0.01, atol=1e-3, equal_nan=True)
        for other in validated.values()
    )


def _best_epoch(history: Mapping[str, Sequence[float]], monitor: str, mode: str) -> int | None:
    """The first of the best, as `ModelCheckpoint` takes it, from 0; None where no value is a number."""
    if monitor not in history:
        raise UserError(
            f"plot_learning_curves: the history has no `monitor`. Expected one of: {', '.join(history)}. "
            f"Received: monitor={monitor!r}."
        )
    values = np.asarray(history[monitor], float) * (1 if mode == "max" else -1)
    return None if np.isnan(values).all() else int(np.nanargmax(values))


def _plot_one(axes: Axes, name: str, history: Mapping[str, Sequence[float]]) -> None:
    num_epochs = _num_epochs(history, name)
    epochs = range(1, num_epochs + 1)
    marker = "o" if len(epochs) <= 30 else None  # a single epoch is a point, not a line
    if name in history:
        axes.plot(epochs, history[name], color=BLUE, linewidth=1.8, marker=marker, markersize=4, label="training")
    validation = history.get(f"val_{name}", ())
    if len(validation):
        epochs = range(1, len(validation) + 1)
        axes.plot(epochs, validation, color=ORANGE, linewidth=1.8, marker=marker, markersize=4, label="validation")
        best = (min if any(word in name for word in _BEST_IS_LOWEST) else max)(validation)
        epoch = list(validation).index(best) + 1 if best == best else 1  # not a number: nothing is best
        axes.plot(epoch, best, "o", markersize=9, markerfacecolor="none", markeredgecolor=ORANGE, markeredgewidth=1.5)
        axes.plot([], [], "o", markersize=8, markerfacecolor="none", markeredgecolor=ORANGE, label=f"best: {best:.3g}")
        axes.legend(facecolor="white", edgecolor="none", framealpha=0.85, fontsize=9, labelcolor=INK)
    if name == "learning_rate":
        axes.set_yscale("log")
        _name_highest(axes, history[name])
    _count_epochs(axes, num_epochs)


def _num_epochs(history: Mapping[str, Sequence[float]], name: str) -> int:
    return len(history[name] if name in history else history[f"val_{name}"])


def _plot_rates(axes: Axes, rates: Mapping[str, Sequence[float]]) -> None:
    """One line for each group that ever trained; logarithmic, so that rates of one factor are one distance apart."""
    trained = {group: values for group, values in rates.items() if any(values)}
    for place, (group, values) in enumerate(trained.items(), start=1):
        shown = [value or float("nan") for value in values]
        axes.plot(
            range(1, len(values) + 1),
            shown,
            color=BLUE,
            alpha=place / len(trained),
            linewidth=1.8,
            marker="o",
            markersize=3,
            label=group.replace("_", " "),
        )
    axes.set_yscale("log")
    _name_highest(axes, np.max(list(rates.values()), axis=0))
    axes.legend(reverse=True, facecolor="white", edgecolor="none", framealpha=0.85, fontsize=8, labelcolor=INK)
    _count_epochs(axes, max(map(len, rates.values())))


def _name_highest(axes: Axes, rates: Sequence[float]) -> None:
    """Write the highest rate at its first point: on a logarithmic axis it can hardly be read off."""
    epoch, highest = int(np.argmax(rates)) + 1, np.max(rates)
    if not highest > 0:  # no place on a logarithmic axis
        return
    axes.margins(y=0.16)
    axes.annotate(
        f"{highest:.2g}",
        (epoch, highest),
        (0, 5),
        textcoords="offset points",
        ha="center",
        va="bottom",
        fontsize=9,
        color=INK,
        bbox=LABEL_BOX,
    )


def _count_epochs(axes: Axes, num_epochs: int) -> None:
    axes.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True, min_n_ticks=1))
    axes.set_xlim(0.5, num_epochs + 0.5)


def _mark_openings(axes: Axes, openings: Sequence[tuple[int, int]], num_epochs: int) -> None:
    shown = [(epoch, number) for epoch, number in openings if epoch < num_epochs]
    # The words stand where there is room for them: before the first line, or, when that is far left, after the last.
    words_first = bool(shown) and shown[0][0] >= 0.25 * num_epochs
    for index, (epoch, number) in enumerate(shown):
        axes.axvline(epoch + 0.5, color=MUTED, linewidth=1, linestyle=(0, (4, 3)), zorder=0.5)
        words_last = not words_first and index == len(shown) - 1
        label = f"{number} stage{'' if number == 1 else 's'} open" if words_last else str(number)
        axes.annotate(
            f"stages open: {number}" if words_first and index == 0 else label,
            (epoch + 0.5, 1),
            xycoords=("data", "axes fraction"),
            xytext=(-3 if words_last and epoch else 3, 3),
            textcoords="offset points",
            ha="left" if words_last or not epoch else "right",
            va="bottom",
            fontsize=8,
            color=MUTED,
        )
