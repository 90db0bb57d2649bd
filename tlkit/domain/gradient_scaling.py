"""The identity, with another gradient."""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import ops

from tlkit.errors import UserError


def scale_gradient(inputs: Any, scale: Any) -> Any:
    """The inputs as they are; going back, their gradient times `scale`.

        y = x,   dL/dx = scale * dL/dy
        x = inputs; y = what is returned; L = any loss computed from y

    Args:
        inputs: Tensor of floats, finite.
        scale: Number or scalar tensor; below 0 it reverses the gradient.

    Returns:
        A tensor equal to `inputs`, to the last bit.

    Example:
        >>> x = tf.constant([1.0, 2.0])
        >>> with tf.GradientTape() as tape:
        ...     tape.watch(x)
        ...     loss = tf.reduce_sum(scale_gradient(x, -0.5) ** 2)
        >>> float(loss), tape.gradient(loss, x).numpy().tolist()
        (5.0, [-1.0, -2.0])
    """
    held = ops.stop_gradient(inputs)
    # What is added is 0; only its gradient counts.
    return held + ops.cast(scale, held.dtype) * (inputs - held)


def check_scale(name: str, scale: float) -> float:
    """The scale as a float, or an error that names the layer."""
    if not 0 <= scale < math.inf:
        raise UserError(
            f"{name}: `scale` is the strength of the gradient. Expected a finite number of at least 0. "
            f"Received: scale={scale!r}. For the other direction take "
            f"{'GradientScaling' if name == 'GradientReversal' else 'GradientReversal'}."
        )
    return float(scale)


@keras.saving.register_keras_serializable("tlkit")
class GradientScaling(keras.layers.Layer):
    """Pass features on unchanged and multiply the gradient that comes back.

    Put it between an encoder and an alignment loss: the loss that is printed stays the plain one, and a schedule can
    raise its influence during training. `GradientReversal` is the same for adversarial losses.

        y = x,   dL/dx = scale * dL/dy
        x = input; y = output; L = the loss computed from y; scale = a weight of this layer

    Args:
        scale: Float, at least 0. What the gradient is multiplied with until something sets it anew: `layer.scale` is a
            non-trainable weight, so `layer.scale.assign(0.5)` takes effect in the next step, without tracing again.
            Defaults to `1.0`, the gradient as it is.

    Input shape: any, float.    Output shape: that of the input.

    Raises:
        UserError: When `scale` is negative or not finite.

    Example:
        >>> layer = GradientScaling(0.5)
        >>> layer(np.array([[1.0, 2.0]])).numpy().tolist()
        [[1.0, 2.0]]
        >>> _ = layer.scale.assign(0.25)
        >>> float(layer.scale)
        0.25

    Notes:
        A `.keras` file holds `scale` as it is when the model is saved.
    """

    def __init__(self, scale: float = 1.0, **kwargs: Any):
        super().__init__(**kwargs)
        self._first_scale = check_scale("GradientScaling", scale)
        self.scale = self.add_weight(
            name="scale", initializer=keras.initializers.Constant(self._first_scale), trainable=False
        )
        self.supports_masking = True

    def call(self, inputs: Any) -> Any:
        return scale_gradient(inputs, self.scale)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "scale": self._first_scale}
