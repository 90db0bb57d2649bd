"""Entropy conditioning, the E of CDAN+E: sure predictions count more in the domain loss."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops


def entropy_weights(probabilities: Any) -> Any:
    """The weight of each row: 2 where its prediction is sure, towards 1 where it could be any class.

        w(p) = 1 + exp(-H(p)),   H(p) = -sum over c of p_c log p_c,   0 log 0 = 0
        p = class probabilities of a row; H = entropy in nats; c = class

    Args:
        probabilities: Float tensor of shape `(batch, classes)`.

    Returns:
        Tensor of shape `(batch,)`.

    Example:
        >>> entropy_weights(tf.constant([[1.0, 0.0], [0.5, 0.5]])).numpy().tolist()  # the second: 1 + exp(-log 2)
        [2.0, 1.5]

    Reference: Long, Cao, Wang and Jordan, 2018, "Conditional Adversarial Domain Adaptation", NeurIPS,
        https://arxiv.org/abs/1705.10667, entropy conditioning. Differs from it in: nothing; the authors' code adds
        1e-5 inside the logarithm.
    """
    # The least value of float32 gives 0 log 0 = 0, and a finite gradient.
    entropy = -ops.sum(probabilities * ops.log(ops.maximum(probabilities, 1e-37)), axis=1)
    return 1 + ops.exp(-entropy)


@keras.saving.register_keras_serializable("tlkit")
class EntropyConditioning(keras.layers.Layer):
    """Set beside the discriminator's logit the weight that `DomainLoss` gives the row.

    `build_cdan(..., entropy_weighted=True)` ends in it. Rows whose class the classifier is sure of count up to twice as
    much as others.

        output = [logit, w(p)], with w of `entropy_weights`; no gradient goes through w(p)

    Call arguments: a list of two tensors, the discriminator's logits and the class probabilities.

    Input shape: `[(batch, 1), (batch, classes)]`, float.    Output shape: `(batch, 2)`.

    Example:
        >>> logits, probabilities = np.array([[0.25], [3.0]]), np.array([[1.0, 0.0], [0.5, 0.5]])
        >>> EntropyConditioning()([logits, probabilities]).numpy().tolist()
        [[0.25, 2.0], [3.0, 1.5]]

    Reference: Long, Cao, Wang and Jordan, 2018, "Conditional Adversarial Domain Adaptation", NeurIPS,
        https://arxiv.org/abs/1705.10667, entropy conditioning. Differs from it in: the weights are detached, as in
        TLlib's `ConditionalDomainAdversarialLoss`; the authors' first code, https://github.com/thuml/CDAN, reverses
        the gradient that goes through them.
    """

    def call(self, inputs: Sequence[Any]) -> Any:
        logits, probabilities = inputs
        weights = ops.stop_gradient(entropy_weights(probabilities))
        return ops.concatenate([logits, weights[:, None]], axis=1)

    def compute_output_shape(self, input_shape: Sequence[Sequence[int | None]]) -> tuple[int | None, ...]:
        return (input_shape[0][0], 2)
