"""Learning rates as functions of the optimizer's step, where Keras has none.

Cosine decay after a linear warm-up is `keras.optimizers.schedules.CosineDecay(initial_learning_rate, decay_steps,
warmup_target=..., warmup_steps=...)`, decay by 1 / (1 + k t) is `keras.optimizers.schedules.InverseTimeDecay`.
"""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import ops

from tlkit.errors import UserError


@keras.saving.register_keras_serializable("tlkit")
class SlantedTriangular(keras.optimizers.schedules.LearningRateSchedule):
    """A short linear rise and a long linear fall, as ULMFiT fine-tunes.

    The rise moves the weights quickly to a fitting region, the long fall settles them there.

        cut = floor(T * cut_fraction)
        p = t / cut                       for t < cut
        p = 1 - (t - cut) / (T - cut)     from there on
        rate(t) = max_learning_rate * (1 + p * (ratio - 1)) / ratio
        t = optimizer steps done; T = total_steps; p = height above the lowest rate, from 0 to 1

    So it begins and ends at `max_learning_rate / ratio`, and stays there after step T.

    Args:
        max_learning_rate: Float above 0. The rate at the top, at step `cut`.
        total_steps: Int, at least 2. Optimizer steps of the whole training: batches an epoch times epochs.
        cut_fraction: Float between 0 and 1. Share of the steps in which the rate rises. Defaults to `0.1`, as in the
            paper.
        ratio: Float, at least 1. The highest rate divided by the lowest. Defaults to `32`, as in the paper.

    Raises:
        UserError: When an argument is out of its range.

    Example:
        >>> rate = SlantedTriangular(0.032, total_steps=100)
        >>> [round(float(rate(step)), 4) for step in (0, 5, 10, 55, 100)]
        [0.001, 0.0165, 0.032, 0.0165, 0.001]
        >>> model.compile(keras.optimizers.Adam(rate), "sparse_categorical_crossentropy")

    Notes:
        With gradient accumulation a step is a batch, as in every Keras schedule.

    Reference: Howard and Ruder, 2018, "Universal Language Model Fine-tuning for Text Classification", ACL,
        https://arxiv.org/abs/1801.06146, equation 3. Differs from it in: the fall is measured by T - cut; the paper's
        cut * (1 / cut_fraction - 1) is the same where T * cut_fraction is whole, and otherwise ends below the lowest
        rate, even below 0. A cut below one step is one step.
    """

    def __init__(self, max_learning_rate: float, total_steps: int, *, cut_fraction: float = 0.1, ratio: float = 32.0):
        _check_rate_and_steps(type(self).__name__, max_learning_rate, total_steps)
        _check_fraction(type(self).__name__, "cut_fraction", cut_fraction)
        if not ratio >= 1:
            raise UserError(
                f"SlantedTriangular: `ratio` divides the highest rate by the lowest. Expected at least 1. "
                f"Received: ratio={ratio!r}."
            )
        self.max_learning_rate = float(max_learning_rate)
        self.total_steps = int(total_steps)
        self.cut_fraction = float(cut_fraction)
        self.ratio = float(ratio)

    def __call__(self, step: Any) -> Any:
        # 0.29 * 100 is 28.999999999999996: what is whole but for rounding is whole.
        cut = max(math.floor(self.total_steps * self.cut_fraction + 1e-9), 1)
        t = ops.clip(ops.cast(step, "float32"), 0, self.total_steps)
        height = ops.where(t < cut, t / cut, (self.total_steps - t) / (self.total_steps - cut))
        return self.max_learning_rate * ((1 + height * (self.ratio - 1)) / self.ratio)

    def get_config(self) -> dict[str, Any]:
        return {
            "max_learning_rate": self.max_learning_rate,
            "total_steps": self.total_steps,
            "cut_fraction": self.cut_fraction,
            "ratio": self.ratio,
        }


