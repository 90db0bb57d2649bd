"""What a classifier is worth: numbers and pictures; no TensorFlow."""

from tlkit.evaluation.classification_metrics import classification_metrics
from tlkit.evaluation.plot_confusion_matrix import plot_confusion_matrix
from tlkit.evaluation.plot_images import plot_examples, plot_most_wrong
from tlkit.evaluation.plot_learning_curves import plot_learning_curves

__all__ = [
    "classification_metrics",
    "plot_confusion_matrix",
    "plot_examples",
    "plot_learning_curves",
    "plot_most_wrong",
]
