"""Does XLA make a training step faster?

    python benchmarks/xla.py BACKBONE [--image-size 224] [--open 0 1] [--steps 10] [--repeats 3] [--augment]

BACKBONE is the folder of an image backbone or a handle such as `tlkit:mini-image`. A step trains a head, and so many
stages from the top, on a batch of 32 images in memory; with `--augment` the image template's augmentation comes first.
Each repeat times the same steps without XLA and with it (`jit_compile`), in turn; compiling is a column of its own.
Keras' own choice, `jit_compile="auto"`, is XLA where there is a GPU, and no strategy of several devices.
"""

import argparse
import os
import statistics
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
from input_pipeline import augmentation_layers

import tlkit

BATCH_SIZE, SEED = 32, 0


def compiled_model(arguments, num_open, jit_compile):
    keras.utils.set_random_seed(SEED)
    images = keras.Input((arguments.image_size, arguments.image_size, 3))
    backbone = tlkit.load_backbone(arguments.backbone, image_size=arguments.image_size)
    if num_open:
        backbone.unfreeze(last=num_open)
    x = images
    for layer in augmentation_layers() if arguments.augment else ():
        x = layer(x)
    model = keras.Model(images, keras.layers.Dense(10, activation="softmax")(backbone(x)))
    model.compile(keras.optimizers.Adam(1e-3), "sparse_categorical_crossentropy", jit_compile=jit_compile)
    return model


def milliseconds(model, batch, steps):
    """Of wall and of processor time, a step."""
    wall, busy = time.perf_counter(), time.process_time()
    for _ in range(steps):
        model.train_on_batch(*batch)
    return 1000 * (time.perf_counter() - wall) / steps, 1000 * (time.process_time() - busy) / steps


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("backbone")
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--open", type=int, nargs="*", default=[0, 1], help="stages")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--augment", action="store_true")
    arguments = parser.parse_args()
    random = np.random.default_rng(SEED)
    shape = (BATCH_SIZE, arguments.image_size, arguments.image_size, 3)
    batch = random.random(shape, "float32"), random.integers(0, 10, BATCH_SIZE)
    print(f"{'open':>4}{'without, ms':>26}{'with, ms':>26}{'with / without':>26}  compiling, s: without, with")
    for num_open in arguments.open:
        models = [compiled_model(arguments, num_open, jit_compile) for jit_compile in (False, True)]
        first = [milliseconds(model, batch, 1)[1] / 1000 for model in models]
        times = [[milliseconds(model, batch, arguments.steps)[1] for model in models] for _ in range(arguments.repeats)]
        columns = [[row[0] for row in times], [row[1] for row in times], [row[1] / row[0] for row in times]]
        cells = [f"{statistics.median(c):.2f} ({min(c):.2f} to {max(c):.2f})" for c in columns]
        print(f"{num_open:>4}{''.join(f'{cell:>26}' for cell in cells)}  {first[0]:.1f}, {first[1]:.1f}", flush=True)


if __name__ == "__main__":
    main()
