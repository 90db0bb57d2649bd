"""Pictures with a line or two under each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from tlkit.errors import UserError
from tlkit.evaluation._figure import INK, MUTED, RED, RULE, new_figure, shorten
from tlkit.evaluation.example_log_loss import example_log_loss
from tlkit.evaluation.most_wrong import is_misjudged
from tlkit.evaluation.multilabel_metrics import THRESHOLD

_COLUMNS = 6
_CHARACTERS = 22  # of a caption: what fits under a picture
_MISTAKES = 3  # in the caption of a multi-label picture; how many more there are is said


def plot_examples(images: Sequence[np.ndarray] | np.ndarray, titles: Sequence[str]) -> Figure:
    """Show images with a title each, six in a row.

    Args:
        images: `(n, height, width, 3)` (or 1 channel) in [0, 1], or bytes.
        titles: One for each image.
    """
    if len(images) != len(titles):
        raise UserError(f"plot_examples: expected one title for each of the {len(images)} images, not {len(titles)}.")
    return _grid(images, [(title, "", INK) for title in titles])


def plot_most_wrong(
    images: Sequence[np.ndarray] | np.ndarray,
    labels: Sequence[int] | np.ndarray,
    probabilities: np.ndarray,
    class_names: Sequence[str],
    files: Sequence[str | Path] | None = None,
    count: int = 12,
) -> Figure:
    """Show the misjudged images that cost most, by `example_log_loss`, the worst first.

    Wrong labels, bad pictures and true confusions show here. Above each image is what the model said, below it the true
    class, both with their probabilities. In multi-label data, an image is misjudged when any class is; above and below
    it are the mistakes, the worst first: a class that was missed, or one that was said and is wrong.

    Args:
        images: `(n, height, width, 3)` in [0, 1], or bytes.
        labels: `(n,)`, the true class numbers; in multi-label data `(n, num_classes)` of 0 and 1.
        probabilities: `(n, num_classes)`.
        class_names: Class names by number.
        files: Path of each image, named under it when given.
        count: At most that many images.
    """
    if not len(images) == len(labels) == len(probabilities) or (files is not None and len(files) != len(images)):
        raise UserError("plot_most_wrong: expected as many images, labels, probabilities and files of each.")
    labels = np.asarray(labels).astype(int)
    probabilities = np.asarray(probabilities, float).reshape(len(labels), len(class_names))
    caption = _caption if labels.ndim == 1 else _multilabel_caption
    wrong = np.flatnonzero(is_misjudged(labels, probabilities))
    costs = example_log_loss(labels[wrong], probabilities[wrong])
    captions, worst = [], wrong[np.argsort(-costs, kind="stable")][:count]
    for index in worst:
        first, *more = caption(labels[index], probabilities[index], class_names)
        more += [shorten(Path(files[index]).name, _CHARACTERS)] if files is not None else []
        captions.append((first, "\n".join(more), RED))
    return _grid([images[index] for index in worst], captions, empty="No image is misjudged.")


def _caption(label: int, probabilities: np.ndarray, class_names: Sequence[str]) -> list[str]:
    said = shorten(class_names[probabilities.argmax()], _CHARACTERS - 9)
    truth = shorten(class_names[label], _CHARACTERS - 9)
    return [f"said {said} {probabilities.max():.0%}", f"true: {truth} {probabilities[label]:.0%}"]


def _multilabel_caption(labels: np.ndarray, probabilities: np.ndarray, class_names: Sequence[str]) -> list[str]:
    off = np.abs(labels - probabilities)  # from the truth, 1 at most
    mistakes = [
        number for number in np.argsort(-off, kind="stable") if (probabilities[number] > THRESHOLD) != labels[number]
    ]
    lines = [
        f"{'missed' if labels[number] else 'wrong'} {shorten(class_names[number], _CHARACTERS - 11)} "
        f"{probabilities[number]:.0%}"
        for number in mistakes
    ]
    return lines if len(lines) <= _MISTAKES else [*lines[:_MISTAKES], f"and {len(lines) - _MISTAKES} more"]


def _grid(
    images: Sequence[np.ndarray] | np.ndarray, captions: Sequence[tuple[str, str, str]], empty: str = "No images."
) -> Figure:
    """A figure of images, each with (first line, further lines, colour of the first)."""
    if not len(images):
        figure = new_figure(6, 1.2)
        figure.text(0.5, 0.5, empty, ha="center", va="center", color=INK, fontsize=11)
        return figure
    columns = min(len(images), _COLUMNS)
    rows = -(-len(images) // columns)
    lines = 1 + max(len(more.splitlines()) for _, more, _ in captions)
    figure = new_figure(1.9 * columns, (1.9 + 0.18 * lines) * rows)
    for index, (image, (first, more, colour)) in enumerate(zip(images, captions, strict=True)):
        axes = figure.add_subplot(rows, columns, index + 1)
        pixels = np.asarray(image)
        pixels = pixels if pixels.dtype == np.uint8 else np.clip(pixels.astype(np.float32), 0, 1)
        axes.imshow(pixels.squeeze(), cmap="gray", vmin=0, vmax=255 if pixels.dtype == np.uint8 else 1)
        axes.set_xticks([])
        axes.set_yticks([])
        for spine in axes.spines.values():
            spine.set_color(RULE)
        axes.set_title(shorten(first, _CHARACTERS), fontsize=9, color=colour, fontweight="bold", loc="left", pad=4)
        if more:
            axes.set_xlabel(more, fontsize=8.5, color=MUTED, loc="left", labelpad=3)
    return figure
