"""What there is to know about single image files: each is decoded once, by the rules that training decodes by."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, TypeVar

import numpy as np
from PIL import Image

from tlkit.data.decoding import draft_side, load_pixels, open_image, orientation, reason, to_rgb
from tlkit.data.split_image_folder import ImageFile

Item = TypeVar("Item")
Result = TypeVar("Result")

DRAFT_SIDE = draft_side(224)  # pixels: large JPEGs are decoded as for training at 224 px
LARGE_PICTURE = 2**25  # pixels, about 100 MB decoded: of such pictures only one is in memory at a time
_SAMPLED_ROWS = 8  # in each of three places: what two pictures must share before they are compared in full
_STRIP_PIXELS = 2**22  # compared in full, a picture is read in strips of this many pixels (12 MB)
_CHUNK = 16  # files a thread takes at once: fewer switches, and still a quick stop and a smooth progress bar

_one_large_picture = threading.Lock()


class ImageFacts(NamedTuple):
    """One file of the data. The fields from `format` on are those of a file that decodes: `problem` is None.

    Attributes:
        file: Path and class.
        part: "train", "validation" or "test".
        num_bytes: Size of the file.
        problem: Why it does not decode, in a few words.
        format: Pillow's name of it, such as "JPEG"; found in the file's content, whatever its extension says.
        mode: Pillow's name of its colours, such as "RGB" or "I;16".
        is_transparent: Whether some of it may be see-through.
        width: In pixels, as a viewer shows it: after the EXIF rotation.
        height: The same.
        is_turned: Whether a rotation in EXIF data is applied.
        has_more_frames: Whether it is an animation or has several pages.
        values: Smallest and largest value, in modes of more than eight bits.
        sample: A fingerprint of some of its rows: equal in pictures that are equal.
    """

    file: ImageFile
    part: str
    num_bytes: int = 0
    problem: str | None = None
    format: str = ""
    mode: str = ""
    is_transparent: bool = False
    width: int = 0
    height: int = 0
    is_turned: bool = False
    has_more_frames: bool = False
    values: tuple[float, float] | None = None
    sample: bytes = b""


def look(file_and_part: tuple[ImageFile, str]) -> ImageFacts:
    """Decode one file, wholly."""
    file, part = file_and_part
    try:
        with open_image(file.path) as image, _taking_turns(image):
            width, height = image.size
            load_pixels(image, DRAFT_SIDE)
            turn = orientation(image)
            width, height = (height, width) if turn >= 5 else (width, height)
            return ImageFacts(
                file,
                part,
                os.stat(file.path).st_size,
                format=image.format or "",
                mode=image.mode,
                is_transparent=image.has_transparency_data,
                width=width,
                height=height,
                is_turned=2 <= turn <= 8,
                values=_range(image),
                sample=_digest(image, _sampled_rows(image.height), f"{width}x{height}, {turn}"),
                has_more_frames=_has_more_frames(image),
            )
    except Exception as error:  # whatever `decode_image` words as one sentence
        return ImageFacts(file, part, problem=reason(file.path, error))


def alike_at_first_sight(facts: Sequence[ImageFacts]) -> list[ImageFacts]:
    """Those that may show the same picture as another: their samples are equal."""
    return [one for group in _groups(facts, [one.sample for one in facts]) for one in group]


def same_pictures(facts: Sequence[ImageFacts], advance: Callable[[int], None]) -> list[list[ImageFacts]]:
    """Groups of files that show the same picture, pixel for pixel, whatever their names, formats and metadata.

    JPEGs larger than `DRAFT_SIDE` count as the same when they are at the size that training decodes them at.
    """
    return _groups(facts, in_parallel(_fingerprint, facts, advance))


def in_parallel(
    function: Callable[[Item], Result], items: Iterable[Item], advance: Callable[[int], None]
) -> Iterator[Result]:
    """`function` of every item, in order, on all cores; `advance` is told how many more are done.

    Threads do: Pillow decodes without Python's lock. Processes were no faster on JPEGs of 500x375 (`python
    benchmarks/image_inspection.py`), and would start this program anew on macOS and Windows. When the caller stops,
    by Ctrl-C say, what has not begun is dropped.
    """

    def work(chunk: list[Item]) -> list[Result]:
        return [function(item) for item in chunk]

    items = iter(items)
    chunks = iter(lambda: [*itertools.islice(items, _CHUNK)], [])
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        for results in threads.map(work, chunks):
            yield from results
            advance(len(results))


def _groups(facts: Sequence[ImageFacts], keys: Iterable[bytes]) -> list[list[ImageFacts]]:
    """Those that share a key with another; an empty key is shared with nobody."""
    groups: dict[bytes, list[ImageFacts]] = {}
    for one, key in zip(facts, keys, strict=True):
        if key:
            groups.setdefault(key, []).append(one)
    return [group for group in groups.values() if len(group) > 1]


def _fingerprint(facts: ImageFacts) -> bytes:
    try:
        with open_image(facts.file.path) as image, _taking_turns(image):
            load_pixels(image, DRAFT_SIDE)
            rows = max(_STRIP_PIXELS // image.width, 1)
            strips = ((top, min(top + rows, image.height)) for top in range(0, image.height, rows))
            return _digest(image, strips, facts.sample.hex())
    except Exception:  # it decoded a moment ago: somebody is at work in the folder
        return b""


def _digest(image: Image.Image, strips: Iterable[tuple[int, int]], *besides: str) -> bytes:
    """A hash of rows of the picture in RGB, as the model will see it."""
    digest = hashlib.sha256("".join(besides).encode())  # faster than BLAKE2 where processors have an instruction for it
    for top, bottom in strips:
        digest.update(to_rgb(image.crop((0, top, image.width, bottom))).tobytes())
    return digest.digest()[:16]


def _sampled_rows(height: int) -> Iterator[tuple[int, int]]:
    for share in (0.25, 0.5, 0.75):
        top = max(int(share * height) - _SAMPLED_ROWS // 2, 0)
        yield top, min(top + _SAMPLED_ROWS, height)


def _range(image: Image.Image) -> tuple[float, float] | None:
    if image.mode != "F" and not image.mode.startswith("I"):
        return None
    values = np.asarray(image)
    values = values[np.isfinite(values)]
    return (float(values.min()), float(values.max())) if len(values) else None


def _has_more_frames(image: Image.Image) -> bool:
    if image.format == "MPO":  # a phone's JPEG with a depth map behind it: still one photograph
        return False
    try:
        return bool(getattr(image, "is_animated", False))
    except Exception:  # the frames behind the first are damaged; they are not read
        return True


@contextlib.contextmanager
def _taking_turns(image: Image.Image) -> Iterator[None]:
    width, height = image.size
    with _one_large_picture if width * height > LARGE_PICTURE else contextlib.nullcontext():
        yield
