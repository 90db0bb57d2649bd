"""How much knowledge image backbones carry: a linear probe on frozen features against random weights.

    python benchmarks/embedded_backbone.py DATA [--backbones HANDLE[@SIZE] …] [--seeds 5] [--card FILE]

The sets are those of photo_sets.py, from DATA: ants and bees, blood cells, digits, textures. On each a logistic
regression is fitted on standardised frozen features, its strength chosen by cross-validation among the training
photos, and scored on the others. For each seed nine tenths of the training photos are drawn, and the weights of
`weights="random"`, their BatchNorm statistics settled, drawn anew; both networks see the same photos. Printed: accuracy
with its standard deviation over the seeds, the gain with a 95 % interval from 2,000 paired resamplings of the test
photos (bootstrap, Efron 1979), the share of the last backbone's gain, and photos a second of one core's time.
`--card` writes the table into a model card, between its marks.
"""

import argparse
import os
import pathlib
import re
import tempfile
import time

# One thread, set before TensorFlow starts: the time of a core is what is meant, and waiting threads spend it, too.
os.environ |= {"OMP_NUM_THREADS": "1", "TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1"}
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import tensorflow as tf
from photo_sets import photo_sets
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import tlkit
from tlkit.backbones.graph import ProgramGraph
from tlkit.backbones.initial import random_values, settle_batch_norm
from tlkit.data import load_image_folder

STRENGTHS = [1e-3, 1e-2, 1e-1, 1.0]  # of an L2 penalty on standardised features
DRAWN = 0.9  # of the training photos, for each seed
BEGIN, END = "<!-- probes -->", "<!-- end of probes -->"


def load(handle):
    handle, _, size = handle.partition("@")
    return tlkit.load_backbone(handle, image_size=int(size) if size else None)


def features(backbone, dataset):
    call = tf.function(backbone)
    found = [(call(images).numpy(), labels.numpy()) for images, labels in dataset]
    return [np.concatenate(arrays) for arrays in zip(*found, strict=True)]


def randomise(backbone, seed):
    program, shape = backbone.program, (None, *backbone.native_shape)
    values = settle_batch_norm(ProgramGraph(program, shape), random_values(program, seed), shape, seed)
    by_name = {p.name.replace("/", "."): value for p, value in zip(program.parameters, values, strict=True)}
    for weight in backbone.weights:
        weight.assign(by_name[weight.name])


def probe(train, test, seed):
    """Whether each test photo was classified rightly."""
    x, _, y, _ = train_test_split(*train, train_size=DRAWN, stratify=train[1], random_state=seed)
    classifier = GridSearchCV(
        make_pipeline(StandardScaler(), LogisticRegression(max_iter=5000)), {"logisticregression__C": STRENGTHS}, cv=3
    )
    return classifier.fit(x, y).predict(test[0]) == test[1]


def measure(handle, folder, seeds):
    """Two arrays (seeds, test photos), whether each was classified rightly: with pretrained and with random weights."""
    backbone = load(handle)
    size = backbone.native_shape[0] or int(handle.partition("@")[2])
    data = load_image_folder(folder, image_size=size, batch_size=32, seed=0)
    train, test = (features(backbone, part) for part in (data.train_in_order, data.validation))
    pretrained = [probe(train, test, seed) for seed in range(seeds)]
    random = []
    for seed in range(seeds):
        randomise(backbone, seed)
        parts = [features(backbone, part) for part in (data.train_in_order, data.validation)]
        random.append(probe(*parts, seed))
    return np.array(pretrained), np.array(random)


def interval(gains):
    rng = np.random.default_rng(0)
    means = [gains[rng.integers(0, len(gains), len(gains))].mean() for _ in range(2000)]
    return np.percentile(means, [2.5, 97.5])


def photos_a_second(handle):
    """Of one core's time, forward, in batches of 32, the best of five."""
    backbone = load(handle)
    images = tf.random.uniform((32, *backbone.native_shape))
    call = tf.function(backbone)
    call(images)
    seconds = []
    for _ in range(5):
        started = time.process_time()
        call(images)
        seconds.append(time.process_time() - started)
    return 32 / min(seconds)


def spread(rights):
    accuracies = rights.mean(1)
    return f"{accuracies.mean():.3f} ± {accuracies.std(ddof=1):.3f}"


def short(handle):
    path, at, size = handle.partition("@")
    place = pathlib.Path(path)
    return (place.parent.name if place.name == "saved_model" else place.name) + at + size


def table(handles, sets, seeds):
    """The lines of a table in Markdown, printed as they come."""
    lines = ["| photos | backbone | pretrained | random weights | gain | of the last one's gain |", "|---" * 6 + "|"]
    print(*lines, sep="\n")
    for name, folder in sets.items():
        found = {handle: measure(handle, folder, seeds) for handle in handles}
        gains = {handle: pretrained.mean(0) - random.mean(0) for handle, (pretrained, random) in found.items()}
        for handle, (pretrained, random) in found.items():
            own, low, high = gains[handle].mean(), *interval(gains[handle])
            cells = [name, short(handle), spread(pretrained), spread(random), f"{own:+.3f} ({low:+.3f} to {high:+.3f})"]
            lines.append(f"| {' | '.join(cells)} | {own / gains[handles[-1]].mean():.0%} |")
            print(lines[-1], flush=True)
    speeds = [f"{short(handle)} {photos_a_second(handle):.0f}" for handle in handles]
    lines += ["", f"Photos a second of one core, forward, each at its own size: {', '.join(speeds)}."]
    print(*lines[-2:], sep="\n")
    return lines


def write_card(file, lines):
    text = file.read_text(encoding="utf-8")
    between = f"{BEGIN}\n" + "\n".join(lines) + f"\n{END}"
    file.write_text(re.sub(f"{BEGIN}.*?{END}", lambda _: between, text, flags=re.S), encoding="utf-8")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=pathlib.Path)
    parser.add_argument("--backbones", nargs="+", default=["tlkit:mini-image"], metavar="HANDLE[@SIZE]")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--card", type=pathlib.Path)
    arguments = parser.parse_args()
    keras.utils.set_random_seed(0)
    with tempfile.TemporaryDirectory() as temporary:
        lines = table(arguments.backbones, photo_sets(arguments.data, pathlib.Path(temporary)), arguments.seeds)
    if arguments.card:
        write_card(arguments.card, lines)


if __name__ == "__main__":
    main()
