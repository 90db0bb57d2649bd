"""Domain adaptation between handwritten digits, beside the papers' numbers: every method, several seeds.

    python benchmarks/domain_adaptation.py DIGITS --results FOLDER [--direction usps-mnist] [--methods dann] [--seeds 5]
        [--steps 10000]

DIGITS is a folder with mnist/mnist.npz and usps/usps.npz (x_train, y_train, x_test, y_test). A classifier learns the
labelled training digits of one set and the unlabelled ones of the other; it is judged on the other's test digits. Every
finished training is a JSON file in FOLDER: run the same command again, and it goes on with those that are missing.

Protocol: all training digits, scaled to 28 x 28 and to [-1, 1]; the network, batch and rates of `build_encoder` and
`train`; 4,000 steps from scratch unless `--steps` says otherwise. 16 times in a training the label-free scores are
computed on 2,000 source digits that are not trained on and 2,000 of the unlabelled target digits. The table gives the
target's test accuracy at the epoch chosen by them, after the last step, and what a choice by test labels would have
given, which is how many published numbers were made.
"""

import argparse
import os
import pathlib

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from tlkit.callbacks import AdaptationRamp
from tlkit.data import epochs
from tlkit.domain import (
    CorrelationAlignment,
    DomainDiscriminator,
    DomainLoss,
    MaximumMeanDiscrepancy,
    MinimumClassConfusion,
    build_cdan,
    build_coral,
    build_dan,
    build_dann,
    build_mcc,
    compare_adaptation,
    pair_domains,
)
from tlkit.finetune import InversePowerDecay

EPOCHS = 16
BATCH_SIZE = 128  # half of each domain, as in the papers
HELD_OUT = 2000
# Those that cost no more than the predictions; the others fit a model to the features each time.
SCORES = ("source_accuracy", "source_score", "target_entropy_score", "target_information", "target_snd")

# Beside the domain loss, what the papers' authors or TLlib take; nothing was tuned on these digits.
METHODS = {
    "dann": (build_dann, DomainLoss(), 1.0),
    "cdan": (build_cdan, DomainLoss(), 1.0),
    "cdan+e": (lambda *a, **k: build_cdan(*a, entropy_weighted=True, **k), DomainLoss(), 1.0),
    "dan": (build_dan, MaximumMeanDiscrepancy(), 1.0),
    "coral": (build_coral, CorrelationAlignment(), 10.0),
    "mcc": (build_mcc, MinimumClassConfusion(), 1.0),
}


def load_digits(folder, name):
    """Images `(n, 28, 28, 1)` in [-1, 1] and labels of both parts."""
    with np.load(pathlib.Path(folder) / name / f"{name}.npz") as arrays:
        parts = {}
        for part in ("train", "test"):
            images = tf.image.resize(arrays[f"x_{part}"][..., None].astype("float32"), (28, 28)).numpy()
            parts[part] = (images / 127.5 - 1, arrays[f"y_{part}"].astype("int32"))
    return parts


def build_encoder():
    """LeNet as TLlib and CDAN's authors take it for digits: two convolutions, one dense layer of 500."""
    decay = {"kernel_regularizer": keras.regularizers.L2(0.5 * 5e-4)}  # its gradient is 5e-4 * weight, as CDAN's
    images = keras.Input((28, 28, 1), name="image")
    x = layers.Conv2D(20, 5, name="conv_1", **decay)(images)
    x = layers.ReLU()(layers.MaxPooling2D()(x))
    x = layers.Conv2D(50, 5, name="conv_2", **decay)(x)
    x = layers.ReLU()(layers.MaxPooling2D()(layers.SpatialDropout2D(0.5)(x)))
    x = layers.Dense(500, activation="relu", name="dense", **decay)(layers.Flatten()(x))
    return keras.Model(images, layers.Dropout(0.5)(x), name="encoder")


def optimizer(steps):
    """SGD as in DANN's paper, section 5.2.2."""
    rate = InversePowerDecay(0.01, steps)
    return keras.optimizers.SGD(rate, momentum=0.9)


def shuffled(images, labels, batch):
    """`[seed, epoch]` -> all rows in an order of their own."""

    def epoch(seed):
        order = tf.random.experimental.stateless_shuffle(tf.range(len(images), dtype=tf.int64), seed=seed)
        rows = tf.data.Dataset.from_tensor_slices(order).batch(batch, drop_remainder=True)
        return rows.map(lambda numbers: (tf.gather(images, numbers), tf.gather(labels, numbers)))

    return epoch


def trainer(source, target, steps):
    """`train(method, seed, callbacks)` as `compare_adaptation` wants it."""
    (source_images, source_labels), (target_images, target_labels) = source["train"], target["train"]
    source_rows = shuffled(source_images[HELD_OUT:], source_labels[HELD_OUT:], BATCH_SIZE // 2)
    target_rows = shuffled(target_images, target_labels, BATCH_SIZE // 2)

    def train(method, seed, callbacks):
        keras.backend.clear_session()
        keras.utils.set_random_seed(seed)
        encoder = build_encoder()
        if method in METHODS:
            build, loss, weight = METHODS[method]
            adversarial = isinstance(loss, DomainLoss)
            extra = {"discriminator": DomainDiscriminator((500, 500), name="discriminator")} if adversarial else {}
            model = build(encoder, num_classes=10, **extra)
            model.compile(
                optimizer(steps),
                loss={"label": "sparse_categorical_crossentropy", "domain": loss},
                loss_weights={"label": 1.0, "domain": weight},
                weighted_metrics={"label": ["accuracy"]},
            )
            # Each domain in epochs of its own, without end.
            sources, targets = epochs(source_rows, seed=seed), epochs(target_rows, seed=seed)
            data = pair_domains(sources, targets, global_batch_size=BATCH_SIZE, steps=steps)
            callbacks = [AdaptationRamp(), *callbacks]
        else:
            rows = source_rows if method == "source only" else target_rows
            probabilities = layers.Dense(10, activation="softmax", name="head")(encoder.output)
            model = keras.Model(encoder.input, probabilities, name="source_only")
            model.compile(optimizer(steps), "sparse_categorical_crossentropy", metrics=["accuracy"])
            data = epochs(rows, seed=seed)
        model.fit(data, steps_per_epoch=steps // EPOCHS, epochs=EPOCHS, shuffle=False, verbose=0, callbacks=callbacks)
        return model

    return train


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("digits")
    parser.add_argument("--direction", choices=("mnist-usps", "usps-mnist"), default="mnist-usps")
    parser.add_argument("--results", required=True)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=4000, help="of a training, a multiple of 16; default 4000")
    parser.add_argument("--oracle", action="store_true", help="train with target labels, too")
    arguments = parser.parse_args()
    source, target = (load_digits(arguments.digits, name) for name in arguments.direction.split("-"))
    held_out = tuple(array[:HELD_OUT] for array in source["train"])
    # One at a time, so that an interruption leaves all methods with the same seeds.
    for count in range(1, arguments.seeds + 1):
        comparison = compare_adaptation(
            trainer(source, target, arguments.steps),
            methods=arguments.methods,
            source_validation=held_out,
            target=target["train"][0][:HELD_OUT],
            target_test=target["test"],
            seeds=range(count),
            oracle=arguments.oracle,
            scores=SCORES,
            folder=pathlib.Path(arguments.results) / arguments.direction,
            fingerprint={
                "direction": arguments.direction,
                "steps": arguments.steps,
                "epochs": EPOCHS,
                "batch": BATCH_SIZE,
            },
        )
    comparison.print()


if __name__ == "__main__":
    main()
