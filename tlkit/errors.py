"""The one error that a user's mistake raises, and the one place that words it at the command line."""

from __future__ import annotations

import contextlib
import re
import sys
import warnings
from collections.abc import Iterator
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
