"""`tlkit new`: a project from a template, with questions on a terminal and without any elsewhere."""

from __future__ import annotations

import contextlib
import difflib
import os
import shlex
import sys
import warnings
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Annotated, TypeVar

import typer
from typer.exceptions import TyperException

from tlkit import scaffold
from tlkit.errors import MissingColumns, UserError, printable
from tlkit.scaffold import Answer, Project, Question, Template

Value = TypeVar("Value")


class UsageError(TyperException):
    """The words typed do not make a command: exit code 2."""

    exit_code = 2


def new(
    template: Annotated[
        str | None,
        typer.Argument(metavar="TEMPLATE", help="What to make: see `tlkit list`.", show_default=False),
    ] = None,
    destination: Annotated[
        str | None,
        typer.Argument(metavar="DEST", help="New folder; its last part names the package.", show_default=False),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            metavar="PATH",
            help="Your data: a folder with one subfolder of images or texts for each class; or a table, of images with "
            "the columns file and label, of texts with text and label; or images with boxes, as Pascal VOC, COCO, "
            "YOLO or a table. Without it, sample data is written into the project.",
        ),
    ] = None,
    backbone: Annotated[
        str | None,
        typer.Option(metavar="HANDLE", help="Pretrained network: a handle or a SavedModel folder."),
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Answer to one of the template's questions.")
    ] = None,
    defaults: Annotated[bool, typer.Option("--defaults", help="Ask nothing, even on a terminal.")] = False,
    no_inspection: Annotated[
        bool, typer.Option("--no-inspection", help="Do not look at all of the data: there is too much of it.")
    ] = False,
) -> None:
    """Make a new project from a template; asks what it was not told when on a terminal."""
    interactive = not defaults and sys.stdin.isatty() and sys.stdout.isatty()
    chosen = _choose_template(template, interactive)
    given = parse_settings(chosen, [*(settings or []), *([f"backbone={backbone}"] if backbone is not None else [])])
    if destination is None:
        if not interactive:
            raise UsageError("Missing argument 'DEST'. Expected the folder to make, such as 'flowers'.")
        destination = _ask_until_right("Folder to make", "", _checked_destination)
    if interactive and data is None and chosen.data:
        scaffold.check_destination(destination)  # before more questions are asked
        data = _ask_for_data(chosen, destination, given)

    with _warnings_in_one_line():
        project = _with_columns(
            lambda: scaffold.generate(
                chosen,
                destination,
                data=data,
                given=given,
                ask=_ask_question if interactive else None,
                inspect=not no_inspection,
                progress=sys.stderr.isatty(),
            ),
            chosen,
            given,
            interactive,
        )
    _print_project(project, chosen, data)


# What was typed -----------------------------------------------------------------------------------


def _choose_template(name: str | None, interactive: bool) -> Template:
    templates = scaffold.list_templates()
    if name is None:
        if not interactive:
            raise UsageError("Missing argument 'TEMPLATE'. Run 'tlkit list' to see all.")
        name = _ask_until_right(f"Template ({', '.join(templates)})", next(iter(templates)), _one_of(templates))
    if name not in templates:
        raise UsageError(f"No template named '{name}'.{_did_you_mean(name, templates)} Run 'tlkit list' to see all.")
    return templates[name]


def parse_settings(template: Template, settings: Sequence[str]) -> dict[str, Answer]:
    """Answers to a template's questions, from `KEY=VALUE` each.

    Raises:
        UsageError: When there is no such question, or it takes no such answer.
    """
    questions = {question.key: question for question in template.questions}
    given: dict[str, Answer] = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals:
            raise UsageError(f"--set is '{setting}'. Expected a key and a value, such as '--set backbone=HANDLE'.")
        if key not in questions:
            known = f" Expected one of {', '.join(questions)}." if questions else ""
            suggestion = _did_you_mean(key, questions)
            raise UsageError(f"The template '{template.name}' has no setting '{key}'.{suggestion or known}")
        try:
            given[key] = questions[key].parse(value)
        except UserError as error:
            raise UsageError(str(error)) from None
    return given


def _did_you_mean(word: str, known: Collection[str]) -> str:
    close = difflib.get_close_matches(word, known, n=1)
    return f" Did you mean '{close[0]}'?" if close else ""


