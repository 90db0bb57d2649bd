"""What a training's texts are, in a few words that change when they do."""

from __future__ import annotations

import hashlib
import os

from tlkit.data.texts.split_texts import TextSplits
from tlkit.data.texts.text_rows import TextRows


def fingerprint_texts(rows: TextSplits, *, times: bool = False) -> dict[str, str]:
    """Describe the texts of each part, for `ExactResume(fingerprint=...)`: another data set is another training.

    Counted are each text without upper case and spaces, its label, and the bytes that its row takes; no file is read.

    Args:
        rows: The parts, as in `TextTable.rows`.
        times: Whether these very files are meant, for `fit_on_features(fingerprint=...)`: where they lie and when each
            was last changed are counted, too.

    Returns:
        Number of texts and a checksum for each part, and the class names.

    Example:
        >>> from tlkit.data import split_texts
        >>> fingerprint_texts(split_texts("messages.csv", seed=7))["classes"]
        'order, refund'
    """
    parts = {"train": rows.train, "validation": rows.validation, "test": rows.test}
    described = {name: f"{len(part)} texts ({_checksum(part)})" for name, part in parts.items()}
    described["classes"] = ", ".join(rows.class_names)
    return described | ({"files": _times(rows)} if times else {})


def _times(rows: TextSplits) -> str:
    digest = hashlib.sha256()
    for source in rows.train.scan.listed.sources:
        path = source.file.path
        digest.update(f"{os.path.abspath(path)}\0{os.stat(path).st_mtime_ns}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()[:12]


def _checksum(rows: TextRows) -> str:
    digest = hashlib.sha256()
    for column in (rows.hashes, rows.labels, rows.scan.sizes[rows.numbers]):
        digest.update(column.astype(column.dtype.newbyteorder("<")).tobytes())
    return digest.hexdigest()[:12]
