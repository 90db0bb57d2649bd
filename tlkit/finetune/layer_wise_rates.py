"""Layer-wise learning rates for any Keras optimizer.

The optimizer is moved into a class made from its own and ours instead of being wrapped: so there is one set of slots,
one step counter and one rate, and everything that Keras does around an optimizer (clipping, weight decay, moving
averages, accumulation, loss scaling, distribution, callbacks that set the rate) reaches it as before. What is saved is
the plain optimizer's own state and config with the groups beside it, under one registered name.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import keras

from tlkit.errors import UserError
from tlkit.finetune.rate_groups import RateGroups, groups_by_decay, groups_by_rules

ULMFIT_DECAY = 1 / 2.6  # "we empirically found it to work well": Howard and Ruder, section 3.2


@keras.saving.register_keras_serializable("tlkit")
class LayerwiseLearningRates(keras.optimizers.Optimizer):
    """Gives each stage of a model its own learning rate, lower toward the input.

    The first layers of a pretrained network are general and need small changes, the head is fresh and needs large ones
    (ULMFiT: *discriminative fine-tuning*). The rate itself is scaled, with it decoupled weight decay; scaling gradients
    does nothing under Adam, which divides by their size.

        rate(stage, t) = multiplier(stage) * rate(t)
        multiplier(stage) = layer_decay ** d

        rate(t) = the optimizer's learning rate at step t, a number or a schedule; d = 1 for the last stage of the
        backbone, 2 for the one before it, up to its first; 0 for the head, which is every layer outside of stages.

    Args:
        optimizer: A Keras optimizer that no model uses yet, or its name. It becomes the one returned; all its settings
            stay.
        model: The model that it will train, with its weights.
        layer_decay: Float above 0, at most 1. The factor from one stage to the one before it. Defaults to `1 / 2.6`,
            that of ULMFiT; the more stages there are, the nearer to 1 it has to be.
        multipliers: In the place of `layer_decay`, a dict of rules to numbers above 0. A rule is the name of a stage,
            "head", or a regular expression that matches whole paths of weights (`weight.path`), such as
            "encoder/.*"; the first rule that matches a weight counts.
        groups: What the stages are, for models without a `Backbone`: lists of layer names, input first, or a dict of
            them by the name of the group, as for `ProgressiveUnfreezing`. Layers in none are the head; when there is
            no head, the last group has the whole rate.

    Attributes:
        multipliers: Dict of group to multiplier, input first.
        learning_rates: Dict of group to the rate of the next step.

    Raises:
        UserError: When a weight that trains is matched by no rule or a rule by no weight, a multiplier is 0 (freeze the
            layers instead), the model has neither stages nor `groups`, or the optimizer cannot be used.

    Example:
        >>> optimizer = LayerwiseLearningRates(keras.optimizers.AdamW(1e-3), model, layer_decay=0.5)
        >>> model.compile(optimizer, "sparse_categorical_crossentropy")
        >>> optimizer.multipliers
        {'stride_2': 0.03125, 'stride_4': 0.0625, 'stride_8': 0.125, 'stride_16': 0.25, 'stride_32': 0.5, 'head': 1.0}
        >>> round(optimizer.learning_rates["stride_32"], 6)
        0.0005

    Notes:
        Each group trains as it would with an optimizer of its own whose rate is multiplied, also with `Ftrl`, whose
        steps are not proportional to its rate. `Adafactor` caps its rate at 1 / sqrt(step): the multiplier counts after
        that.
        Setting `optimizer.learning_rate` (as `ReduceLROnPlateau` does) sets the head's rate and the others with it.
        Stages that `ProgressiveUnfreezing` opens later have their rates from the start. `LearningRateLogger` puts them
        into the logs.
        Saved in `.keras`: `tlkit.load_model` finds each weight's group by its place among the model's weights.

    Reference: Howard and Ruder, 2018, "Universal Language Model Fine-tuning for Text Classification", ACL,
        https://arxiv.org/abs/1801.06146, section 3.2 (discriminative fine-tuning). Bao et al., 2022, "BEiT: BERT
        Pre-Training of Image Transformers", ICLR, https://arxiv.org/abs/2106.08254 (layer-wise decay).
        Differs from them in: stages are groups of layers instead of single layers.
    """

    def __new__(
        cls,
        optimizer: keras.optimizers.Optimizer | str,
        model: keras.Model,
        *,
        layer_decay: float | None = None,
        multipliers: Mapping[str, float] | None = None,
        groups: Sequence[Sequence[str]] | Mapping[str, Sequence[str]] | None = None,
    ) -> LayerwiseLearningRates:
        optimizer = _checked(optimizer)
        if multipliers is None:
            rate_groups = groups_by_decay(model, ULMFIT_DECAY if layer_decay is None else layer_decay, groups)
        elif layer_decay is None:
            rate_groups = groups_by_rules(model, multipliers, groups)
        else:
            raise UserError(
                f"LayerwiseLearningRates: `layer_decay` and `multipliers` both say what the rates are. Expected one of "
                f"them. Received: layer_decay={layer_decay!r}, multipliers={multipliers!r}."
            )
        return _moved(optimizer, rate_groups)

    def __init__(self, *_: Any, **__: Any):
        pass  # the optimizer is initialized; Keras' own would begin anew

    @property
    def multipliers(self) -> dict[str, float]:
        """The multiplier of each group, input first."""
        return dict(zip(self._rate_groups.names, self._rate_groups.multipliers, strict=True))

    @property
    def learning_rates(self) -> dict[str, float]:
        """The rate of each group in the next step, input first."""
        rate = float(keras.ops.convert_to_numpy(self.learning_rate))
        return {name: rate * multiplier for name, multiplier in self.multipliers.items()}

    @property
    def training_groups(self) -> tuple[str, ...]:
        """The groups with a weight that trains now, input first; all of them before the optimizer is built."""
        if not self.built:
            return self._rate_groups.names
        training = {self._rate_groups.group(i) for i, v in enumerate(self._trainable_variables) if v.trainable}
        return tuple(self._rate_groups.names[group] for group in sorted(training))

    def bind(self, model: keras.Model) -> None:
        """Find the weights again in a model read from a file; `tlkit.load_model` calls it.

        Args:
            model: The model that was saved with this optimizer, not compiled or not yet trained.

        Raises:
            UserError: When the weights have other shapes or another order than those that were saved.
        """
        self._rate_groups.bind(model)

    # What Keras calls. It has no public place for a rate per weight (https://github.com/keras-team/keras/issues/21741):
    # the private names are those of 3.15, and the arithmetic in tests/test_layer_wise_rates.py fails when they move.

    def build(self, variables: Sequence[keras.Variable]) -> None:
        if not self.built:
            self._rate_groups.build(variables)
        super().build(variables)

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        multiplier = self._rate_groups.multiplier(self._get_variable_index(variable))
        if multiplier != 1.0:
            if isinstance(self, keras.optimizers.Adafactor):
                # It does this itself, too late: above its cap, all multipliers would come to the same.
                cap = 1.0 / keras.ops.sqrt(keras.ops.cast(self.iterations + 1, learning_rate.dtype))
                learning_rate = keras.ops.minimum(learning_rate, cap)
            learning_rate = learning_rate * multiplier
        super().update_step(gradient, variable, learning_rate)

    def _apply_weight_decay(self, variables: Sequence[keras.Variable]) -> None:
        # Not in `update_step`: `Muon` needs the Keras variable to choose its decay.
        multiplier_of = [self._rate_groups.multiplier(self._get_variable_index(variable)) for variable in variables]
        try:
            for multiplier in sorted(set(multiplier_of)):
                group = [v for v, own in zip(variables, multiplier_of, strict=True) if own == multiplier]
                self._decay_multiplier = multiplier
                super()._apply_weight_decay(group)
        finally:
            # Not what it was before: replicas are traced in turn, and the next one is already inside.
            self._decay_multiplier = 1.0

    def _get_current_learning_rate(self) -> Any:
        rate = super()._get_current_learning_rate()
        return rate if self._decay_multiplier == 1.0 else rate * self._decay_multiplier

    # Saving

    def get_config(self) -> dict[str, Any]:
        plain = type(self).__mro__[2]  # after the class made here and this one
        is_keras = getattr(keras.optimizers, plain.__name__, None) is plain
        optimizer = {
            "module": "keras.optimizers" if is_keras else plain.__module__,
            "class_name": plain.__name__,
            "registered_name": None if is_keras else keras.saving.get_registered_name(plain),
        }
        return {**super().get_config(), "layerwise": {"optimizer": optimizer, **self._rate_groups.get_config()}}

    @classmethod
    def from_config(
        cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None
    ) -> LayerwiseLearningRates:
        layerwise = config["layerwise"]
        settings = {key: value for key, value in config.items() if key != "layerwise"}
        optimizer = keras.saving.deserialize_keras_object(
            {**layerwise["optimizer"], "config": settings}, custom_objects=custom_objects
        )
        return _moved(optimizer, RateGroups.from_config(layerwise))


def _checked(optimizer: keras.optimizers.Optimizer | str) -> keras.optimizers.Optimizer:
    """The optimizer, if its updates can be scaled."""
    if isinstance(optimizer, str):
        try:
            optimizer = keras.optimizers.get(optimizer)
        except ValueError:
            raise UserError(
                f"LayerwiseLearningRates: Keras has no optimizer {optimizer!r}. Expected a name such as 'adamw', or an "
                f"optimizer, `keras.optimizers.AdamW(1e-3)`."
            ) from None
    if not isinstance(optimizer, keras.optimizers.Optimizer):
        raise UserError(
            f"LayerwiseLearningRates: `optimizer` is no Keras optimizer. Expected one such as "
            f"`keras.optimizers.AdamW(1e-3)`. Received: {optimizer!r}."
        )
    kind = type(optimizer).__name__
    if isinstance(optimizer, LayerwiseLearningRates):
        raise UserError(
            f"LayerwiseLearningRates: this optimizer ({kind}) has layer-wise rates already. Expected a plain one. Make "
            f"a new one, such as `keras.optimizers.AdamW(1e-3)`."
        )
    if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        raise UserError(
            "LayerwiseLearningRates: a LossScaleOptimizer takes no steps of its own. Expected the optimizer inside it. "
            "Turn them around: `LossScaleOptimizer(LayerwiseLearningRates(optimizer, model))`; in mixed precision "
            "`model.compile` does so by itself."
        )
    if type(optimizer).update_step is keras.optimizers.Optimizer.update_step:
        raise UserError(
            f"LayerwiseLearningRates: a {kind} has no step whose rate could be scaled. Expected an optimizer with "
            f"`update_step`, such as `keras.optimizers.AdamW(1e-3)`."
        )
    if optimizer.built:
        raise UserError(
            f"LayerwiseLearningRates: this optimizer ({kind}) is in use by a model already. Expected a new one. Make "
            f"it here, before `model.compile`: `LayerwiseLearningRates(keras.optimizers.{kind}(...), model)`."
        )
    return optimizer


def _moved(optimizer: keras.optimizers.Optimizer, rate_groups: RateGroups) -> LayerwiseLearningRates:
    """The same optimizer in its layer-wise class."""
    above = [name for name, m in zip(rate_groups.names, rate_groups.multipliers, strict=True) if m > 1]
    if above and isinstance(optimizer, keras.optimizers.Adafactor):
        raise UserError(
            f"LayerwiseLearningRates: Adafactor caps its own rate, so the multiplier of '{above[0]}' would have no "
            f"effect. Expected multipliers of at most 1. Raise the optimizer's rate and lower the others."
        )
    # Keras' own `__setattr__` is for settings and variables.
    object.__setattr__(optimizer, "__class__", _layerwise_class(type(optimizer)))
    optimizer._rate_groups = rate_groups
    optimizer._decay_multiplier = 1.0
    return optimizer


@functools.cache
def _layerwise_class(plain: type) -> type:
    """The class of an optimizer with layer-wise rates over that of a plain one."""
    made = type(f"Layerwise{plain.__name__}", (LayerwiseLearningRates, plain), {"__module__": __name__})
    register = keras.saving.register_keras_serializable("tlkit", "LayerwiseLearningRates")
    register(made)
    register(LayerwiseLearningRates)  # files of every made class are opened by this one
    return made


def layerwise_rates_of(model: keras.Model) -> LayerwiseLearningRates | None:
    """The layer-wise optimizer of a compiled model, loss scaling looked through; None when it has another."""
    optimizer = getattr(model, "optimizer", None)
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)  # LossScaleOptimizer
    return optimizer if isinstance(optimizer, LayerwiseLearningRates) else None
