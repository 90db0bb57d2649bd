"""How well a backbone's features suit some labels, estimated without training anything."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from tlkit.errors import UserError

_MOST_STEPS = 200  # the fixed point is usually reached in about ten
_TOLERANCE = 1e-6  # relative, of alpha / beta


def log_me(features: ArrayLike, labels: ArrayLike) -> float:
    """Score features by the evidence of a Bayesian linear model on them; higher is better.

    For each class, the indicator y of its examples is modelled as y = F w + noise, with w ~ N(0, 1 / alpha) and noise
    ~ N(0, 1 / beta). alpha and beta are those for which y is most likely; the score is the mean over classes of
    log p(y | F) / n there (LogME: You et al. 2021, section 4, https://arxiv.org/abs/2102.11005; as a fixed point of
    alpha / beta: You et al. 2022, https://arxiv.org/abs/2110.10545). Scores compare backbones on the same examples; a
    difference means nothing across data sets.

    Args:
        features: Array (n, d), what the frozen backbone makes of n examples.
        labels: Integers (n,), the class of each.

    Raises:
        UserError: When shapes do not match, a feature is not finite, there is but one class, or all features are zero.

    Example:
        >>> round(log_me([[0.0], [0.1], [1.0], [0.9]], [0, 0, 1, 1]), 2)
        -0.31
    """
    features, labels = _check("log_me", features, labels, "features")
    if not features.any():
        raise UserError("log_me: every feature is 0. Expected features that differ between examples.")
    left, singular, _ = np.linalg.svd(features, full_matrices=False)
    spectrum = singular**2
    kept = spectrum > spectrum[0] * np.finfo(float).eps * max(features.shape)  # directions that are there
    left, spectrum = left[:, kept], spectrum[kept]
    evidences = [_evidence(left, spectrum, (labels == c).astype(float)) for c in np.unique(labels)]
    return float(np.mean(evidences) / len(labels))


def _evidence(left: np.ndarray, spectrum: np.ndarray, y: np.ndarray) -> float:
    """The log of p(y | F) at the best alpha and beta, in the basis of the left singular vectors of F."""
    n, along = len(y), (left.T @ y) ** 2
    outside = max(y @ y - along.sum(), 0.0)  # what no combination of features explains
    ratio = 1.0  # alpha / beta
    for _ in range(_MOST_STEPS):
        gamma = (spectrum / (spectrum + ratio)).sum()  # how many directions the labels determine
        weights = (spectrum * along / (spectrum + ratio) ** 2).sum()  # |m|^2
        error = outside + (along * (ratio / (spectrum + ratio)) ** 2).sum()  # |F m - y|^2
        # With as many directions as examples the error may vanish; then beta grows without bound, and so the evidence.
        alpha, beta = gamma / max(weights, 1e-12), max(n - gamma, 1e-9) / max(error, 1e-12)
        before, ratio = ratio, alpha / beta
        if abs(ratio - before) <= _TOLERANCE * before:
            break
    weights = (spectrum * along / (spectrum + ratio) ** 2).sum()
    error = outside + (along * (ratio / (spectrum + ratio)) ** 2).sum()
    # Directions without features cancel: they add d/2 log(alpha) to the prior and to log|A| alike.
    log_determinant = np.log(alpha + beta * spectrum).sum() - len(spectrum) * np.log(alpha)
    return 0.5 * (n * np.log(beta / (2 * np.pi)) - beta * error - alpha * weights - log_determinant)


def leep(probabilities: ArrayLike, labels: ArrayLike) -> float:
    """Score a model by how well its own classes predict ours; at most 0, higher is better.

    The mean log-likelihood of the labels under "look at the model's class z, then draw the label from how often it goes
    with z" (LEEP: Nguyen et al. 2020, section 2.1, https://arxiv.org/abs/2002.12462). It needs the head that the
    backbone was pretrained with.

    Args:
        probabilities: Array (n, source classes), what the model with its source head says of n examples; rows sum to 1.
        labels: Integers (n,), the class of each here.

    Raises:
        UserError: When shapes do not match, rows are no probabilities, or there is but one class.

    Example:
        >>> leep([[1.0, 0.0], [0.0, 1.0]], [0, 1])
        0.0
    """
    probabilities, labels = _check("leep", probabilities, labels, "probabilities")
    if (probabilities < 0).any() or not np.allclose(probabilities.sum(axis=1), 1.0, atol=1e-3):
        raise UserError(
            "leep: `probabilities` holds rows that are none. Expected numbers from 0 that sum to 1 in each row; take "
            "the softmax of logits."
        )
    indicator = labels[:, None] == np.unique(labels)
    joint = indicator.T.astype(float) @ probabilities  # (classes here, source classes), n times their joint frequency
    given = joint / np.maximum(joint.sum(axis=0), np.finfo(float).tiny)
    likelihood = (probabilities @ given.T)[indicator]
    return float(np.mean(np.log(likelihood)))


def _check(caller: str, values: ArrayLike, labels: ArrayLike, name: str) -> tuple[np.ndarray, np.ndarray]:
    values, labels = np.asarray(values, dtype=float), np.asarray(labels)
    if values.ndim != 2 or labels.shape != values.shape[:1]:
        raise UserError(
            f"{caller}: `{name}` has shape {values.shape} and `labels` {labels.shape}. Expected (n, d) and (n,)."
        )
    if not np.isfinite(values).all():
        raise UserError(f"{caller}: `{name}` holds a number that is not finite. Expected finite numbers.")
    if len(np.unique(labels)) < 2:
        raise UserError(f"{caller}: all {len(labels)} labels are the same. Expected at least two classes.")
    return values, labels
