"""What an epoch costs once stages are open: on kept features, with the whole network, and at least.

    python benchmarks/unfreezing.py SAVED_MODEL PHOTOS [--epochs 3] [--repeats 3] [--image-size 224]

SAVED_MODEL is the folder of an image backbone, PHOTOS a folder with train/ and val/. For each number of open stages,
counted from the top, three ways, each in a process of its own, in turn, as many times as there are repeats:

    whole       `fit`: the closed stages run in every epoch, too
    ours        `fit_on_features`, with an empty cache; what it costs to fill it is a column of its own
    suffix      what no method can do without: the open stages and the head, trained on arrays in memory

All of them have the photos decoded in memory before the clock starts, the same head, optimizer and batch size, and
judge the validation photos after each epoch. An epoch is the mean of those after the first, in which TensorFlow
compiles. Processor time is that of the process with all its threads; peak memory is that of the whole process.
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

from frozen_phase import SEED, as_batches, build_head, compiled, load_photos

WAYS = ("whole", "ours", "suffix")


def epoch_clock():
    """A callback that notes the processor's seconds at the beginning and at the end of each epoch."""
    import keras

    class EpochClock(keras.callbacks.Callback):
        def __init__(self):
            super().__init__()
            self.begun, self.ended = [], []

        def on_epoch_begin(self, epoch, logs=None):
            self.begun.append(time.process_time())

        def on_epoch_end(self, epoch, logs=None):
            self.ended.append(time.process_time())

    return EpochClock()


def train(way, num_open, arguments, cache):
    """One way, once."""
    import keras

    import tlkit
    from tlkit.features import cut_model, fit_on_features, list_features

    keras.utils.set_random_seed(SEED)
    photos, validation, num_classes = load_photos(arguments.photos, arguments.image_size)
    inputs = keras.Input((arguments.image_size, arguments.image_size, 3))
    backbone = tlkit.load_backbone(arguments.saved_model, image_size=arguments.image_size, name="backbone")
    backbone.unfreeze(last=num_open)
    model = compiled(inputs, build_head(backbone(inputs), num_classes))
    clock = epoch_clock()
    options = {"epochs": 1 + arguments.epochs, "verbose": 0, "callbacks": [clock]}
    plainly = {"shuffle": False, **options}  # the data sets shuffle
    train_rows, validation_rows = as_batches(*photos), as_batches(*validation)
    if way == "whole":
        history = model.fit(as_batches(*photos, shuffle=True), validation_data=validation_rows, **plainly)
    elif way == "suffix":
        prefix, tail = cut_model(model, len(backbone.stages) - num_open)
        kept = [prefix.predict(rows, verbose=0) for rows in (train_rows, validation_rows)]
        suffix = compiled(tail.inputs, tail.outputs[0])
        batches = as_pairs(kept[0], photos[1], shuffle=True)
        history = suffix.fit(batches, validation_data=as_pairs(kept[1], validation[1]), **plainly)
    else:
        history = fit_on_features(
            model, train_rows, validation_rows, seed=SEED, fingerprint=str(arguments.photos), folder=cache, **options
        )
    took = [ended - begun for begun, ended in zip(clock.begun, clock.ended, strict=True)]
    return {
        "way": way,
        "open": num_open,
        "stages": len(backbone.stages),
        "epoch": statistics.mean(took[1:]),
        "first": took[0] - statistics.mean(took[1:]),
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000,  # Linux counts in kB
        "disk_mb": sum(store.num_bytes for store in list_features(cache)) / 1e6,
        "loss": history.history["loss"][-1],
    }


def as_pairs(features, labels, shuffle=False):
    import tensorflow as tf
    from frozen_phase import BATCH_SIZE

    dataset = tf.data.Dataset.from_tensor_slices((features, labels))
    dataset = dataset.shuffle(len(labels), seed=SEED) if shuffle else dataset
    return dataset.batch(BATCH_SIZE).prefetch(tf.data.AUTOTUNE)


def run_all(arguments):
    """Every way with every number of open stages but all, in turn, in processes of their own."""
    results = []
    for repeat in range(arguments.repeats):
        num_open, num_stages = 1, 2
        while num_open < num_stages:
            with tempfile.TemporaryDirectory() as cache:
                for way in WAYS:
                    command = [sys.executable, __file__, *sys.argv[1:], "--one", way, "--open", str(num_open)]
                    done = subprocess.run([*command, "--cache", cache], check=True, stdout=subprocess.PIPE, text=True)
                    results.append(json.loads(done.stdout.splitlines()[-1]))
                    print(f"repeat {repeat + 1}: {json.dumps(results[-1])}", flush=True)
            num_open, num_stages = num_open + 1, results[-1]["stages"]
    return results


def print_table(results):
    """Medians with their range; ratios are taken within each repeat."""

    def cell(values, digits=2):
        return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"

    def column(num_open, way, name="epoch"):
        return [result[name] for result in results if (result["open"], result["way"]) == (num_open, way)]

    names = (*WAYS, "ours / suffix", "whole / ours")
    print("\nProcessor seconds of an epoch, and what it takes once to fill the cache.")
    print(f"{'open':>4}{''.join(f'{name:>22}' for name in names)}{'to fill':>9}{'disk MB':>9}   peak MB of each way")
    for num_open in sorted({result["open"] for result in results}):
        whole, ours, suffix = (column(num_open, way) for way in WAYS)
        over = [a / b for a, b in zip(ours, suffix, strict=True)]
        saved = [a / b for a, b in zip(whole, ours, strict=True)]
        firsts = [column(num_open, way, "first") for way in ("ours", "suffix")]
        fill = statistics.median(a - b for a, b in zip(*firsts, strict=True))
        disk = statistics.median(column(num_open, "ours", "disk_mb"))
        peaks = ", ".join(f"{statistics.median(column(num_open, way, 'peak_mb')):.0f}" for way in WAYS)
        cells = "".join(f"{cell(values):>22}" for values in (whole, ours, suffix, over, saved))
        print(f"{num_open:>4}{cells}{fill:>9.1f}{disk:>9.1f}   {peaks}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("saved_model")
    parser.add_argument("photos", type=pathlib.Path)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--one", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--open", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--cache", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(train(arguments.one, arguments.open, arguments, arguments.cache)))
    else:
        print_table(run_all(arguments))


if __name__ == "__main__":
    main()
