"""A project that was made from a template, as an update finds it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from packaging.version import InvalidVersion, Version

import tlkit
from tlkit.errors import UserError, printable
from tlkit.scaffold.backup import KEPT, UNFINISHED, Backup, read_backup
from tlkit.scaffold.found_file import FoundFile, look
from tlkit.scaffold.record import ANSWERS, PRISTINE, Record, read_record
from tlkit.scaffold.templates import Template, list_templates


@dataclass(frozen=True)
class MadeProject:
    """A project's folder and what it was made from.

    Attributes:
        folder: The project.
        record: How it was made, or updated last.
        template: As it ships now.
        unfinished: The update that was interrupted, if one was: files are taken as they were before it.
    """

    folder: Path
    record: Record
    template: Template
    unfinished: Backup | None

    def look(self, path: str) -> FoundFile:
        """What is at a path."""
        return _look(self.folder, path, self.unfinished)


def open_project(folder: str | Path) -> MadeProject:
    """Open a project to update it.

    Raises:
        UserError: When it is no project, its record is damaged or of a later tlkit, or its template is no more.
    """
    shown, root = printable(folder), Path(folder).resolve()
    if not root.is_dir():
        raise UserError(f"There is no folder '{shown}'. Expected a project that `tlkit new` made.")
    if (root / KEPT).is_symlink() or not (root / KEPT).is_dir():
        above = (root.parent / KEPT).is_dir()
        instead = f"Without '{KEPT}', make a new project and copy yours into it."
        if above:
            instead = f"Did you mean '{printable(root.parent)}'?"
        raise UserError(
            f"'{shown}' is no project of tlkit: it has no folder '{KEPT}', where `tlkit new` keeps what an update "
            f"needs. Expected the folder that `tlkit new` made. {instead}"
        )
    unfinished = read_backup(root, UNFINISHED)
    record = _read(root, unfinished)
    template = list_templates().get(record.template)
    if template is None:
        raise UserError(
            f"'{shown}' was made from the template '{printable(record.template)}', which tlkit {tlkit.__version__} "
            f"does not have. Expected one of {', '.join(list_templates())}. Use the tlkit that made it, "
            f"{printable(record.tlkit_version)}."
        )
    _refuse_later(shown, record, template)
    return MadeProject(root, record, template, unfinished)


def _look(folder: Path, path: str, unfinished: Backup | None) -> FoundFile:
    found = look(folder, path)
    if unfinished and path in unfinished.after and unfinished.is_as_written(path, found):
        return FoundFile(unfinished.before[path])
    return found


def _read(folder: Path, unfinished: Backup | None) -> Record:
    kept = {path: _look(folder, path, unfinished) for path in (ANSWERS, PRISTINE)}
    try:
        for path, found in kept.items():
            if found.file is None:
                raise ValueError(found.obstacle or f"{path} is missing")
        answers, pristine = (found.file.content for found in kept.values() if found.file)
        return read_record(answers, pristine)
    except ValueError as error:
        raise UserError(
            f"What '{printable(folder)}' was made from is damaged: {printable(error)}. Expected the folder '{KEPT}' as "
            "`tlkit new` or the last update left it. Take it from the version control or a backup; without it, make a "
            "new project and copy yours into it."
        ) from error


def _refuse_later(shown: str, record: Record, template: Template) -> None:
    """An older template would take back what the project has already."""
    pairs = [("tlkit", record.tlkit_version, tlkit.__version__)]
    pairs.append((f"the template {template.name}", record.template_version, template.version))
    for what, then, now in pairs:
        try:
            is_later = Version(then) > Version(now)
        except InvalidVersion:
            is_later = False
        if is_later:
            raise UserError(
                f"'{shown}' was made with {what} {then}, and {now} is installed. Expected a tlkit no older than the "
                "project. Install it, as the project's pyproject.toml says: 'pip install -e .'."
            )
