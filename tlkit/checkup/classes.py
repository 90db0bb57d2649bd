"""Whether class numbers mean the same in the data, in the newest run and in what was exported."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tlkit.environment import Finding
from tlkit.errors import printable


@dataclass(frozen=True)
class KeptClasses:
    """The class names that something was trained or exported with, in the order of its outputs.

    Attributes:
        where: Folder, relative to the project.
        class_names: By number.
        is_export: Whether it is an exported model, not a run.
    """

    where: str
    class_names: tuple[str, ...]
    is_export: bool = False


@dataclass(frozen=True)
class ClassFacts:
    """Facts about class names.

    Attributes:
        now: Of the data, by number.
        kept: Of the newest run, and of exports.
    """

    now: tuple[str, ...]
    kept: tuple[KeptClasses, ...] = ()


def look_at_classes(project: Path, class_names: Sequence[str]) -> ClassFacts:
    """Gather the facts."""
    run = newest_run(project)
    kept = []
    if run and (names := _read(run / "class_names.json")):
        kept.append(KeptClasses(run.relative_to(project).as_posix(), names))
    for file in _export_files(project):
        known = _read(file, "class_names")
        if known:
            kept.append(KeptClasses(file.parent.relative_to(project).as_posix(), known, is_export=True))
    return ClassFacts(tuple(class_names), tuple(kept))


def newest_run(project: Path) -> Path | None:
    """The run that the project's commands take when none is named: the newest with a model, a pretrained one if any."""
    runs = sorted(file.parent for file in (project / "runs").glob("*/model.keras"))
    pretrained = [run for run in runs if _settings(run).get("weights", "pretrained") == "pretrained"]
    found = pretrained or runs
    return found[-1] if found else None


def _settings(run: Path) -> dict[str, Any]:
    try:
        settings = json.loads((run / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return settings if isinstance(settings, dict) else {}


def _export_files(project: Path) -> Iterator[Path]:
    """What `export` writes beside a model: in a run, or in a folder of the project that was named with `--to`."""
    for pattern in ("export.json", "*/export.json", "runs/*/*/export.json"):
        yield from sorted(project.glob(pattern))


def _read(file: Path, key: str | None = None) -> tuple[str, ...]:
    try:
        known = json.loads(file.read_text(encoding="utf-8"))
        names = known if key is None else known.get(key)
    except (OSError, ValueError, AttributeError):  # gone, half written, or no such file of ours
        return ()
    return tuple(map(str, names)) if isinstance(names, list) else ()


def judge_classes(facts: ClassFacts, name: str) -> list[Finding]:
    """Judge them; `name` is that of the package."""
    groups: dict[tuple[bool, tuple[str, ...]], list[str]] = {}
    for kept in facts.kept:
        groups.setdefault((kept.is_export, kept.class_names), []).append(kept.where)
    findings = [
        _judge(facts.now, names, where, is_export, name)
        for (is_export, names), where in groups.items()
        if names != facts.now
    ]
    if findings:
        return findings
    same = f"; the same in {len(facts.kept)} kept model{'s' * (len(facts.kept) != 1)}" if facts.kept else ""
    return [Finding("classes", f"{len(facts.now)}: {_shown(facts.now)}{same}")]


def _judge(now: tuple[str, ...], names: tuple[str, ...], where: list[str], is_export: bool, name: str) -> Finding:
    label, thing = ("exported classes", "the exported model") if is_export else ("classes", "the newest run")
    more = f" and {len(where) - 1} more" if len(where) > 1 else ""
    command = f"python -m {name}.train --fresh"
    commands = (command, f"python -m {name}.export") if is_export else (command,)
    differing = next((i for i, (a, b) in enumerate(zip(now, names, strict=False)) if a != b), None)
    if differing is None:
        new, gone = now[len(names) :], names[len(now) :]
        found = f"{thing} in {where[0]}{more} " + (
            f"lacks {_shown(new)}, which the data have" if new else f"has {_shown(gone)}, which the data lack"
        )
        meaning = (
            "It never answers with these classes: their examples count as wrong."
            if new
            else "It may answer with classes that no longer exist."
        )
        return Finding(label, found, "warning", meaning, commands)
    found = (
        f"number {differing} is '{printable(now[differing])}' in the data and '{printable(names[differing])}' in "
        f"{thing} in {where[0]}{more}"
    )
    meaning = "Measured on the data of now, its right answers count as wrong ones, and wrong ones as right."
    if is_export:
        meaning = "Whoever reads its answers by the data's order gives them the names of other classes."
    return Finding(label, found, "problem", meaning, commands)


def _shown(names: Sequence[str]) -> str:
    more = f" and {len(names) - 4} more" if len(names) > 5 else ""
    return ", ".join(map(printable, names[: 5 if not more else 4])) + more
