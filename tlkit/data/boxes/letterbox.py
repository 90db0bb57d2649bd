"""An image of any shape in a square, its aspect kept, and boxes there and back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tlkit.data.decoding import UPRIGHT, load_pixels, open_image, orientation, reason, to_rgb
from tlkit.errors import UserError, printable

# Grey level of what is no image: ImageNet's mean, .449 * 255, so that a pretrained network gets about zero there.
PADDING = 114


def resized_size(original_size: tuple[int, int], image_size: int) -> tuple[int, int]:
    """Width and height of an image in a square of `image_size`: the longer side fills it, from the upper left corner.

    Example:
        >>> resized_size((640, 480), 320)
        (320, 240)
    """
    width, height = original_size
    longer = max(width, height)
    return max(round(width * image_size / longer), 1), max(round(height * image_size / longer), 1)


def to_resized_pixels(boxes: Any, original_size: Any, image_size: int) -> NDArray[np.float64]:
    """Boxes in pixels of the image file, to pixels of the image as the model gets it.

    Args:
        boxes: `(..., 4)`, each `(x_min, y_min, x_max, y_max)`.
        original_size: `(width, height)` of the file in pixels; or `(batch, 2)` for boxes `(batch, n, 4)`.
        image_size: Side of the model's square in pixels.
    """
    scales, _ = _scales(boxes, original_size, image_size)
    resized: NDArray[np.float64] = np.asarray(boxes, np.float64) * scales
    return resized


def to_original_pixels(boxes: Any, original_size: Any, image_size: int) -> NDArray[np.float64]:
    """Boxes in pixels of the image as the model gets it, to pixels of the image file.

    What `load_boxes` does to a box, undone, and clipped to the image: the model may predict a box that reaches into
    the padding.

        x_file = x * width / resized_width,  y_file = y * height / resized_height

    Args:
        boxes: `(..., 4)`, each `(x_min, y_min, x_max, y_max)`, such as a model predicts.
        original_size: `(width, height)` of the file in pixels; or `(batch, 2)` for boxes `(batch, n, 4)`.
        image_size: Side of the model's square in pixels.

    Example:
        >>> to_original_pixels([[10.0, 20.0, 110.0, 250.0]], (640, 480), image_size=320).tolist()
        [[20.0, 40.0, 220.0, 480.0]]
    """
    scales, sides = _scales(boxes, original_size, image_size)
    original: NDArray[np.float64] = np.clip(np.asarray(boxes, np.float64) / scales, 0.0, sides)
    return original


def _scales(boxes: Any, original_size: Any, image_size: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Factors from file to square, and the largest values of a box in the file, both to broadcast over the boxes."""
    sizes = np.asarray(original_size, np.int64)
    shape = np.shape(boxes)
    if shape[-1:] != (4,) or sizes.shape not in ((2,), (shape[0], 2)) or (sizes.ndim == 2 and len(shape) != 3):
        raise UserError(
            "Expected boxes of shape (..., 4) with one original size (width, height), or (batch, n, 4) with sizes "
            f"(batch, 2). Received: shapes {shape} and {sizes.shape}."
        )
    resized = np.array([resized_size((width, height), image_size) for width, height in sizes.reshape(-1, 2).tolist()])
    sides = np.tile(sizes.reshape(-1, 2), 2).astype(np.float64)
    scales = np.tile(resized, 2) / sides
    return (scales[0], sides[0]) if sizes.ndim == 1 else (scales[:, None], sides[:, None])


def decode_letterboxed(path: Path, original_size: tuple[int, int], image_size: int) -> NDArray[np.uint8]:
    """Read an image file whose boxes are known, as `read_letterboxed` does.

    Args:
        path: Of the file.
        original_size: Width and height that its boxes are for, after a rotation in the EXIF data.
        image_size: Side of the square in pixels.

    Raises:
        UserError: When the file does not decode, or has another size by now, naming it.
    """
    pixels, found = read_letterboxed(path, image_size)
    if found != original_size:
        raise UserError(
            f"The image {printable(path)} has {found[0]} x {found[1]} pixels; its boxes were read for "
            f"{original_size[0]} x {original_size[1]}. Read them again."
        )
    return pixels


def read_letterboxed(path: Path, image_size: int) -> tuple[NDArray[np.uint8], tuple[int, int]]:
    """Read an image file as `(image_size, image_size, 3)` RGB bytes, in the upper left corner of grey.

    Args:
        path: Of the file.
        image_size: Side of the square in pixels.

    Returns:
        The bytes, and width and height of the file in pixels, after a rotation in its EXIF data.

    Raises:
        UserError: When the file does not decode, naming it.
    """
    try:
        with open_image(path) as image:
            found = image.size
            load_pixels(image, 2 * image_size)
            turn = orientation(image)  # of a TIFF, 1: its size is told turned, and loading turns it
            found = found[::-1] if turn >= 5 else found
            picture = to_rgb(image)
    except Exception as error:  # Pillow's plugins raise a dozen types on a damaged file
        raise UserError(
            f"The image {printable(path)} cannot be read ({reason(path, error)}). Replace or remove it."
        ) from error
    if turn in UPRIGHT:
        picture = picture.transpose(UPRIGHT[turn])
    square = Image.new("RGB", (image_size, image_size), (PADDING, PADDING, PADDING))
    square.paste(picture.resize(resized_size(found, image_size), Image.Resampling.BILINEAR, reducing_gap=2.0))
    return np.asarray(square), found
