"""Whether the newest run was trained on the data of now: what moved between the parts, it may know by heart."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tlkit.data.stable_cut import PARTS
from tlkit.environment import Finding


@dataclass(frozen=True)
class RunDataFacts:
    """Facts about the data of the newest run.

    Attributes:
        run: Relative to the project; empty where there is none.
        then: Part -> what the run wrote of it, such as "70 images (8b3f0c6d1e2a)"; empty where it wrote nothing.
        now: The same of now.
    """

    run: str
    then: Mapping[str, str]
    now: Mapping[str, str]


def look_at_run_data(project: Path, run: Path | None, fingerprint: Mapping[str, str]) -> RunDataFacts:
    """Gather the facts.

    Args:
        project: Its folder.
        run: The newest.
        fingerprint: Of the data now, as `fingerprint_images(files)` makes it, and training writes it into run.json.
    """
    then: object = {}
    if run is not None:
        try:
            then = json.loads((run / "run.json").read_text(encoding="utf-8")).get("data")
        except (OSError, ValueError, AttributeError):  # older runs have none
            pass
    return RunDataFacts(
        run.relative_to(project).as_posix() if run else "",
        {part: str(then[part]) for part in PARTS if part in then} if isinstance(then, dict) else {},
        {part: fingerprint[part] for part in PARTS if part in fingerprint},
    )


def judge_run_data(facts: RunDataFacts, name: str) -> list[Finding]:
    """Judge them; `name` is that of the package."""
    if not facts.then:
        return []
    changed = [part for part, then in facts.then.items() if facts.now.get(part) != then]
    if not changed:
        return [Finding("data of the newest run", f"{facts.run}: those of now")]
    shown = "; ".join(f"{part} was {facts.then[part]} and is {facts.now.get(part, 'empty')}" for part in changed)
    meaning = "Judged again, it may be asked about examples that it was trained on, and looks better than it is."
    if changed == ["test"]:
        meaning = "Its numbers are those of other examples than a new run is judged on: the two cannot be compared."
    return [
        Finding(
            "data of the newest run",
            f"{facts.run}: {shown}",
            "warning",
            meaning,
            (f"python -m {name}.train --fresh",),
        )
    ]
