"""Folders that are written to: caches, the working folder, the temporary one."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from tlkit.backbones.cache import holds_model, hub_folder
from tlkit.environment.finding import GIB, Finding, Verdict, show_bytes
from tlkit.environment.keras_settings import keras_home

_MEASURING = 2.0  # seconds for adding up what is in a folder, so that a huge one does not hold everything up
_LITTLE_SPACE = 2 * GIB  # a large backbone is a 1 GiB download, and lies there packed and unpacked for a moment
_NO_SPACE = GIB // 5  # a run of the sample project leaves 30 MiB; a `.keras` file of a usual backbone has 100


@dataclass(frozen=True)
class Folder:
    """Facts about one folder.

    Attributes:
        purpose: What it is for, as a table says it.
        path: Where it is; a web address is not looked into.
        set_by: The environment variable that named it; empty for the default.
        exists: Whether it is there.
        error: Why nothing can be written to it; empty where it can.
        size: Bytes in it; `is_counted` is False where counting took too long and there are more.
        models: TF-Hub models in it.
        broken: Folders in it that should hold a model and do not.
        free: Bytes left on its disk; None where the system does not say.
        disk: The system's number of that disk.
        is_temporary: Whether it lies in the folder for temporary files.
    """

    purpose: str
    path: str
    set_by: str = ""
    exists: bool = False
    error: str = ""
    size: int = 0
    is_counted: bool = True
    models: int = 0
    broken: tuple[str, ...] = ()
    free: int | None = None
    disk: int = 0
    is_temporary: bool = False

    @property
    def is_remote(self) -> bool:
        """Whether it is an address and not a folder of this machine."""
        return "://" in self.path


def look_at_folders(environment: Mapping[str, str] = os.environ) -> tuple[Folder, ...]:
    """Gather the facts about every folder that tlkit and its libraries write to."""
    hub = environment.get("TFHUB_CACHE_DIR", "")
    kaggle = environment.get("KAGGLEHUB_CACHE", "")
    kaggle_path = Path(kaggle or os.path.expanduser("~/.cache/kagglehub"))
    temporary, no_temporary = _temporary()
    default = temporary / "tfhub_modules" if no_temporary else hub_folder("").parent
    folders = [
        _look("TF-Hub cache", hub or default, "TFHUB_CACHE_DIR" if hub else ""),
        _look("Keras folder", keras_home(environment), "KERAS_HOME" if environment.get("KERAS_HOME") else ""),
        _working_folder(),
        _look("temporary files", temporary, measure=False),
    ]
    if no_temporary:
        folders[-1] = replace(folders[-1], error=no_temporary)
    if kaggle or kaggle_path.exists():  # only who uses kagglehub has it
        folders.insert(1, _look("Kaggle cache", kaggle_path, "KAGGLEHUB_CACHE" if kaggle else ""))
    return tuple(folders)


def _temporary() -> tuple[Path, str]:
    """The folder for temporary files, and why there is none."""
    try:
        return Path(tempfile.gettempdir()), ""
    except FileNotFoundError:  # Python tries several, and writes a file in each
        return Path(os.environ.get("TMPDIR", "/tmp")), "nothing can be written there"


def _working_folder() -> Folder:
    try:
        return _look("working folder", Path.cwd(), measure=False)
    except FileNotFoundError:
        return Folder("working folder", ".", error="it was deleted")


def _look(purpose: str, path: str | Path, set_by: str = "", measure: bool = True) -> Folder:
    if "://" in str(path):
        return Folder(purpose, str(path), set_by, exists=True)
    folder = Path(os.path.expanduser(path)).absolute()
    above = next((parent for parent in (folder, *folder.parents) if os.path.lexists(parent)), folder)
    size, is_counted = _measure(folder) if measure else (0, True)
    models, broken = _models(folder) if purpose == "TF-Hub cache" else (0, ())
    try:
        free, disk = shutil.disk_usage(above).free, above.stat().st_dev
    except OSError:
        free, disk = None, 0
    return Folder(
        purpose,
        str(folder),
        set_by,
        folder.is_dir(),
        _write_error(above),
        size,
        is_counted,
        models,
        broken,
        free,
        disk,
        folder.is_relative_to(_temporary()[0].absolute()),
    )


def _write_error(folder: Path) -> str:
    """Why no file can be made in `folder`; tried, because rights do not tell of read-only and full disks."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"tlkit")
    except OSError as error:
        return error.strerror or type(error).__name__
    return ""


