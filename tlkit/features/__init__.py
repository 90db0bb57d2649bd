"""The frozen part of a model run once: its features on disk, and training on them."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # for editors, type checkers and the reference
    from tlkit.features.caching import cache_features
    from tlkit.features.cutting import cut_model
    from tlkit.features.feature_store import FeatureStore
    from tlkit.features.fitting import fit_on_features
    from tlkit.features.folder import StoredFeatures, cache_folder, list_features, prune_features

__all__ = [
    "FeatureStore",
    "StoredFeatures",
    "cache_features",
    "cache_folder",
    "cut_model",
    "fit_on_features",
    "list_features",
    "prune_features",
]

# Loaded on first use: what lies in the cache is listed and deleted without TensorFlow.
_LAZY = {
    "FeatureStore": "feature_store",
    "StoredFeatures": "folder",
    "cache_features": "caching",
    "cache_folder": "folder",
    "cut_model": "cutting",
    "fit_on_features": "fitting",
    "list_features": "folder",
    "prune_features": "folder",
}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(importlib.import_module(f"tlkit.features.{_LAZY[name]}"), name)
    raise AttributeError(f"module 'tlkit.features' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_LAZY])
