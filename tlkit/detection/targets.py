"""From the boxes in an image to what a detector should say at each location."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf

from tlkit.detection.locations import STRIDES, locations, map_sizes
from tlkit.errors import UserError

RADIUS = 1.5  # strides from a box's centre: FCOS' journal version, https://arxiv.org/abs/2006.09214, section 3.1
NO_CLASS = -1  # of a padding row, and of a location without an object


def assign_targets(
    boxes: Any,
    labels: Any,
    image_size: int | Sequence[int],
    strides: Sequence[int] = STRIDES,
    radius: float = RADIUS,
) -> dict[str, tf.Tensor]:
    """For one image: which location is to find which box.

    A location finds a box when it lies in it, near its centre, and the box is of a size for the location's map. Where
    several boxes are left, the one with the smallest area counts, of equal ones the first.

        0 < min(l, t, r, b),  |x - x_centre| and |y - y_centre| < radius * stride_i
        8 * stride_(i-1) <= max(l, t, r, b) <= 8 * stride_i;  from 0 for the first map, without end for the last
        centerness = sqrt(min(l, r) / max(l, r) * min(t, b) / max(t, b))
        l, t, r, b = pixels from the location to the left, upper, right and lower side

    Args:
        boxes: Tensor `(boxes, 4)`: x_min, y_min, x_max, y_max in pixels.
        labels: Tensor `(boxes,)`, whole numbers: the class of each box, -1 for a row that only pads.
        image_size: Int, or pair of ints, height and width in pixels.
        strides: Ints, finest first. Defaults to `(8, 16, 32)`, for which boxes up to 64 and 128 pixels from a location
            belong to the first and the second map.
        radius: Float above 0, in strides. Defaults to `1.5`, the authors' best.

    Returns:
        A dict: "class" `(locations,)`, int32, -1 where there is no object; "box" `(locations, 4)`, float32, l, t, r and
        b in pixels, 0 where there is none; "centerness" `(locations, 1)`, float32 in (0, 1], 0 where there is none.

    Raises:
        UserError: When `radius` is not above 0, or the size or the strides are none.

    Example:
        >>> from tlkit.detection import assign_targets
        >>> targets = assign_targets([[0.0, 0, 16, 16]], [2], image_size=16, strides=(8, 16))
        >>> targets["class"].numpy()  # four locations at stride 8, 4 pixels off the centre, and one at stride 16
        array([ 2,  2,  2,  2, -1], dtype=int32)
        >>> targets["centerness"].numpy()[0]  # sqrt(4 / 12 * 4 / 12)
        array([0.33333334], dtype=float32)

    Notes:
        A box that holds no location, such as one narrower than the first stride, is not learned.

    Reference: Tian, Shen, Chen and He, 2019, "FCOS: Fully Convolutional One-Stage Object Detection", ICCV,
        https://arxiv.org/abs/1904.01355, sections 3.1 to 3.3, equations 1 and 3. Sampling near the centre: the authors'
        https://arxiv.org/abs/2006.09214, section 3.1. Differs from it in: bounds for three maps; there 64, 128, 256 and
        512 for five, which is 8 strides as well.
    """
    if not radius > 0:
        raise UserError(
            f"assign_targets: `radius` is how far from a box's centre it is found, in strides. Expected a number above "
            f"0. Received: radius={radius!r}."
        )
    boxes, labels = tf.cast(boxes, tf.float32), tf.cast(labels, tf.int32)
    places = tf.constant(locations(image_size, strides))
    limits = [tf.constant(each)[:, tf.newaxis] for each in _of_each_location(image_size, strides, radius)]
    finds = _finds(places, boxes, *limits) & (labels != NO_CLASS)
    sides = boxes[:, 2:] - boxes[:, :2]
    areas = tf.where(finds, sides[:, 0] * sides[:, 1], float("inf"))
    # One box more, which is "no object".
    areas = tf.pad(areas, [[0, 0], [0, 1]], constant_values=float("inf"))
    chosen = tf.argmin(areas, axis=-1, output_type=tf.int32)
    found = tf.reduce_min(areas, axis=-1) < float("inf")
    chosen = tf.where(found, chosen, tf.shape(labels)[0])
    corners = tf.gather(tf.pad(boxes, [[0, 1], [0, 0]]), chosen)
    distances = tf.concat([places - corners[:, :2], corners[:, 2:] - places], axis=-1)
    distances = tf.where(found[:, tf.newaxis], distances, 0.0)
    classes = tf.gather(tf.pad(labels, [[0, 1]], constant_values=NO_CLASS), chosen)
    return {"class": classes, "box": distances, "centerness": centerness(distances)}


def _finds(places: tf.Tensor, boxes: tf.Tensor, reach: tf.Tensor, low: tf.Tensor, high: tf.Tensor) -> tf.Tensor:
    """Whether a location finds a box, `(locations, boxes)`: one axis after the other, for this is most of the work."""
    finds, farthest = tf.constant(True), tf.constant(0.0)
    for axis in (0, 1):
        place, start, end = places[:, axis, tf.newaxis], boxes[:, axis], boxes[:, axis + 2]
        to_start, to_end = place - start, end - place
        # Half of their difference is how far the place is from the middle.
        finds &= (to_start > 0) & (to_end > 0) & (tf.abs(to_start - to_end) < 2 * reach)
        farthest = tf.maximum(farthest, tf.maximum(to_start, to_end))
    return finds & (farthest >= low) & (farthest <= high)


def centerness(distances: Any) -> tf.Tensor:
    """sqrt(min(l, r) / max(l, r) * min(t, b) / max(t, b)) of distances `(..., 4)`, as `(..., 1)`; 0 where all are 0."""
    start, end = tf.split(distances, 2, axis=-1)  # l and t, r and b
    ratios = tf.math.divide_no_nan(tf.minimum(start, end), tf.maximum(start, end))
    return tf.sqrt(tf.reduce_prod(ratios, axis=-1, keepdims=True))


@tf.autograph.experimental.do_not_convert  # it would make a StagingError of a UserError
def detection_targets(
    images: Any, objects: Mapping[str, Any], strides: Sequence[int] = STRIDES, radius: float = RADIUS
) -> tuple[Any, dict[str, tf.Tensor], dict[str, tf.Tensor]]:
    """From a batch of images with boxes to what `fit` takes for a model of `build_detector`.

    Map it over batches of the global size: the weights of the losses depend on all objects of a batch, so that training
    is the same on one device and on several that share the batch equally.

        weight of "class" and "centerness" = images / max(1, locations with an object)
        weight of "box" = images / sum of centerness
        so that the mean over the images of weight * loss is the sum of the losses, divided as in the paper's code

    Args:
        images: Tensor `(batch, height, width, 3)`, height and width known.
        objects: Dict of "boxes" `(batch, boxes, 4)`: x_min, y_min, x_max, y_max in pixels, and "labels" `(batch,
            boxes)`: the class of each box, -1 for rows that only pad. Other entries are left out.
        strides: As of `assign_targets` and `build_detector`.
        radius: As of `assign_targets`.

    Returns:
        The images; the targets of the outputs "class", "box" and "centerness", those of `assign_targets`; and the
        weight of each image in the loss of each output, `(batch,)`.

    Raises:
        UserError: When the images have no known size, or `objects` lacks an entry.

    Example:
        >>> from tlkit.detection import detection_targets
        >>> objects = {"boxes": np.array([[[8.0, 8, 40, 24]]]), "labels": np.array([[1]])}
        >>> batches = tf.data.Dataset.from_tensors((np.zeros((1, 64, 64, 3)), objects)).map(detection_targets)
        >>> images, targets, weights = next(iter(batches))
        >>> int(tf.reduce_sum(tf.cast(targets["class"] == 1, "int32")))  # x = 20, 28 and y = 12, 20
        4
        >>> weights["class"].numpy()
        array([0.25], dtype=float32)

    Reference: Tian, Shen, Chen and He, 2019, https://arxiv.org/abs/1904.01355, equation 2; the divisor of the
        box's loss as in the authors' code, https://github.com/tianzhi0549/FCOS, `fcos_core/modeling/rpn/fcos/loss.py`.
    """
    size = tuple(tf.convert_to_tensor(images).shape[1:3])
    if len(size) != 2 or None in size:
        raise UserError(
            f"detection_targets: the size of the images is not known. Expected batches (batch, height, width, 3) of "
            f"one size. Received: images of shape {tuple(images.shape)}. Resize them, boxes and all, and batch them."
        )
    if not isinstance(objects, Mapping) or not {"boxes", "labels"} <= objects.keys():
        received = sorted(objects) if isinstance(objects, Mapping) else type(objects).__name__
        raise UserError(
            f"detection_targets: `objects` must hold the boxes of each image. Expected a dict with 'boxes' and "
            f"'labels'. Received: {received}."
        )
    rows = sum(height * width for height, width in map_sizes(size, strides))
    targets = tf.map_fn(  # one image at a time: all locations and boxes of a batch at once take memory
        lambda image: assign_targets(*image, size, strides, radius),
        (tf.cast(objects["boxes"], tf.float32), tf.cast(objects["labels"], tf.int32)),
        fn_output_signature={
            "class": tf.TensorSpec((rows,), tf.int32),
            "box": tf.TensorSpec((rows, 4), tf.float32),
            "centerness": tf.TensorSpec((rows, 1), tf.float32),
        },
    )
    return images, targets, _weights(targets)


def _weights(targets: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    count = tf.shape(targets["class"])[0]
    images = tf.cast(count, tf.float32)
    found = tf.reduce_sum(tf.cast(targets["class"] != NO_CLASS, tf.float32))
    per_location = tf.fill([count], images / tf.maximum(found, 1.0))
    per_centerness = tf.fill([count], tf.math.divide_no_nan(images, tf.reduce_sum(targets["centerness"])))
    return {"class": per_location, "box": per_centerness, "centerness": per_location}


def _of_each_location(image_size: Any, strides: Sequence[int], radius: float) -> list[list[float]]:
    """How far off a box's centre each location may be, and the bounds of its farthest side."""
    columns: list[list[float]] = [[], [], []]
    for level, (stride, (height, width)) in enumerate(zip(strides, map_sizes(image_size, strides), strict=True)):
        low = 8.0 * strides[level - 1] if level else 0.0
        high = 8.0 * stride if level < len(strides) - 1 else float("inf")
        for column, value in zip(columns, (radius * stride, low, high), strict=True):
            column.extend([value] * (height * width))
    return columns
