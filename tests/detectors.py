"""Small detectors and images of coloured squares for them."""

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from tlkit.detection import (
    CenternessLoss,
    DetectionBoxLoss,
    DetectionClassLoss,
    build_detector,
    detection_targets,
)

SIZE = 96


def small_backbone(size=SIZE):
    """Maps at strides 8, 16 and 32 of a few convolutions."""
    x = images = keras.Input((size, size, 3))
    maps = []
    for width, stride in ((16, 4), (32, 2), (32, 2), (32, 2)):
        x = layers.Conv2D(width, 5, strides=stride, padding="same", activation="relu")(x)
        maps.append(x)
    return keras.Model(images, maps[1:], name="backbone")


def squares(count, seed=0):
    """Images of noise with a red and a blue square or two, and where these are."""
    random = np.random.default_rng(seed)
    images = random.uniform(0, 1, (count, SIZE, SIZE, 3)).astype("float32")
    boxes, labels = np.full((count, 3, 4), -1, "float32"), np.full((count, 3), -1, "int32")
    for number in range(count):
        corners = random.permutation([(0, 0), (48, 0), (0, 48), (48, 48)])  # a quarter of the image for each
        for row in range(1 + number % 3):
            side = random.integers(20, 44)
            x, y = corners[row] + random.integers(0, 48 - side, 2)
            label = random.integers(2)
            images[number, y : y + side, x : x + side] = (1, 0, 0) if label else (0, 0, 1)
            boxes[number, row], labels[number, row] = (x, y, x + side, y + side), label
    return images, {"boxes": boxes, "labels": labels}


def data(images, objects, batch_size):
    """What `fit` takes."""
    return tf.data.Dataset.from_tensor_slices((images, objects)).batch(batch_size).map(detection_targets)


def compiled_detector(backbone=None, num_classes=2, optimizer=None, **options):
    """A detector with its losses."""
    detector = build_detector(backbone or small_backbone(), num_classes, image_size=SIZE, **options)
    losses = {"class": DetectionClassLoss(), "box": DetectionBoxLoss(), "centerness": CenternessLoss()}
    detector.compile(optimizer or keras.optimizers.Adam(3e-3), losses)
    return detector


def intersection_over_union(a, b):
    """Of each box of `a` with each of `b`."""
    low, high = np.maximum(a[:, None, :2], b[None, :, :2]), np.minimum(a[:, None, 2:], b[None, :, 2:])
    shared = np.clip(high - low, 0, None).prod(-1)
    area_a, area_b = ((boxes[:, 2:] - boxes[:, :2]).prod(-1) for boxes in (a, b))
    return shared / (area_a[:, None] + area_b[None] - shared)
