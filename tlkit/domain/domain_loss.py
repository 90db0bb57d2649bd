"""The loss of the domain discriminator."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from tlkit.domain.domains import as_rows, masks
from tlkit.errors import UserError


@keras.saving.register_keras_serializable("tlkit")
class DomainLoss(keras.losses.Loss):
    """How badly the discriminator tells the domains apart: binary cross-entropy on its logit.

    The loss of the "domain" output of `build_dann` and `build_cdan`. At log 2 = 0.69 the discriminator guesses; near 0
    it has won, and the encoder learns nothing from it.

        L_i = d_i log(1 / p_i) + (1 - d_i) log(1 / (1 - p_i)),   p_i = 1 / (1 + exp(-z_i))
        loss = mean over the rows of v_i L_i,   v_i = w_i n_d / (sum of w over the n_d rows of its domain)
        d_i = 1 for a target row, 0 for a source row; z_i = logit; w_i = weight of a row, all 1 unless the output has a
        second column; v_i = w_i with a mean of 1 in each domain

    Args:
        reduction: As in every Keras loss.
        name: As in every Keras loss.
        dtype: As in every Keras loss.

    Call arguments:
        y_true: The domains, `(batch, 1)` or `(batch,)`: 0 for source rows, 1 for target rows, in any order.
        y_pred: `(batch, 1)`, logits; or `(batch, 2)`, logits and weights, as `EntropyConditioning` gives them.

    Raises:
        UserError: When the output has neither one column nor two.

    Example:
        >>> domain, logits = np.array([[0.0], [1.0]]), np.array([[0.0], [0.0]])
        >>> round(float(DomainLoss()(domain, logits)), 4)  # log 2
        0.6931

    Notes:
        Row by row, so the value is the same on one device and on several; with weights it is a statistic of the batch:
        each replica's weights have a mean of 1. It computes in float32 in mixed precision, too. A batch of one domain
        has the ordinary mean.

    Reference: Ganin et al., 2016, "Domain-Adversarial Training of Neural Networks", JMLR 17(59),
        https://arxiv.org/abs/1505.07818, L_d of section 4.1 and the objective of equation 10. The weights: Long et al.,
        2018, https://arxiv.org/abs/1705.10667, normalised in each domain as in https://github.com/thuml/CDAN,
        `pytorch/loss.py`. Differs from it in: the mean over all rows, which for a balanced batch is half of
        equation 10's sum of two means, as in the authors' and TLlib's code.
    """

    def __init__(self, *, reduction: str = "sum_over_batch_size", name: str = "domain_loss", dtype: Any = None):
        super().__init__(name=name, reduction=reduction, dtype=dtype)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        outputs = as_rows("DomainLoss", y_pred)
        if outputs.shape[-1] not in (1, 2):
            raise UserError(
                f"DomainLoss: the output has {outputs.shape[-1]} columns. Expected one, the discriminator's logit, or "
                f"two, the logit and a weight. Received: shape={tuple(outputs.shape)}. For features take "
                f"MaximumMeanDiscrepancy or CorrelationAlignment."
            )
        is_source, is_target = masks(y_true, outputs.dtype)
        losses = ops.binary_crossentropy(is_target, outputs[:, 0], from_logits=True)
        if outputs.shape[-1] == 1:
            return losses
        weights = outputs[:, 1]
        return losses * weights * (_inverse_mean(weights, is_source) + _inverse_mean(weights, is_target))


def _inverse_mean(weights: Any, mask: Any) -> Any:
    """1 / mean of the weights of the rows of a domain, for these rows; 0 for the others."""
    return mask * ops.divide_no_nan(ops.sum(mask), ops.sum(mask * weights))
