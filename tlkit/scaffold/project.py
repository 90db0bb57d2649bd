"""A new project: all of it or nothing."""

from __future__ import annotations

import contextlib
import os
import tempfile
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import tlkit
from tlkit.errors import UserError
from tlkit.scaffold.backbone_handle import locate_backbone
from tlkit.scaffold.data_kinds import DATA_KINDS, check_data
from tlkit.scaffold.destination import check_destination
from tlkit.scaffold.found_file import set_executable
from tlkit.scaffold.record import keep_record
from tlkit.scaffold.rendering import Tree, answer_questions, render
from tlkit.scaffold.requirement import install_requirement
from tlkit.scaffold.target_folder import SAMPLE_TARGET, locate_target
from tlkit.scaffold.templates import Answer, Question, Template

if TYPE_CHECKING:
    from tlkit.data import BoxReport, ImageReport, TextReport


class Project(NamedTuple):
    """What `generate` made.

    Attributes:
        folder: Where it is.
        files: The template's files in it; sample data and the report on the data come on top.
        answers: What they were made with.
        data_summary: The data in a few words.
        data_report: What was found in the user's data; saved in the folder, too.
    """

    folder: Path
    files: tuple[str, ...]
    answers: dict[str, Answer]
    data_summary: str
    data_report: BoxReport | ImageReport | TextReport | None = None


def generate(
    template: Template,
    destination: str | Path,
    *,
    data: str | Path | None = None,
    given: Mapping[str, Answer] | None = None,
    ask: Callable[[Question, Answer], Answer] | None = None,
    inspect: bool = True,
    progress: bool = False,
) -> Project:
    """Make a new project from a template.

    Besides the answers to its own questions a template knows `name` (the package: the last part of the destination),
    `data` (a path relative to the project), `tlkit_requirement`, `tlkit_version` and `template_version`.

    Args:
        template: What to render.
        destination: A folder that does not exist yet, or is empty.
        data: The user's data. Defaults to sample data written into the project's folder `data/`.
        given: Answers to the template's questions, by key.
        ask: See `answer_questions`.
        inspect: Look at all of the user's data, and leave the report in the project. What is found stops nothing.
        progress: Show a progress bar meanwhile.

    Raises:
        UserError: When the destination, its name, the data or the template will not do. Nothing is left behind then.
    """
    name = check_destination(destination)
    folder = Path(destination).resolve()
    kind = DATA_KINDS[template.data] if template.data else None
    with warnings.catch_warnings():
        if inspect:
            warnings.simplefilter("ignore")  # the report has them
        data_summary = "" if data is None else check_data(template, data, destination, given)
    known: dict[str, Answer] = {
        "name": name,
        "data": "data" if data is None else Path(os.path.relpath(Path(data).resolve(), folder)).as_posix(),
        "tlkit_requirement": install_requirement(),
        "tlkit_version": tlkit.__version__,
        "template_version": template.version,
    }
    answers = known | answer_questions(template, given or {}, known, ask)
    if "backbone" in answers:
        answers["backbone"] = locate_backbone(str(answers["backbone"]), template.data, folder)
    if "target" in answers:
        may_be_a_file = kind is not None and kind.target_may_be_a_file
        answers["target"] = locate_target(answers, data, folder, may_be_a_file=may_be_a_file)

    tree = render(template, answers)
    report = None
    if kind and kind.inspect and data is not None and inspect:
        report = kind.inspect(Path(data), answers, progress)

    def add_data(project: Path) -> None:
        if report:
            report.save(project)
        elif kind and data is None and answers.get("target") and kind.write_sample_domains:
            kind.write_sample_domains(project / "data", project / SAMPLE_TARGET)
        elif kind and data is None:
            kind.write_sample(project / "data")

    _write_at_once(tree | keep_record(template, answers, tree), folder, add_data)
    if kind and data is None:
        data_summary = kind.describe(folder / "data", answers)
    return Project(folder, tuple(tree), answers, data_summary, report)


def _write_at_once(tree: Tree, folder: Path, add_data: Callable[[Path], None]) -> None:
    """Write a tree and what `add_data` adds to it, so that `folder` is either complete or as it was before."""
    new_parents = [parent for parent in folder.parents if not parent.exists()]
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as temporary:
            staging = Path(temporary) / folder.name  # one level down: the temporary folder itself is private
            staging.mkdir()
            for path, file in tree.items():
                target = staging / path
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(file.content)
                set_executable(target, file.is_executable)
            add_data(staging)
            os.replace(staging, folder)
    except BaseException as error:
        for parent in new_parents:
            with contextlib.suppress(OSError):
                parent.rmdir()
        if isinstance(error, OSError):
            raise UserError(
                f"'{folder}' cannot be written: {error.strerror or error}. Nothing was left behind. "
                "Expected a destination on a disk with room, in a folder that you may write to."
            ) from error
        raise
