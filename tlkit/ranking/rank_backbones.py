"""Every backbone frozen, on the same examples: what a linear classifier makes of its features, and what they cost."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import keras
import numpy as np
import scipy.special

from tlkit.backbones import Backbone, load_backbone
from tlkit.backbones.catalog import find
from tlkit.errors import UserError
from tlkit.evaluation import fit_few_shot, leep, log_me
from tlkit.evaluation.classification_metrics import wilson_interval
from tlkit.features import cache_features
from tlkit.ranking.examples import ImageExamples, Part, TextExamples

_USUAL_SIZE = 224
# .../imagenet/mobilenet_v2_100_224/classification/5, .../tensorFlow2/100-224-classification/2: logits of its classes.
_CLASSIFIER = re.compile(r"\bclassification/\d+/?$")
_TIMED = 3  # batches, of which the fastest counts: the others waited for something


class RankedBackbone(NamedTuple):
    """What was found of one backbone.

    Attributes:
        handle: What `load_backbone` takes.
        failure: Why it could not be judged, in a sentence; None where it was, and then the rest are numbers.
        accuracy: Share of validation examples that a logistic regression on its frozen features gets right.
        interval: 95 % Wilson interval of that share.
        in_ten_seconds: The same share by class means alone.
        log_me: LogME of the training examples' features; comparable between backbones only.
        leep: LEEP of the training examples, where the backbone is a classifier whose own classes are its features;
            NaN elsewhere. At most 0.
        milliseconds: Of wall time for an example, forward, in batches of 32 on this machine.
        num_weights: Of the backbone.
        num_features: That it makes of an example.
        image_size: Pixels of width and height that it was given; None for texts.
    """

    handle: str
    failure: str | None = None
    accuracy: float = float("nan")
    interval: tuple[float, float] = (float("nan"), float("nan"))
    in_ten_seconds: float = float("nan")
    log_me: float = float("nan")
    leep: float = float("nan")
    milliseconds: float = float("nan")
    num_weights: int = 0
    num_features: int = 0
    image_size: int | None = None


def rank_backbones(
    handles: Iterable[str],
    examples: ImageExamples | TextExamples,
    *,
    folder: str | os.PathLike[str] | None = None,
    load: Callable[[str], Backbone] = load_backbone,
    say: Callable[[RankedBackbone], None] = lambda ranked: None,
) -> list[RankedBackbone]:
    """Judge backbones by what linear classifiers make of their frozen features. Nothing is fine-tuned.

    Each runs once over the training and validation examples; its features stay on disk (`tlkit.features`), so that a
    second call, or one after an interruption, goes on from there. Test examples are not looked at.

    LEEP needs the head that a backbone was pretrained with. TF-Hub and Kaggle publish networks with it as models of
    their own, with "classification" in their address, beside the "feature_vector" that suits fine-tuning better.

    Args:
        handles: Of backbones for images or texts, as the examples are.
        examples: What to judge on.
        folder: Path of the cache of features. Defaults to None: `tlkit.features.cache_folder()`.
        load: Handle -> backbone, for other options than `load_backbone`'s own.
        say: Called with each that is done.

    Returns:
        The most accurate first; those that could not be judged last.

    Raises:
        UserError: When no handle is given, or the examples cannot be read.

    Example:
        >>> from tlkit.ranking import TextExamples, rank_backbones
        >>> ranked = rank_backbones(["tlkit:mini-text"], TextExamples("messages.csv"), folder="features")
        >>> ranked[0].num_features
        768
    """
    handles = [*dict.fromkeys(handles)]
    if not handles:
        raise UserError("rank_backbones: no handle was given. Expected at least one.")
    found = []
    for handle in handles:
        found.append(_judge(handle, examples, folder, load))
        say(found[-1])
        keras.utils.clear_session(free_memory=True)
    return sorted(found, key=lambda ranked: (ranked.failure is not None, -ranked.accuracy, ranked.milliseconds))


def _judge(handle: str, examples: ImageExamples | TextExamples, folder: Any, load: Callable) -> RankedBackbone:
    try:
        backbone = load(handle)
        kind = "image" if backbone.text is None else "text"
        if kind != examples.kind:
            raise UserError(f"'{handle}' takes {kind}s, the examples are {examples.kind}s.")
        size = _image_size(backbone) if kind == "image" else None
        model = _frozen(backbone, size)
    except UserError as error:  # what is wrong with the examples ends the ranking, with a backbone only its own part
        return RankedBackbone(handle, failure=str(error))
    train, validation = examples.parts(size) if isinstance(examples, ImageExamples) else examples.parts()
    features, judged = (_features(model, part, folder, handle) for part in (train, validation))
    probe = fit_few_shot(features, train.labels, "logistic regression")
    num_right = int((probe.predict(judged) == validation.labels).sum())
    means = fit_few_shot(features, train.labels, "nearest class mean")
    return RankedBackbone(
        handle,
        accuracy=num_right / len(judged),
        interval=wilson_interval(num_right, len(judged)),
        in_ten_seconds=float(means.score(judged, validation.labels)),
        log_me=log_me(features, train.labels),
        leep=leep(_softmax(features), train.labels) if _CLASSIFIER.search(handle) else float("nan"),
        milliseconds=_milliseconds(model, train),
        num_weights=backbone.count_params(),
        num_features=features.shape[1],
        image_size=size,
    )


def _image_size(backbone: Backbone) -> int:
    """The model's own, else the one that its page names, else ImageNet's usual one."""
    entry = find(backbone.handle)
    return backbone.native_shape[0] or (entry.size if entry else None) or _USUAL_SIZE


def _frozen(backbone: Backbone, image_size: int | None) -> keras.Model:
    backbone.trainable = False
    is_text = image_size is None
    inputs = keras.Input((), dtype="string") if is_text else keras.Input((image_size, image_size, 3))
    return keras.Model(inputs, backbone(inputs))


def _features(model: keras.Model, part: Part, folder: Any, handle: str) -> np.ndarray:
    store = cache_features(
        model, part.batches, len(part.labels), fingerprint=part.fingerprint, folder=folder, precision="float32"
    )
    return store.read(range(len(part.labels)))


def _softmax(logits: np.ndarray) -> np.ndarray:
    return scipy.special.softmax(logits.astype(np.float64), axis=1)


def _milliseconds(model: keras.Model, part: Part) -> float:
    batch = next(iter(part.batches))[0]
    model.predict_on_batch(batch)  # traced, and warm
    seconds = []
    for _ in range(_TIMED):
        started = time.perf_counter()
        model.predict_on_batch(batch)
        seconds.append(time.perf_counter() - started)
    return 1000 * min(seconds) / len(batch)
