"""Which columns of a table hold the texts, the labels, the split and the groups."""

from __future__ import annotations

import difflib
import warnings
from pathlib import Path
from typing import Any, NamedTuple

from tlkit.errors import MissingColumns, UserError, printable

# What the columns are called elsewhere: suggested when one is missing, never guessed.
_TEXTS = "message messages content contents sentence sentences body review reviews comment comments utterance query \
tweet description title text_content document".split()
_LABELS = "labels class classes class_name category categories target intent intents topic sentiment tag y".split()
# The same of columns that may be missing: told that they are not used.
_PARTS = "part subset set partition".split()
_GROUPS = "group_id author author_id user user_id thread_id conversation_id".split()


class Columns(NamedTuple):
    """Where the columns are: places in a row of CSV, or keys of a JSON object. None for those that are not there."""

    text: Any
    label: Any
    part: Any
    group: Any


def find_columns(path: Path, names: list[str], text: str, label: str, needs_label: bool) -> Columns:
    """Places among the names of a table's columns.

    Args:
        path: The table, to be named in errors.
        names: Of all columns.
        text: What the column of the texts is called.
        label: What the column of the labels is called.
        needs_label: Whether to refuse a table without the latter.

    Raises:
        UserError: When a column is missing, or there twice.
    """
    found = Columns(*(_place(path, names, name) for name in (text, label, "split", "group")))
    wanted = {"text": text} | ({"label": label} if needs_label else {})
    missing = {role: name for role, name in wanted.items() if getattr(found, role) is None}
    if missing:
        taken = {names[at] for at in found if at is not None}
        raise MissingColumns(str(path), names, missing, _near(missing, [name for name in names if name not in taken]))
    if needs_label and found.text == found.label:
        raise UserError(
            f"{path}: the column {names[found.text]!r} is given both as text_column and as label_column. Expected the "
            f"texts and their classes in two columns. Its columns are {', '.join(map(repr, names[:20]))}."
        )
    for name, others, place in (("split", _PARTS, found.part), ("group", _GROUPS, found.group)):
        used = {names[at] for at in (found.text, found.label) if at is not None}
        near = [other for other in names if other.lower() in others and other not in used]
        if place is None and near:
            warnings.warn(
                f"{path}: the column {printable(near[0])!r} is not used; if it is the {name} of each text, name it "
                f"{name!r}.",
                stacklevel=7,
            )
    return found


def _place(path: Path, names: list[str], wanted: str) -> int | None:
    """Where a column is: by its exact name, or by the one that differs in upper and lower case."""
    lower = [name.lower() for name in names]
    for spelled, name in ((names, wanted.strip()), (lower, wanted.strip().lower())):
        if spelled.count(name) > 1:
            raise UserError(f"{path} has two columns {wanted!r}: keep one of them.")
        if name in spelled:
            return spelled.index(name)
    return None


def _near(missing: dict[str, str], names: list[str]) -> dict[str, str]:
    """Among columns that are nothing else, those that are probably meant."""
    near, left = dict[str, str](), list(names)
    for role, wanted in missing.items():
        lower = [name.lower() for name in left]
        close = difflib.get_close_matches(wanted.lower(), lower, n=1, cutoff=0.7)
        close += [name for name in (_TEXTS if role == "text" else _LABELS) if name in lower]
        if close:
            near[role] = left.pop(lower.index(close[0]))
    # Where the texts are known, the one other column is the labels'.
    if "label" in missing and "label" not in near and ("text" in near or "text" not in missing) and len(left) == 1:
        near["label"] = left[0]
    return near
