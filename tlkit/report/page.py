"""One HTML page that needs nothing else: of one run, or of several side by side."""

from __future__ import annotations

import contextlib
import datetime
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2

import tlkit
from tlkit.errors import UserError, printable
from tlkit.report import numbers, story
from tlkit.report.adaptation import find_adaptation
from tlkit.report.comparison import compare
from tlkit.report.marked_texts import read_marked_texts
from tlkit.report.pictures import Picture, draw_curves, draw_wide_curves, embed
from tlkit.report.run_folder import Run, package_of, place_of, read_run
from tlkit.report.searches import find_search
from tlkit.report.transfer_gain import counterpart, over_no_training, transfer_gain

REPORT = "report.html"  # in a run's folder

# Name of a picture in a run -> what it shows; in the order of the page.
_WHAT_GOES_WRONG = {
    "confusion_matrix": ("Which classes are taken for which", "Rows are the true classes, columns what was said."),
    "class_scores": ("How well each class is found", ""),
    "precision_recall": ("Precision and recall", "A box counts as found that overlaps the true one by half."),
    "calibration": ("Whether it is as sure as it should be", ""),
    "accuracy_by_length": ("Short and long texts", ""),
    "most_wrong": ("The most wrong images", ""),
    "worst": ("The images with the most mistakes", "True boxes on the left, found ones on the right."),
    "examples": ("Some images as they come", "True boxes on the left, found ones on the right."),
}


def write_report(run: str | os.PathLike[str], *, to: str | os.PathLike[str] | None = None) -> Path:
    """Write one page about a run, from what its folder holds: no TensorFlow, no script, no network.

    A run that differs from it in `weights` only, and has a report, gets that written anew: what transfer gained is
    known to both then. What is missing in the folder, as in that of an older version, is said on the page.

    Args:
        run: Folder of the run.
        to: The file. Defaults to `None`: report.html in the run's folder.

    Returns:
        The file that was written.

    Raises:
        UserError: When it is no folder of a run, a file in it is damaged, or the page cannot be written.
    """
    found = read_run(run)
    file = _write(Path(to) if to else found.folder / REPORT, _page_of_one(found))
    other = counterpart(found)
    if to is None and other is not None and (other.folder / REPORT).is_file():
        _write(other.folder / REPORT, _page_of_one(other))
    return file


def write_side_by_side(runs: Sequence[str | os.PathLike[str]], to: str | os.PathLike[str]) -> Path:
    """Write one page that puts several runs beside each other: results and what differs first, then their pictures.

    Args:
        runs: Folders of the runs.
        to: The file.

    Returns:
        The file that was written.

    Raises:
        UserError: As `write_report`.
    """
    found = [read_run(run) for run in runs]
    kinds = list(_WHAT_GOES_WRONG.items())
    rows: list[tuple[str, list[Picture | None]]] = [("Learning curves", [draw_curves(run) for run in found])]
    rows += [(title, [embed(run.folder / f"{name}.png") for run in found]) for name, (title, _) in kinds]
    rows = [(title, pictures) for title, pictures in rows if any(pictures)]
    page = _render("side_by_side.html.jinja", comparison=compare(found), pictures=rows, runs=found)
    return _write(Path(to), page)


def _page_of_one(run: Run) -> str:
    table = numbers.class_table(run)
    texts = read_marked_texts(run.folder / "most_wrong.html")
    return _render(
        "run.html.jinja",
        run=run,
        package=package_of(run),
        place=printable(place_of(run)),
        score=numbers.headline(run.judged),
        judged_on=numbers.judged_on(run),
        others=numbers.other_numbers(run),
        gain=transfer_gain(run),
        over_no_training=over_no_training(run),
        curves=draw_wide_curves(run),
        columns=table[0],
        classes=table[1],
        confusions=numbers.confusions(run),
        calibration=numbers.calibration_sentence(run),
        pictures=_pictures(run),
        texts=texts,
        adaptation=find_adaptation(run),
        search=find_search(run),
        story=story,
    )


def _pictures(run: Run) -> list[tuple[str, str, str, Picture | None]]:
    """Name, title, caption and picture of those that lie in the run; no picture where it cannot be read."""
    return [
        (name, title, caption, embed(file))
        for name, (title, caption) in _WHAT_GOES_WRONG.items()
        if (file := run.folder / f"{name}.png").is_file()
    ]


def _render(template: str, **given: Any) -> str:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "pages"),
        autoescape=True,  # names of classes and files, and texts, may hold HTML
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    now = datetime.datetime.now().astimezone()
    return environment.get_template(template).render(
        version=tlkit.__version__, written=f"{now:%Y-%m-%d %H:%M}", printable=printable, **given
    )


def _write(file: Path, page: str) -> Path:
    """Replace the file as a whole."""
    if file.suffix.lower() not in (".html", ".htm"):
        raise UserError(f"The report's file is '{printable(file)}'. Expected a name that ends with .html.")
    unfinished = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        # Half a pair of surrogates, as damaged files give them, has no form in UTF-8: a question mark instead.
        unfinished.write_bytes(page.encode("utf-8", errors="replace"))
        os.replace(unfinished, file)
    except OSError as error:
        with contextlib.suppress(OSError):
            unfinished.unlink(missing_ok=True)
        raise UserError(f"The report '{printable(file)}' cannot be written: {error.strerror or error}.") from error
    return file
