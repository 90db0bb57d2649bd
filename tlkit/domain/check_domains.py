"""Whether two sets of data are two domains of the same classes."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from tlkit.data import ImageFolder
from tlkit.data.texts import TextSplits
from tlkit.errors import UserError, printable


def check_same_classes(source_names: Sequence[str], target_names: Sequence[str]) -> None:
    """Make sure that a class number means the same in both domains.

    Where the target has labels, to measure with, its numbers come from its own folders or its own table: a class more
    or less shifts them, and every measured accuracy is wrong.

    Args:
        source_names: Class names by number, such as `ImageFolder.class_names`.
        target_names: Those of the target.

    Raises:
        UserError: When the target has a class that the source has not, or numbers the classes otherwise.

    Example:
        >>> check_same_classes(["ant", "bee"], ["ant", "bee"])
        >>> check_same_classes(["ant", "bee"], ["bee", "ant"])
        Traceback (most recent call last):
        ...
        tlkit.errors.UserError: check_same_classes: the domains number their classes differently. Expected the source's
        order in both. Received: class 0 is 'ant' in the source and 'bee' in the target. Sort both the same way.

    Notes:
        A target that lacks the last classes of the source is warned about: adaptation then pulls target rows onto
        classes that none of them belong to, which often makes it worse than none (partial domain adaptation).
    """
    source, target = list(source_names), list(target_names)
    if unseen := [name for name in target if name not in source]:
        raise UserError(
            f"check_same_classes: the target has classes that the source has not, so they cannot be learned. Expected "
            f"classes of the source: {_named(source)}. Received: {_named(unseen)}. Leave them out, or label some "
            f"source rows with them."
        )
    differing = next((i for i, (a, b) in enumerate(zip(source, target, strict=False)) if a != b), None)
    if differing is not None:
        missing = [name for name in source if name not in target]
        advice = f"Number it as if it had {_named(missing)}, too" if missing else "Sort both the same way"
        raise UserError(
            f"check_same_classes: the domains number their classes differently. Expected the source's order in both. "
            f"Received: class {differing} is {source[differing]!r} in the source and {target[differing]!r} in the "
            f"target. {advice}."
        )
    if missing := source[len(target) :]:
        warnings.warn(
            f"check_same_classes: the target has no row of {_named(missing)}. Expected all classes of the source. "
            f"Adaptation pulls target rows onto those classes, too: compare with training on the source alone, or "
            f"leave them out of the source.",
            stacklevel=2,
        )


def check_different_files(
    source: str | os.PathLike[str] | ImageFolder | Iterable[str | os.PathLike[str]],
    target: str | os.PathLike[str] | ImageFolder | Iterable[str | os.PathLike[str]],
) -> None:
    """Make sure that the target is not the source once more, under the same path or as a copy.

    Args:
        source: A folder, an `ImageFolder`, or files.
        target: The same, of the target.

    Raises:
        UserError: When both are one folder, or every file of the target is one of the source, too.

    Example:
        >>> check_different_files("photos/ant", "photos/bee")
        >>> check_different_files("photos", "photos/../photos")
        Traceback (most recent call last):
        ...
        tlkit.errors.UserError: check_different_files: source and target are the same folder. Expected two domains.
        Received: 'photos' and 'photos/../photos'. Give the folder of the unlabelled images as target.

    Notes:
        Files are compared by content, read only where one of the other domain has the same size. Files that only some
        share are warned about.
    """
    if _is_path(source) and _is_path(target) and os.path.realpath(source) == os.path.realpath(target):
        raise UserError(
            f"check_different_files: source and target are the same folder. Expected two domains. Received: "
            f"'{printable(source)}' and '{printable(target)}'. Give the folder of the unlabelled images as target."
        )
    of_source, of_target = (_by_size(_files(domain)) for domain in (source, target))
    common = of_source.keys() & of_target.keys()
    known = {_digest(path) for size in common for path in of_source[size]}
    shared = [path for size in sorted(common) for path in of_target[size] if _digest(path) in known]
    number = sum(map(len, of_target.values()))
    if not shared:
        return
    if len(shared) == number:
        raise UserError(
            f"check_different_files: every one of the {number} files of the target is in the source, too. Expected two "
            f"domains. Received: '{printable(shared[0])}' and its copy. Give the folder of the unlabelled images as "
            f"target."
        )
    warnings.warn(
        f"check_different_files: {len(shared)} of the {number} files of the target are in the source, too, such as "
        f"'{printable(shared[0])}'. Expected none. Take them out of one of the two.",
        stacklevel=2,
    )


def check_different_texts(source: TextSplits, target: TextSplits) -> None:
    """Make sure that the target's texts are not the source's once more.

    Args:
        source: The labelled texts, such as `TextTable.rows`.
        target: The unlabelled ones, such as `UnlabelledTexts.rows`.

    Raises:
        UserError: When every text of the target is one of the source, too.

    Example:
        >>> from tlkit.data import split_texts
        >>> messages = split_texts("messages.csv", seed=7)
        >>> check_different_texts(messages, messages)
        Traceback (most recent call last):
        ...
        tlkit.errors.UserError: check_different_texts: every one of the 40 texts of the target is in the source, too.
        Expected two domains. Give the unlabelled texts as target.

    Notes:
        Texts are compared without regard to case and spaces. If only a half or more are shared, a warning says so:
        fewer are met in practice, for "thank you" is said everywhere.
    """
    known, hashes = (np.concatenate([part.hashes for part in domain[:3]]) for domain in (source, target))
    shared = int(np.isin(hashes, known).sum())
    if shared == len(hashes):
        raise UserError(
            f"check_different_texts: every one of the {len(hashes):,} texts of the target is in the source, too. "
            f"Expected two domains. Give the unlabelled texts as target."
        )
    if shared >= len(hashes) / 2:
        warnings.warn(
            f"check_different_texts: {shared:,} of the {len(hashes):,} texts of the target are in the source, too. "
            f"Expected two domains. Take them out of one of the two.",
            stacklevel=2,
        )


def _named(names: Sequence[str]) -> str:
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(repr(name) for name in names[:5]) + more


def _is_path(domain: object) -> bool:
    return isinstance(domain, str | os.PathLike)


def _files(domain: object) -> list[Path]:
    if isinstance(domain, ImageFolder):
        return [file.path for part in domain.files[:3] for file in part]
    if _is_path(domain):
        folder = Path(domain)
        if not folder.is_dir():
            raise UserError(
                f"check_different_files: there is no folder '{printable(folder)}'. Expected a folder of images."
            )
        return [path for path in folder.rglob("*") if path.is_file()]
    return [Path(path) for path in domain]


def _by_size(paths: Iterable[Path]) -> dict[int, list[Path]]:
    sizes: dict[int, list[Path]] = {}
    for path in paths:
        size = path.stat().st_size
        if size:  # empty files are all the same
            sizes.setdefault(size, []).append(path)
    return sizes


def _digest(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()
