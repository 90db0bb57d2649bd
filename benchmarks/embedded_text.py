"""How much knowledge the embedded text encoder carries: a linear probe on its frozen features.

    python benchmarks/embedded_text.py DATA [--glove SAVED_MODEL] [--teacher FOLDER] [--sets sst2 trec sms_spam]

DATA holds `sst2/train.tsv` and `test.tsv` (text, label), `trec/train_clean.tsv` and `test_clean.tsv` (text, coarse
label, fine label) and `sms_spam/SMSSpamCollection` (label, text; no split of its own, so five seeds of a stratified
80/20 cut, and the mean with its standard deviation over them). Compared: tlkit:mini-text, the same with fresh weights
(`weights="random"`), a SavedModel of strings such as mean GloVe vectors, and the teacher in Hugging Face's format, run
by KerasHub in float32 (mean of the last layer's vectors, 64 WordPieces). On standardised features a logistic
regression is fitted, its strength chosen by threefold cross-validation on the training texts. Printed: accuracy on the
test texts, and texts a second of processor time in the forward pass on 1,000 texts. Set OMP_NUM_THREADS=1 where others
use the machine: threads that wait for each other spend most of it.
"""

import argparse
import pathlib
import sys
import time

import numpy as np
import tensorflow as tf
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import tlkit

STRENGTHS = [1e-3, 1e-2, 1e-1]  # of an L2 penalty on standardised features
SEEDS = range(5)  # of the cuts of a set without one


def read_table(path, text, label):
    rows = [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()]
    return np.array([row[text] for row in rows], object), np.array([row[label] for row in rows])


def read_set(folder, name):
    """Texts, labels, and the cuts: pairs of indices of training and of test texts."""
    if name == "sms_spam":
        texts, labels = read_table(folder / name / "SMSSpamCollection", 1, 0)
        rows = np.arange(len(texts))
        cuts = [train_test_split(rows, test_size=0.2, stratify=labels, random_state=seed) for seed in SEEDS]
        return texts, labels, cuts
    end = "_clean" if name == "trec" else ""
    train, test = (read_table(folder / name / f"{part}{end}.tsv", 0, 1) for part in ("train", "test"))
    texts, labels = (np.concatenate(pair) for pair in zip(train, test, strict=True))
    return texts, labels, [np.split(np.arange(len(texts)), [len(train[0])])]


def batched(call):
    """Texts -> features, 512 at a time."""
    return lambda texts: np.concatenate(
        [np.asarray(call(tf.constant(list(texts[i : i + 512])))) for i in range(0, len(texts), 512)]
    )


def accuracy(features, labels, train, test):
    search = GridSearchCV(
        make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)),
        {"logisticregression__C": STRENGTHS},
        cv=3,
    )
    return search.fit(features[train], labels[train]).score(features[test], labels[test])


def texts_a_second(encode, texts):
    seconds = []
    for _ in range(3):
        start = time.process_time()  # of all threads: what one core would take, however busy the machine is
        encode(texts)
        seconds.append(time.process_time() - start)
    return len(texts) / np.median(seconds)


def encoders(arguments):
    """Name -> function of texts."""
    yield "tlkit:mini-text", batched(tf.function(tlkit.load_backbone("tlkit:mini-text")))
    yield "the same, random", batched(tf.function(tlkit.load_backbone("tlkit:mini-text", weights="random")))
    if arguments.glove:
        yield "glove", batched(tf.function(tlkit.load_backbone(arguments.glove)))
    if arguments.teacher:
        sys.path.append(str(pathlib.Path(__file__).parents[1] / "tools"))
        from mini_text_teacher import Teacher

        yield "teacher", Teacher(arguments.teacher)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=pathlib.Path)
    parser.add_argument("--glove", type=pathlib.Path)
    parser.add_argument("--teacher", type=pathlib.Path)
    parser.add_argument("--sets", nargs="*", default=["sst2", "trec", "sms_spam"])
    arguments = parser.parse_args()
    sets = {data: read_set(arguments.data, data) for data in arguments.sets}
    for name, encode in encoders(arguments):
        for data, (texts, labels, cuts) in sets.items():
            features, speed = encode(texts), texts_a_second(encode, texts[:1000])
            found = [accuracy(features, labels, *cut) for cut in cuts]
            spread = f" ± {np.std(found, ddof=1):.3f} over {len(found)} cuts" if len(found) > 1 else ""
            print(
                f"{name:18} {data:10} accuracy {np.mean(found):.3f}{spread}, {speed:.0f} texts/s on one core",
                flush=True,
            )


if __name__ == "__main__":
    main()
