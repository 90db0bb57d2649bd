"""Notebooks merged as text: as a percent script, each cell under a line that begins with `# %%`.

The script is one of our own, not jupytext's: it is never run, so nothing needs to be commented out, and each of those
lines names its cell, so that a cell is recognised after the merge whatever both sides did to it. What is read back is
always a whole notebook: a conflict inside a cell is marked in the cell, one of whole cells by cells around them.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from tlkit.scaffold.merging import Labels, Merged

Notebook = dict[str, Any]

_OWN_CELL = "# %% [markdown] "  # without a name: a cell that only holds a marker
_HEADER = re.compile(r"# %% \[(?P<type>\w+)\] (?P<anchor>\S+)")
_LIKE_A_HEADER = re.compile(r"^(\\*)(?=# %%)", re.MULTILINE)
_SIMILAR = 0.5  # share of text in common from which on a cell is taken for another one changed


@dataclass(frozen=True)
class _Cell:
    """A cell, and the name under which it is known on all sides."""

    kind: str
    source: str
    anchor: str
    entry: dict[str, Any]


def read_notebook(content: bytes) -> Notebook:
    """Read a notebook of the form that Jupyter writes since 2014.

    Raises:
        ValueError: When it is none.
    """
    try:
        notebook = json.loads(content)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    if not isinstance(notebook, dict) or notebook.get("nbformat") != 4:
        raise ValueError("not of nbformat 4")
    wanted = {"cells": list, "metadata": dict, "nbformat_minor": int}
    if not all(isinstance(notebook.get(key), kind) for key, kind in wanted.items()):
        raise ValueError(f"not all of {', '.join(wanted)} are there")
    for cell in notebook["cells"]:
        if not (isinstance(cell, dict) and isinstance(cell.get("cell_type"), str)):
            raise ValueError("a cell has no type")
        if not isinstance(cell.get("id", ""), str):
            raise ValueError("a cell's id is no text")
        _source(cell)
    return notebook


def sources(content: bytes) -> bytes:
    """The text of all cells; empty where it is no notebook."""
    try:
        return "\n".join(_source(cell) for cell in read_notebook(content)["cells"]).encode()
    except ValueError:
        return b""


def merge_notebook(
    yours: bytes, base: bytes, new: bytes, labels: Labels, merge: Callable[[bytes, bytes, bytes], Merged]
) -> Merged:
    """Merge three notebooks; cells that stay as yours keep their ids, outputs and metadata.

    Args:
        yours: With the user's changes and outputs.
        base: What both come from.
        new: With the template's changes.
        labels: Of the markers.
        merge: Merges three texts.

    Returns:
        A notebook, and for each conflict the number of its cell (from 1).

    Raises:
        ValueError: When one of them is no notebook.
    """
    mine, old, theirs = (read_notebook(content) for content in (yours, base, new))
    base_cells = _anchored(old, [])
    your_cells, new_cells = _anchored(mine, base_cells), _anchored(theirs, base_cells)
    scripts = [_script(cells) for cells in (your_cells, base_cells, new_cells)]
    merged = merge(*scripts)
    text = _whole_cells(merged.content.decode(), labels) if merged.conflicts else merged.content.decode()
    entries = _entries(text, {cell.anchor: cell for cell in your_cells}, {cell.anchor: cell for cell in new_cells})
    minor = max(mine["nbformat_minor"], theirs["nbformat_minor"])
    result = {
        **mine,
        "cells": _with_ids(entries) if minor >= 5 else entries,
        "metadata": _merge_metadata(mine, old, theirs),
        "nbformat_minor": minor,
    }
    marker = f"<<<<<<< {labels.yours}"
    conflicts = [n for n, cell in enumerate(entries, 1) for line in _source(cell).split("\n") if line == marker]
    return Merged(_dump(result), tuple(conflicts))


def _source(cell: dict[str, Any]) -> str:
    source = cell.get("source", "")
    text = "".join(source) if isinstance(source, list) else source
    if not isinstance(text, str):
        raise ValueError("a cell's source is no text")
    return text


def _dump(notebook: Notebook) -> bytes:
    """As Jupyter writes it."""
    return (json.dumps(notebook, indent=1, ensure_ascii=False, sort_keys=True) + "\n").encode()


# Which cell is which ----------------------------------------------------------------------------------------------


def _anchored(notebook: Notebook, base: list[_Cell]) -> list[_Cell]:
    """The cells, named as those of `base` that they come from; new ones by their content, alike on either side."""
    cells, known = notebook["cells"], _matches(notebook["cells"], base)
    taken, anchored = {base[there].anchor for there in known.values()}, []
    for number, cell in enumerate(cells):
        source = _source(cell)
        if number in known:
            anchor = base[known[number]].anchor
        else:
            digest = hashlib.sha256(f"{cell['cell_type']}\n{source}".encode()).hexdigest()[:12]
            anchor = next(name for n in range(len(cells) + 1) if (name := f"{digest}-{n}") not in taken)
            taken.add(anchor)
        anchored.append(_Cell(cell["cell_type"], source, anchor, cell))
    return anchored


def _matches(cells: list[dict[str, Any]], base: list[_Cell]) -> dict[int, int]:
    """Cell -> cell of `base`, in the same order: by id, by content, then the most alike between those."""
    known: dict[int, int] = {}
    by_id: dict[Any, int] = {cell.entry["id"]: there for there, cell in enumerate(base) if "id" in cell.entry}
    _add_in_order(known, [(n, by_id[cell["id"]]) for n, cell in enumerate(cells) if cell.get("id") in by_id])
    texts, base_texts = [(c["cell_type"], _source(c)) for c in cells], [(c.kind, c.source) for c in base]
    blocks = difflib.SequenceMatcher(None, texts, base_texts, autojunk=False).get_matching_blocks()
    _add_in_order(known, [(block.a + n, block.b + n) for block in blocks for n in range(block.size)])
    alike = [
        (-_likeness(texts[n][1], base_texts[there][1]), n, there)
        for n in range(len(texts))
        for there in range(len(base))
        if n not in known and there not in known.values() and texts[n][0] == base_texts[there][0]
    ]
    _add_in_order(known, [(n, there) for ratio, n, there in sorted(alike) if -ratio >= _SIMILAR])
    return known


def _likeness(text: str, other: str) -> float:
    """Share of text in common; 0 where it is found quickly to be small."""
    matcher = difflib.SequenceMatcher(None, text, other)
    bounds = (matcher.real_quick_ratio, matcher.quick_ratio)
    return matcher.ratio() if all(bound() >= _SIMILAR for bound in bounds) else 0.0


def _add_in_order(known: dict[int, int], pairs: list[tuple[int, int]]) -> None:
    """Add those pairs that cross none of the known ones."""
    for here, there in pairs:
        if all((here - a) * (there - b) > 0 for a, b in known.items()):
            known[here] = there


# As a script and back ---------------------------------------------------------------------------------------------


def _script(cells: list[_Cell]) -> bytes:
    parts = []
    for cell in cells:
        source = _LIKE_A_HEADER.sub(r"\1\\", cell.source)
        parts.append(f"# %% [{cell.kind}] {cell.anchor}\n" + (f"{source}\n" if source else ""))
    return "".join(parts).encode()


def _entries(text: str, yours: dict[str, _Cell], new: dict[str, _Cell]) -> list[dict[str, Any]]:
    """Cells of a notebook, from a merged script."""
    entries = []
    for header, lines in _chunks(text):
        source = re.sub(r"^\\(?=\\*# %%)", "", "\n".join(lines), flags=re.MULTILINE)
        match = _HEADER.fullmatch(header)
        kind, anchor = (match["type"], match["anchor"]) if match else ("markdown", "")
        cell = yours.get(anchor) or new.get(anchor)
        entry = dict(cell.entry) if cell else {"cell_type": kind, "metadata": {}}
        if cell is None or cell.source != source or cell.kind != kind:
            entry |= {"cell_type": kind, "source": source.splitlines(keepends=True)}
            if kind == "code":
                entry |= {"execution_count": None, "outputs": []}  # of another source
        entries.append(entry)
    return entries


def _chunks(text: str) -> Iterator[tuple[str, list[str]]]:
    """Each header with the lines below it; a line of its own above the first, such as a marker, has none."""
    header, lines = "", list[str]()
    for line in text.split("\n")[:-1]:
        if _HEADER.fullmatch(line) or line == _OWN_CELL:
            if header or lines:
                yield header, lines
            header, lines = line, []
        else:
            lines.append(line)
    if header or lines:
        yield header, lines


def _whole_cells(text: str, labels: Labels) -> str:
    """Widen each conflict in which a cell begins or ends to whole cells, with its markers in cells of their own."""
    start, end = f"<<<<<<< {labels.yours}", f">>>>>>> {labels.new}"
    lines, done = text.split("\n")[:-1], list[str]()
    while start in lines:
        first = lines.index(start)
        middle, last = lines.index("=======", first), lines.index(end, first)
        before, yours, new, after = (
            lines[:first],
            lines[first + 1 : middle],
            lines[middle + 1 : last],
            lines[last + 1 :],
        )
        begins_at_a_cell = all(not side or _HEADER.fullmatch(side[0]) for side in (yours, new))
        head = len(before) if begins_at_a_cell else _last_header(before)
        if head is None or not any(_HEADER.fullmatch(line) for line in yours + new):
            done += lines[: last + 1]
            lines = after
            continue
        tail = next((n for n, line in enumerate(after) if _HEADER.fullmatch(line) or line == start), len(after))
        shared, rest = before[head:], after[:tail]
        done += [*before[:head], _OWN_CELL, start, *shared, *yours, *rest]
        done += [_OWN_CELL, "=======", *shared, *new, *rest, _OWN_CELL, end]
        lines = after[tail:]
    return "".join(f"{line}\n" for line in done + lines)


def _last_header(lines: list[str]) -> int | None:
    return max((n for n, line in enumerate(lines) if _HEADER.fullmatch(line)), default=None)


# What is not text -------------------------------------------------------------------------------------------------


def _with_ids(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The cells, each with an id that no other has."""
    seen, named = set[str](), []
    for entry in entries:
        digest = hashlib.sha256(f"{entry['cell_type']}\n{_source(entry)}".encode()).hexdigest()[:8]
        candidates = [entry.get("id"), digest, *(f"{digest}-{n}" for n in range(2, len(entries) + 2))]
        name = next(one for one in candidates if isinstance(one, str) and one not in seen)
        seen.add(name)
        named.append(entry | {"id": name})
    return named


def _merge_metadata(yours: Notebook, base: Notebook, new: Notebook) -> dict[str, Any]:
    """Of the whole notebook, such as its kernel: yours, unless only the template changed it."""
    mine, old, theirs = (notebook["metadata"] for notebook in (yours, base, new))
    chosen = {key: theirs if mine.get(key) == old.get(key) else mine for key in {*mine, *theirs}}
    return {key: side[key] for key, side in chosen.items() if key in side}
