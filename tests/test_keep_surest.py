"""One answer for each thing: worked by hand."""

import numpy as np

from tlkit.detection import keep_surest


def found(boxes, scores, labels):
    return {
        "boxes": np.array(boxes, "float32").reshape(-1, 4),
        "scores": np.array(scores, "float32"),
        "labels": np.array(labels, "int32"),
    }


def test_of_boxes_that_overlap_the_surest_is_kept_whatever_its_class():
    # The second is the first's left 80 of 100 pixels: IoU .8. The third is its left 60: .6, and .75 of the second.
    boxes = [[0, 0, 10, 10], [0, 0, 8, 10], [0, 0, 6, 10], [50, 50, 60, 60]]
    answer = keep_surest(found(boxes, [0.7, 0.9, 0.8, 0.6], [0, 1, 0, 1]), iou_threshold=0.7)
    assert answer["labels"].tolist() == [1, 1]
    np.testing.assert_array_equal(answer["boxes"], np.array([boxes[1], boxes[3]], "float32"))
    # What was left out suppresses nothing: of the first and the third alone both stay.
    answer = keep_surest(found([boxes[0], boxes[2]], [0.7, 0.8], [0, 0]), iou_threshold=0.7)
    np.testing.assert_array_equal(answer["scores"], np.array([0.8, 0.7], "float32"))


def test_from_the_score_on():
    boxes = [[0, 0, 10, 10], [20, 0, 30, 10], [40, 0, 50, 10]]
    answer = keep_surest(found(boxes, [0.5, 0.49, 0.9], [0, 1, 2]))
    assert answer["labels"].tolist() == [2, 0]


def test_nothing():
    for given in (found([], [], []), found([[0, 0, 1, 1]], [0.1], [0])):
        answer = keep_surest(given)
        assert answer["boxes"].shape == (0, 4) and answer["scores"].shape == answer["labels"].shape == (0,)
