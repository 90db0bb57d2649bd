"""Which model answers, in a few words, from what its run's folder holds."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from tlkit.errors import UserError, printable
from tlkit.report.numbers import headline, judged_on
from tlkit.report.run_folder import package_of, read_run


class About(NamedTuple):
    """What the page says of the model."""

    title: str
    facts: list[tuple[str, str]]
    class_names: list[str]


def describe(run: Path) -> About:
    """What is known of a run; of one that is damaged, its name."""
    facts = [("run", printable(run.name))]
    try:
        found = read_run(run)
    except UserError:
        return About("model", facts, [])
    score = headline(found.judged)
    if score is not None:
        interval = f" (95 % interval {score.interval_text})" if score.interval else ""
        facts.append((score.name, f"{score.text} on {judged_on(found)}{interval}"))
    if isinstance(found.config.get("backbone"), str):
        facts.append(("backbone", printable(found.config["backbone"])))
    return About(package_of(found), facts, found.class_names)
