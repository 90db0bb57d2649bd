"""An optimizer that knows every weight that may ever train."""

from __future__ import annotations

import keras

from tlkit.backbones import Backbone
from tlkit.errors import UserError


def prepare_unfreezing(model: keras.Model) -> None:
    """Build the optimizer on every weight that may ever train, frozen backbones included.

    Keras builds an optimizer on the weights that train when `fit` starts; a stage opened later is then unknown to
    it. Call this right after `model.compile`, not before: in mixed precision `compile` wraps the optimizer. Under a
    strategy it is required; on one device `ProgressiveUnfreezing` calls it when it was forgotten.

    Args:
        model: A compiled `keras.Model`.

    Raises:
        UserError: When the model is not compiled, or its optimizer was already built on fewer weights.

    Example:
        >>> model.compile("adam", "sparse_categorical_crossentropy")
        >>> prepare_unfreezing(model)
    """
    optimizer = getattr(model, "optimizer", None)
    if optimizer is None:
        raise UserError(
            f"prepare_unfreezing: the model '{model.name}' has no optimizer. Expected a compiled model. "
            f"Call `model.compile(...)` first."
        )
    backbones = find_backbones(model)
    opened = [sum(stage.is_open for stage in backbone.stages) for backbone in backbones]
    for backbone in backbones:
        if not backbone.why_whole:
            backbone.unfreeze()
    variables = list(model.trainable_variables)
    for backbone, count in zip(backbones, opened, strict=True):
        backbone.unfreeze(last=count)
    if not optimizer.built:
        with model.distribute_strategy.scope():
            optimizer.build(variables)
        return
    known = known_variables(optimizer)
    missing = [v for v in variables if id(v) not in known]
    if missing:
        raise UserError(
            f"prepare_unfreezing: the optimizer was built after the backbone was frozen, so it cannot train new "
            f"stages. Expected an optimizer built on all {len(variables)} variables. Received: one that knows "
            f"{len(variables) - len(missing)} of them. Call `prepare_unfreezing(model)` right after `model.compile`."
        )


def known_variables(optimizer: keras.optimizers.Optimizer) -> set[int]:
    """The `id` of every variable that a built optimizer can train.

    Keras has no public name for this list; `tests/test_prepare.py` fails when the private one moves.
    """
    inner = getattr(optimizer, "inner_optimizer", optimizer)  # LossScaleOptimizer
    return {id(variable) for variable in inner._trainable_variables}


def find_backbones(model: keras.Model) -> list[Backbone]:
    """Every `Backbone` in a model, nested models included, each once."""
    found: dict[int, Backbone] = {}
    for layer in model.layers:
        if isinstance(layer, Backbone):
            found[id(layer)] = layer
        elif hasattr(layer, "layers"):
            found.update((id(backbone), backbone) for backbone in find_backbones(layer))
    return list(found.values())
