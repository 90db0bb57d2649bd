"""What does `ExactResume` cost? The time in its hooks against the time of the epoch that they are part of.

    python benchmarks/exact_resume.py SAVED_MODEL_FOLDER PHOTO_FOLDER [--image-size 224] [--batch-size 32]
        [--epochs 6] [--directory FOLDER] [--all-open]

Trains a head on the backbone by `fit` (with `--all-open` the backbone, too), a state after every epoch, photos decoded
once and then kept in memory, and compares in each epoch after the first, which traces and decodes:

    wall time     seconds in the hooks / seconds of the epoch
    processor     time of the thread that calls the hooks, in them / time of all threads of the process in the epoch

Printed are the medians and, in brackets, the smallest and the largest. `--directory` chooses the disk.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import tempfile
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np

import tlkit
from tlkit.callbacks import ExactResume
from tlkit.data import epochs, load_image_folder
from tlkit.finetune import prepare_unfreezing

HOOKS = (
    "on_epoch_begin", "on_epoch_end", "on_train_begin", "on_train_batch_begin", "on_train_batch_end",
    "on_test_begin", "on_test_batch_begin", "on_test_batch_end",
)  # fmt: skip


class Timed(ExactResume):
    """Counts what its hooks take: wall time and the calling thread's processor time."""

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.wall = self.processor = 0.0


def _timed(name):
    hook = getattr(ExactResume, name)

    def measured(self, *args, **options):
        wall, processor = time.perf_counter(), time.thread_time()
        try:
            return hook(self, *args, **options)
        finally:
            self.wall += time.perf_counter() - wall
            self.processor += time.thread_time() - processor

    return measured


for hook_name in HOOKS:
    if hook_name in vars(ExactResume):  # Keras calls no others, and is not made to
        setattr(Timed, hook_name, _timed(hook_name))


class Epochs(keras.callbacks.Callback):
    """One row an epoch: wall and processor time of the epoch, and of the hooks in it."""

    def __init__(self, resume):
        super().__init__()
        self.resume, self.rows, self.last = resume, [], None

    # From one beginning to the next: the ends of an epoch's other callbacks are in it.
    def on_epoch_begin(self, epoch, logs=None):
        self.take()

    def on_train_end(self, logs=None):
        self.take()

    def take(self):
        now = np.array([time.perf_counter(), time.process_time(), self.resume.wall, self.resume.processor])
        if self.last is not None:
            self.rows.append(now - self.last)
        self.last = now

    def get_state(self):
        return None

    def set_state(self, state):
        pass


def spread(numbers, unit=""):
    return f"{np.median(numbers):8.3f}{unit} ({np.min(numbers):.3f} to {np.max(numbers):.3f})"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("backbone", help="folder of a SavedModel, or any handle")
    parser.add_argument("photos", help="folder of class folders")
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument(
        "--directory", help="where to write, on the disk to be measured; a temporary folder if left out"
    )
    parser.add_argument("--all-open", action="store_true", help="train the whole backbone")
    arguments = parser.parse_args()

    keras.utils.set_random_seed(7)
    data = load_image_folder(arguments.photos, image_size=arguments.image_size, batch_size=arguments.batch_size, seed=7)
    inputs = keras.Input((arguments.image_size, arguments.image_size, 3))
    backbone = tlkit.load_backbone(arguments.backbone, image_size=arguments.image_size)
    if arguments.all_open:
        backbone.unfreeze()
    features = keras.layers.Dropout(0.2)(backbone(inputs))
    model = keras.Model(inputs, keras.layers.Dense(len(data.class_names), activation="softmax")(features))
    model.compile(keras.optimizers.Adam(1e-4), "sparse_categorical_crossentropy", metrics=["accuracy"])
    prepare_unfreezing(model)

    with tempfile.TemporaryDirectory(dir=arguments.directory) as folder:
        resume = Timed(folder)
        clock = Epochs(resume)
        model.fit(
            epochs(data.train_epoch, seed=7), steps_per_epoch=len(data.train), validation_data=data.validation,
            epochs=arguments.epochs, shuffle=False, verbose=0, callbacks=[clock, resume],
        )  # fmt: skip
        newest = max(pathlib.Path(folder).glob("epoch_*"))
        size = sum(file.stat().st_size for file in newest.iterdir())
    wall, processor, hooks_wall, hooks_processor = np.array(clock.rows[1:]).T
    print(f"{len(data.files.train)} photos to train on, {len(data.files.validation)} to validate; a state of "
          f"{size / 1e6:.1f} MB; {len(wall)} epochs")  # fmt: skip
    for name, whole, hooks in (("wall time", wall, hooks_wall), ("processor", processor, hooks_processor)):
        print(f"{name}: epoch {spread(whole, ' s')}, hooks {spread(hooks, ' s')}, "
              f"share {spread(100 * hooks / whole, ' %')}")  # fmt: skip


if __name__ == "__main__":
    main()