# Questions on a terminal --------------------------------------------------------------------------


def _ask_until_right(prompt: str, default: str, read: Callable[[str], Value]) -> Value:
    """Ask until `read` takes the answer; what it refuses is said and asked again."""
    while True:
        text = typer.prompt(prompt, default=default, show_default=bool(default))
        try:
            return read(text.strip())
        except UserError as error:
            print(error)


def _checked_destination(text: str) -> str:
    scaffold.check_destination(text)
    return text


def _one_of(known: Collection[str]) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in known:
            raise UserError(f"'{text}' is none of {', '.join(known)}.{_did_you_mean(text, known)}")
        return text

    return read


def _ask_for_data(template: Template, destination: str, given: dict[str, Answer]) -> str | None:
    def read(text: str) -> str | None:
        if text == "sample data":
            return None
        with _warnings_in_one_line():
            found = _with_columns(
                lambda: scaffold.check_data(template, text, destination, given), template, given, True
            )
            print(f"Found {found}.")
        return text

    return _ask_until_right(scaffold.DATA_KINDS[template.data or ""].prompt, "sample data", read)


def _with_columns(read: Callable[[], Value], template: Template, given: dict[str, Answer], interactive: bool) -> Value:
    """What `read` returns that looks at the data; columns that it misses are asked for, or said how to name."""
    before, asked = dict(given), set[tuple[str, str]]()
    while True:
        try:
            return read()
        except MissingColumns as error:
            now = {(error.table, role) for role in error.missing}
            # Whoever is asked for the same again has tables of different columns: that is for no answer to settle.
            if not interactive or now & asked or not _has_questions(template, error.missing):
                raise UserError(error.sentence("--set")) from None
            asked |= now
            names = ", ".join(repr(printable(name)) for name in error.names)
            print(f"The columns of {error.table} are {names}.")
            left = list(error.names)
            for role in error.missing:
                prompt = f"Which one holds the {'texts' if role == 'text' else 'classes'}?"
                column = _ask_until_right(prompt, error.near.get(role, ""), _one_of(left))
                given[f"{role}_column"] = column
                left.remove(column)
        except UserError:
            given.clear()  # another table, or the same once more, is asked about anew
            given.update(before)
            raise


def _has_questions(template: Template, roles: Collection[str]) -> bool:
    return {f"{role}_column" for role in roles} <= {question.key for question in template.questions}


def _ask_question(question: Question, default: Answer) -> Answer:
    choices = f" ({', '.join(map(str, question.choices))})" if question.choices else ""
    if question.help:
        print(f"\n{question.help}")
    shown = {True: "yes", False: "no"}[default] if isinstance(default, bool) else str(default)
    return _ask_until_right(question.prompt + choices, shown, question.parse)


@contextlib.contextmanager
def _warnings_in_one_line() -> Iterator[None]:
    """Show warnings as errors are shown, without a line of Python's source; each once."""
    with warnings.catch_warnings(record=True) as caught:
        yield
    for sentence in dict.fromkeys(str(warning.message) for warning in caught):
        print(f"Warning: {sentence}", file=sys.stderr)


# What was made ------------------------------------------------------------------------------------


def _print_project(project: Project, template: Template, given_data: str | None) -> None:
    from rich.console import Console

    folder = os.path.relpath(project.folder)
    name, data = project.answers["name"], project.answers["data"]
    origin = str(project.answers["tlkit_requirement"]).removeprefix("tlkit @ ")
    console = Console(markup=False, highlight=False, soft_wrap=True)
    console.print(f"Made '{folder}' from the template {template.name} {template.version}", style="bold green")
    console.print(f"  {len(project.files)} files")
    if project.data_summary:
        console.print(f"  {project.data_summary} in '{os.path.relpath(project.folder / str(data))}'")
    console.print(f"  its pyproject.toml and notebook install tlkit from {origin}")
    if project.data_report:
        console.print(f"\nIn '{given_data}':", style="bold")
        project.data_report.print(Console(markup=False, highlight=False), compact=True)
        console.print(f"The whole report, with every file: '{os.path.join(folder, 'data_report.txt')}' and .json")
    console.print("\nNext:", style="bold")
    for command in (f"cd {shlex.quote(folder)}", f"python -m {name}.train", f"python -m {name}.evaluate"):
        console.print(f"  {command}")
