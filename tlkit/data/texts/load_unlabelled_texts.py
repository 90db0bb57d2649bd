"""Texts without labels as `tf.data`: the target domain of an adaptation."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from tlkit.data.image_listing import some
from tlkit.data.texts.cut_rows import cut_rows
from tlkit.data.texts.listing import list_texts
from tlkit.data.texts.load_texts import Texts
from tlkit.data.texts.scan import NO_PART, Scan, scan_rows
from tlkit.data.texts.split_texts import TextSplits, check_on_bad, settle_problems
from tlkit.data.texts.text_rows import TextRows
from tlkit.errors import UserError

if TYPE_CHECKING:
    import tensorflow as tf


class UnlabelledTexts(NamedTuple):
    """Data sets of batches of texts, and what they were made from.

    Attributes:
        train: Texts to adapt to. Finite; every iteration has another order.
        held_out: Texts that are not trained on, in the order of `rows.test`: for label-free scores.
        labelled: `held_out` with class numbers, where the source tells them: to judge, never to train. None where not
            every held-out text has one.
        rows: `rows.train` and `rows.test`, the held-out ones; a label that is not known is -1. `validation` is empty.
        train_epoch: `[seed, epoch]` -> one epoch of the training texts, for `epochs`.
    """

    train: tf.data.Dataset
    held_out: tf.data.Dataset
    labelled: tf.data.Dataset | None
    rows: TextSplits
    train_epoch: Callable[[tf.Tensor], tf.data.Dataset]


def load_unlabelled_texts(
    source: str | Path,
    *,
    batch_size: int,
    text_column: str = "text",
    label_column: str = "label",
    class_names: Sequence[str] = (),
    held_out: float = 0.3,
    seed: int,
    on_bad: Literal["error", "skip"] = "error",
) -> UnlabelledTexts:
    """Load all texts of a table or folder for domain adaptation: a part to train on, the rest to judge by.

    Texts come as strings `(batch,)`, as those of `load_texts` do. Where the source gives parts, as `split_texts` says,
    `train` is the one to train on and the others are held out. Otherwise the part of a text depends on nothing but
    `seed` and the text. In a folder, `.txt` files may lie at any depth.

    A label column, or folders that bear names of classes, may be there or not, for all rows or for some. The labels go
    into `labelled` alone.

    Args:
        source: The file or folder.
        batch_size: Texts a batch. The last batch may be smaller.
        text_column: The column of the texts.
        label_column: The column of their classes, where there is one.
        class_names: Class names by number, of the labelled domain. Defaults to none: then nothing is labelled.
        held_out: Share of the texts that are not trained on, above 0 and below 1, where the source does not give
            parts. Defaults to `0.3`, what validation and test together get of a labelled source.
        seed: Chooses the parts and the orders.
        on_bad: What to do about rows that cannot be used, as in `split_texts`; an empty label is none of these.

    Raises:
        UserError: When there are no texts, labels are none of `class_names`, or rows cannot be used.

    Example:
        >>> from tlkit.data import load_unlabelled_texts
        >>> chats = load_unlabelled_texts("messages.csv", batch_size=4, seed=7)
        >>> len(chats.rows.train) + len(chats.rows.test), chats.labelled is None
        (40, True)
        >>> known = load_unlabelled_texts("messages.csv", batch_size=4, class_names=["order", "refund"], seed=7)
        >>> texts, labels = next(iter(known.labelled))
        >>> next(iter(known.train)).shape, labels.shape
        (TensorShape([4]), TensorShape([4]))
    """
    check_on_bad("load_unlabelled_texts", on_bad)
    if not 0 < held_out < 1:
        raise UserError(
            f"load_unlabelled_texts: `held_out` is no share. Expected a number above 0 and below 1. "
            f"Received: held_out={held_out!r}."
        )
    path = Path(source)
    scan = scan_rows(
        list_texts(path, text_column=text_column, label_column=label_column, needs_label=False), needs_label=False
    )
    settle_problems(scan, on_bad)
    rows = _split(path, _with_classes(path, scan, list(class_names)), held_out, seed)
    train, test = Texts(rows.train, batch_size), Texts(rows.test, batch_size)
    judged = test.in_order()
    return UnlabelledTexts(
        train.shuffled(seed).map(_text),
        judged.map(_text),
        judged if (rows.test.labels >= 0).all() else None,
        rows,
        lambda pair: train.epoch(pair).map(_text),
    )


def _text(text: tf.Tensor, _: tf.Tensor) -> tf.Tensor:
    return text


def _with_classes(source: Path, scan: Scan, class_names: list[str]) -> Scan:
    """The labels as numbers of the labelled domain's classes; none where no folder bears the name of one."""
    if not {*scan.class_names} & {*class_names}:
        if class_names and scan.class_names and scan.listed.is_table:
            raise UserError(_unknown(source, scan.class_names, class_names))
        return dataclasses.replace(scan, labels=np.full(len(scan), -1, np.int32), class_names=class_names)
    unknown = sorted({*scan.class_names} - {*class_names})
    if unknown:
        raise UserError(_unknown(source, unknown, class_names))
    numbers = np.array([class_names.index(name) for name in scan.class_names] + [-1], np.int32)
    return dataclasses.replace(scan, labels=numbers[scan.labels], class_names=class_names)


def _unknown(source: Path, unknown: list[str], class_names: list[str]) -> str:
    return (
        f"{source} has {some(unknown, 'label')} for which the labelled texts have no class. Expected only "
        f"{', '.join(class_names)}, or no label. Empty the other labels, or label some texts of their class."
    )


def _split(source: Path, scan: Scan, held_out: float, seed: int) -> TextSplits:
    if len(np.unique(scan.hashes)) < 2:
        raise UserError(
            f"{source} has {'one text' if len(scan) else 'no text'} in it. Expected at least two that differ: one to "
            "adapt to, and one to judge by."
        )
    every = np.arange(len(scan), dtype=np.uint32)
    if (scan.parts == NO_PART).any():
        # The labels have no say in it: what is not to be known shall not help.
        alike = np.zeros(len(scan), np.int32)
        parts = cut_rows(scan.hashes, scan.keys, alike, (1 - held_out, 0.0, held_out), seed)
    else:
        parts = scan.parts
    for is_there, what in (((parts == 0).any(), "train"), ((parts > 0).any(), "val or test")):
        if not is_there:
            raise UserError(f"{source} gives no text the part {what}. Expected train and another part, or no parts.")
    train, test = (TextRows(scan, every[chosen]) for chosen in (parts == 0, parts > 0))
    return TextSplits(train, TextRows(scan, every[:0]), test, scan.class_names)
