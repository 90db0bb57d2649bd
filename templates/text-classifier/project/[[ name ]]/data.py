"""Texts from the disk to batches of (strings, class numbers)."""

import collections
import sys
from collections.abc import Callable

import keras
import tensorflow as tf

from tlkit.data import (
    TextReport,
    TextTable,
    UnlabelledTexts,
    class_weights,
    inspect_texts,
    load_texts,
    load_unlabelled_texts,
)
from tlkit.distribution import choose_strategy
from tlkit.domain import check_different_texts, pair_domains
from tlkit.errors import UserError

from .config import PROJECT, Config


def load_datasets(config: Config) -> TextTable:
    """Training, validation and test batches (test is None where there are no test texts), and the class names."""
    return load_texts(
        PROJECT / config.data,
        batch_size=config.batch_size,
        text_column=config.text_column,
        label_column=config.label_column,
        split=config.split,
        seed=config.split_seed,
        on_bad=config.on_bad,
    )


def load_target(config: Config, data: TextTable) -> UnlabelledTexts | None:
    """The texts of the target domain, without labels to learn from; None where the config names none."""
    if not config.target:
        return None
    target = load_unlabelled_texts(
        PROJECT / config.target,
        batch_size=config.batch_size,
        text_column=config.text_column,
        label_column=config.label_column,
        class_names=data.class_names,
        seed=config.split_seed,
        on_bad=config.on_bad,
    )
    check_different_texts(data.rows, target.rows)
    return target


def both_domains(
    config: Config, data: TextTable, target: UnlabelledTexts, class_weight: dict[int, float] | None
) -> Callable:
    """`[seed, epoch]` -> batches of both domains, of as many labelled texts as without adaptation."""
    weights = tf.constant([1.0] * len(data.class_names) if class_weight is None else list(class_weight.values()))
    steps = len(data.train)  # an epoch is one pass over the labelled texts, with and without adaptation

    def epoch(pair: tf.Tensor) -> tf.data.Dataset:
        source = data.train_epoch(pair).map(lambda texts, labels: (texts, labels, tf.gather(weights, labels)))
        return pair_domains(
            source,
            target.train_epoch(pair),
            global_batch_size=2 * config.batch_size,
            num_replicas=choose_strategy(config.strategy).num_replicas_in_sync,
            steps=steps,
        )

    return epoch


def inspect_data(config: Config) -> TextReport:
    """What there is to mend or to know about the texts, from a look at every one of them."""
    return inspect_texts(
        PROJECT / config.data,
        text_column=config.text_column,
        label_column=config.label_column,
        split=config.split,
        seed=config.split_seed,
        sequence_length=config.sequence_length or None,
        progress=sys.stderr.isatty(),
    )


def say_what_is_cut(backbone: keras.Layer, data: TextTable) -> None:
    """One line on how the backbone reads texts, and how many of the training texts it does not read to the end."""
    print(f"{backbone.text.in_words}.")
    length = backbone.text.sequence_length
    if length is None:
        return
    rows = data.rows.train
    looked_at = range(0, len(rows), max(1, len(rows) // 1000))  # about a thousand, evenly over the data, are enough
    try:
        counts = backbone.count_tokens(rows.read(looked_at))
    except UserError:  # some models cut texts unseen
        return
    share, longest = (counts > length).mean(), counts.max()
    print(f"Of {len(counts):,} training texts {share:.1%} are cut; the longest has {longest:,} tokens.")


def training_class_weights(config: Config, data: TextTable) -> dict[int, float] | None:
    """Weights for uneven classes, as far as `class_balance` says; None where all texts count alike."""
    labels = data.rows.train.labels
    if config.class_balance == 0 or len(set(collections.Counter(labels.tolist()).values())) == 1:
        return None
    return class_weights(labels, len(data.class_names), config.class_balance)


def say_class_weights(class_weight: dict[int, float] | None, class_names: list[str]) -> None:
    """One line on the rarest and the commonest class, where weights make a difference."""
    if class_weight is None:
        return
    rare, common = max(class_weight, key=class_weight.get), min(class_weight, key=class_weight.get)
    if class_weight[rare] > 1.2 * class_weight[common]:  # less is not worth a line
        print(
            f"Uneven classes are weighted: a text of '{class_names[rare]}' counts {class_weight[rare]:.2f}, "
            f"one of '{class_names[common]}' {class_weight[common]:.2f}."
        )
