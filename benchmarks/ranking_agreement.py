"""Whether a ranking without training agrees with real fine-tuning: five and more backbones on four data sets.

    python benchmarks/ranking_agreement.py DATA --backbones HANDLE[@SIZE] … --results FILE [--seeds 2] [--table-only]

The sets are those of photo_sets.py, from DATA: ants and bees, blood cells, digits, textures. A backbone is scored by
`rank_backbones` (the linear probe, class means, LogME), and fine-tuned on the same photos: eight epochs, stages opened
one after the other, layer-wise rates, a slanted triangular rate of 3.2e-3 (the best method of finetuning.py), judged
once after the last step. Printed for each set: scores and accuracies, Kendall's tau-b of each score with the fine-tuned
accuracy (1: the same order, 0: none, -1: reversed), and what it costs to take the backbone that the score puts first.
Every finished part is a line of FILE: the same command goes on after an interruption.
"""

import argparse
import collections
import json
import os
import pathlib
import tempfile

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
from photo_sets import photo_sets
from scipy.stats import kendalltau

from tlkit import load_backbone
from tlkit.callbacks import ProgressiveUnfreezing
from tlkit.data import epochs, load_image_folder
from tlkit.finetune import LayerwiseLearningRates, SlantedTriangular, prepare_unfreezing
from tlkit.ranking import ImageExamples, rank_backbones

BATCH_SIZE = 16
EPOCHS = 8  # the head alone, then a stage an epoch
RATE = 3.2e-3
SCORES = {"accuracy": "probe", "in_ten_seconds": "class means", "log_me": "LogME", "num_weights": "number of weights"}


# Scores and trainings -----------------------------------------------------------------------------


def load(handle, **options):
    """A backbone by its handle, at the size that stands after an @."""
    handle, _, size = handle.partition("@")
    return load_backbone(handle, image_size=int(size) if size else None, **options)


def score(handle, folder):
    (found,) = rank_backbones([handle], ImageExamples(folder), load=load)
    if found.failure:
        raise SystemExit(found.failure)
    return {name: getattr(found, name) for name in (*SCORES, "milliseconds")}


def fine_tune(handle, folder, seed):
    keras.utils.clear_session(free_memory=True)
    keras.utils.set_random_seed(seed)
    backbone = load(handle, name="backbone")
    size = backbone.native_shape[0] or int(handle.partition("@")[2])
    data = load_image_folder(folder, image_size=size, batch_size=BATCH_SIZE, seed=seed)
    images = keras.Input((size, size, 3))
    head = keras.layers.Dense(len(data.class_names), activation="softmax", name="head")
    model = keras.Model(images, head(backbone(images)))
    steps = len(data.train)
    optimizer = LayerwiseLearningRates(keras.optimizers.Adam(SlantedTriangular(RATE, steps * EPOCHS)), model)
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    prepare_unfreezing(model)
    batches, opening = epochs(data.train_epoch, seed=seed), ProgressiveUnfreezing(1, verbose=0)
    model.fit(batches, steps_per_epoch=steps, epochs=EPOCHS, callbacks=[opening], shuffle=False, verbose=0)
    return {"fine_tuned": float(model.evaluate(data.validation, verbose=0, return_dict=True)["accuracy"])}


# Results ------------------------------------------------------------------------------------------


def print_tables(lines, backbones):
    sets = [*dict.fromkeys(line["data"] for line in lines)]
    agreements = {}
    for name in sets:
        own = [line for line in lines if line["data"] == name]
        scores = {line["backbone"]: line for line in own if "accuracy" in line}
        runs = collections.defaultdict(list)
        for line in own:
            if "fine_tuned" in line:
                runs[line["backbone"]].append(line["fine_tuned"])
        known = [backbone for backbone in backbones if backbone in scores and runs[backbone]]
        print(f"\n{name}\n\n| backbone | {' | '.join(SCORES.values())} | fine-tuned |")
        print("|---" * (len(SCORES) + 2) + "|")
        tuned = np.array([np.mean(runs[backbone]) for backbone in known])
        for place in np.argsort(-tuned):
            backbone = known[place]
            cells = [f"{scores[backbone][key]:{',' if key == 'num_weights' else '.3f'}}" for key in SCORES]
            seeds = ", ".join(f"{value:.3f}" for value in runs[backbone])
            print(f"| {backbone} | {' | '.join(cells)} | {tuned[place]:.3f} ({seeds}) |")
        for key in SCORES:
            values = np.array([scores[backbone][key] for backbone in known])
            agreements[key, name] = kendalltau(values, tuned).statistic, tuned.max() - tuned[values.argmax()]
    print(f"\n| score | {' | '.join(sets)} | mean |\n|---{'|---' * len(sets)}|---|")
    for key, title in SCORES.items():
        own = [agreements[key, name] for name in sets]
        cells = [f"{tau:+.2f}, costs {100 * lost:.1f}" for tau, lost in own]
        print(f"| {title} | {' | '.join(cells)} | {np.mean([tau for tau, _ in own]):+.2f} |")


def short(handle):
    """The last name of a folder, or the folder that a SavedModel lies in."""
    path, at, size = handle.partition("@")
    place = pathlib.Path(path)
    return (place.parent.name if place.name == "saved_model" else place.name) + at + size


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=pathlib.Path)
    parser.add_argument("--backbones", nargs="+", required=True, metavar="HANDLE[@SIZE]")
    parser.add_argument("--results", type=pathlib.Path, required=True)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--table-only", action="store_true")
    arguments = parser.parse_args()
    lines = []
    if arguments.results.exists():
        lines = [json.loads(line) for line in arguments.results.read_text(encoding="utf-8").splitlines()]
    done = {(line["data"], line["backbone"], line["seed"]) for line in lines}
    with tempfile.TemporaryDirectory() as temporary:
        sets = {} if arguments.table_only else photo_sets(arguments.data, pathlib.Path(temporary))
        for seed in (None, *range(arguments.seeds)):
            for name, folder in sets.items():
                for backbone in arguments.backbones:
                    if (name, short(backbone), seed) in done:
                        continue
                    found = score(backbone, folder) if seed is None else fine_tune(backbone, folder, seed)
                    lines.append({"data": name, "backbone": short(backbone), "seed": seed, **found})
                    print(lines[-1], flush=True)
                    with arguments.results.open("a", encoding="utf-8") as file:
                        print(json.dumps(lines[-1]), file=file)
    print_tables(lines, [short(backbone) for backbone in arguments.backbones])


if __name__ == "__main__":
    main()
