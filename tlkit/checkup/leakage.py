"""Whether the parts hold the same examples: what a model has learned by heart is no measure of it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from tlkit.data.inspection.facts import alike_at_first_sight, in_parallel, look, same_pictures
from tlkit.data.split_image_folder import ImageFile
from tlkit.data.stable_cut import PARTS
from tlkit.data.texts.cut_rows import find_copies
from tlkit.environment import Finding
from tlkit.errors import printable

_SHOWN = 3  # groups that are named
_MUCH = 0.01  # share of what is judged on, from which on the measured number itself is wrong, not its last digit


@dataclass(frozen=True)
class LeakageFacts:
    """Facts about the same picture, or text, in several parts.

    Attributes:
        things: "pictures" or "texts".
        parts: Part -> how many there are.
        num_leaked: How many of validation and test are in the training part, or in both of them.
        groups: Some of those that are the same, each with its part: "train/a.png (train) = test/b.png (test)".
        num_groups: Of these in all.
        is_target: Whether these are parts of the target domain.
    """

    things: Literal["pictures", "texts"]
    parts: Mapping[str, int]
    num_leaked: int = 0
    groups: tuple[str, ...] = ()
    num_groups: int = 0
    is_target: bool = False


def look_at_pictures(
    parts: Mapping[str, Sequence[Path]], project: Path, advance: Callable[[int], None] = lambda more: None
) -> LeakageFacts:
    """Compare the pictures of all parts pixel by pixel, whatever their names, formats and metadata are.

    Args:
        parts: Part -> files.
        project: Files are named relative to it.
        advance: Told how many files more were looked at.
    """
    files = [(ImageFile(path, 0), part) for part, paths in parts.items() for path in paths]
    candidates = alike_at_first_sight([*in_parallel(look, files, advance)])
    groups = [group for group in same_pictures(candidates, lambda more: None) if len({one.part for one in group}) > 1]
    return LeakageFacts(
        "pictures",
        {part: len(paths) for part, paths in parts.items()},
        sum(one.part != min(group, key=_place).part for group in groups for one in group),
        tuple(
            " = ".join(f"{_name(one.file.path, project)} ({one.part})" for one in sorted(group, key=_place))
            for group in groups[:_SHOWN]
        ),
        len(groups),
    )


def _place(one: Any) -> tuple[int, Path]:
    return PARTS.index(one.part), one.file.path


def _name(path: Path, project: Path) -> str:
    """Relative to the project, as its config names the data, or whole on another drive."""
    try:
        return printable(Path(os.path.relpath(path.resolve(), project)).as_posix())
    except ValueError:
        return printable(path)


def look_at_text_rows(parts: Mapping[str, Any]) -> LeakageFacts:
    """Compare the texts of all parts, without regard to upper and lower case and to spaces.

    Args:
        parts: Part -> its `TextRows`.
    """
    names = sorted(parts, key=PARTS.index)
    hashes = np.concatenate([parts[part].hashes for part in names])
    owners = np.repeat(np.arange(len(names)), [len(parts[part]) for part in names])
    firsts = np.cumsum([0, *(len(parts[part]) for part in names)])
    copies = find_copies(hashes)
    leaking = copies.differ(owners)
    number_leaked = 0
    if leaking.any():
        its = owners[copies.rows]
        lengths = np.diff(np.append(copies.starts, len(its)))
        number_leaked = int((its > np.repeat(np.minimum.reduceat(its, copies.starts), lengths)).sum())

    def shown(row: int) -> str:
        owner = int(owners[row])
        return f"{printable(parts[names[owner]].places([row - int(firsts[owner])])[0])} ({names[owner]})"

    return LeakageFacts(
        "texts",
        {part: len(parts[part]) for part in names},
        number_leaked,
        tuple(" = ".join(map(shown, group)) for group in copies.groups(leaking, _SHOWN)),
        int(leaking.sum()),
    )


def judge_leakage(facts: LeakageFacts, name: str) -> list[Finding]:
    """Judge them; `name` is that of the package."""
    label = "parts of the target" if facts.is_target else "parts"
    sizes = ", ".join(f"{number:,} {part}" for part, number in facts.parts.items() if number)
    if not facts.num_leaked:
        return [Finding(label, f"{sizes}: no {facts.things[:-1]} is in two of them")]
    judged = sum(number for part, number in facts.parts.items() if part != "train")
    one = facts.num_groups == 1
    found = (
        f"{facts.num_groups:,} {facts.things[:-1] if one else facts.things} {'is' if one else 'are'} in more than one "
        f"part, such as {facts.groups[0]}"
    )
    share = facts.num_leaked / max(judged, 1)
    meaning = f"It may know {share:.1%} of what it is judged on by heart: by so much at most the result is too good."
    command = (
        f"edit the data: take one of each pair out ({'; '.join(facts.groups)}{' …' * (facts.num_groups > _SHOWN)})"
    )
    return [Finding(label, found, "problem" if share >= _MUCH else "warning", meaning, (command,))]
