"""What a classifier is worth: numbers, pictures and pages; no TensorFlow."""

from tlkit.evaluation.accuracy_by_length import accuracy_by_length
from tlkit.evaluation.calibration import calibration
from tlkit.evaluation.classification_metrics import classification_metrics
from tlkit.evaluation.draw_boxes import draw_boxes
from tlkit.evaluation.example_log_loss import example_log_loss
from tlkit.evaluation.few_shot import Prototypes, few_shot_accuracies, fit_few_shot
from tlkit.evaluation.most_wrong import most_wrong
from tlkit.evaluation.multilabel_metrics import multilabel_metrics
from tlkit.evaluation.plot_accuracy_by_length import plot_accuracy_by_length
from tlkit.evaluation.plot_adaptation import plot_adaptation
from tlkit.evaluation.plot_backbones import plot_backbones
from tlkit.evaluation.plot_boxes import plot_boxes
from tlkit.evaluation.plot_calibration import plot_calibration
from tlkit.evaluation.plot_class_scores import plot_class_scores
from tlkit.evaluation.plot_confusion_matrix import plot_confusion_matrix
from tlkit.evaluation.plot_domains import plot_domains
from tlkit.evaluation.plot_images import plot_examples, plot_most_wrong
from tlkit.evaluation.plot_learning_curves import plot_learning_curves
from tlkit.evaluation.plot_learning_rates import plot_learning_rates
from tlkit.evaluation.plot_precision_recall import plot_precision_recall
from tlkit.evaluation.plot_trials import plot_parallel_coordinates, plot_setting_importance, plot_trial_curves
from tlkit.evaluation.transferability import leep, log_me
from tlkit.evaluation.word_importance import WordImportance, word_importance
from tlkit.evaluation.write_most_wrong_texts import write_most_wrong_texts

__all__ = [
    "Prototypes",
    "WordImportance",
    "accuracy_by_length",
    "calibration",
    "classification_metrics",
    "draw_boxes",
    "example_log_loss",
    "few_shot_accuracies",
    "fit_few_shot",
    "leep",
    "log_me",
    "most_wrong",
    "multilabel_metrics",
    "plot_accuracy_by_length",
    "plot_adaptation",
    "plot_backbones",
    "plot_boxes",
    "plot_calibration",
    "plot_class_scores",
    "plot_confusion_matrix",
    "plot_domains",
    "plot_examples",
    "plot_learning_curves",
    "plot_learning_rates",
    "plot_most_wrong",
    "plot_parallel_coordinates",
    "plot_precision_recall",
    "plot_setting_importance",
    "plot_trial_curves",
    "word_importance",
    "write_most_wrong_texts",
]
