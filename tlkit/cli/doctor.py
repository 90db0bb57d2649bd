"""`tlkit doctor`: what will and will not work on this machine, and what to type."""

from __future__ import annotations

import dataclasses
import json
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

import tlkit

if TYPE_CHECKING:
    from rich.console import Console

    from tlkit.environment import Ability, Finding, Machine

_STYLES = {"ok": "green", "warning": "yellow", "problem": "bold red", "yes": "green", "partly": "yellow", "no": "red"}


def doctor(
    network: Annotated[bool, typer.Option("--network", help="Also try whether models can be downloaded.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print all that was found as JSON, for reports.")] = False,
    timeout: Annotated[
        float, typer.Option(min=1.0, metavar="SECONDS", help="How long importing TensorFlow may take.")
    ] = 120.0,
) -> None:
    """Look at this machine: what will work, what will not, and what to type.

    Ends with exit code 1 where something is a problem.
    """
    from rich.console import Console

    from tlkit.environment import judge, judge_abilities, look_at_machine

    console = Console(markup=False, highlight=False)
    if sys.stderr.isatty() and not as_json:
        with Console(stderr=True).status("Looking at this machine; importing TensorFlow takes a few seconds …"):
            machine = look_at_machine(tlkit.__version__, limit=timeout, network=network)
    else:
        machine = look_at_machine(tlkit.__version__, limit=timeout, network=network)
    groups = judge(machine)
    findings = [finding for group in groups.values() for finding in group]
    abilities = judge_abilities(machine, findings)
    if as_json:
        print(_to_json(machine, groups, abilities))
    else:
        _print_findings(console, groups)
        _print_abilities(console, abilities)
        _print_commands(console, findings)
    if any(finding.verdict == "problem" for finding in findings):
        raise typer.Exit(1)


def _to_json(machine: Machine, groups: dict[str, list[Finding]], abilities: list[Ability]) -> str:
    report: dict[str, Any] = {
        "tlkit": tlkit.__version__,
        "findings": [dataclasses.asdict(finding) | {"group": group} for group in groups for finding in groups[group]],
        "abilities": [dataclasses.asdict(ability) for ability in abilities],
        "facts": dataclasses.asdict(machine),
    }
    report["facts"]["packages"]["installed"] = {
        name: package.version for name, package in sorted(machine.packages.installed.items())
    }
    return json.dumps(report, indent=2)


def _print_findings(console: Console, groups: dict[str, list[Finding]]) -> None:
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
            table.add_row(Text(finding.verdict, style=_STYLES[finding.verdict]), finding.name, found)
    console.print(table)


def _print_abilities(console: Console, abilities: list[Ability]) -> None:
    from rich.table import Table
    from rich.text import Text

    console.print("\nWhat will work", style="bold")
    table = Table(box=None, show_header=False, pad_edge=False)
    for ability in abilities:
        table.add_row(Text(ability.works, style=_STYLES[ability.works]), ability.name, ability.sentence)
    console.print(table)


def _print_commands(console: Console, findings: list[Finding]) -> None:
    problems = [finding for finding in findings if finding.verdict == "problem"]
    warnings = [finding for finding in findings if finding.verdict == "warning"]
    for title, chosen in (("What to type", problems), ("Worth a thought", warnings)):
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
