"""Which way of fine-tuning a pretrained image network is worth its time: four methods, five seeds, three sizes of data.

    python benchmarks/finetuning.py SAVED_MODEL PHOTOS --results FILE [--seeds 5] [--table-only]

SAVED_MODEL is the folder of an image backbone, PHOTOS a folder with train/ and val/. Each run trains on some photos of
train/ for a fixed number of epochs and is judged once, after the last step, on all of val/: no epoch is chosen, so val/
is a test set. The runs of a seed share the labelled photos, the first weights of the head, the order of the photos and
their random mirroring. Each method has the learning rate that is best for it on a seed of its own, trained on 30 photos
a class and judged on the rest of train/: of three rates, and of more while the best is at an edge. Every finished run
is a line of FILE: run the same command again after an interruption, and it goes on.
"""

import argparse
import csv
import dataclasses
import gc
import json
import os
import pathlib
import statistics
import tempfile
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np

from tlkit import load_backbone
from tlkit.callbacks import ProgressiveUnfreezing
from tlkit.data import epochs, load_image_folder, split_image_folder
from tlkit.finetune import LayerwiseLearningRates, SlantedTriangular, prepare_unfreezing

BATCH_SIZE = 16
EPOCHS = {10: 24, 30: 16, None: 8}  # by labelled photos a class, None being all: multiples of PHASES
PHASES = 8  # gradually: a stage opens after every eighth of the training, so five are open for the last three eighths
SEARCH_SIZE, SEARCH_SEED = 30, 1000
STEP_OF_RATES = 10**0.5
MOST_RATES = 6


@dataclasses.dataclass(frozen=True)
class Method:
    """A way to fine-tune.

    Attributes:
        name: What the table calls it.
        opens: When the backbone trains: "never", "at once" or "gradually".
        middle_rate: The middle of the three rates that the search begins with; None takes the rate of `progressive`.
        layer_wise: Whether rates fall toward the input, and the rate rises and falls as a slanted triangle.
        warm_up: Whether the rate rises for an epoch after each opening.
        sizes: Labelled photos a class that it is run on.
    """

    name: str
    opens: str
    middle_rate: float | None
    layer_wise: bool = False
    warm_up: bool = False
    sizes: tuple[int | None, ...] = tuple(EPOCHS)


AT_ONCE, GRADUAL = "everything at one rate", "progressive"
METHODS = [
    Method("last layer only", "never", 3.2e-3),
    Method(AT_ONCE, "at once", 3.2e-4),
    Method(GRADUAL, "gradually", 3.2e-4),
    Method("progressive, warm-up of one epoch", "gradually", None, warm_up=True, sizes=(SEARCH_SIZE,)),
    Method("progressive, layer-wise, slanted triangular", "gradually", 3.2e-3, layer_wise=True),
]


# Data ---------------------------------------------------------------------------------------------


def choose_labelled(files, per_class, seed):
    """The labelled photos of a seed, and the rest; all of them when `per_class` is None."""
    if per_class is None:
        return files, []
    random = np.random.default_rng(seed)
    labels = np.array([file.label for file in files])
    chosen = [random.choice(np.flatnonzero(labels == label), per_class, replace=False) for label in np.unique(labels)]
    chosen = set(np.concatenate(chosen).tolist())
    return [f for i, f in enumerate(files) if i in chosen], [f for i, f in enumerate(files) if i not in chosen]


