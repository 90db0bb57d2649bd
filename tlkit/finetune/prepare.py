"""An optimizer that knows every weight that may ever train."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import keras

from tlkit.errors import UserError
from tlkit.finetune.groups import BackboneStages, LayerGroups, find_backbones


def prepare_unfreezing(
    model: keras.Model, groups: Sequence[Sequence[str]] | Mapping[str, Sequence[str]] | None = None
) -> None:
    """Build the optimizer on every weight that may ever train, frozen ones included.

    Keras builds an optimizer on the weights that train when `fit` starts; a stage opened later is then unknown to
    it. Call this right after `model.compile`, not before: in mixed precision `compile` wraps the optimizer. Under a
    strategy it is required; on one device `ProgressiveUnfreezing` calls it when it was forgotten.

    Args:
        model: A compiled `keras.Model`.
        groups: The layers that will be opened, as for `ProgressiveUnfreezing`. Defaults to `None`: the model's
            backbones.

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
    parts: list[BackboneStages | LayerGroups] = (
        [BackboneStages(backbone) for backbone in find_backbones(model)]
        if groups is None
        else [LayerGroups(model, groups)]
    )
    opened = [sum(group.is_open for group in part.groups) for part in parts]
    for part in parts:
        part.open(len(part.groups))
    variables = list(model.trainable_variables)
    for part, count in zip(parts, opened, strict=True):
        part.open(count)
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
            f"{len(variables) - len(missing)} of them. Compile the model again with a new optimizer, and call "
            f"`prepare_unfreezing(model)` right after `model.compile`."
        )


def known_variables(optimizer: keras.optimizers.Optimizer) -> set[int]:
    """The `id` of every variable that a built optimizer can train.

    Keras has no public name for this list; `tests/test_prepare.py` fails when the private one moves.
    """
    inner = getattr(optimizer, "inner_optimizer", optimizer)  # LossScaleOptimizer
    return {id(variable) for variable in inner._trainable_variables}
