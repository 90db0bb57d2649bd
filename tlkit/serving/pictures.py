"""Whether a file may be handed to the model's own reading: a picture of a known format and a bearable size."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from tlkit.data.decoding import open_image, reason
from tlkit.errors import UserError
from tlkit.serving.refusal import Refusal

MOST_PIXELS = 64_000_000  # 200 MB as RGB; the largest common cameras and phones make 50 million
# Pillow opens more than pictures, and some by running other programs (EPS by Ghostscript).
_FORMATS = frozenset("JPEG MPO PNG BMP DIB GIF WEBP TIFF AVIF JPEG2000 TGA ICO PPM PFM PCX SGI DDS PSD".split())


def check_picture(file: Path) -> None:
    """Look at a picture's header; its pixels are not read yet.

    Raises:
        Refusal: When it is none, or has more pixels than are worth the memory.
    """
    try:
        with open_image(file) as image:
            (width, height), kind = image.size, str(image.format)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise Refusal(413, f"The picture is too large: at most {MOST_PIXELS // 10**6} million pixels.") from error
    except Exception as error:  # Pillow's plugins raise a dozen types on a damaged file
        raise unreadable(file, error) from error
    if kind not in _FORMATS:
        raise Refusal(422, f"This picture cannot be read (a file of the format {kind}). Convert it to PNG.")
    if width * height > MOST_PIXELS:
        limit = f"Expected at most {MOST_PIXELS // 10**6} million."
        raise Refusal(413, f"The picture is too large: {width:,} x {height:,} pixels. {limit}")


def unreadable(file: Path, error: Exception) -> Refusal:
    """What to say of a file that Pillow, or the project's reading by Pillow, stumbled over."""
    if isinstance(error, UserError):
        if not isinstance(error.__cause__, Exception):
            return Refusal(422, str(error))
        error = error.__cause__  # its own sentence names a file that the sender has never seen
    return Refusal(422, f"This picture cannot be read ({reason(file, error)}). Try another one.")
