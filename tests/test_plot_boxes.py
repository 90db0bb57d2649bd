"""Boxes and curves are drawn where they are, and padding and unsure predictions are not."""

import numpy as np
import pytest
from matplotlib.patches import Rectangle

from tlkit.errors import UserError
from tlkit.evaluation import plot_boxes, plot_precision_recall

TRUE = {"boxes": np.array([[2, 3, 10, 20], [-1] * 4]), "labels": np.array([1, -1])}
FOUND = {
    "boxes": np.array([[2, 3, 11, 20], [5, 5, 9, 9], [1, 1, 2, 2], [0, 0, 0, 0]]),
    "scores": np.array([0.91, 0.1, 0.9, 0.0]),
    "labels": np.array([1, 0, 0, -1]),
    "num_detections": np.int32(2),
}


def rectangles(axes):
    return [patch.get_bbox().extents.tolist() for patch in axes.patches if isinstance(patch, Rectangle)]


def written(axes):
    return [text.get_text() for text in axes.texts]


def test_true_and_found_boxes_side_by_side():
    figure = plot_boxes([np.zeros((24, 32, 3))], [TRUE], ["cell", "dust"], [FOUND], titles=["a.jpg"])
    figure.canvas.draw()
    true, found = figure.axes
    assert true.get_title(loc="left") == "a.jpg, true: 1" and found.get_title(loc="left") == "found: 1"
    assert rectangles(true) == [[2, 3, 10, 20]] and written(true) == ["dust"]
    assert rectangles(found) == [[2, 3, 11, 20]] and written(found) == ["dust 91%"]
    # A class has one colour in both, and the picture goes from edge to edge.
    assert true.patches[0].get_edgecolor() == found.patches[0].get_edgecolor()
    assert true.images[0].get_extent() == [0, 32, 24, 0]


def test_unsure_boxes_are_drawn_first_when_wanted():
    figure = plot_boxes([np.zeros((24, 32, 3), np.uint8)], [TRUE], ["cell", "dust"], [FOUND], score_threshold=0.0)
    assert written(figure.axes[1]) == ["cell 10%", "dust 91%"]


def test_true_boxes_alone_and_objects_with_attributes():
    class Labelled:
        boxes, labels = TRUE["boxes"][:1], TRUE["labels"][:1]

    figure = plot_boxes([np.zeros((8, 8, 3)), np.zeros((16, 8, 1))], [Labelled, TRUE], ["cell", "dust"])
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["true: 1", "true: 1"]
    figure.canvas.draw()


def test_no_image_says_so_and_what_does_not_match_is_refused():
    assert [text.get_text() for text in plot_boxes([], [], ["cell"]).texts] == ["No images."]
    with pytest.raises(UserError, match="`true` for each of the 1 images, not 2"):
        plot_boxes([np.zeros((8, 8, 3))], [TRUE, TRUE], ["cell", "dust"])
    with pytest.raises(UserError, match="label 1. Expected labels below 1"):
        plot_boxes([np.zeros((8, 8, 3))], [TRUE], ["cell"])


def metrics(**classes):
    per_class = {
        name: {"ap50": np.mean(curve), "precision50": list(curve)} if curve is not None else {"precision50": None}
        for name, curve in classes.items()
    }
    return {"map50": 0.5, "per_class": per_class}


def test_precision_at_each_recall():
    half = [1.0] * 51 + [0.0] * 50
    figure = plot_precision_recall(metrics(cell=half, dust=[0.25] * 101, nothing=None))
    figure.canvas.draw()
    cell, dust = figure.axes[0].lines
    # What is not reached is not drawn as a precision of 0.
    assert cell.get_xdata()[-1] == 0.5 and set(cell.get_ydata()) == {1.0}
    assert dust.get_xdata()[-1] == 1.0 and set(dust.get_ydata()) == {0.25}
    assert [text.get_text() for text in figure.axes[0].get_legend().get_texts()] == ["cell: 0.505", "dust: 0.250"]


def test_of_many_classes_the_worst_have_colours():
    figure = plot_precision_recall(metrics(**{f"class{k}": [k / 10] * 101 for k in range(10)}))
    labels = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert labels == [*(f"class{k}: {k / 10:.3f}" for k in range(7)), "3 classes above these"]
    with pytest.raises(UserError, match="no curve"):
        plot_precision_recall(metrics(nothing=None))
