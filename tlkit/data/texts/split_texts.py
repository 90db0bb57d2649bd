"""Training, validation and test texts from a table or a folder, the same ones every time, duplicates together."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tlkit.data.image_listing import some
from tlkit.data.inspection.finding import counted
from tlkit.data.split_image_folder import checked_shares
from tlkit.data.stable_cut import PARTS
from tlkit.data.texts.cut_rows import count_by_part, cut_rows, find_copies
from tlkit.data.texts.listing import list_texts
from tlkit.data.texts.scan import NO_PART, Scan, scan_rows
from tlkit.data.texts.text_rows import TextRows
from tlkit.data.texts.too_little import rows_left_out, why_too_little
from tlkit.errors import UserError


class TextSplits(NamedTuple):
    """The rows of each part, and the class names by number.

    Attributes:
        train: To learn from.
        validation: To choose the epoch by.
        test: To judge by; may be empty.
        class_names: By number.
    """

    train: TextRows
    validation: TextRows
    test: TextRows
    class_names: list[str]


def split_texts(
    source: str | Path,
    *,
    text_column: str = "text",
    label_column: str = "label",
    split: Sequence[float] = (0.7, 0.15, 0.15),
    seed: int,
    on_bad: Literal["error", "skip"] = "error",
) -> TextSplits:
    """Split the texts of a table or folder into training, validation and test.

    Understood are:
    - a table: CSV with commas, tabs or semicolons (`.csv`, `.tsv`), whose first line names the columns, or one JSON
      object in each line (`.jsonl`, `.ndjson`). Columns `split` (train, val, test) and `group` are used where there;
    - a folder that holds one such table;
    - a folder that holds `train.csv` and `val.csv` (or `valid`, `validation`), `test.csv`, or both, with any of these
      extensions: the parts are taken as they are;
    - a folder of class folders of `.txt` files (`order/0001.txt`), or of `train/`, `val/`, `test/` with those inside.

    Text is UTF-8, or UTF-16 with a byte order mark. Labels lose the spaces around them, texts nothing. The source is
    read once; what is kept are places and class numbers, about 40 bytes a row, so that it may be larger than memory.

    With no validation given, it is cut from train, in the proportion split[1] / (split[0] + split[1]). The split is
    stable: the part of a text depends on nothing but `seed` and the text, so that texts added later move none, and the
    same text is never in two parts. Texts that differ only in case, in spaces, or in how accents are spelled are the
    same.

        h = mix(first 8 bytes of SHA-256(text) XOR first 8 bytes of SHA-256("seed")) / 2^64, in [0, 1)
        train if h < split[0], validation if h < split[0] + split[1], otherwise test
        mix = the last steps of SplitMix64, which make every bit depend on all

    A class that a part would get none of is mended as in `split_image_folder`. Rows of one group are all in the same
    part, chosen by the name of the group in place of the text.

    Args:
        source: The file or folder.
        text_column: The column, or the key, of the texts.
        label_column: The column of their classes.
        split: Shares of training, validation and test; they sum to 1, and only the last may be 0.
        seed: Chooses the split.
        on_bad: What to do about rows that cannot be used: without a text or a label, with the wrong number of cells, of
            bytes that are not UTF-8. "error" refuses the source and names the lines, "skip" leaves the rows out and
            warns with the same words.

    Raises:
        UserError: When something is missing, is not laid out as above, or is too little to split.

    Example:
        >>> splits = split_texts("messages.csv", seed=7)
        >>> splits.class_names, len(splits.train) + len(splits.validation) + len(splits.test)
        (['order', 'refund'], 40)
        >>> sorted(splits.train.read())[0]
        'Can I have my money back for number 0?'

    Reference: G. Steele, D. Lea and C. Flood, 2014, "Fast Splittable Pseudorandom Number Generators", OOPSLA,
        https://doi.org/10.1145/2660193.2660195, for the mixing; constants of https://prng.di.unimi.it/splitmix64.c.
    """
    path, shares = Path(source), checked_shares(split)
    check_on_bad("split_texts", on_bad)
    listed = list_texts(path, text_column=text_column, label_column=label_column)
    scan = scan_rows(listed)
    settle_problems(scan, on_bad)
    return split_scan(path, scan, shares, seed)


def check_on_bad(function: str, on_bad: str) -> None:
    """Refuse what is neither "error" nor "skip"."""
    if on_bad not in ("error", "skip"):
        raise UserError(f"{function}: expected `on_bad` to be 'error' or 'skip'. Received: {on_bad!r}.")


def settle_problems(scan: Scan, on_bad: str) -> None:
    """Raise an error about rows that cannot be used, or warn of each kind."""
    for sentence in scan.problems.sentences(scan.listed):
        if on_bad == "error":
            things = "rows" if scan.listed.is_table else "files"
            raise UserError(
                f"{sentence}. To leave such {things} out, set on_bad='skip' (on a command line: --on_bad skip)."
            )
        warnings.warn(f"Left out: {sentence}.", stacklevel=4)


def split_scan(source: Path, scan: Scan, shares: Sequence[float], seed: int) -> TextSplits:
    """The parts of rows that were scanned already; the checks of `split_texts` that need all rows."""
    _check_classes(source, scan)
    parts = _given_parts(source, scan)
    if parts is None:
        parts = cut_rows(scan.hashes, scan.keys, scan.labels, shares, seed)
    elif 1 not in parts:
        kept = shares[0] + shares[1]
        rows = np.flatnonzero(parts == 0)
        keys = None if scan.keys is None else scan.keys[rows]
        of_two = (shares[0] / kept, shares[1] / kept, 0.0)
        parts[rows] = cut_rows(scan.hashes[rows], keys, scan.labels[rows], of_two, seed)
    if 1 not in parts:
        raise UserError(f"{source} is too little to split: {why_too_little(scan)}{rows_left_out(scan)}")
    numbers = [np.flatnonzero(parts == number).astype(np.uint32) for number in range(len(PARTS))]
    train, validation, test = (TextRows(scan, each) for each in numbers)
    return TextSplits(train, validation, test, scan.class_names)


# Checks -------------------------------------------------------------------------------------------


def _check_classes(source: Path, scan: Scan) -> None:
    names = scan.class_names
    if len(names) < 2:
        found = f"only the one class {names[0]!r}" if names else "no row that can be used"
        raise UserError(f"{source} has {found} in it. Expected texts of at least two classes.{rows_left_out(scan)}")
    alike = same_but_for_spelling(names)
    if alike:
        counts = np.bincount(scan.labels, minlength=len(names))
        pairs = [" and ".join(f"{names[label]!r} ({counts[label]:,} x)" for label in labels) for labels in alike]
        warnings.warn(
            f"{source}: labels that differ only in upper and lower case or in spaces count as different classes: "
            f"{'; '.join(pairs)}. If they are the same, write them alike.",
            stacklevel=4,
        )
    if len(scan.stray_spaces):
        place = scan.places([int(scan.stray_spaces[0])])[0]
        warnings.warn(
            f"{source}: {len(scan.stray_spaces):,} label{'s have' if len(scan.stray_spaces) > 1 else ' has'} spaces "
            f"around the name, which are passed over (the first in {place}).",
            stacklevel=4,
        )


def same_but_for_spelling(names: Sequence[str]) -> list[list[int]]:
    """Numbers of names that are the same without case, spaces, hyphens and underscores."""
    spellings: dict[str, list[int]] = {}
    for number, name in enumerate(names):
        key = "".join(name.casefold().split()).translate(dict.fromkeys(map(ord, "_-")))
        spellings.setdefault(key or name, []).append(number)
    return [numbers for numbers in spellings.values() if len(numbers) > 1]


def _given_parts(source: Path, scan: Scan) -> NDArray[np.uint8] | None:
    """The parts that the source gives, or None where it gives none."""
    without = scan.parts == NO_PART
    if without.all():
        return None
    parts = scan.parts.copy()
    if without.any():
        places = scan.places(np.flatnonzero(without)[:1].tolist())
        rows = counted(np.flatnonzero(without), "row", "rows")
        raise UserError(
            f"{source}: the split is empty in {rows} (the first is {places[0]}), and not in others. Fill it in "
            "everywhere, or remove the column."
        )
    if 0 not in parts:
        raise UserError(f"{source} has the split {PARTS[parts[0]]!r} but no 'train'. Expected training texts, too.")
    _check_classes_of_parts(source, scan, parts)
    _warn_of_straddling(source, scan, parts)
    return parts


def _check_classes_of_parts(source: Path, scan: Scan, parts: NDArray[np.uint8]) -> None:
    """A class that is in another part and not in train cannot be learned; one that is only in train is not judged."""
    counts = count_by_part(scan.labels, parts, len(scan.class_names))
    for number, part in enumerate(PARTS):
        lacking = [repr(name) for name, count in zip(scan.class_names, counts[:, number], strict=True) if not count]
        if not lacking or number not in parts:
            continue
        if part == "train":
            raise UserError(
                f"{source}: no text in train has {some(lacking, 'class name')}, which cannot be learned. Move some "
                "there, or remove the rows."
            )
        warnings.warn(f"{source}: no text in {part} has {some(lacking, 'class name')}: not judged there.", stacklevel=5)


def _warn_of_straddling(source: Path, scan: Scan, parts: NDArray[np.uint8]) -> None:
    """The same text, or texts of one group, in two given parts; what is cut here never divides them."""
    named = {"the same text": scan.hashes} | ({} if scan.keys is None else {"texts of one group": scan.keys})
    for what, hashes in named.items():
        number = int(find_copies(hashes).differ(parts).sum())
        if number:
            times = "once" if number == 1 else f"{number:,} times"
            warnings.warn(
                f"{source} has {what} in several of its given parts ({times}), so the model is judged on what it has "
                "learned by heart. Move such texts into one part; the report on the data (inspect_texts) lists them.",
                stacklevel=5,
            )
