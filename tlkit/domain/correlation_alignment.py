"""Deep CORAL: the same covariances in both domains."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from tlkit.domain.domains import as_rows, for_each_row, masks, stacked


def correlation_alignment(source: Any, target: Any) -> Any:
    """How far the covariances of two domains' features are apart.

    `CorrelationAlignment` is this as a loss.

        CORAL = |C_S - C_T|_F^2 / (4 d^2)
        C_S = (D_S^T D_S - (1^T D_S)^T (1^T D_S) / n_S) / (n_S - 1), and C_T the same with T
        D_S, D_T = source and target rows; n_S, n_T = how many; d = features; 1 = column of ones;
        |.|_F^2 = sum of the squares of all elements

    Args:
        source: Float array of shape `(n_source, features)`.
        target: Float array of shape `(n_target, features)`.

    Returns:
        Scalar tensor, float32 or, for float64 rows, float64. 0 where a domain has fewer than two rows.

    Raises:
        UserError: When the arrays hold no rows of features.

    Example:
        >>> source, target = np.array([[0.0], [1.0], [2.0]]), np.array([[0.0], [2.0], [4.0]])
        >>> float(correlation_alignment(source, target))  # variances 1 and 4: (1 - 4)^2 / 4
        2.25

    Reference: Sun and Saenko, 2016, "Deep CORAL: Correlation Alignment for Deep Domain Adaptation", ECCV workshops,
        https://arxiv.org/abs/1607.01719, equations 1 to 3. Differs from it in: nothing. TLlib's loss of the name
        divides by d^2, not by 4 d^2, and adds the squared difference of the means.
    """
    return _distance(*stacked("correlation_alignment", source, target))


@keras.saving.register_keras_serializable("tlkit")
class CorrelationAlignment(keras.losses.Loss):
    """The distance between the covariances of the source and the target rows of a batch: Deep CORAL.

    The loss of the "domain" output of `build_coral`: called with the domains and the features. It has nothing to tune
    but its weight and is the cheapest of the alignment losses; it sees second-order differences only.

        loss = |C_S - C_T|_F^2 / (4 d^2), with the symbols of `correlation_alignment`

    Args:
        reduction: As in every Keras loss.
        name: As in every Keras loss.
        dtype: As in every Keras loss.

    Call arguments:
        y_true: The domains, `(batch, 1)` or `(batch,)`: 0 for source rows, 1 for target rows, in any order.
        y_pred: The features, `(batch, features)`, float.

    Example:
        >>> domain, features = np.array([0.0, 1.0, 0.0, 1.0]), np.array([[0.0], [0.0], [1.0], [2.0]])
        >>> float(CorrelationAlignment()(domain, features))  # variances 0.5 and 2
        0.5625

    Notes:
        The factor 1 / (4 d^2) makes it small for many features. The paper chooses its weight
        (`loss_weights={"domain": ...}`) so that both losses end at about the same value.
        It computes in float32 in mixed precision, too: covariances overflow in float16. Under `tf.distribute` it is
        the mean of what it is for the rows of each replica, which is not the value for the whole batch. A batch of one
        domain, such as validation data, costs 0.

    Reference: Sun and Saenko, 2016, "Deep CORAL: Correlation Alignment for Deep Domain Adaptation", ECCV workshops,
        https://arxiv.org/abs/1607.01719, equations 1 to 3. Differs from it in: nothing.
    """

    def __init__(
        self,
        *,
        reduction: str = "sum_over_batch_size",
        name: str = "correlation_alignment",
        dtype: Any = None,
    ):
        super().__init__(name=name, reduction=reduction, dtype=dtype)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        features = as_rows("CorrelationAlignment", y_pred)
        return for_each_row(_distance(features, y_true), features)


def _distance(features: Any, domain: Any) -> Any:
    # Both covariances in one product: rows around the mean of their own domain, weighted with 1 / (n_S - 1) or
    # -1 / (n_T - 1).
    weights, mean, fewest = 0.0, 0.0, None
    for sign, mask in zip((1, -1), masks(domain, features.dtype), strict=True):
        count = ops.sum(mask)
        domain_mean = ops.matmul(mask, features) / ops.maximum(count, 1)
        mean = mean + mask[:, None] * domain_mean
        weights = weights + sign * mask / ops.maximum(count - 1, 1)
        fewest = count if fewest is None else ops.minimum(fewest, count)
    centered = features - mean
    difference = ops.matmul(ops.transpose(weights[:, None] * centered), centered)
    value = ops.sum(ops.square(difference)) / (4 * features.shape[-1] ** 2)
    return value * ops.cast(fewest > 1, value.dtype)
