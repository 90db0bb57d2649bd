"""What an update does with one file: of the three that there are, as it was generated, as it is, as it would be."""

from __future__ import annotations

import ast
import difflib
import json
import tomllib
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tlkit.errors import UserError
from tlkit.scaffold.backup import free_path
from tlkit.scaffold.found_file import FoundFile
from tlkit.scaffold.merging import Labels, Merged, is_binary, line_ending, merge_text, with_line_ending
from tlkit.scaffold.notebooks import merge_notebook, sources
from tlkit.scaffold.rendering import File

_PARSERS: dict[str, Callable[[str], object]] = {".py": ast.parse, ".toml": tomllib.loads, ".json": json.loads}


@dataclass(frozen=True)
class FileChange:
    """What happens to a file.

    Attributes:
        path: Relative to the project.
        what: One word for it: "updated", "merged", "added", "deleted", "conflict", "beside", "kept", "left out".
        writes: Files written for it, by path; None deletes one.
        note: Why, where the word does not say it.
        conflicts: Lines, or in a notebook cells, at which a conflict begins (from 1).
        is_yours_to_decide: Whether something is left for the user to do.
        lines: How many are added to the file, and how many are taken from it.
    """

    path: str
    what: str
    writes: dict[str, File | None] = field(default_factory=dict)
    note: str = ""
    conflicts: tuple[int, ...] = ()
    is_yours_to_decide: bool = False
    lines: tuple[int, int] = (0, 0)


def change_file(
    folder: Path, path: str, base: File | None, found: FoundFile, new: File | None, labels: Labels
) -> FileChange | None:
    """Decide what happens to a file; None is nothing, and nothing to tell.

    Args:
        folder: The project.
        path: In it.
        base: As the file was generated; None where the template had none.
        found: As it is.
        new: As the template makes it now; None where it has none.
        labels: Of the markers of conflicts.

    Raises:
        UserError: When a merge needs git, and it is missing.
    """
    yours = found.file
    if base == new or (yours == new and not found.obstacle):
        return None
    if found.obstacle:
        return _obstructed(path, base, found, new)
    if yours is None:
        return _missing(path, base, new)
    if base is not None:
        base = _in_line_endings_of(yours, base)
    if new is None:
        if yours == base:
            return FileChange(path, "deleted", {path: None}, lines=_count(path, yours, None))
        return FileChange(path, "kept", note="the template no longer has it, and you changed it")
    if base is None:
        if yours.content == _in_line_endings_of(yours, new).content:
            return None
        return _beside(folder, path, new, "the template has one of that name now, and this is yours")
    return _changed(folder, path, base, yours, _in_line_endings_of(yours, new), labels)


def _obstructed(path: str, base: File | None, found: FoundFile, new: File | None) -> FileChange:
    if new is None:
        return FileChange(path, "kept", note=f"the template no longer has it; {found.obstacle}")
    word = "added" if base is None else "changed"
    note = f"the template has {word} it, and nothing is written there: {found.obstacle}"
    return FileChange(path, "left out", note=note, is_yours_to_decide=True)


def _missing(path: str, base: File | None, new: File | None) -> FileChange | None:
    if new is None:
        return None
    if base is None:
        return FileChange(path, "added", {path: new}, lines=_count(path, None, new))
    return FileChange(path, "left out", note="the template has changed it, and you deleted it")


def _changed(folder: Path, path: str, base: File, yours: File, new: File, labels: Labels) -> FileChange | None:
    """Both have the file, and the template has changed it."""
    if yours.content == new.content and yours.is_executable == base.is_executable == new.is_executable:
        return None
    is_executable = new.is_executable if yours.is_executable == base.is_executable else yours.is_executable
    if yours.content == base.content:
        result = File(new.content, is_executable)
        if result == yours:
            return None
        return FileChange(path, "updated", {path: result}, lines=_count(path, yours, result))
    if base.content == new.content or yours.content == new.content:
        merged = Merged(yours.content)
    elif any(is_binary(file.content) for file in (base, yours, new)):
        return _beside(folder, path, new, "it is no text, and you and the template changed it")
    else:
        try:
            merged = _merge(path, base.content, yours.content, new.content, labels)
        except UserError:
            raise
        except ValueError:
            return _beside(folder, path, new, "yours cannot be read as a notebook")
    result = File(merged.content, is_executable)
    if result == yours:
        return None
    lines = _count(path, yours, result)
    if merged.conflicts:
        note = f"you and the template changed the same lines, {_places(path, merged.conflicts)}"
        return FileChange(path, "conflict", {path: result}, note, merged.conflicts, True, lines)
    fault = "" if _fault(path, yours) or _fault(path, new) else _fault(path, result)
    note = f"your changes and the template's, put together, do not fit: {fault}" if fault else ""
    return FileChange(path, "merged", {path: result}, note, is_yours_to_decide=bool(fault), lines=lines)


def _merge(path: str, base: bytes, yours: bytes, new: bytes, labels: Labels) -> Merged:
    if not path.endswith(".ipynb"):
        return merge_text(yours, base, new, labels, path)
    return merge_notebook(yours, base, new, labels, lambda a, b, c: merge_text(a, b, c, labels, path))


def _places(path: str, conflicts: tuple[int, ...]) -> str:
    kind = "cell" if path.endswith(".ipynb") else "line"
    numbers = [str(number) for number in dict.fromkeys(conflicts)]
    if len(numbers) == 1:
        return f"{kind} {numbers[0]}"
    return f"{kind}s {', '.join(numbers[:-1])} and {numbers[-1]}"


def _beside(folder: Path, path: str, new: File, why: str) -> FileChange:
    place = free_path(folder, f"{path}.new", new)
    return FileChange(path, "beside", {place: new}, f"{why}: the template's is put into '{place}'", (), True)


def _in_line_endings_of(yours: File, file: File) -> File:
    """A file as an editor or a version control would have it that ends all lines of the user's otherwise."""
    wanted, has = line_ending(yours.content), line_ending(file.content)
    if wanted is None or has is None or wanted == has:
        return file
    return File(with_line_ending(file.content, wanted), file.is_executable)


def _fault(path: str, file: File) -> str:
    """Why a file is none of its kind, in a few words."""
    parse = _PARSERS.get(Path(path).suffix)
    if parse is None:
        return ""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd escapes in strings
            parse(file.content.decode())
    except (SyntaxError, ValueError, RecursionError) as error:
        return str(error)
    return ""


def _count(path: str, before: File | None, after: File | None) -> tuple[int, int]:
    """Lines added and taken away; of a notebook, those of its cells."""
    read = sources if path.endswith(".ipynb") else bytes
    old, new = (read(file.content).splitlines() if file else [] for file in (before, after))
    if any(file and is_binary(file.content) for file in (before, after)):
        return 0, 0
    codes = difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes()
    changes = [(there - begin, stop - start) for tag, start, stop, begin, there in codes if tag != "equal"]
    return sum(added for added, _ in changes), sum(taken for _, taken in changes)
