"""Images from the disk to batches of (images in [0, 1], boxes in pixels and class numbers)."""

import sys
from collections.abc import Callable

import tensorflow as tf

from tlkit.data import BoxAugmentation, BoxData, BoxReport, inspect_boxes, load_boxes
from tlkit.detection import detection_targets

from .config import PROJECT, Config


def load_datasets(config: Config) -> BoxData:
    """Training, validation and test batches (test is None where there are no test images), and the class names."""
    return load_boxes(
        PROJECT / config.data,
        image_size=config.image_size,
        batch_size=config.batch_size,
        split=config.split,
        seed=config.split_seed,
        on_bad=config.on_bad,
        augment=BoxAugmentation(
            flip=0.5 if config.horizontal_flip else 0.0,
            scale=config.scale,
            brightness=config.brightness,
            contrast=config.contrast,
        ),
    )


def training_epoch(data: BoxData) -> Callable:
    """`[seed, epoch]` -> batches of images, of what the head should say at each location, and weights of the losses."""
    return lambda pair: data.train_epoch(pair).map(detection_targets, tf.data.AUTOTUNE)


def inspect_data(config: Config) -> BoxReport:
    """What there is to mend or to know about images and boxes, from a look at every one of them."""
    return inspect_boxes(
        PROJECT / config.data,
        image_size=config.image_size,
        split=config.split,
        seed=config.split_seed,
        progress=sys.stderr.isatty(),
    )
