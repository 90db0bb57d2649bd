"""Transfer learning in Keras: backbones from any SavedModel, unfreezing that happens, projects that run at once."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from tlkit.errors import UserError

if TYPE_CHECKING:  # for editors, type checkers and the reference
    from tlkit.backbones import Backbone, load_backbone
    from tlkit.saving import load_model

__version__ = "0.1.0"
__all__ = ["Backbone", "UserError", "load_backbone", "load_model"]

# Loaded on first use: `import tlkit` and the command line must not import TensorFlow.
_LAZY = {"Backbone": "tlkit.backbones", "load_backbone": "tlkit.backbones", "load_model": "tlkit.saving"}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'tlkit' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_LAZY])
