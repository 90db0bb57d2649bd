"""Which epoch was best by a metric, and, when asked, its weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from tlkit.errors import UserError

_BETTER_WHEN_HIGHER = ("accuracy", "acc", "auc")


class BestEpoch:
    """Follows a metric from epoch to epoch.

    Args:
        monitor: String. Name of the metric in the logs, such as "val_loss".
        min_delta: Float. What a change must exceed to be an improvement.
        mode: "min", "max" or "auto": "max" for names that end in "accuracy", "acc" or "auc".
        keep_weights: Bool. Whether to remember the weights of the best epoch.

    Attributes:
        epochs_since: How many epochs lie behind the best one.

    Raises:
        UserError: When `mode` is unknown.
    """

    def __init__(self, monitor: str, *, min_delta: float = 0.0, mode: str = "auto", keep_weights: bool = False):
        if mode not in ("min", "max", "auto"):
            raise UserError(
                f"ProgressiveUnfreezing: `mode` is unknown. Expected 'min', 'max' or 'auto'. Received: mode={mode!r}."
            )
        higher = mode == "max" or (mode == "auto" and monitor.endswith(_BETTER_WHEN_HIGHER))
        self.monitor = monitor
        self.min_delta = abs(min_delta)
        self.sign = 1.0 if higher else -1.0
        self.keep_weights = keep_weights
        self.start()

    def start(self) -> None:
        """Forget everything."""
        self.weights: list[np.ndarray] | None = None
        self.start_over()

    def start_over(self) -> None:
        """Forget the numbers; the weights stay until there are better ones."""
        self.best, self.epochs_since = -np.inf, 0

    def update(self, logs: Mapping[str, Any] | None, model: keras.Model | None = None) -> bool:
        """Take in an epoch's logs; returns whether it is the best so far.

        Raises:
            UserError: When the metric is not among the logs.
        """
        if not logs or self.monitor not in logs:
            raise UserError(
                f"ProgressiveUnfreezing: the metric '{self.monitor}' is not among those of this training. Expected one "
                f"of: {', '.join(logs or {}) or 'none'}. Those that begin with 'val_' need `validation_data`, and one "
                f"that another callback computes needs that callback before this one."
            )
        value = self.sign * float(logs[self.monitor])
        if value - self.min_delta > self.best:
            self.best, self.epochs_since = value, 0
            if self.keep_weights and model is not None:
                self.weights = model.get_weights()
            return True
        self.epochs_since += 1
        return False

    def restore(self, model: keras.Model) -> None:
        """Give the model the weights of the best epoch, when there was one."""
        if self.weights is not None:
            model.set_weights(self.weights)

    def get_state(self) -> dict[str, Any]:
        """What is remembered, for `set_state` of another one."""
        return {"best": float(self.best), "epochs_since": self.epochs_since, "weights": self.weights}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go on from `get_state`."""
        self.best, self.epochs_since, self.weights = state["best"], state["epochs_since"], state["weights"]
