"""Fine-tuning: what is needed around a Keras model so that opening its stages works."""

from tlkit.finetune.prepare import known_variables, prepare_unfreezing

__all__ = ["known_variables", "prepare_unfreezing"]
