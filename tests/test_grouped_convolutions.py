"""Grouped convolutions in a lifted graph, against a convolution for each group."""

import numpy as np
import pytest
import tensorflow as tf

from tlkit.backbones.grouped_convolutions import replace_grouped_convolutions


@pytest.mark.parametrize(
    ("inputs", "kernel", "becomes"),
    [
        (4, (3, 3, 1, 8), "DepthwiseConv2dNative"),  # a group for each channel, two outputs each
        (4, (3, 3, 2, 6), "Conv2D"),  # two groups, three outputs each
    ],
)
def test_it_is_a_convolution_for_each_group(inputs, kernel, becomes):
    random = np.random.default_rng(0)
    images, weights = random.normal(size=(2, 9, 8, inputs)), random.normal(size=kernel)
    images, weights, bias = (x.astype("float32") for x in (images, weights, random.normal(size=kernel[-1])))

    @tf.function
    def convolve(x):
        return tf.nn.bias_add(tf.identity(tf.nn.conv2d(x, weights, strides=2, padding="SAME")), bias)

    traced = convolve.get_concrete_function(tf.TensorSpec(images.shape))
    graph_def = traced.graph.as_graph_def()
    assert replace_grouped_convolutions(graph_def, traced.graph)
    operations = [node.op for node in graph_def.node]
    assert becomes in operations and ("AddV2" in operations) == (becomes == "Conv2D")
    wrapped = tf.compat.v1.wrap_function(lambda: tf.graph_util.import_graph_def(graph_def, name=""), [])
    found = wrapped.prune(traced.inputs[0].name, traced.outputs[0].name)(tf.constant(images))

    groups = inputs // kernel[2]
    each = zip(np.split(images, groups, axis=-1), np.split(weights, groups, axis=-1), strict=True)
    parts = [tf.nn.conv2d(x, w, 2, "SAME") for x, w in each]
    np.testing.assert_allclose(found, np.concatenate(parts, axis=-1) + bias, rtol=1e-4, atol=1e-4)


def test_others_are_left_alone():
    traced = tf.function(lambda x: tf.nn.bias_add(tf.nn.conv2d(x, tf.ones((1, 1, 4, 2)), 1, "SAME"), tf.ones(2)))
    graph = traced.get_concrete_function(tf.TensorSpec((1, 4, 4, 4))).graph
    before = graph.as_graph_def()
    after = graph.as_graph_def()
    assert not replace_grouped_convolutions(after, graph)
    assert after == before
