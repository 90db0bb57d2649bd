"""How fast photos come off the disk, decoded and resized: tlkit, Keras, TensorFlow, and the decoder alone.

    python benchmarks/input_pipeline.py [PHOTOS] [--image-size 224] [--batch-size 32] [--repeats 5] [--passes 3]

PHOTOS is a folder that `load_image_folder` understands; without it, 200 JPEGs of 2000x1500 are generated. Each way
reads all photos in a process of its own, in turn, as many times as there are repeats; within a process it makes two
batches to warm up, and then as many passes as there are `--passes`.

    ours            `load_image_folder(..., cache=False)`: every epoch decodes
    ours, kept      `load_image_folder(...)`: later epochs, from the pixels in memory
    ours, augmented as `ours`, and each batch goes through the augmentation of the image template
    augmentation    that augmentation alone, on batches in memory
    Keras           `keras.utils.image_dataset_from_directory`: TensorFlow's decoder at full size, resize without
                    antialiasing, pixels from 0 to 255 (the division is left to the model, and not counted here)
    TensorFlow      `tf.io.decode_image` at full size, resize with antialiasing
    TensorFlow, 1/n `tf.io.decode_jpeg(ratio=n)` at the scale that ours decodes at, resize with antialiasing; JPEG only
    threads         the decoder's own limit: Pillow at the scale that ours decodes at, and its resize, in a plain pool
                    of threads; no batches, no floats, no tf.data
    decoder         Pillow's decoding alone, at that scale, in the pool

Processor time is that of the process with all its threads. It is the steadier measure on a machine that does other
work at the same time. Peak memory is that of the whole process, TensorFlow included. The ratios are taken within each
repeat.
"""

import argparse
import json
import os
import pathlib
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

SEED = 0
AUTOTUNE = -1  # the value of tf.data.AUTOTUNE, where TensorFlow is not loaded


# What each way makes: a function that makes one pass over the photos --------------------------------------------------


def ours(arguments, cache=False):
    from tlkit.data import load_image_folder

    data = load_image_folder(
        arguments.photos, image_size=arguments.image_size, batch_size=arguments.batch_size, seed=SEED, cache=cache
    )
    parts = [part for part in (data.train_in_order, data.validation, data.test) if part is not None]
    return lambda: (batch for part in parts for batch in part)


def ours_kept(arguments):
    read = ours(arguments, cache=True)
    exhaust(read())
    return read


def ours_augmented(arguments):
    read, augment = ours(arguments), build_augmentation()
    return lambda: (augment(images) for images, _ in read())


