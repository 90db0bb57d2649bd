"""How good a model is on the target domain, estimated from its predictions without one target label.

Every score here is better when it is higher. None of them is the accuracy: in the largest comparison with held-out rows
(Ericsson et al., 2023, "Better Practices for Domain Adaptation", https://arxiv.org/abs/2309.03879, table 3: 21 pairs of
domains, 6 methods) the models that each chose reached, in percent of target accuracy: clusters 66.3, source accuracy
65.6, information maximisation 64.5, entropy 62.1, SND 34.5, against 69.9 with target labels and 63.5 for a model that
was not adapted. So look at several, on target rows that were not trained on. Those that need features are in
`tlkit.domain.feature_validators`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import entr
from sklearn.preprocessing import normalize

from tlkit.errors import UserError
from tlkit.evaluation import example_log_loss

_SIMILARITIES_AT_ONCE = 2**21  # 16 MB of float64, however many rows there are


def source_score(source_labels: Any, source_probabilities: Any) -> float:
    """Tell how well held-out source rows are predicted: minus the source validation risk.

    It says nothing of the target by itself; but an adaptation that costs much of it has torn the classes apart.

        source_score = mean over the rows of ln p(true class)

    Args:
        source_labels: `(n,)` class numbers of source rows that were not trained on.
        source_probabilities: `(n, num_classes)`; rows sum to 1.

    Returns:
        Float up to 0, which is perfect. Probabilities below 2.2e-16 count as that.

    Raises:
        UserError: When shapes do not match, or rows are no probabilities.

    Example:
        >>> round(source_score([0, 1], [[0.5, 0.5], [0.25, 0.75]]), 3)
        -0.49

    Reference: the "source risk" of Saito et al., 2021, https://arxiv.org/abs/2108.10860. Differs from it in: the log
        loss instead of the error, which still tells models apart when all are right nearly everywhere.
    """
    labels, probabilities = np.asarray(source_labels), checked_probabilities("source_score", source_probabilities)
    _check_labels("source_score", labels, probabilities)
    return -float(example_log_loss(labels, probabilities).mean())


def entropy_score(target_probabilities: Any) -> float:
    """Tell how sure of itself the model is on the target: minus the mean entropy of its predictions.

    A model that is sure of one class for everything is perfect by it: read it together with `information_maximization`.

        entropy_score = - mean over the rows of H(p),   H(p) = - sum over the classes c of p_c ln p_c

    Args:
        target_probabilities: `(n, num_classes)`; rows sum to 1.

    Returns:
        Float from -ln(num_classes) (all classes alike) to 0 (certain everywhere).

    Raises:
        UserError: When rows are no probabilities.

    Example:
        >>> round(entropy_score([[0.5, 0.5], [1.0, 0.0]]), 3)
        -0.347

    Reference: equations (6) and (7) of Ericsson et al., 2023, https://arxiv.org/abs/2309.03879. Differs from it in: the
        sign, so that higher is better.
    """
    return -float(entr(checked_probabilities("entropy_score", target_probabilities)).sum(axis=1).mean())


def information_maximization(target_probabilities: Any) -> float:
    """Tell whether the model is sure of each row and uses all classes: the mutual information of row and class.

    It mends what `entropy_score` does not see, a collapse into one class. It takes for granted that the classes are
    about equally frequent in the target.

        information = H(mean over the rows of p) - mean over the rows of H(p),   H(p) = - sum over c of p_c ln p_c

    Args:
        target_probabilities: `(n, num_classes)`; rows sum to 1.

    Returns:
        Float from 0 (every row the same) to ln(num_classes) (certain, all classes equally often).

    Raises:
        UserError: When rows are no probabilities.

    Example:
        >>> round(information_maximization([[1.0, 0.0], [0.0, 1.0]]), 3), information_maximization([[1.0, 0.0]] * 2)
        (0.693, 0.0)

    Reference: Shi and Sha, 2012, "Information-Theoretical Learning of Discriminative Clusters for Unsupervised Domain
        Adaptation", ICML, https://arxiv.org/abs/1206.6438; as a validator equation (8) of Ericsson et al., 2023,
        https://arxiv.org/abs/2309.03879. Differs from it in: nothing.
    """
    probabilities = checked_probabilities("information_maximization", target_probabilities)
    return float(entr(probabilities.mean(axis=0)).sum() - entr(probabilities).sum(axis=1).mean())


def soft_neighborhood_density(target_outputs: Any, *, temperature: float = 0.05) -> float:
    """Tell whether target rows have many near neighbours, as when each class is one dense cluster.

    One cluster for everything scores highest of all: never choose by it alone (see the head of this module's page: it
    chose models far below those that were not adapted).

        u_i = o_i / |o_i|                                           outputs of row i, on the unit sphere
        P_ij = exp(u_i . u_j / T) / sum over k != i of exp(u_i . u_k / T)      for j != i;  T = `temperature`
        SND = mean over i of ( - sum over j != i of P_ij ln P_ij )

    Args:
        target_outputs: `(n, k)`, n at least 2: probabilities, as in the paper; or features.
        temperature: Float above 0. Smaller looks at nearer neighbours. Defaults to `0.05`, the paper's for all data.

    Returns:
        Float from 0 (one neighbour) to ln(n - 1) (all alike). It grows with n: compare it on the same rows only.

    Raises:
        UserError: When there are fewer than two rows, or values are not finite.

    Example:
        >>> round(soft_neighborhood_density([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0]]), 3)  # ln 2
        0.693

    Notes:
        It takes n * n similarities, a slice of 16 MB at a time: 10,000 rows take 2 to 4 s on a core.

    Reference: Saito et al., 2021, "Tune it the Right Way: Unsupervised Validation of Domain Adaptation via Soft
        Neighborhood Density", ICCV, https://arxiv.org/abs/2108.10860; the authors' cdan/main_cdan.py in
        https://github.com/VisionLearningGroup/SND. Differs from their code in: a row is left out of its own
        neighbourhood exactly, where they give it the similarity -1, and no 1e-5 is added inside the logarithm.
    """
    outputs = np.asarray(target_outputs, np.float64)
    if outputs.ndim != 2 or len(outputs) < 2 or not np.isfinite(outputs).all():
        raise UserError(
            f"soft_neighborhood_density: `target_outputs` cannot be compared. Expected finite values of shape (n, k), "
            f"n at least 2. Received: shape {outputs.shape}. Give the predictions of two target rows or more."
        )
    if not temperature > 0:
        raise UserError(
            f"soft_neighborhood_density: `temperature` is out of range. Expected more than 0. "
            f"Received: temperature={temperature!r}. The paper's is 0.05."
        )
    units = normalize(outputs)
    rows_at_once = max(_SIMILARITIES_AT_ONCE // len(units), 1)
    total = 0.0
    for first in range(0, len(units), rows_at_once):
        rows = np.arange(first, min(first + rows_at_once, len(units)))
        logits = units[rows] @ units.T
        logits -= 1  # the largest possible: nothing overflows
        logits /= temperature
        weights = np.exp(logits)
        weights[rows - first, rows] = 0.0
        sums = weights.sum(axis=1)
        # -sum P ln P with P = weight / sum and ln P = logit - ln sum
        total += float((np.log(sums) - np.einsum("ij,ij->i", weights, logits) / sums).sum())
    return total / len(units)


def checked_probabilities(caller: str, probabilities: Any) -> np.ndarray:
    """As float64, rows summing to 1.

    Raises:
        UserError: When they are none.
    """
    values = np.asarray(probabilities, np.float64)
    if values.ndim != 2 or len(values) == 0 or values.shape[1] < 2:
        raise UserError(
            f"{caller}: expected probabilities of shape (n, num_classes), with one row and two classes at least. "
            f"Received: shape {values.shape}. For one sigmoid output p give the two columns 1 - p and p."
        )
    # 0.05: rows that were computed in 16 bits miss 1 by up to a few hundredths.
    if not np.isfinite(values).all() or values.min() < 0 or abs(values.sum(axis=1) - 1).max() > 0.05:
        raise UserError(
            f"{caller}: rows are no probabilities. Expected finite values from 0 to 1 that sum to 1. For logits, apply "
            f"softmax first: the head should end in `activation='softmax'`."
        )
    return values / values.sum(axis=1, keepdims=True)


def _check_labels(caller: str, labels: np.ndarray, probabilities: np.ndarray) -> None:
    num_rows, num_classes = probabilities.shape
    if (
        labels.shape != (num_rows,)
        or labels.dtype.kind not in "iu"
        or not 0 <= labels.min() <= labels.max() < num_classes
    ):
        raise UserError(
            f"{caller}: expected {num_rows} labels, integers from 0 to {num_classes - 1}. "
            f"Received: shape {labels.shape}, dtype {labels.dtype}."
        )
