"""Calibration, accuracy by length and the most wrong examples against numbers worked by hand, and by simulation."""

import json
import math

import numpy as np
import pytest

from tlkit import UserError
from tlkit.evaluation import accuracy_by_length, calibration, most_wrong, plot_accuracy_by_length, plot_calibration
from tlkit.evaluation._bins import equal_mass_bins
from tlkit.evaluation.classification_metrics import wilson_interval

# Confidences 5/8, 3/4, 7/8, 1; right: no, yes, no, yes.
LABELS = [1, 0, 1, 1]
PROBABILITIES = np.array([[0.625, 0.375], [0.75, 0.25], [0.875, 0.125], [0.0, 1.0]])


def test_calibration_by_hand():
    found = calibration(LABELS, PROBABILITIES, num_bins=2)
    first, second = found["bins"]
    assert (first["low"], first["high"], first["confidence"], first["accuracy"]) == (0.625, 0.75, 0.6875, 0.5)
    assert (second["low"], second["high"], second["confidence"], second["accuracy"]) == (0.875, 1, 0.9375, 0.5)
    assert first["num_examples"] == 2 and first["accuracy_interval"] == list(wilson_interval(1, 2))
    # |1/2 - 11/16| = 3/16 and |1/2 - 15/16| = 7/16
    assert found["expected_calibration_error"] == (3 / 16 + 7 / 16) / 2
    assert found["maximum_calibration_error"] == 7 / 16
    assert (found["num_examples"], found["accuracy"], found["confidence"]) == (4, 0.5, 13 / 16)
    # p (1 - p): 15/64, 12/64; 7/64, 0. Each bin has 2 of the 4, so the weight and the division make 1/4.
    by_chance = (math.sqrt(27 / 64) + math.sqrt(7 / 64)) / 4 * math.sqrt(2 / math.pi)
    assert found["error_by_chance"] == pytest.approx(by_chance)
    assert json.loads(json.dumps(found)) == found


def test_calibration_of_one_bin_is_the_difference_of_the_means():
    found = calibration(LABELS, PROBABILITIES, num_bins=1)
    assert found["expected_calibration_error"] == found["maximum_calibration_error"] == 13 / 16 - 1 / 2


def test_the_confidence_is_that_of_the_likeliest_class():
    found = calibration([2, 0], np.array([[0.25, 0.25, 0.5], [0.25, 0.5, 0.25]]))
    assert [(part["confidence"], part["accuracy"]) for part in found["bins"]] == [(0.5, 0.5)]


def test_calibration_does_not_depend_on_the_order():
    generator = np.random.default_rng(0)
    probabilities = generator.dirichlet([0.3, 0.3, 0.3], 300).round(1)  # many equal
    probabilities[:, 0] = 1 - probabilities[:, 1:].sum(axis=1)
    probabilities = np.abs(probabilities)
    labels, order = generator.integers(0, 3, 300), generator.permutation(300)
    first, second = calibration(labels, probabilities), calibration(labels[order], probabilities[order])
    assert first["expected_calibration_error"] == pytest.approx(second["expected_calibration_error"])
    assert [part["num_examples"] for part in first["bins"]] == [part["num_examples"] for part in second["bins"]]


def test_the_error_by_chance_is_that_of_calibrated_answers():
    generator = np.random.default_rng(0)
    confidences = generator.uniform(0.5, 1, 400)
    probabilities = np.stack([confidences, 1 - confidences], axis=1)
    errors = []
    for _ in range(200):
        labels = (generator.uniform(size=400) >= confidences).astype(int)  # class 0 as often as it is said
        found = calibration(labels, probabilities)
        errors.append(found["expected_calibration_error"])
    # The mean of 200 errors is known to about 2 %.
    assert np.mean(errors) == pytest.approx(found["error_by_chance"], rel=0.06)


@pytest.mark.parametrize(
    ("values", "num_bins", "expected"),
    [
        ([5, 1, 4, 2, 3, 0], 3, [[5, 1], [3, 4], [2, 0]]),
        ([7, 7, 7, 7], 3, [[0, 1, 2, 3]]),
        ([1, 2, 2, 2, 3, 4], 3, [[0, 1, 2, 3], [4, 5]]),  # the first end, at 2, moves behind the equal ones
        ([1, 2], 10, [[0], [1]]),
        ([3], 1, [[0]]),
    ],
)
def test_bins_hold_equal_numbers_and_never_part_equal_values(values, num_bins, expected):
    assert [part.tolist() for part in equal_mass_bins(np.array(values), num_bins)] == expected


@pytest.mark.parametrize("caller", [calibration, lambda labels, rows: accuracy_by_length(labels, rows, [1, 2])])
@pytest.mark.parametrize(
    ("labels", "probabilities", "message"),
    [
        ([], np.zeros((0, 2)), "no example"),
        ([0, 1], np.array([0.5, 0.5]), r"shape \(n, classes\)"),
        ([0, 2], np.eye(2), "integers from 0 to 1"),
        ([0, 1], np.array([[3.0, -2.0], [1.0, 0.0]]), "For logits, apply softmax"),
    ],
)
def test_mistakes(caller, labels, probabilities, message):
    with pytest.raises(UserError, match=message):
        caller(labels, probabilities)


