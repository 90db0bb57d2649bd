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


def lift_keras_model(name: str, weights: str | pathlib.Path | None = "imagenet") -> Lifted:
    """Open one of the networks of keras.applications, without its classifier and pooled to a vector.

    Images go in as floats in [0, 1]; the network's own preprocessing is part of what is lifted.

    Args:
        name: Its name there, such as "EfficientNetV2B0".
        weights: "imagenet", downloaded once by Keras; the path of a file of weights without the classifier, as Keras
            downloads (`…_notop.h5`) or as `save_weights` writes them (`….weights.h5`); or None for fresh ones.

    Raises:
        UserError: When there is no such network, or its weights cannot be had.
    """
    build, preprocess = _find(name)
    # Policies, names and a strategy's scope belong to a thread: a fresh one has none of the caller's.
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(_lift, name, build, preprocess, weights).result()


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
) -> Lifted:
    model = _build(name, build, weights)
    entry = find(f"keras:{name}")
    size = entry.size if entry else None
    trains = {id(variable) for variable in model.trainable_variables}
    interface = Interface(
        call=lambda images, training: model(preprocess(images * 255.0), training=training),
        # What it takes, any size, and what it was trained on.
        specs=tuple(tf.TensorSpec((None, side, side, 3), tf.float32) for side in dict.fromkeys([None, size])),
        has_training_graph=True,
        losses=(),
        weights=tuple(Weight(v.value, v.path, id(v) in trains) for v in model.variables),
        form="model(inputs, training)",
    )
    return lift(interface)


def _build(name: str, build: Callable[..., keras.Model], weights: str | pathlib.Path | None) -> keras.Model:
    options = {"include_top": False, "pooling": "avg", "input_shape": (None, None, 3)}
    if weights is None:
        return build(weights=None, **options)
    if weights == "imagenet":
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # the MobileNets' note that weights of 224 pixels serve for any size
                return build(weights="imagenet", **options)
        except Exception as error:  # `get_file` raises a bare Exception
            entry = find(f"keras:{name}")
            file = keras_models_folder() / (entry.weights_file if entry and entry.weights_file else "…_notop.h5")
            raise UserError(
                f"load_backbone: the weights of 'keras:{name}' cannot be fetched: {_first_line(error)} Expected a "
                f"connection, or the file '{file}'. Without a network copy it there from another machine, give a path "
                f"as `weights`, or take 'tlkit:mini-image'."
            ) from error
    model = build(weights=None, **options)
    try:
        model.load_weights(weights)
    except Exception as error:  # h5py and Keras raise several types on files that do not fit
        raise UserError(
            f"load_backbone: the weights in '{weights}' do not fit 'keras:{name}': {_first_line(error)} Expected those "
            f"of the same network without its classifier, from a file '…_notop.h5' or '….weights.h5'."
        ) from error
    return model


def _first_line(error: Exception) -> str:
    line = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip()
    return line if line.endswith((".", "!", "?")) else f"{line}."
