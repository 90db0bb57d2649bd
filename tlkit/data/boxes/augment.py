"""Random changes of an image that its boxes go along with: a pure function of the image and a seed."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tlkit.data.boxes.letterbox import PADDING
from tlkit.errors import UserError


class Move(NamedTuple):
    """Where the picture in a square goes.

    Attributes:
        width: New width of the picture in pixels, its old one scaled.
        height: The same.
        left: Where its left edge is then; below 0 when it is cut off there.
        top: The same of its upper edge.
        is_flipped: Whether the square is mirrored afterwards, left to right.
    """

    width: int
    height: int
    left: int
    top: int
    is_flipped: bool


@dataclasses.dataclass(frozen=True)
class BoxAugmentation:
    """Flip, scale jitter with crop, brightness and contrast; boxes move with the pixels.

    Keras's layers with `bounding_box_format` are not used. In Keras 3.15, `RandomCrop` cuts pixels and boxes at
    different places, flips and zooms turn rows of padding into boxes, and what they draw depends on how often they were
    called, so that a resumed training would see other images.

    Args:
        flip: Probability of mirroring left to right. 0 where left and right differ, as in writing.
        scale: Smallest and largest factor of the picture's size. What becomes larger than the square is cropped at a
            random place, what is smaller lies at a random place on grey. (0.5, 1.5) is milder than the (0.1, 2.0) that
            Ghiasi et al. recommend for training from the start over hundreds of epochs. (1, 1) leaves it.
        min_area: Share of its area that must be left of a box after a crop; of which less is left is no longer a box,
            for too little is seen of the thing.
        brightness: Largest share of the whole range (255) that is added or taken away.
        contrast: Largest change of the factor by which values differ from mid-grey.

    Raises:
        UserError: When a number is out of its range.

    Example:
        >>> pixels = np.zeros((4, 4, 3), np.uint8)
        >>> mirror = BoxAugmentation(flip=1.0, scale=(1.0, 1.0))
        >>> _, boxes, labels = mirror(pixels, [[0, 1, 1, 3]], [5], (4, 4), seed=(0, 0, 0))
        >>> boxes.tolist(), labels.tolist()
        ([[3.0, 1.0, 4.0, 3.0]], [5])

    Reference: G. Ghiasi et al., 2021, "Simple Copy-Paste is a Strong Data Augmentation Method", CVPR,
        https://arxiv.org/abs/2012.07177, section 3 (standard and large scale jittering). Differs from it in: no
        pasting, colours change as well.
    """

    flip: float = 0.5
    scale: tuple[float, float] = (0.5, 1.5)
    min_area: float = 0.3
    brightness: float = 0.1
    contrast: float = 0.2

    def __post_init__(self) -> None:
        low, high = self.scale
        shares = (self.flip, self.min_area, self.brightness, self.contrast)
        if not (0 < low <= high and all(0 <= share <= 1 for share in shares)):
            raise UserError(
                "BoxAugmentation: expected `flip`, `min_area`, `brightness` and `contrast` from 0 to 1, and `scale` to "
                f"be a smaller and a larger factor above 0. Received: {self}."
            )

    def __call__(
        self,
        pixels: NDArray[np.uint8],
        boxes: Any,
        labels: Any,
        content: tuple[int, int],
        *,
        seed: tuple[int, ...],
    ) -> tuple[NDArray[np.uint8], NDArray[np.float64], NDArray[np.int32]]:
        """Change one image; equal arguments give equal results.

        Args:
            pixels: `(side, side, 3)`, a letterboxed image.
            boxes: `(n, 4)` in pixels of it.
            labels: `(n,)`.
            content: Width and height of the picture in the square's upper left corner.
            seed: Integers of 0 or more, such as (seed, epoch, number of the image).
        """
        generator = np.random.default_rng(seed)
        move = self.draw(generator, content, len(pixels))
        picture = Image.fromarray(pixels[: content[1], : content[0]]).point(self._draw_colours(generator))
        moved, is_left = move_boxes(boxes, move, content, len(pixels), self.min_area)
        return move_pixels(picture, move, len(pixels)), moved, np.asarray(labels, np.int32)[is_left]

    def draw(self, generator: np.random.Generator, content: tuple[int, int], side: int) -> Move:
        """Where the picture goes."""
        factor = generator.uniform(*self.scale)
        width, height = (max(round(length * factor), 1) for length in content)
        left, top = (
            int(generator.integers(min(side - length, 0), max(side - length, 0) + 1)) for length in (width, height)
        )
        return Move(width, height, left, top, bool(generator.random() < self.flip))

    def _draw_colours(self, generator: np.random.Generator) -> list[int]:
        """What becomes of each value from 0 to 255, for the three colours."""
        contrast = 1 + generator.uniform(-self.contrast, self.contrast)
        added = 255 * generator.uniform(-self.brightness, self.brightness)
        values = np.clip(np.rint((np.arange(256) - 127.5) * contrast + 127.5 + added), 0, 255)
        return [int(value) for value in values] * 3


def move_boxes(
    boxes: Any, move: Move, content: tuple[int, int], side: int, min_area: float
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """The boxes after a move, clipped to the square, and which of the old ones they are.

    Args:
        boxes: `(n, 4)` in pixels of the square.
        move: Of the picture.
        content: Width and height of the picture before it.
        side: Of the square.
        min_area: Share of a box's area that must be left of it.
    """
    moved = np.asarray(boxes, np.float64).reshape(-1, 4) * np.tile(np.array([move.width, move.height]) / content, 2)
    moved += (move.left, move.top, move.left, move.top)
    if move.is_flipped:
        moved[:, [0, 2]] = side - moved[:, [2, 0]]
    areas = _areas(moved)
    moved = np.clip(moved, 0, side)
    is_left = (_areas(moved) > 0) & (_areas(moved) >= min_area * areas)
    return moved[is_left], is_left


def _areas(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    areas: NDArray[np.float64] = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    return areas


def move_pixels(picture: Image.Image, move: Move, side: int) -> NDArray[np.uint8]:
    """The square after a move of the picture that was in it."""
    square = Image.new("RGB", (side, side), (PADDING, PADDING, PADDING))
    left, right = max(move.left, 0), min(move.left + move.width, side)
    top, bottom = max(move.top, 0), min(move.top + move.height, side)
    across, down = picture.width / move.width, picture.height / move.height
    seen = (  # of the picture, in its own pixels
        (left - move.left) * across,
        (top - move.top) * down,
        min((right - move.left) * across, picture.width),
        min((bottom - move.top) * down, picture.height),
    )
    square.paste(picture.resize((right - left, bottom - top), Image.Resampling.BILINEAR, box=seen), (left, top))
    return np.asarray(square.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if move.is_flipped else square)
