"""Plots hold what they should, draw at every size, and leave pyplot alone."""

import subprocess
import sys
import types

import numpy as np
import pytest

from tlkit import UserError
from tlkit.evaluation import (
    multilabel_metrics,
    plot_class_scores,
    plot_confusion_matrix,
    plot_examples,
    plot_learning_curves,
    plot_learning_rates,
    plot_most_wrong,
)


def texts(figure):
    """Everything that is written in a figure, after drawing it."""
    figure.canvas.draw()
    return [text.get_text() for text in figure.findobj(lambda artist: hasattr(artist, "get_text")) if text.get_text()]


def test_learning_curves_show_values_best_and_openings():
    history = {"loss": [2.0, 1.0, 0.5], "val_loss": [2.0, 1.5, 1.75], "accuracy": [0.2, 0.5, 0.9]}
    figure = plot_learning_curves(history, openings=[(1, 1), (2, 2), (9, 3)])
    loss, accuracy = figure.axes
    np.testing.assert_allclose(loss.lines[0].get_xydata(), [[1, 2.0], [2, 1.0], [3, 0.5]])
    np.testing.assert_allclose(loss.lines[1].get_xydata(), [[1, 2.0], [2, 1.5], [3, 1.75]])
    assert "best: 1.5" in texts(figure) and "stages open: 1" in texts(figure)
    # Between the last epoch before and the first after; an opening that fit never reached is not shown.
    assert [line.get_xdata()[0] for line in accuracy.lines if line.get_linestyle() == "--"] == [1.5, 2.5]


def test_openings_at_the_left_have_their_words_at_the_right():
    figure = plot_learning_curves({"loss": [1.0] * 20}, openings=[(0, 1), (1, 2), (2, 3)])
    labels = [text for text in figure.axes[0].texts if text.get_text()]
    assert [text.get_text() for text in labels] == ["1", "2", "3 stages open"]
    figure.canvas.draw()
    boxes = [text.get_window_extent() for text in labels]
    assert all(left.x1 <= right.x0 + 0.5 for left, right in zip(boxes, boxes[1:], strict=False))  # half a pixel


def test_what_is_only_validated_has_a_panel():
    figure = plot_learning_curves({"loss": [3, 2], "val_map50": [0.25, 0.5]}, [(1, 1)])
    assert "Average precision, IoU 0.5" in texts(figure)
    panel = figure.axes[1]
    assert [line.get_ydata().tolist() for line in panel.lines if line.get_label() == "validation"] == [[0.25, 0.5]]
    assert not [line for line in panel.lines if line.get_label() == "training"]


def test_learning_curves_of_one_epoch_and_of_none():
    figure = plot_learning_curves({"loss": [1.0], "val_loss": [float("nan")], "learning_rate": [0.1]}, [(0, 2)])
    assert len(figure.axes) == 1 and "Loss" in texts(figure)
    with pytest.raises(UserError, match="the history is empty"):
        plot_learning_curves({"loss": []})


def panels(figure):
    return [axes.get_title(loc="left") for axes in figure.axes]


def test_the_learning_rate_is_shown_when_it_changes():
    figure = plot_learning_curves({"learning_rate": [0.1, 0.25, 0.01], "loss": [1.0, 0.5, 0.25]})
    assert panels(figure) == ["Loss", "Learning rate"]
    (highest,) = figure.axes[1].texts
    assert (highest.get_text(), highest.xy) == ("0.25", (2, 0.25))


ADAPTATION = {
    "domain_loss": [0.5, 0.6],
    "val_domain_loss": [0.0, 0.0],  # no validation row counts
    "label_accuracy": [0.5, 0.9],
    "val_label_accuracy": [0.25, 0.75],
    "val_label_loss": [2.0, 1.0],
    "source_accuracy": [0.25, 0.75],
    "source_score": [-2.0, -1.0],
}


def test_what_says_nothing_is_not_drawn():
    figure = plot_learning_curves(ADAPTATION)
    assert panels(figure) == ["Domain loss", "Label accuracy", "Label loss"]
    assert [line.get_ydata().tolist() for line in figure.axes[0].lines] == [[0.5, 0.6]]
    other_rows = plot_learning_curves(ADAPTATION | {"source_accuracy": [0.25, 0.5]})
    assert "Source accuracy" in panels(other_rows)
    chosen = plot_learning_curves(ADAPTATION, monitor="source_score", mode="max")
    assert "Source score" in panels(chosen) and "Source accuracy" not in panels(chosen)


def shaded(figure):
    """The epochs that are shaded, of each panel."""
    return [[patch.get_x() + patch.get_width() / 2 for patch in axes.patches] for axes in figure.axes]


