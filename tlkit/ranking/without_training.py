"""What there is before any training: the first row of a comparison, and what training must beat."""

from __future__ import annotations

import time
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf
from sklearn.metrics import balanced_accuracy_score

from tlkit.errors import UserError
from tlkit.evaluation import fit_few_shot
from tlkit.evaluation.classification_metrics import wilson_interval


class WithoutTraining(NamedTuple):
    """What a frozen backbone gives with a head that needs no training loop.

    Attributes:
        head: Which one, a name of `tlkit.evaluation.fit_few_shot`.
        num_train: Examples that it was fitted on.
        num_examples: Examples that it was judged on.
        accuracy: Share of those that it gets right.
        accuracy_interval: 95 % Wilson interval of that share.
        balanced_accuracy: Mean over the classes of the share of each that it gets right.
        seconds: That all of it took.
    """

    head: str
    num_train: int
    num_examples: int
    accuracy: float
    accuracy_interval: tuple[float, float]
    balanced_accuracy: float
    seconds: float


def without_training(
    encoder: keras.Model,
    train: tf.data.Dataset,
    test: tf.data.Dataset,
    *,
    head: str = "ridge",
    most: int = 2000,
) -> WithoutTraining:
    """Fit a head on the features of some training examples, and judge it: seconds instead of a training.

    Args:
        encoder: Inputs -> features `(batch, features)`: a frozen backbone with its input.
        train: Finite data set of `(inputs, class numbers)` batches in random order; so many are read as are needed.
        test: The same, of the examples to judge on; all are read.
        head: A name of `tlkit.evaluation.fit_few_shot`.
        most: How many training examples are taken at most. 2,000 keep it short: a ridge head on 1,280 features takes
            about three seconds on one core.

    Raises:
        UserError: When an argument is not usable, or the training examples taken are of one class.

    Example:
        >>> backbone = tlkit.load_backbone("tlkit:mini-image")
        >>> inputs = keras.Input((128, 128, 3))
        >>> batch = (np.random.default_rng(0).random((8, 128, 128, 3), "float32"), np.arange(8) % 2)
        >>> data = tf.data.Dataset.from_tensors(batch)
        >>> without_training(keras.Model(inputs, backbone(inputs)), data, data).num_train
        8
    """
    if not isinstance(most, int) or most < 2:
        raise UserError(f"without_training: `most` is too small. Expected at least 2. Received: most={most!r}.")
    started = time.perf_counter()
    features, labels = _features(encoder, train, most)
    classifier = fit_few_shot(features, labels, head)
    judged, truth = _features(encoder, test, None)
    predicted = classifier.predict(judged)
    num_right = int((predicted == truth).sum())
    return WithoutTraining(
        head,
        len(labels),
        len(truth),
        num_right / len(truth),
        wilson_interval(num_right, len(truth)),
        float(balanced_accuracy_score(truth, predicted)),
        time.perf_counter() - started,
    )


def _features(encoder: keras.Model, data: tf.data.Dataset, most: int | None) -> tuple[np.ndarray, np.ndarray]:
    features, labels, number = [], [], 0
    for batch, truth in data:
        features.append(np.asarray(encoder.predict_on_batch(batch)))
        labels.append(np.asarray(truth))
        number += len(labels[-1])
        if most is not None and number >= most:
            break
    if not features:
        raise UserError("without_training: a data set is empty. Expected `(inputs, class numbers)` batches.")
    return np.concatenate(features)[:most], np.concatenate(labels)[:most]
