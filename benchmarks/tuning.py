"""What a search over settings of the head costs: ours, and KerasTuner as its guide shows it, with the same trials.

    python benchmarks/tuning.py SAVED_MODEL PHOTOS [--trials 20] [--epochs 10] [--repeats 1] [--image-size 224]

SAVED_MODEL is the folder of an image backbone, PHOTOS a folder with train/ and val/. Both ways try every combination of
a grid (or the first of them, with fewer trials) of learning rate, width of a hidden layer and dropout, on the frozen
backbone, judge by the validation photos after each epoch, and keep the best models:

    plain       `keras_tuner.GridSearch` on a `build_model(hp)` that holds the backbone
                (https://keras.io/keras_tuner/getting_started)
    ours        `tlkit.tuning.tune` with `fit_on_features` and an empty cache

Each runs in a process of its own, with the photos decoded in memory before the clock starts. Processor time is that of
the process with all its threads; peak memory is that of the whole process, disk what the search leaves, features
included.
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

from frozen_phase import SEED, as_batches, load_photos

WAYS = ("plain", "ours")


def search_space(hp):
    """20 combinations."""
    return {
        "learning_rate": hp.Choice("learning_rate", [1e-3, 1e-4, 3e-4, 3e-3, 1e-2]),
        "units": hp.Choice("units", [0, 64]),
        "dropout": hp.Choice("dropout", [0.2, 0.5]),
    }


def build_model(settings, num_classes, arguments):
    """The frozen backbone and a head."""
    import keras

    import tlkit

    keras.utils.set_random_seed(SEED)
    inputs = keras.Input((arguments.image_size, arguments.image_size, 3))
    x = tlkit.load_backbone(arguments.saved_model, image_size=arguments.image_size, name="backbone")(inputs)
    if settings["units"]:
        x = keras.layers.Dense(settings["units"], activation="relu")(x)
    x = keras.layers.Dropout(settings["dropout"])(x)
    model = keras.Model(inputs, keras.layers.Dense(num_classes, activation="softmax")(x))
    model.compile(
        keras.optimizers.Adam(settings["learning_rate"]), "sparse_categorical_crossentropy", metrics=["accuracy"]
    )
    return model


def search_plainly(photos, validation, num_classes, arguments, folder):
    """KerasTuner's own search; returns the score of each trial."""
    import keras_tuner

    tuner = keras_tuner.GridSearch(
        lambda hp: build_model(search_space(hp), num_classes, arguments),
        objective="val_accuracy",
        max_trials=arguments.trials,
        directory=folder,
        project_name="plain",
    )
    data = {"x": as_batches(*photos, shuffle=True), "validation_data": as_batches(*validation)}
    tuner.search(**data, epochs=arguments.epochs, shuffle=False, verbose=0)
    return [trial.score for trial in tuner.oracle.trials.values()]


def search_ours(photos, validation, num_classes, arguments, folder):
    """tlkit's search; returns the score of each trial."""
    import keras

    from tlkit.features import fit_on_features
    from tlkit.tuning import tune

    train_rows, validation_rows = as_batches(*photos), as_batches(*validation)

    def run(settings, trial_folder):
        trial_folder.mkdir(parents=True, exist_ok=True)
        model = build_model(settings, num_classes, arguments)
        best = keras.callbacks.ModelCheckpoint(trial_folder / "m.keras", "val_accuracy", save_best_only=True)
        history = fit_on_features(
            model,
            train_rows,
            validation_rows,
            epochs=arguments.epochs,
            seed=SEED,
            fingerprint=str(arguments.photos),
            labels=(photos[1], validation[1]),
            folder=folder / "features",
            callbacks=[best],
            verbose=0,
        )
        return {"val_accuracy": max(history.history["val_accuracy"])}

    options = {"objective": "val_accuracy", "algorithm": "grid", "seed": SEED}
    return [t.score for t in tune(run, search_space, num_trials=arguments.trials, folder=folder / "ours", **options)]


def search(way, arguments):
    """One search: what it cost and what it found."""
    photos, validation, num_classes = load_photos(arguments.photos, arguments.image_size)
    wall, busy = time.perf_counter(), time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        scores = (search_plainly if way == "plain" else search_ours)(photos, validation, num_classes, arguments, folder)
        disk = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    return {
        "way": way,
        "cpu_seconds": time.process_time() - busy,
        "seconds": time.perf_counter() - wall,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000,  # Linux counts in kB
        "disk_mb": disk / 1e6,
        "trials": len(scores),
        "mean_score": statistics.mean(scores),
        "best_score": max(scores),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("saved_model")
    parser.add_argument("photos", type=pathlib.Path)
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--ways", nargs="*", choices=WAYS, default=WAYS)
    parser.add_argument("--one", choices=WAYS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(search(arguments.one, arguments)))
        return
    ratios = []
    for repeat in range(arguments.repeats):
        took = {}
        for way in arguments.ways:
            command = [sys.executable, __file__, *sys.argv[1:], "--one", way]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            found = json.loads(done.stdout.splitlines()[-1])
            took[way] = found["cpu_seconds"]
            print(f"repeat {repeat + 1}: {json.dumps(found)}", flush=True)
        if len(took) == len(WAYS):
            ratios.append(took["plain"] / took["ours"])
    if ratios:
        spread = f" ({min(ratios):.1f} to {max(ratios):.1f})" if len(ratios) > 1 else ""
        print(f"plain over ours, processor time: {statistics.median(ratios):.1f}{spread}")


if __name__ == "__main__":
    main()
