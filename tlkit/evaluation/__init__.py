"""What a classifier is worth: numbers and pictures; no TensorFlow."""

from tlkit.evaluation.classification_metrics import classification_metrics
from tlkit.evaluation.example_log_loss import example_log_loss
from tlkit.evaluation.multilabel_metrics import multilabel_metrics
from tlkit.evaluation.plot_adaptation import plot_adaptation
from tlkit.evaluation.plot_class_scores import plot_class_scores
from tlkit.evaluation.plot_confusion_matrix import plot_confusion_matrix
from tlkit.evaluation.plot_domains import plot_domains
from tlkit.evaluation.plot_images import plot_examples, plot_most_wrong
from tlkit.evaluation.plot_learning_curves import plot_learning_curves
from tlkit.evaluation.plot_learning_rates import plot_learning_rates

__all__ = [
    "classification_metrics",
    "example_log_loss",
    "multilabel_metrics",
    "plot_adaptation",
    "plot_class_scores",
    "plot_confusion_matrix",
    "plot_domains",
    "plot_examples",
    "plot_learning_curves",
    "plot_learning_rates",
    "plot_most_wrong",
]
