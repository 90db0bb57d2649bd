"""Keras callbacks, one public class a file."""

from tlkit.callbacks.exact_resume import ExactResume
from tlkit.callbacks.learning_rate_logger import LearningRateLogger
from tlkit.callbacks.progressive_unfreezing import ProgressiveUnfreezing

__all__ = ["ExactResume", "LearningRateLogger", "ProgressiveUnfreezing"]
