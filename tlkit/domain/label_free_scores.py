"""All label-free scores of one model, by the names that they have in the logs of a training."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from tlkit.domain.feature_validators import cluster_agreement, reverse_validation
from tlkit.domain.validators import (
    entropy_score,
    information_maximization,
    soft_neighborhood_density,
    source_score,
)


@dataclasses.dataclass(frozen=True, eq=False)
class DomainOutputs:
    """What a model makes of held-out rows of both domains; features are None where they cannot be had."""

    source_labels: np.ndarray
    source_probabilities: np.ndarray
    target_probabilities: np.ndarray
    source_features: np.ndarray | None = None
    target_features: np.ndarray | None = None

    @property
    def is_finite(self) -> bool:
        """Whether the training has not diverged."""
        arrays = (self.source_probabilities, self.target_probabilities, self.source_features, self.target_features)
        return all(np.isfinite(array).all() for array in arrays if array is not None)


LABEL_FREE_SCORES: dict[str, Callable[[DomainOutputs], float]] = {
    "source_accuracy": lambda o: float((o.source_probabilities.argmax(axis=1) == o.source_labels).mean()),
    "source_score": lambda o: source_score(o.source_labels, o.source_probabilities),
    "target_entropy_score": lambda o: entropy_score(o.target_probabilities),
    "target_information": lambda o: information_maximization(o.target_probabilities),
    "target_snd": lambda o: soft_neighborhood_density(o.target_probabilities),
    "target_clusters": lambda o: cluster_agreement(o.target_features, o.target_probabilities),
    "target_reverse": lambda o: reverse_validation(
        o.source_features, o.source_labels, o.target_features, o.target_probabilities
    ),
}
NEED_FEATURES = ("target_clusters", "target_reverse")
