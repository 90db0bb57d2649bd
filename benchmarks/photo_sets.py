"""Four small sets of photos as folders of train/CLASS/ and val/CLASS/, for the benchmarks of image backbones."""

from __future__ import annotations

import collections
import pathlib
import warnings

import numpy as np
from PIL import Image

from tlkit.data import write_sample_images
from tlkit.data.boxes import read_boxes

# Photos of each class at most. Ten cells to train on: with a hundred, every network tells nearly all apart.
CELLS = {"train": 10, "val": 150}
DIGITS = {"train": 40, "val": 50}


def photo_sets(data: pathlib.Path, temporary: pathlib.Path) -> dict[str, pathlib.Path]:
    """Name -> folder, the textures last.

    Args:
        data: Holds `hymenoptera/` (train/ and val/ of ants and bees), `bccd/` (blood cells with boxes, Pascal VOC; each
            box becomes a photo) and `digits/usps/usps.npz` (16 x 16 digits).
        temporary: Where sets are written that do not lie there as folders.
    """
    _write_cells(data / "bccd", temporary / "cells")
    _write_digits(data / "digits" / "usps" / "usps.npz", temporary / "digits")
    write_sample_images(temporary / "textures")  # part of tlkit
    (temporary / "textures" / "test").rename(temporary / "textures" / "val")
    return {
        "ants and bees": data / "hymenoptera",
        **{name: temporary / name for name in ("cells", "digits", "textures")},
    }


def _write_cells(source: pathlib.Path, folder: pathlib.Path) -> None:
    """A photo of each box with a quarter of its size around it; cells of one photo are all in one part."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # two boxes without an area, as its README says
        table = read_boxes(source, on_bad="skip")
    counts: collections.Counter = collections.Counter()
    for number, image in enumerate(table.images):
        part = ("train", "val")[number % 2]
        photo = Image.open(image.path)
        for (left, top, right, bottom), label in zip(image.boxes, image.labels, strict=True):
            if counts[part, label] < CELLS[part]:
                counts[part, label] += 1
                more = (right - left + bottom - top) / 8
                cell = photo.crop((left - more, top - more, right + more, bottom + more))
                _write(folder / part / table.class_names[label], counts[part, label], cell)


def _write_digits(source: pathlib.Path, folder: pathlib.Path) -> None:
    digits = np.load(source)
    for part, name in (("train", "train"), ("val", "test")):
        images, labels = digits[f"x_{name}"], digits[f"y_{name}"]
        for label in range(10):
            for number in np.flatnonzero(labels == label)[: DIGITS[part]]:
                _write(folder / part / str(label), number, Image.fromarray(images[number]))


def _write(place: pathlib.Path, number: int, photo: Image.Image) -> None:
    place.mkdir(parents=True, exist_ok=True)
    photo.convert("RGB").save(place / f"{number:05}.png")
