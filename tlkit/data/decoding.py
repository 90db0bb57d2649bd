"""One image file to square RGB pixels, whatever the format: Pillow, and nothing of TensorFlow."""

from __future__ import annotations

import os
import stat
import struct
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from tlkit.errors import UserError, printable

# What is read: the formats that cameras, scanners, phones and the web make and that Pillow opens by itself.
IMAGE_EXTENSIONS = frozenset(
    ".jpg .jpeg .jpe .jfif .png .apng .bmp .dib .gif .webp .tif .tiff .avif .jp2 .j2k .tga .ico .ppm .pgm .pbm .pnm "
    ".pfm .pcx .sgi .dds .psd".split()
)
COMMON_EXTENSIONS = ".jpg, .png, .webp, .tif, .bmp, .gif"  # for messages

# How a file begins that is often taken for an image and is none, and what it is. HEIC is a box format: its name comes
# after four bytes of length (ISO/IEC 14496-12).
_NO_IMAGES = {
    b"<!doctype html": "a web page, probably of a failed download",
    b"<html": "a web page, probably of a failed download",
    b"<svg": "an SVG drawing: convert it to PNG",
    b"<?xml": "an XML file, perhaps an SVG drawing: convert it to PNG",
    b"%pdf": "a PDF document: convert its pages to PNG",
    b"pk\x03\x04": "a ZIP archive: unpack it",
    b"version https://git-lfs": "a pointer of Git LFS: run `git lfs pull`",
}
# How JPEG, PNG, GIF and TIFF begin.
_IMAGES = (b"\xff\xd8\xff", b"\x89PNG\r\n", b"GIF8", b"II*\x00", b"MM\x00*")
_HEIC_BRANDS = (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1")

_ORIENTATION = 0x0112  # EXIF tag
UPRIGHT = {  # value of that tag -> what to do with the pixels, from the EXIF 2.3 standard
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
        with open_image(path) as image:
            load_pixels(image, draft_side(image_size))
            turn = UPRIGHT.get(orientation(image))
            pixels = to_rgb(image).resize((image_size, image_size), Image.Resampling.BILINEAR, reducing_gap=2.0)
    except Exception as error:  # Pillow's plugins raise a dozen types on a damaged file
        raise UserError(
            f"The image {printable(path)} cannot be read ({reason(path, error)}). Replace or remove it."
        ) from error
    return np.asarray(pixels if turn is None else pixels.transpose(turn))


def draft_side(image_size: int) -> int:
    """The side in pixels that scaled decoding of a JPEG has to leave, for a picture that becomes `image_size`."""
    # 1.5 times leaves 1.5 to 3 times the size. The pixels of photographs then differ from those of an exact resize by
    # 1.2 of 255 on average (MobileNetV2's features have a cosine of .996, and classify alike); with 2 times by 1.0,
    # with 1 times by 2.8 (.95). TensorFlow's decoder differs by 0.9. See docs/speed.md, benchmarks/jpeg_scale.py.
    return image_size * 3 // 2


def why_unreadable(path: str | Path) -> str | None:
    """What is wrong with an image file as far as its header tells, or None; costs a fraction of decoding it."""
    try:
        with open_image(path):
            return None
    except Exception as error:
        return reason(path, error)


# The steps of decoding: inspection takes the same ones, so that it finds what training would stumble over -----------


def open_image(path: str | Path) -> Image.Image:
    """Read an image file's header; its pixels are read when they are asked for, until the image is closed."""
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise OSError("not a file but a folder, a pipe or a device")  # opening a pipe would wait for its other end
    return Image.open(path)


def load_pixels(image: Image.Image, draft_side: int) -> None:
    """Decode the first frame wholly, to the last byte; a JPEG at 1/2, 1/4 or 1/8 where that leaves `draft_side`."""
    if image.format == "JPEG":
        image.draft(None, (draft_side, draft_side))
    image.load()


def orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 to 8, that is still to be applied; to be asked after loading, which turns a TIFF."""
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # damaged EXIF data beside good pixels: take them as they lie
        return 1


def to_rgb(image: Image.Image) -> Image.Image:
    """The image in three times eight bits, whatever its mode; itself where it is so already."""
    if image.mode == "RGB" and not image.has_transparency_data:
        return image  # `convert` would copy it
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


def reason(path: str | Path, error: Exception) -> str:
    """Why a file does not decode, in a few words on one line."""
    if isinstance(error, FileNotFoundError):
        return "a link to a file that is not there" if os.path.islink(path) else "the file is gone"
    if isinstance(error, UnidentifiedImageError):
        return _no_image(path)
    if isinstance(error, Image.DecompressionBombError):
        return f"more than {2 * (Image.MAX_IMAGE_PIXELS or 0):,} pixels, Pillow's limit against decompression bombs"
    words = getattr(error, "strerror", None) or " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, (EOFError, struct.error)) or "truncated" in words.lower():
        return "truncated: the file ends before its picture does"
    return printable(words)


def _no_image(path: str | Path) -> str:
    with open(path, "rb") as file:
        start = file.read(64)
    if not start:
        return "the file is empty"
    if not any(start):
        return "its first bytes are all zero, as after a download or copy that was cut off"
    if start[4:8] == b"ftyp" and start[8:12] in _HEIC_BRANDS:
        return "a HEIC photo, which is not read: convert it to JPEG"
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    what = next((words for begin, words in _NO_IMAGES.items() if text.startswith(begin)), None)
    if what is not None:
        return f"not an image but {what}"
    if start.startswith(_IMAGES):
        return "damaged: it begins like an image, and its header makes no sense"
    return "not an image of a known format"
