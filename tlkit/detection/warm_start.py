"""A detector that begins with what another model has learned."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from tlkit.detection.detection_head import DetectionHead
from tlkit.errors import UserError


def warm_start_detector(
    detector: keras.Model,
    class_names: Sequence[str],
    from_detector: keras.Model,
    from_class_names: Sequence[str],
) -> tuple[str, ...]:
    """Copy every weight of another detector, those of the classes by their names: to add a class, or leave one out.

    Classes that the other does not know stay as they are, fresh. The old ones answer as before until training goes on;
    train with objects of all classes, or the old ones are forgotten.

    Args:
        detector: A model of `build_detector`; its weights are written.
        class_names: The names of its classes, in their order.
        from_detector: The other, of the same backbone, width and number of convolutions; `tlkit.load_model` opens its
            file.
        from_class_names: The names of the other's classes, in their order.

    Returns:
        The names of the classes that start fresh.

    Raises:
        UserError: When the names do not fit the number of classes, or a weight of `detector` is not in the other.
            Nothing is written then.

    Example:
        >>> from tlkit.detection import build_detector, warm_start_detector
        >>> backbone = tlkit.load_backbone("tlkit:mini-image", outputs="pyramid")
        >>> old, new = (build_detector(backbone, num_classes, image_size=64) for num_classes in (2, 3))
        >>> warm_start_detector(new, ["cat", "dog", "fox"], old, ["dog", "cat"])
        ('fox',)
    """
    columns = {"detector": _class_columns(detector, class_names, "class_names")}
    columns["from_detector"] = _class_columns(from_detector, from_class_names, "from_class_names")
    source_of = {layer.name: layer for layer in from_detector.layers}
    new_values: list[tuple[Any, np.ndarray]] = []
    for layer in detector.layers:
        source = source_of.get(layer.name)
        old_weights = source.weights if source is not None else []
        if len(layer.weights) != len(old_weights):
            raise _other_model(layer.name, f"{len(layer.weights)} weights", f"{len(old_weights)}")
        for weight, old in zip(layer.weights, old_weights, strict=True):
            value = keras.ops.convert_to_numpy(old)
            if id(weight) in columns["detector"] and id(old) in columns["from_detector"]:
                value = _by_name(keras.ops.convert_to_numpy(weight), value, class_names, from_class_names)
            if tuple(weight.shape) != value.shape:
                raise _other_model(f"{layer.name}/{weight.name}", f"shape {tuple(weight.shape)}", f"{value.shape}")
            new_values.append((weight, value))
    for weight, value in new_values:
        weight.assign(value)
    return tuple(name for name in class_names if name not in from_class_names)


def classifier_to_convolution(dense: keras.layers.Dense, *, name: str = "class_map") -> keras.layers.Conv2D:
    """Turn a dense classifier of pooled features into a 1x1 convolution: a class map of an image instead of one answer.

    On a map that is the same everywhere the convolution gives the dense layer's answer at each place; on the backbone's
    last map it shows roughly where in an image each class is seen, without a box having been drawn. It is no detector
    yet: to find boxes, train `build_detector` on the classifier's backbone, `load_backbone(handle, outputs="pyramid",
    weights="classifier.keras")`. Its weights start a detector's classes, `head.class_logits`, only where the head sees
    the backbone's own features: `num_convolutions=0`, maps and features of the same number of channels.

        map[row, column] = activation(W . features[row, column] + b),  W, b, activation = the dense layer's

    Args:
        dense: A built Dense layer on features `(batch, features)`: the mean of a map over its places.
        name: String. The name of the new layer.

    Returns:
        A built Conv2D layer from maps `(batch, height, width, features)` to `(batch, height, width, classes)`, with
        copies of the weights.

    Raises:
        UserError: When `dense` is no built Dense layer.

    Example:
        >>> from tlkit.detection import classifier_to_convolution
        >>> dense = keras.layers.Dense(2, activation="softmax")
        >>> answer = dense(np.ones((1, 3), "float32"))
        >>> maps = classifier_to_convolution(dense)(np.ones((1, 5, 4, 3), "float32"))
        >>> maps.shape, bool(np.allclose(maps[0, 2, 1], answer[0]))
        (TensorShape([1, 5, 4, 2]), True)

    Reference: Long, Shelhamer and Darrell, 2015, "Fully Convolutional Networks for Semantic Segmentation", CVPR,
        https://arxiv.org/abs/1411.4038, section 3.1. Differs from it in: one layer, of pooled features, without
        upsampling.
    """
    if not isinstance(dense, keras.layers.Dense) or not dense.built:
        raise UserError(
            f"classifier_to_convolution: `dense` is no classifier to convert. Expected a Dense layer that was called "
            f"once. Received: {getattr(dense, 'name', dense)!r}, {type(dense).__name__}. Of a model take the layer, "
            f"`head.layers[-1]`, say."
        )
    convolution = keras.layers.Conv2D(
        dense.units, 1, activation=dense.activation, use_bias=dense.use_bias, dtype=dense.dtype_policy, name=name
    )
    kernel, *bias = dense.get_weights()
    convolution.build((None, None, None, kernel.shape[0]))
    convolution.set_weights([kernel[np.newaxis, np.newaxis], *bias])
    return convolution


def _class_columns(detector: keras.Model, class_names: Sequence[str], argument: str) -> set[int]:
    """The `id` of the weights whose last axis is that of the classes."""
    heads = [layer for layer in getattr(detector, "layers", []) if isinstance(layer, DetectionHead)]
    if len(heads) != 1:
        raise UserError(
            f"warm_start_detector: the model '{getattr(detector, 'name', detector)}' is no detector. Expected one of "
            f"build_detector, with one DetectionHead."
        )
    names = list(class_names)
    if len(names) != heads[0].num_classes or len(set(names)) != len(names):
        raise UserError(
            f"warm_start_detector: `{argument}` are not the names of the detector's classes. Expected "
            f"{heads[0].num_classes} different names, in the order of the classes. Received: {argument}={names}."
        )
    return {id(weight) for weight in heads[0].class_logits.weights}


def _by_name(fresh: np.ndarray, old: np.ndarray, names: Sequence[str], old_names: Sequence[str]) -> np.ndarray:
    if fresh.shape[:-1] != old.shape[:-1]:
        return old  # another width: refused by its shape
    position_of = {name: position for position, name in enumerate(old_names)}
    columns = [old[..., position_of[n]] if n in position_of else fresh[..., i] for i, n in enumerate(names)]
    return np.stack(columns, axis=-1)


def _other_model(name: str, expected: str, received: str) -> UserError:
    return UserError(
        f"warm_start_detector: the two detectors differ in '{name}'. Expected {expected}, as in `detector`. Received: "
        f"{received}. Build `detector` on the same backbone, with `width`, `num_convolutions` and `strides` of the "
        f"other."
    )
