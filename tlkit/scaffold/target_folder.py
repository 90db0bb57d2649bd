"""The unlabelled data that a project adapts to: answers `adaptation` and `target` of a template."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from tlkit.errors import UserError
from tlkit.scaffold.templates import Answer

SAMPLE_TARGET = "target"  # the folder in the project where sample data of the second domain are written


def locate_target(
    answers: Mapping[str, Answer], data: str | Path | None, project: Path, *, may_be_a_file: bool = False
) -> str:
    """Return the target as the project's config shall hold it: relative to the project, as the data are.

    Args:
        answers: `adaptation`, which is "none" or a method, and `target`, relative to the current folder, or empty.
        data: The user's labelled data; None for sample data.
        project: The project's folder.
        may_be_a_file: Whether the data are tables, not folders only.

    Raises:
        UserError: When there is no such folder or file, the project would lie inside it, or an answer is missing.
    """
    kinds = "file or folder" if may_be_a_file else "folder"
    adaptation, target = str(answers.get("adaptation", "none")), str(answers["target"])
    if not target:
        if adaptation == "none":
            return ""
        if data is None:
            return SAMPLE_TARGET
        raise UserError(
            f"'adaptation' is '{adaptation}', and no 'target' is given. Expected a {kinds} of unlabelled data to adapt "
            f"to. Add '--set target={'FILE' if may_be_a_file else 'FOLDER'}'."
        )
    if data is None:
        raise UserError(
            f"'target' is '{target}', and there are no labelled data to go with it: sample data show something else. "
            f"Add '--data {'FILE' if may_be_a_file else 'FOLDER'}'."
        )
    folder = Path(target)
    if not (folder.is_dir() or may_be_a_file and folder.is_file()):
        raise UserError(f"'target' is '{target}'. Expected a {kinds} of unlabelled data; there is none of that name.")
    if project.is_relative_to(folder.resolve()):
        raise UserError(
            f"The project would lie inside the target folder '{target}', where it would be taken for data. Expected a "
            "destination elsewhere."
        )
    if folder.resolve() == Path(data).resolve():
        kind = "file" if folder.is_file() else "folder"
        raise UserError(f"'target' is the {kind} of the labelled data, '{target}'. Expected another one to adapt to.")
    return Path(os.path.relpath(folder.resolve(), project)).as_posix()
