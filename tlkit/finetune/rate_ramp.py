"""A warm-up of the learning rate after weights were opened."""

from __future__ import annotations

from typing import Any

import keras


class RateRamp:
    """Raises an optimizer's rate in a straight line from 1/steps of it to the whole, step by step.

        rate(k) = rate * min(k / steps, 1),  k = 1 for the first step after the start

    Adam's moments of a weight that is opened late begin at zero while its bias correction is that of all steps so far:
    with beta_1 = 0.9 and beta_2 = 0.999 the first update is (1 - beta_1) / sqrt(1 - beta_2), about 3.2 times the rate.

    Args:
        optimizer: Its rate must be a number, not a schedule.
        steps: Int, at least 1.

    Reference: Kingma and Ba, 2015, "Adam: A Method for Stochastic Optimization", ICLR, https://arxiv.org/abs/1412.6980,
        section 3 (initialization bias correction).
    """

    def __init__(self, optimizer: keras.optimizers.Optimizer, steps: int):
        self.optimizer = optimizer
        self.steps = steps
        self.first_step = number(optimizer.iterations)
        self.whole_rate = self._written = number(optimizer.learning_rate)

    def set_rate(self) -> bool:
        """Write the rate of the next step; returns whether the ramp goes on after it."""
        now = number(self.optimizer.learning_rate)
        if now != self._written:  # another callback changed it: that is the whole rate from now on
            self.whole_rate = now
        done = number(self.optimizer.iterations) - self.first_step + 1
        self.optimizer.learning_rate = self.whole_rate * min(done / self.steps, 1.0)
        self._written = number(self.optimizer.learning_rate)
        return done < self.steps

    def finish(self) -> None:
        """Write the whole rate."""
        if number(self.optimizer.learning_rate) == self._written:
            self.optimizer.learning_rate = self.whole_rate

    def get_state(self) -> dict[str, float]:
        """Where the ramp is, for `set_state` of another one."""
        return {"first_step": self.first_step, "whole_rate": self.whole_rate, "written": self._written}

    def set_state(self, state: dict[str, float]) -> None:
        """Go on from `get_state`."""
        self.first_step, self.whole_rate, self._written = state["first_step"], state["whole_rate"], state["written"]


def number(variable: Any) -> float:
    """A scalar variable as a float; under a strategy it is mirrored, which `float` does not take."""
    return float(keras.ops.convert_to_numpy(variable))


def has_plain_rate(optimizer: keras.optimizers.Optimizer) -> bool:
    """Whether an optimizer's rate is a number that can be set, and no schedule."""
    inner = getattr(optimizer, "inner_optimizer", None)
    if inner is not None:
        return has_plain_rate(inner)
    return isinstance(optimizer.get_config().get("learning_rate"), (int, float))
