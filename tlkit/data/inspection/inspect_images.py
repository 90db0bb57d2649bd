"""A look at every image before anything is trained: what is there, and what will go wrong."""

from __future__ import annotations

import functools
import os
import statistics
import warnings
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from tlkit.data.inspection.class_findings import find_in_classes
from tlkit.data.inspection.facts import alike_at_first_sight, in_parallel, look, same_pictures
from tlkit.data.inspection.file_findings import find_in_files
from tlkit.data.inspection.finding import Finding, worst_first
from tlkit.data.inspection.left_out import left_out_of_folder, left_out_of_table
from tlkit.data.inspection.printing import progress_bar
from tlkit.data.inspection.report import ImageReport
from tlkit.data.inspection.seen import Seen
from tlkit.data.split_image_folder import ImageSplits, split_image_folder
from tlkit.data.stable_cut import PARTS

# Warnings of `split_image_folder` that inspection words itself, with the names of all files.
_WORDED_HERE = ("left out", "only in upper and lower case", "not judged there")


def inspect_images(
    folder: str | Path,
    *,
    split: Sequence[float] = (0.7, 0.15, 0.15),
    seed: int = 0,
    group_pattern: str | None = None,
    progress: bool = False,
) -> ImageReport:
    """Look at all images of a folder or table, and report what to mend before training on them.

    Every file is decoded, as training decodes it, so that the files reported are those that training would stop at.
    Counted are classes, sizes, colours, formats and EXIF rotations; found are files that do not decode, the same
    picture under several labels or in several parts of the split, classes with few images or names that look alike,
    images that are tiny, stretched, huge or out of range, and everything in the folder that is left out of the data.

    What is found raises nothing. Memory grows by about 1 kB a file, and pictures of more than 34 million pixels are
    decoded one at a time; those beyond Pillow's limit are not decoded at all, as in training.

    Args:
        folder: A folder or a table, as `split_image_folder` takes it.
        split: As training will split, so that pictures in several parts are those that it will meet.
        seed: The same.
        group_pattern: The same.
        progress: Show a progress bar on standard error.

    Raises:
        UserError: When there is nothing to inspect, because the folder or table is not laid out as expected.

    Example:
        >>> report = inspect_images("photos")
        >>> report.num_images, list(report.classes)
        (16, ['ant', 'bee'])
        >>> for finding in report.findings:
        ...     print(finding.severity, finding.sentence.partition(":")[0])
        warning 2 classes have fewer than 10 images that decode
    """
    source = Path(folder)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        splits = split_image_folder(source, split=split, seed=seed, group_pattern=group_pattern)
    said = [str(warning.message) for warning in caught]
    seen = _look_at_all(source, splits, progress)
    findings = [Finding("warning", text) for text in said if not any(words in text for words in _WORDED_HERE)]
    findings += [*find_in_classes(seen), *find_in_files(seen)]
    return ImageReport(
        source=str(folder),
        split=(float(split[0]), float(split[1]), float(split[2])),
        seed=seed,
        group_pattern=group_pattern,
        parts={part: len(getattr(splits, part)) for part in PARTS},
        classes=_count_classes(seen),
        num_without_class=sum(not one.file.classes for one in seen.facts),
        formats=_most_common(one.format for one in seen.good),
        modes=_most_common(one.mode + "+alpha" * one.is_transparent for one in seen.good),
        sizes=_sizes([(one.width, one.height) for one in seen.good]),
        num_turned=sum(one.is_turned for one in seen.good),
        findings=worst_first(findings),
    )


def _look_at_all(source: Path, splits: ImageSplits, progress: bool) -> Seen:
    files = [(file, part) for part in PARTS for file in getattr(splits, part)]
    with warnings.catch_warnings(), progress_bar(progress) as follow:
        warnings.simplefilter("ignore")  # Pillow's, which name no file
        facts = [*in_parallel(look, files, follow("Looking at images", len(files)))]
        candidates = alike_at_first_sight(facts)
        pictures = same_pictures(candidates, follow("Comparing pictures", len(candidates)))
    is_table = not source.is_dir()
    root = source.parent if is_table else source
    paths = [file.path for file, _ in files]
    left_out = left_out_of_table(paths) if is_table else left_out_of_folder(root, paths)
    return Seen(facts, pictures, splits.class_names, left_out, functools.partial(_name, root), is_table)


def _name(root: Path, path: Path) -> str:
    """The path relative to the root where it is below it."""
    place, top = (Path(os.path.abspath(each)) for each in (path, root))
    return (place.relative_to(top) if place.is_relative_to(top) else place).as_posix()


def _count_classes(seen: Seen) -> dict[str, dict[str, int]]:
    counts = Counter((label, one.part) for one in seen.facts for label in one.file.classes)
    return {name: {part: counts[label, part] for part in PARTS} for label, name in enumerate(seen.class_names)}


def _most_common(names: Iterable[str]) -> dict[str, int]:
    return dict(Counter(names).most_common())


def _sizes(sizes: list[tuple[int, int]]) -> dict[str, tuple[int, int]]:
    if not sizes:
        return {}
    by_area = sorted(sizes, key=lambda size: (size[0] * size[1], size))
    widths, heights = zip(*sizes, strict=True)
    median = (statistics.median_low(widths), statistics.median_low(heights))
    return {"smallest": by_area[0], "median": median, "largest": by_area[-1]}
