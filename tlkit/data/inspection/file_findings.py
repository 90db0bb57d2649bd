"""What is to be said of single files, of the data and beside it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from tlkit.data.image_listing import extensions
from tlkit.data.inspection.facts import LARGE_PICTURE, ImageFacts
from tlkit.data.inspection.finding import Finding, Severity, counted
from tlkit.data.inspection.seen import Seen
from tlkit.errors import printable

SMALL_SIDE = 32  # pixels: image networks halve their input five times, so that this is one value at the end
LONG_SHAPE = 3  # times as long as wide; the random crops of pretraining go up to 4/3
LARGE_FILE = 50 * 10**6  # bytes; a photo of 24 megapixels is about 10 MB as JPEG
DARK = 4095  # the largest value of 12 bits, which medical and industrial cameras store in 16
_SAME_FORMAT = {"MPO": "JPEG", "DIB": "BMP"}  # formats that go by another's extension


def find_in_files(seen: Seen) -> list[Finding]:
    """All findings of this kind, in no order."""
    return [
        *_unreadable(seen),
        *_shapes(seen),
        *_large(seen),
        *_ranges(seen),
        *_frames(seen),
        *_misnamed(seen),
        *_nested(seen),
        *_left_out(seen),
    ]


def _unreadable(seen: Seen) -> list[Finding]:
    bad = [one for one in seen.facts if one.problem is not None]
    sentence = (
        f"{counted(bad, 'image does', 'images do')} not decode: training stops there, or leaves such files out "
        "with on_corrupt='skip'. Replace or remove them."
    )
    return seen.finding("error", sentence, bad, lambda one: str(one.problem))


# Pixels -------------------------------------------------------------------------------------------


def _shapes(seen: Seen) -> list[Finding]:
    def size(one: ImageFacts) -> str:
        return f"{one.width:,} x {one.height:,}"

    small = [one for one in seen.good if min(one.width, one.height) < SMALL_SIDE]
    long = [one for one in seen.good if max(one.width, one.height) > LONG_SHAPE * min(one.width, one.height)]
    few_pixels = (
        f"{counted(small, 'image is', 'images are')} less than {SMALL_SIDE} pixels wide or high: enlarged for the "
        "network, there is little to see. Take larger ones where there are any."
    )
    squeezed = (
        f"{counted(long, 'image is', 'images are')} more than {LONG_SHAPE} times as long as wide, and squeezed when "
        "resized to a square. Cut out what matters."
    )
    return [*seen.finding("warning", few_pixels, small, size), *seen.finding("note", squeezed, long, size)]


def _large(seen: Seen) -> list[Finding]:
    large = [one for one in seen.good if one.width * one.height > LARGE_PICTURE or one.num_bytes > LARGE_FILE]
    sentence = (
        f"{counted(large, 'image is', 'images are')} larger than {LARGE_PICTURE / 1e6:.0f} million pixels or "
        f"{LARGE_FILE / 1e6:.0f} MB: slow to read in every epoch. Train on smaller copies."
    )
    return seen.finding(
        "note", sentence, large, lambda one: f"{one.width:,} x {one.height:,}, {one.num_bytes / 1e6:.1f} MB"
    )


def _ranges(seen: Seen) -> list[Finding]:
    """Values that are lost when scaled to eight bits."""

    def span(one: ImageFacts) -> str:
        low, high = one.values or (0, 0)
        return f"values from {low:g} to {high:g}"

    deep = [(one, *one.values) for one in seen.good if one.values is not None]
    dark = [one for one, _, high in deep if one.mode != "F" and high <= DARK]
    beyond = [one for one, low, high in deep if one.mode == "F" and (low < 0 or high > 1)]
    nearly_black = (
        f"{counted(dark, 'image of 16 bits has', 'images of 16 bits have')} no value above {DARK:,} of 65,535, and "
        "will be all but black. Scale the values to the whole range."
    )
    cut_off = (
        f"{counted(beyond, 'image of floating-point numbers has', 'images of floating-point numbers have')} values "
        "outside 0 (black) to 1 (white), which are cut off. Scale the values to that range."
    )
    return [*seen.finding("warning", nearly_black, dark, span), *seen.finding("warning", cut_off, beyond, span)]


# Files --------------------------------------------------------------------------------------------


def _frames(seen: Seen) -> list[Finding]:
    several = [one for one in seen.good if one.has_more_frames]
    sentence = (
        f"{counted(several, 'file holds', 'files hold')} several frames or pages, of which only the first is taken. "
        "Save others that matter as files of their own."
    )
    return seen.finding("note", sentence, several)


def _misnamed(seen: Seen) -> list[Finding]:
    known = Image.registered_extensions()

    def is_misnamed(one: ImageFacts) -> bool:
        called = known.get(one.file.path.suffix.lower(), "")
        return _SAME_FORMAT.get(called, called) != _SAME_FORMAT.get(one.format, one.format)

    misnamed = [one for one in seen.good if is_misnamed(one)]
    sentence = (
        f"{counted(misnamed, 'file is', 'files are')} of another format than the extension says. The content counts "
        "here, so nothing is lost; other programs may refuse such files until renamed."
    )
    return seen.finding("note", sentence, misnamed, lambda one: f"holds {one.format}")


def _nested(seen: Seen) -> list[Finding]:
    if seen.is_table:
        return []
    deeper = [one for one in seen.facts if one.file.path.parent.name != seen.class_names[one.file.classes[0]]]
    folders = Counter(seen.name(one.file.path.parent) for one in deeper)
    sentence = (
        f"{counted(deeper, 'image lies', 'images lie')} in folders inside class folders, and "
        f"{'belongs' if len(deeper) == 1 else 'belong'} to the class above. Move folders that are classes of their own "
        "one level up."
    )
    details = tuple(
        f"{printable(name)}/: {counted(range(number), 'image', 'images')}" for name, number in folders.items()
    )
    return [finding._replace(details=details) for finding in seen.finding("note", sentence, deeper)]


def _left_out(seen: Seen) -> list[Finding]:
    left, table = seen.left_out, seen.is_table
    outside = (
        "in no row of the table, and left out. Add rows for those that belong to the data."
        if table
        else "outside the class folders, and left out. Move those that belong to the data into their class folders."
    )
    kinds: Sequence[tuple[Severity, list[Path], str, str, str]] = [
        ("note" if table else "warning", left.images, "image is", "images are", outside),
        (
            "warning",
            left.unknown,
            "file is",
            "files are",
            f"left out because of the extension ({extensions(left.unknown)}). Convert images among them to JPEG or "
            "PNG, or name them by what they hold.",
        ),
        ("warning", left.dead_links, "link leads", "links lead", "nowhere: bring back what was there, or remove it."),
        ("note", left.companions, "file is", "files are", f"passed over as no image ({extensions(left.companions)})."),
        ("note", left.hidden, "hidden file or folder is", "hidden files or folders are", "passed over."),
        ("note", left.empty_folders, "folder is", "folders are", "empty."),
    ]
    return [
        Finding(severity, f"{counted(paths, one, many)} {what}", tuple(seen.name(path) for path in paths))
        for severity, paths, one, many, what in kinds
        if paths
    ]