@keras.saving.register_keras_serializable("tlkit")
class OneCycle(keras.optimizers.schedules.LearningRateSchedule):
    """One rise and one fall along half cosines: high rates in the middle of training, very low ones at its end.

        low = max_learning_rate / initial_divisor,  end = low / final_divisor
        cosine(a, b, p) = b + (a - b) * (1 + cos(pi * p)) / 2
        rate(t) = cosine(low, max_learning_rate, t / top)                 for t < top
        rate(t) = cosine(max_learning_rate, end, (t - top) / (T - 1 - top))    from there on
        t = optimizer steps done; T = total_steps; top = T * warmup_fraction - 1, the step with the highest rate

    The last step of training, t = T - 1, uses `end` exactly, and so do all later ones.

    Args:
        max_learning_rate: Float above 0. The rate at the top.
        total_steps: Int, at least 2. Optimizer steps of the whole training: batches an epoch times epochs.
        warmup_fraction: Float between 0 and 1. Share of the steps in which the rate rises. Defaults to `0.3`.
        initial_divisor: Float, at least 1. The highest rate divided by the first. Defaults to `25`.
        final_divisor: Float, at least 1. The first rate divided by the last. Defaults to `1e4`. The defaults are
            PyTorch's, which took them from fastai.

    Raises:
        UserError: When an argument is out of its range.

    Example:
        >>> rate = OneCycle(0.1, total_steps=10)
        >>> [round(float(rate(step)), 4) for step in (0, 1, 2, 9)]
        [0.004, 0.052, 0.1, 0.0]
        >>> model.compile(keras.optimizers.SGD(rate, momentum=0.9), "sparse_categorical_crossentropy")

    Notes:
        Momentum stays what the optimizer has: the paper lowers it while the rate is high, but Keras optimizers keep
        it as a constant. With gradient accumulation a step is a batch, as in every Keras schedule.

    Reference: Smith, 2018, "A disciplined approach to neural network hyper-parameters: Part 1",
        https://arxiv.org/abs/1803.09820, section 4.1; the cosine form: PyTorch's OneCycleLR,
        https://docs.pytorch.org/docs/stable/generated/torch.optim.lr_scheduler.OneCycleLR.html. Differs from the paper
        in: half cosines instead of straight lines, and no cycle of the momentum.
    """

    def __init__(
        self,
        max_learning_rate: float,
        total_steps: int,
        *,
        warmup_fraction: float = 0.3,
        initial_divisor: float = 25.0,
        final_divisor: float = 1e4,
    ):
        _check_rate_and_steps(type(self).__name__, max_learning_rate, total_steps)
        _check_fraction(type(self).__name__, "warmup_fraction", warmup_fraction)
        for name, divisor in {"initial_divisor": initial_divisor, "final_divisor": final_divisor}.items():
            if not divisor >= 1:
                raise UserError(
                    f"OneCycle: `{name}` makes a rate smaller. Expected at least 1. Received: {name}={divisor!r}."
                )
        self.max_learning_rate = float(max_learning_rate)
        self.total_steps = int(total_steps)
        self.warmup_fraction = float(warmup_fraction)
        self.initial_divisor = float(initial_divisor)
        self.final_divisor = float(final_divisor)

    def __call__(self, step: Any) -> Any:
        low = self.max_learning_rate / self.initial_divisor
        last = self.total_steps - 1
        top = max(self.total_steps * self.warmup_fraction - 1, 0.0)
        t = ops.clip(ops.cast(step, "float32"), 0, last)
        # `where` computes both sides, so neither may divide by 0: without a rise, all of it is the fall.
        rise = _cosine(low, self.max_learning_rate, t / (top or 1.0))
        fall = _cosine(self.max_learning_rate, low / self.final_divisor, (t - top) / (last - top))
        return ops.where(t < top, rise, fall)

    def get_config(self) -> dict[str, Any]:
        return {
            "max_learning_rate": self.max_learning_rate,
            "total_steps": self.total_steps,
            "warmup_fraction": self.warmup_fraction,
            "initial_divisor": self.initial_divisor,
            "final_divisor": self.final_divisor,
        }


