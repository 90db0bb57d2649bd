"""Numbers about a discriminator and the classes, and what they mean."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

COLLAPSED, TOO_STRONG, PRIORS_DIFFER = "collapsed", "too strong", "class priors differ"

# What a fresh linear classifier must reach to say that the domains can be told apart. With 128 rows of each, one that
# guesses stays below 0.5 + 3 * 0.5 / sqrt(256) = 0.59 in 999 of 1,000 cases; 0.7 is twice as far from guessing.
SEPARABLE = 0.7
# Of 20 rows the discriminator takes one at most for the other domain: it loses nothing when the encoder changes a
# little, so its gradient says little. In https://github.com/thuml/Transfer-Learning-Library/issues/267 it was 1.0.
WINS = 0.95
NEAR_MAXIMUM = 0.9  # of the reversal's scale; with gamma = 10 reached after 3 tenths of the training
# Difference of the classes' shares. Once features are alike, so are the classes predicted from them: then at least
# this share of the target rows is given a wrong class, 1 of 5.
SHIFTED = 0.2
# The same between predictions and labels of source rows: above it the classifier has not learned yet.
LEARNED = 0.1


class Game(NamedTuple):
    """How it stands on some rows of both domains.

    Attributes:
        accuracy: Share of rows whose domain the discriminator names.
        loss: Its mean cross-entropy; ln 2 = 0.69 for one that guesses.
        num_rows: Rows of both domains.
        target_shift: Total variation between the mean prediction on target rows and the labels of source rows.
        source_shift: The same between the mean prediction on source rows and their labels.
        noise: What the target's is expected to be if both domains had the source's classes.
    """

    accuracy: float
    loss: float
    num_rows: int
    target_shift: float
    source_shift: float
    noise: float

    @property
    def guesses(self) -> bool:
        """Whether the discriminator is within two standard errors of guessing, or below."""
        return self.accuracy <= 0.5 + self.uncertainty

    @property
    def is_deceived(self) -> bool:
        """Whether the discriminator is wrong more often than one that guesses."""
        return self.accuracy < 0.5 - self.uncertainty

    def wins(self, scale_share: float) -> bool:
        """Whether the encoder loses, though its part of the gradient has about its full scale."""
        return self.accuracy > WINS and scale_share >= NEAR_MAXIMUM

    @property
    def classes_differ(self) -> bool:
        """Whether a classifier that has learned its source predicts other shares of the classes on the target."""
        learned = self.source_shift <= LEARNED + self.noise
        return learned and self.target_shift > SHIFTED + self.noise and self.explains(self.accuracy)

    def explains(self, accuracy: float) -> bool:
        """Whether other shares of the classes alone let one name so many rows' domains: (1 + TV) / 2 at best.

        Where domains are told apart better, predictions on the target may just be wrong.
        """
        return accuracy <= (1 + self.target_shift) / 2 + self.uncertainty

    @property
    def uncertainty(self) -> float:
        """Two standard errors of a share of right rows, 2 * sqrt(1/4 / n)."""
        return 1 / self.num_rows**0.5


def measure(domains: np.ndarray, logits: np.ndarray, labels: np.ndarray, probabilities: np.ndarray) -> Game:
    """Compare what a model said of some rows with what is known of them.

        TV(p, q) = sum over classes |p_c - q_c| / 2
        noise    = sum over classes sqrt(2 / pi * p_c * (1 - p_c) * (1 / n_s + 1 / n_t)) / 2
        p, q = shares of the classes; n_s, n_t = source and target rows; noise = the mean TV of two samples of p

    Args:
        domains: `(n,)`, 0 for a source row and 1 for a target row.
        logits: `(n,)`, of the discriminator.
        labels: `(n,)` class numbers; those of target rows are not read.
        probabilities: `(n, classes)`, predicted.

    Example:
        >>> domains, logits = np.array([0, 0, 1, 1]), np.array([-1.0, 1.0, 1.0, 1.0])
        >>> game = measure(domains, logits, np.array([0, 1, 0, 0]), np.array([[1.0, 0], [0, 1], [1, 0], [1, 0]]))
        >>> game.accuracy, round(game.loss, 2), game.target_shift, game.source_shift
        (0.75, 0.56, 0.5, 0.0)
    """
    is_target = domains > 0.5
    num_target = int(is_target.sum())
    num_source = len(domains) - num_target
    known = np.bincount(labels[~is_target].astype(int), minlength=probabilities.shape[1]) / num_source
    of_source, of_target = probabilities[~is_target].mean(axis=0), probabilities[is_target].mean(axis=0)
    variance = known * (1 - known) * (1 / num_source + 1 / num_target)
    return Game(
        accuracy=float(np.mean((logits > 0) == is_target)),
        loss=float(np.mean(np.logaddexp(0, logits) - logits * is_target)),
        num_rows=len(domains),
        target_shift=float(np.abs(of_target - known).sum() / 2),
        source_shift=float(np.abs(of_source - known).sum() / 2),
        noise=float(np.sqrt(2 / np.pi * variance).sum() / 2),
    )


def fresh_accuracy(features: np.ndarray, domains: np.ndarray) -> float:
    """How many rows' domains a linear classifier names that has not seen them: five times on a fifth."""
    from sklearn.linear_model import RidgeClassifier
    from sklearn.model_selection import StratifiedKFold, cross_val_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    rows = features.reshape(len(features), -1).astype(np.float64)
    # Without a penalty of the size of the rows, as many features as rows are fitted whatever they say.
    classifier = make_pipeline(StandardScaler(), RidgeClassifier(alpha=float(rows.shape[1])))
    folds = StratifiedKFold(min(5, len(rows) // 2), shuffle=True, random_state=0)
    return float(cross_val_score(classifier, rows, domains > 0.5, cv=folds).mean())
