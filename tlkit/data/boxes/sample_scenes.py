"""A small detection data set from what is already on the disk, for trying tlkit with no network."""

from __future__ import annotations

import csv
import random
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageStat

from tlkit.errors import UserError

SCENES = {"train": 200, "val": 50, "test": 50}
DIGITS = (0, 1, 2, 3, 4)  # the classes: five leave about a hundred boxes of each to learn from
SCENE_SIZE = 192  # pixels: six cells of 32, the largest stride of a detector on three feature maps
MOST_DIGITS = 5
EMPTY = 25  # every so many scenes, one has no digit
HEIGHTS = (24, 72)  # pixels of a digit: between the strides 8 and 32 there is something to find at each
WIDTHS = (0.8, 1.2)  # times the digit's own width
OVERLAP = 0.1  # of the smaller of two boxes at most
CONTRAST = 90  # grey levels between a digit and what is behind it, on the average
TRIES = 50  # of placing a digit; then the scene has one less
INK = 0.25  # of full ink, from which on a pixel belongs to the digit
# Of scikit-learn's digits, in its order, and of the columns of its two photographs: no digit and no pixel is in two
# parts. Whole sheets of writing are in one part, so that other people's digits are to be found in the test.
SHARES = {"train": (0.0, 0.6), "val": (0.6, 0.8), "test": (0.8, 1.0)}
PATCHES = (64, 120)  # pixels of a photograph that one scene shows; the narrowest strip has 128


class _Digit(NamedTuple):
    levels: NDArray[np.uint8]  # 8 x 8, cut to the ink
    label: int


def write_sample_scenes(folder: str | Path, *, seed: int = 0) -> None:
    """Write `images/*.jpg` and `boxes.csv`: 300 scenes of handwritten digits on patches of photographs.

    A scene has 192 x 192 pixels and up to five digits (0 to 4) of 24 to 72 pixels, each with a colour of its own, that
    hardly overlap; one in 25 has none. 200 are for training, 50 for validation and 50 to test on. The digits are
    scikit-learn's `load_digits`, the photographs its `load_sample_image`: a digit, and a pixel of a photograph, occurs
    in one part only. A box is what the digit's ink fills.

    Equal seeds and versions of scikit-learn, NumPy and Pillow write equal bytes.

    Args:
        folder: Where to write; made when missing, and refused when something is in it.
        seed: Chooses the scenes.

    Raises:
        UserError: When `folder` is not empty.

    Reference: the digits are the test part of E. Alpaydin and C. Kaynak, 1998, https://doi.org/10.24432/C50P49.
    """
    from sklearn.datasets import load_digits, load_sample_image

    folder = Path(folder)
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
        raise UserError(f"The sample scenes are not written to {folder} because something is there: name a new folder.")
    photos = [Image.fromarray(load_sample_image(name)) for name in ("china.jpg", "flower.jpg")]
    data = load_digits()
    (folder / "images").mkdir(parents=True)
    with (folder / "boxes.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["image", "xmin", "ymin", "xmax", "ymax", "class", "split"])
        for part, (start, end) in SHARES.items():
            digits = _digits(data, start, end)
            strips = [
                photo.crop((int(start * photo.width), 0, int(end * photo.width), photo.height)) for photo in photos
            ]
            for number in range(SCENES[part]):
                generator = random.Random(f"{seed}/{part}/{number}")
                scene, found = _scene(digits, strips, 0 if number % EMPTY == EMPTY - 1 else MOST_DIGITS, generator)
                name = f"images/{part}_{number:03d}.jpg"
                scene.save(folder / name, quality=90)
                table.writerows([name, *box, label, part] for box, label in found)
                if not found:
                    table.writerow([name, "", "", "", "", "", part])


def _digits(data: Any, start: float, end: float) -> list[_Digit]:
    """Those of the classes in a share of the whole, cut to their ink."""
    first, last = int(start * len(data.images)), int(end * len(data.images))
    digits = []
    for levels, label in zip(data.images[first:last], data.target[first:last], strict=True):
        if label in DIGITS:
            rows, columns = np.nonzero(levels >= 16 * INK)  # 17 levels
            cut = levels[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
            digits.append(_Digit((cut * 255 / 16).astype(np.uint8), int(label)))
    return digits


_Box = tuple[int, int, int, int]


def _scene(
    digits: list[_Digit], strips: list[Image.Image], most: int, generator: random.Random
) -> tuple[Image.Image, list[tuple[_Box, int]]]:
    scene = _background(generator.choice(strips), generator)
    found: list[tuple[_Box, int]] = []
    for _ in range(generator.randint(min(most, 1), most)):
        digit = generator.choice(digits)
        ink = _enlarged(digit, generator)
        for _ in range(TRIES):
            left, top = (generator.randint(0, SCENE_SIZE - side) for side in ink.size)
            box = (left, top, left + ink.width, top + ink.height)
            if all(_overlap(box, other) <= OVERLAP for other, _ in found):
                scene.paste(_colour(scene.crop(box), generator), (left, top), ink)
                found.append((box, digit.label))
                break
    return scene, found


def _background(strip: Image.Image, generator: random.Random) -> Image.Image:
    """A square of a photograph, enlarged, perhaps mirrored."""
    side = generator.randint(*PATCHES)
    left, top = generator.randint(0, strip.width - side), generator.randint(0, strip.height - side)
    patch = strip.resize((SCENE_SIZE, SCENE_SIZE), Image.Resampling.BICUBIC, (left, top, left + side, top + side))
    return patch.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if generator.random() < 0.5 else patch


def _enlarged(digit: _Digit, generator: random.Random) -> Image.Image:
    """The digit's ink at a random size, cut so that it fills the image: its size is that of the box."""
    rows, columns = digit.levels.shape
    height = generator.randint(*HEIGHTS)
    width = max(round(height * columns / rows * generator.uniform(*WIDTHS)), 4)
    # A frame of nothing around it, or the strokes at the edge would be cut off sharp.
    framed = Image.fromarray(np.pad(digit.levels, 1))
    size = (round(width * (columns + 2) / columns), round(height * (rows + 2) / rows))
    ink = framed.resize(size, Image.Resampling.BICUBIC)
    return ink.crop(ink.point([255 * (level >= 255 * INK) for level in range(256)]).getbbox())


def _colour(behind: Image.Image, generator: random.Random) -> tuple[int, int, int]:
    """A colour that is to be seen before what is behind."""
    grey = ImageStat.Stat(behind.convert("L")).mean[0]
    while True:
        red, green, blue = (generator.randint(0, 255) for _ in range(3))
        # As Pillow makes grey of colours (ITU-R 601-2).
        if abs(0.299 * red + 0.587 * green + 0.114 * blue - grey) >= CONTRAST:
            return red, green, blue


def _overlap(one: _Box, other: _Box) -> float:
    """Share of the smaller box that is in the larger."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return max(width, 0) * max(height, 0) / min(areas)
