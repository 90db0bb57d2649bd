"""Findings on the terminal: a table, and what to type."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

    from tlkit.environment import Finding

STYLES = {"ok": "green", "warning": "yellow", "problem": "bold red", "yes": "green", "partly": "yellow", "no": "red"}


def print_findings(console: Console, groups: Mapping[str, Sequence[Finding]]) -> None:
    """A table of verdict, name, and what was found with what follows from it."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column()  # wraps at spaces where the terminal is narrow
    table.add_column(ratio=1, overflow="fold")  # paths are broken rather than cut: they are copied
    for group, findings in groups.items():
        if table.row_count:
            table.add_row()
        table.add_row("", Text(group, style="bold"))
        for finding in findings:
            found = Text(finding.found)
            if finding.meaning:
                found.append(f"\n{finding.meaning}", style="dim" if finding.verdict == "ok" else "")
            table.add_row(Text(finding.verdict, style=STYLES[finding.verdict]), finding.name, found)
    console.print(table)


def print_commands(console: Console, findings: Sequence[Finding], problems_title: str = "What to type") -> None:
    """What mends problems and warnings, and how many there are."""
    problems = [finding for finding in findings if finding.verdict == "problem"]
    warnings = [finding for finding in findings if finding.verdict == "warning"]
    for title, chosen in ((problems_title, problems), ("Worth a thought", warnings)):
        names: dict[tuple[str, ...], list[str]] = {}  # what mends several things is shown once
        for finding in chosen:
            if finding.commands:
                names.setdefault(finding.commands, []).append(finding.name)
        if names:
            console.print(f"\n{title}", style="bold")
        for commands in names:
            console.print(f"  # {', '.join(names[commands])}", style="dim")
            for command in commands:
                console.print(f"  {command}", soft_wrap=True)  # one line, to be copied
    counts = [
        f"{len(problems)} problem{'s' * (len(problems) != 1)}",
        f"{len(warnings)} warning{'s' * (len(warnings) != 1)}",
    ]
    console.print(f"\n{', '.join(counts)}.", style="bold red" if problems else "bold green")
