"""What is on this machine, whether tlkit will work on it, and what to type where it will not.

Facts are gathered in one place and judged in another. Nothing here imports TensorFlow, Keras or NumPy: a machine on
which they are broken is the one that is asked about.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # for editors, type checkers and the reference
    from tlkit.environment.abilities import Ability, judge_abilities
    from tlkit.environment.finding import Finding
    from tlkit.environment.machine import Machine, look_at_machine
    from tlkit.environment.verdicts import judge

__all__ = ["Ability", "Finding", "Machine", "judge", "judge_abilities", "look_at_machine"]

# Loaded on first use: the process that tries TensorFlow enters this package too.
_LAZY = {
    "Ability": "abilities",
    "Finding": "finding",
    "Machine": "machine",
    "judge": "verdicts",
    "judge_abilities": "abilities",
    "look_at_machine": "machine",
}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(importlib.import_module(f"tlkit.environment.{_LAZY[name]}"), name)
    raise AttributeError(f"module 'tlkit.environment' has no attribute {name!r}")