def augmentation(arguments):
    import tensorflow as tf

    shape = (arguments.batch_size, arguments.image_size, arguments.image_size, 3)
    images, augment = tf.random.stateless_uniform(shape, (SEED, 0)), build_augmentation()
    return lambda: (augment(images) for _ in range(len(arguments.files) // arguments.batch_size))


def augmentation_layers():
    """Those of the image template, with the defaults of its config."""
    from keras import layers

    return [
        layers.RandomFlip("horizontal"),
        layers.RandomRotation(0.05),
        layers.RandomZoom(0.2),
        layers.RandomTranslation(0.1, 0.1),
        layers.RandomContrast(0.2, value_range=(0, 1)),
    ]


def build_augmentation():
    import keras
    import tensorflow as tf

    augment = keras.Sequential(augmentation_layers())
    return tf.function(lambda images: augment(images, training=True), reduce_retracing=True)


def with_keras(arguments):
    import keras

    dataset = keras.utils.image_dataset_from_directory(
        arguments.photos,
        labels=None,
        image_size=(arguments.image_size, arguments.image_size),
        batch_size=arguments.batch_size,
        shuffle=False,
        verbose=False,
    )
    return lambda: iter(dataset)


def with_tensorflow(arguments, scaled=False):
    import tensorflow as tf

    size = (arguments.image_size, arguments.image_size)

    def read(path):
        encoded = tf.io.read_file(path)
        if not scaled:
            pixels = tf.io.decode_image(encoded, channels=3, expand_animations=False)
        else:
            room = tf.reduce_min(tf.io.extract_jpeg_shape(encoded)[:2]) / arguments.draft_side
            ratios = [(room >= n, lambda n=n: tf.io.decode_jpeg(encoded, channels=3, ratio=n)) for n in (8, 4, 2)]
            pixels = tf.case(ratios, default=lambda: tf.io.decode_jpeg(encoded, channels=3))
        return tf.ensure_shape(tf.image.resize(pixels, size, antialias=True), (*size, 3))

    dataset = tf.data.Dataset.from_tensor_slices([str(path) for path in arguments.files])
    dataset = dataset.map(read, num_parallel_calls=AUTOTUNE).batch(arguments.batch_size)
    dataset = dataset.map(lambda pixels: tf.round(pixels) / 255, num_parallel_calls=AUTOTUNE).prefetch(AUTOTUNE)
    return lambda: iter(dataset)


def with_threads(arguments, resize=True):
    from PIL import Image

    def read(path):
        with Image.open(path) as image:
            image.draft(None, (arguments.draft_side, arguments.draft_side))
            image.load()
            if resize:
                coloured = image if image.mode == "RGB" else image.convert("RGB")
                coloured.resize((arguments.image_size,) * 2, Image.Resampling.BILINEAR)

    threads = ThreadPoolExecutor(os.cpu_count())
    return lambda: threads.map(read, arguments.files)


WAYS = {
    "ours": ours,
    "ours, kept": ours_kept,
    "ours, augmented": ours_augmented,
    "augmentation": augmentation,
    "Keras": with_keras,
    "TensorFlow": with_tensorflow,
    "TensorFlow, 1/n": lambda arguments: with_tensorflow(arguments, scaled=True),
    "threads": with_threads,
    "decoder": lambda arguments: with_threads(arguments, resize=False),
}


# Measuring ------------------------------------------------------------------------------------------------------------


def exhaust(batches, number=None):
    for count, _ in enumerate(batches, 1):
        if count == number:
            break


def measure(arguments):
    """One way, in this process."""
    from tlkit.data import split_image_folder
    from tlkit.data.decoding import draft_side

    files = split_image_folder(arguments.photos, seed=SEED)
    arguments.files = sorted(file.path for part in files[:3] for file in part)
    arguments.draft_side = draft_side(arguments.image_size)
    read = WAYS[arguments.one](arguments)
    exhaust(read(), 2)
    wall, busy = time.perf_counter(), time.process_time()
    for _ in range(arguments.passes):
        exhaust(read())
    wall, busy = time.perf_counter() - wall, time.process_time() - busy
    images = len(arguments.files) * arguments.passes
    return {
        "way": arguments.one,
        "images": len(arguments.files),
        "images_per_second": images / wall,
        "cpu_ms": 1000 * busy / images,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000,  # Linux counts in kB
    }


def write_photographs(folder, number=200, size=(2000, 1500)):
    """JPEGs of that width and height in two class folders, with the detail of a photograph: noise at several scales."""
    import numpy as np
    from PIL import Image

    (width, height), generator = size, np.random.default_rng(SEED)
    for index in range(number):
        canvas = np.zeros((height, width, 3), np.float32)
        for divisor in (2, 8, 32, 128):
            noise = generator.integers(0, 256, (height // divisor, width // divisor, 3), dtype=np.uint8)
            canvas += np.asarray(Image.fromarray(noise).resize(size, Image.Resampling.BILINEAR)) / 4
        path = folder / ("even", "odd")[index % 2] / f"{index:03d}.jpg"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(canvas.astype(np.uint8)).save(path, quality=90)


def run_all(arguments, photos):
    """Every way in turn, in processes of their own."""
    results = []
    for repeat in range(arguments.repeats):
        for way in arguments.ways:
            options = ["--image-size", "--batch-size", "--passes"]
            values = [arguments.image_size, arguments.batch_size, arguments.passes]
            flags = [str(word) for pair in zip(options, values, strict=True) for word in pair]
            command = [sys.executable, __file__, str(photos), *flags, "--one", way]
            output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
            results.append(json.loads(output.splitlines()[-1]))
            print(f"repeat {repeat + 1}: {json.dumps(results[-1])}", flush=True)
    return results


def print_table(results, arguments):
    """Medians and their range; the ratio is that of processor time to the first way's."""
    of = {way: [result for result in results if result["way"] == way] for way in arguments.ways}
    first = arguments.ways[0]

    def cell(values, digits):
        return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"

    print(f"\n{results[0]['images']} photos at {arguments.image_size} px, {os.cpu_count()} cores")
    print(f"{'':16}{'images/s':>22}{'processor ms an image':>26}{'of that of ' + first:>24}{'peak MB':>9}")
    for way, runs in of.items():
        milliseconds = [run["cpu_ms"] for run in runs]
        ratios = [one / other["cpu_ms"] for one, other in zip(milliseconds, of[first], strict=True)]
        rate = cell([run["images_per_second"] for run in runs], 0)
        memory = statistics.median(run["peak_mb"] for run in runs)
        print(f"{way:16}{rate:>22}{cell(milliseconds, 2):>26}{cell(ratios, 2):>24}{memory:>9.0f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=pathlib.Path, nargs="?")
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--passes", type=int, default=3)
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS), help="only these; the first is ratio 1")
    parser.add_argument("--one", choices=WAYS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(measure(arguments)))
        return
    with tempfile.TemporaryDirectory() as generated:
        if arguments.photos is None:
            write_photographs(pathlib.Path(generated))
        print_table(run_all(arguments, arguments.photos or generated), arguments)


if __name__ == "__main__":
    main()
