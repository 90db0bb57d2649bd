"""What ten epochs of training a head on a frozen backbone cost: on kept features, as the tutorials do it, and at least.

    python benchmarks/frozen_phase.py SAVED_MODEL PHOTOS [--epochs 10] [--repeats 3] [--image-size 224]
    python benchmarks/frozen_phase.py SAVED_MODEL --generated 2000

SAVED_MODEL is the folder of an image backbone, PHOTOS a folder of photos in class folders, with or without train/ and
val/; or so many JPEGs of 500x375 are generated. Four ways, each in a process of
its own, in turn, as many times as there are repeats:

    tutorial    the frozen backbone is a layer of the model, so that its whole forward pass runs in every epoch
                (https://keras.io/guides/transfer_learning, "The typical transfer-learning workflow")
    ours        `fit_on_features` with an empty cache: labels read, costs measured, features written, then read
    ours again  the same with the cache that `ours` left, as another trial of a search finds it
    limit       what no method can do without: one forward pass over all photos, then the head on arrays in memory

All of them have the photos decoded in memory before the clock starts, the same head (dropout and one dense layer),
optimizer and batch size, and judge the validation photos after each epoch. Processor time is that of the process with
all its threads; peak memory is that of the whole process, of which the photos themselves are a part.
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

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from input_pipeline import write_photographs

WAYS = ("tutorial", "ours", "ours again", "limit")
BATCH_SIZE, RATE, SEED = 32, 1e-3, 0


def load_photos(folder, image_size):
    """Pixels as bytes and labels, of train/ and of val/."""
    import numpy as np

    from tlkit.data import decode_image, split_image_folder

    files = split_image_folder(folder, seed=SEED)
    parts = []
    for part in (files.train, files.validation):
        pixels = np.stack([decode_image(file.path, image_size) for file in part])
        parts.append((pixels, np.array([file.label for file in part], "int32")))
    return *parts, len(files.class_names)


def as_batches(pixels, labels, shuffle=False):
    import tensorflow as tf

    dataset = tf.data.Dataset.from_tensor_slices((pixels, labels))
    if shuffle:
        dataset = dataset.shuffle(len(labels), seed=SEED)
    dataset = dataset.batch(BATCH_SIZE).map(lambda x, y: (tf.cast(x, tf.float32) / 255, y))
    return dataset.prefetch(tf.data.AUTOTUNE)


def build_head(features, num_classes):
    import keras

    return keras.layers.Dense(num_classes, activation="softmax", name="head")(keras.layers.Dropout(0.2)(features))


def compiled(inputs, outputs):
    import keras

    model = keras.Model(inputs, outputs)
    model.compile(keras.optimizers.Adam(RATE), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def train(way, arguments, cache):
    """One way, once: what it cost and how good the head is."""
    import keras
    import numpy as np

    import tlkit
    from tlkit.features import fit_on_features, list_features

    keras.utils.set_random_seed(SEED)
    photos, validation, num_classes = load_photos(arguments.photos, arguments.image_size)
    inputs = keras.Input((arguments.image_size, arguments.image_size, 3))
    features = tlkit.load_backbone(arguments.saved_model, image_size=arguments.image_size)(inputs)
    model = compiled(inputs, build_head(features, num_classes))
    options = {"epochs": arguments.epochs, "verbose": 0}
    wall, busy = time.perf_counter(), time.process_time()
    if way == "tutorial":
        data = {"x": as_batches(*photos, shuffle=True), "validation_data": as_batches(*validation)}
        history = model.fit(**data, shuffle=False, **options)
    elif way == "limit":
        frozen = keras.Model(inputs, features)
        kept = [frozen.predict(as_batches(*part), verbose=0) for part in (photos, validation)]
        vectors = keras.Input(kept[0].shape[1:])
        head = compiled(vectors, build_head(vectors, num_classes))
        history = head.fit(kept[0], photos[1], BATCH_SIZE, validation_data=(kept[1], validation[1]), **options)
    else:
        train_rows, validation_rows = as_batches(*photos), as_batches(*validation)
        history = fit_on_features(
            model, train_rows, validation_rows, seed=SEED, fingerprint=str(arguments.photos), folder=cache, **options
        )
    return {
        "way": way,
        "cpu_seconds": time.process_time() - busy,
        "seconds": time.perf_counter() - wall,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000,  # Linux counts in kB
        "disk_mb": sum(store.num_bytes for store in list_features(cache)) / 1e6,
        "loss": history.history["loss"][-1],
        "val_accuracy": float(np.max(history.history["val_accuracy"])),
    }


def run_all(arguments, photos):
    """Every way in turn, in processes of their own."""
    again = [sys.executable, __file__, arguments.saved_model, str(photos)]
    again += ["--epochs", str(arguments.epochs), "--image-size", str(arguments.image_size)]
    results = []
    for repeat in range(arguments.repeats):
        with tempfile.TemporaryDirectory() as cache:
            for way in WAYS:
                command = [*again, "--one", way, "--cache", cache]
                output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
                results.append(json.loads(output.splitlines()[-1]))
                print(f"repeat {repeat + 1}: {json.dumps(results[-1])}", flush=True)
    return results


def print_table(results):
    """Medians, their range, and the ratio to the limit, which is taken within each repeat."""
    of = {way: [result for result in results if result["way"] == way] for way in WAYS}

    def cell(values, digits=1):
        return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"

    print(f"\n{'':12}{'processor s':>24}{'over limit':>24}{'wall s':>24}{'peak MB':>9}{'disk MB':>9}{'val acc.':>9}")
    for way, runs in of.items():
        ratios = [run["cpu_seconds"] / limit["cpu_seconds"] for run, limit in zip(runs, of["limit"], strict=True)]
        cells = [cell([run["cpu_seconds"] for run in runs]), cell(ratios, 2), cell([run["seconds"] for run in runs])]
        last = [statistics.median(run[name] for run in runs) for name in ("peak_mb", "disk_mb", "val_accuracy")]
        numbers = f"{last[0]:>9.0f}{last[1]:>9.1f}{last[2]:>9.3f}"
        print(f"{way:12}{''.join(f'{text:>24}' for text in cells)}{numbers}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("saved_model")
    parser.add_argument("photos", type=pathlib.Path, nargs="?")
    parser.add_argument("--generated", type=int, default=2000, metavar="N", help="without PHOTOS, of how many")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--one", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--cache", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(train(arguments.one, arguments, arguments.cache)))
    else:
        with tempfile.TemporaryDirectory() as generated:
            if arguments.photos is None:
                write_photographs(pathlib.Path(generated), arguments.generated, size=(500, 375))
            print_table(run_all(arguments, arguments.photos or generated))


if __name__ == "__main__":
    main()
