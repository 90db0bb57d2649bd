"""Three-way merges of text by git's own program, with conflicts marked as git marks them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import NamedTuple

from tlkit.errors import UserError, printable

_BINARY_LOOK = 8000  # bytes that git, too, looks for a zero in
# In this order: a line of equal signs alone is a heading in some texts.
_MARKERS = re.compile(rb"^<{7} .*?^={7}\r?$.*?^>{7} ", re.MULTILINE | re.DOTALL)
_MOST_CONFLICTS = 127  # what git's exit status counts to; above are errors


class Labels(NamedTuple):
    """What stands at the markers of a conflict."""

    yours: str
    new: str


class Merged(NamedTuple):
    """Text with the changes of both sides, and the line of each conflict (from 1)."""

    content: bytes
    conflicts: tuple[int, ...] = ()


def merge_text(yours: bytes, base: bytes, new: bytes, labels: Labels, what: str) -> Merged:
    """Merge two texts that were changed from a common one. Without a change on one side git is not needed.

    Args:
        yours: With the user's changes.
        base: What both come from.
        new: With the template's changes.
        labels: Of the markers.
        what: The file, as an error names it.

    Raises:
        UserError: When the program git is missing or does not work.
    """
    if base == yours or new == yours:
        return Merged(new)
    if base == new:
        return Merged(yours)
    content = _run_git(yours, base, new, labels, what)
    return Merged(content, conflict_lines(content, labels))


def conflict_lines(content: bytes, labels: Labels) -> tuple[int, ...]:
    """Lines (from 1) at which a conflict begins."""
    marker = f"<<<<<<< {labels.yours}".encode()
    return tuple(number for number, line in enumerate(content.split(b"\n"), 1) if line.rstrip(b"\r") == marker)


def has_markers(content: bytes) -> bool:
    """Whether a text holds a conflict that nobody has decided yet."""
    return b"<<<<<<< " in content and _MARKERS.search(content) is not None


def is_binary(content: bytes) -> bool:
    """Whether git, too, would take it for no text."""
    return b"\0" in content[:_BINARY_LOOK]


def line_ending(content: bytes) -> bytes | None:
    r"""`\n` or `\r\n` if all lines end in it; None if some do in either, or there are none, or it is no text."""
    windows, all_of_them = content.count(b"\r\n"), content.count(b"\n")
    if not all_of_them or 0 < windows < all_of_them or is_binary(content):
        return None
    return b"\r\n" if windows else b"\n"


def with_line_ending(content: bytes, ending: bytes) -> bytes:
    """The same text with all lines ending so."""
    return content.replace(b"\r\n", b"\n").replace(b"\n", ending)


def _run_git(yours: bytes, base: bytes, new: bytes, labels: Labels, what: str) -> bytes:
    program = shutil.which("git")
    if program is None:
        raise UserError(
            f"'{printable(what)}' was changed by you and by the template, and the program git, which merges texts, is "
            "not there. Nothing was changed. Install it (https://git-scm.com), and run the same again; your project "
            "need not be a repository."
        )
    # Nothing of a repository that this runs in, from a hook of it say, has a word in it.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    with tempfile.TemporaryDirectory() as folder:
        for name, content in {"yours": yours, "base": base, "new": new}.items():
            (Path(folder) / name).write_bytes(content)
        command = [program, "merge-file", "-p", "-L", labels.yours, "-L", "base", "-L", labels.new]
        done = subprocess.run([*command, "yours", "base", "new"], cwd=folder, env=environment, capture_output=True)
    if not 0 <= done.returncode <= _MOST_CONFLICTS:
        said = done.stderr.decode(errors="replace").strip()
        raise UserError(
            f"'git merge-file' failed on '{printable(what)}': {printable(said)}. Nothing was changed. Expected a git "
            "that works: try 'git --version'."
        )
    return done.stdout