@keras.saving.register_keras_serializable("tlkit")
class InversePowerDecay(keras.optimizers.schedules.LearningRateSchedule):
    """A rate that falls steeply at first and then ever more slowly, as domain-adversarial training uses it.

    `keras.optimizers.schedules.InverseTimeDecay` is the same with the power 1.

        rate(t) = initial_learning_rate / (1 + alpha * p) ^ power,   p = t / T
        t = optimizer steps done; T = total_steps; p = share of the training that is done, from 0 to 1

    With the defaults the rate is down to .59 of the first after a tenth of the training, .26 after half and .17 at the
    end, where it stays.

    Args:
        initial_learning_rate: Float above 0. The rate of the first step; the paper's is 0.01, with momentum 0.9.
        total_steps: Int, at least 2. Optimizer steps of the whole training: batches an epoch times epochs.
        alpha: Float above 0. Defaults to `10`, as in the paper.
        power: Float above 0; the paper's beta. Defaults to `0.75`, as in the paper.

    Raises:
        UserError: When an argument is out of its range.

    Example:
        >>> rate = InversePowerDecay(0.01, total_steps=1000)
        >>> [round(float(rate(step)), 5) for step in (0, 100, 500, 1000)]
        [0.01, 0.00595, 0.00261, 0.00166]
        >>> model.compile(keras.optimizers.SGD(rate, momentum=0.9), "sparse_categorical_crossentropy")

    Notes:
        With gradient accumulation a step is a batch, as in every Keras schedule. TLlib and Caffe ("inv") write the same
        as (1 + gamma * t) ^ -power: gamma = alpha / T.

    Reference: Ganin et al., 2016, "Domain-Adversarial Training of Neural Networks", JMLR 17(59),
        https://jmlr.org/papers/v17/15-239.html, section 5.2.2. Differs from it in: nothing.
    """

    def __init__(self, initial_learning_rate: float, total_steps: int, *, alpha: float = 10.0, power: float = 0.75):
        _check_rate_and_steps(type(self).__name__, initial_learning_rate, total_steps, "initial_learning_rate")
        for name, value in {"alpha": alpha, "power": power}.items():
            if not 0 < value < math.inf:
                raise UserError(
                    f"InversePowerDecay: `{name}` lets the rate fall. Expected a number above 0. "
                    f"Received: {name}={value!r}."
                )
        self.initial_learning_rate = float(initial_learning_rate)
        self.total_steps = int(total_steps)
        self.alpha = float(alpha)
        self.power = float(power)

    def __call__(self, step: Any) -> Any:
        p = ops.clip(ops.cast(step, "float32") / self.total_steps, 0, 1)
        return self.initial_learning_rate * (1 + self.alpha * p) ** -self.power

    def get_config(self) -> dict[str, Any]:
        return {
            "initial_learning_rate": self.initial_learning_rate,
            "total_steps": self.total_steps,
            "alpha": self.alpha,
            "power": self.power,
        }


def _cosine(first: float, last: float, share: Any) -> Any:
    # Weighted with the share of each end, not as `last + (first - last) * w`: at the ends the other term is 0 exactly.
    weight = (1 + ops.cos(math.pi * ops.cast(share, "float32"))) / 2
    return first * weight + last * (1 - weight)


def _check_rate_and_steps(name: str, rate: float, total_steps: int, argument: str = "max_learning_rate") -> None:
    if not 0 < rate < math.inf:
        raise UserError(
            f"{name}: `{argument}` must let the model learn. Expected a number above 0. Received: {argument}={rate!r}."
        )
    if total_steps != total_steps // 1 or total_steps < 2:
        raise UserError(
            f"{name}: `total_steps` counts the optimizer steps of the whole training. Expected a whole number, at "
            f"least 2: batches an epoch times epochs. Received: total_steps={total_steps!r}."
        )


def _check_fraction(name: str, argument: str, value: float) -> None:
    if not 0 < value < 1:
        raise UserError(
            f"{name}: `{argument}` is the share of the steps in which the rate rises. Expected a number between 0 "
            f"and 1. Received: {argument}={value!r}."
        )
