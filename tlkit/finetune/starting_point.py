"""A penalty on how far pretrained weights move from where they start."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from tlkit.errors import UserError
from tlkit.finetune.groups import find_backbones


class _FromStart(keras.regularizers.Regularizer):
    """alpha / 2 * sum((w - start) ** 2), or alpha * sum(|w - start|); a start of None is 0."""

    def __init__(self, strength: float, p: int, start: keras.Variable | None):
        self.strength, self.p, self.start = strength, p, start

    def __call__(self, weight: Any) -> Any:
        moved = ops.convert_to_tensor(weight)
        if self.start is not None:
            moved = moved - ops.convert_to_tensor(self.start)
        if self.p == 1:
            return self.strength * ops.sum(ops.abs(moved))
        return 0.5 * self.strength * ops.sum(ops.square(moved))


def add_starting_point_penalty(
    model: keras.Model,
    *,
    alpha: float = 0.01,
    beta: float = 0.01,
    p: int = 2,
    shared: Sequence[str] | None = None,
    start: keras.Model | None = None,
) -> None:
    """Hold a model's pretrained weights near their start while it is fine-tuned.

    Few labelled examples pull pretrained weights far from what they learned, and weight decay pulls them to 0; this
    lets them move only where it pays. Call it once the pretrained weights are in place, before `compile` or after; the
    next `fit` counts the penalty in its loss. The start is remembered as it is at the call. Called again, it replaces
    what it added.

        p = 2, L2-SP:  penalty = alpha / 2 * sum((w - w0) ** 2)  +  beta / 2 * sum(v ** 2)
        p = 1, L1-SP:  penalty = alpha * sum(|w - w0|)           +  beta / 2 * sum(v ** 2)
        w = the shared (pretrained) weights; w0 = their start; v = the new weights, which are all others

    Keras counts a weight while it trains: a frozen stage costs nothing, and comes in when it is opened.

    For *proportional learning-rate decay*, let the rate fall with the steps as well:

        w <- w - rate * gamma(t) * (gradient + alpha * (w - w0)),   gamma(t) = 1 / (1 + k * t)
        t = optimizer steps done; k = fall per step; Bottou's choice is k = rate * alpha

    gamma is Keras's own `keras.optimizers.schedules.InverseTimeDecay(rate, decay_steps=1, decay_rate=k)`, given to an
    SGD optimizer.

    Args:
        model: A built `keras.Model`.
        alpha: Float, at least 0. Strength for the shared weights.
        beta: Float, at least 0. Strength for the new weights; 0 leaves them as they are.
        p: 2 or 1. With 1, weights that gain little from moving stay near their start exactly.
        shared: Names of the layers with the pretrained weights. None for every `Backbone` in the model.
        start: A model with layers of these names that holds the start, for a model that was saved after it moved.
            None for the weights as they are now.

    Raises:
        UserError: When the model is not built, when nothing is shared, when a weight has a regularizer of another kind,
            when `start` does not fit, or when a number is out of range.

    Example:
        >>> model.get_layer("backbone").unfreeze(last=1)
        >>> add_starting_point_penalty(model, alpha=0.1, beta=0.01)
        >>> rate = keras.optimizers.schedules.InverseTimeDecay(0.01, decay_steps=1, decay_rate=0.01 * 0.1)
        >>> model.compile(keras.optimizers.SGD(rate), "sparse_categorical_crossentropy")
        >>> history = model.fit(train, epochs=1, shuffle=False, verbose=0)

    Notes:
        Every weight of the shared layers is held, scales and offsets of BatchNorm included; its statistics do not
        train. The regularization losses that came with a SavedModel still pull its weights to 0, as do an optimizer's
        `weight_decay` and AdamW: leave those out.
        The start is a copy of the weights in memory. It is not in a `.keras` file, which would double its size and
        hold the penalty for good: build the model as at first and call this before loading weights, as a script that is
        started again does, or give `start`.
        For a head whose classes point in different directions, give its Dense layer Keras's
        `kernel_regularizer=keras.regularizers.OrthogonalRegularizer(factor, mode="columns")`: factor * the mean of
        |cos| over all pairs of columns, which are the classes. Then set `beta=0` here.

    Reference: Li, Grandvalet and Davoine, 2018, "Explicit Inductive Bias for Transfer Learning with Convolutional
        Networks", ICML, https://arxiv.org/abs/1802.01483, section 3. Bottou, 2012, "Stochastic Gradient Descent
        Tricks", https://leon.bottou.org/papers/bottou-tricks-2012, section 5.2 (gamma). Differs from it in: Bottou's
        penalty pulls to 0.
    """
    _check(model, alpha, beta, p)
    layers = _shared_layers(model, shared)
    held = {id(weight) for layer in layers for weight in layer.weights}
    starts = _starts(layers, start)
    regularizers: list[tuple[keras.Variable, _FromStart]] = []
    for weight in model.weights:
        if not keras.backend.is_float_dtype(weight.dtype) or (id(weight) not in held and not beta):
            continue
        if weight.regularizer is not None and not isinstance(weight.regularizer, _FromStart):
            raise UserError(
                f"add_starting_point_penalty: the weight '{weight.path}' has a regularizer already, "
                f"{type(weight.regularizer).__name__}, and would have two. Expected none. Leave it out where the layer "
                f"is made{'' if id(weight) in held else ', or set `beta=0`'}."
            )
        if id(weight) in held:
            regularizers.append((weight, _FromStart(alpha, p, _copy(starts[id(weight)], model))))
        else:
            regularizers.append((weight, _FromStart(beta, 2, None)))
    for weight in model.weights:
        if isinstance(weight.regularizer, _FromStart):
            weight.regularizer = None
    for weight, regularizer in regularizers:
        weight.regularizer = regularizer
    model.train_function = model.test_function = None  # what is traced has no penalty


def _copy(weight: keras.Variable, model: keras.Model) -> keras.Variable:
    """The weight's value in a variable of its own, on every device that the model is on."""
    # A tensor would be sent to each device in each step, and a large one stands in the graph.
    with model.distribute_strategy.scope():
        return keras.Variable(ops.convert_to_tensor(weight), dtype=weight.dtype, trainable=False, name="start")


