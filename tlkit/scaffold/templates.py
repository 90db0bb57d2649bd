"""What templates there are, and what they ask."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import tlkit
from tlkit.errors import UserError

Answer = str | int | float | bool

_BOOLEANS = {"yes": True, "true": True, "1": True, "no": False, "false": False, "0": False}
# For each type of answer: how it is read from text, and what was expected when that fails.
_TYPES: dict[str, tuple[Callable[[str], Answer], str]] = {
    "str": (str, "text"),
    "int": (int, "a whole number"),
    "float": (float, "a number"),
    "bool": (lambda text: _BOOLEANS[text.lower()], "yes or no"),
}


@dataclass(frozen=True)
class Question:
    """What a template wants to know, from one `[[questions]]` table of its `template.toml`.

    Args:
        key: The name under which the template finds the answer.
        prompt: What is asked on a terminal.
        default: The answer when nobody is asked; text may use earlier answers, as in `"[[ name ]]-model"`.
        help: One more sentence, shown with the prompt.
        type: "str", "int", "float" or "bool".
        choices: The only answers allowed; empty for any.
    """

    key: str
    prompt: str
    default: Answer
    help: str = ""
    type: str = "str"
    choices: Sequence[Answer] = ()

    def parse(self, text: str) -> Answer:
        """Turn what was typed into an answer of the right type.

        Raises:
            UserError: When it is of another type, or is none of the choices.
        """
        read, expected = _TYPES[self.type]
        try:
            answer = read(text)
        except (KeyError, ValueError):
            raise UserError(f"'{self.key}' is {text!r}. Expected {expected}.") from None
        if self.choices and answer not in self.choices:
            raise UserError(f"'{self.key}' is {text!r}. Expected one of {', '.join(map(str, self.choices))}.")
        return answer


@dataclass(frozen=True)
class Template:
    """One folder of `templates/`.

    Attributes:
        name: Of the folder.
        folder: Where it is.
        description: One line, for `tlkit list`.
        version: As `template.toml` says.
        data: The kind of data it wants, a key of `DATA_KINDS`, or None.
        questions: What it asks, in order.
    """

    name: str
    folder: Path
    description: str
    version: str
    data: str | None = None
    questions: tuple[Question, ...] = field(default=())


def list_templates() -> dict[str, Template]:
    """Return every template that ships with tlkit, by name."""
    templates = {}
    for file in sorted(templates_folder().glob("*/template.toml")):
        table = tomllib.loads(file.read_text(encoding="utf-8"))
        questions = tuple(Question(**question) for question in table.pop("questions", []))
        templates[file.parent.name] = Template(file.parent.name, file.parent, questions=questions, **table)
    return templates


def templates_folder() -> Path:
    """Where the templates lie: inside the installed package, or beside it in a checkout."""
    package = Path(tlkit.__file__).parent
    packaged = package / "templates"
    return packaged if packaged.is_dir() else package.parent / "templates"
