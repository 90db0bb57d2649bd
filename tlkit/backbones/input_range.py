"""The range of pixels that a lifted image model expects, read from the first operations of its graph."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from tlkit.backbones.graph import ProgramGraph

_PASSES = {"Identity", "Cast", "CheckNumerics", "StopGradient", "EnsureShape", "PreventGradient"}
_ARITHMETIC = {"Mul", "RealDiv", "Sub", "AddV2", "Add"}
# Networks are fed numbers of about unit size. Preprocessing takes pixels to a width of 1 (x / 255), 2 (x / 127.5 - 1)
# or about 4.4 (1 / 0.229, ImageNet's smallest deviation), or not at all and then shifts 0…255 by the mean color.
_WIDEST = 10.0


def find_input_range(graph: ProgramGraph) -> tuple[float, float] | None:
    """What black and white should be, `(0, 1)` or `(0, 255)`; None when the graph does not tell.

    A model that scales or shifts its pixels itself shows by how much which of the two it was made for: a scale a and
    an offset b take pixels 0…255 to b … 255 a + b.
    """
    scale, offset = _preprocessing(graph)
    if scale == 1.0 and offset == 0.0:
        return None
    if scale == 1.0:
        return (0.0, 255.0) if abs(offset) > 1.0 else (0.0, 1.0)
    width = 255.0 * abs(scale)
    if width <= _WIDEST:
        return 0.0, 255.0
    return (0.0, 1.0) if abs(scale) <= _WIDEST else None


def _preprocessing(graph: ProgramGraph) -> tuple[float, float]:
    """Scale and offset of the arithmetic with constants right behind the input, averaged over the channels."""
    tensor, scale, offset = graph.input.outputs[0], 1.0, 0.0
    while True:
        users = [user for user in tensor.consumers() if user in graph.position]
        if len(users) != 1 or not (users[0].type in _PASSES or users[0].type in _ARITHMETIC):
            return scale, offset
        [user] = users
        if user.type in _ARITHMETIC:
            left, right = user.inputs
            constant = _constant_value(graph, right if left is tensor else left)
            if constant is None or (right is tensor and user.type in ("Sub", "RealDiv")):
                return scale, offset
            if user.type == "Mul":
                scale, offset = scale * constant, offset * constant
            elif user.type == "RealDiv":
                scale, offset = scale / constant, offset / constant
            else:
                offset += -constant if user.type == "Sub" else constant
        tensor = user.outputs[0]


def _constant_value(graph: ProgramGraph, tensor: tf.Tensor) -> float | None:
    """The mean of a tensor that depends on neither the input nor a weight."""
    feeds = {graph.program.input, *(parameter.placeholder for parameter in graph.program.parameters)}
    if any(operation.name in feeds for operation in graph.upstream([tensor.op])):
        return None
    with tf.compat.v1.Session(graph=graph.graph) as session:
        value = float(np.mean(session.run(tensor)))
    return value or None
