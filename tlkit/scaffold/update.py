"""A project that was made, and tweaked since, takes its template as it is now; planned in memory, written at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import tlkit
from tlkit.errors import UserError, printable
from tlkit.scaffold.backbone_handle import locate_backbone
from tlkit.scaffold.backup import take_back, write_files
from tlkit.scaffold.data_kinds import DATA_KINDS
from tlkit.scaffold.file_change import FileChange, change_file
from tlkit.scaffold.found_file import FoundFile
from tlkit.scaffold.made_project import MadeProject, open_project
from tlkit.scaffold.merging import Labels, has_markers
from tlkit.scaffold.notebooks import sources
from tlkit.scaffold.record import keep_record
from tlkit.scaffold.rendering import File, Tree, answer_questions, render
from tlkit.scaffold.requirement import install_requirement
from tlkit.scaffold.target_folder import locate_target
from tlkit.scaffold.templates import Answer, Template

# What a template knows without asking.
_KNOWN = ("name", "data", "tlkit_requirement", "tlkit_version", "template_version")


@dataclass(frozen=True)
class Update:
    """What an update will do; `apply` does it.

    Attributes:
        project: As it was found.
        answers: What the template is rendered with.
        tree: The files of the template as it is now.
        notes: About questions, a sentence each.
        changes: What happens to files; those of which there is nothing to tell are not among them.
        is_up_to_date: Whether the template makes what it made last time.
    """

    project: MadeProject
    answers: dict[str, Answer]
    tree: Tree
    notes: tuple[str, ...]
    changes: tuple[FileChange, ...]
    is_up_to_date: bool

    def apply(self) -> None:
        """Write all of it, or nothing. What an interrupted update has written is taken back first.

        Raises:
            UserError: When something cannot be written; the project is then as it was.
        """
        take_back(self.project.folder)
        if self.is_up_to_date:
            return
        writes = {path: file for change in self.changes for path, file in change.writes.items()}
        write_files(self.project.folder, writes | keep_record(self.project.template, self.answers, self.tree))


def plan_update(project: MadeProject, given: Mapping[str, Answer] | None = None) -> Update:
    """Work out in memory what the template as it is now makes of a project; nothing is written.

    Each file is merged from three: as it was generated, as it is, and as it would be generated now. What the template
    never made is not looked at.

    Args:
        project: From `open_project`.
        given: Answers to the template's questions, new or old, instead of those that the project was made with.

    Raises:
        UserError: When a file still holds conflicts of an earlier update or cannot be read, an answer will not do, or
            git is needed and missing.
    """
    record, template = project.record, project.template
    known: dict[str, Answer] = {
        **{key: record.answers[key] for key in ("name", "data") if key in record.answers},
        "tlkit_requirement": install_requirement(),
        "tlkit_version": tlkit.__version__,
        "template_version": template.version,
    }
    answers, notes = _answer(project, known, given or {})
    tree = render(template, answers)
    paths = sorted({*record.pristine, *tree})
    try:
        found = {path: project.look(path) for path in paths}
    except OSError as error:
        raise UserError(
            f"'{printable(error.filename)}' cannot be read: {error.strerror or error}. Expected that all files of the "
            "template can be. Mend its permissions."
        ) from error
    _refuse_unfinished_conflicts(project.folder, found)
    _refuse_renamed_package(project, found)
    labels = Labels("yours", f"{template.name} {template.version} of tlkit {tlkit.__version__}")
    changes = [
        change_file(project.folder, path, record.pristine.get(path), found[path], tree.get(path), labels)
        for path in paths
    ]
    told = tuple(change for change in changes if change is not None)
    return Update(project, answers, tree, notes, told, tree == record.pristine)


def find_template_changes(folder: str | Path) -> tuple[str, ...]:
    """The files that the template makes otherwise now than when the project was made or updated last.

    Where tlkit was installed from, and its version, do not count.

    Returns:
        Their paths; none where that cannot be told, as of a folder that was not made by `tlkit new`.
    """
    try:
        project = open_project(folder)
        record, template = project.record, project.template
        answers, _ = _answer(project, {key: record.answers[key] for key in _KNOWN if key in record.answers}, {})
        tree = render(template, answers)
    except UserError:
        return ()
    return tuple(path for path in sorted({*record.pristine, *tree}) if record.pristine.get(path) != tree.get(path))


# Answers ----------------------------------------------------------------------------------------------------------


def _answer(
    project: MadeProject, known: Mapping[str, Answer], given: Mapping[str, Answer]
) -> tuple[dict[str, Answer], tuple[str, ...]]:
    """Answers to all questions, and what is to be told about them."""
    template, before = project.template, project.record.answers
    kept, notes = _still_valid(template, before, given)
    given = {**given, **_located(project, {**kept, **given}, given)}
    answers = {**known, **answer_questions(template, {**kept, **given}, known)}
    for question in template.questions:
        if question.key not in kept and question.key not in given:
            notes.append(
                f"The template asks something new: {question.prompt} ({question.key}). Taken: "
                f"{answers[question.key]!r}; another answer: --set {question.key}=…"
            )
    asked = {question.key for question in template.questions}
    for key in before:
        if key not in asked and key not in _KNOWN:
            notes.append(f"The template no longer asks for '{key}', which was {before[key]!r}.")
    return answers, tuple(notes)


def _still_valid(
    template: Template, before: Mapping[str, Answer], given: Mapping[str, Answer]
) -> tuple[dict[str, Answer], list[str]]:
    """Those of the earlier answers that the questions of now take."""
    kept: dict[str, Answer] = {}
    notes = []
    for question in template.questions:
        if question.key not in before or question.key in given:
            continue
        try:
            kept[question.key] = question.parse(str(before[question.key]))
        except UserError as error:
            notes.append(f"An answer is none any more: {error}")
    return kept, notes


def _located(project: MadeProject, answers: Mapping[str, Answer], given: Mapping[str, Answer]) -> dict[str, Answer]:
    """Folders that were given, relative to the project, as `generate` keeps them."""
    template, folder, located = project.template, project.folder, dict[str, Answer]()
    if "backbone" in given:
        located["backbone"] = locate_backbone(str(given["backbone"]), template.data, folder)
    if given.keys() & {"target", "adaptation"} and "target" in answers:
        kind = DATA_KINDS[template.data] if template.data else None
        target = str(answers["target"])
        if "target" not in given and target:
            target = str(folder / target)
        located["target"] = locate_target(
            {**answers, "target": target},
            folder / str(project.record.answers.get("data", "data")),
            folder,
            may_be_a_file=kind is not None and kind.target_may_be_a_file,
        )
    return located


# Refusals ---------------------------------------------------------------------------------------------------------


def _refuse_unfinished_conflicts(folder: Path, found: Mapping[str, FoundFile]) -> None:
    marked = [path for path, it in found.items() if it.file and has_markers(_text(path, it.file))]
    if marked:
        names = ", ".join(f"'{printable(path)}'" for path in marked)
        hold = "holds a conflict that is" if len(marked) == 1 else "hold conflicts that are"
        raise UserError(
            f"{names} in '{printable(folder)}' still {hold} marked and not decided. Expected none: one would be merged "
            "into the next. Look for '<<<<<<<', keep what shall stay, delete the lines of markers, and run the same "
            "again; 'tlkit update --undo' takes the last update back."
        )


def _text(path: str, file: File) -> bytes:
    return sources(file.content) if path.endswith(".ipynb") else file.content


def _refuse_renamed_package(project: MadeProject, found: Mapping[str, FoundFile]) -> None:
    """Every file of it would count as deleted."""
    name = str(project.record.answers["name"])
    inside = [path for path in project.record.pristine if path.startswith(f"{name}/")]
    if inside and not any(found[path].file or found[path].obstacle for path in inside):
        raise UserError(
            f"The package '{name}' is not in '{printable(project.folder)}': none of the files that the template made "
            "in it is there. Expected them under that name, by which an update finds them. If it was renamed, name it "
            f"'{name}' for the update, and back afterwards."
        )
