"""A template and answers to a tree of files in memory."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple

from tlkit.errors import UserError
from tlkit.scaffold.backbone_handle import is_transformer, usual_image_size
from tlkit.scaffold.templates import Answer, Question, Template

if TYPE_CHECKING:
    import jinja2

# What tools leave behind in a template's folder.
_LEFTOVERS = {"__pycache__", ".ruff_cache", ".mypy_cache", ".pytest_cache", ".ipynb_checkpoints", ".DS_Store"}


class File(NamedTuple):
    """A file of a tree in memory. Of its mode only the executable bit counts: the rest is the user's umask.

    Attributes:
        content: Its bytes.
        is_executable: Whether it may be run.
    """

    content: bytes
    is_executable: bool = False


Tree = dict[str, File]  # by path: relative, parts joined by "/"


def answer_questions(
    template: Template,
    given: Mapping[str, Answer],
    known: Mapping[str, Answer],
    ask: Callable[[Question, Answer], Answer] | None = None,
) -> dict[str, Answer]:
    """Find an answer to every question of a template, in order: what was given, what is asked, or the default.

    Args:
        template: Its questions are answered.
        given: Answers that somebody gave already.
        known: What the defaults may use besides earlier answers.
        ask: Called with the question and its default; None to take the default.
    """
    answers: dict[str, Answer] = {}
    for question in template.questions:
        if question.key in given:
            answers[question.key] = given[question.key]
            continue
        default = question.default
        if isinstance(default, str):
            where = f"{template.name}/template.toml ({question.key})"
            default = question.parse(_render_text(default, {**known, **answers}, where))
        answers[question.key] = ask(question, default) if ask else default
    return answers


def render(template: Template, answers: Mapping[str, Answer]) -> Tree:
    """Render a template's tree in memory.

    Raises:
        UserError: When the template uses an unknown answer, holds a symbolic link, or names a file outside the project.
    """
    tree: Tree = {}
    root = template.folder / "project"
    for source in sorted(root.rglob("*")):
        relative = source.relative_to(root)
        where = f"{template.name}/{relative.as_posix()}"
        if _LEFTOVERS.intersection(relative.parts):
            continue
        if source.is_symlink():
            raise UserError(f"The template file '{where}' is a symbolic link. Expected a file: put a copy there.")
        if source.is_dir():
            continue
        path = _render_text(relative.as_posix(), answers, where).removesuffix(".jinja")
        if is_unsafe(path):
            raise UserError(
                f"The template file '{where}' would be written to '{path}', outside the project. "
                "Expected a path inside it: change the file's name or the answers in it."
            )
        if path in tree:
            raise UserError(f"The template file '{where}' would overwrite '{path}', which another file makes.")
        content = source.read_bytes()
        if source.suffix == ".jinja":
            content = _render_text(content.decode(), answers, where).encode()
        tree[path] = File(content, is_executable=os.access(source, os.X_OK))
    return tree


def is_unsafe(path: str) -> bool:
    """Whether a path, its parts joined by "/", leaves the folder that it is relative to."""
    return any(part in {"", ".", ".."} or "\\" in part for part in path.split("/"))


def _render_text(text: str, answers: Mapping[str, Answer], where: str) -> str:
    import jinja2

    try:
        return _environment().from_string(text).render(answers)
    except jinja2.TemplateError as error:
        line = f", line {error.lineno}" if isinstance(error, jinja2.TemplateSyntaxError) else ""
        raise UserError(
            f"The template file '{where}'{line} cannot be rendered: {error}. "
            f"Expected only the answers {', '.join(sorted(answers))} between [[ and ]]."
        ) from error


def _environment() -> jinja2.Environment:
    import jinja2

    environment = jinja2.Environment(
        variable_start_string="[[",
        variable_end_string="]]",
        block_start_string="[%",
        block_end_string="%]",
        comment_start_string="[#",
        comment_end_string="#]",
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # jinja's own `tojson` escapes for HTML; this one gives text that TOML, JSON and Python all read as the same string.
    environment.filters["tojson"] = lambda value: json.dumps(value, ensure_ascii=False)
    environment.globals["is_transformer"] = is_transformer
    environment.globals["usual_image_size"] = usual_image_size  # for the default of a question that follows "backbone"
    return environment
