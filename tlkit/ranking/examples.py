"""The examples that all backbones are judged on: training and validation examples, never test ones."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import tensorflow as tf

from tlkit.data import fingerprint_images, fingerprint_texts, split_image_folder, split_texts
from tlkit.data.load_image_folder import Images, with_readable_headers, without_corrupt
from tlkit.errors import UserError

BATCH_SIZE = 32
_CHECKED_SIZE = 64  # pixels; JPEGs are decoded at the fraction of their size that suffices


class Part(NamedTuple):
    """Some examples, in a fixed order.

    Attributes:
        batches: Of `(input, label)`.
        labels: The class number of each.
        fingerprint: What tells them from others, for `tlkit.features.cache_features`.
    """

    batches: tf.data.Dataset
    labels: np.ndarray[Any, np.dtype[np.int32]]
    fingerprint: Any


class ImageExamples:
    """Images of a folder of class folders, or of a table, read at the size that each backbone wants.

    Args:
        source: As `split_image_folder` takes it.
        split: Likewise.
        seed: Chooses the split, and which images are taken.
        most: How many to train on, and how many to judge on, at most.
        on_corrupt: "skip" leaves out what does not decode; "error" ends there.

    Raises:
        UserError: When the source is not laid out as expected, or an image may show several classes.
    """

    kind = "image"

    def __init__(
        self,
        source: str | Path,
        *,
        split: Sequence[float] = (0.7, 0.15, 0.15),
        seed: int = 0,
        most: int = 2000,
        on_corrupt: Literal["error", "skip"] = "error",
    ):
        files = split_image_folder(source, split=split, seed=seed)
        if files.multi_label:
            raise UserError(f"Images of '{source}' show several classes at once. Ranking needs one class for each.")
        files = files._replace(
            train=_some(files.train, most, seed), validation=_some(files.validation, most, seed), test=[]
        )
        self.files = without_corrupt(files, _CHECKED_SIZE) if on_corrupt == "skip" else with_readable_headers(files)
        self.class_names = self.files.class_names
        self.num_examples = len(self.files.train), len(self.files.validation)  # to train on, to judge on

    def parts(self, image_size: int) -> tuple[Part, Part]:
        """What to train on and what to judge on, read at that size."""
        parts = []
        for name in ("train", "validation"):
            chosen = getattr(self.files, name)
            labels = np.array([file.label for file in chosen], np.int32)
            found = fingerprint_images(self.files._replace(train=chosen, validation=[]), times=True)
            batches = Images(chosen, labels, image_size, BATCH_SIZE, cache=False).in_order()
            parts.append(Part(batches, labels, {**found, "image_size": image_size}))
        return parts[0], parts[1]


class TextExamples:
    """Texts of a table or a folder.

    Args:
        source: As `split_texts` takes it.
        text_column: Likewise.
        label_column: Likewise.
        split: Likewise.
        seed: Chooses the split, and which texts are taken.
        most: How many to train on, and how many to judge on, at most.
        on_bad: As `split_texts` takes it.

    Raises:
        UserError: When the source is not laid out as expected, or rows cannot be used.
    """

    kind = "text"

    def __init__(
        self,
        source: str | Path,
        *,
        text_column: str = "text",
        label_column: str = "label",
        split: Sequence[float] = (0.7, 0.15, 0.15),
        seed: int = 0,
        most: int = 2000,
        on_bad: Literal["error", "skip"] = "error",
    ):
        self.rows = split_texts(
            source, text_column=text_column, label_column=label_column, split=split, seed=seed, on_bad=on_bad
        )
        self.class_names = self.rows.class_names
        self._numbers = {
            name: _some(np.arange(len(getattr(self.rows, name))), most, seed) for name in ("train", "validation")
        }
        self.num_examples = len(self._numbers["train"]), len(self._numbers["validation"])  # to train on, to judge on

    def parts(self) -> tuple[Part, Part]:
        """What to train on and what to judge on."""
        described, parts = fingerprint_texts(self.rows, times=True), []
        for name, numbers in self._numbers.items():
            rows = getattr(self.rows, name)
            labels, texts = rows.labels[numbers], rows.read(numbers)
            batches = tf.data.Dataset.from_tensor_slices((tf.constant(texts), labels)).batch(BATCH_SIZE)
            parts.append(Part(batches, labels, {**described, "part": name, "rows": np.asarray(numbers).tolist()}))
        return parts[0], parts[1]


def _some(things: Any, most: int, seed: int) -> Any:
    """So many of them by chance, in their order; all when there are no more."""
    if len(things) <= most:
        return things
    chosen = np.sort(np.random.default_rng(seed).permutation(len(things))[:most])
    return things[chosen] if isinstance(things, np.ndarray) else [things[number] for number in chosen]
