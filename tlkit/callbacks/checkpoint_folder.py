"""Numbered checkpoints in a folder: whole or not there, with checksums, the newest few kept.

    directory/
      epoch_00003/
        state.json      what is small: numbers, texts, and where each array lies
        arrays.bin      the arrays, one after another
        SHA256SUMS      `sha256sum -c SHA256SUMS` checks the two

A checkpoint is written into a folder of another name, forced to the disk, and renamed: a process killed at any moment
leaves the earlier ones as they were.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import pathlib
import re
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np

from tlkit.errors import UserError

ARRAYS, STATE, SUMS = "arrays.bin", "state.json", "SHA256SUMS"
_NAME = re.compile(r"epoch_(\d{5,})")
_UNFINISHED = ".unfinished_"
_ALIGNMENT = 64  # bytes: any dtype can be read in place, and a cache line holds no two arrays
_TAG = "__type__"  # marks what JSON has no word for


def write_checkpoint(directory: pathlib.Path, number: int, state: Any, *, keep: int) -> None:
    """Add a checkpoint and delete all but the newest `keep`.

    Args:
        directory: Where the checkpoints lie; made when it is not there.
        number: Int, at least 0. Its place in the order, such as the number of epochs that are done.
        state: Nested dicts, lists and tuples of numbers, texts, None, bytes and NumPy arrays.
        keep: Int, at least 1.

    Raises:
        OSError: When the disk is full or does not take it; the earlier checkpoints are untouched.
        TypeError: When the state holds something else.
    """
    directory.mkdir(parents=True, exist_ok=True)
    _remove_unfinished(directory)
    unfinished = pathlib.Path(tempfile.mkdtemp(prefix=_UNFINISHED, dir=directory))
    try:
        with _synced(unfinished / ARRAYS) as file:
            writer = _ArrayWriter(file)
            text = json.dumps(_plain(state, writer)).encode()
        with _synced(unfinished / STATE) as file:
            file.write(text)
        sums = {ARRAYS: writer.hash.hexdigest(), STATE: hashlib.sha256(text).hexdigest()}
        with _synced(unfinished / SUMS) as file:
            file.write("".join(f"{value}  {name}\n" for name, value in sums.items()).encode())
        _sync_folder(unfinished)
        final = directory / f"epoch_{number:05d}"
        if final.exists():  # a damaged one, or it would have been gone on from
            final.rename(tempfile.mkdtemp(prefix=_UNFINISHED, dir=directory))
        os.replace(unfinished, final)
        _sync_folder(directory)
    finally:
        _remove_unfinished(directory)
    # Those after this one are damaged, too: this one was written because they could not be read.
    found = list_checkpoints(directory)
    newest = [n for n in sorted(found, reverse=True) if n <= number][:keep]
    for other in found.keys() - set(newest):
        shutil.rmtree(found[other], ignore_errors=True)


def read_newest_checkpoint(directory: pathlib.Path) -> Any | None:
    """The state of the newest checkpoint that is whole, or None when there is none at all.

    A damaged one is passed over with a warning that names it.

    Raises:
        UserError: When there are checkpoints, but all are damaged.
    """
    found = list_checkpoints(directory)
    for number in sorted(found, reverse=True):
        try:
            return _read(found[number])
        except _Damaged as damage:
            warnings.warn(
                f"ExactResume: the checkpoint '{found[number]}' is damaged ({damage}); it is passed over for the one "
                f"before.",
                stacklevel=2,
            )
    if found:
        raise UserError(
            f"ExactResume: all {len(found)} checkpoints in '{directory}' are damaged. Expected one that is whole. "
            f"Bring back a copy of the folder, or delete it to train from the start."
        )
    return None


def list_checkpoints(directory: pathlib.Path) -> dict[int, pathlib.Path]:
    """The checkpoints' folders by number, whole or damaged."""
    if not directory.is_dir():
        return {}
    matches = ((_NAME.fullmatch(path.name), path) for path in directory.iterdir())
    return {int(match[1]): path for match, path in matches if match}


