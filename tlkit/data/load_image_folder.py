"""Image folders as `tf.data` for training and evaluation."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from tlkit.data.decoding import decode_image, why_unreadable
from tlkit.data.image_listing import some
from tlkit.data.reading_threads import floats_for_tensorflow, in_threads, reader
from tlkit.data.split_image_folder import ImageFile, ImageSplits, split_image_folder
from tlkit.errors import UserError, printable

if TYPE_CHECKING:
    import tensorflow as tf

CACHE_LIMIT = 2**30  # bytes of decoded pixels that are kept in memory: 7,000 images of 224 px, 21,000 of 128 px


class ImageFolder(NamedTuple):
    """Data sets of `(image, label)` batches, and what they were made from; labels as `load_image_folder` says.

    Attributes:
        train: Finite; every iteration (epoch of `fit`) has another order.
        validation: In the order of `files.validation`.
        test: In the order of `files.test`; None when that is empty.
        class_names: Class names by number.
        files: The images of each part; those that did not decode are not among them.
        train_epoch: `[seed, epoch]` -> one epoch of the training images, for `epochs`.
        train_in_order: The training images in the order of `files.train`, for `tlkit.features`.
    """

    train: tf.data.Dataset
    validation: tf.data.Dataset
    test: tf.data.Dataset | None
    class_names: list[str]
    files: ImageSplits
    train_epoch: Callable[[tf.Tensor], tf.data.Dataset]
    train_in_order: tf.data.Dataset

    @property
    def multi_label(self) -> bool:
        """Whether an image may show any number of the classes: labels are then rows of zeros and ones."""
        return self.files.multi_label

    @property
    def labels(self) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """The labels of training and validation, in the order of `files`: no image is read for them."""
        dtype = np.float32 if self.multi_label else np.int32
        train, validation = (_labels(part, self.files) for part in (self.files.train, self.files.validation))
        return train.astype(dtype), validation.astype(dtype)


def load_image_folder(
    folder: str | Path,
    *,
    image_size: int,
    batch_size: int,
    split: Sequence[float] = (0.7, 0.15, 0.15),
    seed: int,
    on_corrupt: Literal["error", "skip"] = "error",
    cache: bool = True,
    group_pattern: str | None = None,
) -> ImageFolder:
    """Load a folder of class folders, or a CSV manifest, as training, validation and test data sets.

    Images come as float32 `(batch, image_size, image_size, 3)` in [0, 1]; labels as integers `(batch,)`, in multi-label
    data as float32 `(batch, num_classes)` with 1 for each class that the image shows. `split_image_folder` says which
    folders and tables are understood and how they are split, `decode_image` how a picture becomes a square.

    The order of training images is shuffled over all of them. The orders of `train` follow from the seed (and
    TensorFlow's global one, if set) and from how often it was iterated in this process; for a training that is to be
    resumed exactly, `epochs(data.train_epoch, ...)` makes each order a function of (seed, epoch).

    Args:
        folder: The folder, or the table's file.
        image_size: Height and width in pixels.
        batch_size: Images a batch; under a distribution strategy the global batch. The last batch may be smaller.
        split: Shares of training, validation and test, for what the folder does not give as parts.
        seed: Chooses the split and the orders.
        on_corrupt: "error" raises at the first look for files that are empty or no images, and names a file that is
            damaged further in when it is reached. "skip" decodes every file once at the start, and leaves out those
            that do not decode, with a warning that names them.
        cache: Keep the decoded pixels in memory after the first epoch, so that later ones decode nothing. Only when all
            parts together need less than 1 GiB at one byte a value (`CACHE_LIMIT`); otherwise each epoch decodes.
        group_pattern: Regular expression for the group in a path: images of a group stay together in the split.

    Raises:
        UserError: When the folder or the table is not laid out as expected, or files do not decode.

    Example:
        >>> data = load_image_folder("photos", image_size=128, batch_size=32, seed=7)
        >>> data.class_names
        ['ant', 'bee']
        >>> history = model.fit(data.train, validation_data=data.validation, epochs=2, shuffle=False, verbose=0)
    """
    if on_corrupt not in ("error", "skip"):
        raise UserError(f"load_image_folder: expected `on_corrupt` to be 'error' or 'skip'. Received: {on_corrupt!r}.")
    files = split_image_folder(folder, split=split, seed=seed, group_pattern=group_pattern)
    files = without_corrupt(files, image_size) if on_corrupt == "skip" else with_readable_headers(files)
    cache = cache and sum(map(len, files[:3])) * image_size**2 * 3 < CACHE_LIMIT
    train, validation, test = (
        Images(part, _labels(part, files), image_size, batch_size, cache)
        for part in (files.train, files.validation, files.test)
    )
    return ImageFolder(
        train.shuffled(seed),
        validation.in_order(),
        test.in_order() if files.test else None,
        files.class_names,
        files,
        train.epoch,
        train.in_order(),
    )


def _labels(files: list[ImageFile], splits: ImageSplits) -> np.ndarray[Any, Any]:
    """`(n,)` class numbers, or `(n, num_classes)` bytes of 0 and 1 in multi-label data."""
    if not splits.multi_label:
        return np.array([file.label for file in files], np.int32)
    labels = np.zeros((len(files), len(splits.class_names)), np.uint8)
    for row, file in zip(labels, files, strict=True):
        row[list(file.classes)] = 1
    return labels


class Images:
    """One part of the images: reads them by number, remembering the pixels when told to."""

    def __init__(
        self, files: list[ImageFile], labels: np.ndarray[Any, Any], image_size: int, batch_size: int, cache: bool
    ) -> None:
        self.files = files
        self.labels = labels
        self.image_size = image_size
        # Under `tf.distribute` Keras 3.15 averages the first batch over the replicas and fails when they got shares of
        # different size (https://github.com/keras-team/keras/issues/20585): of fewer images than a batch, the first
        # one holds a power of two.
        self.batch_size = batch_size if len(files) >= batch_size else 2 ** int(math.log2(max(len(files), 1)))
        # Memory that is not yet written is not yet taken: the array grows as images are read.
        shape = (len(files), image_size, image_size, 3)
        self.pixels: np.ndarray[Any, np.dtype[np.uint8]] | None = np.empty(shape, np.uint8) if cache else None
        self.is_read = np.zeros(len(files), bool)

    def in_order(self) -> tf.data.Dataset:
        import tensorflow as tf

        return self._read(tf.data.Dataset.range(len(self.files)))

    def shuffled(self, seed: int) -> tf.data.Dataset:
        import tensorflow as tf

        numbers = tf.data.Dataset.range(len(self.files))
        return self._read(numbers.shuffle(len(self.files), seed=seed, reshuffle_each_iteration=True))

    def epoch(self, seed: tf.Tensor) -> tf.data.Dataset:
        import tensorflow as tf

        numbers = tf.range(len(self.files), dtype=tf.int64)
        order = tf.random.experimental.stateless_shuffle(numbers, seed=seed)
        return self._read(tf.data.Dataset.from_tensor_slices(order))

    def _read(self, numbers: tf.data.Dataset) -> tf.data.Dataset:
        import tensorflow as tf

        labels = tf.constant(self.labels)
        label_type = tf.int32 if labels.shape.rank == 1 else tf.float32  # what Keras's losses for them compute with

        def read(numbers: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            pixels = tf.numpy_function(self._pixels, [numbers], tf.float32, stateful=False)
            pixels = tf.ensure_shape(pixels, (None, self.image_size, self.image_size, 3))
            return pixels, tf.cast(tf.gather(labels, numbers), label_type)

        options = tf.data.Options()
        options.deterministic = True
        # Several workers: each takes its share of the batches' rows; there are no input files to share out.
        options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
        # Two at once: while one waits for its last image, the threads go on with the next.
        dataset = numbers.batch(self.batch_size).map(read, num_parallel_calls=2)
        return dataset.prefetch(tf.data.AUTOTUNE).with_options(options)

    @reader
    def _pixels(self, numbers: np.ndarray[Any, np.dtype[np.int64]]) -> np.ndarray[Any, np.dtype[np.float32]]:
        """A batch in [0, 1]. One call for all of it: a call for each image costs more than to copy kept pixels does."""
        batch = floats_for_tensorflow((len(numbers), self.image_size, self.image_size, 3))
        if self.pixels is None:
            for row, image in zip(batch, in_threads(self._decode, numbers), strict=True):
                np.divide(image, np.float32(255), out=row)
            return batch
        unread = numbers[~self.is_read[numbers]]
        for number, image in zip(unread, in_threads(self._decode, unread), strict=True):
            self.pixels[number] = image
        self.is_read[unread] = True  # after the pixels: another thread may be looking
        np.divide(self.pixels[numbers], np.float32(255), out=batch)
        return batch

    def _decode(self, number: np.int64) -> np.ndarray[Any, np.dtype[np.uint8]]:
        try:
            return decode_image(self.files[number].path, self.image_size)
        except UserError as error:
            raise UserError(f"{error} To leave out all files that do not decode, set on_corrupt='skip'.") from error


def with_readable_headers(files: ImageSplits) -> ImageSplits:
    """All files, after a look at their headers."""
    bad = _reasons(files, why_unreadable)
    if bad:
        named = some([f"{path}: {reason}" for path, reason in bad.items()], "file")
        raise UserError(
            f"{named} cannot be read as images. Replace or remove them, or leave them out with on_corrupt='skip'."
        )
    return files


def without_corrupt(files: ImageSplits, image_size: int) -> ImageSplits:
    """The files that decode, with a warning about the others."""

    def why_not(path: Path) -> str | None:
        try:
            decode_image(path, image_size)
        except UserError as error:
            return str(error)
        return None

    bad = _reasons(files, why_not)
    if not bad:
        return files
    left = [[file for file in part if file.path not in bad] for part in files[:3]]
    kept = ImageSplits(left[0], left[1], left[2], files.class_names, files.multi_label)
    for label, name in enumerate(files.class_names):
        if not any(label in file.classes for file in kept.train):
            raise UserError(f"No training image of the class {name!r} can be read: replace the damaged files.")
    warnings.warn(
        f"{len(bad)} of {sum(map(len, files[:3]))} images left out because they do not decode: "
        f"{', '.join(map(printable, bad))}.",
        stacklevel=3,
    )
    return kept


def _reasons(files: ImageSplits, why: Callable[[Path], str | None]) -> dict[Path, str]:
    paths = sorted(file.path for part in files[:3] for file in part)
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        reasons = threads.map(why, paths)
        return {path: reason for path, reason in zip(paths, reasons, strict=True) if reason is not None}
