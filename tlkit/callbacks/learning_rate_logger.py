"""The learning rate of each group of layers, in the logs of each epoch."""

from __future__ import annotations

import sys
from typing import Any

import keras

from tlkit.callbacks.neighbours import neighbours
from tlkit.errors import UserError
from tlkit.finetune.layer_wise_rates import layerwise_rates_of
from tlkit.finetune.rate_ramp import number

_WRITERS = (keras.callbacks.CSVLogger, keras.callbacks.RemoteMonitor, keras.callbacks.TensorBoard)


class LearningRateLogger(keras.callbacks.Callback):
    """Puts the learning rate into the logs of each epoch, with `LayerwiseLearningRates` that of each group, too.

    So `history`, `CSVLogger` and `TensorBoard` hold them. The rate is that of the step after the epoch; of a group that
    does not train it is 0. List this callback before those that write the logs.

    Args:
        groups: Bool. Whether each group's rate is logged, too; with many stages that makes long lines on a terminal.
            Defaults to `True`.

    Raises:
        UserError: When one that writes the logs comes before it in `callbacks`.

    Example:
        >>> optimizer = tlkit.finetune.LayerwiseLearningRates(keras.optimizers.SGD(0.25), model, layer_decay=0.5)
        >>> model.compile(optimizer, "sparse_categorical_crossentropy")
        >>> model.get_layer("backbone").unfreeze(last=1)
        >>> history = model.fit(train, shuffle=False, verbose=0, callbacks=[LearningRateLogger()])
        >>> history.history["learning_rate/stride_32"], history.history["learning_rate/stride_16"]
        ([0.125], [0.0])
    """

    def __init__(self, *, groups: bool = True):
        super().__init__()
        self.groups = groups

    def set_params(self, params: dict[str, Any]) -> None:
        # `fit` calls this before any callback begins: a `CSVLogger` that is refused has not emptied its file.
        super().set_params(params)
        for other in neighbours(self, sys._getframe()) or ():
            if other is self:
                break
            if isinstance(other, _WRITERS):
                name = type(other).__name__
                raise UserError(
                    f"LearningRateLogger: {name} comes before it and would not see the rates. Expected it before those "
                    f"that write the logs. Put it in front of {name} in `callbacks`."
                )

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if logs is None:
            return
        logs["learning_rate"] = number(self.model.optimizer.learning_rate)
        if self.groups and (optimizer := layerwise_rates_of(self.model)) is not None:
            training = optimizer.training_groups
            for name, rate in optimizer.learning_rates.items():
                logs[f"learning_rate/{name}"] = rate if name in training else 0.0
