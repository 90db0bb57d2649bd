"""Photos from the disk to batches of (images in [0, 1], class numbers, or rows of 0 and 1 in multi-label data)."""

import collections
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tensorflow as tf

from tlkit.data import (
    ImageFolder,
    ImageReport,
    UnlabelledImages,
    class_weights,
    decode_image,
    inspect_images,
    load_image_folder,
    load_unlabelled_images,
)
from tlkit.distribution import choose_strategy
from tlkit.domain import check_different_files, pair_domains
from tlkit.errors import UserError

from .config import PROJECT, Config


def load_datasets(config: Config) -> ImageFolder:
    """Training, validation and test batches (test is None where there are no test photos), and the class names."""
    return load_image_folder(
        PROJECT / config.data,
        image_size=config.image_size,
        batch_size=config.batch_size,
        split=config.split,
        seed=config.split_seed,
        on_corrupt=config.on_corrupt,
        group_pattern=config.group_pattern,
    )


def load_target(config: Config, data: ImageFolder) -> UnlabelledImages | None:
    """The photos of the target domain, without labels to learn from; None where the config names none."""
    if not config.target:
        return None
    if data.multi_label:
        raise UserError(
            f"The setting 'target' is '{config.target}', and '{config.data}' is multi-label. Expected one class for "
            "each photo: domain adaptation is not made for others. Take --adaptation none and --target ''."
        )
    target = load_unlabelled_images(
        PROJECT / config.target,
        image_size=config.image_size,
        batch_size=config.batch_size,
        class_names=data.class_names,
        seed=config.split_seed,
        on_corrupt=config.on_corrupt,
    )
    check_different_files(data, [file.path for file in target.files.train + target.files.test])
    return target


def both_domains(
    config: Config, data: ImageFolder, target: UnlabelledImages, class_weight: dict[int, float] | None
) -> Callable:
    """`[seed, epoch]` -> batches of both domains, of as many labelled photos as without adaptation."""
    weights = tf.constant([1.0] * len(data.class_names) if class_weight is None else list(class_weight.values()))
    steps = len(data.train)  # an epoch is one pass over the labelled photos, with and without adaptation

    def epoch(pair: tf.Tensor) -> tf.data.Dataset:
        source = data.train_epoch(pair).map(lambda images, labels: (images, labels, tf.gather(weights, labels)))
        return pair_domains(
            source,
            target.train_epoch(pair),
            global_batch_size=2 * config.batch_size,
            num_replicas=choose_strategy(config.strategy).num_replicas_in_sync,
            steps=steps,
        )

    return epoch


def inspect_data(config: Config) -> ImageReport:
    """What there is to mend or to know about the photos, from a look at every one of them."""
    return inspect_images(
        PROJECT / config.data,
        split=config.split,
        seed=config.split_seed,
        group_pattern=config.group_pattern,
        progress=sys.stderr.isatty(),
    )


def training_class_weights(config: Config, data: ImageFolder) -> dict[int, float] | None:
    """Weights for uneven classes, as far as `class_balance` says; None where all photos count alike."""
    if (
        data.multi_label or config.class_balance == 0
    ):  # a weight belongs to a photo, and a photo has no single class there
        return None
    labels = [file.label for file in data.files.train]
    if len(set(collections.Counter(labels).values())) == 1:
        return None
    return class_weights(labels, len(data.class_names), config.class_balance)


def say_class_weights(class_weight: dict[int, float] | None, class_names: list[str]) -> None:
    """One line on the rarest and the commonest class, where weights make a difference."""
    if class_weight is None:
        return
    rare, common = max(class_weight, key=class_weight.get), min(class_weight, key=class_weight.get)
    if class_weight[rare] > 1.2 * class_weight[common]:  # less is not worth a line
        print(
            f"Uneven classes are weighted: a photo of '{class_names[rare]}' counts {class_weight[rare]:.2f}, "
            f"one of '{class_names[common]}' {class_weight[common]:.2f}."
        )


def read_photos(files: list[Path], image_size: int) -> np.ndarray:
    """Single photos, decoded and resized as for training: `(len(files), image_size, image_size, 3)` in [0, 1]."""
    return np.stack([decode_image(file, image_size) for file in files]).astype("float32") / 255
