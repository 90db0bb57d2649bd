"""Searching for settings with KerasTuner; nothing else in tlkit imports it."""

from tlkit.tuning.confirm import Confirmed, confirm_best
from tlkit.tuning.importance import setting_importance
from tlkit.tuning.report import conclude
from tlkit.tuning.search import tune
from tlkit.tuning.trial import Trial

__all__ = ["Confirmed", "Trial", "conclude", "confirm_best", "setting_importance", "tune"]
