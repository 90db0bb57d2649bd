"""Fresh weights for a lifted model: the baseline that a transfer gain is measured against."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from tlkit.backbones.graph import ProgramGraph
from tlkit.backbones.program import Program

_ONES = ("gamma", "scale", "variance")
_DEVIATION = 0.02  # of kernels and tables of texts: `initializer_range` of https://github.com/google-research/bert
_FUSED = {"FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3"}


def random_values(program: Program, seed: int = 0) -> tuple[np.ndarray, ...]:
    """New values for every parameter, as a training from scratch would start.

    Kernels: normal with variance 2 / fan_in (He et al. 2015, https://arxiv.org/abs/1502.01852, equation 10);
    scales and variances 1; everything else 0. Of models of texts, kernels and tables: normal with deviation 0.02, as
    BERT starts (Devlin et al. 2019, https://arxiv.org/abs/1810.04805); a table's rows are looked up, not summed over.
    """
    takes_texts = program.input_dtype == tf.string
    rng = np.random.default_rng(seed)
    values = []
    for parameter in program.parameters:
        shape = parameter.shape
        if len(shape) > 1 and takes_texts:
            value = rng.normal(0.0, _DEVIATION, shape)
        elif len(shape) > 1:
            # A depthwise kernel (height, width, channels, multiplier) sums over its window alone.
            depthwise = len(shape) == 4 and _feeds_depthwise(program, parameter.placeholder)
            fan_in = math.prod(shape[:2]) if depthwise else math.prod(shape[:-1])
            value = rng.normal(0.0, math.sqrt(2.0 / fan_in), shape)
        else:
            value = np.full(shape, 1.0 if any(word in parameter.name.lower() for word in _ONES) else 0.0)
        values.append(value.astype(parameter.dtype))
    return tuple(values)


def _feeds_depthwise(program: Program, placeholder: str) -> bool:
    names = {placeholder}
    for node in program.graph_def.node:  # pruned graphs keep their order, reads before uses
        if node.op == "Identity" and node.input[0] in names:
            names.add(node.name)
    return any("Depthwise" in node.op and node.input[1] in names for node in program.graph_def.node)


def settle_batch_norm(
    graph: ProgramGraph, values: Sequence[np.ndarray], input_shape: Sequence[int | None], seed: int = 0
) -> tuple[np.ndarray, ...]:
    """Set the moving statistics of every BatchNorm to those of noise pictures.

    A network with fresh weights and unit statistics does not keep its signal's scale and would be an unfair
    baseline; one forward pass in the manner of training gives it what its first steps would.
    """
    norms = _batch_norms(graph)
    if not norms:
        return tuple(values)
    graph_def = graph.program.shaped(input_shape)
    placeholders = [p.placeholder for p in graph.program.parameters]
    fetches = {}  # parameter index -> name of the tensor that computes it from the batch
    for number, (x, mean, variance) in enumerate(norms):
        fetches[mean], fetches[variance] = _add_moments(graph_def, x, f"settle_{number}")
        _rewire(graph_def, {placeholders[mean]: fetches[mean], placeholders[variance]: fetches[variance]})
    program = dataclasses.replace(graph.program, graph_def=graph_def)
    function = program.function(input_shape, list(fetches.values()))
    images = tf.constant(_noise_pictures(32, *input_shape[1:], seed=seed))
    settled = dict(zip(fetches, function(images, *(tf.constant(value) for value in values)), strict=True))
    return tuple(settled[i].numpy() if i in settled else value for i, value in enumerate(values))


def _add_moments(graph_def: tf.compat.v1.GraphDef, x: tf.Tensor, prefix: str) -> tuple[str, str]:
    """Add nodes for the mean and the variance of a tensor over all but its channels; returns their names."""
    axes = graph_def.node.add(name=f"{prefix}/axes", op="Const")
    axes.attr["dtype"].type = tf.int32.as_datatype_enum
    axes.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(list(range(x.shape.rank - 1)), tf.int32))

    def add(name: str, op: str, *inputs: str) -> str:
        node = graph_def.node.add(name=f"{prefix}/{name}", op=op, input=inputs)
        node.attr["T"].type = x.dtype.as_datatype_enum
        if op == "Mean":
            node.attr["Tidx"].type = tf.int32.as_datatype_enum
        return node.name

    mean = add("mean", "Mean", x.name, axes.name)
    difference = add("difference", "SquaredDifference", x.name, mean)
    return f"{mean}:0", f"{add('variance', 'Mean', difference, axes.name)}:0"


def _rewire(graph_def: tf.compat.v1.GraphDef, sources: dict[str, str]) -> None:
    for node in graph_def.node:
        for index, name in enumerate(node.input):
            if name in sources:
                node.input[index] = sources[name]


def _batch_norms(graph: ProgramGraph) -> list[tuple[tf.Tensor, int, int]]:
    """(input, index of the mean, index of the variance) of each BatchNorm, fused or spelled out."""
    norms = []
    index_of = {p.placeholder: i for i, p in enumerate(graph.program.parameters)}

    def parameter(tensor):
        operation = tensor.op
        while operation.type in ("Identity", "Reshape", "ExpandDims"):
            operation = operation.inputs[0].op
        return index_of.get(operation.name)

    for operation in graph.path:
        if operation.type in _FUSED:
            mean, variance = parameter(operation.inputs[3]), parameter(operation.inputs[4])
            if mean is not None and variance is not None:
                norms.append((operation.inputs[0], mean, variance))
        elif operation.type == "Mul":  # x * (gamma / sqrt(variance + epsilon)) + (beta - mean * …)
            x, factor = operation.inputs
            if factor.op in graph.position:
                x, factor = factor, x
            inverse = _find(factor.op, "Rsqrt")
            if factor.op in graph.position or inverse is None:
                continue
            variances = [parameter(t) for t in inverse.inputs[0].op.inputs]
            means = [parameter(t) for use in factor.consumers() if use.type == "Mul" for t in use.inputs]
            variance = next((v for v in variances if v is not None), None)
            mean = next((m for m in means if m is not None), None)
            if variance is not None and mean is not None:
                norms.append((x, mean, variance))
    return norms


def _find(operation: tf.Operation, kind: str) -> tf.Operation | None:
    """The operation itself or one of its inputs' that is of this kind."""
    if operation.type == kind:
        return operation
    return next((tensor.op for tensor in operation.inputs if tensor.op.type == kind), None)


def _noise_pictures(count: int, height: int, width: int, channels: int, *, seed: int) -> np.ndarray:
    """Pictures in [0, 1] whose spectrum falls as one over the frequency, as that of photos does.

    Reference: Field, 1987, "Relations between the statistics of natural images and the response properties of cortical
        cells", https://doi.org/10.1364/JOSAA.4.002379
    """
    rng = np.random.default_rng(seed)
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
    spectrum = np.fft.rfft2(rng.normal(size=(count, channels, height, width)))
    pictures = np.fft.irfft2(spectrum / np.maximum(frequency, 1 / max(height, width)), (height, width))
    pictures = 0.5 + 0.2 * pictures / pictures.std()
    return np.clip(np.moveaxis(pictures, 1, -1), 0, 1).astype(np.float32)
