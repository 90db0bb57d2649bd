"""How much knowledge the embedded text encoder carries: a linear probe on its frozen features.

    python benchmarks/embedded_text.py DATA [--glove SAVED_MODEL] [--teacher FOLDER] [--sets sst2 trec sms_spam]

DATA holds `sst2/train.tsv` and `test.tsv` (text, label), `trec/train_clean.tsv` and `test_clean.tsv` (text, coarse
label, fine label) and `sms_spam/SMSSpamCollection` (label, text; no split of its own, so five seeds of a stratified
80/20 cut, and the mean with its standard deviation over them). Compared: tlkit:mini-text, the same with fresh weights
(`weights="random"`), a SavedModel of strings such as mean GloVe vectors, and the teacher in Hugging Face's format, run
by KerasHub in float32 (mean of the last layer's vectors, 64 WordPieces). On standardised features a logistic
regression is fitted, its strength chosen by threefold cross-validation on the training texts. Printed: accuracy on the
test texts, and texts a second of the forward pass on the test texts of SST-2, on one core.
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


def read_cuts(folder, name):
    """Pairs of training and test part, each of texts and labels."""
    if name == "sms_spam":
        texts, labels = read_table(folder / name / "SMSSpamCollection", 1, 0)
        for seed in SEEDS:
            train, test = train_test_split(np.arange(len(texts)), test_size=0.2, stratify=labels, random_state=seed)
            yield (texts[train], labels[train]), (texts[test], labels[test])
    else:
        end = "_clean" if name == "trec" else ""
        yield tuple(read_table(folder / name / f"{part}{end}.tsv", 0, 1) for part in ("train", "test"))


def batched(call):
    """Texts -> features, 512 at a time."""
    return lambda texts: np.concatenate(
        [np.asarray(call(tf.constant(list(texts[i : i + 512])))) for i in range(0, len(texts), 512)]
    )


def accuracy(features, train, test):
    search = GridSearchCV(
        make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)),
        {"logisticregression__C": STRENGTHS},
        cv=3,
    )
    return search.fit(features(train[0]), train[1]).score(features(test[0]), test[1])


def texts_a_second(features, texts):
    features(texts)
    seconds = []
    for _ in range(5):
        start = time.process_time()  # of all threads: what one core would take, however busy the machine is
        features(texts)
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
    speed_texts = next(read_cuts(arguments.data, "sst2"))[1][0]
    for name, features in encoders(arguments):
        print(f"{name:18} {texts_a_second(features, speed_texts):8.0f} texts/s on one core", flush=True)
        for data in arguments.sets:
            found = [accuracy(features, *cut) for cut in read_cuts(arguments.data, data)]
            spread = f" ± {np.std(found, ddof=1):.3f} over {len(found)} cuts" if len(found) > 1 else ""
            print(f"{name:18} {data:10} accuracy {np.mean(found):.3f}{spread}", flush=True)


if __name__ == "__main__":
    main()
