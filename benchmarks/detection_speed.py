"""What does the detection head cost beside its backbone: a training step, and an answer?

    python benchmarks/detection_speed.py BACKBONE [--image-size 320] [--batch-size 8] [--turns 15] [--width 64 128]
        [--retinanet]

BACKBONE is a handle or a folder that `load_backbone` takes, MobileNetV2, say. Compared with the backbone alone (its
last map, the mean over it and one dense layer of ten classes, cross-entropy) are detectors of the given widths. All
stages are open; every model takes an SGD step by its own losses, on the same images. "predict" is the exported
SavedModel of the same weights, a detector's from images to boxes, suppression included; an untrained detector finds
nothing at all, so that the bias of its classes is set to find some places in an image.

`--retinanet` adds KerasHub's RetinaNet with its own defaults (levels P3 to P7, 256 channels, four convolutions a tower,
nine anchors a place) on the same backbone layer; its targets are made in the training step, ours before it, in the data
pipeline, and they are counted in both.

The models take turns in one process; the first turn, which traces, is not counted. A ratio is that of two turns of one
round: median and quartiles stand a machine that does other work at the same time, and the ratio of processor time, that
of all threads, stands it better.

What came out of it: docs/detection.md.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
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
from tlkit.export import export_detector

CLASSES = 10
OBJECTS = 8  # in each image


def open_backbone(handle):
    backbone = tlkit.load_backbone(handle, outputs="pyramid")
    backbone.unfreeze()
    return backbone


def classifier(handle, size):
    """The backbone with one dense layer."""
    images = keras.Input((size, size, 3))
    features = keras.layers.GlobalAveragePooling2D()(open_backbone(handle)(images)["P5"])
    model = keras.Model(images, keras.layers.Dense(CLASSES)(features))
    model.compile(keras.optimizers.SGD(1e-4), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


def detector(handle, size, width):
    model = build_detector(open_backbone(handle), CLASSES, image_size=size, width=width)
    losses = {"class": DetectionClassLoss(), "box": DetectionBoxLoss(), "centerness": CenternessLoss()}
    model.compile(keras.optimizers.SGD(1e-4), losses)
    return model


def exported(model):
    """The signature of a SavedModel that answers to images: of a detector with boxes, suppression inside."""
    folder = tempfile.mkdtemp()
    if len(model.outputs) > 1:
        export_detector(with_decoder(model), f"{folder}/model", class_names=[str(n) for n in range(CLASSES)])
        name = "pixels"
    else:
        model.export(f"{folder}/model", verbose=False)
        name = "serving_default"
    loaded = tf.saved_model.load(f"{folder}/model")
    shutil.rmtree(folder)
    signature = loaded.signatures[name]
    (argument,) = signature.structured_input_signature[1]
    return lambda images: (loaded, signature(**{argument: tf.constant(images)}))[1]


def retinanet(handle, size):
    import keras_hub

    images = keras.Input((size, size, 3))
    encoder = keras.Model(images, open_backbone(handle)(images))
    encoder.pyramid_outputs = encoder.output  # KerasHub's convention
    pyramid = keras_hub.models.RetinaNetBackbone(
        encoder, min_level=3, max_level=7, use_p5=False, image_shape=(size, size, 3)
    )
    model = keras_hub.models.RetinaNetObjectDetector(pyramid, CLASSES, bounding_box_format="xyxy")
    model.compile(keras.optimizers.SGD(1e-4))
    return model, tf.function(lambda images: model.decode_predictions(model(images, training=False), images))


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


def turns_of(model, answering, images, targets, make_targets=None):
    """A training step as `fit` runs it, and an answer."""
    dataset = tf.data.Dataset.from_tensors((images, targets)).repeat()
    batches = iter(dataset.map(make_targets) if make_targets else dataset)
    model.make_train_function()
    return lambda: model.train_function(batches), lambda: answering(images)


def head_size(model):
    backbone = next(layer for layer in model._flatten_layers() if isinstance(layer, tlkit.Backbone))
    return f"{model.count_params() - backbone.count_params():,}"


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
    parser.add_argument("--retinanet", action="store_true", help="needs keras-hub")
    options = parser.parse_args()
    size, rows = options.image_size, options.batch_size
    images, labels, objects = batch(size, rows)
    alone = classifier(options.backbone, size)
    calls = {"backbone alone": turns_of(alone, exported(alone), images, labels)}
    for width in options.width:
        model = detector(options.backbone, size, width)
        let_it_find(model, images)
        answering = exported(model)
        found = answering(images)["num_detections"].numpy().mean()
        print(f"width {width}: {head_size(model)} weights in pyramid and head, {found:.1f} boxes found an image")
        calls[f"width {width}"] = turns_of(model, answering, images, objects, detection_targets)
    if options.retinanet:
        model, answering = retinanet(options.backbone, size)
        print(f"RetinaNet: {head_size(model)} weights in pyramid and heads")
        calls["RetinaNet"] = turns_of(model, answering, images, objects)
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
