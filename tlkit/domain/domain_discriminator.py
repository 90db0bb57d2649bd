"""The network that tells the domains apart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from tlkit.errors import UserError


@keras.saving.register_keras_serializable("tlkit")
class DomainDiscriminator(keras.layers.Layer):
    """Say from which domain features come: some hidden layers and one logit.

    The opponent in adversarial adaptation. `build_dann` and `build_cdan` make one; give them another of these, or any
    layer or model with one logit a row, to change it. `DomainLoss` trains it.

        D(x) = w . h_k + b,   h_i = dropout(relu(W_i h_(i-1) + b_i)),   h_0 = x
        x = features; h_1 ... h_k = hidden layers; D(x) = logit, above 0 for "target", below 0 for "source"

    Args:
        hidden_units: Ints above 0, the size of each hidden layer, first one first. Defaults to `(1024, 1024)`, as in
            the paper's and CDAN's networks for photos; for MNIST the paper takes `(100,)` and CDAN `(500, 500)`.
        dropout: Float from 0 to below 1, share of the hidden units dropped in training. Defaults to `0.0`; CDAN's
            authors take `0.5`. It weakens a discriminator that wins too easily.

    Input shape: `(batch, features)`, float.    Output shape: `(batch, 1)`, float32 in mixed precision, too.

    Raises:
        UserError: When a size or the dropout is out of its range.

    Example:
        >>> DomainDiscriminator(hidden_units=(64,))(np.zeros((4, 16), "float32")).shape
        TensorShape([4, 1])

    Notes:
        There is no BatchNorm: TLlib has it, and its maintainers advise to leave it out where the discriminator wins.

    Reference: Ganin et al., 2016, "Domain-Adversarial Training of Neural Networks", JMLR 17(59),
        https://arxiv.org/abs/1505.07818, section 5.2.2. CDAN's: https://github.com/thuml/CDAN, `AdversarialNetwork`. On
        BatchNorm: https://github.com/thuml/Transfer-Learning-Library/issues/267. Differs from it in: a logit instead
        of a probability, which keeps its digits where the discriminator is sure.
    """

    def __init__(self, hidden_units: Sequence[int] = (1024, 1024), dropout: float = 0.0, **kwargs: Any):
        super().__init__(**kwargs)
        self.hidden_units = tuple(hidden_units) if isinstance(hidden_units, Sequence) else (None,)
        if not all(isinstance(units, int) and units > 0 for units in self.hidden_units):
            raise UserError(
                f"DomainDiscriminator: `hidden_units` are the sizes of the hidden layers. Expected whole numbers above "
                f"0, first layer first. Received: hidden_units={hidden_units!r}. Type `hidden_units=(1024, 1024)`."
            )
        if not 0 <= dropout < 1:
            raise UserError(
                f"DomainDiscriminator: `dropout` is the share of the hidden units dropped. Expected a number from 0 to "
                f"below 1. Received: dropout={dropout!r}."
            )
        self.dropout = float(dropout)
        self.stack = []
        for units in self.hidden_units:
            self.stack.append(keras.layers.Dense(units, activation="relu", dtype=self.dtype_policy))
            if self.dropout:
                self.stack.append(keras.layers.Dropout(self.dropout, dtype=self.dtype_policy))
        # In mixed precision the type of the weights, float32.
        self.stack.append(keras.layers.Dense(1, dtype=self.variable_dtype))

    def build(self, input_shape: Sequence[int | None]) -> None:
        shape = tuple(input_shape)
        for layer in self.stack:
            layer.build(shape)
            shape = layer.compute_output_shape(shape)
        self.built = True

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        values = inputs
        for layer in self.stack:
            # Keras passes `training` on by itself to layers that take it.
            values = layer(values)
        return values

    def compute_output_spec(self, inputs: Any, training: bool | None = None) -> keras.KerasTensor:
        return keras.KerasTensor((*inputs.shape[:-1], 1), self.variable_dtype)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "hidden_units": list(self.hidden_units), "dropout": self.dropout}
