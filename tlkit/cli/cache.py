"""`tlkit cache`: the features that trainings kept, and how they are thrown away."""

from __future__ import annotations

import datetime
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tlkit.errors import UserError

if TYPE_CHECKING:
    from tlkit.features import StoredFeatures

_UNITS = {"": 1, "k": 1000, "m": 1000**2, "g": 1000**3, "t": 1000**4}


def cache(
    prune: Annotated[bool, typer.Option("--prune", help="Delete: which, the other options say.")] = False,
    older_than: Annotated[
        float | None, typer.Option(metavar="DAYS", min=0, help="Delete what was not used for so many days.")
    ] = None,
    max_size: Annotated[
        str | None,
        typer.Option(metavar="SIZE", help="Delete the longest unused until no more than this is left, such as 2GB."),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Delete all of it.")] = False,
    folder: Annotated[
        Path | None, typer.Option(help="Another folder than $TLKIT_CACHE_DIR or the user's cache.", show_default=False)
    ] = None,
) -> None:
    """List the features of frozen backbones that are kept on disk, or delete some; a training makes them anew."""
    from tlkit.features import cache_folder, list_features, prune_features
    from tlkit.features.feature_store import size

    wanted = [name for name, given in _given(older_than, max_size, everything).items() if given]
    if prune != bool(wanted):
        raise UserError(
            "What shall be deleted? Expected '--prune' with '--older-than DAYS', '--max-size SIZE' or '--all'."
            if prune
            else f"'{wanted[0]}' deletes. Expected '--prune' before it."
        )
    root = folder or cache_folder()
    if not prune:
        _show(list_features(root), f"Features in {root}")
        return
    deleted = prune_features(root, max_days=older_than, max_bytes=0 if everything else _bytes(max_size))
    _show(deleted, f"Deleted from {root}")
    left = list_features(root)
    print(f"Left: {len(left)} of {size(sum(store.num_bytes for store in left))}.")


def _given(older_than: float | None, max_size: str | None, everything: bool) -> dict[str, bool]:
    return {"--older-than": older_than is not None, "--max-size": max_size is not None, "--all": everything}


def _bytes(words: str | None) -> float | None:
    """`2GB`, `500 mb` or `1e9` in bytes; thousands, as disks are sold."""
    if words is None:
        return None
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?(?:e\d+)?)\s*([kmgt]?)b?\s*", words.lower())
    if match is None:
        raise UserError(f"The size is '{words}'. Expected a number of bytes, such as 2GB or 500MB.")
    return float(match[1]) * _UNITS[match[2]]


def _show(stores: list[StoredFeatures], title: str) -> None:
    from rich.console import Console
    from rich.table import Table

    from tlkit.features.feature_store import size

    if not stores:
        print(f"{title}: none.")
        return
    total = size(sum(store.num_bytes for store in stores))
    print(f"{title}: {len(stores)} of {total}, the longest unused first")
    table = Table("backbone", "up to", "of", "rows", "size", "last used", "folder", box=None, pad_edge=False)
    for store in stores:
        about: dict[str, Any] = store.made_of["made_of"]
        stages = [name for names in about.get("frozen_stages") or () for name in names]
        data = about.get("data")
        table.add_row(
            ", ".join(about.get("backbone") or ()) or "unknown",
            stages[-1] if stages else "",
            str(data.get("part", "")) if isinstance(data, dict) else "",
            f"{store.made_of.get('rows', 0):,}",
            size(store.num_bytes),
            f"{datetime.datetime.fromtimestamp(store.last_used):%Y-%m-%d %H:%M}",
            store.folder.name,
        )
    Console(markup=False, highlight=False).print(table)
