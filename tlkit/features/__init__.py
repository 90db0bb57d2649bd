"""The frozen part of a model run once: its features on disk, and training on them."""

from __future__ import annotations

import importlib
from typing import Any

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
