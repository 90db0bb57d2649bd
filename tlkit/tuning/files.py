"""What a search keeps on the disk: written whole or not at all, with the version before as a second chance."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tlkit.runs
from tlkit.errors import UserError

# In a trial's folder, beside KerasTuner's trial.json and the folder `run`.
SETTINGS, METRICS, FAILURE, BEGUN, RUN = "settings.json", "metrics.json", "failure.txt", "begun.json", "run"
MODELS = ("*.keras", "*.h5")  # what of a trial's folder takes the space


def write_json(file: Path, content: Any, *, keep_previous: bool = False) -> None:
    """Replace the file by a new one, or leave it as it was: a kill or a full disk at any moment tears nothing.

    Args:
        file: Where to.
        content: What JSON can hold.
        keep_previous: Keep the version before beside it, for `mend_json`.

    Raises:
        OSError: When the disk is full or does not take it.
    """
    unfinished = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        with open(unfinished, "w", encoding="utf-8") as stream:
            stream.write(json.dumps(content, indent=2) + "\n")
            stream.flush()
            os.fsync(stream.fileno())
        if keep_previous and file.exists():
            os.replace(file, _previous(file))
        os.replace(unfinished, file)
    finally:
        unfinished.unlink(missing_ok=True)


def read_json(file: Path) -> Any | None:
    """What the file holds, or None where it is missing or damaged."""
    with contextlib.suppress(OSError, ValueError):
        return json.loads(file.read_text(encoding="utf-8"))
    return None


def mend_json(file: Path) -> None:
    """Where the file is missing or damaged, put the version before in its place, if that is whole."""
    if read_json(file) is None and read_json(_previous(file)) is not None:
        shutil.copyfile(_previous(file), file)


def full_disk(folder: Path) -> str:
    """The sentence for a full disk."""
    return (
        f"The disk is full, so the search in '{folder}' has stopped. Make room and run the same command again: "
        f"finished trials are kept, and the one that was running goes on."
    )


def claim_folder(folder: Path, description: dict[str, Any]) -> None:
    """Write down what the folder's scores depend on, or refuse when it holds scores that depend on something else.

    Raises:
        UserError: Naming what is different, or when there are files in it that are no search's.
    """
    description = json.loads(json.dumps(description))
    file = folder / "search.json"
    mend_json(file)
    kept = read_json(file)
    if kept is None:
        _refuse_what_is_no_search(folder)
        folder.mkdir(parents=True, exist_ok=True)
        write_json(file, description)
        return
    changed = sorted(name for name in kept | description if kept.get(name) != description.get(name))
    if changed:
        raise UserError(
            f"The folder '{folder}' holds a search with other settings ({', '.join(changed)}), whose scores could "
            "not be compared. Name another folder, or remove this one."
        )


def _refuse_what_is_no_search(folder: Path) -> None:
    """So that no trials are strewn among somebody's photos, nor photos removed with a search that failed."""
    names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    held = [name for name in names if not name.startswith(".")]  # others a killed `write_json` left, and systems do
    if held and not {"search.json", "oracle.json"}.intersection(held):
        raise UserError(
            f"The folder '{folder}' is not empty (it holds {', '.join(held[:3])}{', …' if len(held) > 3 else ''}) and "
            "holds no search. Expected the folder of an earlier search, or one that is empty or not there yet."
        )


def begin_run(folder: Path, settings: dict[str, Any], earlier: Path | None) -> None:
    """Prepare the folder that `run` is given, and write down its settings.

    It holds what a call that was killed has left, where that can be gone on from (a folder `state`); else a copy of
    what the earlier round of the same trial has left; else it is not there.

    Raises:
        UserError: When the earlier round's folder has gone.
    """
    resumable = (folder / tlkit.runs.STATE).is_dir() and read_json(folder.with_name(SETTINGS)) == settings
    folder.with_name(FAILURE).unlink(missing_ok=True)
    if not resumable:
        shutil.rmtree(folder, ignore_errors=True)
        if earlier is not None:
            _copy_whole(earlier, folder)
    write_json(folder.with_name(SETTINGS), settings)


def remove_models(folder: Path) -> None:
    """Leave of a trial only what is small: numbers, settings, curves."""
    for pattern in MODELS:
        for model in folder.glob(pattern):
            model.unlink(missing_ok=True)


def remove_state(folder: Path) -> None:
    """Remove what a training would go on from."""
    shutil.rmtree(folder / tlkit.runs.STATE, ignore_errors=True)


def size_in_words(folder: Path) -> str:
    """How much space a folder takes, such as "31.4 MB"."""
    size = sum(_sizes(folder))
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"


def is_disk_full(error: BaseException | None) -> bool:
    """Whether the disk had no room, as Python, HDF5 and TensorFlow say it; also as the cause of another error."""
    while error is not None:
        full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
        if full or os.strerror(errno.ENOSPC) in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False


def _previous(file: Path) -> Path:
    return file.with_name(f"{file.name}.previous")


def _copy_whole(source: Path, target: Path) -> None:
    """Copy a folder; it is there only once all of it is."""
    if not source.is_dir():
        raise UserError(f"The round before has left no folder '{source}' to go on from.")
    unfinished = target.with_name(f"{target.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    shutil.copytree(source, unfinished)
    unfinished.rename(target)


def _sizes(folder: Path) -> Iterator[int]:
    for path in folder.rglob("*"):
        with contextlib.suppress(OSError):  # removed meanwhile, by a search that runs
            if path.is_file():
                yield path.stat().st_size
