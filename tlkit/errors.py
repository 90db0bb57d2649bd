"""The one error that a user's mistake raises, a kind of it, and the one place that words it at the command line."""

from __future__ import annotations

import contextlib
import re
import shlex
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import TextIO


class UserError(ValueError):
    """A mistake the user can mend: one sentence that says what, where, what was expected and what to do."""

    # Keras puts a page about the call around what a layer raises, unless it finds this mark that it has done so.
    _keras_call_info_injected = True


def printable(text: object) -> str:
    r"""A file's name as one line of text that every terminal and file takes.

    Line breaks, control characters and bytes that are no text (names may hold all of these) are written as escapes.

    Example:
        >>> print(printable("two\nlines.jpg"))
        two\nlines.jpg
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text))


class MissingColumns(UserError):
    """A table lacks the column of the texts, of the labels, or both; `tlkit new` asks which they are.

    Args:
        table: Its name.
        names: Of the columns that it has.
        missing: Role ("text", "label") -> the name that was looked for.
        near: Role -> the column that is probably meant, for those that have one.
    """

    def __init__(self, table: str, names: Sequence[str], missing: Mapping[str, str], near: Mapping[str, str]) -> None:
        self.table, self.names, self.missing, self.near = table, names, missing, near
        super().__init__(self.sentence())

    def sentence(self, flag: str = "") -> str:
        """What is missing and what to say: to Python and the commands of a project, or with the flag of another one.

        Args:
            flag: What stands before `text_column=NAME` on that command line, such as "--set".
        """
        has = f"Its columns are {', '.join(repr(printable(name)) for name in self.names[:20])}"
        has += f" and {len(self.names) - 20} more" if len(self.names) > 20 else ""
        lacks = " and no column ".join(repr(name) for name in self.missing.values())
        if self.near:
            what = (
                f"did you mean {' and '.join(repr(name) for name in self.near.values())}? Then say {self._how(flag)}."
            )
        else:
            which = "the one that holds" if len(self.missing) == 1 else "those that hold"
            whose = " and ".join(f"the {role}s" for role in self.missing)
            what = f"name {which} {whose} with {self._how(flag)}, or put a first line with the names of the columns "
            what += "above the rows."
        return f"{self.table} has no column {lacks}. {has}: {what}"

    def _how(self, flag: str) -> str:
        columns = {f"{role}_column": self.near.get(role, "NAME") for role in self.missing}
        if flag:
            return " ".join(f"{flag} {shlex.quote(f'{key}={name}')}" for key, name in columns.items())
        in_python = " and ".join(f"{key}={name!r}" for key, name in columns.items())
        return f"{in_python} (on a command line: {' '.join(f'--{k} {shlex.quote(n)}' for k, n in columns.items())})"


# TensorFlow carries an exception raised inside `tf.data` as text: "<module>.UserError: <sentence>\n<Python frames>".
_CARRIED = re.compile(r"UserError: (?P<sentence>[^\n]+)")


@contextlib.contextmanager
def exit_on_user_error() -> Iterator[None]:
    """Print a `UserError` as `Error: …` on standard error and exit with status 1, without a traceback.

    An error raised while `tf.data` reads a file reaches the caller wrapped in TensorFlow's own exception; it is
    recognised by its text and worded the same way. Every other exception passes through. Warnings are shown as
    `Warning: …` in one line, without the line of Python they come from.

    Example:
        >>> with exit_on_user_error():
        ...     print("trained")
        trained
    """
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_in_one_line
            yield
    except UserError as error:
        sentence = str(error)
    except Exception as error:
        carried = _CARRIED.search(str(error))
        if carried is None:
            raise
        sentence = carried["sentence"]
    else:
        return
    print(f"Error: {sentence}", file=sys.stderr)
    raise SystemExit(1)


def _show_in_one_line(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    if issubclass(category, UserWarning):  # others are for developers
        print(f"Warning: {message}", file=sys.stderr)
