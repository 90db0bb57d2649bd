"""Locations and their targets, by hand on a few boxes and by loops on many."""

import numpy as np
import pytest
import tensorflow as tf

from tlkit import UserError
from tlkit.detection import assign_targets, detection_targets, locations

SIZE = 128  # maps of 16 x 16, 8 x 8 and 4 x 4 locations
FIRST, SECOND, THIRD = slice(0, 256), slice(256, 320), slice(320, 336)


def test_locations_are_the_middles_of_what_the_places_cover():
    expected = [[4, 4], [12, 4], [20, 4], [4, 12], [12, 12], [20, 12], [8, 8], [24, 8]]
    np.testing.assert_array_equal(locations((12, 20), strides=(8, 16)), expected)  # 12 and 20 are no multiples
    assert locations(320).shape == (40 * 40 + 20 * 20 + 10 * 10, 2)
    assert locations(320).dtype == "float32"


@pytest.mark.parametrize("arguments", [(0,), (96.5,), ((96, 96, 3),), (True,), (96, (8, 24)), (96, ()), (96, 8)])
def test_sizes_and_strides_that_are_none(arguments):
    with pytest.raises(UserError, match="`image_size` is the size|Expected whole numbers, finest first, each twice"):
        locations(*arguments)


def found(boxes, labels=None, **options):
    """The locations with an object, as (x, y, class), of each map."""
    boxes = np.array(boxes, "float32")
    labels = np.zeros(len(boxes)) if labels is None else labels
    classes = assign_targets(boxes, labels, SIZE, **options)["class"].numpy()
    rows = np.column_stack([locations(SIZE), classes]).astype(int)
    return [[tuple(row) for row in rows[level] if row[2] >= 0] for level in (FIRST, SECOND, THIRD)]


def test_locations_near_the_centre_find_a_small_box():
    # Less than 1.5 * 8 from (32, 32); 20 and 44 are 12 from it. The farthest side is 20 away: the first map.
    first = [(28, 28, 0), (36, 28, 0), (28, 36, 0), (36, 36, 0)]
    assert found([[16, 16, 48, 48]]) == [first, [], []]
    assert found([[16, 16, 48, 48]], radius=1.0)[0] == first
    assert found([[16, 16, 48, 48]], radius=0.5)[0] == []
    assert len(found([[16, 16, 48, 48]], radius=9.0)[0]) == 16  # all that lie in it


def test_a_larger_box_belongs_to_a_coarser_map():
    # x less than 24 from 64, y less than 24 from 50; at 56 and 72 the farther side is 72 away.
    second = [(x, y, 0) for y in (40, 56, 72) for x in (56, 72)]
    assert found([[0, 0, 128, 100]]) == [[], second, []]
    # 64 to the left and 64 to the right of (68, 68): the bound belongs to both maps. In the second: 72, 56 and 88.
    assert found([[4, 4, 132, 132]])[0] == [(68, 68, 0)]
    assert len(found([[4, 4, 132, 132]])[1]) == 9
    assert found([[8, 8, 136, 136]])[:2] == [[], [(x, y, 0) for y in (56, 72, 88) for x in (56, 72, 88)]]
    # (80, 80) and its neighbours in the third map: more than 128 from a side.
    assert found([[-100, -100, 260, 260]])[:2] == [[], []]
    assert found([[-100, -100, 260, 260]])[2] == [(x, y, 0) for y in (48, 80, 112) for x in (48, 80, 112)]


def test_a_location_on_the_side_of_a_box_does_not_find_it():
    assert found([[28, 16, 40, 48]])[0] == [(36, 28, 0), (36, 36, 0)]  # not x = 28
    assert found([[28, 28, 28, 28]]) == [[], [], []]  # nothing


def test_of_several_boxes_the_smallest_counts_and_of_equal_ones_the_first():
    large, small = [16, 16, 48, 48], [24, 24, 32, 32]
    expected = [(28, 28, 7), (36, 28, 5), (28, 36, 5), (36, 36, 5)]
    assert found([large, small], [5, 7])[0] == expected
    assert found([small, large], [7, 5])[0] == expected
    assert {row[2] for row in found([large, large], [2, 1])[0]} == {2}


def test_padding_is_no_box():
    assert found([[16, 16, 48, 48]], [-1]) == [[], [], []]
    assert found(np.zeros((0, 4))) == [[], [], []]


def test_distances_and_centerness_of_tian_and_others():
    targets = assign_targets([[16.0, 16, 48, 56]], [3], SIZE)
    place = 3 * 16 + 3  # (28, 28): 12 from the left and upper side, 20 from the right, 28 from the lower
    assert targets["class"][place] == 3
    np.testing.assert_array_equal(targets["box"][place], [12, 12, 20, 28])
    np.testing.assert_allclose(targets["centerness"][place], [np.sqrt(12 / 20 * 12 / 28)], rtol=1e-6)
    nothing = targets["class"] < 0
    assert not targets["box"][nothing].numpy().any()
    assert not targets["centerness"][nothing].numpy().any()


