"""Which decodes a folder of photographs faster: Pillow in `tf.numpy_function`, or TensorFlow's own operations?

tlkit uses Pillow, which reads more formats right (EXIF rotation, transparency, CMYK, 16 bits, palettes), as long as
that costs little. Run `python benchmarks/image_decoding.py FOLDER [--image-size 224]`, or with no folder for 60
generated JPEGs of 2000x1500. Each repeat reads every file once with each of the two, in turn. On a machine that does
other work at the same time, processor time is the steadier measure.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import tensorflow as tf
from PIL import Image

from tlkit.data.decoding import IMAGE_EXTENSIONS, decode_image


def with_pillow(path, image_size):
    """What tlkit does."""
    pixels = tf.numpy_function(lambda name: decode_image(name.decode(), image_size), [path], tf.uint8)
    return tf.ensure_shape(pixels, (image_size, image_size, 3))


def with_tensorflow(path, image_size):
    """The same resize by TensorFlow: no rotation, no transparency."""
    pixels = tf.io.decode_image(tf.io.read_file(path), channels=3, expand_animations=False)
    resized = tf.image.resize(pixels, (image_size, image_size), antialias=True)
    return tf.cast(tf.round(resized), tf.uint8)


def measure(decode, paths, image_size):
    """One pass over the files: images a second, and milliseconds of processor time an image (all threads)."""
    dataset = tf.data.Dataset.from_tensor_slices(paths)
    dataset = dataset.map(lambda path: decode(path, image_size), num_parallel_calls=tf.data.AUTOTUNE)
    start, busy = time.perf_counter(), time.process_time()
    for _ in dataset.batch(32).prefetch(tf.data.AUTOTUNE):
        pass
    busy = time.process_time() - busy
    return len(paths) / (time.perf_counter() - start), 1000 * busy / len(paths)


def write_photographs(folder, number=60):
    """JPEGs with the detail of a photograph: noise at several scales."""
    generator = np.random.default_rng(0)
    for index in range(number):
        canvas = np.zeros((1500, 2000, 3), np.float32)
        for divisor in (2, 8, 32, 128):
            noise = generator.integers(0, 256, (1500 // divisor, 2000 // divisor, 3), dtype=np.uint8)
            canvas += np.asarray(Image.fromarray(noise).resize((2000, 1500), Image.Resampling.BILINEAR)) / 4
        Image.fromarray(canvas.astype(np.uint8)).save(Path(folder) / f"{index:03d}.jpg", quality=90)


def main():
    """Print both rates over the repeats, and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", help="a folder of images, searched to the bottom")
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as generated:
        if arguments.folder is None:
            write_photographs(generated)
        root = Path(arguments.folder or generated)
        paths = [str(path) for path in sorted(root.rglob("*")) if path.suffix.lower() in IMAGE_EXTENSIONS]
        measurements = {with_pillow: [], with_tensorflow: []}
        for decode in measurements:
            measure(decode, paths[:64], arguments.image_size)  # warm up: trace, thread pools, file cache
        for _ in range(arguments.repeats):
            for decode, measured in measurements.items():
                measured.append(measure(decode, paths, arguments.image_size))
    print(f"{len(paths)} files at {arguments.image_size} px, {os.cpu_count()} cores, {arguments.repeats} repeats")
    for unit, column in {"images/s": 0, "ms of processor an image": 1}.items():
        pillow, tensorflow = ([values[column] for values in measured] for measured in measurements.values())
        ratios = [first / second for first, second in zip(pillow, tensorflow, strict=True)]
        named = {"Pillow": pillow, "TensorFlow": tensorflow, "ratio": ratios}
        spread = [f"{name} {statistics.median(v):.2f} ({min(v):.2f} to {max(v):.2f})" for name, v in named.items()]
        print(f"{unit}: {', '.join(spread)}")


if __name__ == "__main__":
    main()
