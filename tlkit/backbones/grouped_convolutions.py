"""Grouped convolutions, which TensorFlow's own kernels for processors do not wholly know."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

_NOT_DEPTHWISE = ("use_cudnn_on_gpu",)  # attributes of Conv2D that DepthwiseConv2dNative has not


def replace_grouped_convolutions(graph_def: tf.compat.v1.GraphDef, graph: tf.Graph) -> bool:
    """Write grouped convolutions as what every processor computes; returns whether there were any.

    Without oneDNN, which TensorFlow 2.21 uses by itself only on processors with AVX-512, its kernels have no gradient
    for groups, and its graph optimizer fuses such a convolution with its `BiasAdd` into one that fails ("Fused conv
    implementation does not support grouped convolutions for now"). Keras compiles those layers with XLA there; a lifted
    graph does not. One group for each channel is a depthwise convolution, which has kernels of its own. For others the
    bias is added by an ordinary addition; they can be run, and not be trained, on such a processor.

    Args:
        graph_def: The graph, which is changed.
        graph: The same, imported, with its shapes.
    """
    nodes = {node.name: node for node in graph_def.node}
    found = False
    for name, node in nodes.items():
        operation = graph.get_operation_by_name(name)
        if node.op == "Conv2D" and _is_grouped(operation):
            found = True
            if _is_depthwise(operation):
                _become_depthwise(graph_def, node, operation)
        elif node.op == "BiasAdd" and _is_nhwc(node):
            source = operation.inputs[0].op
            while source.type == "Identity":  # what is left of a call that was inlined
                source = source.inputs[0].op
            if source.type == "Conv2D" and _is_grouped(source) and not _is_depthwise(source):
                node.op = "AddV2"
                node.attr.pop("data_format", None)
    return found


def _is_grouped(convolution: tf.Operation) -> bool:
    images, kernel = convolution.inputs[0].shape, convolution.inputs[1].shape
    known = images.rank == 4 and kernel.is_fully_defined() and _is_nhwc(convolution.node_def)
    return known and images[-1] is not None and images[-1] != kernel[2]


def _is_depthwise(convolution: tf.Operation) -> bool:
    _, down, right, _ = convolution.get_attr("strides")
    return convolution.inputs[1].shape[2] == 1 and down == right  # no other strides are known to its kernels


def _is_nhwc(node: Any) -> bool:
    # To look up what a map of attributes lacks would put it in.
    return "data_format" not in node.attr or node.attr["data_format"].s == b"NHWC"


def _become_depthwise(graph_def: tf.compat.v1.GraphDef, node: Any, convolution: tf.Operation) -> None:
    """A kernel `(height, width, 1, channels * multiplier)` becomes one `(height, width, channels, multiplier)`."""
    channels = convolution.inputs[0].shape[-1]
    height, width, _, outputs = convolution.inputs[1].shape
    shape = graph_def.node.add(name=f"{node.name}/depthwise_shape", op="Const")
    shape.attr["dtype"].type = tf.int32.as_datatype_enum
    values = [height, width, channels, outputs // channels]
    shape.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(values, tf.int32))
    kernel = graph_def.node.add(name=f"{node.name}/depthwise_kernel", op="Reshape", input=[node.input[1], shape.name])
    kernel.attr["T"].CopyFrom(node.attr["T"])
    kernel.attr["Tshape"].type = tf.int32.as_datatype_enum
    node.op, node.input[1] = "DepthwiseConv2dNative", kernel.name
    for name in _NOT_DEPTHWISE:
        node.attr.pop(name, None)
