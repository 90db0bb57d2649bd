"""Settings of a generated project: a frozen dataclass on the command line and in a JSON file.

The dataclass is the single source. Its field names become flags, its types and defaults the rules, and the comment
above each field the help text (read from the source by simple-parsing).
"""

from __future__ import annotations

import argparse
import dataclasses
import difflib
import json
import sys
from pathlib import Path
from typing import Any, Literal, NoReturn, TypeVar, get_args, get_origin, get_type_hints

import simple_parsing

from tlkit.errors import UserError

Config = TypeVar("Config")


class _HelpFormatter(simple_parsing.SimpleHelpFormatter):
    def start_section(self, heading: str | None) -> None:
        super().start_section("settings" if heading and heading.endswith("['settings']") else heading)

    def _get_help_string(self, action: argparse.Action) -> str | None:
        # A comment may say "10 % of the epochs"; argparse would take the per cent sign for a format.
        text = super()._get_help_string(action)
        return text and text.replace("%", "%%").replace("%%(default)s", "%(default)s")


class _Parser(simple_parsing.ArgumentParser):
    """Words a mistake as one sentence instead of printing the usage of every flag."""

    def error(self, message: str) -> NoReturn:
        unknown = message.removeprefix("unrecognized arguments: ").split()[0].split("=")[0]
        if message.startswith("unrecognized arguments: "):
            known = [flag for action in self._actions for flag in action.option_strings]
            close = difflib.get_close_matches(unknown, known, n=1)
            message = f"there is no flag '{unknown}'." + (f" Did you mean '{close[0]}'?" if close else "")
        else:
            message += "."
        self.exit(2, f"Error: {message} Run '{self.prog} --help' to see every setting.\n")


def parse_flags(
    config_class: type[Config], arguments: list[str] | None = None, *, best: str | Path | None = None
) -> Config:
    """Make a config from the command line; every field of the dataclass is a flag.

    `--config FILE` reads a JSON file of settings first (a run's `config.json`, a search's `best.json`, or your own);
    flags beside it win over the file, and the file over the defaults.

    Args:
        config_class: A dataclass whose fields all have defaults.
        arguments: What was typed, without the program's name. Defaults to `sys.argv[1:]`.
        best: The file that `--config best` means, which a search writes.

    Returns:
        An instance of `config_class`.

    Raises:
        SystemExit: With status 2 after one sentence on standard error, when a flag or its value is not understood.
        UserError: When the file is not readable or holds a setting that there is none of.
    """
    arguments = [_with_underscores(argument) for argument in (sys.argv[1:] if arguments is None else arguments)]
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    first.add_argument("--config", nargs="?")  # without a value: the parser below words it
    file = first.parse_known_args(arguments)[0].config
    if file == "best" and best is not None:
        if not Path(best).is_file():
            raise UserError(f"There are no best settings yet: no file '{best}'. Search for them first, with `tune`.")
        file = str(best)
    parser = _Parser(
        prog=_program(),
        description=sys.modules["__main__"].__doc__,
        formatter_class=_HelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--config",
        metavar="FILE",
        default=argparse.SUPPRESS,
        help="JSON file of settings, read before the flags" + ("; best: what a search found" if best else ""),
    )
    default = config_class() if file is None else load_config(config_class, file)
    parser.add_arguments(config_class, dest="settings", default=default)
    return parser.parse_args(arguments).settings


def _with_underscores(argument: str) -> str:
    """`--batch-size=4` means `--batch_size=4`: hyphens are what other programs' flags have."""
    if not argument.startswith("--"):
        return argument
    name, equals, value = argument[2:].partition("=")
    return f"--{name.replace('-', '_')}{equals}{value}"


def save_config(config: Any, file: str | Path) -> None:
    """Write every setting as JSON; `load_config` and `--config` read it back."""
    Path(file).write_text(json.dumps(dataclasses.asdict(config), indent=2) + "\n", encoding="utf-8")


def load_config(config_class: type[Config], file: str | Path) -> Config:
    """Read settings from a JSON file; those that it does not name keep their defaults.

    Raises:
        UserError: When the file cannot be read, is no JSON object, names a setting that `config_class` has not, or
            gives one a value of another type.
    """
    if not Path(file).is_file():
        raise UserError(f"There is no settings file '{file}'. Expected a JSON file such as a run's config.json.")
    try:
        settings = json.loads(Path(file).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"The settings file '{file}' cannot be read as JSON: {error}.") from error
    if not isinstance(settings, dict):
        raise UserError(f"The settings file '{file}' must hold one JSON object such as {{\"dropout\": 0.2}}.")
    types = get_type_hints(config_class)
    for name, value in settings.items():
        if name not in types:
            close = difflib.get_close_matches(name, types, n=1)
            hint = f" Did you mean '{close[0]}'?" if close else ""
            raise UserError(f"The settings file '{file}' names '{name}', which is no setting here.{hint}")
        if not _fits(value, types[name]):
            raise UserError(f"The settings file '{file}' sets '{name}' to {value!r}. Expected {_words(types[name])}.")
    # JSON has no tuples.
    return config_class(**{name: tuple(v) if isinstance(v, list) else v for name, v in settings.items()})


def _fits(value: Any, annotation: Any) -> bool:
    """Whether a value from JSON may stand in a field of that type (the few kinds of types that flags can have)."""
    kinds = get_args(annotation)
    if get_origin(annotation) is Literal:
        return value in kinds
    if get_origin(annotation) is tuple:
        return isinstance(value, list) and len(value) == len(kinds) and all(map(_fits, value, kinds))
    if annotation is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    return type(value) is annotation


def _words(annotation: Any) -> str:
    kinds = get_args(annotation)
    if get_origin(annotation) is Literal:
        return f"one of {', '.join(map(repr, kinds))}"
    if get_origin(annotation) is tuple:
        return f"a list of {len(kinds)} values ({', '.join(kind.__name__ for kind in kinds)})"
    return f"a value of type {annotation.__name__}"


def _program() -> str:
    """What the user typed before the flags: `python -m package.module` or the script's name."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    return f"python -m {spec.name}" if spec else Path(sys.argv[0]).name
