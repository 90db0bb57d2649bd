"""Whether features that earlier trainings kept on disk belong to the photos or texts of now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import tlkit
from tlkit.environment import Finding
from tlkit.environment.finding import show_bytes
from tlkit.features import StoredFeatures, list_features

Why = Literal["", "data", "backbone", "version"]
_DAY = 24 * 3600  # seconds


@dataclass(frozen=True)
class KeptFacts:
    """Facts about stores of the cache that were made from this project's data.

    Attributes:
        handle: Of the backbone now.
        stores: For each, why it is never read again ("" where it may be), and its bytes.
    """

    handle: str
    stores: tuple[tuple[Why, int], ...] = ()


def look_at_kept_features(
    fingerprint: Mapping[str, str], handle: str, stores: Sequence[StoredFeatures] | None = None
) -> KeptFacts:
    """Gather the facts.

    Args:
        fingerprint: Of the data now, with the times of the files (`fingerprint_images(files, times=True)`).
        handle: Of the backbone now.
        stores: Defaults to None: those of the cache folder.
    """
    found = []
    for store in list_features() if stores is None else stores:
        made_of = store.made_of["made_of"]
        data = made_of.get("data") if isinstance(made_of, dict) else None
        known = data.get("fingerprint") if isinstance(data, dict) else None
        if isinstance(known, dict) and _same_source(known, fingerprint):
            found.append((_why(made_of, known, fingerprint, handle), store.num_bytes))
    return KeptFacts(handle, tuple(found))


def _same_source(known: Mapping[str, Any], now: Mapping[str, str]) -> bool:
    """Images lie in the same folder; of texts no folder is kept, and only the very same files are known again."""
    key = "folder" if "folder" in now else "files"
    return key in known and known[key] == now.get(key)


def _why(made_of: Mapping[str, Any], known: Mapping[str, Any], now: Mapping[str, str], handle: str) -> Why:
    if dict(known) != dict(now):
        return "data"
    if (made_of.get("versions") or [tlkit.__version__])[0] != tlkit.__version__:
        return "version"
    return "" if handle in (made_of.get("backbone") or ()) else "backbone"


def judge_kept_features(facts: KeptFacts) -> list[Finding]:
    """Judge them."""
    current = [size for why, size in facts.stores if not why]
    findings = []
    sentences = {
        "data": ("other files than those of now, or from other parts of them", "warning"),
        "version": (f"another version of tlkit than {tlkit.__version__}", "warning"),
        "backbone": (f"other backbones than '{facts.handle}'", "ok"),
    }
    for why, (words, verdict) in sentences.items():
        sizes = [size for reason, size in facts.stores if reason == why]
        if not sizes:
            continue
        found = f"{len(sizes)} of {show_bytes(sum(sizes))} from {words}"
        if verdict == "ok":
            findings.append(Finding("kept features", found, meaning="They are read again with these backbones only."))
            continue
        meaning = "They are not read again, and a run that was trained on them knew other data than there are now."
        if why == "version":
            meaning = "They are never read again, and only take room on the disk."
        findings.append(
            Finding(
                "kept features",
                found,
                "warning",
                meaning,
                ("tlkit cache --prune --older-than 7  # all that was not used for a week",),
            )
        )
    if current or not findings:
        found = (
            f"{len(current)} of {show_bytes(sum(current))}, of the data and the backbone of now" if current else "none"
        )
        findings.insert(0, Finding("kept features", found))
    return findings
