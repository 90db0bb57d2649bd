"""Searching for settings with KerasTuner; nothing else in tlkit imports it."""

from tlkit.tuning.search import tune
from tlkit.tuning.trial import Trial

__all__ = ["Trial", "tune"]
