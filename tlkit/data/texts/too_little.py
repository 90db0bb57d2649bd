"""Why there is nothing to split in a source: too few texts, or something that was taken for another thing."""

from __future__ import annotations

import numpy as np

from tlkit.data.texts.scan import Scan
from tlkit.data.texts.tables import CsvTable
from tlkit.errors import printable


def why_too_little(scan: Scan) -> str:
    """Sentences about rows of which validation gets none: what is the matter, what was expected, what to do."""
    num_classes, num_texts = len(scan.class_names), len(np.unique(scan.hashes))
    if scan.keys is not None and _has_class_of_two_texts(scan):
        whose = "all of its rows are in one group" if len(np.unique(scan.keys)) == 1 else "no class has a second group"
        return (
            f"{whose}, and rows of one group (the column 'group') stay in one part, so that nothing is left for "
            "validation. Expected at least two groups of a class; a column of something else needs another name."
        )
    label = printable(scan.class_names[0])[:50]
    if scan.listed.is_table and 2 * num_texts <= num_classes:
        text_column, label_column = _column_names(scan)
        return (
            f"its {len(scan):,} rows have {num_classes:,} labels, such as {label!r}, and only {num_texts:,} different "
            f"text{'s' if num_texts > 1 else ''}. The columns seem to be swapped: {text_column!r} was read as the "
            f"texts, and {label_column!r} as the labels. Exchange text_column and label_column."
        )
    if scan.listed.is_table and num_classes == len(scan):
        return (
            f"each of its {len(scan):,} rows has a label of its own, such as {label!r}, so that no class has a second "
            "text. Expected names of classes that several texts share; if another column holds them, name it with "
            "label_column."
        )
    return (
        "no class has a second text that differs from its first, so that nothing is left for validation. Expected at "
        "least two texts of a class."
    )


def rows_left_out(scan: Scan) -> str:
    """A sentence about the rows that could not be used, for they may be the reason; empty where all could."""
    number = len(scan.problems)
    if not number:
        return ""
    thing = "line" if scan.listed.is_table else "file"
    were = f"{thing} was" if number == 1 else f"{thing}s were"
    return f" {number:,} {were} left out; {scan.problems.sentences(scan.listed)[0].rstrip('.')}."


def _has_class_of_two_texts(scan: Scan) -> bool:
    order = np.lexsort((scan.hashes, scan.labels))
    labels, hashes = scan.labels[order], scan.hashes[order]
    return bool(((labels[1:] == labels[:-1]) & (hashes[1:] != hashes[:-1])).any())


def _column_names(scan: Scan) -> tuple[str, str]:
    """What the columns of the texts and the labels are called in the first table."""
    source = scan.listed.sources[0]
    text, label = source.columns[:2]
    if isinstance(source, CsvTable):
        text, label = source.names[text], source.names[label]
    return printable(text), printable(label)
