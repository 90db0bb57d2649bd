"""Does the lift cost time? A training step through a `Backbone` beside one through the SavedModel itself.

    python benchmarks/lift.py [SAVED_MODEL_FOLDER] [--image-size 128] [--batch-size 16] [--repeats 20]

Both compute the same loss on the same batch, take gradients for every trainable weight and apply them with plain
gradient descent, in a `tf.function`. Steps alternate, so that a busy machine slows both alike; printed are the
medians and the median of the pairwise ratios with its quartiles.
"""

import argparse
import pathlib
import time

import numpy as np
import tensorflow as tf

import tlkit


def make_step(call, variables):
    @tf.function
    def step(images):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(call(images)))
        for variable, gradient in zip(variables, tape.gradient(loss, variables), strict=True):
            variable.assign_sub(1e-6 * gradient)
        return loss

    return step


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    embedded = pathlib.Path(tlkit.__file__).parent / "backbones" / "embedded" / "mini_image"
    parser.add_argument("folder", nargs="?", default=str(embedded))
    parser.add_argument("--image-size", type=int, default=128)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=20)
    arguments = parser.parse_args()

    backbone = tlkit.load_backbone(arguments.folder, image_size=arguments.image_size)
    backbone.unfreeze()
    original = tf.saved_model.load(arguments.folder)
    images = tf.random.uniform((arguments.batch_size, arguments.image_size, arguments.image_size, 3))
    steps = {
        "Backbone": make_step(backbone, [weight.value for weight in backbone.trainable_weights]),
        "SavedModel": make_step(lambda x: original(x, training=False), list(original.trainable_variables)),
    }
    losses = {name: float(step(images)) for name, step in steps.items()}
    print("loss of the first step:", losses)
    times = {name: [] for name in steps}
    for repeat in range(arguments.repeats):
        for name in list(steps)[:: 1 if repeat % 2 else -1]:
            start = time.perf_counter()
            steps[name](images).numpy()
            times[name].append(time.perf_counter() - start)
    for name, seconds in times.items():
        print(f"{name:12} {1000 * np.median(seconds):8.1f} ms a step")
    low, middle, high = np.percentile(np.divide(times["Backbone"], times["SavedModel"]), [25, 50, 75])
    print(f"ratio {middle:.3f} (quartiles {low:.3f} to {high:.3f}, {arguments.repeats} pairs)")


if __name__ == "__main__":
    main()
