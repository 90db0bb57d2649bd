"""`tlkit update`: a project that was made and tweaked takes its template as it is now."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import tlkit
from tlkit import scaffold
from tlkit.cli.new import UsageError, parse_settings
from tlkit.errors import printable

if TYPE_CHECKING:
    from rich.console import Console

    from tlkit.scaffold import FileChange, Update

# What is done, and what would be, in the order of the table: what is left to do stands last, next to what to type.
_WORDS = {
    "added": "new in the template",
    "updated": "not changed by you",
    "merged": "your changes and the template's",
    "deleted": "no longer in the template, and not changed by you",
    "kept": "",
    "left out": "",
    "beside": "",
    "conflict": "",
}
_STYLES = {"conflict": "bold red", "beside": "yellow", "left out": "yellow", "kept": "yellow"}


def update(
    project: Annotated[
        Path,
        typer.Argument(metavar="PROJECT", help="A folder that `tlkit new` made.", show_default="the current folder"),
    ] = Path("."),
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show what would happen; nothing is written.")
    ] = False,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Answer to a question of the template, a new or an old one."),
    ] = None,
    undo: Annotated[bool, typer.Option("--undo", help="Take the last update back.")] = False,
) -> None:
    """Bring the template as it is now into a project; what you changed stays, or is marked as a conflict.

    Ends with exit code 1 where something is left for you to decide.
    """
    from rich.console import Console

    console = Console(markup=False, highlight=False)
    if undo:
        if dry_run or settings:
            raise UsageError("--undo goes alone. Expected no --dry-run and no --set with it.")
        _undo(console, project)
        return
    made = scaffold.open_project(project)
    if made.unfinished:
        does = "would be" if dry_run else "is"
        console.print(f"An update was interrupted; what it had written {does} taken back first.", soft_wrap=True)
    plan = scaffold.plan_update(made, parse_settings(made.template, settings or []))
    if not dry_run:
        plan.apply()
    _print_plan(console, project, plan, ["tlkit update", *_argument(project), *_flags(settings)] if dry_run else [])
    if not dry_run and any(change.is_yours_to_decide for change in plan.changes):
        raise typer.Exit(1)


def _print_plan(console: Console, project: Path, plan: Update, to_do_it: list[str]) -> None:
    """What happens, or, where words `to_do_it` are given, what would."""
    for note in plan.notes:
        console.print(note, soft_wrap=True)
    style = "bold green" if plan.is_up_to_date else "bold"
    console.print(_headline(plan, "would take" if to_do_it else "has taken"), style=style, soft_wrap=True)
    if plan.is_up_to_date:
        return
    changes = sorted(plan.changes, key=lambda change: (list(_WORDS).index(change.what), change.path))
    _print_changes(console, changes)
    _print_counts(console, plan)
    if to_do_it:
        console.print("\nNothing was written. To do it:", style="bold")
        console.print(f"  {' '.join(to_do_it)}", soft_wrap=True)
        return
    _print_next(console, project, plan, [change for change in changes if change.is_yours_to_decide])


def _headline(plan: Update, does: str) -> str:
    project, record = plan.project, plan.project.record
    name, template, now = printable(project.folder.name), project.template.name, project.template.version
    if plan.is_up_to_date:
        return f"'{name}' is up to date: {template} {now} of tlkit {tlkit.__version__} makes what it made before."
    if (record.template_version, record.tlkit_version) == (now, tlkit.__version__):
        return f"'{name}' {does} what is new in {template} {now} of tlkit {tlkit.__version__}."
    then = f"{record.template_version} of tlkit {record.tlkit_version}"
    return f"'{name}' {does} what is new in {template} {now} of tlkit {tlkit.__version__}, since {printable(then)}."


def _print_changes(console: Console, changes: list[FileChange]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    table.add_column(justify="right", no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(ratio=1, overflow="fold")
    for change in changes:
        added, taken = (f"{sign}{count}" if count else "" for sign, count in zip("+-", change.lines, strict=True))
        word = Text(change.what, style=_STYLES.get(change.what, "green"))
        table.add_row(word, printable(change.path), added, taken, change.note or _WORDS[change.what])
    console.print(table)


def _print_counts(console: Console, plan: Update) -> None:
    counts = {what: sum(change.what == what for change in plan.changes) for what in _WORDS}
    told = [f"{count} {'in ' if what == 'conflict' else ''}{what}" for what, count in counts.items() if count]
    rest = len({*plan.tree} - {change.path for change in plan.changes})
    stay = (
        "1 other of the template's stays as it is" if rest == 1 else f"{rest} others of the template's stay as they are"
    )
    others = stay if rest else ""
    console.print(f"{', '.join(told) or 'No file of yours changes'}{'; ' if others else ''}{others}.")


def _print_next(console: Console, project: Path, plan: Update, left: list[FileChange]) -> None:
    if left:
        console.print("\nFor you to decide:", style="bold red")
    for change in left:
        console.print(f"  {_shown(project, change.path)}: {_advice(project, change)}", soft_wrap=True)
    console.print("\nNext:", style="bold")
    if folder := _argument(project):
        console.print(f"  cd {folder[0]}", soft_wrap=True)
    if any("pyproject.toml" in change.writes for change in plan.changes):
        console.print("  pip install -e .  # pyproject.toml has changed")
    if any(path.startswith("tests/") for path in plan.tree):
        console.print("  python -m pytest  # a minute or two: whether all still fits")
    console.print("  tlkit update --undo  # if it does not: all files are as before again")


def _advice(project: Path, change: FileChange) -> str:
    if change.what == "conflict":
        return "between '<<<<<<< yours' and '>>>>>>>', keep what shall stay, and delete the markers"
    if change.what == "beside":
        beside = _shown(project, next(iter(change.writes)))
        return f"take what you want of '{beside}' into it, and delete that"
    return change.note


def _shown(project: Path, path: str) -> str:
    return printable(os.path.normpath(project / path))


def _undo(console: Console, project: Path) -> None:
    done, name = scaffold.undo_update(project.resolve()), printable(project.resolve().name)
    count = sum(not path.startswith(".tlkit/") for path in done)
    files = "file is" if count == 1 else "files are"
    console.print(
        f"The last update of '{name}' is undone: {count} {files} as before it.", style="bold green", soft_wrap=True
    )
    for path, place in done.items():
        if place:
            console.print(
                f"  You changed '{printable(path)}' since: that is kept in '{printable(place)}'.", soft_wrap=True
            )


def _argument(project: Path) -> list[str]:
    """The project as it is typed; nothing for the current folder."""
    return [] if project.resolve() == Path.cwd() else [shlex.quote(str(project))]


def _flags(settings: list[str] | None) -> list[str]:
    return [f"--set {shlex.quote(setting)}" for setting in settings or []]
