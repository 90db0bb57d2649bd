"""The user's own code run for a look: what it raises and warns of is kept, not shown."""

from __future__ import annotations

import re
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tlkit.environment import Finding
from tlkit.errors import UserError, printable

_LONGEST = 300  # characters of an error that are shown
# TensorFlow carries a sentence of ours out of `tf.data` as text, with frames of Python behind it.
_CARRIED = re.compile(r"UserError: (?P<sentence>[^\n]+)")


@dataclass(frozen=True)
class Failure:
    """Something of a project that did not run.

    Attributes:
        what: What was tried, in words, such as "load_datasets".
        error: In one line.
        where: File and line of the project, such as "flowers/data.py, line 34"; empty where it is none of its lines.
        is_refusal: Whether tlkit refused it, saying what to do.
        stops_training: Whether training will fail at it, too; otherwise only the look at it did.
        lost: What could not be looked at because of it.
    """

    what: str
    error: str
    where: str = ""
    is_refusal: bool = False
    stops_training: bool = True
    lost: tuple[str, ...] = ()


@dataclass
class Attempts:
    """What came of running parts of a project, one after the other.

    Args:
        folder: Of the project.
        said_elsewhere: Words of warnings that a check of its own says better.
    """

    folder: Path
    said_elsewhere: tuple[str, ...] = ()
    failures: list[Failure] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def run(self, what: str, function: Callable[[], Any], *, lost: tuple[str, ...] = (), is_look: bool = False) -> Any:
        """What the function returns, or None where it fails.

        Args:
            what: What is tried, in words.
            function: Called without arguments.
            lost: What cannot be looked at where it fails.
            is_look: Whether training does not do the same: the project may then be right, only other than expected.
        """
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                return function()
            except (Exception, SystemExit) as error:
                self.failures.append(_failure(what, error, self.folder, lost, is_look))
                return None
            finally:
                for warning in caught:
                    sentence = str(warning.message)
                    is_for_users = issubclass(warning.category, UserWarning) and sentence not in self.warnings
                    if is_for_users and not any(words in sentence for words in self.said_elsewhere):
                        self.warnings.append(sentence)


def _failure(what: str, error: BaseException, folder: Path, lost: tuple[str, ...], is_look: bool) -> Failure:
    where, carried = where_in(error, folder), _CARRIED.search(str(error))
    if isinstance(error, UserError) or carried:
        return Failure(what, carried["sentence"] if carried else str(error), where, is_refusal=True, lost=lost)
    is_of_pipeline = type(error).__module__.startswith("tensorflow")
    stops = bool(where) or is_of_pipeline or not is_look
    return Failure(what, one_line(error), where, stops_training=stops, lost=lost)


def one_line(error: BaseException) -> str:
    """An exception as its last line in a traceback begins, cut where it is long."""
    text = error.msg if isinstance(error, SyntaxError) else str(error)
    first = next((line for line in text.splitlines() if line.strip()), "")
    said = f"{type(error).__name__}{': ' if first else ''}{printable(first)}"
    return said if len(said) <= _LONGEST else f"{said[:_LONGEST]} …"


def where_in(error: BaseException, folder: Path) -> str:
    """The innermost line of the project that an exception came through."""
    if isinstance(error, SyntaxError) and error.filename and Path(error.filename).is_relative_to(folder):
        return f"{Path(error.filename).relative_to(folder).as_posix()}, line {error.lineno}"
    frames = [
        frame for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename).is_relative_to(folder)
    ]
    if not frames:
        return ""
    return f"{Path(frames[-1].filename).relative_to(folder).as_posix()}, line {frames[-1].lineno}"


def judge_attempts(failures: tuple[Failure, ...], warned: tuple[str, ...], name: str) -> list[Finding]:
    """What failed, and what was warned of.

    Args:
        failures: Of the project's code.
        warned: Sentences.
        name: Of the project's package.
    """
    findings = [_judge_failure(failure, name) for failure in failures]
    for sentence in warned:
        meaning = "Training says so, too; it goes on, and what comes of it may be worth less."
        findings.append(Finding("warned of", sentence, "warning", meaning, (_edit_what_is_named(name),)))
    return findings


def _judge_failure(failure: Failure, name: str) -> Finding:
    if not failure.stops_training:
        meaning = "This could not be looked at: the project is built otherwise than `tlkit new` builds it."
        command = f"python -m {name}.train  # whether that works all the same"
        return Finding(failure.what, failure.error, "warning", meaning, (command,))
    meaning = "Training will stop there."
    if failure.lost:
        meaning = f"Training will stop there; not looked at, because of it: {', '.join(failure.lost)}."
    if failure.error.startswith(("ImportError", "ModuleNotFoundError")):
        command = "tlkit doctor"
    elif failure.is_refusal or not failure.where:
        command = _edit_what_is_named(name)
    else:
        command = f"edit {failure.where}"
    at = f" ({failure.where})" if failure.where and not failure.is_refusal else ""
    return Finding(failure.what, f"{failure.error}{at}", "problem", meaning, (command,))


def _edit_what_is_named(name: str) -> str:
    return f"edit {name}/config.py, or the data that it names"
