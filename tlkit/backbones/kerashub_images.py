"""`kerashub:PRESET` of an image model: from pixels in [0, 1] to the network's features and one vector."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from tlkit.backbones.interface import OUTPUT, SPATIAL, Interface, Weight
from tlkit.backbones.lift import Lifted, lift
from tlkit.errors import UserError

_USUAL_SIZE = 224  # pixels, where neither the preset nor its network names a size
_CLASS_TOKENS = ("class_token", "cls_token")  # of which KerasHub's Transformers of images name the weight


def takes_images(backbone: Any) -> bool:
    """Whether a model of KerasHub has one input, images of three colours."""
    shape = getattr(backbone.input, "shape", None)
    return shape is not None and len(shape) == 4 and shape[-1] == 3


def lift_images(name: str, backbone: Any, load: Callable[..., Any], converter: Any, image_size: int | None) -> Lifted:
    """Open an image model of KerasHub, with what its preset does to pixels, pooled to a vector.

    A map is pooled by its mean, a sequence of patches by its class token, or where it has none by the mean, as
    KerasHub's own classifiers do.

    Args:
        name: The handle, for errors.
        backbone: KerasHub's, at the size that it was saved with.
        load: Loads it again; takes `image_shape=`.
        converter: The preset's `ImageConverter`, of which scale and offset are taken.
        image_size: Height and width in pixels. None takes the preset's.

    Raises:
        UserError: When the model takes no images of that size, or returns neither a map nor a sequence.
    """
    size = image_size or _size_of(backbone, converter)
    if backbone.input.shape[1] not in (None, size):
        backbone = _at_size(name, backbone, load, size)
    scale, offset = (np.asarray(value, np.float32) for value in (converter.scale or 1.0, converter.offset or 0.0))
    output = backbone.output
    if getattr(output, "shape", None) is None or len(output.shape) not in (3, 4):
        raise UserError(
            f"load_backbone: '{name}' returns neither a map nor a sequence of patches. Expected a backbone for "
            f"classification, such as ResNet, EfficientNet or ViT."
        )
    is_map = len(output.shape) == 4
    has_token = any(part in variable.path for variable in backbone.variables for part in _CLASS_TOKENS)

    def call(images, training):
        features = backbone(images * 255.0 * scale + offset, training=training)
        if is_map:
            return tf.reduce_mean(features, (1, 2))
        patches = _as_map(features, int(has_token))
        return {OUTPUT: features[:, 0] if has_token else tf.reduce_mean(patches, (1, 2)), SPATIAL: patches}

    trains = {id(variable) for variable in backbone.trainable_variables}
    return lift(
        Interface(
            call=call,
            specs=(tf.TensorSpec((None, size, size, 3), tf.float32),),
            has_training_graph=True,
            losses=(),
            weights=tuple(Weight(v.value, v.path, id(v) in trains) for v in backbone.variables),
            form="model(images, training)",
        )
    )


def _size_of(backbone: Any, converter: Any) -> int:
    given = backbone.input.shape[1:3], converter.image_size or (None, None)
    return next((height for height, width in given if height and height == width), _USUAL_SIZE)


def _at_size(name: str, backbone: Any, load: Callable[..., Any], size: int) -> Any:
    """The same network for images of another size; one that has a weight for each patch is refused."""
    try:
        return load(image_shape=(size, size, 3))
    except UserError as error:
        height, width = backbone.input.shape[1:3]
        raise UserError(
            f"load_backbone: '{name}' does not take images of {size} x {size} pixels: it has weights for each place in "
            f"the image. Expected {height} x {width}. Set `image_size` to it, or leave it out."
        ) from error


def _as_map(tokens: tf.Tensor, fewest: int) -> tf.Tensor:
    """The patches of a square image as a map; class tokens and registers come before them.

    Args:
        tokens: (batch, tokens, features).
        fewest: How many come before the patches at least.
    """
    side = math.isqrt(tokens.shape[1] - fewest)
    return tf.reshape(tokens[:, tokens.shape[1] - side**2 :], (-1, side, side, tokens.shape[2]))
