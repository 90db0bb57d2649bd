"""How reports on data are printed and saved, whatever the data are."""

from __future__ import annotations

import contextlib
import functools
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlkit.data.inspection.finding import SEVERITIES, Finding
from tlkit.errors import printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

_SHOWN_CLASSES = 30  # about a screen; of more, the largest and the smallest are shown
_SHOWN_FILES = 3
_WIDTH = 110  # columns of data_report.txt


def save_report(folder: str | Path, plain: Mapping[str, Any], print_to: Callable[[Console, str], None]) -> None:
    """Write data_report.json and data_report.txt.

    Args:
        folder: Where to; made when missing.
        plain: What goes into the first.
        print_to: Prints the report to a console; told what to say where findings are cut short.
    """
    from rich.console import Console

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(plain, indent=2, ensure_ascii=False) + "\n"
    # File names may hold bytes that are no text; Python's escape for them, \udcXX, happens to be that of JSON.
    (folder / "data_report.json").write_bytes(text.encode("utf-8", "backslashreplace"))
    printed = io.StringIO()
    print_to(Console(file=printed, width=_WIDTH), ": see data_report.json")
    lines = (line.rstrip() for line in printed.getvalue().splitlines())  # rich fills the columns with spaces
    (folder / "data_report.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


def print_classes(
    console: Console,
    source: str,
    things: str,
    parts: Mapping[str, int],
    classes: Mapping[str, Mapping[str, int]],
    num_without_class: int = 0,
) -> None:
    """A heading, and how many things each part has of each class."""
    from rich.text import Text

    heading = f"{printable(source)}: {sum(parts.values()):,} {things} of {len(classes):,} classes"
    console.print(Text(heading, "bold"), soft_wrap=True)
    console.print(_classes_table(things, parts, classes, num_without_class))
    console.print()


def print_facts(console: Console, facts: Sequence[tuple[str, str]]) -> None:
    """What was counted, line by line under its name; an empty name goes on with the one before."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, show_header=False, pad_edge=False)
    for name, what in facts:
        table.add_row(Text(name, "bold"), what)
    console.print(table)
    console.print()


def print_findings(console: Console, findings: Sequence[Finding], compact: bool, where_all_are: str) -> None:
    """All findings, or without the notes."""
    shown = [finding for finding in findings if not compact or finding.severity != "note"]
    if shown:
        console.print(_findings_table(shown, where_all_are))
    elif not findings:
        console.print("Nothing to mend was found.")
    if len(shown) < len(findings):
        hidden = len(findings) - len(shown)
        console.print(f"{'And' if shown else 'Nothing to mend;'} {hidden} {'notes' if hidden > 1 else 'note'}.")


@contextlib.contextmanager
def progress_bar(shown: bool) -> Iterator[Callable[[str, int], Callable[[int], None]]]:
    """Gives a function that begins a bar and returns what moves it."""
    if not shown:
        yield lambda _description, _total: lambda _number: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:

        def follow(description: str, total: int) -> Callable[[int], None]:
            task = bars.add_task(description, total=total)
            return functools.partial(bars.advance, task)

        yield follow


def _classes_table(
    things: str, all_parts: Mapping[str, int], classes: Mapping[str, Mapping[str, int]], num_without_class: int
) -> Table:
    from rich.table import Table
    from rich.text import Text

    parts = [part for part, number in all_parts.items() if number]
    table = Table("class", box=None, pad_edge=False)
    for part in [*parts, "all"]:
        table.add_column(part, justify="right")
    names = list(classes)
    cut = len(names) > _SHOWN_CLASSES
    if cut:
        names.sort(key=lambda name: -sum(classes[name].values()))
    for number, name in enumerate(names):
        if cut and number == _SHOWN_CLASSES // 2:
            left_out = len(names) - 2 * (_SHOWN_CLASSES // 2)
            table.add_row(Text(f"... {left_out:,} classes of sizes between ...", "dim"))
        if not cut or not _SHOWN_CLASSES // 2 <= number < len(names) - _SHOWN_CLASSES // 2:
            counts = classes[name]
            numbers = [counts[part] for part in parts]
            table.add_row(Text(printable(name)), *(f"{count:,}" for count in [*numbers, sum(counts.values())]))
    if num_without_class:
        table.add_row(Text("none of them", "dim"), *[""] * len(parts), f"{num_without_class:,}")
    totals = [*(all_parts[part] for part in parts), sum(all_parts.values())]
    table.add_row(Text(things, "bold"), *(f"{total:,}" for total in totals))
    return table


def _findings_table(findings: Sequence[Finding], where_all_are: str) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, show_header=False, pad_edge=False)
    for finding in findings:
        table.add_row(Text(finding.severity, SEVERITIES[finding.severity]), Text(finding.sentence))
        lines = finding.details or tuple(printable(name) for name in finding.files)
        for line in lines[:_SHOWN_FILES]:
            table.add_row("", Text(f"  {line}", "dim"))
        if len(lines) > _SHOWN_FILES:
            table.add_row("", Text(f"  and {len(lines) - _SHOWN_FILES:,} more{where_all_are}", "dim"))
    return table
