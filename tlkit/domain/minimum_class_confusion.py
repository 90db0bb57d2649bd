"""Minimum class confusion: target predictions that do not waver between classes."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from tlkit.domain.domains import as_rows, for_each_row, masks
from tlkit.domain.entropy_conditioning import entropy_weights
from tlkit.errors import UserError

TEMPERATURE = 2.5  # the authors' for Office, https://github.com/thuml/Versatile-Domain-Adaptation


def minimum_class_confusion(logits: Any, *, temperature: float = TEMPERATURE) -> Any:
    """How much a classifier confuses the classes of unlabelled rows.

    It is near 0 where each row is surely of one class, and 1 - 1 / C where every row could be any of C classes.
    `MinimumClassConfusion` is this as a loss.

        P = softmax(logits / T)
        W_i = B (1 + exp(-H_i)) / sum over i' of (1 + exp(-H_i')),   H_i = -sum over j of P_ij log P_ij
        M = P^T diag(W) P,   N_jk = M_jk / sum over k' of M_jk'
        MCC = (sum of N - trace of N) / C
        T = temperature; B = rows; C = classes; P = probabilities; H = entropy; W = weights of the rows, through which
        no gradient goes; M = class confusion; N = M with rows that sum to 1

    Args:
        logits: Float array of shape `(rows, classes)`: logits or log-probabilities.
        temperature: Float above 0. Above 1 it softens predictions that are too sure. Defaults to `2.5`, the authors'
            for Office.

    Returns:
        Scalar tensor, float32 or, for float64 logits, float64; 0 without rows.

    Raises:
        UserError: When `temperature` is not above 0 or the array holds no rows of logits.

    Example:
        >>> unsure = np.zeros((3, 2), "float32")
        >>> float(minimum_class_confusion(unsure))
        0.5

    Reference: Jin, Wang, Long and Wang, 2020, "Minimum Class Confusion for Versatile Domain Adaptation", ECCV,
        https://arxiv.org/abs/1912.03699, section 3. Differs from it in: nothing; the weights are detached as in the
        authors' code, https://github.com/thuml/Versatile-Domain-Adaptation.
    """
    logits = as_rows("minimum_class_confusion", logits)
    _check_temperature("minimum_class_confusion", temperature)
    return _confusion(logits, ops.ones_like(logits[:, 0]), temperature)


@keras.saving.register_keras_serializable("tlkit")
class MinimumClassConfusion(keras.losses.Loss):
    """Class confusion among the target rows of a batch.

    The loss of the "domain" output of `build_mcc`: called with the domains and the log-probabilities of the classes.
    It aligns no features, so it also serves where the target lacks some of the source's classes, and it can be added
    to other methods.

        loss = MCC of the target rows, with the symbols of `minimum_class_confusion`

    Args:
        temperature: Float above 0, as there. Defaults to `2.5`.
        reduction: As in every Keras loss.
        name: As in every Keras loss.
        dtype: As in every Keras loss.

    Call arguments:
        y_true: The domains, `(batch, 1)` or `(batch,)`: 0 for source rows, 1 for target rows, in any order.
        y_pred: Logits or log-probabilities, `(batch, classes)`, float.

    Raises:
        UserError: When `temperature` is not above 0.

    Example:
        >>> domain, logits = np.array([0.0, 1.0]), np.array([[50.0, 0.0], [0.0, 0.0]])
        >>> float(MinimumClassConfusion()(domain, logits))  # the second row alone counts
        0.5

    Notes:
        It computes in float32 in mixed precision, too. Under `tf.distribute` it is the mean of what it is for the rows
        of each replica, which is not the value for the whole batch: give each replica some rows of every class, as far
        as memory allows. A batch without target rows, such as labelled validation data, costs 0.

    Reference: Jin, Wang, Long and Wang, 2020, "Minimum Class Confusion for Versatile Domain Adaptation", ECCV,
        https://arxiv.org/abs/1912.03699, section 3. Differs from it in: nothing.
    """

    def __init__(
        self,
        temperature: float = TEMPERATURE,
        *,
        reduction: str = "sum_over_batch_size",
        name: str = "minimum_class_confusion",
        dtype: Any = None,
    ):
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        _check_temperature("MinimumClassConfusion", temperature)
        self.temperature = float(temperature)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        logits = as_rows("MinimumClassConfusion", y_pred)
        _, is_target = masks(y_true, logits.dtype)
        return for_each_row(_confusion(logits, is_target, self.temperature), logits)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "temperature": self.temperature}


def _confusion(logits: Any, counts: Any, temperature: float) -> Any:
    """MCC of the rows whose `counts` is 1."""
    probabilities = ops.softmax(logits / temperature, axis=1)
    weights = counts * ops.stop_gradient(entropy_weights(probabilities))
    # The factor B cancels in N. A row of M sums to the weighted probabilities of its class, since those of an example
    # sum to 1; the least value is for a class of which no example has anything.
    weights = (weights / ops.maximum(ops.sum(weights), 1))[:, None]
    with_itself = ops.sum(weights * ops.square(probabilities), axis=0)
    of_class = ops.maximum(ops.sum(weights * probabilities, axis=0), 1e-12)
    value = 1 - ops.mean(with_itself / of_class)
    return value * ops.cast(ops.sum(counts) > 0, value.dtype)


def _check_temperature(name: str, temperature: float) -> None:
    if not 0 < temperature < float("inf"):
        raise UserError(
            f"{name}: `temperature` divides the logits. Expected a number above 0. Received: temperature="
            f"{temperature!r}. Type `temperature={TEMPERATURE}`."
        )
