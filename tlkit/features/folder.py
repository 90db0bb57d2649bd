"""Where features are kept between runs, what is there, and how it is thrown away."""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import re
import sys
import time
from typing import Any

from tlkit.features.feature_store import DESCRIPTION

_OURS = re.compile(r"\d{5}-[0-9a-f]{8}\.npy|\..*\.tmp|" + re.escape(DESCRIPTION))
_DAY = 24 * 3600  # seconds


@dataclasses.dataclass(frozen=True)
class StoredFeatures:
    """One store of the cache.

    Attributes:
        folder: Where it lies.
        made_of: What its rows depend on, and their number and shape.
        num_bytes: What it takes on disk.
        last_used: When it was last opened, in seconds since 1970.
    """

    folder: pathlib.Path
    made_of: dict[str, Any]
    num_bytes: int
    last_used: float


def cache_folder() -> pathlib.Path:
    """The folder that features are kept in: `$TLKIT_CACHE_DIR`, else `tlkit/features` in the user's cache folder.

    That is `$XDG_CACHE_HOME` or `~/.cache`, on macOS `~/Library/Caches`, on Windows `%LOCALAPPDATA%`.
    """
    if chosen := os.environ.get("TLKIT_CACHE_DIR"):
        return pathlib.Path(chosen).expanduser()
    home = pathlib.Path.home()
    if sys.platform == "win32":
        caches = pathlib.Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local")
    elif sys.platform == "darwin":
        caches = home / "Library" / "Caches"
    else:
        caches = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache")
    return caches / "tlkit" / "features"


def list_features(folder: str | os.PathLike[str] | None = None) -> list[StoredFeatures]:
    """The stores in a folder, the one used last at the end.

    Args:
        folder: Defaults to `None`: `cache_folder()`.

    Example:
        >>> list_features("an_empty_folder")
        []
    """
    root = cache_folder() if folder is None else pathlib.Path(folder)
    stores = []
    for path in root.glob(f"*/{DESCRIPTION}"):
        try:
            described = json.loads(path.read_text(encoding="utf-8"))
            last_used = path.stat().st_mtime
            num_bytes = sum(file.stat().st_size for file in path.parent.iterdir() if _OURS.fullmatch(file.name))
        except (OSError, ValueError):  # being deleted, or no description of ours
            continue
        if isinstance(described, dict) and "made_of" in described:
            stores.append(StoredFeatures(path.parent, described, num_bytes, last_used))
    return sorted(stores, key=lambda store: store.last_used)


def prune_features(
    folder: str | os.PathLike[str] | None = None, *, max_days: float | None = None, max_bytes: float | None = None
) -> list[StoredFeatures]:
    """Delete stores: those not used for some days, and the longest unused ones until the rest is small enough.

    Only files of ours are deleted, and folders that are empty then.

    Args:
        folder: Defaults to `None`: `cache_folder()`.
        max_days: Float. Stores not used for longer go. Defaults to `None`: age does not matter.
        max_bytes: Float. What may be left of all stores together; 0 deletes all of them. Defaults to `None`.

    Returns:
        What was deleted.

    Example:
        >>> [store.folder.name for store in prune_features("an_empty_folder", max_bytes=0)]
        []
    """
    stores = list_features(folder)
    total = sum(store.num_bytes for store in stores)
    deleted = []
    for store in stores:
        is_old = max_days is not None and time.time() - store.last_used > max_days * _DAY
        if is_old or (max_bytes is not None and total > max_bytes):
            _delete(store.folder)
            total -= store.num_bytes
            deleted.append(store)
    return deleted


def _delete(folder: pathlib.Path) -> None:
    try:
        files = [file for file in folder.iterdir() if _OURS.fullmatch(file.name)]
        # The description last: what is left of an interrupted deletion is still seen as a store.
        for file in sorted(files, key=lambda file: file.name == DESCRIPTION):
            file.unlink(missing_ok=True)
        folder.rmdir()
    except OSError:  # it holds something that is not ours, or another process was faster
        pass
