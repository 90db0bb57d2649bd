"""One image file to square RGB pixels, whatever the format: Pillow, and nothing of TensorFlow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from tlkit.errors import UserError

# What is read: the formats that cameras, scanners, phones and the web make and that Pillow opens by itself.
IMAGE_EXTENSIONS = frozenset(
    ".jpg .jpeg .jpe .jfif .png .apng .bmp .dib .gif .webp .tif .tiff .avif .jp2 .j2k .tga .ico .ppm .pgm .pbm .pnm "
    ".pfm .pcx .sgi .dds .psd".split()
)

_ORIENTATION = 0x0112  # EXIF tag
_UPRIGHT = {  # value of that tag -> what to do with the pixels, from the EXIF 2.3 standard
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def decode_image(path: str | Path, image_size: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Read an image file as `(image_size, image_size, 3)` RGB bytes.

    The whole picture is resized to the square, bilinear with antialiasing; its aspect is not kept. A crop could cut
    the subject off and bars would spend pixels on nothing, while pretraining with random aspect ratios (3/4 to 4/3 in
    the usual recipe) has made backbones tolerant of the distortion. A rotation in the EXIF data is applied, transparent
    parts are put on white, 16-bit values are scaled by 1/257, and of an animation the first frame is taken. Colour
    profiles are not applied.

    Raises:
        UserError: When the file does not decode, naming it.
    """
    try:
        with Image.open(path) as image:
            if image.format == "JPEG":
                image.draft(None, (2 * image_size, 2 * image_size))  # decode at 1/2, 1/4 or 1/8 where that is enough
            image.load()
            turn = _UPRIGHT.get(
                _orientation(image)
            )  # only now: Pillow has turned a TIFF itself, and taken the tag away
            pixels = _to_rgb(image).resize((image_size, image_size), Image.Resampling.BILINEAR, reducing_gap=2.0)
    except Exception as error:  # Pillow's plugins raise a dozen types on a damaged file
        raise UserError(unreadable(path, error)) from error
    return np.asarray(pixels if turn is None else pixels.transpose(turn))


def why_unreadable(path: str | Path) -> str | None:
    """What is wrong with an image file as far as its header tells, or None; costs a fraction of decoding it."""
    try:
        with Image.open(path):
            return None
    except Exception as error:
        return _reason(path, error)


def unreadable(path: str | Path, error: Exception) -> str:
    """The one-line sentence about an image file that does not decode."""
    return (
        f"The image {path} cannot be read ({_reason(path, error)}). "
        "Replace or remove it, or leave out all such files with on_corrupt='skip'."
    )


def _reason(path: str | Path, error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "the file is gone"
    if isinstance(error, UnidentifiedImageError):
        return "the file is empty" if Path(path).stat().st_size == 0 else "not an image of a known format"
    if isinstance(error, Image.DecompressionBombError):
        return f"more than {2 * (Image.MAX_IMAGE_PIXELS or 0):,} pixels, Pillow's limit against decompression bombs"
    return " ".join(str(error).split()) or type(error).__name__


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # damaged EXIF data beside good pixels: take them as they lie
        return 1


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "F":  # floating point, in [0, 1] by convention
        values = np.nan_to_num(np.asarray(image)) * 255
    elif image.mode.startswith("I"):  # 16 bits a pixel; "I" is how Pillow opens some of them
        values = np.asarray(image).astype(np.float32) / 257
    elif image.has_transparency_data:
        coloured = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", coloured.size, "white"), coloured).convert("RGB")
    else:
        return image.convert("RGB")
    return Image.fromarray(np.clip(np.rint(values), 0, 255).astype(np.uint8)).convert("RGB")
