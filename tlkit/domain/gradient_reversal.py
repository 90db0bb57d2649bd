"""The gradient reversal layer of domain-adversarial training."""

from __future__ import annotations

from typing import Any

import keras

from tlkit.domain.gradient_scaling import check_scale, scale_gradient


@keras.saving.register_keras_serializable("tlkit")
class GradientReversal(keras.layers.Layer):
    """Pass features on unchanged and reverse the gradient that comes back.

    Between an encoder and a `DomainDiscriminator` it makes one ordinary training step do both halves of the game: the
    discriminator learns to tell the domains apart, the encoder learns features that it cannot tell apart. The scale
    weighs the encoder's half only; the discriminator always learns at full rate.

        R(x) = x,   dR/dx = -scale * I
        x = features; R(x) = output; I = identity matrix; scale = the paper's lambda, a weight of this layer

    Args:
        scale: Float, at least 0. Strength of the reversed gradient until something sets it anew: `layer.scale` is a
            non-trainable weight, so `layer.scale.assign(0.5)` takes effect in the next step, without tracing again. 0
            leaves the encoder alone. Defaults to `1.0`, where the paper's schedule ends.

    Input shape: any, float.    Output shape: that of the input.

    Raises:
        UserError: When `scale` is negative or not finite.

    Example:
        >>> layer, features = GradientReversal(0.5), tf.constant([[1.0, 2.0]])
        >>> with tf.GradientTape() as tape:
        ...     tape.watch(features)
        ...     loss = tf.reduce_sum(layer(features) * [[3.0, 4.0]])
        >>> float(loss), tape.gradient(loss, features).numpy().tolist()
        (11.0, [[-1.5, -2.0]])

    Notes:
        The layer counts no steps: whoever schedules the scale sets it, so an evaluation changes nothing. A `.keras`
        file holds the scale as it is when the model is saved. It has no parameters that train.

    Reference: Ganin et al., 2016, "Domain-Adversarial Training of Neural Networks", JMLR 17(59),
        https://arxiv.org/abs/1505.07818, equations 16 and 17. Differs from it in: the factor lambda of its equation 13
        is in the layer, as in Ganin and Lempitsky, 2015, https://arxiv.org/abs/1409.7495, equations 7
        and 8.
    """

    def __init__(self, scale: float = 1.0, **kwargs: Any):
        super().__init__(**kwargs)
        self._first_scale = check_scale("GradientReversal", scale)
        self.scale = self.add_weight(
            name="scale", initializer=keras.initializers.Constant(self._first_scale), trainable=False
        )
        self.supports_masking = True

    def call(self, inputs: Any) -> Any:
        return scale_gradient(inputs, -self.scale)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "scale": self._first_scale}