def test_the_kept_epoch_is_shaded():
    history = {"loss": [3.0, 2.0, 1.0, 0.5], "score": [float("nan"), 5.0, 7.0, 7.0]}
    figure = plot_learning_curves(history, monitor="score", mode="max")
    np.testing.assert_allclose(shaded(figure), [[3], [3]])  # the first of the best
    assert figure.axes[0].get_xlabel() == "epoch; shaded: the one kept, by score"
    np.testing.assert_allclose(shaded(plot_learning_curves(history, monitor="score")), [[2], [2]])
    assert shaded(plot_learning_curves(history)) == [[], []]
    assert shaded(plot_learning_curves(history | {"score": [float("nan")] * 4}, monitor="score")) == [[], []]
    with pytest.raises(UserError, match="Expected one of: loss, score. Received: monitor='val_loss'"):
        plot_learning_curves(history, monitor="val_loss")


def rate_curve(losses, suggestion):
    losses = np.asarray(losses, float)
    rates = 10.0 ** np.arange(-5, len(losses) - 5)
    return types.SimpleNamespace(rates=rates, losses=losses, smoothed_losses=losses - 0.1, suggestion=suggestion)


def test_learning_rates_show_the_line_and_the_suggestion():
    figure = plot_learning_rates(rate_curve([3, 3, 2, 1, 1000], 1e-3))
    axes = figure.axes[0]
    _, line, vertical, circle = axes.lines
    np.testing.assert_allclose(line.get_ydata(), [2.9, 2.9, 1.9, 0.9, 999.9])
    assert vertical.get_xdata()[0] == 1e-3 and circle.get_xydata().tolist() == [[1e-3, pytest.approx(1.9)]]
    assert axes.get_xscale() == "log" and axes.get_ylim()[1] < 1000 and "suggested: 1.0e-03" in texts(figure)


@pytest.mark.parametrize("losses", [[1, 2, 3], [1, 1, 1], [0.2, -0.5, -1], [1]])
def test_learning_rates_without_a_suggestion(losses):
    figure = plot_learning_rates(rate_curve(losses, None))
    low, high = figure.axes[0].get_ylim()
    assert low < high and "Loss by learning rate: it does not fall, so none is suggested" in texts(figure)


def test_confusion_matrix_has_the_truth_in_rows():
    figure = plot_confusion_matrix([[8, 2], [0, 5]], ["ant", "bee"])
    axes = figure.axes[0]
    np.testing.assert_allclose(axes.images[0].get_array(), [[0.8, 0.2], [0, 1]])
    assert [(text.get_text(), text.get_position()) for text in axes.texts] == [
        ("8", (0, 0)),
        ("2", (1, 0)),
        ("5", (1, 1)),
    ]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("predicted", "true")
    assert "13 of 15 right (86.7%)" in texts(figure)


def test_confusion_matrix_of_many_classes_names_the_worst():
    matrix = np.eye(40, dtype=int) * 9
    matrix[3, 7] = 5
    figure = plot_confusion_matrix(matrix, [f"a name that is much too long for a tick {i}" for i in range(40)])
    assert any("tick 3 taken for" in text and text.endswith(": 5") for text in texts(figure))


def test_most_wrong_comes_in_order_of_the_truth_s_probability():
    probabilities = np.array([[0.9, 0.1], [0.6, 0.4], [0.1, 0.9], [0.95, 0.05]])
    images = np.zeros((4, 5, 5, 3)) + np.array([0.0, 0.1, 0.2, 0.3])[:, None, None, None]
    files = [f"some/where/{index}.png" for index in range(4)]
    figure = plot_most_wrong(images, [1, 1, 1, 0], probabilities, ["ant", "bee"], files)
    shown = [axes.images[0].get_array()[0, 0, 0] for axes in figure.axes]
    assert shown == pytest.approx([0.0, 0.1])  # .1 and .4 for the truth; the other two are right
    assert figure.axes[0].get_title(loc="left") == "said ant 90%"
    assert figure.axes[0].get_xlabel() == "true: bee 10%\n0.png"
    assert len(plot_most_wrong(images, [1, 1, 0, 1], probabilities, ["ant", "bee"], count=3).axes) == 3


def test_most_wrong_when_nothing_is():
    figure = plot_most_wrong(np.zeros((2, 4, 4, 3)), [0, 1], np.eye(2), ["ant", "bee"])
    assert texts(figure) == ["No image is misjudged."]


