"""The learning-rate range test, after which everything is as it was."""

from __future__ import annotations

import contextlib
import dataclasses
import random
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tlkit.errors import UserError
from tlkit.finetune.layer_wise_rates import LayerwiseLearningRates

_SMOOTHING = 0.9  # about the last ten batches, 0.8 decades of the default rates; fastai's 0.98 trails by four
_DIVERGED = 4.0  # fastai stops where the smoothed loss is four times its lowest


@dataclasses.dataclass(frozen=True, eq=False)
class LearningRateCurve:
    """What `find_learning_rate` saw.

    Attributes:
        rates: `(steps,)`. The learning rates tried, rising.
        losses: `(steps,)`. The loss of the batch that each rate was tried on, before its step.
        smoothed_losses: `(steps,)`. Their moving mean.
        suggestion: The rate to train with, or None where the loss did not fall.
        diverged: Whether the test ended early, since the loss rose out of bounds.
    """

    rates: np.ndarray
    losses: np.ndarray
    smoothed_losses: np.ndarray
    suggestion: float | None
    diverged: bool


def find_learning_rate(
    model: keras.Model,
    dataset: Any,
    *,
    start_rate: float = 1e-7,
    end_rate: float = 10.0,
    num_steps: int = 100,
    class_weight: Mapping[int, float] | None = None,
) -> LearningRateCurve:
    """Try learning rates from far too small to far too large, one a batch, and suggest the one to train with.

    Call it after `compile` (and after `prepare_unfreezing`), with the stages open that will train first. It trains for
    `num_steps` batches, or until the smoothed loss is above four times its lowest value and above every loss of the
    first tenth (at least ten batches). Then it puts everything back: weights, BatchNorm statistics, seeds of Dropout,
    metrics, the traced train step. The model's optimizer is not touched at all: a copy of it takes the steps.

        rate(k) = start_rate * (end_rate / start_rate) ** (k / (num_steps - 1)),   k = 0, 1, ..., num_steps - 1
        smoothed(k) = sum of b ** (k - i) * loss(i) over i <= k, divided by the sum of b ** (k - i);   b = 0.9

    The suggestion is fastai's: take the longest sequence of steps, not necessarily neighbours, in which the smoothed
    loss falls each time; from the step where it ends go back half as many steps as it has. It errs to the low side: on
    scikit-learn's digits, breast cancer and diabetes, with SGD and Adam, the loss after three epochs at that rate was
    1.0 to 2.4 times the loss at the best of eleven rates. (The steepest place of the same curves was the smallest rate
    twice, and diverged once.) Look at the curve.

    Args:
        model: A built and compiled `keras.Model`.
        dataset: `tf.data.Dataset` of batches as for `fit`, or a `keras.utils.PyDataset`. Passed through again from
            its start when it is shorter than the test.
        start_rate: Float above 0. Defaults to `1e-7`.
        end_rate: Float above `start_rate`. Defaults to `10`. These and `num_steps` are fastai's.
        num_steps: Int, at least 10. Batches to try.
        class_weight: As in `fit`.

    Returns:
        The `LearningRateCurve`; `tlkit.evaluation.plot_learning_rates` draws it.

    Raises:
        UserError: When the model is not built or not compiled, when an argument is out of range, when the data hold no
            batch, or when the loss is not a number from the first batch on.

    Example:
        >>> from tlkit.evaluation import plot_learning_rates
        >>> curve = find_learning_rate(model, train, num_steps=20)
        >>> len(curve.rates) <= 20  # it ends early where the loss has run away
        True
        >>> plot_learning_rates(curve).savefig("learning_rates.png")

    Notes:
        The optimizer may hold a learning rate that follows a schedule: the test sets its own rates, and the schedule
        goes on where it was. For an optimizer with multipliers, the rate found is the one that they multiply.
        The training that follows equals one without the test bit for bit if the data do. `Dataset.shuffle` gives
        another order each time the same data set object is read; `tlkit.data.epochs` does not.
        An optimizer that was not built yet is copied from its config, which does not hold what
        `exclude_from_weight_decay` was told; over so few steps that changes nothing.

    Reference: Smith, 2017, "Cyclical Learning Rates for Training Neural Networks", WACV,
        https://arxiv.org/abs/1506.01186, section 3.3 (the LR range test). Differs from it in: the rate rises
        exponentially and the loss is looked at instead of the accuracy, both as in fastai. The suggestion ("valley")
        and the end at four times the lowest loss are fastai's, too: https://docs.fast.ai/callback.schedule.html; its
        moving mean has b = 0.98, which trails the rate by more.
    """
    _check_arguments(model, dataset, start_rate, end_rate, num_steps)
    rates = np.geomspace(start_rate, end_rate, num_steps)
    test = _RangeTest(rates)
    with _everything_put_back(model):
        model.optimizer = _copy_of(model.optimizer, model)
        model.steps_per_execution = 1  # each batch has its own rate
        model.train_function = None  # the traced step holds the other optimizer
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Your input ran out of data")  # no batch: an error below
            # Every epoch has at least one batch, and the test stops the training when it has seen enough.
            model.fit(dataset, epochs=num_steps, callbacks=[test], class_weight=class_weight, shuffle=False, verbose=0)
    if not test.losses and not test.diverged:
        raise UserError(
            "find_learning_rate: the data hold no batch. Expected at least one. Look at what the data set was made of."
        )
    if not test.losses:
        raise UserError(
            "find_learning_rate: the loss is not a number from the first batch on. Expected a finite loss at the "
            "smallest rate. Look for NaN in the data, and at the loss function."
        )
    losses = np.array(test.losses)
    return LearningRateCurve(
        rates=rates[: len(losses)],
        losses=losses,
        smoothed_losses=np.array(test.smoothed),
        suggestion=suggest_rate(rates[: len(losses)], test.smoothed),
        diverged=test.diverged,
    )


