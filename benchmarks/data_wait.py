"""How long a step of training waits for photos, and what reading them takes from it.

    python benchmarks/data_wait.py BACKBONE PHOTOS [--image-size 224] [--open 1] [--epochs 4] [--repeats 3]

The model, the optimizer and the order of photos are those of the image template: augmentation, backbone with `--open`
stages open, head; Adam; `epochs(data.train_epoch)`. Without PHOTOS the template's own sample photos are drawn. Each
repeat is a process of its own. A step is two things in turn, each timed: the next batch is asked for (what passes until
it is there is waiting), and `train_on_batch`. The first epoch decodes, the others take the pixels from memory. In the
last epoch (`one batch`) every step gets the same batch, so nothing is read at all: what an epoch costs more than that
one is the price of the data, whoever waits for whom.
"""

import argparse
import itertools
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

BATCH_SIZE, SEED = 32, 0


def build_model(arguments, num_classes):
    """As the image template does, with the defaults of its config."""
    import keras
    from input_pipeline import augmentation_layers

    import tlkit
    from tlkit.finetune import prepare_unfreezing

    keras.utils.set_random_seed(SEED)
    images = keras.Input((arguments.image_size, arguments.image_size, 3))
    backbone = tlkit.load_backbone(arguments.backbone, image_size=arguments.image_size)
    x = images
    for layer in augmentation_layers():
        x = layer(x)
    x = keras.layers.Dropout(0.2)(backbone(x))
    model = keras.Model(images, keras.layers.Dense(num_classes, activation="softmax")(x))
    model.compile(keras.optimizers.Adam(1e-3), "sparse_categorical_crossentropy")
    prepare_unfreezing(model)
    backbone.unfreeze(last=arguments.open)
    model.make_train_function(force=True)
    return model


def train_epoch(model, batches, steps):
    """Seconds of waiting for each batch, and what the epoch took."""
    waits, wall, busy = [], time.perf_counter(), time.process_time()
    for _ in range(steps):
        asked = time.perf_counter()
        batch = next(batches)
        waits.append(time.perf_counter() - asked)
        model.train_on_batch(*batch)
    return waits, time.perf_counter() - wall, time.process_time() - busy


def measure(arguments):
    """One training: the costs of its epochs."""
    from tlkit.data import epochs, load_image_folder

    data = load_image_folder(arguments.photos, image_size=arguments.image_size, batch_size=BATCH_SIZE, seed=SEED)
    model, steps = build_model(arguments, len(data.class_names)), len(data.train)
    unkept = load_image_folder(
        arguments.photos, image_size=arguments.image_size, batch_size=BATCH_SIZE, seed=SEED, cache=False
    )
    images, labels = next(iter(unkept.train))
    again = itertools.repeat((images, labels))
    for size in (BATCH_SIZE, BATCH_SIZE // 2):  # traced before the clock starts, for a shorter last batch as well
        model.train_on_batch(images[:size], labels[:size])
    batches = iter(epochs(data.train_epoch, seed=SEED))
    results = []
    for epoch in range(arguments.epochs + 1):
        last = epoch == arguments.epochs
        waits, wall, busy = train_epoch(model, again if last else batches, steps)
        results.append(
            {
                "epoch": "one batch" if last else "decoding" if epoch == 0 else "kept",
                "steps": steps,
                "ms_step": 1000 * wall / steps,
                "cpu_ms_step": 1000 * busy / steps,
                "waiting_percent": 100 * sum(waits) / wall,
                "ms_first_wait": 1000 * waits[0],
                "ms_median_wait": 1000 * statistics.median(waits),
                "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000,  # Linux counts in kB
            }
        )
    return results


def print_table(results):
    """Medians and ranges over the epochs of a kind in all repeats."""
    columns = ("ms_step", "cpu_ms_step", "waiting_percent", "ms_first_wait", "ms_median_wait")
    print(f"\n{'epoch':12}{''.join(f'{name:>26}' for name in columns)}{'peak_mb':>9}")
    for kind in ("decoding", "kept", "one batch"):
        rows = [row for row in results if row["epoch"] == kind]
        values = [[row[name] for row in rows] for name in columns]
        cells = [f"{statistics.median(v):.1f} ({min(v):.1f} to {max(v):.1f})" for v in values]
        print(f"{kind:12}{''.join(f'{cell:>26}' for cell in cells)}{max(row['peak_mb'] for row in rows):>9.0f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("backbone")
    parser.add_argument("photos", type=pathlib.Path, nargs="?")
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--open", type=int, default=1, help="stages")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(measure(arguments)), flush=True)
        os._exit(0)  # the order of photos has no end, and is still being read ahead
    results = []
    with tempfile.TemporaryDirectory() as folder:
        photos = arguments.photos or sample_photos(pathlib.Path(folder))
        options = {"--image-size": arguments.image_size, "--open": arguments.open, "--epochs": arguments.epochs}
        flags = [str(word) for pair in options.items() for word in pair]
        for repeat in range(arguments.repeats):
            command = [sys.executable, __file__, arguments.backbone, str(photos), *flags, "--one"]
            output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
            results += json.loads(output.splitlines()[-1])
            print(f"repeat {repeat + 1}: {output.splitlines()[-1]}", flush=True)
    print_table(results)


def sample_photos(folder):
    from tlkit.data import write_sample_images

    write_sample_images(folder / "photos")
    return folder / "photos"


if __name__ == "__main__":
    main()
