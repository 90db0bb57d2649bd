"""`tlkit report`: a page about a run, or several side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tlkit.errors import UserError


def report(
    runs: Annotated[
        list[str],
        typer.Argument(metavar="RUN...", help="Folders of runs, or their names inside runs/.", show_default=False),
    ],
    to: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write there instead of to RUN/report.html, or of several to side_by_side.html here.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Write one self-contained HTML page about a run, or put several side by side."""
    from tlkit.report import write_report, write_side_by_side

    folders = [_find(run) for run in runs]
    if len(folders) == 1:
        file = write_report(folders[0], to=to)
    else:
        file = write_side_by_side(folders, to or "side_by_side.html")
    print(f"Report, to open in a browser: {file}")


def _find(run: str) -> Path:
    """A folder, given by its path or by its name inside runs/."""
    for folder in (Path(run), Path("runs") / run):
        if folder.is_dir():
            return folder
    raise UserError(
        f"There is no folder '{run}', nor 'runs/{run}'. Expected a run, such as runs/2026-11-21_13-35-17; the "
        "project's `train` makes them."
    )
