"""The learning rate of each group of layers, in the logs of each epoch."""

from __future__ import annotations

from typing import Any

import keras

from tlkit.finetune.layer_wise_rates import layerwise_rates_of
from tlkit.finetune.rate_ramp import number


class LearningRateLogger(keras.callbacks.Callback):
    """Puts the learning rate into the logs of each epoch, with `LayerwiseLearningRates` that of each group, too.

    So `history`, `CSVLogger` and `TensorBoard` hold them. The rate is that of the step after the epoch; of a group that
    does not train it is 0. List this callback before those that write the logs.

    Example:
        >>> optimizer = tlkit.finetune.LayerwiseLearningRates(keras.optimizers.SGD(0.25), model, layer_decay=0.5)
        >>> model.compile(optimizer, "sparse_categorical_crossentropy")
        >>> model.get_layer("backbone").unfreeze(last=1)
        >>> history = model.fit(train, shuffle=False, verbose=0, callbacks=[LearningRateLogger()])
        >>> history.history["learning_rate/stride_32"], history.history["learning_rate/stride_16"]
        ([0.125], [0.0])
    """

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if logs is None:
            return
        logs["learning_rate"] = number(self.model.optimizer.learning_rate)
        if (optimizer := layerwise_rates_of(self.model)) is not None:
            training = optimizer.training_groups
            for name, rate in optimizer.learning_rates.items():
                logs[f"learning_rate/{name}"] = rate if name in training else 0.0
