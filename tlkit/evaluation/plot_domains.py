"""Features of both domains in the plane, before and after adaptation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from sklearn.preprocessing import StandardScaler

from tlkit.errors import UserError
from tlkit.evaluation._figure import BLUE, INK, ORANGE, RULE, new_figure, set_title, shorten

_MOST_NAMES = 20  # of classes that can be read in one panel


def plot_domains(
    before: tuple[Any, Any],
    after: tuple[Any, Any] | None = None,
    *,
    source_labels: Any = None,
    target_labels: Any = None,
    class_names: Sequence[str] | None = None,
    projection: Literal["pca", "tsne"] = "pca",
    num_rows: int = 500,
    titles: tuple[str, str] = ("Before adaptation", "After adaptation"),
    seed: int = 0,
) -> Figure:
    """Draw source rows in blue and target rows in orange where their features lie, one panel before and one after.

    Adaptation has brought the domains together when the colours mix, and has done it well when the names of the classes
    coincide: each name stands in the middle of its class, in the colour of its domain, or, where others stand there, at
    the end of a line from it. Distances between panels cannot be compared, for each has a projection of its own.

    Args:
        before: (source features, target features), each `(n, k)`; of the model trained on the source only.
        after: The same rows with the features of the adapted model; None draws one panel. Defaults to `None`.
        source_labels: `(n,)` class numbers of the source rows. Defaults to `None`: no names.
        target_labels: `(m,)` class numbers of the target rows: the truth where it is known, or predictions, which
            stand where the model believes the classes to be. Defaults to `None`.
        class_names: Class names by number. Defaults to the numbers.
        projection: "pca", the two directions of largest variance of the standardised features: quick, and straight
            lines stay straight. "tsne" shows clusters that PCA lays over each other, but invents distances between them
            and takes some seconds. Defaults to `"pca"`.
        num_rows: Int, at least 2. Rows of each domain that are drawn, chosen at random. Defaults to `500`, with which
            both colours can still be seen where they mix.
        titles: Of the panels.
        seed: Int. Of the choice of rows and of t-SNE. Defaults to `0`.

    Raises:
        UserError: When shapes do not match, values are not finite, or the projection is unknown.

    Example:
        >>> random = np.random.default_rng(0)
        >>> before = random.normal(size=(50, 8)), random.normal(size=(60, 8)) + 2
        >>> after = random.normal(size=(50, 8)), random.normal(size=(60, 8))
        >>> plot_domains(before, after).savefig("domains.png")

    Reference: van der Maaten and Hinton, 2008, "Visualizing Data using t-SNE", JMLR 9,
        https://jmlr.org/papers/v9/vandermaaten08a.html; the same picture as figure 5 of Ganin et al., 2016,
        JMLR 17(59), https://jmlr.org/papers/v17/15-239.html.
    """
    panels = [tuple(np.asarray(f, np.float64) for f in pair) for pair in (before, after) if pair is not None]
    labels = [None if y is None else np.asarray(y) for y in (source_labels, target_labels)]
    _check(panels, labels, projection, num_rows)
    random = np.random.default_rng(seed)
    rows = [random.permutation(len(f))[:num_rows] for f in panels[0]]
    labels = [None if y is None else y[chosen] for y, chosen in zip(labels, rows, strict=True)]
    figure = new_figure(0.4 + 5 * len(panels), 5.1)
    written = []
    for index, (source, target) in enumerate(panels):
        axes = figure.add_subplot(1, len(panels), index + 1)
        points = _project(np.concatenate([source[rows[0]], target[rows[1]]]), projection, seed)
        split = points[: len(rows[0])], points[len(rows[0]) :]
        _scatter(axes, split, random)
        written.append((axes, _name_classes(axes, split, labels, class_names)))
        set_title(axes, titles[index])
    handles, names = figure.axes[0].get_legend_handles_labels()
    known = sum(y is not None for y in labels)
    note = {0: "", 1: "; a name stands in the middle of its class", 2: "; names stand in the middle of their classes"}
    figure.legend(handles, names, loc="outside lower left", ncols=2, frameon=False, fontsize=9, labelcolor=INK)
    how = "PCA" if projection == "pca" else "t-SNE"
    figure.supxlabel(f"{how}{note[known]}", fontsize=8, color="#6b7785", x=0.99, ha="right")
    figure.draw_without_rendering()  # the places and sizes of names are known only then
    for axes, names in written:
        _spread(axes, names)
    return figure


def _project(features: np.ndarray, projection: str, seed: int) -> np.ndarray:
    scaled = StandardScaler().fit_transform(features)
    if projection == "pca":
        return PCA(2, random_state=seed).fit_transform(scaled)
    # 30 is scikit-learn's perplexity; it must be below the number of rows. 50 components first, as in the paper.
    if scaled.shape[1] > 50:
        scaled = PCA(min(50, len(scaled)), random_state=seed).fit_transform(scaled)
    return TSNE(perplexity=min(30, (len(scaled) - 1) / 3), init="pca", random_state=seed).fit_transform(scaled)


def _scatter(axes: Axes, split: tuple[np.ndarray, np.ndarray], random: np.random.Generator) -> None:
    points = np.concatenate(split)
    colours = np.repeat([BLUE, ORANGE], [len(part) for part in split])
    order = random.permutation(len(points))  # neither domain lies on top
    axes.scatter(*points[order].T, c=colours[order], s=14, alpha=0.5, linewidths=0)
    for name, colour in (("source", BLUE), ("target", ORANGE)):
        axes.scatter([], [], c=colour, s=30, label=name)
    axes.set_facecolor("white")
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_color(RULE)


def _name_classes(axes: Axes, split: Any, labels: Sequence[Any], class_names: Sequence[str] | None) -> list[Text]:
    written = []
    outline = [patheffects.withStroke(linewidth=3, foreground="white")]
    for points, classes, colour in zip(split, labels, ("#174a85", "#9a4f05"), strict=True):  # darker: read on the dots
        if classes is None:
            continue
        for number in np.unique(classes)[:_MOST_NAMES]:
            name = str(number) if class_names is None else shorten(class_names[number], 14)
            x, y = np.median(points[classes == number], axis=0)
            text = axes.text(
                x,
                y,
                name,
                color=colour,
                fontsize=11 if len(name) < 4 else 8,
                fontweight="bold",
                ha="center",
                va="center",
            )
            text.set_path_effects(outline)
            written.append(text)
    return written


def _spread(axes: Axes, names: Sequence[Text]) -> None:
    """Move names apart that overlap; a line leads from the middle of the class to a name that no longer covers it."""
    if not names:
        return
    axes.autoscale(False)
    boxes = [text.get_window_extent() for text in names]
    middles = np.array([[box.x0 + box.x1, box.y0 + box.y1] for box in boxes]) / 2
    sizes = np.array([[box.width, box.height] for box in boxes])
    inside = axes.get_window_extent()
    lowest, highest = inside.p0 + sizes / 2 + 2, inside.p1 - sizes / 2 - 2
    places = separate(middles, sizes, lowest, highest)
    for text, middle, place, size in zip(names, middles, places, sizes, strict=True):
        point, end = axes.transData.inverted().transform([middle, place])
        text.set_position(end)
        if np.any(np.abs(place - middle) > size / 2):
            axes.plot(*np.transpose([point, end]), color=text.get_color(), linewidth=0.8)
            axes.plot(*point, "o", color=text.get_color(), markersize=4)


def separate(middles: np.ndarray, sizes: np.ndarray, lowest: np.ndarray, highest: np.ndarray) -> np.ndarray:
    """Middles of rectangles that overlap as little as can be had by pushing each two of them apart, the shorter way.

    Args:
        middles: `(n, 2)`, where they would be.
        sizes: `(n, 2)`, width and height.
        lowest: `(n, 2)`, how far down and left a middle may go.
        highest: `(n, 2)`, how far up and right.
    """
    places, n = np.clip(middles, lowest, highest), len(middles)
    order = np.sign(np.arange(n)[:, None] - np.arange(n))[..., None]  # which way, where two have one middle
    for _ in range(300):  # 40 names in one place need about 100
        offsets = places[:, None] - places
        overlaps = (sizes[:, None] + sizes) / 2 - np.abs(offsets)
        meets = (overlaps > 0.5).all(axis=2) & ~np.eye(n, dtype=bool)  # half a pixel is none
        if not meets.any():
            break
        shorter = overlaps == overlaps.min(axis=2, keepdims=True)
        # Half the way each, and a little less: several may push at once.
        pushes = np.where(meets[..., None] & shorter, 0.4 * overlaps * np.where(offsets, np.sign(offsets), order), 0)
        places = np.clip(places + pushes.sum(axis=1), lowest, highest)
    return places


def _check(panels: Sequence[Any], labels: Sequence[Any], projection: str, num_rows: int) -> None:
    if projection not in ("pca", "tsne"):
        raise UserError(
            f"plot_domains: there is no such projection. Expected 'pca' or 'tsne'. Received: projection={projection!r}."
        )
    if num_rows < 2:
        raise UserError(f"plot_domains: `num_rows` is too small. Expected at least 2. Received: num_rows={num_rows!r}.")
    sizes = [[len(features) for features in pair] for pair in panels]
    flat = all(f.ndim == 2 and len(f) > 1 and f.shape[1] > 1 for pair in panels for f in pair)
    if not flat or any(a.shape[1] != b.shape[1] for a, b in panels) or any(size != sizes[0] for size in sizes):
        raise UserError(
            f"plot_domains: the features do not match. Expected (source, target) of shapes (n, k) and (m, k), of two "
            f"rows and two features at least, and the same rows before and after. "
            f"Received: {' and '.join(str([f.shape for f in pair]) for pair in panels)}."
        )
    if not all(np.isfinite(f).all() for pair in panels for f in pair):
        raise UserError(
            "plot_domains: features are not finite, so the training diverged. Expected finite values. Train again with "
            "a smaller learning rate."
        )
    for name, y, size in zip(("source_labels", "target_labels"), labels, sizes[0], strict=True):
        if y is not None and y.shape != (size,):
            raise UserError(
                f"plot_domains: `{name}` does not match the rows. Expected shape ({size},). Received: {y.shape}."
            )
