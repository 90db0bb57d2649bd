"""What is at a path of a project, links not followed; and the one bit of its mode that counts."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import NamedTuple

from tlkit.scaffold.rendering import File


class FoundFile(NamedTuple):
    """What is there: a file, nothing, or, where neither is true, `obstacle` says what in words."""

    file: File | None = None
    obstacle: str = ""


def look(folder: Path, path: str) -> FoundFile:
    """Look at a path relative to a project.

    A link, at the path itself or on the way to it, is an obstacle wherever it leads: what is written through it may
    land outside the project. So is a path that leads out by itself, as a record from a stranger may hold one.
    """
    place = folder
    parts = path.split("/")
    if any(part in {"", ".", ".."} or "\\" in part or ":" in part for part in parts):
        return FoundFile(obstacle=f"'{path}' is no path inside the project")
    for number, part in enumerate(parts, 1):
        place = place / part
        shown = "/".join(parts[:number])
        try:
            mode = place.lstat().st_mode
        except FileNotFoundError:
            return FoundFile()
        if stat.S_ISLNK(mode):
            return FoundFile(obstacle=f"'{shown}' is a symbolic link")
        if number < len(parts) and not stat.S_ISDIR(mode):
            return FoundFile(obstacle=f"'{shown}' is no folder")
    if stat.S_ISDIR(mode):
        return FoundFile(obstacle=f"'{path}' is a folder")
    if not stat.S_ISREG(mode):
        return FoundFile(obstacle=f"'{path}' is no file")
    return FoundFile(File(place.read_bytes(), bool(mode & stat.S_IXUSR)))


def set_executable(file: Path, is_executable: bool) -> None:
    """Set or clear the executable bits; who may read it may run it, and the rest of the mode stays."""
    mode = stat.S_IMODE(file.stat().st_mode)
    if bool(mode & stat.S_IXUSR) != is_executable:
        file.chmod(mode | (mode & 0o444) >> 2 if is_executable else mode & ~0o111)
