"""Found, missed and false boxes of one image, counted by hand."""

import numpy as np
import pytest

from tlkit.detection import count_mistakes

TRUE = {"boxes": [[0, 0, 10, 10], [20, 20, 40, 40], [-1, -1, -1, -1]], "labels": [0, 1, -1]}


def predicted(*rows):
    boxes, scores, labels = zip(*rows, strict=True) if rows else ([], [], [])
    return {"boxes": np.array(boxes), "scores": np.array(scores), "labels": np.array(labels)}


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([], (0, 2, 0)),
        ([([0, 0, 10, 10], 0.9, 0), ([20, 20, 40, 40], 0.6, 1)], (2, 0, 0)),
        ([([0, 0, 10, 10], 0.9, 1)], (0, 2, 1)),  # another class
        ([([0, 0, 10, 10], 0.4, 0)], (0, 2, 0)),  # not sure enough
        ([([0, 0, 10, 5], 0.9, 0)], (1, 1, 0)),  # IoU 50 / 100
        ([([0, 0, 10, 4.9], 0.9, 0)], (0, 2, 1)),  # 49 / 100
        ([([0, 0, 10, 10], 0.9, 0), ([0, 0, 10, 9], 0.8, 0)], (1, 1, 1)),  # the same thing twice
        ([([50, 50, 60, 60], 0.9, 0), ([-1, -1, -1, -1], 0.0, -1)], (0, 2, 1)),  # of nothing; padding
    ],
)
def test_counted_by_hand(rows, expected):
    assert count_mistakes(TRUE, predicted(*rows)) == expected


def test_the_surer_one_takes_the_box():
    # Both overlap the one box by more than half; whichever order they come in, one is right and one is false.
    rows = [([0, 0, 10, 8], 0.6, 0), ([0, 0, 10, 9], 0.9, 0)]
    assert count_mistakes(TRUE, predicted(*rows)) == count_mistakes(TRUE, predicted(*rows[::-1])) == (1, 1, 1)


def test_an_image_without_boxes():
    nothing = {"boxes": np.zeros((0, 4)), "labels": np.zeros(0, int)}
    assert count_mistakes(nothing, predicted(([0, 0, 1, 1], 0.9, 0))) == (0, 0, 1)
