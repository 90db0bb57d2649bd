"""One box as it is written, to one that can be trained on: what is certain is mended, the rest is refused."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from tlkit.data.boxes.records import Kind, RawBox

# How far an edge may be outside, as a share of the image's side, to be clipped: a rectangle that was drawn past the
# border. What is farther out was probably drawn on an image of another size.
LITTLE = 0.05
ROUNDING = 0.01  # pixels; less is no mistake: YOLO's six digits are off by .005 in an image of 10,000 pixels

Corners = tuple[float, float, float, float]


class GoodBox(NamedTuple):
    """A box that can be used, and what was mended to make it so."""

    corners: Corners
    label: int
    mended: list[tuple[Kind, str]]


class BadBox(NamedTuple):
    """Why a box cannot be used."""

    kind: Kind
    what: str


def clean_box(box: RawBox, is_relative: bool, size: tuple[int, int], labels: Mapping[str, int]) -> GoodBox | BadBox:
    """Put the corners in order, clip what is a little outside; or say what is wrong.

    Args:
        box: As it is written.
        is_relative: Whether its corners are shares of the image's width and height.
        size: Width and height of the image in pixels.
        labels: Class name -> number.
    """
    if box.corners is None:
        return BadBox("number", f"expected the corners to be four numbers, not {box.written}")
    if box.name not in labels:
        return BadBox("class", _unknown(box.name, [*labels]))
    width, height = size
    scale = (width, height, width, height) if is_relative else (1, 1, 1, 1)
    x_min, y_min, x_max, y_max = (float(value * factor) for value, factor in zip(box.corners, scale, strict=True))
    shown = f"the box ({box.name}) {_shown((x_min, y_min, x_max, y_max))}"
    mended: list[tuple[Kind, str]] = []
    if x_min > x_max or y_min > y_max:
        x_min, x_max = sorted((x_min, x_max))
        y_min, y_max = sorted((y_min, y_max))
        mended.append(("swapped", f"{shown} has its corners in another order than smallest, largest"))
    over = (-x_min, -y_min, x_max - width, y_max - height)
    is_far = any(pixels > LITTLE * side for pixels, side in zip(over, (width, height, width, height), strict=True))
    if is_far or min(x_max, y_max) < 0 or x_min > width or y_min > height:
        return BadBox("outside", f"{shown} is outside of the image, which has {width} x {height} pixels")
    if max(over) > ROUNDING:
        mended.append(("clipped", f"{shown} is {max(over):.3g} pixels over the edge of {width} x {height}"))
    corners = (max(x_min, 0.0), max(y_min, 0.0), min(x_max, float(width)), min(y_max, float(height)))
    # Less than what is rounding is no width.
    if corners[2] - corners[0] < ROUNDING or corners[3] - corners[1] < ROUNDING:
        return BadBox("zero", f"{shown} has no area")
    return GoodBox(corners, labels[box.name], mended)


def _shown(corners: Sequence[float]) -> str:
    x_min, y_min, x_max, y_max = (f"{value:.6g}" for value in corners)
    return f"from ({x_min}, {y_min}) to ({x_max}, {y_max})"


def _unknown(name: str, names: list[str]) -> str:
    if not name:
        return "the box has no class"
    close = difflib.get_close_matches(name, names, n=1)
    hint = f"did you mean '{close[0]}'?" if close else f"expected one of {', '.join(names[:10])}"
    return f"there is no class '{name}': {hint}"
