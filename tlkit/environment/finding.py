"""What a look at the machine comes to: findings, each with a verdict, a sentence and what to type."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Verdict = Literal["ok", "warning", "problem"]
GIB = 1024**3


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        name: Short name of the thing, for a table.
        found: What is there.
        verdict: "ok"; "warning", it works but not as one would think; "problem", something does not work.
        meaning: What follows from it, in one or two sentences. Empty when there is nothing to say.
        commands: What to type, as for a POSIX shell. `pip …` and `python …` are this interpreter's.
    """

    name: str
    found: str
    verdict: Verdict = "ok"
    meaning: str = ""
    commands: tuple[str, ...] = ()


def show_bytes(number: float) -> str:
    """A number of bytes for people, in the unit that fits.

    Example:
        >>> from tlkit.environment.finding import show_bytes
        >>> show_bytes(1536 * 1024**2), show_bytes(200), show_bytes(139 * 1024**3)
        ('1.5 GiB', '200 bytes', '139 GiB')
    """
    for unit, size in (("GiB", GIB), ("MiB", 1024**2), ("KiB", 1024)):
        if number >= size:
            value = number / size
            return f"{value:.0f} {unit}" if value >= 10 or unit != "GiB" else f"{value:.1f} {unit}"
    return f"{number:.0f} bytes"
