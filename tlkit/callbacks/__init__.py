"""Keras callbacks, one public class a file."""

from tlkit.callbacks.adaptation_ramp import AdaptationRamp
from tlkit.callbacks.atomic_model_checkpoint import AtomicModelCheckpoint
from tlkit.callbacks.discriminator_watch import DiscriminatorWatch, Verdict
from tlkit.callbacks.exact_resume import ExactResume
from tlkit.callbacks.learning_rate_logger import LearningRateLogger
from tlkit.callbacks.progressive_unfreezing import ProgressiveUnfreezing
from tlkit.callbacks.run_record import RunRecord

__all__ = [
    "AdaptationRamp",
    "AtomicModelCheckpoint",
    "DiscriminatorWatch",
    "ExactResume",
    "LearningRateLogger",
    "ProgressiveUnfreezing",
    "RunRecord",
    "Verdict",
]