class _RangeTest(keras.callbacks.Callback):
    """Sets one rate after the other and notes each batch's loss."""

    def __init__(self, rates: np.ndarray):
        super().__init__()
        self.rates = rates
        self.losses: list[float] = []
        self.smoothed: list[float] = []
        self.diverged = False
        self._weighted = 0.0

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        self.model.optimizer.learning_rate = float(self.rates[len(self.losses)])
        self.model.reset_metrics()  # Keras' "loss" is the mean since the last reset: now of this batch alone

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        loss = float((logs or {})["loss"])
        if np.isfinite(loss):
            self.losses.append(loss)
            self._weighted = _SMOOTHING * self._weighted + (1 - _SMOOTHING) * loss
            self.smoothed.append(self._weighted / (1 - _SMOOTHING ** len(self.losses)))
        self.diverged = not np.isfinite(loss) or self._runs_away()
        if self.diverged or len(self.losses) == len(self.rates):
            self.model.stop_training = True

    def _runs_away(self) -> bool:
        # The smallest rates change nothing: their losses show how much batches differ. It is also what ends the test
        # for a loss below 0, of which four times is no bound.
        start = max(len(self.rates) // 10, 10)
        bound = max(_DIVERGED * min(self.smoothed), *self.losses[:start])
        return len(self.losses) > start and self.smoothed[-1] > bound


def suggest_rate(rates: Any, smoothed_losses: Any) -> float | None:
    """The middle of the longest valley, or None where it does not lie below where the loss began."""
    losses = np.asarray(smoothed_losses, "float64")
    length = np.ones(len(losses), int)  # of the longest falling sequence that ends at each step
    for i in range(1, len(losses)):
        length[i] += length[:i].max(where=losses[:i] > losses[i], initial=0)
    last = int(np.argmax(length))
    if not losses[last] < losses[: max(len(losses) // 10, 1)].max():
        return None
    return float(rates[last - (length[last] + 1) // 2])


@contextlib.contextmanager
def _everything_put_back(model: keras.Model) -> Iterator[None]:
    """Whatever is done to the model inside, and however it ends, afterwards the model is as it was."""
    missing = object()
    # `fit` sets the last two.
    names = ("optimizer", "steps_per_execution", "train_function", "stop_training", "history")
    attributes = {name: getattr(model, name, missing) for name in names}
    values = [(part, part.numpy()) for variable in _state_of(model) for part in _parts(variable, model)]
    generators = random.getstate(), np.random.get_state()
    try:
        yield
    finally:
        for name, value in attributes.items():
            if value is not missing:
                setattr(model, name, value)
            elif hasattr(model, name):
                delattr(model, name)
        model.reset_metrics()  # metrics that Keras made at the first batch have no value to go back to
        for part, value in values:
            part.assign(value)
        random.setstate(generators[0])
        np.random.set_state(generators[1])


def _state_of(model: keras.Model) -> list[keras.Variable]:
    """Weights, seeds and metrics."""
    return [*model.variables, *model.metrics_variables]


def _parts(variable: keras.Variable, model: keras.Model) -> tuple[tf.Variable, ...]:
    """A variable's copy on each device: under a strategy BatchNorm's statistics differ from one to the next."""
    return model.distribute_strategy.experimental_local_results(variable.value)


def _copy_of(optimizer: keras.optimizers.Optimizer, model: keras.Model) -> keras.optimizers.Optimizer:
    """An optimizer of the same kind in the same state whose learning rate is a number."""
    with warnings.catch_warnings():
        # A lambda as learning rate, which is left out of the copy.
        warnings.filterwarnings("ignore", "The object being serialized includes a `lambda`")
        config = optimizer.get_config()
    innermost = config
    while "inner_optimizer" in innermost:
        innermost = innermost["inner_optimizer"]["config"]
    innermost["learning_rate"] = 1.0  # the test sets it before each batch
    with model.distribute_strategy.scope():
        copied = type(optimizer).from_config(config)
        if isinstance(_innermost(copied), LayerwiseLearningRates):
            _innermost(copied).bind(model)
        if optimizer.built:
            # The list that `prepare_unfreezing` chose. Keras has no public name for it; see `known_variables`.
            copied.build(list(_innermost(optimizer)._trainable_variables))
    if optimizer.built:
        for old, new in zip(_slots(optimizer), _slots(copied), strict=True):
            for source, target in zip(_parts(old, model), _parts(new, model), strict=True):
                target.assign(source)
    # Averages of the weights would be written into them at the end of `fit`.
    _innermost(copied).use_ema = False
    return copied


def _innermost(optimizer: keras.optimizers.Optimizer) -> keras.optimizers.Optimizer:
    while hasattr(optimizer, "inner_optimizer"):
        optimizer = optimizer.inner_optimizer
    return optimizer


def _slots(optimizer: keras.optimizers.Optimizer) -> list[keras.Variable]:
    """The variables of an optimizer but for its learning rate, which is none when it follows a schedule."""
    rate = _innermost(optimizer).learning_rate
    return [variable for variable in optimizer.variables if variable is not rate]


def _check_arguments(model: keras.Model, dataset: Any, start_rate: float, end_rate: float, num_steps: int) -> None:
    if getattr(model, "optimizer", None) is None:
        raise UserError(
            f"find_learning_rate: the model '{model.name}' has no optimizer. Expected a compiled model. "
            f"Call `model.compile(...)` first."
        )
    if not model.built:
        raise UserError(
            f"find_learning_rate: the model '{model.name}' has no weights yet, so they cannot be put back. Expected a "
            f"built model. Begin it with `keras.Input(shape)`, or call it on a batch first."
        )
    if not 0 < start_rate < end_rate < np.inf:
        raise UserError(
            f"find_learning_rate: the rates do not rise. Expected 0 < `start_rate` < `end_rate`. "
            f"Received: start_rate={start_rate!r}, end_rate={end_rate!r}."
        )
    if num_steps < 10:
        raise UserError(
            f"find_learning_rate: `num_steps` is too small for a curve. Expected at least 10; 100 are usual. "
            f"Received: num_steps={num_steps!r}."
        )
    if not isinstance(dataset, (tf.data.Dataset, keras.utils.PyDataset)):
        raise UserError(
            f"find_learning_rate: `dataset` is no data set. Expected a `tf.data.Dataset` of batches or a "
            f"`keras.utils.PyDataset`; of arrays make one: `tf.data.Dataset.from_tensor_slices((x, y)).batch(32)`. "
            f"Received: {type(dataset).__name__}."
        )