def by_loops(boxes, labels, size):
    """What the paper says, location by location."""
    classes, distances = [], []
    for stride, low, high in ((8, 0, 64), (16, 64, 128), (32, 128, np.inf)):
        for row in range(-(-size[0] // stride)):
            for column in range(-(-size[1] // stride)):
                x, y = (column + 0.5) * stride, (row + 0.5) * stride
                best = (np.inf, -1, np.zeros(4))
                for (x_min, y_min, x_max, y_max), label in zip(boxes, labels, strict=True):
                    sides = np.array([x - x_min, y - y_min, x_max - x, y_max - y])
                    near = max(abs(x - (x_min + x_max) / 2), abs(y - (y_min + y_max) / 2)) < 1.5 * stride
                    area = (x_max - x_min) * (y_max - y_min)
                    if label >= 0 and min(sides) > 0 and near and low <= max(sides) <= high and area < best[0]:
                        best = (area, label, sides)
                classes.append(best[1])
                distances.append(best[2])
    return np.array(classes), np.array(distances)


def test_many_boxes():
    random = np.random.default_rng(0)
    size = (100, 150)
    corners = random.integers(0, 150, (2, 40, 2))
    boxes = np.concatenate([corners.min(0), corners.max(0)], axis=1).astype("float32")
    labels = random.integers(-1, 5, 40)
    classes, distances = by_loops(boxes, labels, size)
    targets = assign_targets(boxes, labels, size)
    assert len(set(classes)) == 6
    np.testing.assert_array_equal(targets["class"], classes)
    np.testing.assert_array_equal(targets["box"], distances)


@pytest.mark.parametrize("radius", [0, -1, float("nan")])
def test_a_radius_out_of_range(radius):
    with pytest.raises(UserError, match="`radius` is how far from a box's centre it is found"):
        assign_targets(np.zeros((1, 4)), [0], SIZE, radius=radius)


# A batch --------------------------------------------------------------------------------------------

OBJECTS = {
    "boxes": np.array([[[16, 16, 48, 48], [0, 0, 128, 100]], [[16, 16, 48, 56], [-1, -1, -1, -1]]], "float32"),
    "labels": np.array([[2, 0], [1, -1]]),
    "files": np.array(["a", "b"]),
}


def test_a_batch_has_the_targets_of_each_image_and_weights_of_all():
    batches = tf.data.Dataset.from_tensors((np.zeros((2, SIZE, SIZE, 3), "float32"), OBJECTS)).map(detection_targets)
    _, targets, weights = next(iter(batches))
    assert batches.element_spec[1]["box"].shape == (2, 336, 4)
    for number in range(2):
        of_one = assign_targets(OBJECTS["boxes"][number], OBJECTS["labels"][number], SIZE)
        for name in ("class", "box", "centerness"):
            np.testing.assert_array_equal(targets[name][number], of_one[name])
    # 4 + 6 locations, and (28 or 36, 28, 36 or 44) in the second image: 6.
    np.testing.assert_allclose(weights["class"], [2 / 16] * 2)
    np.testing.assert_allclose(weights["centerness"], [2 / 16] * 2)
    np.testing.assert_allclose(weights["box"], [2 / targets["centerness"].numpy().sum()] * 2, rtol=1e-6)


def test_a_batch_without_objects_has_finite_weights():
    objects = {"boxes": np.full((2, 3, 4), -1.0), "labels": np.full((2, 3), -1)}
    _, targets, weights = detection_targets(np.zeros((2, SIZE, SIZE, 3)), objects)
    assert (targets["class"].numpy() == -1).all()
    assert {name: each.numpy().tolist() for name, each in weights.items()} == {
        "class": [2.0, 2.0],
        "box": [0.0, 0.0],
        "centerness": [2.0, 2.0],
    }


def test_images_of_unknown_size_or_without_boxes():
    data = tf.data.Dataset.from_generator(
        lambda: [], output_signature=(tf.TensorSpec((None, None, None, 3)), {"boxes": tf.TensorSpec((None, None, 4))})
    )
    with pytest.raises(UserError, match="the size of the images is not known.*Resize them, boxes and all"):
        data.map(detection_targets)
    with pytest.raises(UserError, match="Expected a dict with 'boxes' and 'labels'. Received: \\['boxes'\\]"):
        detection_targets(np.zeros((2, SIZE, SIZE, 3)), {"boxes": np.zeros((2, 1, 4))})
