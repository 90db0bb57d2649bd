"""`keras:NAME`: the networks of keras.applications, opened like any other model.

Their code comes with Keras, so there is nothing to scan; only their weights come from a file or the network.
"""

from __future__ import annotations

import inspect
import pathlib
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import keras
import tensorflow as tf

from tlkit.backbones.cache import keras_models_folder
from tlkit.backbones.catalog import find, most_similar
from tlkit.backbones.interface import Interface, Weight
from tlkit.backbones.lift import Lifted, lift
from tlkit.errors import UserError


def lift_keras_model(
    name: str, weights: str | pathlib.Path | None = "imagenet", image_size: int | None = None
) -> Lifted:
    """Open one of the networks of keras.applications, without its classifier and pooled to a vector.

    Images go in as floats in [0, 1]; the network's own preprocessing is part of what is lifted. It is built for one
    size, since how Keras pads depends on it: for NASNet it must be known, for others odd sizes would be padded on the
    wrong side.

    Args:
        name: Its name there, such as "EfficientNetV2B0".
        weights: "imagenet", downloaded once by Keras; the path of a file of weights without the classifier, as Keras
            downloads (`…_notop.h5`) or as `save_weights` writes them (`….weights.h5`); or None for fresh ones.
        image_size: Height and width in pixels. None takes the size that it was trained on.

    Raises:
        UserError: When there is no such network, it takes no images of that size, or its weights cannot be had.
    """
    build, preprocess = _find(name)
    # Policies, names and a strategy's scope belong to a thread: a fresh one has none of the caller's.
    entry = find(f"keras:{name}")
    size = image_size or (entry.size if entry and entry.size else 224)  # what most were trained on
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(_lift, name, build, preprocess, weights, size).result()


def keras_model_names() -> list[str]:
    """The networks that there are."""
    return sorted(
        name
        for name, value in vars(keras.applications).items()
        if inspect.isfunction(value) and "include_top" in inspect.signature(value).parameters
    )


def _find(name: str) -> tuple[Callable[..., keras.Model], Callable[[Any], Any]]:
    """The function that builds a network, and the one that prepares pixels in [0, 255] for it."""
    names = keras_model_names()
    if name not in names:
        close = most_similar(f"keras:{name}")
        advice = f"Did you mean '{close}'?" if close else "`tlkit backbones` lists them."
        raise UserError(f"load_backbone: keras.applications has no network '{name}'. {advice}")
    build = getattr(keras.applications, name)
    module = getattr(keras.applications, build.__module__.rpartition(".")[2])  # "mobilenet_v3" also has the Small one
    return build, module.preprocess_input


def _lift(
    name: str,
    build: Callable[..., keras.Model],
    preprocess: Callable[[Any], Any],
    weights: str | pathlib.Path | None,
    size: int,
) -> Lifted:
    model = _build(name, build, weights, size)
    trains = {id(variable) for variable in model.trainable_variables}
    interface = Interface(
        call=lambda images, training: model(preprocess(images * 255.0), training=training),
        specs=(tf.TensorSpec((None, size, size, 3), tf.float32),),
        has_training_graph=True,
        losses=(),
        weights=tuple(Weight(v.value, v.path, id(v) in trains) for v in model.variables),
        form="model(inputs, training)",
    )
    return lift(interface)


def _build(name: str, build: Callable[..., keras.Model], weights: str | pathlib.Path | None, size: int) -> keras.Model:
    options = {"include_top": False, "pooling": "avg", "input_shape": (size, size, 3)}
    if weights == "imagenet":
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # the MobileNets' note that weights of 224 pixels serve for any size
                return build(weights="imagenet", **options)
        except Exception as error:  # `get_file` raises a bare Exception
            fault = error  # the size's or the network's: what follows tells
    try:
        model = build(weights=None, **options)
    except ValueError as error:
        raise UserError(
            f"load_backbone: 'keras:{name}' cannot be built for images of {size} x {size} pixels: {_first_line(error)} "
            f"Choose another `image_size`."
        ) from error
    if weights == "imagenet":
        entry = find(f"keras:{name}")
        file = keras_models_folder() / (entry.weights_file if entry and entry.weights_file else "…_notop.h5")
        raise UserError(
            f"load_backbone: the weights of 'keras:{name}' cannot be fetched: {_first_line(fault)} Expected a "
            f"connection, or the file '{file}'. Without a network copy it there from another machine, give a path "
            f"as `weights`, or take 'tlkit:mini-image'."
        ) from fault
    if weights is not None:
        _load_weights(model, name, weights)
    return model


def _load_weights(model: keras.Model, name: str, weights: str | pathlib.Path) -> None:
    try:
        model.load_weights(weights)
    except Exception as error:  # h5py and Keras raise several types on files that do not fit
        raise UserError(
            f"load_backbone: the weights in '{weights}' do not fit 'keras:{name}': {_first_line(error)} Expected those "
            f"of the same network without its classifier, from a file '…_notop.h5' or '….weights.h5'."
        ) from error


def _first_line(error: Exception) -> str:
    line = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip()
    return line if line.endswith((".", "!", "?")) else f"{line}."
