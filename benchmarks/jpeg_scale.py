"""What it changes to decode a JPEG at 1/2, 1/4 or 1/8 before it is resized: pixels, features and accuracy.

    python benchmarks/jpeg_scale.py SAVED_MODEL PHOTOS [--image-sizes 64 80 96 128]

SAVED_MODEL is the folder of an image backbone that takes any size, PHOTOS a folder with train/ and val/. Every photo is
decoded whole and resized, bilinear with antialiasing: that is exact. Beside it, it is decoded at the smallest scale
that leaves 2, 1.5, 1.25 and 1 times the size; decoded whole and resized bicubic, for comparison; and decoded and
resized by TensorFlow, as exported models do. A ridge classifier is fitted on the exact features of train/.

    pixels       mean absolute difference to the exact ones, of 255
    cosine       of the features and the exact ones: mean, and least
    accuracy     of the classifier on val/, in percent; on the exact pixels in the first row
    leaves       the shorter side after decoding over the size, mean over the photos
    ms           processor time of decoding and resizing
"""

import argparse
import os
import pathlib
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import tensorflow as tf
from PIL import Image

import tlkit
from tlkit.data import split_image_folder

RIDGE = 300.0  # on standardised features; the rows are compared with each other, so any sensible strength does


def with_pillow(path, size, multiple, filter):
    """Pixels, and the shorter side that decoding left."""
    with Image.open(path) as image:
        if multiple:
            image.draft(None, (int(multiple * size),) * 2)
        return np.asarray(image.convert("RGB").resize((size, size), filter)), min(image.size)


def with_tensorflow(path, size):
    pixels = tf.io.decode_image(tf.io.read_file(str(path)), channels=3, expand_animations=False)
    resized = tf.image.resize(pixels, (size, size), antialias=True)
    return tf.cast(tf.round(resized), tf.uint8).numpy(), min(pixels.shape[:2])


def read_all(read, files):
    start = time.process_time()
    pixels, sides = zip(*(read(file.path) for file in files), strict=True)
    return np.stack(pixels), np.mean(sides), 1000 * (time.process_time() - start) / len(files)


def fit_ridge(features, labels):
    """A function from features to scores, positive for label 1 of 0 and 1."""
    mean, deviation = features.mean(axis=0), features.std(axis=0) + 1e-6
    x = (features - mean) / deviation
    weights = x.T @ np.linalg.solve(x @ x.T + RIDGE * np.eye(len(x)), 2 * labels - 1)
    return lambda others: ((others - mean) / deviation) @ weights


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("saved_model")
    parser.add_argument("photos", type=pathlib.Path)
    parser.add_argument("--image-sizes", type=int, nargs="+", default=[64, 80, 96, 128])
    arguments = parser.parse_args()
    splits = split_image_folder(arguments.photos, seed=0)
    files, num_train = splits.train + splits.validation, len(splits.train)
    labels = np.array([file.label for file in files])
    bilinear, bicubic = Image.Resampling.BILINEAR, Image.Resampling.BICUBIC
    for size in arguments.image_sizes:
        backbone = tlkit.load_backbone(arguments.saved_model, image_size=size)
        ways = {"exact": lambda path, size=size: with_pillow(path, size, None, bilinear)}
        for multiple in (2, 1.5, 1.25, 1):
            ways[f"{multiple} times"] = lambda path, size=size, m=multiple: with_pillow(path, size, m, bilinear)
        ways["bicubic"] = lambda path, size=size: with_pillow(path, size, None, bicubic)
        ways["TensorFlow"] = lambda path, size=size: with_tensorflow(path, size)
        print(f"\n{size} px{'pixels':>14}{'cosine':>16}{'accuracy':>10}{'leaves':>8}{'ms':>7}")
        exact = exact_features = classify = None
        for way, read in ways.items():
            pixels, side, milliseconds = read_all(read, files)
            parts = np.array_split(pixels, len(pixels) // 32)
            features = np.concatenate([backbone(part.astype("float32") / 255).numpy() for part in parts])
            if exact is None:
                exact, exact_features = pixels.astype(float), features
                classify = fit_ridge(features[:num_train], labels[:num_train])
            norms = np.linalg.norm(features, axis=1) * np.linalg.norm(exact_features, axis=1)
            cosines = (features * exact_features).sum(axis=1) / norms
            right = 100 * np.mean((classify(features[num_train:]) > 0) == labels[num_train:])
            print(
                f"{way:12}{np.abs(pixels - exact).mean():>8.2f}{cosines.mean():>10.3f} {cosines.min():.3f}"
                f"{right:>10.1f}{side / size:>8.2f}{milliseconds:>7.2f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
