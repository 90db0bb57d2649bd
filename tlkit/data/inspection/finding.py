"""One thing to know about data."""

from __future__ import annotations

from collections.abc import Sized
from typing import Literal, NamedTuple

Severity = Literal["error", "warning", "note"]

SEVERITIES: dict[Severity, str] = {"error": "bold red", "warning": "yellow", "note": "cyan"}  # worst first; their style


class Finding(NamedTuple):
    """One thing to know about the data.

    Attributes:
        severity: "error" stops training, "warning" spoils its results or loses data, "note" is good to know.
        sentence: What it is, what it means and what to do.
        files: All files concerned, relative to the folder inspected.
        details: A line for each of these files, or for each group of them, where there is more to say than its name.
    """

    severity: Severity
    sentence: str
    files: tuple[str, ...] = ()
    details: tuple[str, ...] = ()


def counted(things: Sized, one: str, many: str) -> str:
    """The number and the word for it: "1 image", "2,000 images"."""
    return f"{len(things):,} {one if len(things) == 1 else many}"


def worst_first(findings: list[Finding]) -> tuple[Finding, ...]:
    """Errors, warnings, notes; each in the order given."""
    return tuple(sorted(findings, key=lambda finding: [*SEVERITIES].index(finding.severity)))
