"""Images with boxes as `tf.data` for training and evaluation."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tlkit.data.boxes.augment import BoxAugmentation
from tlkit.data.boxes.letterbox import decode_letterboxed, resized_size, to_resized_pixels
from tlkit.data.boxes.records import Format, LabelledImage
from tlkit.data.boxes.split_boxes import BoxSplits, split_boxes
from tlkit.data.load_image_folder import CACHE_LIMIT
from tlkit.data.reading_threads import reader
from tlkit.errors import UserError, printable

if TYPE_CHECKING:
    import tensorflow as tf

ROW_STEP = 8  # rows of boxes are a multiple of this: a set with one box more does not trace anew


class BoxData(NamedTuple):
    """Data sets of `(images, {"boxes", "labels"})` batches, and what they were made from; see `load_boxes`.

    Attributes:
        train: Finite; every iteration (epoch of `fit`) has another order.
        validation: In the order of `rows.validation`.
        test: In the order of `rows.test`; None when that is empty.
        class_names: Class names by number.
        rows: The images of each part; those that were left out are not among them.
        max_boxes: Rows of boxes that each image has, with those of padding.
        train_epoch: `[seed, epoch]` -> one epoch of the training images, for `epochs`.
    """

    train: tf.data.Dataset
    validation: tf.data.Dataset
    test: tf.data.Dataset | None
    class_names: list[str]
    rows: BoxSplits
    max_boxes: int
    train_epoch: Callable[[tf.Tensor], tf.data.Dataset]


def load_boxes(
    source: str | Path,
    *,
    image_size: int,
    batch_size: int,
    split: Sequence[float] = (0.7, 0.15, 0.15),
    seed: int,
    format: Format | None = None,
    class_names: Sequence[str] | None = None,
    on_bad: Literal["error", "skip"] = "error",
    augment: BoxAugmentation | None = None,
    cache: bool = True,
) -> BoxData:
    """Load images with boxes as training, validation and test data sets.

    A batch is `(images, {"boxes": boxes, "labels": labels})`: images float32 `(batch, image_size, image_size, 3)` in
    [0, 1]; boxes float32 `(batch, max_boxes, 4)`, each `(x_min, y_min, x_max, y_max)` in pixels of the resized image;
    labels int32 `(batch, max_boxes)`. Rows of padding are -1 in both. `read_boxes` says which formats are understood,
    `split_boxes` how they are split.

    An image keeps its aspect: its longer side becomes `image_size`, it lies in the upper left corner, and the rest of
    the square is grey. A detector tells things by their shape, and anchors and sizes are learned from it, so that they
    are not squeezed as `load_image_folder` does. `to_original_pixels` leads back to pixels of the file.

    Orders, and what `augment` draws, are functions of (seed, epoch, image) in `epochs(data.train_epoch, ...)`, which is
    for trainings that are to be resumed exactly. Those of `train` follow from the seed and from how often it was
    iterated in this process.

    Args:
        source: The folder or the file of the boxes.
        image_size: Height and width in pixels.
        batch_size: Images a batch; under a distribution strategy the global batch. The last batch may be smaller.
        split: Shares of training, validation and test, for what the data do not give as parts.
        seed: Chooses the split, the orders and the augmentation.
        format: "voc", "coco", "csv" or "yolo". Defaults to what is found.
        class_names: As in `read_boxes`.
        on_bad: As in `read_boxes`; "skip" also decodes every image once at the start, and leaves out those that do not
            decode. With "error", one that is damaged behind its header is named when it is reached.
        augment: Random changes of training images. Defaults to none.
        cache: Keep the decoded pixels in memory, as in `load_image_folder`.

    Raises:
        UserError: When no boxes are found, or something cannot be used.

    Example:
        >>> data = load_boxes("scenes", image_size=64, batch_size=4, seed=7)
        >>> images, truth = next(iter(data.train))
        >>> images.shape, truth["boxes"].shape, truth["labels"].shape
        (TensorShape([4, 64, 64, 3]), TensorShape([4, 8, 4]), TensorShape([4, 8]))
    """
    rows = split_boxes(source, split=split, seed=seed, format=format, class_names=class_names, on_bad=on_bad)
    if on_bad == "skip":
        rows = _without_corrupt(rows, image_size)
    every = [image for part in rows[:3] for image in part]
    max_boxes = max(-(-max(len(image.boxes) for image in every) // ROW_STEP), 1) * ROW_STEP
    cache = cache and len(every) * image_size**2 * 3 < CACHE_LIMIT
    train, validation, test = (
        Scenes(part, image_size, batch_size, max_boxes, cache, augment if part is rows.train else None)
        for part in rows[:3]
    )
    return BoxData(
        train.shuffled(seed),
        validation.in_order(),
        test.in_order() if rows.test else None,
        rows.class_names,
        rows,
        max_boxes,
        train.epoch,
    )


class Scenes:
    """One part of the images: reads them by number, remembering the pixels when told to."""

    def __init__(
        self,
        images: list[LabelledImage],
        image_size: int,
        batch_size: int,
        max_boxes: int,
        cache: bool,
        augment: BoxAugmentation | None,
    ) -> None:
        self.images = images
        self.image_size = image_size
        # Of fewer images than a batch the first one holds a power of two: see `load_image_folder.Images`.
        self.batch_size = batch_size if len(images) >= batch_size else 2 ** int(math.log2(max(len(images), 1)))
        self.max_boxes = max_boxes
        self.augment = augment
        # Memory that is not yet written is not yet taken: the array grows as images are read.
        shape = (len(images), image_size, image_size, 3)
        self.pixels: NDArray[np.uint8] | None = np.empty(shape, np.uint8) if cache else None
        self.is_read = np.zeros(len(images), bool)

    def in_order(self) -> tf.data.Dataset:
        import tensorflow as tf

        return self._read(tf.data.Dataset.range(len(self.images)), None)

    def shuffled(self, seed: int) -> tf.data.Dataset:
        """Another epoch each time; the pair of numbers that it is made of is drawn."""
        import tensorflow as tf

        pairs = tf.data.Dataset.random(seed=seed, rerandomize_each_iteration=True).batch(2, drop_remainder=True).take(1)
        num_batches = -(-len(self.images) // self.batch_size)
        return pairs.flat_map(self.epoch).apply(tf.data.experimental.assert_cardinality(num_batches))

    def epoch(self, seed: tf.Tensor) -> tf.data.Dataset:
        import tensorflow as tf

        numbers = tf.range(len(self.images), dtype=tf.int64)
        order = tf.random.experimental.stateless_shuffle(numbers, seed=seed)
        return self._read(tf.data.Dataset.from_tensor_slices(order), seed if self.augment is not None else None)

    def _read(self, numbers: tf.data.Dataset, seed: tf.Tensor | None) -> tf.data.Dataset:
        import tensorflow as tf

        types = (tf.uint8, tf.float32, tf.int32)
        shapes = ((self.image_size, self.image_size, 3), (self.max_boxes, 4), (self.max_boxes,))

        def read(number: tf.Tensor) -> tuple[tf.Tensor, ...]:
            given = [number] if seed is None else [number, seed]
            found = tf.numpy_function(self._example, given, types, stateful=False)
            return tuple(tf.ensure_shape(value, shape) for value, shape in zip(found, shapes, strict=True))

        def scale(pixels: tf.Tensor, boxes: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
            return tf.cast(pixels, tf.float32) / 255, {"boxes": boxes, "labels": labels}

        options = tf.data.Options()
        options.deterministic = True
        # Several workers: each takes its share of the batches' rows; there are no input files to share out.
        options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
        dataset = numbers.map(read, num_parallel_calls=tf.data.AUTOTUNE).batch(self.batch_size)
        dataset = dataset.map(scale, num_parallel_calls=tf.data.AUTOTUNE)
        return dataset.prefetch(tf.data.AUTOTUNE).with_options(options)

    @reader
    def _example(
        self, number: np.int64, seed: NDArray[np.int64] | None = None
    ) -> tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.int32]]:
        image = self.images[number]
        pixels, labels = self._decode(number), image.labels
        size = (image.width, image.height)
        boxes = to_resized_pixels(image.boxes, size, self.image_size)
        if self.augment is not None and seed is not None:
            content = resized_size(size, self.image_size)
            # Seeds are 64 bits with a sign, NumPy's have none.
            words = tuple(int(word) % 2**64 for word in (*seed.tolist(), number))
            pixels, boxes, labels = self.augment(pixels, boxes, labels, content, seed=words)
        rows = np.full((self.max_boxes, 4), -1, np.float32)
        numbers = np.full(self.max_boxes, -1, np.int32)
        rows[: len(boxes)], numbers[: len(labels)] = boxes, labels
        return pixels, rows, numbers

    def _decode(self, number: np.int64) -> NDArray[np.uint8]:
        if self.pixels is None:
            return self._decode_anew(number)
        if not self.is_read[number]:
            self.pixels[number] = self._decode_anew(number)
            self.is_read[number] = True  # after the pixels: another thread may be looking
        pixels: NDArray[np.uint8] = self.pixels[number]
        return pixels

    def _decode_anew(self, number: np.int64) -> NDArray[np.uint8]:
        image = self.images[number]
        try:
            return decode_letterboxed(image.path, (image.width, image.height), self.image_size)
        except UserError as error:
            raise UserError(f"{error} To leave out all images that do not decode, set on_bad='skip'.") from error


def _without_corrupt(rows: BoxSplits, image_size: int) -> BoxSplits:
    """The images that decode, with a warning about the others."""

    def why_not(image: LabelledImage) -> bool:
        try:
            decode_letterboxed(image.path, (image.width, image.height), image_size)
        except UserError:
            return True
        return False

    every = [image for part in rows[:3] for image in part]
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        bad = {image.path for image, is_bad in zip(every, threads.map(why_not, every), strict=True) if is_bad}
    if not bad:
        return rows
    train, validation, test = ([image for image in part if image.path not in bad] for part in rows[:3])
    if not train or not validation:
        raise UserError(f"No image of {'validation' if train else 'train'} decodes: replace the damaged files.")
    warnings.warn(
        f"{len(bad)} of {len(every)} images left out because they do not decode: "
        f"{', '.join(map(printable, sorted(bad)))}.",
        stacklevel=3,
    )
    return BoxSplits(train, validation, test, rows.class_names)
