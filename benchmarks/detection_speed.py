"""What does the detection head cost beside its backbone: a training step, and an answer?

    python benchmarks/detection_speed.py BACKBONE [--image-size 320] [--batch-size 8] [--turns 15] [--width 64 128]

BACKBONE is a handle or a folder that `load_backbone` takes, MobileNetV2, say. Compared with the backbone alone (its
last map, the mean over it and one dense layer of ten classes, cross-entropy) are detectors of the given widths. All
stages are open; every model takes an SGD step by its own losses, on the same images. "predict" is the model of the same
weights from images to boxes, suppression included; an untrained detector finds nothing at all, so that the bias of its
classes is set to find some places in an image.

The models take turns in one process; the first turn, which traces, is not counted. A ratio is that of two turns of one
round: median and quartiles stand a machine that does other work at the same time, and the ratio of processor time, that
of all threads, stands it better.

MobileNetV2, 8 images of 320 x 320, two cores that also did other work, 9 turns: a training step takes 1.29 times as
long (1.26 to 1.39), an answer 1.36 times (1.33 to 1.41).
"""

from __future__ import annotations

import argparse
import os
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import tensorflow as tf

import tlkit
from tlkit.detection import (
    CenternessLoss,
    DetectionBoxLoss,
    DetectionClassLoss,
    build_detector,
    detection_targets,
    with_decoder,
)

CLASSES = 10
OBJECTS = 8  # in each image


def open_backbone(handle):
    backbone = tlkit.load_backbone(handle, outputs="pyramid")
    backbone.unfreeze()
    return backbone


def classifier(handle, size):
    """The backbone with one dense layer: the answering model is the training one."""
    images = keras.Input((size, size, 3))
    features = keras.layers.GlobalAveragePooling2D()(open_backbone(handle)(images)["P5"])
    model = keras.Model(images, keras.layers.Dense(CLASSES)(features))
    model.compile(keras.optimizers.SGD(1e-4), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model, model


def detector(handle, size, width):
    model = build_detector(open_backbone(handle), CLASSES, image_size=size, width=width)
    losses = {"class": DetectionClassLoss(), "box": DetectionBoxLoss(), "centerness": CenternessLoss()}
    model.compile(keras.optimizers.SGD(1e-4), losses)
    return model, with_decoder(model)


def batch(size, rows):
    """Images of noise, a label for each, and boxes for each."""
    random = np.random.default_rng(0)
    images = random.uniform(size=(rows, size, size, 3)).astype("float32")
    corners = random.uniform(0, size, (2, rows, OBJECTS, 2))
    boxes = np.concatenate([corners.min(0), corners.max(0)], axis=-1).astype("float32")
    labels = random.integers(0, CLASSES, (rows, OBJECTS))
    return images, labels[:, 0], {"boxes": boxes, "labels": labels}


def let_it_find(model, images, places=10):
    """Shift the class logits so that about so many (place, class) an image are above the decoder's threshold."""
    outputs = model.predict(images, verbose=0)
    scores = np.sort(outputs["class"].reshape(len(images), -1))[:, -places].mean()
    # sqrt(sigmoid(class) * sigmoid(centerness)) = 0.05, the centerness being about 1/2 before training.
    head = model.get_layer("head")
    kernel, bias = head.class_logits.get_weights()
    head.class_logits.set_weights([kernel, bias + np.log(0.005 / 0.995) - scores])


def seconds(call):
    """Wall and processor time."""
    start = np.array([time.perf_counter(), time.process_time()])
    call()
    return np.array([time.perf_counter(), time.process_time()]) - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("backbone")
    parser.add_argument("--image-size", type=int, default=320)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--turns", type=int, default=15)
    parser.add_argument("--width", type=int, nargs="+", default=[128])
    options = parser.parse_args()
    size, rows = options.image_size, options.batch_size
    images, labels, objects = batch(size, rows)
    calls = {}
    for width in [None, *options.width]:
        if width is None:
            model, answering = classifier(options.backbone, size)
            step = (images, labels)
        else:
            model, answering = detector(options.backbone, size, width)
            step = detection_targets(images, objects)
            let_it_find(model, images)
            found = answering.predict_on_batch(images)["num_detections"].mean()
            print(
                f"width {width}: {model.count_params() - model.get_layer('backbone').count_params():,} weights in "
                f"pyramid and head, {found:.1f} boxes found an image"
            )
        calls["backbone alone" if width is None else f"width {width}"] = (
            lambda model=model, step=step: model.train_on_batch(*step),
            lambda model=answering: model.predict_on_batch(images),
        )
    times = {name: np.zeros((options.turns, 2, 2)) for name in calls}
    for turn in range(-1, options.turns):
        for name, both in calls.items():
            for column, call in enumerate(both):
                spent = seconds(call)
                if turn >= 0:
                    times[name][turn, column] = spent
    alone = times["backbone alone"]
    for name, each in times.items():
        for column, what in enumerate(("train", "predict")):
            ratios = each[:, column] / alone[:, column]
            low, middle, high = np.percentile(ratios[:, 0], (25, 50, 75))
            speed, work = rows / np.median(each[:, column, 0]), np.median(ratios[:, 1])
            print(f"{name:15} {what:8} {speed:7.1f} images/s", end=", ")
            print(f"{middle:.2f} times the backbone ({low:.2f} to {high:.2f}), processor time {work:.2f}")
    print(f"{tf.config.list_logical_devices()[-1].device_type}, TensorFlow {tf.__version__}")


if __name__ == "__main__":
    main()
