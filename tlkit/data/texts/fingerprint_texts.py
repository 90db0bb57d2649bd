"""What a training's texts are, in a few words that change when they do."""

from __future__ import annotations

import hashlib

from tlkit.data.texts.split_texts import TextSplits
from tlkit.data.texts.text_rows import TextRows


def fingerprint_texts(rows: TextSplits) -> dict[str, str]:
    """Describe the texts of each part, for `ExactResume(fingerprint=...)`: another data set is another training.

    Counted are each text without upper case and spaces, its label, and the bytes that its row takes; no file is read.

    Args:
        rows: The parts, as in `TextTable.rows`.

    Returns:
        Number of texts and a checksum for each part, and the class names.

    Example:
        >>> from tlkit.data import split_texts
        >>> fingerprint_texts(split_texts("messages.csv", seed=7))["classes"]
        'order, refund'
    """
    parts = {"train": rows.train, "validation": rows.validation, "test": rows.test}
    described = {name: f"{len(part)} texts ({_checksum(part)})" for name, part in parts.items()}
    return {**described, "classes": ", ".join(rows.class_names)}


def _checksum(rows: TextRows) -> str:
    digest = hashlib.sha256()
    for column in (rows.hashes, rows.labels, rows.scan.sizes[rows.numbers]):
        digest.update(column.astype(column.dtype.newbyteorder("<")).tobytes())
    return digest.hexdigest()[:12]
