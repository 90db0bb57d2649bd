"""Pretrained models as Keras layers: `load_backbone` gives a `Backbone` with stages, whatever the source."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # for editors, type checkers and the reference
    from tlkit.backbones.backbone import Backbone, Stage
    from tlkit.backbones.load import load_backbone

__all__ = ["Backbone", "Stage", "load_backbone"]

# Loaded on first use: the catalogue and the cache are read without TensorFlow.
_LAZY = {
    "Backbone": "tlkit.backbones.backbone",
    "Stage": "tlkit.backbones.backbone",
    "load_backbone": "tlkit.backbones.load",
}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'tlkit.backbones' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_LAZY])
