"""Everything of a model and its optimizer that the rest of a training depends on, taken out and put back."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from tlkit.callbacks.run_description import all_layers
from tlkit.distribution import from_workers, worker_number
from tlkit.errors import UserError
from tlkit.finetune.groups import find_backbones


def capture_training(model: keras.Model) -> dict[str, Any]:
    """Take out weights, seeds, the optimizer's variables, what is frozen, and the states of Python's and NumPy's dice.

    Under a strategy a variable is read on every device, those of other workers included: the statistics of BatchNorm
    differ between them.

    Args:
        model: A compiled and built `keras.Model`.

    Returns:
        Nested dicts, lists and tuples of arrays and numbers.
    """
    return {
        "variables": _values(model, _model_variables(model)),
        "optimizer": _values(model, model.optimizer.variables),
        "trainable": _frozen_and_open(model),
        "random": {"python": random.getstate(), "numpy": np.random.get_state()},
    }


def build_optimizer(model: keras.Model) -> None:
    """Make the optimizer's variables, on what trains now, when Keras would make them only at the first step."""
    if not model.optimizer.built:
        with model.distribute_strategy.scope():
            model.optimizer.build(model.trainable_variables)


def restore_training(model: keras.Model, state: dict[str, Any]) -> None:
    """Put back what `capture_training` took out.

    Args:
        model: The same model, made anew, compiled and built, its optimizer, too.
        state: What `capture_training` returned.

    Raises:
        UserError: When the model or its optimizer has other variables.
    """
    optimizer, variables = model.optimizer, _model_variables(model)
    if _shapes(variables) != _saved_shapes(state["variables"]):
        raise UserError(
            f"ExactResume: the saved training has {len(state['variables'])} variables in its model, of other shapes "
            f"than the {len(variables)} of this one. Expected the same model. Build it as before, or begin anew with "
            f"`resume.clear()`."
        )
    if _shapes(optimizer.variables) != _saved_shapes(state["optimizer"]):
        raise UserError(
            f"ExactResume: the saved optimizer has {len(state['optimizer'])} variables, this one "
            f"{len(optimizer.variables)}: they were built on other weights. Expected the same ones. Call "
            f"`tlkit.finetune.prepare_unfreezing(model)` right after `model.compile`, in the first run and in every "
            f"later one, or begin anew with `resume.clear()`."
        )
    _set_frozen_and_open(model, state["trainable"])
    for variable, values in zip(variables, state["variables"], strict=True):
        _assign(model, variable, values)
    for variable, values in zip(optimizer.variables, state["optimizer"], strict=True):
        _assign(model, variable, values)
    random.setstate(state["random"]["python"])
    np.random.set_state(state["random"]["numpy"])


def _model_variables(model: keras.Model) -> list[keras.Variable]:
    """Weights, and the states of seed generators, which Keras counts among the variables but not the weights."""
    weights = list(model.weights)
    known = {id(weight) for weight in weights} | {id(variable) for variable in model.metrics_variables}
    seeds = {id(v): v for v in model.variables if id(v) not in known}
    return [*weights, *seeds.values()]


def _values(model: keras.Model, variables: Sequence[keras.Variable]) -> list[list[np.ndarray]]:
    """Each variable's value on each device of all workers, or one where they are the same to the last bit."""
    local = model.distribute_strategy.experimental_local_results
    values = [[np.asarray(copy.numpy()) for copy in local(variable.value)] for variable in variables]
    if model.distribute_strategy.num_replicas_in_sync == 1:
        return values
    # Of the other workers only the few that differ are sent: the statistics of BatchNorm, and seeds.
    sums = from_workers([[hashlib.sha256(copy.tobytes()).digest() for copy in copies] for copies in values])
    differ = [n for n in range(len(values)) if len({digest for of_worker in sums for digest in of_worker[n]}) > 1]
    sent = from_workers({n: values[n] for n in differ})
    everywhere = {n: [copy for of_worker in sent for copy in of_worker[n]] for n in differ}
    return [everywhere.get(n, copies[:1]) for n, copies in enumerate(values)]


def _assign(model: keras.Model, variable: keras.Variable, values: Sequence[np.ndarray]) -> None:
    local = model.distribute_strategy.experimental_local_results(variable.value)
    for index, component in enumerate(local, worker_number() * len(local)):
        component.assign(values[index % len(values)])


def _shapes(variables: Sequence[keras.Variable]) -> list[tuple[tuple[int, ...], str]]:
    return [(tuple(variable.shape), variable.dtype) for variable in variables]


def _saved_shapes(saved: Sequence[Sequence[np.ndarray]]) -> list[tuple[tuple[int, ...], str]]:
    return [(values[0].shape, values[0].dtype.name) for values in saved]


def _frozen_and_open(model: keras.Model) -> dict[str, list[Any]]:
    return {
        "layers": [layer.trainable for layer in (model, *all_layers(model))],
        "stages": [sum(stage.is_open for stage in backbone.stages) for backbone in find_backbones(model)],
        "weights": [weight.trainable for weight in model.weights],
    }


def _set_frozen_and_open(model: keras.Model, wanted: dict[str, list[Any]]) -> None:
    if _frozen_and_open(model) == wanted:
        return
    for backbone, count in zip(find_backbones(model), wanted["stages"], strict=True):
        if not backbone.why_whole:
            backbone.unfreeze(last=count)
    # From the outside in: a model writes its flag into every layer that it holds, a layer into its weights.
    for layer, flag in zip((model, *all_layers(model)), wanted["layers"], strict=True):
        if layer.trainable != flag:
            layer.trainable = flag
    for weight, flag in zip(model.weights, wanted["weights"], strict=True):
        weight.trainable = flag
    # A step that was traced already holds the list of weights that trained then.
    model.make_train_function(force=True)
