"""Boxes drawn on an image in its own size, to be kept as a file."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps

from tlkit.errors import UserError

# Okabe and Ito's colours, which people with colour blindness tell apart, without black: https://jfly.uni-koeln.de/color
_COLOURS = ("#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7")


def draw_boxes(
    image: str | os.PathLike[str] | Image.Image,
    boxes: np.ndarray,
    class_names: Sequence[str],
    scores: Sequence[float] | None = None,
    *,
    colours: Sequence[str] | None = None,
) -> Image.Image:
    """Draw boxes with the names of their classes on an image; `plot_boxes` compares found boxes with true ones.

    Args:
        image: A file, turned as its EXIF data say, or a Pillow image.
        boxes: `(n, 4)`, each x_min, y_min, x_max, y_max in pixels of the image.
        class_names: The class of each box.
        scores: From 0 to 1, written beside the names. Defaults to none.
        colours: All classes, in the order of their colours, so that a class has the same one in every picture. Defaults
            to those of this picture, sorted.

    Returns:
        A new image in RGB, of the same size.

    Raises:
        UserError: When the file cannot be read, or there is not a name for each box.

    Example:
        >>> picture = draw_boxes(Image.new("RGB", (64, 64)), np.array([[8, 8, 40, 40]]), ["cell"], [0.9])
        >>> picture.size, picture.getpixel((8, 20))  # the first colour, on the left side
        ((64, 64), (230, 159, 0))
    """
    boxes = np.asarray(boxes, np.float64).reshape(-1, 4)
    if len(boxes) != len(class_names) or (scores is not None and len(scores) != len(boxes)):
        raise UserError(
            f"draw_boxes: there are {len(boxes)} boxes. Expected a class name, and a score, for each. Received: "
            f"{len(class_names)} names" + (f" and {len(scores)} scores." if scores is not None else ".")
        )
    picture = _upright(image)
    draw = ImageDraw.Draw(picture)
    line = max(round(max(picture.size) / 320), 1)  # as thick in a large photo, shown at the size of a small one
    font = ImageFont.load_default(max(4 * line + 6, 10))
    names = dict.fromkeys([*(colours or ()), *sorted(class_names)])
    colour_of = {name: _COLOURS[i % len(_COLOURS)] for i, name in enumerate(names)}
    for number in np.argsort(scores if scores is not None else np.zeros(len(boxes)), kind="stable"):  # surest on top
        colour, text = colour_of[class_names[number]], class_names[number]
        text += f" {scores[number]:.0%}" if scores is not None else ""
        box = boxes[number]
        draw.rectangle(box.tolist(), outline=colour, width=line)
        left, top, right, bottom = draw.textbbox((0, 0), text, font=font)
        x = min(max(box[0], 0), max(picture.width - right, 0))
        y = box[1] - bottom if box[1] >= bottom else box[1]  # above the box, or in it where there is no room
        draw.rectangle([x, y, x + right, y + bottom], fill=colour)
        draw.text((x, y), text, fill="black", font=font)
    return picture


def _upright(image: str | os.PathLike[str] | Image.Image) -> Image.Image:
    if isinstance(image, Image.Image):
        return image.convert("RGB").copy()
    try:
        with Image.open(image) as opened:
            return ImageOps.exif_transpose(opened).convert("RGB")
    except (OSError, ValueError, SyntaxError) as error:
        raise UserError(f"draw_boxes: the image '{os.fspath(image)}' cannot be read ({error}). Replace it.") from error
