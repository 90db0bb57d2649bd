"""`tlkit doctor`: what will and will not work on this machine or in a project, and what to type."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import tlkit
from tlkit.cli.findings import STYLES, print_commands, print_findings
from tlkit.errors import UserError

if TYPE_CHECKING:
    from rich.console import Console

    from tlkit.environment import Ability, Finding, Machine


def doctor(
    project: Annotated[
        Path | None,
        typer.Argument(
            metavar="PROJECT",
            help="A folder that `tlkit new` made: look at that project instead. Its own modules are run for it.",
            show_default=False,
        ),
    ] = None,
    network: Annotated[bool, typer.Option("--network", help="Also try whether models can be downloaded.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print all that was found as JSON, for reports.")] = False,
    timeout: Annotated[
        float, typer.Option(min=1.0, metavar="SECONDS", help="How long importing TensorFlow may take.")
    ] = 120.0,
    no_inspection: Annotated[
        bool, typer.Option("--no-inspection", help="Of a project: do not compare all of its pictures or texts.")
    ] = False,
) -> None:
    """Look at this machine, or at a project: what will work, what will not, and what to type.

    Ends with exit code 1 where something is a problem.
    """
    if project is None:
        _doctor_machine(network, as_json, timeout)
    elif network:
        raise UserError("'--network' is about this machine. Expected it without a project: 'tlkit doctor --network'.")
    else:
        _doctor_project(project, as_json, inspect=not no_inspection)


def _doctor_machine(network: bool, as_json: bool, timeout: float) -> None:
    from rich.console import Console

    from tlkit.environment import judge, judge_abilities, look_at_machine

    with _status("Looking at this machine; importing TensorFlow takes a few seconds …", as_json):
        machine = look_at_machine(tlkit.__version__, limit=timeout, network=network)
    groups = judge(machine)
    findings = [finding for group in groups.values() for finding in group]
    abilities = judge_abilities(machine, findings)
    if as_json:
        print(_to_json(machine, groups, abilities))
    else:
        console = Console(markup=False, highlight=False)
        print_findings(console, groups)
        _print_abilities(console, abilities)
        print_commands(console, findings)
    _exit(findings)


def _doctor_project(folder: Path, as_json: bool, inspect: bool) -> None:
    from rich.console import Console

    from tlkit.checkup import judge_project, look_at_project
    from tlkit.environment.interpreter import look_at_interpreter
    from tlkit.environment.verdicts import typed_here

    with _status("Looking at the project; it takes as long as training takes to begin …", as_json):
        facts = look_at_project(folder, inspect=inspect)
    python = look_at_interpreter()
    groups = {
        group: [
            dataclasses.replace(finding, commands=tuple(typed_here(command, python) for command in finding.commands))
            for finding in findings
        ]
        for group, findings in judge_project(facts).items()
    }
    findings = [finding for group in groups.values() for finding in group]
    if as_json:
        report = {"tlkit": tlkit.__version__, "findings": _plain(groups), "facts": dataclasses.asdict(facts)}
        print(json.dumps(_finite(report), indent=2))
    else:
        console = Console(markup=False, highlight=False)
        print_findings(console, groups)
        print_commands(console, findings, f"What to type or to edit, in {facts.folder}")
    _exit(findings)


def _finite(value: Any) -> Any:
    """The same with null for numbers that JSON has not: not a number, and infinity."""
    if isinstance(value, dict):
        return {str(key): _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _status(sentence: str, as_json: bool) -> contextlib.AbstractContextManager[Any]:
    """A sign of life on a terminal."""
    from rich.console import Console

    if sys.stderr.isatty() and not as_json:
        return Console(stderr=True).status(sentence)
    return contextlib.nullcontext()


def _exit(findings: list[Finding]) -> None:
    if any(finding.verdict == "problem" for finding in findings):
        raise typer.Exit(1)


def _plain(groups: dict[str, list[Finding]]) -> list[dict[str, Any]]:
    return [dataclasses.asdict(finding) | {"group": group} for group in groups for finding in groups[group]]


def _to_json(machine: Machine, groups: dict[str, list[Finding]], abilities: list[Ability]) -> str:
    report: dict[str, Any] = {
        "tlkit": tlkit.__version__,
        "findings": _plain(groups),
        "abilities": [dataclasses.asdict(ability) for ability in abilities],
        "facts": dataclasses.asdict(machine),
    }
    report["facts"]["packages"]["installed"] = {
        name: package.version for name, package in sorted(machine.packages.installed.items())
    }
    return json.dumps(report, indent=2)


def _print_abilities(console: Console, abilities: list[Ability]) -> None:
    from rich.table import Table
    from rich.text import Text

    console.print("\nWhat will work", style="bold")
    table = Table(box=None, show_header=False, pad_edge=False)
    for ability in abilities:
        table.add_row(Text(ability.works, style=STYLES[ability.works]), ability.name, ability.sentence)
    console.print(table)
