"""How fast is a training step of DANN, CDAN and CDAN+E here and in ADAPT 0.4.5, on the same network, batch and data?

    python benchmarks/adaptation_speed.py [--digits DIGITS] [--methods dann cdan] [--network dense] [--bfloat16]
        [--turns 15] [--steps 60] [--steps-per-execution 10]

ADAPT (https://adapt-python.github.io/adapt) is no dependency of ours. Give it an environment of its own, with the
project's TensorFlow and Keras, made in the root of the project:

    python -m venv adapt-venv
    adapt-venv/bin/pip install adapt==0.4.5 tensorflow==2.21.0 keras==3.15.1 -e .
    adapt-venv/bin/python benchmarks/adaptation_speed.py

Both train on 64 + 64 images of MNIST's size with SGD with momentum, the paper's ramp and the accuracy on source rows;
the networks are `build_encoder`'s, by default the LeNet of CDAN's authors. ADAPT as its documentation shows it: arrays,
one-hot labels, `UpdateLambda`. Here: `tf.data` of single rows, shuffled as ADAPT shuffles them, and `pair_domains`.
CDAN's map is whole in both, so that the discriminators are of the same size. `--bfloat16` adds a third: ours in mixed
precision, which is quicker only on processors that compute in bfloat16. Beside it stands ADAPT in float32: in mixed
precision ADAPT 0.4.5 stops with a TypeError when `UpdateLambda` schedules it, and runs with a constant `lambda_`.

They take turns in one process. A turn is a `fit` of `--steps` steps; the clock starts after the tenth, when the
pipelines are full. The first turn of each, which traces, is not counted. A ratio is that of two turns of one round:
median and quartiles stand a machine that does other work at the same time, and the ratio of processor time, that of all
threads, stands it better. At the end all must have learned, or their speed says nothing: the cross-entropy of source
images must be below half of that of a guess.

Without DIGITS, the folder of mnist/mnist.npz and usps/usps.npz, the data are made: ten patterns in noise, in the target
domain with inverted contrast.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import sys
import time
import warnings
from importlib import metadata

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from tlkit.callbacks import AdaptationRamp
from tlkit.domain import DomainDiscriminator, DomainLoss, build_cdan, build_dann, label_classifier, pair_domains

HALF = 64  # rows of each domain in a batch
CLASSES = 10
METHODS = ("dann", "cdan", "cdan+e")
# Features and hidden units of the discriminator.
NETWORKS = {"lenet": (500, (500, 500)), "dense": (100, (100,))}
PIPELINE_FILLS = 10  # steps at the beginning of each turn that are not timed


def made_digits(rows):
    """Source images, their labels and target images: ten patterns in noise."""
    generator = np.random.default_rng(0)
    patterns = generator.uniform(-1, 1, (CLASSES, 28, 28, 1))
    labels = generator.integers(0, CLASSES, (2, rows))
    images = 0.5 * patterns[labels] + generator.normal(0, 0.5, (2, rows, 28, 28, 1))
    return images[0].astype("float32"), labels[0], -images[1].astype("float32")


def load_digits(folder, rows):
    """Source images, their labels and target images: MNIST's and USPS'."""
    domains = []
    for name in ("mnist", "usps"):
        with np.load(pathlib.Path(folder) / name / f"{name}.npz") as arrays:
            images, labels = arrays["x_train"][:rows], arrays["y_train"][:rows]
        domains.append((tf.image.resize(images[..., None].astype("float32"), (28, 28)).numpy() / 127.5 - 1, labels))
    (source, labels), (target, _) = domains
    return source, labels, target


def build_encoder(network):
    """LeNet as in `domain_adaptation.py`, or one dense layer, whose step is little more than what the library adds."""
    images = keras.Input((28, 28, 1))
    if network == "lenet":
        x = layers.ReLU()(layers.MaxPooling2D()(layers.Conv2D(20, 5)(images)))
        x = layers.SpatialDropout2D(0.5)(layers.Conv2D(50, 5)(x))
        x = layers.Flatten()(layers.ReLU()(layers.MaxPooling2D()(x)))
        return keras.Model(images, layers.Dropout(0.5)(layers.Dense(500, activation="relu")(x)))
    return keras.Model(images, layers.Dense(100, activation="relu")(layers.Flatten()(images)))


def optimizer():
    return keras.optimizers.SGD(0.01, momentum=0.9)


class Clock(keras.callbacks.Callback):
    """Wall and processor seconds of a step, when the pipelines are full."""

    def on_train_batch_end(self, batch, logs=None):
        now = np.array([time.perf_counter(), time.process_time()])
        if batch == PIPELINE_FILLS - 1:
            self.start = now
        elif batch == self.params["steps"] - 1:
            self.seconds = (now - self.start) / (batch + 1 - PIPELINE_FILLS)


class Ours:
    """The methods of `tlkit.domain`."""

    def __init__(self, method, network, steps_per_execution, source, labels, target):
        build = {
            "dann": build_dann,
            "cdan": build_cdan,
            "cdan+e": lambda *args, **options: build_cdan(*args, entropy_weighted=True, **options),
        }[method]
        discriminator = DomainDiscriminator(NETWORKS[network][1])
        self.model = build(build_encoder(network), CLASSES, discriminator=discriminator)
        self.model.compile(
            optimizer(),
            loss={"label": "sparse_categorical_crossentropy", "domain": DomainLoss()},
            weighted_metrics={"label": ["accuracy"]},
            steps_per_execution=steps_per_execution,
        )
        sources = tf.data.Dataset.from_tensor_slices((source, labels)).shuffle(len(source))
        targets = tf.data.Dataset.from_tensor_slices(target).shuffle(len(target))
        self.data = pair_domains(sources, targets, global_batch_size=2 * HALF)

    def fit(self, clock):
        self.model.fit(self.data, shuffle=False, verbose=0, callbacks=[AdaptationRamp(), clock])

    def probabilities(self, images):
        return label_classifier(self.model).predict(images, verbose=0)


class Adapt:
    """The classes of ADAPT."""

    def __init__(self, method, network, steps_per_execution, source, labels, target):
        from adapt.feature_based import CDAN, DANN

        features, units = NETWORKS[network]
        hidden = [layers.Dense(number, activation="relu") for number in units]
        options = {
            "encoder": build_encoder(network),
            "task": keras.Sequential([keras.Input((features,)), layers.Dense(CLASSES, activation="softmax")]),
            "discriminator": keras.Sequential([*hidden, layers.Dense(1, activation="sigmoid")]),
            "Xt": target,
            "lambda_": tf.Variable(0.0),
            "optimizer": optimizer(),
            "loss": "categorical_crossentropy",
            "metrics": {"task": ["accuracy"]},
            "steps_per_execution": steps_per_execution,
        }
        if method == "dann":
            self.model = DANN(**options)
        else:
            self.model = CDAN(max_features=CLASSES * features, entropy=method == "cdan+e", **options)
        self.data = source, keras.utils.to_categorical(labels, CLASSES)
        self.executions = len(source) // (HALF * steps_per_execution)

    def fit(self, clock):
        from adapt.utils import UpdateLambda

        ramp = UpdateLambda(max_steps=self.executions, gamma=10.0)
        with warnings.catch_warnings():  # of Keras, about the order of the data and how the model is built
            warnings.simplefilter("ignore")
            self.model.fit(*self.data, batch_size=HALF, verbose=0, callbacks=[ramp, clock])

    def probabilities(self, images):
        return self.model.predict(images)


class OursInBfloat16(Ours):
    """The same in mixed precision."""

    def __init__(self, *settings):
        keras.config.set_dtype_policy("mixed_bfloat16")
        super().__init__(*settings)
        keras.config.set_dtype_policy("float32")


def cross_entropy(side, images, labels):
    chosen = side.probabilities(images)[np.arange(len(labels)), labels]
    return float(-np.log(np.maximum(chosen, 1e-7)).mean())


def turn(side):
    """Wall and processor seconds of a step."""
    clock = Clock()
    side.fit(clock)
    return clock.seconds


def in_turn(sides, turns):
    """Seconds of all turns: of each side `(turns, 2)`, wall and processor."""
    for side in sides.values():
        turn(side)  # traces
    seconds = {name: [] for name in sides}
    for number in range(turns):
        order = list(sides) if number % 2 == 0 else list(sides)[::-1]
        for name in order:
            seconds[name].append(turn(sides[name]))
    return {name: np.array(values) for name, values in seconds.items()}


def compare(method, kinds, settings, data, turns):
    """Print the rates and the ratios of the turns; stop where one of them learned nothing."""
    source, labels, _ = data
    sides = {name: kind(method, *settings, *data) for name, kind in kinds.items()}
    seconds = in_turn(sides, turns)
    guess = np.log(CLASSES)
    print(f"\n{method}, {turns} turns, load {os.getloadavg()[0]:.1f}")
    for name, side in sides.items():
        wall, processor = np.median(seconds[name], axis=0)
        loss = cross_entropy(side, source[:512], labels[:512])
        print(
            f"  {name:14} {2 * HALF / wall:7,.0f} samples/s, {1000 * wall:5.1f} ms and {1000 * processor:5.1f} ms of "
            f"processor a step; source cross-entropy {loss:.3f}, of a guess {guess:.2f}"
        )
        if not loss < guess / 2:
            sys.exit(f"adaptation_speed: {name} did not learn, so its speed says nothing. Take more turns or steps.")
    for name in sides:
        if name != "ADAPT":
            ratios = seconds["ADAPT"] / seconds[name]
            for unit, column in zip(("samples/s", "processor"), ratios.T, strict=True):
                low, median, high = np.quantile(column, (0.25, 0.5, 0.75))
                print(f"  {name} to ADAPT, {unit}: {median:.2f} times, quartiles {low:.2f} to {high:.2f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--digits", help="folder with mnist/mnist.npz and usps/usps.npz")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS)
    parser.add_argument("--network", choices=NETWORKS, default="lenet")
    parser.add_argument("--bfloat16", action="store_true", help="measure ours in mixed precision, too")
    parser.add_argument("--turns", type=int, default=15)
    parser.add_argument("--steps", type=int, default=60, help="of a turn, a multiple of 10")
    parser.add_argument("--steps-per-execution", type=int, choices=(1, 2, 5, 10), default=1, help="in all of them")
    arguments = parser.parse_args()
    try:
        adapt = metadata.version("adapt")
    except metadata.PackageNotFoundError:
        sys.exit(
            "adaptation_speed: ADAPT is not installed in this environment. Expected adapt 0.4.5. Make the environment "
            "that the first lines of this file describe, and run the file with its Python."
        )
    if arguments.steps % PIPELINE_FILLS or arguments.steps <= PIPELINE_FILLS:
        sys.exit(f"adaptation_speed: --steps must be a multiple of 10 above 10. Received: {arguments.steps}. Take 60.")
    rows = HALF * arguments.steps
    data = load_digits(arguments.digits, rows) if arguments.digits else made_digits(rows)
    kinds = {"tlkit": Ours, "ADAPT": Adapt} | ({"tlkit bfloat16": OursInBfloat16} if arguments.bfloat16 else {})
    print(f"{os.cpu_count()} cores, ADAPT {adapt}, TensorFlow {tf.__version__}, Keras {keras.__version__}")
    print(f"{arguments.network}, {HALF} + {HALF} images, {arguments.steps_per_execution} steps per execution")
    keras.utils.set_random_seed(0)
    for method in arguments.methods:
        compare(method, kinds, (arguments.network, arguments.steps_per_execution), data, arguments.turns)


if __name__ == "__main__":
    main()