def _measure(folder: Path) -> tuple[int, bool]:
    size, end = 0, time.monotonic() + _MEASURING
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                size += os.lstat(os.path.join(parent, name)).st_size
            except OSError:
                pass  # gone meanwhile
        if time.monotonic() > end:
            return size, False
    return size, True


def _models(cache: Path) -> tuple[int, tuple[str, ...]]:
    """Models in a TF-Hub cache, and folders that lost theirs: temporary files are removed, their folders stay.

    Reference: https://github.com/tensorflow/hub/issues/896
    """
    try:
        folders = [path for path in cache.iterdir() if path.is_dir() and not path.name.endswith(".tmp")]
    except OSError:
        return 0, ()
    broken = [path for path in folders if not holds_model(path) and not (path / "tfhub_module.pb").is_file()]
    return len(folders) - len(broken), tuple(sorted(map(str, broken)))


def judge_folders(folders: tuple[Folder, ...]) -> list[Finding]:
    """Judge whether each can be written to, lasts, and is whole."""
    return [finding for folder in folders for finding in _judge(folder)]


def judge_disk(folders: tuple[Folder, ...]) -> list[Finding]:
    """Judge the space on the disks of the folders, one finding where they share a disk."""
    findings = []
    seen: set[int] = set()
    for folder in sorted(folders, key=lambda folder: folder.purpose != "working folder"):
        if folder.free is None or folder.disk in seen:
            continue
        seen.add(folder.disk)
        found = f"{show_bytes(folder.free)} free at {folder.path}"
        if folder.free < _NO_SPACE:
            meaning = "Too little: files would end in the middle. Make room, or work on another disk."
            findings.append(Finding("disk", found, "problem", meaning))
        elif folder.free < _LITTLE_SPACE:
            meaning = "Enough for a small project; large backbones and many runs need more."
            findings.append(Finding("disk", found, "warning", meaning))
        else:
            findings.append(Finding("disk", found))
    return findings


def _judge(folder: Folder) -> list[Finding]:
    found = folder.path + (f" ({folder.set_by})" if folder.set_by else "")
    if folder.is_remote:
        return [Finding(folder.purpose, found, meaning="Not on this machine: not looked into.")]
    if folder.error:
        return [_judge_unwritable(folder, found)]
    if folder.size:
        more = "" if folder.is_counted else "more than "
        kept = f", {folder.models} model{'s' * (folder.models != 1)}" if folder.purpose == "TF-Hub cache" else ""
        found += f", {more}{show_bytes(folder.size)}{kept}"
    elif not folder.exists:
        found += ", made when needed"
    findings = [Finding(folder.purpose, found)]
    if folder.purpose == "TF-Hub cache" and folder.is_temporary and not folder.set_by:
        meaning = "A restart may clear it; models are then downloaded again. TFHUB_CACHE_DIR names a lasting folder."
        findings = [Finding(folder.purpose, found, "warning", meaning, (_LASTING,))]
    if folder.broken:
        meaning = "They hold no model any more. tlkit downloads them again; tensorflow_hub alone stumbles over them."
        names = ", ".join(Path(path).name for path in folder.broken[:3])
        command = "rm -r " + " ".join(f"'{path}'" for path in folder.broken)
        findings.append(Finding("emptied TF-Hub models", names, "warning", meaning, (command,)))
    return findings


_LASTING = 'export TFHUB_CACHE_DIR="$HOME/.cache/tfhub"'


def _judge_unwritable(folder: Folder, found: str) -> Finding:
    commands = {
        "TF-Hub cache": (_LASTING,),
        "Keras folder": ('export KERAS_HOME="$HOME/.keras"',) if folder.set_by else (),
        "Kaggle cache": ('export KAGGLEHUB_CACHE="$HOME/.cache/kagglehub"',),
        "temporary files": ('mkdir -p "$HOME/tmp"', 'export TMPDIR="$HOME/tmp"'),
        "working folder": ("cd ~",),
    }[folder.purpose]
    meanings = {
        "TF-Hub cache": "Models of TF-Hub cannot be kept there. Name another folder.",
        "Keras folder": "Weights of Keras cannot be kept there; Keras uses the temporary folder, or fails.",
        "Kaggle cache": "Models of Kaggle cannot be kept there. Name another folder.",
        "temporary files": "Saving and loading models needs it. Name another folder.",
        "working folder": "Projects and runs cannot be written here. Go to another folder.",
    }
    # Reading what is there still works, so only the first three go without.
    verdict: Verdict = "warning" if folder.purpose in ("working folder", "Kaggle cache") else "problem"
    return Finding(folder.purpose, f"{found}: {folder.error}", verdict, meanings[folder.purpose], commands)
