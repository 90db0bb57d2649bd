"""Files of a project replaced all together: a kill in between loses nothing, and all of it can be taken back."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import shutil
import stat
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from tlkit.errors import UserError, printable
from tlkit.scaffold.found_file import FoundFile, look, set_executable
from tlkit.scaffold.rendering import File

KEPT = ".tlkit"
UNFINISHED = ".tlkit/update-in-progress.zip"
FINISHED = ".tlkit/before-update.zip"
_STAGING = "staging-"
_JOURNAL = "journal.json"
_BEFORE = "before/"


class Backup(NamedTuple):
    """What files were before they were replaced, and what they became; of the latter a digest is enough.

    Attributes:
        before: By path; None is a file that was not there.
        modes: Permissions of those that were there.
        after: Digests of what was written; None is a file that was deleted.
    """

    before: dict[str, File | None]
    modes: dict[str, int]
    after: dict[str, str | None]

    def is_as_written(self, path: str, found: FoundFile) -> bool:
        """Whether a file is what the update made of it, and not what the user made of it since."""
        return not found.obstacle and _digest(found.file) == self.after[path]

    def is_as_before(self, path: str, found: FoundFile) -> bool:
        """Whether a file is what it was before the update."""
        return not found.obstacle and found.file == self.before[path]


def read_backup(folder: Path, name: str) -> Backup | None:
    """Read the backup of that name, if there is one.

    Raises:
        UserError: When it is damaged.
    """
    try:
        with zipfile.ZipFile(folder / name) as archive:
            journal = json.loads(archive.read(_JOURNAL))
            before = {
                path: File(archive.read(_BEFORE + path), bool(journal["modes"][path] & stat.S_IXUSR))
                if path in journal["modes"]
                else None
                for path in journal["after"]
            }
            return Backup(before, journal["modes"], journal["after"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise UserError(
            f"'{printable(folder / name)}' cannot be read: {error}. Expected what `tlkit update` wrote there: the "
            "files as they were before it. Take the project from its version control, or delete that file to go on "
            "without."
        ) from error


def write_files(folder: Path, changes: Mapping[str, File | None]) -> None:
    """Write, replace and delete (None) files of a project: all of them, or none.

    What they were is kept in `.tlkit/before-update.zip`. Until the last is written it has another name, by which
    `take_back` knows after a kill that something is left to do.

    Raises:
        UserError: When the disk is full or something is not to be written; everything is then as it was.
    """
    try:
        with _staging(folder) as staging:
            staged = {path: _stage(staging / str(n), folder / path, file) for n, (path, file) in _numbered(changes)}
            (staging / "backup").write_bytes(_pack(folder, changes))
            os.replace(staging / "backup", folder / UNFINISHED)
            for path, source in staged.items():
                _put(folder, path, source)
        os.replace(folder / UNFINISHED, folder / FINISHED)
    except BaseException as error:
        is_as_it_was = False
        with contextlib.suppress(OSError):
            _take_back(folder)
            is_as_it_was = True
        if isinstance(error, OSError):
            rest = (
                "Nothing was changed."
                if is_as_it_was
                else "Some files are replaced already: the next 'tlkit update' takes that back first."
            )
            what = printable(error.filename2 or error.filename or folder)
            raise UserError(
                f"'{what}' cannot be written: {error.strerror or error}. {rest} Expected a disk with room, and a "
                f"project that you may write to: '{printable(folder)}'."
            ) from error
        raise


def take_back(folder: Path) -> tuple[str, ...]:
    """Take back what an interrupted update replaced; what the user changed since stays as it is.

    Returns:
        The paths that were taken back.

    Raises:
        UserError: When something cannot be written, or what is needed is damaged.
    """
    try:
        return _take_back(folder)
    except OSError as error:
        raise UserError(
            f"'{printable(error.filename2 or error.filename or folder)}' cannot be written: {error.strerror or error}. "
            "An interrupted update is to be taken back first. Expected a project that you may write to: "
            f"'{printable(folder)}'."
        ) from error


def _take_back(folder: Path) -> tuple[str, ...]:
    for leftover in (folder / KEPT).glob(f"{_STAGING}*"):
        shutil.rmtree(leftover, ignore_errors=True)
    backup = read_backup(folder, UNFINISHED)
    if backup is None:
        return ()
    restored = []
    with _staging(folder) as staging:
        for number, path in enumerate(backup.after):
            if backup.is_as_written(path, look(folder, path)):
                _restore(folder, path, backup, staging / str(number))
                restored.append(path)
    (folder / UNFINISHED).unlink()
    return tuple(restored)


def undo_update(folder: Path) -> dict[str, str]:
    """Take back the last update, finished or not.

    Returns:
        The paths that it had changed; for those that the user changed since, where that is kept now, otherwise "".

    Raises:
        UserError: When there is none, something else stands where a file was, or something cannot be written.
    """
    backup = _last_backup(folder)
    done: dict[str, str] = {}
    try:
        if (folder / FINISHED).exists() and not (folder / UNFINISHED).exists():
            os.replace(folder / FINISHED, folder / UNFINISHED)  # a kill from here on is one of an unfinished update
        with _staging(folder) as staging:
            for number, path in enumerate(backup.after):
                found = look(folder, path)
                if backup.is_as_before(path, found):
                    continue
                done[path] = ""
                if found.file and not backup.is_as_written(path, found):
                    done[path] = free_path(folder, f"{path}.edited", found.file)
                    os.replace(folder / path, folder / done[path])
                _restore(folder, path, backup, staging / str(number))
        (folder / UNFINISHED).unlink()
    except OSError as error:
        raise UserError(
            f"'{printable(error.filename or folder)}' cannot be written: {error.strerror or error}. The update is "
            "undone in part; run the same again when that is mended."
        ) from error
    return done


def _last_backup(folder: Path) -> Backup:
    """What there is to undo, with nothing in the way of it."""
    backup = read_backup(folder, UNFINISHED)
    if backup is None:
        backup = read_backup(folder, FINISHED)
        if backup is None:
            raise UserError(
                f"'{printable(folder)}' has no update to undo: there is no {FINISHED}. Expected a project that `tlkit "
                "update` changed; only the last update can be undone, and once."
            )
    obstacles = filter(None, (look(folder, path).obstacle for path in backup.after))
    if obstacle := next(obstacles, ""):
        raise UserError(
            f"The update of '{printable(folder)}' cannot be undone: {printable(obstacle)}, where the update changed a "
            "file. Nothing was changed. Move that away, and run the same again."
        )
    return backup


def free_path(folder: Path, path: str, content: File) -> str:
    """The path, or one like it, at which there is nothing, or this very content."""
    for number in range(1, 1000):
        candidate = path if number == 1 else f"{path}-{number}"
        found = look(folder, candidate)
        if not found.obstacle and (found.file is None or found.file.content == content.content):
            return candidate
    raise UserError(f"There are a thousand files such as '{printable(path)}'. Expected room for one: delete some.")


def _numbered(changes: Mapping[str, File | None]) -> Iterator[tuple[int, tuple[str, File | None]]]:
    return enumerate(changes.items())


@contextlib.contextmanager
def _staging(folder: Path) -> Iterator[Path]:
    """A folder on the same disk, so that a file is moved into place in one step."""
    with tempfile.TemporaryDirectory(dir=folder / KEPT, prefix=_STAGING, ignore_cleanup_errors=True) as staging:
        yield Path(staging)


def _stage(staged: Path, target: Path, file: File | None) -> Path | None:
    if file is None:
        return None
    staged.write_bytes(file.content)
    if target.exists():
        staged.chmod(stat.S_IMODE(target.stat().st_mode))
    set_executable(staged, file.is_executable)
    return staged


def _put(folder: Path, path: str, source: Path | None) -> None:
    target = folder / path
    if source is not None:
        target.parent.mkdir(parents=True, exist_ok=True)
        os.replace(source, target)
        return
    target.unlink(missing_ok=True)
    for parent in target.parents:  # a folder that held nothing else is gone with it
        if parent == folder or any(parent.iterdir()):
            break
        parent.rmdir()


def _restore(folder: Path, path: str, backup: Backup, staged: Path) -> None:
    file = backup.before[path]
    if file is not None:
        staged.write_bytes(file.content)
        staged.chmod(backup.modes[path])
    _put(folder, path, staged if file is not None else None)


def _pack(folder: Path, changes: Mapping[str, File | None]) -> bytes:
    """An archive of what the files are now, with what `Backup` knows besides."""
    modes, packed = {}, io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in changes:
            found = look(folder, path)
            if found.file is not None:
                modes[path] = stat.S_IMODE((folder / path).stat().st_mode)
                archive.writestr(_BEFORE + path, found.file.content)
        after = {path: _digest(file) for path, file in changes.items()}
        archive.writestr(_JOURNAL, json.dumps({"modes": modes, "after": after}, indent=1))
    return packed.getvalue()


def _digest(file: File | None) -> str | None:
    return None if file is None else hashlib.sha256(file.content).hexdigest()