def delete_checkpoints(directory: pathlib.Path) -> None:
    """Delete every checkpoint, and the directory when nothing else is in it."""
    # The oldest first: interrupted, the newest is still there.
    for _, path in sorted(list_checkpoints(directory).items()):
        shutil.rmtree(path)
    if directory.is_dir():
        _remove_unfinished(directory)
        with contextlib.suppress(OSError):  # files of others
            directory.rmdir()


class _Damaged(Exception):
    """Says what of a checkpoint is damaged."""


def _read(folder: pathlib.Path) -> Any:
    try:
        lines = (folder / SUMS).read_text(encoding="ascii").splitlines()
        sums = {name: value for value, _, name in (line.partition("  ") for line in lines)}
        text = (folder / STATE).read_bytes()
        arrays = np.fromfile(folder / ARRAYS, np.uint8)
    except (OSError, ValueError) as error:
        raise _Damaged(getattr(error, "strerror", None) or f"{SUMS} is no text") from None
    for name, content in ((STATE, text), (ARRAYS, arrays)):
        if hashlib.sha256(content).hexdigest() != sums.get(name):
            raise _Damaged(f"the checksum of {name} is another")
    return _restored(json.loads(text), arrays)


class _ArrayWriter:
    """Appends arrays to a file, hashing what is written on the way."""

    def __init__(self, file: BinaryIO):
        self.file, self.hash, self.size = file, hashlib.sha256(), 0

    def append(self, array: np.ndarray) -> dict[str, Any]:
        flat = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
        for chunk in (bytes(-self.size % _ALIGNMENT), flat.data):
            self.file.write(chunk)
            self.hash.update(chunk)
            self.size += len(chunk)
        # By name, not by NumPy's code: bfloat16 has a name only.
        return {
            _TAG: "array",
            "dtype": array.dtype.name,
            "shape": list(array.shape),
            "start": self.size - flat.size,
            "bytes": flat.size,
        }


def _plain(value: Any, writer: _ArrayWriter) -> Any:
    """What JSON can hold, with arrays put into the writer's file."""
    if value is None or type(value) in (bool, int, float, str):
        return value
    if isinstance(value, np.ndarray | np.generic) and np.asarray(value).dtype.kind in "biufcV":
        return {**writer.append(np.asarray(value)), "scalar": isinstance(value, np.generic)}
    if isinstance(value, list):
        return [_plain(item, writer) for item in value]
    if isinstance(value, tuple):
        return {_TAG: "tuple", "items": [_plain(item, writer) for item in value]}
    if isinstance(value, bytes):
        return {_TAG: "bytes", "hex": value.hex()}
    if isinstance(value, dict):
        return {_TAG: "dict", "items": [[_plain(k, writer), _plain(v, writer)] for k, v in value.items()]}
    raise TypeError(f"a {type(value).__name__} cannot be written into a checkpoint")


def _restored(value: Any, arrays: np.ndarray) -> Any:
    if isinstance(value, list):
        return [_restored(item, arrays) for item in value]
    if not isinstance(value, dict):
        return value
    if value[_TAG] == "array":
        flat = arrays[value["start"] : value["start"] + value["bytes"]]
        array = flat.view(np.dtype(value["dtype"])).reshape(value["shape"])
        return array[()] if value["scalar"] else array
    if value[_TAG] == "bytes":
        return bytes.fromhex(value["hex"])
    items = [_restored(item, arrays) for item in value["items"]]
    return tuple(items) if value[_TAG] == "tuple" else dict(items)


@contextlib.contextmanager
def _synced(path: pathlib.Path) -> Iterator[BinaryIO]:
    """A new file that is on the disk, not only in the system's memory, when the block ends."""
    with open(path, "wb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: pathlib.Path) -> None:
    if os.name == "nt":  # Windows opens no folders
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove_unfinished(directory: pathlib.Path) -> None:
    for path in directory.glob(f"{_UNFINISHED}*"):
        shutil.rmtree(path, ignore_errors=True)