def test_most_wrong_of_multi_label_data_says_what_was_missed_and_what_was_wrong():
    labels = np.array([[1, 0, 0], [1, 1, 0], [0, 0, 0], [1, 1, 1]])
    probabilities = np.array([[0.9, 0.1, 0.5], [0.2, 0.8, 0.9], [0.1, 0.1, 0.6], [0.1, 0.2, 0.3]])
    images = np.zeros((4, 5, 5, 3)) + np.array([0.0, 0.1, 0.2, 0.3])[:, None, None, None]
    figure = plot_most_wrong(images, labels, probabilities, ["ant", "bee", "cat"], ["a.png", "b.png", "c.png", "d.png"])
    # Products of the truth's probabilities: image 1 .2*.8*.1 = .016, image 2 .9*.9*.4 = .324, image 3 .1*.2*.3 = .006;
    # image 0 is right, as 0.5 is not above 0.5.
    assert [axes.images[0].get_array()[0, 0, 0] for axes in figure.axes] == pytest.approx([0.3, 0.1, 0.2])
    captions = [(axes.get_title(loc="left"), axes.get_xlabel()) for axes in figure.axes]
    assert captions == [
        ("missed ant 10%", "missed bee 20%\nmissed cat 30%\nd.png"),
        ("wrong cat 90%", "missed ant 20%\nb.png"),
        ("wrong cat 60%", "c.png"),
    ]
    many = plot_most_wrong(images[:1], np.ones((1, 9)), np.zeros((1, 9)), list("abcdefghi"))
    assert many.axes[0].get_xlabel().endswith("\nand 6 more")


def class_scores(num_classes):
    """Scores of that many classes, of which the first has no example."""
    generator = np.random.default_rng(0)
    labels = (generator.random((200, num_classes)) < 0.2).astype(int)
    labels[:, 0] = 0
    probabilities = np.clip(labels * np.linspace(0, 1, num_classes) + generator.uniform(0, 0.7, labels.shape), 0, 1)
    return multilabel_metrics(labels, probabilities, [f"a class with a long name {n}" for n in range(num_classes)])


@pytest.mark.parametrize("num_classes", [3, 50])
def test_class_scores_stand_worst_first_and_those_without_examples_last(num_classes):
    metrics = class_scores(num_classes)
    figure = plot_class_scores(metrics)
    written, axes = texts(figure), figure.axes[0]
    widths = [bar.get_width() for bar in axes.containers[0]]
    assert len(widths) == num_classes and widths[:-1] == sorted(widths[:-1]) and widths[-1] == 0
    expected = sorted(s["average_precision"] for s in metrics["per_class"].values() if s["num_positives"])
    assert widths[:-1] == pytest.approx(expected)
    assert axes.get_yticklabels()[-1].get_text() == "a class with a long name 0 (0)"
    assert "no example" in written and f"Mean average precision {metrics['mean_average_precision']:.3f}" in written
    assert axes.yaxis_inverted()  # the first is at the top
    # Names do not overlap.
    boxes = [label.get_window_extent() for label in axes.get_yticklabels()]
    assert all(above.y0 >= below.y1 for above, below in zip(boxes, boxes[1:], strict=False))


def test_class_scores_of_very_many_classes_are_the_worst():
    figure = plot_class_scores(class_scores(80))
    assert any(text.endswith("; the worst 60 of 80 classes") for text in texts(figure))


def test_examples_take_bytes_floats_and_grey():
    for images in (np.zeros((7, 4, 4, 3), np.uint8), np.ones((7, 4, 4, 1), np.float16)):
        figure = plot_examples(images, list("abcdefg"))
        assert len(figure.axes) == 7 and "g" in texts(figure)
    with pytest.raises(UserError, match="one title for each of the 1 images"):
        plot_examples(np.zeros((1, 4, 4, 3)), [])


def test_figures_show_themselves_in_notebooks_without_pyplot():
    code = (
        "import sys; from tlkit.evaluation import plot_learning_curves as plot; "
        "png = plot({'loss': [1.0]})._repr_png_(); print(png[1:4], 'matplotlib.pyplot' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "b'PNG' False\n"


def test_the_rates_of_groups_share_one_panel():
    history = {
        "loss": [2.0, 1.0, 0.5],
        "learning_rate": [0.1, 0.1, 0.01],
        "learning_rate/stride_2": [0.0, 0.0, 0.0],
        "learning_rate/stride_4": [0.0, 0.0, 0.0025],
        "learning_rate/stride_8": [0.0, 0.05, 0.005],
        "learning_rate/head": [0.1, 0.1, 0.01],
    }
    loss, rates = plot_learning_curves(history).axes
    assert loss.get_title(loc="left") == "Loss" and rates.get_title(loc="left") == "Learning rate"
    assert [text.get_text() for text in rates.get_legend().get_texts()] == ["head", "stride 8", "stride 4"]
    lines = {line.get_label(): line.get_ydata() for line in rates.get_lines()}
    np.testing.assert_array_equal(lines["stride 4"], [np.nan, np.nan, 0.0025])
    assert rates.get_yscale() == "log"
