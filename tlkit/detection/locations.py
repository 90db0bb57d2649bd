"""Where a detector looks: the pixels that stand for the places of its maps."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tlkit.errors import UserError

STRIDES = (8, 16, 32)  # what `load_backbone(handle, outputs="pyramid")` gives


def map_sizes(image_size: int | Sequence[int], strides: Sequence[int] = STRIDES) -> list[tuple[int, int]]:
    """Height and width of the map at each stride: the image's, divided and rounded up."""
    height, width = check_image_size(image_size)
    return [(-(-height // stride), -(-width // stride)) for stride in check_strides(strides)]


def locations(image_size: int | Sequence[int], strides: Sequence[int] = STRIDES) -> np.ndarray:
    """The location of every place of every map, in pixels of the image: the middle of what the place covers.

    A detector answers once for each: which class is here, and how far away are the four sides of its box. The order is
    that of a detector's outputs: map by map, finest first; in a map row by row.

        x = stride * (column + 1/2),  y = stride * (row + 1/2)

    Args:
        image_size: Int, or pair of ints, height and width in pixels.
        strides: Ints, finest first: pixels from one place of a map to the next. Defaults to `(8, 16, 32)`.

    Returns:
        Array `(locations, 2)`, float32, of x and y. Where a stride does not divide the size, the map has one more row
        or column, and its last location may lie outside of the image.

    Raises:
        UserError: When the size or a stride is no whole number above 0, or the strides do not double.

    Example:
        >>> from tlkit.detection import locations
        >>> locations(16, strides=(8, 16)).tolist()
        [[4.0, 4.0], [12.0, 4.0], [4.0, 12.0], [12.0, 12.0], [8.0, 8.0]]

    Reference: Tian, Shen, Chen and He, 2019, "FCOS: Fully Convolutional One-Stage Object Detection", ICCV,
        https://arxiv.org/abs/1904.01355, section 3.1. Differs from it in: nothing.
    """
    levels = []
    for stride, (height, width) in zip(strides, map_sizes(image_size, strides), strict=True):
        y, x = np.mgrid[:height, :width].reshape(2, -1)
        levels.append(stride * (np.stack([x, y], axis=1) + 0.5))
    return np.concatenate(levels).astype("float32")


def check_image_size(image_size: int | Sequence[int]) -> tuple[int, int]:
    """Height and width, checked."""
    size = tuple(image_size) if isinstance(image_size, Sequence) else (image_size, image_size)
    if len(size) != 2 or not all(map(_is_count, size)):
        raise UserError(
            f"detection: `image_size` is the size of the images. Expected a whole number above 0, or two of them, "
            f"height and width in pixels. Received: image_size={image_size!r}."
        )
    return size


def check_strides(strides: Sequence[int]) -> tuple[int, ...]:
    """The strides, checked: each twice the one before."""
    given = tuple(strides) if isinstance(strides, Sequence) else (None,)
    if not given or not all(map(_is_count, given)) or any(b != 2 * a for a, b in zip(given, given[1:], strict=False)):
        raise UserError(
            f"detection: `strides` are the pixels from one place of a map to the next. Expected whole numbers, finest "
            f"first, each twice the one before. Received: strides={strides!r}. Type `strides=(8, 16, 32)`."
        )
    return given


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0
