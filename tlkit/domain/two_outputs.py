"""What the models of all methods have in common: an encoder, a classifier, and a second output for the domains."""

from __future__ import annotations

from typing import Any

import keras

from tlkit.backbones import Backbone
from tlkit.errors import UserError

LABEL, DOMAIN = "label", "domain"


def label_classifier(model: keras.Model) -> keras.Model:
    """The plain classifier inside a model for domain adaptation, without the domain output.

    It shares its weights with the model, so it is as trained as that is; use it to predict, evaluate, export and save.

    Args:
        model: A model that one of `build_dann`, `build_cdan`, `build_dan`, `build_coral` and `build_mcc` returned, or
            what `tlkit.load_model` made of its file.

    Returns:
        An uncompiled `keras.Model` from inputs to class probabilities.

    Raises:
        UserError: When the model has no output "label".

    Example:
        >>> inputs = keras.Input((2,))
        >>> encoder = keras.Model(inputs, keras.layers.Dense(8, activation="relu")(inputs))
        >>> model = tlkit.domain.build_dann(encoder, num_classes=3)
        >>> label_classifier(model).predict(np.zeros((4, 2)), verbose=0).shape
        (4, 3)
    """
    outputs = getattr(model, "output", None) if getattr(model, "inputs", None) else None
    if not isinstance(outputs, dict) or LABEL not in outputs:
        raise UserError(
            f"label_classifier: the model '{getattr(model, 'name', model)}' has no output '{LABEL}'. Expected a model "
            f"with the outputs '{LABEL}' and '{DOMAIN}', as build_dann and its siblings return."
        )
    return keras.Model(_without_list(model.input), outputs[LABEL], name="label_classifier")


def encode(caller: str, backbone: keras.layers.Layer) -> tuple[Any, Any]:
    """The inputs of a new model and the features that the backbone makes of them.

    A functional model is not wrapped: its layers become layers of the new model, so callbacks that open stages find
    them.
    """
    if getattr(backbone, "inputs", None):
        is_functional = not isinstance(backbone, keras.Sequential)
        inputs = backbone.input if is_functional else backbone.inputs
        features = backbone.output if is_functional else backbone.outputs
        inputs, features = _without_list(inputs), _without_list(features)
    else:
        inputs = _input_of(caller, backbone)
        features = backbone(inputs)
    shape = getattr(features, "shape", None)
    if shape is None or len(shape) != 2 or shape[1] is None:
        received = f"the shape {tuple(shape)}" if shape is not None else f"{len(features)} tensors"
        raise UserError(
            f"{caller}: `backbone` must return one vector for each input. Expected the shape (batch, features). "
            f"Received: {received}. Load it with `outputs='pooled'`, or end it with "
            f"`keras.layers.GlobalAveragePooling2D()` or `Flatten()`."
        )
    return inputs, features


def classify(caller: str, features: Any, num_classes: int, head: keras.layers.Layer | None) -> Any:
    """The class probabilities that the head makes of the features, in float32."""
    if head is None:
        # In float16 a probability below 6e-8 would be 0.
        head = keras.layers.Dense(num_classes, activation="softmax", dtype="float32", name="head")
    last = head.layers[-1] if getattr(head, "layers", None) else head
    if getattr(last, "activation", None) is keras.activations.linear:
        raise UserError(
            f"{caller}: `head` ends in a layer without an activation, '{last.name}', so it returns logits. Expected "
            f"class probabilities. Give that layer `activation='softmax'`."
        )
    probabilities = head(features)
    if tuple(probabilities.shape) != (features.shape[0], num_classes):
        raise UserError(
            f"{caller}: `head` does not fit `num_classes`. Expected probabilities of the shape (batch, {num_classes}). "
            f"Received: the shape {tuple(probabilities.shape)}."
        )
    return probabilities


def two_output_model(name: str, inputs: Any, probabilities: Any, domain: Any) -> keras.Model:
    """The model with the outputs "label" and "domain"."""
    return keras.Model(inputs, {LABEL: probabilities, DOMAIN: domain}, name=name)


def _input_of(caller: str, layer: keras.layers.Layer) -> Any:
    if isinstance(layer, Backbone):
        dtype = layer.program.input_dtype
        return keras.Input(layer.native_shape, dtype=None if dtype.is_floating else dtype.name)
    shape = (layer.get_build_config() or {}).get("input_shape") if getattr(layer, "built", False) else None
    if shape is None:
        raise UserError(
            f"{caller}: it is not known what goes into `backbone`, '{getattr(layer, 'name', layer)}'. Expected a model "
            f"that begins with `keras.Input(shape)`, a layer of `load_backbone`, or a layer that was called once."
        )
    return keras.Input(tuple(shape)[1:])


def _without_list(tensors: Any) -> Any:
    """One tensor where there is one: Keras warns when a model with a list of inputs is given a tensor."""
    return tensors[0] if isinstance(tensors, list | tuple) and len(tensors) == 1 else tensors
