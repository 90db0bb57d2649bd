"""Fine-tuning: what is needed around a Keras model so that opening its stages works."""

from tlkit.finetune.find_learning_rate import LearningRateCurve, find_learning_rate
from tlkit.finetune.layer_wise_rates import LayerwiseLearningRates
from tlkit.finetune.prepare import known_variables, prepare_unfreezing
from tlkit.finetune.schedules import InversePowerDecay, OneCycle, SlantedTriangular
from tlkit.finetune.starting_point import add_starting_point_penalty

__all__ = [
    "InversePowerDecay",
    "LayerwiseLearningRates",
    "LearningRateCurve",
    "OneCycle",
    "SlantedTriangular",
    "add_starting_point_penalty",
    "find_learning_rate",
    "known_variables",
    "prepare_unfreezing",
]
