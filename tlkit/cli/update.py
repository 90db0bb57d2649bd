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
    _print_plan(console, project, plan, dry_run)
    if not dry_run and any(change.is_yours_to_decide for change in plan.changes):
        raise typer.Exit(1)


def _print_plan(console: Console, project: Path, plan: Update, dry_run: bool) -> None:
    template, shown = plan.project.template, printable(project)
    for note in plan.notes:
        console.print(note, soft_wrap=True)
    if plan.is_up_to_date:
        console.print(
            f"'{shown}' is up to date: {template.name} {template.version} of tlkit {tlkit.__version__} makes the same "
            "files as before.",
            style="bold green",
            soft_wrap=True,
        )
        return
    does = "would take" if dry_run else "takes"
    record = plan.project.record
    console.print(
        f"'{shown}' {does} {template.name} {template.version} of tlkit {tlkit.__version__}; it was at "
        f"{record.template_version} of tlkit {record.tlkit_version}.",
        style="bold",
        soft_wrap=True,
    )
    _print_changes(console, plan.changes)
    _print_counts(console, plan)
    if dry_run:
        console.print("\nNothing was written. To do it:", style="bold")
        console.print(f"  {' '.join(['tlkit update', *_argument(project)])}", soft_wrap=True)
        return
    _print_next(console, project, plan)


def _print_changes(console: Console, changes: tuple[FileChange, ...]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    table.add_column(justify="right", no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(ratio=1, overflow="fold")
    for change in sorted(changes, key=lambda change: (list(_WORDS).index(change.what), change.path)):
        added, taken = (f"{sign}{count}" if count else "" for sign, count in zip("+-", change.lines, strict=True))
        word = Text(change.what, style=_STYLES.get(change.what, "green"))
        table.add_row(word, printable(change.path), added, taken, change.note or _WORDS[change.what])
    console.print(table)


def _print_counts(console: Console, plan: Update) -> None:
    counts = {what: sum(change.what == what for change in plan.changes) for what in _WORDS}
    told = [f"{count} {what}" for what, count in counts.items() if count]
    rest = len({*plan.tree} - {change.path for change in plan.changes})
    others = f"{rest} other{'s' * (rest != 1)} of the template's stay as they are" if rest else ""
    console.print(f"{', '.join(told) or 'No file of yours changes'}{'; ' if others else ''}{others}.")


def _print_next(console: Console, project: Path, plan: Update) -> None:
    left = [change for change in plan.changes if change.is_yours_to_decide]
    if left:
        console.print("\nFor you to decide:", style="bold red")
    for change in left:
        file = printable(os.path.join(project, change.path))
        console.print(f"  {file}: {_advice(change)}", soft_wrap=True)
    tree = [path for path in plan.tree if path.startswith("tests/")]
    console.print("\nNext:", style="bold")
    if folder := _argument(project):
        console.print(f"  cd {folder[0]}", soft_wrap=True)
    if tree:
        console.print("  python -m pytest  # a minute or two: whether all still fits")
    console.print("  tlkit update --undo  # takes this update back, as a whole; it is kept in .tlkit/before-update.zip")


def _advice(change: FileChange) -> str:
    if change.what == "conflict":
        where = "cells" if change.path.endswith(".ipynb") else "lines"
        return f"between '<<<<<<< yours' and '>>>>>>>', keep what shall stay, and delete the {where} of markers"
    if change.what == "beside":
        beside = next(iter(change.writes))
        return f"take what you want of '{printable(beside)}' into it, and delete that"
    return change.note


def _undo(console: Console, project: Path) -> None:
    done = scaffold.undo_update(project.resolve())
    count = sum(not path.startswith(".tlkit/") for path in done)
    files = "file is" if count == 1 else "files are"
    console.print(
        f"The last update of '{printable(project)}' is undone: {count} {files} as before it.", style="bold green",
        soft_wrap=True,
    )  # fmt: skip
    for path, place in done.items():
        if place:
            console.print(
                f"  You changed '{printable(path)}' since: that is kept in '{printable(place)}'.", soft_wrap=True
            )


def _argument(project: Path) -> list[str]:
    """The project as it is typed; nothing for the current folder."""
    return [] if project.resolve() == Path.cwd() else [shlex.quote(str(project))]
