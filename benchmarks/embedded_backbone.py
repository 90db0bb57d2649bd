"""How much knowledge an embedded backbone carries: a linear probe on its frozen features against random weights.

    python benchmarks/embedded_backbone.py [HANDLE ...] [--data FOLDER ...] [--seeds 5]

For each data set (the sample images, and each FOLDER with train/ and val/ or test/) a logistic regression is fitted on
frozen features of the training images, with its strength chosen by cross-validation among them, and scored on the test
images. Random weights are those of `weights="random"` drawn anew for each seed; the pretrained network has no
randomness on a given folder, and the sample images are cut anew for each seed. Printed: accuracy, and the gain with a
95 % interval from 2,000 paired resamplings of the test images (bootstrap over images, Efron 1979).
"""

import argparse
import pathlib
import tempfile
import time

import keras
import numpy as np
import tensorflow as tf
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import tlkit
from tlkit.backbones.graph import ProgramGraph
from tlkit.backbones.initial import random_values, settle_batch_norm
from tlkit.data import load_image_folder, write_sample_images


def read(folder, image_size):
    data = load_image_folder(folder, image_size=image_size, batch_size=32, seed=0)
    # A probe needs no validation images: they are training ones where the folder has others to test on.
    parts = ([data.train, data.validation], [data.test]) if data.test is not None else ([data.train], [data.validation])
    return [
        tuple(np.concatenate(arrays) for arrays in zip(*(batch for dataset in part for batch in dataset), strict=True))
        for part in parts
    ]


def features(backbone, images):
    call = tf.function(backbone)
    return np.concatenate([call(images[i : i + 32]).numpy() for i in range(0, len(images), 32)])


def with_random_weights(handle, seed):
    backbone = tlkit.load_backbone(handle)
    program, shape = backbone.program, (None, *backbone.native_shape)
    values = settle_batch_norm(ProgramGraph(program, shape), random_values(program, seed), shape, seed)
    by_name = {p.name.replace("/", "."): value for p, value in zip(program.parameters, values, strict=True)}
    for weight in backbone.weights:
        weight.assign(by_name[weight.name])
    return backbone


def probe(backbone, train, test):
    """Whether each test image was classified rightly."""
    classifier = GridSearchCV(
        make_pipeline(StandardScaler(), LogisticRegression(max_iter=5000)),
        {"logisticregression__C": [1e-3, 1e-2, 1e-1, 1.0]},
        cv=3,
    )
    classifier.fit(features(backbone, train[0]), train[1])
    return classifier.predict(features(backbone, test[0])) == test[1]


def interval(gains, rng):
    means = [gains[rng.integers(0, len(gains), len(gains))].mean() for _ in range(2000)]
    return np.percentile(means, [2.5, 97.5])


def measure(handle, name, folders, seeds):
    backbone = tlkit.load_backbone(handle)
    size = backbone.native_shape[0]
    pretrained, untrained = [], []
    for seed in range(seeds):
        train, test = read(folders[seed % len(folders)], size)
        pretrained.append(probe(backbone, train, test))
        untrained.append(probe(with_random_weights(handle, seed), train, test))
    # An image's gain is the mean over seeds, so that its seeds do not count as separate images.
    if len(folders) == 1:
        gains = np.mean(pretrained, 0) - np.mean(untrained, 0)
    else:
        gains = np.concatenate(pretrained).astype(float) - np.concatenate(untrained)
    low, high = interval(gains, np.random.default_rng(0))
    print(
        f"{handle:24.24} {name:14} pretrained {np.mean(pretrained):.3f}  random {np.mean(untrained):.3f}  "
        f"gain {gains.mean():+.3f} (95 % {low:+.3f} to {high:+.3f}), {len(gains)} test images, {seeds} seeds"
    )


def speed(handle):
    backbone = tlkit.load_backbone(handle)
    images = np.random.default_rng(0).uniform(size=(64, *backbone.native_shape)).astype("float32")
    call = tf.function(backbone)
    call(images)
    seconds = []
    for _ in range(10):
        start = time.perf_counter()
        call(images)
        seconds.append(time.perf_counter() - start)
    rate = 64 / np.median(seconds)
    print(f"{handle:24.24} forward {rate:.0f} images/s on all cores, {backbone.count_params():,} weights")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("handles", nargs="*", default=["tlkit:mini-image"])
    parser.add_argument("--data", nargs="*", type=pathlib.Path, default=[])
    parser.add_argument("--seeds", type=int, default=5)
    arguments = parser.parse_args()
    keras.utils.set_random_seed(0)
    with tempfile.TemporaryDirectory() as temporary:
        samples = [pathlib.Path(temporary) / str(seed) for seed in range(arguments.seeds)]
        for seed, folder in enumerate(samples):
            write_sample_images(folder, seed=seed)
        for handle in arguments.handles:
            speed(handle)
            measure(handle, "sample", samples, arguments.seeds)
            for folder in arguments.data:
                measure(handle, folder.name, [folder], arguments.seeds)


if __name__ == "__main__":
    main()