def load_photos(train, test, class_names, image_size, seed):
    """Data sets of these files, by a table as a user would write it; read once, so that no method pays for it."""
    with tempfile.TemporaryDirectory() as folder:
        table = pathlib.Path(folder) / "photos.csv"
        with table.open("w", encoding="utf-8", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(["file", "label", "split"])
            for part, files in {"train": train, "val": test}.items():
                rows.writerows([photo.path.absolute(), class_names[photo.label], part] for photo in files)
        data = load_image_folder(table, image_size=image_size, batch_size=BATCH_SIZE, seed=seed)
    for dataset in (data.train, data.validation):
        for _ in dataset:
            pass
    return data


# Training -----------------------------------------------------------------------------------------


def build_model(saved_model, image_size, num_classes):
    images = keras.Input((image_size, image_size, 3))
    backbone = load_backbone(saved_model, image_size=image_size, name="backbone")
    features = backbone(keras.layers.RandomFlip("horizontal")(images))
    return keras.Model(images, keras.layers.Dense(num_classes, activation="softmax", name="head")(features))


def train(method, rate, data, num_epochs, arguments, seed):
    """One run: what it cost, and how good it is after its last step."""
    keras.backend.clear_session()
    gc.collect()  # models hold on to themselves: a hundred of them fill the memory
    keras.utils.set_random_seed(seed)
    model = build_model(arguments.saved_model, arguments.image_size, len(data.class_names))
    if method.opens == "at once":
        model.get_layer("backbone").unfreeze()
    steps = len(data.train)
    optimizer = keras.optimizers.Adam(SlantedTriangular(rate, steps * num_epochs) if method.layer_wise else rate)
    if method.layer_wise:
        optimizer = LayerwiseLearningRates(optimizer, model)
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    callbacks = []
    if method.opens == "gradually":
        prepare_unfreezing(model)
        warmup_steps = steps if method.warm_up else 0
        callbacks.append(ProgressiveUnfreezing(num_epochs // PHASES, warmup_steps=warmup_steps, verbose=0))
    begun, begun_busy = time.perf_counter(), time.process_time()
    model.fit(
        epochs(data.train_epoch, seed=seed),
        steps_per_epoch=steps,
        epochs=num_epochs,
        callbacks=callbacks,
        shuffle=False,
        verbose=0,
    )
    cost = {"cpu_seconds": time.process_time() - begun_busy, "seconds": time.perf_counter() - begun}
    loss, accuracy = model.evaluate(data.validation, verbose=0)
    cost = {key: round(value, 1) for key, value in cost.items()}
    return {"accuracy": accuracy, "loss": loss, "steps": int(optimizer.iterations.numpy()), **cost}


class Runs:
    """The finished runs, in a file to which each is added; what is in it is not run again."""

    def __init__(self, arguments):
        self.arguments = arguments
        self.file = arguments.results
        lines = self.file.read_text(encoding="utf-8").splitlines() if self.file.exists() else []
        self.finished = [json.loads(line) for line in lines]
        self._loaded = (None, None)

    def find(self, method, rate, per_class, seed):
        wanted = {"method": method.name, "rate": rate, "photos_a_class": per_class, "seed": seed}
        wanted["epochs"] = EPOCHS[per_class]
        found = [run for run in self.finished if wanted.items() <= run.items()]
        return (found[0] if found else None), wanted

    def run(self, method, rate, per_class, seed):
        """The run of these settings, from the file or now."""
        found, settings = self.find(method, rate, per_class, seed)
        if found is None:
            result = train(method, rate, self._data(per_class, seed), EPOCHS[per_class], self.arguments, seed)
            found = {**settings, **result}
            self.finished.append(found)
            with self.file.open("a", encoding="utf-8") as file:
                file.write(json.dumps(found) + "\n")
            print(json.dumps(found), flush=True)
        return found

    def _data(self, per_class, seed):
        if self._loaded[0] != (per_class, seed):
            files = split_image_folder(self.arguments.photos, seed=seed)
            labelled, rest = choose_labelled(files.train, per_class, seed)
            test = rest if seed == SEARCH_SEED else files.validation
            data = load_photos(labelled, test, files.class_names, self.arguments.image_size, seed)
            self._loaded = ((per_class, seed), data)
        return self._loaded[1]


def choose_rate(method, runs):
    """The rate with the best accuracy on the seed of the search, among equals the one with the lowest loss."""
    rates = [method.middle_rate / STEP_OF_RATES, method.middle_rate, method.middle_rate * STEP_OF_RATES]
    while True:
        rates = [float(f"{rate:.2g}") for rate in rates]
        results = {rate: runs.run(method, rate, SEARCH_SIZE, SEARCH_SEED) for rate in rates}
        best = max(rates, key=lambda rate: (results[rate]["accuracy"], -results[rate]["loss"]))
        if len(rates) == MOST_RATES or best not in (rates[0], rates[-1]):
            return best
        rates = [best / STEP_OF_RATES, *rates] if best == rates[0] else [*rates, best * STEP_OF_RATES]


# The table ----------------------------------------------------------------------------------------


def spread(values, digits, sign=""):
    """Mean and standard deviation over the seeds."""
    deviation = f" ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):{sign}.{digits}f}{deviation}"


def print_table(runs):
    """Markdown; of each size the seeds for which every method is finished."""
    print("| labelled photos | method | rate | accuracy, % | against all at one rate | CPU seconds | steps |")
    print("|---|---|---|---|---|---|---|")
    finished = [run for run in runs if run["seed"] != SEARCH_SEED]
    for per_class, num_epochs in EPOCHS.items():
        of_size = [r for r in finished if (r["photos_a_class"], r["epochs"]) == (per_class, num_epochs)]
        by_method = {
            method.name: {run["seed"]: run for run in of_size if run["method"] == method.name}
            for method in METHODS
            if per_class in method.sizes
        }
        seeds = sorted(set.intersection(*(set(by_seed) for by_seed in by_method.values())))
        of_seeds = f"{len(seeds)} seed{'s' if len(seeds) != 1 else ''}"
        size = f"{'all' if per_class is None else f'{per_class} a class'}, {of_seeds}"
        for name, by_seed in by_method.items() if seeds else ():
            chosen, reference = [by_seed[seed] for seed in seeds], [by_method[AT_ONCE][seed] for seed in seeds]
            differences = [
                100 * (run["accuracy"] - own["accuracy"]) for run, own in zip(chosen, reference, strict=True)
            ]
            accuracy = spread([100 * run["accuracy"] for run in chosen], 1)
            against = "" if name == AT_ONCE else spread(differences, 1, "+")
            seconds = spread([run["cpu_seconds"] for run in chosen], 0)
            rate, steps = chosen[0]["rate"], chosen[0]["steps"]
            print(f"| {size} | {name} | {rate:.2g} | {accuracy} | {against} | {seconds} | {steps} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("saved_model", type=pathlib.Path)
    parser.add_argument("photos", type=pathlib.Path)
    parser.add_argument("--results", type=pathlib.Path, required=True, help="a line of JSON for each finished run")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--image-size", type=int, default=224, help="pixels")
    parser.add_argument("--table-only", action="store_true", help="print what is finished and train nothing")
    arguments = parser.parse_args()
    runs = Runs(arguments)
    if not arguments.table_only:
        rates = {method.name: choose_rate(method, runs) for method in METHODS if method.middle_rate is not None}
        # Seeds outermost: what is finished at any time is a fair comparison.
        for seed in range(arguments.seeds):
            for per_class in EPOCHS:
                for method in METHODS:
                    if per_class in method.sizes:
                        runs.run(method, rates.get(method.name, rates[GRADUAL]), per_class, seed)
    print_table(runs.finished)


if __name__ == "__main__":
    main()