def _shared_layers(model: keras.Model, names: Sequence[str] | None) -> list[keras.layers.Layer]:
    if names is None:
        backbones = find_backbones(model)
        if backbones:
            return list(backbones)
        raise UserError(
            f"add_starting_point_penalty: the model '{model.name}' has no Backbone, so it is not known which weights "
            f"are pretrained. Expected their layers. Name them: `shared=[...]`."
        )
    if isinstance(names, str):
        names = [names]
    layers = {layer.name: layer for layer in model.layers}
    for name in names:
        if name not in layers or not layers[name].weights:
            found = ", ".join(f"'{layer.name}'" for layer in model.layers if layer.weights)
            raise UserError(
                f"add_starting_point_penalty: the model '{model.name}' has no layer {name!r} with weights. Expected "
                f"some of {found}. Received: shared={list(names)!r}."
            )
    return [layers[name] for name in names]


def _starts(layers: Sequence[keras.layers.Layer], start: keras.Model | None) -> dict[int, keras.Variable]:
    """For each shared weight, by its id, the weight whose value is its start."""
    if start is None:
        return {id(weight): weight for layer in layers for weight in layer.weights}
    starts: dict[int, keras.Variable] = {}
    others = {layer.name: layer for layer in [*find_backbones(start), *start.layers]}
    for layer in layers:
        other = others.get(layer.name)
        shapes = [tuple(weight.shape) for weight in layer.weights]
        if other is None or [tuple(weight.shape) for weight in other.weights] != shapes:
            what = "has no layer of that name" if other is None else "has weights of other shapes there"
            raise UserError(
                f"add_starting_point_penalty: `start` cannot be the start of layer '{layer.name}': it {what}. Expected "
                f"a model made as '{layer.name}' was. Received: the model '{start.name}'."
            )
        starts.update((id(w), other_w) for w, other_w in zip(layer.weights, other.weights, strict=True))
    return starts


def _check(model: keras.Model, alpha: float, beta: float, p: int) -> None:
    if not model.built:
        raise UserError(
            f"add_starting_point_penalty: the model '{model.name}' has no weights yet. Expected a built model. "
            f"Begin it with `keras.Input(shape)`, or call it on a batch first."
        )
    if not (0 <= alpha < float("inf") and 0 <= beta < float("inf")):
        raise UserError(
            f"add_starting_point_penalty: a strength below 0 would push weights away. Expected numbers of at least 0. "
            f"Received: alpha={alpha!r}, beta={beta!r}."
        )
    if p not in (1, 2):
        raise UserError(
            f"add_starting_point_penalty: `p` chooses the norm. Expected 1 (L1-SP) or 2 (L2-SP). Received: p={p!r}."
        )