def test_there_must_be_a_bin():
    with pytest.raises(UserError, match="calibration: expected `num_bins` of at least 1. Received: num_bins=0"):
        calibration(LABELS, PROBABILITIES, num_bins=0)
    with pytest.raises(UserError, match="accuracy_by_length: expected `num_bins` of at least 1"):
        accuracy_by_length(LABELS, PROBABILITIES, [1, 2, 3, 4], num_bins=0)


# By length ------------------------------------------------------------------------------------------------------------


def test_accuracy_by_length_by_hand():
    found = accuracy_by_length(LABELS, PROBABILITIES, [9, 2, 30, 2], num_bins=2)
    # The two of 2 words are right, those of 9 and 30 are not.
    assert found == {
        "num_examples": 4,
        "accuracy": 0.5,
        "bins": [
            {
                "low": 2,
                "high": 2,
                "num_examples": 2,
                "accuracy": 1.0,
                "accuracy_interval": list(wilson_interval(2, 2)),
            },
            {
                "low": 9,
                "high": 30,
                "num_examples": 2,
                "accuracy": 0.0,
                "accuracy_interval": list(wilson_interval(0, 2)),
            },
        ],
    }
    assert json.loads(json.dumps(found)) == found


@pytest.mark.parametrize("lengths", [[1, 2, 3], [1.5, 2, 3, 4]])
def test_lengths_are_one_whole_number_a_text(lengths):
    with pytest.raises(UserError, match="expected `lengths` to be one whole number for each of the 4 texts"):
        accuracy_by_length(LABELS, PROBABILITIES, lengths)


# The most wrong -------------------------------------------------------------------------------------------------------


def test_most_wrong_are_the_misjudged_by_their_loss_then_the_unsure():
    probabilities = np.array([[0.9, 0.1], [0.6, 0.4], [0.1, 0.9], [0.55, 0.45], [0.95, 0.05]])
    # Wrong: 1 (.4 for the truth), 4 (.05). Right: 0 (.9), 2 (.9), 3 (.55).
    labels = [0, 1, 1, 0, 1]
    assert most_wrong(labels, probabilities).tolist() == [4, 1, 3, 0, 2]
    assert most_wrong(labels, probabilities, count=2).tolist() == [4, 1]
    assert most_wrong([], np.zeros((0, 2))).tolist() == []


def test_most_wrong_of_multi_label_data():
    # Image 0: .9 and .2 for "no" are one mistake; image 1 is right though unsure; image 2 misses both.
    probabilities = np.array([[0.9, 0.2], [0.6, 0.45], [0.1, 0.1]])
    assert most_wrong([[0, 0], [1, 0], [1, 1]], probabilities).tolist() == [2, 0, 1]


def test_most_wrong_needs_a_row_for_each_label():
    with pytest.raises(UserError, match="Received: 2 rows for 1 labels"):
        most_wrong([0], np.eye(2))


# Pictures -------------------------------------------------------------------------------------------------------------


def texts(figure):
    figure.canvas.draw()
    return [text.get_text() for text in figure.findobj(lambda artist: hasattr(artist, "get_text")) if text.get_text()]


def test_the_reliability_diagram_shows_bins_intervals_and_counts():
    found = calibration(LABELS, PROBABILITIES, num_bins=2)
    figure = plot_calibration(found)
    (axes,) = figure.axes
    points, _, (bars,) = axes.containers[0]
    np.testing.assert_allclose(points.get_xydata(), [[0.6875, 0.5], [0.9375, 0.5]])
    np.testing.assert_allclose([bar[:, 1] for bar in bars.get_segments()], [wilson_interval(1, 2)] * 2)
    assert axes.get_xlabel().endswith("each point: 2 examples")
    diagonal = axes.lines[0]
    np.testing.assert_array_equal(diagonal.get_xdata(), diagonal.get_ydata())
    assert "Calibration error 31.2%; by chance alone 19.6%" in texts(figure)  # 5/16; .2452 * .7979


def test_ticks_that_are_equally_far_apart_say_so():
    right = np.arange(100) % 10 > 0  # nine in ten, at a confidence of .9
    figure = plot_calibration(calibration(np.where(right, 0, 1), np.tile([0.9, 0.1], (100, 1))))
    figure.canvas.draw()
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_xticklabels()][-5:-1] == ["92.5%", "95%", "97.5%", "100%"]


def test_the_lengths_are_named_below():
    figure = plot_accuracy_by_length(accuracy_by_length(LABELS, PROBABILITIES, [9, 2, 30, 2], num_bins=2))
    written = texts(figure)
    assert "2\n(2)" in written and "9 to 30\n(2)" in written and "100%" in written
    assert "Accuracy by length; of all 4 texts 50.0%" in written
    points, _, (bars,) = figure.axes[0].containers[0]
    np.testing.assert_allclose(points.get_ydata(), [1, 0])
    np.testing.assert_allclose(
        [bar[:, 1] for bar in bars.get_segments()], [wilson_interval(2, 2), wilson_interval(0, 2)]
    )


@pytest.mark.parametrize("confidence", [0.5, 1.0])
def test_pictures_of_a_single_bin(confidence):
    probabilities = np.array([[confidence, 1 - confidence]] * 3)
    plot_calibration(calibration([0, 0, 0], probabilities)).canvas.draw()
    plot_accuracy_by_length(accuracy_by_length([0, 0, 0], probabilities, [0, 0, 0])).canvas.draw()
