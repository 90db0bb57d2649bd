"""How good a model is on the target domain, estimated from its features and predictions without one target label.

Higher is better, as for those of `tlkit.domain.validators`, at the head of which is told how well they choose.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import v_measure_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler, normalize

from tlkit.errors import UserError


def cluster_agreement(target_features: Any, target_predictions: Any, *, seed: int = 0) -> float:
    """Tell whether the predicted classes are the clusters that the target's features form by themselves.

    The best of fifteen scores in the comparison at the head of `tlkit.domain.validators`. It sees whether classes are
    kept apart, not whether they bear the right names; features that all fell into one point agree perfectly.

        agreement = 2 h c / (h + c)                     (the V-measure)
        h = homogeneity: 1 when each cluster holds rows of one predicted class
        c = completeness: 1 when all rows of a predicted class are in one cluster

    Clusters are those of k-means on features of length 1, as many as there are classes.

    Args:
        target_features: `(n, k)`, what the classifier's head is given for target rows.
        target_predictions: `(n, num_classes)` probabilities, or `(n,)` predicted class numbers.
        seed: Int. Where k-means begins. Defaults to `0`.

    Returns:
        Float from 0 to 1.

    Raises:
        UserError: When numbers of rows differ, or values are not finite.

    Example:
        >>> features = [[0.0, 1.0], [0.1, 1.0], [1.0, 0.0], [1.0, 0.1]]
        >>> cluster_agreement(features, [0, 0, 1, 1])
        1.0

    Reference: Rosenberg and Hirschberg, 2007, "V-Measure", EMNLP, https://aclanthology.org/D07-1043; as a validator
        Ericsson et al., 2023, appendix D, https://arxiv.org/abs/2309.03879. Differs from it in: k-means on normalised
        features, as nothing is said there of the clustering.
    """
    features = _checked_features("cluster_agreement", target_features)
    predictions = np.asarray(target_predictions)
    num_clusters = predictions.shape[1] if predictions.ndim == 2 else len(np.unique(predictions))
    predictions = _class_numbers("cluster_agreement", predictions, features)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer different rows than clusters: a collapse
        means = KMeans(min(num_clusters, len(features)), n_init=3, random_state=seed)
        clusters = means.fit_predict(normalize(features))
    return float(v_measure_score(predictions, clusters))


def reverse_validation(
    source_features: Any, source_labels: Any, target_features: Any, target_predictions: Any
) -> float:
    """Tell whether a classifier that only learned from the model's target predictions is right on the source.

    Where target rows are given wrong classes, what is learned from them does not fit the source's labels.

        reverse_validation = share of source rows that the reverse classifier gives their true class;
        the reverse classifier is fitted to (target features, predicted target classes)

    Args:
        source_features: `(n, k)`, what the classifier's head is given for source rows that were not trained on.
        source_labels: `(n,)` their class numbers.
        target_features: `(m, k)` the same for target rows.
        target_predictions: `(m, num_classes)` probabilities, or `(m,)` predicted class numbers.

    Returns:
        Float from 0 to 1: an accuracy, 1 minus the paper's reverse validation risk.

    Raises:
        UserError: When numbers of rows or widths differ, or values are not finite.

    Example:
        >>> source, target = [[0.0], [1.0], [2.0], [3.0]], [[0.5], [1.0], [2.5], [3.0]]
        >>> reverse_validation(source, [0, 0, 1, 1], target, [0, 0, 1, 1])
        1.0

    Reference: Zhong et al., 2010, "Cross Validation Framework to Choose Amongst Models and Datasets for Transfer
        Learning", ECML PKDD, https://doi.org/10.1007/978-3-642-15939-8_35; Ganin et al., 2016, "Domain-Adversarial
        Training of Neural Networks", JMLR 17(59), section 5.1.2, https://jmlr.org/papers/v17/15-239.html. Differs from
        the second in: the reverse classifier is scikit-learn's logistic regression on the model's own features, not
        the whole method trained again with source and target exchanged (which doubles the training); so it judges the
        predictions, while the features have seen the source's labels, and it is lenient.
    """
    source = _checked_features("reverse_validation", source_features)
    target = _checked_features("reverse_validation", target_features)
    labels = _class_numbers("reverse_validation", np.asarray(source_labels), source)
    predictions = _class_numbers("reverse_validation", np.asarray(target_predictions), target)
    if source.shape[1] != target.shape[1]:
        raise UserError(
            f"reverse_validation: the domains have features of different width. Expected the same layer of the same "
            f"model for both. Received: {source.shape} and {target.shape}."
        )
    if len(np.unique(predictions)) == 1:  # nothing to learn: the reverse classifier knows one class
        return float((labels == predictions[0]).mean())
    reverse = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # its last decimals are of no use here
        return float(reverse.fit(target, predictions).score(source, labels))


def _checked_features(caller: str, features: Any) -> np.ndarray:
    values = np.asarray(features, np.float64)
    if values.ndim != 2 or len(values) == 0 or not np.isfinite(values).all():
        raise UserError(
            f"{caller}: expected finite features of shape (n, k) with one row at least. Received: shape {values.shape}."
        )
    return values


def _class_numbers(caller: str, predictions: np.ndarray, features: np.ndarray) -> np.ndarray:
    classes = predictions.argmax(axis=1) if predictions.ndim == 2 else predictions
    if classes.shape != (len(features),):
        raise UserError(
            f"{caller}: expected a class for each of the {len(features)} rows of features. "
            f"Received: shape {predictions.shape}."
        )
    return classes
