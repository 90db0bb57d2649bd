"""A model cut in two after the frozen stages of its backbone."""

from __future__ import annotations

from typing import Any

import keras

from tlkit.backbones import Backbone
from tlkit.errors import UserError


def cut_model(model: keras.Model, num_frozen: int) -> tuple[keras.Model, keras.Model]:
    """Cut a model in two after the first stages of its backbone: `tail(prefix(x))` equals `model(x)`.

    What the prefix makes of an example stays the same while these stages are frozen, so it can be kept and the tail
    trained on it. Both share the model's layers and weights: training the tail trains the model. What lies before the
    backbone (augmentation, preprocessing) is in the prefix, everything after it in the tail; layers with random draws
    are the model's own, so the draws are the same with the cut and without.

    Args:
        model: A functional model with one input and one `Backbone` among its layers.
        num_frozen: Int from 1 to the number of stages. All of them: the cut is after the backbone.

    Returns:
        Two uncompiled functional models. In the tail the stages are open that are open in the model now; cut again
        after opening more.

    Raises:
        UserError: When the model cannot be cut there, saying why.

    Example:
        >>> prefix, tail = cut_model(model, 3)
        >>> prefix.output.shape, tail.output.shape
        ((None, 16, 16, 32), (None, 2))
    """
    backbone = the_backbone(model)
    _check_cut(model, backbone, num_frozen)
    with model.distribute_strategy.scope():
        copy, features_in, features_out = _find_call(model, backbone)
        if num_frozen == len(backbone.stages):
            prefix = _prefix(model, copy.input, features_out)
            return prefix, _rest(features_out, copy.output)
        below = _rest(features_in, copy.output)
        first, second = backbone.split(num_frozen)
        first.dtype_policy = "float32"  # inside the whole backbone this tensor is not rounded to 16 bits either
        prefix = _prefix(model, copy.input, first(features_in))
        tail = keras.models.clone_model(
            below,
            input_tensors=keras.Input(prefix.output.shape[1:], dtype=prefix.output.dtype),
            clone_function=lambda layer: second if layer is backbone else layer,
        )
    return prefix, tail


def the_backbone(model: keras.Model) -> Backbone:
    """The one `Backbone` among the layers of a model."""
    found = [layer for layer in model.layers if isinstance(layer, Backbone)]
    if len(found) != 1:
        inside = [layer.name for layer in model.layers if any(isinstance(x, Backbone) for x in _inner(layer))]
        where = f" The nested model '{inside[0]}' holds one: call its layers in the model itself." if inside else ""
        raise UserError(
            f"cut_model: the model '{model.name}' has {len(found)} backbones among its layers. Expected one."
            f"{where or ' Make it with `load_backbone`.'}"
        )
    return found[0]


def _inner(layer: keras.layers.Layer) -> list[keras.layers.Layer]:
    return [x for inner in getattr(layer, "layers", ()) for x in (inner, *_inner(inner))]


def _check_cut(model: keras.Model, backbone: Backbone, num_frozen: int) -> None:
    # A class of its own may train in its own way, which the tail would not.
    is_plain = isinstance(model, keras.Sequential) or (getattr(model, "inputs", None) and _is_functional(model))
    if not is_plain or len(model.inputs) != 1:
        raise UserError(
            f"cut_model: '{model.name}' is a {type(model).__name__} with {len(getattr(model, 'inputs', None) or ())} "
            f"inputs. Expected a functional model with one. Make it with `keras.Model(inputs, outputs)`."
        )
    num_open = sum(stage.is_open for stage in backbone.stages)
    count = len(backbone.stages)
    if not min(1, count) <= num_frozen <= count - num_open:
        raise UserError(
            f"cut_model: `num_frozen` is out of range. Expected a number from 1 to {count - num_open}, the frozen ones "
            f"of the {count} stages of '{backbone.name}'. Received: num_frozen={num_frozen!r}."
        )
    if num_frozen == count and isinstance(backbone.output, dict | list | tuple):
        raise UserError(
            f"cut_model: '{backbone.name}' returns {len(backbone.output)} maps. Expected one tensor to keep. Load it "
            f"with outputs='spatial' or 'pooled', or cut before its last stage."
        )
    if num_frozen < count and backbone.training_program is not None:
        raise UserError(
            f"cut_model: '{backbone.name}' was loaded with `training_mode=True`, so that what its frozen stages "
            f"compute may change in every step. Expected inference. Load it without."
        )


def _is_functional(model: keras.Model) -> bool:
    tensor = keras.Input((1,))
    return type(model) is type(keras.Model(tensor, tensor))


def _find_call(model: keras.Model, backbone: Backbone) -> tuple[keras.Model, Any, Any]:
    """The same graph of the same layers, with the tensors that go into the backbone and come out of it."""
    calls = []

    def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
        outputs = layer(*args, **kwargs)
        if layer is backbone:
            calls.append((args[0], outputs))
        return outputs

    # Uncompiled: Keras would compile the copy, too, and build another optimizer.
    plain = keras.Model(model.inputs[0], _without_list(model.outputs, getattr(model, "output", None)))
    copy = keras.models.clone_model(plain, clone_function=lambda layer: layer, call_function=call)
    if len(calls) != 1:
        raise UserError(
            f"cut_model: '{model.name}' calls '{backbone.name}' {len(calls)} times. Expected once. Make the second "
            f"one with another `load_backbone`."
        )
    return copy, *calls[0]


def _without_list(outputs: list[Any], structure: Any) -> Any:
    return structure if isinstance(structure, dict) or len(outputs) > 1 else outputs[0]


def _rest(tensor: Any, outputs: Any) -> keras.Model:
    """The part of a graph from a tensor to its outputs."""
    try:
        return keras.Model(tensor, outputs, name="tail")
    except ValueError as error:
        raise UserError(
            f"cut_model: the outputs do not follow from what comes out of the backbone alone, or are it ({error}). "
            f"Expected layers after it, and everything to flow through it."
        ) from None


def _prefix(model: keras.Model, inputs: Any, features: Any) -> keras.Model:
    """The part of a graph up to a tensor, which must be the same for an example as long as its weights are."""
    prefix = keras.Model(inputs, features, name="prefix")
    if prefix.trainable_weights:
        raise UserError(
            f"cut_model: before the backbone of '{model.name}', {len(prefix.trainable_weights)} weights train, the "
            f"first '{prefix.trainable_weights[0].path}'. Expected frozen ones. Set `trainable = False` on their layer."
        )
    shape, dtype = prefix.output.shape, keras.backend.standardize_dtype(prefix.output.dtype)
    if None in shape[1:] or "float" not in dtype:
        raise UserError(
            f"cut_model: what would be kept of an example has the shape {shape[1:]} and the type {dtype}. Expected "
            f"numbers of one size for all examples. Give the model's input a fixed size, or cut elsewhere."
        )
    return prefix
