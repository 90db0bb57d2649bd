"""Pictures as a page that needs no other file holds them."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image

from tlkit.errors import UserError
from tlkit.report.run_folder import Run

_WIDEST = 1800  # pixels: twice what the page shows, for fine screens
_LARGE = 200_000  # bytes from which a picture full of photos is kept as JPEG instead
_QUALITY = 88  # of 100: no artefacts around letters that an eye would see
_DPI = 144
_DPI_OF_RUNS = 120  # of the pictures that a project writes
_CSS_DPI = 96
_WIDE, _NARROW, _WIDEST_PANEL = 9.6, 3.8, 4.8  # inches of the page and of a panel of curves


class Picture(NamedTuple):
    """One picture: a data URI, and how many CSS pixels it takes where letters are of their natural size."""

    uri: str
    width: int
    height: int

    @property
    def is_wide(self) -> bool:
        """Whether it would be too small to read on a phone, and better moves sideways there."""
        return self.width > 700


def embed(file: Path) -> Picture | None:
    """A picture of a run's folder; None where there is none, or it cannot be read."""
    try:
        data = file.read_bytes()
        with Image.open(io.BytesIO(data)) as image:
            image.load()
            return _encode(image, data, _DPI_OF_RUNS)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None


def draw_curves(run: Run) -> Picture | None:
    """The learning curves, drawn anew one below the other, for a phone; None without a history."""
    return _draw_curves(run, 1, _NARROW)[0]


def draw_wide_curves(run: Run) -> tuple[Picture | None, Picture | None]:
    """The learning curves beside each other, for a wide page, and one below the other."""
    narrow, panels = _draw_curves(run, 1, _NARROW)
    columns = panels if panels < 4 else 2  # many have long names
    return (_draw_curves(run, columns, min(_WIDE / columns, _WIDEST_PANEL))[0] if narrow else None), narrow


def _draw_curves(run: Run, columns: int, panel: float) -> tuple[Picture | None, int]:
    """The picture of so many columns, each so many inches wide, and the number of panels."""
    from tlkit.evaluation import plot_learning_curves

    monitor: dict[str, Any] = {} if run.best_by is None else dict(zip(("monitor", "mode"), run.best_by, strict=True))
    try:
        figure = plot_learning_curves(run.history, run.openings, columns=columns, **monitor)
    except UserError:  # a history without a curve
        return None, 0
    panels = len(figure.axes)
    figure.set_size_inches(panel * columns, 0.78 * panel * -(-panels // columns))
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=_DPI)
    with Image.open(buffer) as image:
        return _encode(image, buffer.getvalue(), _DPI), panels


def _encode(image: Image.Image, data: bytes, dpi: int) -> Picture:
    """The bytes as they are where that is sensible, else smaller ones."""
    width, height = (round(pixels * _CSS_DPI / dpi) for pixels in image.size)
    kind = "png"
    if image.width > _WIDEST or image.format != "PNG":
        image = image.convert("RGB")
        image.thumbnail((_WIDEST, 20 * _WIDEST), Image.Resampling.LANCZOS)
        data = _save(image, "PNG", optimize=True)
    if len(data) > _LARGE:
        smaller = _save(_on_white(image), "JPEG", quality=_QUALITY, optimize=True)
        if len(smaller) < 0.7 * len(data):
            data, kind = smaller, "jpeg"
    uri = f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"
    return Picture(uri, width, height)


def _save(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def _on_white(image: Image.Image) -> Image.Image:
    """Without transparency, which JPEG has none of."""
    if image.mode in ("RGBA", "LA", "PA", "P"):
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return image.convert("RGB")
