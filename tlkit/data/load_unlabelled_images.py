"""Images without labels as `tf.data`: the target domain of an adaptation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from tlkit.data.decoding import COMMON_EXTENSIONS
from tlkit.data.image_listing import files_below, is_image, some, visible
from tlkit.data.load_image_folder import CACHE_LIMIT, Images, with_readable_headers, without_corrupt
from tlkit.data.manifest import PART_NAMES
from tlkit.data.split_image_folder import ImageFile, ImageSplits
from tlkit.data.stable_cut import Unit, cut_units
from tlkit.errors import UserError

if TYPE_CHECKING:
    import tensorflow as tf


class UnlabelledImages(NamedTuple):
    """Data sets of image batches, and what they were made from.

    Attributes:
        train: Images to adapt to. Finite; every iteration has another order.
        held_out: Images that are not trained on, in the order of `files.test`: for label-free scores.
        labelled: `held_out` with class numbers, where the folders tell them: to judge, never to train. None where not
            every held-out image has one.
        files: `files.train` and `files.test`, the held-out ones; a label that is not known is `()`. `validation` is
            empty.
        train_epoch: `[seed, epoch]` -> one epoch of the training images, for `epochs`.
    """

    train: tf.data.Dataset
    held_out: tf.data.Dataset
    labelled: tf.data.Dataset | None
    files: ImageSplits
    train_epoch: Callable[[tf.Tensor], tf.data.Dataset]


def load_unlabelled_images(
    folder: str | Path,
    *,
    image_size: int,
    batch_size: int,
    class_names: Sequence[str] = (),
    held_out: float = 0.3,
    seed: int,
    on_corrupt: Literal["error", "skip"] = "error",
    cache: bool = True,
) -> UnlabelledImages:
    """Load all images of a folder, at any depth, for domain adaptation: a part to train on, the rest to judge by.

    Images come as float32 `(batch, image_size, image_size, 3)` in [0, 1], as those of `load_image_folder` do. Where the
    folder has `train/` and `test/` (or `val/`, `valid/`, `validation/`), those are the two parts. Otherwise the part of
    an image depends on nothing but `seed` and its path, as in `split_image_folder`.

    A part whose folders bear names of classes is taken to be labelled by them. The labels go into `labelled` alone.

    Args:
        folder: The folder.
        image_size: Height and width in pixels.
        batch_size: Images a batch. The last batch may be smaller.
        class_names: Class names by number, of the labelled domain. Defaults to none: then nothing is labelled.
        held_out: Share of the images that are not trained on, above 0 and below 1, where the folder does not give
            parts. Defaults to `0.3`, what validation and test together get of a labelled folder.
        seed: Chooses the parts and the orders.
        on_corrupt: What to do about files that do not decode, as in `load_image_folder`.
        cache: Keep decoded pixels in memory, as in `load_image_folder`.

    Raises:
        UserError: When there are no images, the folders name classes that `class_names` lacks, or files do not decode.

    Example:
        >>> from tlkit.data import load_unlabelled_images
        >>> scans = load_unlabelled_images("photos", image_size=32, batch_size=4, seed=7)
        >>> len(scans.files.train) + len(scans.files.test), scans.labelled is None
        (16, True)
        >>> known = load_unlabelled_images("photos", image_size=32, batch_size=4, class_names=["ant", "bee"], seed=7)
        >>> images, labels = next(iter(known.labelled))
        >>> next(iter(known.train)).shape, images.shape == (4, 32, 32, 3), sorted(set(labels.numpy().tolist()))
        (TensorShape([4, 32, 32, 3]), True, [0, 1])
    """
    if on_corrupt not in ("error", "skip"):
        raise UserError(
            f"load_unlabelled_images: expected `on_corrupt` to be 'error' or 'skip'. Received: {on_corrupt!r}."
        )
    if not 0 < held_out < 1:
        raise UserError(
            f"load_unlabelled_images: `held_out` is no share. Expected a number above 0 and below 1. "
            f"Received: held_out={held_out!r}."
        )
    files = _listed(Path(folder), list(class_names), held_out, seed)
    files = without_corrupt(files, image_size) if on_corrupt == "skip" else with_readable_headers(files)
    if not files.train or not files.test:
        raise UserError(f"{folder} has too few images that can be read: replace the damaged files.")
    cache = cache and sum(map(len, files[:3])) * image_size**2 * 3 < CACHE_LIMIT
    labels = [
        [file.label if isinstance(file.label, int) else -1 for file in part] for part in (files.train, files.test)
    ]
    train, test = (
        Images(part, np.array(numbers, np.int32), image_size, batch_size, cache)
        for part, numbers in zip((files.train, files.test), labels, strict=True)
    )
    judged = test.in_order()
    return UnlabelledImages(
        train.shuffled(seed).map(_image),
        judged.map(_image),
        judged if -1 not in labels[1] else None,
        files._replace(class_names=list(class_names)),
        lambda pair: train.epoch(pair).map(_image),
    )


def _image(image: tf.Tensor, _: tf.Tensor) -> tf.Tensor:
    return image


def _listed(folder: Path, class_names: list[str], held_out: float, seed: int) -> ImageSplits:
    """The images of both parts, sorted by path."""
    if not folder.is_dir():
        raise UserError(f"There is no folder {folder}: give a folder of images, labelled or not.")
    parts = {entry: PART_NAMES.get(entry.name.lower()) for entry in visible(folder) if entry.is_dir()}
    given = {"train", *parts.values()} == {*parts.values()} and len(parts) > 1 and None not in parts.values()
    if given:
        train = [file for root, part in parts.items() if part == "train" for file in _images(root, class_names)]
        test = [file for root, part in parts.items() if part != "train" for file in _images(root, class_names)]
        for part, images in {"train": train, "held out": test}.items():
            if not images:
                raise UserError(f"{folder} has no image to be {part} ({COMMON_EXTENSIONS} ...): add some.")
        return ImageSplits(train, [], test, [])
    images = _images(folder, class_names)
    if len(images) < 2:
        raise UserError(
            f"{folder} has {'one image' if images else 'no image'} in it ({COMMON_EXTENSIONS} ...). Expected at least "
            "two: one to adapt to, and one to judge by."
        )
    # The labels have no say in it: what is not to be known shall not help.
    units = [Unit(file.path.relative_to(folder).as_posix(), frozenset([0])) for file in images]
    cut = cut_units(units, (1 - held_out, 0.0, held_out), seed)
    train, test = ([file for file, part in zip(images, cut, strict=True) if part == number] for number in (0, 2))
    return ImageSplits(train, [], test, [])


def _images(root: Path, class_names: list[str]) -> list[ImageFile]:
    """The images below a folder, with labels where its folders bear the names of classes."""
    paths = [path for path in files_below(root) if is_image(path)]
    folders = [path.relative_to(root).parts[0] if path.parent != root else None for path in paths]
    if not {*folders} & {*class_names}:
        return [ImageFile(path, ()) for path in paths]
    unknown = sorted({name for name in folders if name is not None} - {*class_names})
    if unknown:
        raise UserError(
            f"{root} has folders of classes, and {some(unknown, 'folder')} beside them for which the labelled images "
            f"have no class. Expected only {', '.join(class_names)}. Move them away, or label some of their class."
        )
    labels = [() if name is None else class_names.index(name) for name in folders]
    return [ImageFile(path, label) for path, label in zip(paths, labels, strict=True)]
