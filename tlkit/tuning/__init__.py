"""Searching for settings with KerasTuner; nothing else in tlkit imports it."""

from tlkit.tuning.search import Trial, tune

__all__ = ["Trial", "tune"]
