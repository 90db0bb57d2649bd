"""Images with their boxes, and beside them what a detector found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from tlkit.errors import UserError
from tlkit.evaluation._figure import CLASS_COLOURS, INK, RULE, new_figure, shorten

_COLUMNS = 4  # pictures in a row: two pairs of true and found, or four of true boxes alone
_SIDE = 2.9  # inches of a picture
_CHARACTERS = 14  # of a class name in a picture
_TITLE = 34  # characters of a title above one
_LINE = 0.04  # of a picture's height, a line of text
_DARK = ("#009E73", "#0072B2", "#D55E00")  # colours that black does not stand out from


def plot_boxes(
    images: Sequence[np.ndarray] | np.ndarray,
    true: Sequence[Any],
    class_names: Sequence[str],
    predicted: Sequence[Mapping[str, Any]] | None = None,
    *,
    score_threshold: float = 0.3,
    titles: Sequence[str] | None = None,
) -> Figure:
    """Show images with their true boxes, and with the predicted ones to the right where there are any.

    The same form of boxes as in `evaluate_boxes`, in pixels of the images given. A class has one colour, in both
    pictures; over a predicted box stands its score.

    Args:
        images: `(n, height, width, 3)` in [0, 1], or bytes; or a list of images of different sizes.
        true: For each image a dict (or an object) with "boxes" `(k, 4)`, each `(x_min, y_min, x_max, y_max)`, and
            "labels" `(k,)`. Rows with a label below 0 are padding.
        class_names: Class names by number.
        predicted: For each image a dict of the same, and "scores" `(k,)`. Defaults to showing true boxes alone.
        score_threshold: Predictions with a smaller score are not shown: mAP counts hundreds of unsure ones.
        titles: One for each image, such as its file's name.

    Raises:
        UserError: When there are not as many boxes, predictions or titles as images, or a label is none of a class.

    Example:
        >>> image, true = np.zeros((64, 64, 3)), {"boxes": [[8, 8, 40, 40]], "labels": [0]}
        >>> figure = plot_boxes([image], [true], ["cell"], [{**true, "scores": [0.9]}])
        >>> [axes.get_title(loc="left") for axes in figure.axes]
        ['true: 1', 'found: 1']
    """
    for name, values in (("true", true), ("predicted", predicted), ("titles", titles)):
        if values is not None and len(values) != len(images):
            raise UserError(f"plot_boxes: expected `{name}` for each of the {len(images)} images, not {len(values)}.")
    if not len(images):
        figure = new_figure(6, 1.2)
        figure.text(0.5, 0.5, "No images.", ha="center", va="center", color=INK, fontsize=11)
        return figure
    per_image = 1 if predicted is None else 2
    columns = min(len(images) * per_image, _COLUMNS)
    rows = -(-len(images) * per_image // columns)
    height = _SIDE * max(np.shape(image)[0] / np.shape(image)[1] for image in images)
    figure = new_figure(_SIDE * columns, (height + 0.35) * rows)
    for number, image in enumerate(images):
        head = f"{shorten(titles[number], _TITLE - 10)}, " if titles is not None else ""
        axes = figure.add_subplot(rows, columns, number * per_image + 1)
        _draw(axes, image, _shown(true[number], class_names), class_names, f"{head}true")
        if predicted is not None:
            axes = figure.add_subplot(rows, columns, number * per_image + 2)
            _draw(axes, image, _shown(predicted[number], class_names, score_threshold), class_names, "found")
    return figure


_Shown = list[tuple[list[float], int, float | None]]  # boxes, labels, scores


def _shown(image: Any, class_names: Sequence[str], score_threshold: float | None = None) -> _Shown:
    """Without padding and what has too small a score; the surest last, to be drawn over the others."""
    found = image if isinstance(image, Mapping) else {"boxes": image.boxes, "labels": image.labels}
    labels = np.asarray(found["labels"])
    boxes = np.asarray(found["boxes"], float).reshape(-1, 4)
    if labels.size and labels.max() >= len(class_names):
        raise UserError(
            f"plot_boxes: a box has the label {labels.max()}. Expected labels below {len(class_names)}, the number of "
            "`class_names`, and -1 for padding."
        )
    count = int(found.get("num_detections", len(labels)))
    if score_threshold is None:
        return [(box, label, None) for box, label in zip(boxes.tolist(), labels.tolist(), strict=True) if label >= 0]
    rows = zip(
        boxes.tolist()[:count], labels.tolist()[:count], np.asarray(found["scores"]).tolist()[:count], strict=True
    )
    kept = [row for row in rows if row[1] >= 0 and row[2] >= score_threshold]
    return sorted(kept, key=lambda row: row[2])


def _draw(axes: Axes, image: np.ndarray, shown: _Shown, class_names: Sequence[str], title: str) -> None:
    pixels = np.asarray(image)
    pixels = pixels if pixels.dtype == np.uint8 else np.clip(pixels.astype(np.float32), 0, 1)
    height, width = pixels.shape[:2]
    # Pixels from edge to edge, as boxes count them: the first one's middle is at .5.
    limit = 255 if pixels.dtype == np.uint8 else 1
    axes.imshow(pixels.squeeze(), cmap="gray", vmin=0, vmax=limit, extent=(0, width, height, 0))
    for (x_min, y_min, x_max, y_max), label, score in shown:
        colour = CLASS_COLOURS[label % len(CLASS_COLOURS)]
        axes.add_patch(Rectangle((x_min, y_min), x_max - x_min, y_max - y_min, fill=False, color=colour, linewidth=1.5))
        text = shorten(class_names[label], _CHARACTERS) + ("" if score is None else f" {score:.0%}")
        below = y_min < height * _LINE  # there is no room above
        axes.text(
            x_min,
            y_min,
            text,
            color="white" if colour in _DARK else "black",
            fontsize=6,
            va="top" if below else "bottom",
            clip_on=True,
            bbox={"facecolor": colour, "edgecolor": "none", "pad": 0.8},
        )
    axes.set_xlim(0, width)
    axes.set_ylim(height, 0)
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_color(RULE)
    axes.set_title(f"{title}: {len(shown)}", fontsize=9, color=INK, loc="left", pad=4)
