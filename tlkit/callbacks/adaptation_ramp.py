"""Adaptation that sets in slowly."""

from __future__ import annotations

import math
from typing import Any

import keras

from tlkit.callbacks.gradient_scales import gradient_scales
from tlkit.errors import UserError


class AdaptationRamp(keras.callbacks.Callback):
    """Raises the scale of the gradient that the domain's loss sends to the encoder, from 0 to its maximum.

    Early in training the discriminator knows nothing, and what it tells the encoder is noise. The scale of every
    `GradientReversal` and `GradientScaling` in the model is set before each step. The loss itself keeps its weight, so
    the discriminator learns at full rate from the beginning, as the paper's did.

        scale(p) = maximum * (2 / (1 + exp(-gamma * q)) - 1),   q = max(0, p - warm_start) / (1 - warm_start)
        p = (epoch * steps + batch) / (epochs * steps), the share of the training that is done, from 0 to 1
        gamma = steepness; q = share of the training after the warm start that is done

    Args:
        gamma: Float above 0. Defaults to `10.0`, as in the paper: .46 of the maximum after a tenth, .99 after half.
        warm_start: Float from 0 to below 1. Share of the training in which the scale stays 0, so that classifier and
            discriminator learn first. Defaults to `0.0`, as in the paper.
        maximum: Float above 0. Defaults to `1.0`, as in the paper.

    Attributes:
        value: The scale of the last step that was begun.

    Raises:
        UserError: When an argument is out of its range, the model has no such layer, or Keras does not know how many
            steps an epoch has.

    Example:
        >>> ramp = AdaptationRamp(gamma=10.0)
        >>> [round(ramp.scale_at(p), 3) for p in (0, 0.1, 0.5, 1)]
        [0.0, 0.462, 0.987, 1.0]
        >>> from tlkit.domain import DomainLoss, build_dann
        >>> inputs = keras.Input((2,))
        >>> encoder = keras.Model(inputs, keras.layers.Dense(8, activation="relu")(inputs))
        >>> model = build_dann(encoder, num_classes=2)
        >>> model.compile("sgd", {"label": "sparse_categorical_crossentropy", "domain": DomainLoss()})
        >>> domains = np.array([[0.0], [1.0], [0.0], [1.0]])
        >>> history = model.fit(
        ...     np.ones((4, 2)), {"label": np.zeros(4), "domain": domains}, epochs=3, verbose=0, callbacks=[ramp]
        ... )
        >>> [round(scale, 3) for scale in history.history["reversal_scale"]]
        [0.0, 0.931, 0.997]

    Notes:
        The logs of each epoch hold `reversal_scale`, that of its last step; list this callback before those that write
        logs. p follows from epoch and step alone: a training that `ExactResume` or `initial_epoch` goes on with has the
        scales it would have had. It counts on the `epochs` of the running `fit`: another number stretches the ramp, and
        a second `fit` from epoch 0 begins it anew. With `steps_per_execution=k` the scale changes every k steps.
        Where Keras does not know the steps of an epoch, p would not be known: that is an error, see Raises.
        The model keeps the last scale, also in its file.

    Reference: Ganin et al., 2016, "Domain-Adversarial Training of Neural Networks", JMLR 17(59),
        https://jmlr.org/papers/v17/15-239.html, section 5.2.2. Differs from it in: the warm start and the maximum.
    """

    def __init__(self, gamma: float = 10.0, *, warm_start: float = 0.0, maximum: float = 1.0):
        super().__init__()
        for name, value in {"gamma": gamma, "maximum": maximum}.items():
            if not 0 < value < math.inf:
                raise UserError(
                    f"AdaptationRamp: `{name}` must let the scale rise. Expected a number above 0. "
                    f"Received: {name}={value!r}."
                )
        if not 0 <= warm_start < 1:
            raise UserError(
                f"AdaptationRamp: `warm_start` is the share of the training before the ramp. Expected a number from 0 "
                f"to below 1. Received: warm_start={warm_start!r}."
            )
        self.gamma = float(gamma)
        self.warm_start = float(warm_start)
        self.maximum = float(maximum)
        self.value = 0.0
        self._epoch = 0
        self._layers: list[keras.Layer] = []  # while `fit` runs: a deep-copied callback must not hold layers

    def scale_at(self, progress: float) -> float:
        """The scale when this share of the training is done."""
        share = max(0.0, progress - self.warm_start) / (1 - self.warm_start)
        return self.maximum * (2 / (1 + math.exp(-self.gamma * share)) - 1)

    # Hooks

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        self._layers = gradient_scales("AdaptationRamp", self.model)
        if self.params.get("steps") is None:
            raise UserError(
                "AdaptationRamp: Keras does not know how many steps an epoch has, so it is not known how much of the "
                "training is done. Expected a data set of known length. Give `fit` its `steps_per_epoch` and a data "
                "set that repeats, or `pair_domains` its `steps`."
            )

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._epoch = epoch

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        steps = self.params["steps"]
        self.value = self.scale_at((self._epoch * steps + batch) / (self.params["epochs"] * steps))
        for layer in self._layers:
            layer.scale.assign(self.value)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if logs is not None:
            logs["reversal_scale"] = self.value

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        self._layers = []

    # What `ExactResume` keeps

    def get_state(self) -> None:
        """There is none: epoch and step say it all."""

    def set_state(self, state: None) -> None:
        """Nothing to go on from."""
