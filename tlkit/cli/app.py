"""The commands of `tlkit`, each a thin layer over a function of the library.

Nothing here imports TensorFlow, and what one command needs is imported when it runs: `tlkit --help` is immediate.
A usage mistake ends with exit code 2, a refusal (`UserError`) with 1; both with one sentence on standard error.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typer.exceptions import TyperException

import tlkit
from tlkit.cli.backbones import backbones
from tlkit.cli.cache import cache
from tlkit.cli.doctor import doctor
from tlkit.cli.list import list_all
from tlkit.cli.new import new
from tlkit.cli.report import report
from tlkit.cli.update import update
from tlkit.errors import exit_on_user_error


class _Commands(TyperGroup):
    """Words every mistake in one place, on one line, whichever command it was made in."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        run = functools.partial(super().main, args, prog_name, complete_var, False, windows_expand_args, **extra)
        if not standalone_mode:
            return run()
        try:
            with exit_on_user_error():
                status = run()
        except TyperException as error:
            if sentence := _usage_sentence(error):
                print(f"Error: {sentence}", file=sys.stderr)
            status = error.exit_code
        except typer.Abort:
            print("Aborted.", file=sys.stderr)
            status = 1
        raise SystemExit(status or 0)


def _usage_sentence(error: TyperException) -> str:
    """Typer's own message, closed by what to type instead; empty when typer has shown the help already."""
    similar = getattr(error, "possibilities", None)
    if similar and (typed := getattr(error, "option_name", None)):
        similar = sorted(similar, key=lambda name: not name.startswith(typed))  # "--older": "--older-than"
    message = error.message if similar else error.format_message()
    if not message.strip():
        return ""
    sentence = message if message.endswith(("?", ".")) else f"{message}."
    if similar:
        sentence += f" Did you mean '{similar[0]}'?"
    context = getattr(error, "ctx", None)
    return f"{sentence} Run '{context.command_path} --help' to see what it takes." if context else sentence


app = typer.Typer(
    cls=_Commands, name="tlkit", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False
)
app.command("new")(new)
app.command("list")(list_all)
app.command("doctor")(doctor)
app.command("backbones")(backbones)
app.command("update")(update)
app.command("cache")(cache)
app.command("report")(report)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"tlkit {tlkit.__version__}")
        raise typer.Exit


@app.callback()
def _tlkit(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Transfer learning in Keras: `tlkit new` makes a project that runs at once."""


def main() -> None:
    """Run the command line (the entry point `tlkit`)."""
    app(prog_name="tlkit")
