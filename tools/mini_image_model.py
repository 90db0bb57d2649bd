"""The network of `tlkit:mini-image`: a MobileNetV2 with fewer hidden channels, cut from a teacher of that kind.

MobileNetV2 is a chain of inverted residual blocks: widen by a 1 x 1 convolution, filter each hidden channel by itself,
narrow again (Sandler et al. 2018, https://arxiv.org/abs/1801.04381, section 3). Hidden channels can be dropped block by
block without touching the others. Which ones is chosen here by how well the rest can stand in for the block's answer
(Luo et al. 2017, "ThiNet", https://arxiv.org/abs/1707.06342, section 3.2), one after the other by orthogonal least
squares (Chen, Cowan and Grant 1991, IEEE Transactions on Neural Networks 2(2), 302-309).
"""

from __future__ import annotations

import pathlib

import keras
import numpy as np
import tensorflow as tf

# Filters and stride of blocks 1 to 17 (Sandler et al. 2018, table 2); block 1 does not widen.
BLOCKS = (
    (16, 1), (24, 2), (24, 1), (32, 2), (32, 1), (32, 1), (64, 2), (64, 1), (64, 1), (64, 1),
    (96, 1), (96, 1), (96, 1), (160, 2), (160, 1), (160, 1), (320, 1),
)  # fmt: skip
EPSILON = 1e-3  # of the teacher's BatchNorm


def conv_bn(x, filters: int | None, kernel: int, stride: int, name: str, relu: bool = True):
    """A convolution (`filters` None: depthwise), BatchNorm, and relu6."""
    if filters is None:
        convolution = keras.layers.DepthwiseConv2D(kernel, stride, "same", use_bias=False, name=name)
    else:
        convolution = keras.layers.Conv2D(filters, kernel, stride, "same", use_bias=False, name=name)
    x = convolution(x)
    # 0.98: a run of some thousand steps forgets the statistics that the cut network began with.
    x = keras.layers.BatchNormalization(momentum=0.98, epsilon=EPSILON, name=f"{name}_bn")(x)
    return keras.layers.ReLU(6.0, name=f"{name}_relu")(x) if relu else x


def build_network(hidden: list[int], top: int) -> keras.Model:
    """Pixels in [0, 1] of any size to the last map, `(N, H/32, W/32, top)`.

    Args:
        hidden: Hidden channels of the blocks from the second on; as many blocks are built.
        top: Channels of the last map.
    """
    inputs = keras.Input((None, None, 3), name="image")
    x = keras.layers.Rescaling(2.0, offset=-1.0, name="rescale")(inputs)
    x = conv_bn(x, 32, 3, 2, "stem")
    for index, ((filters, stride), width) in enumerate(zip(BLOCKS, [32, *hidden], strict=False), 1):
        before = x
        if index > 1:
            x = conv_bn(x, width, 1, 1, f"block{index}_expand")
        x = conv_bn(x, None, 3, stride, f"block{index}_depthwise")
        x = conv_bn(x, filters, 1, 1, f"block{index}_project", relu=False)
        if stride == 1 and before.shape[-1] == filters:
            x = keras.layers.Add(name=f"block{index}_add")([before, x])
    return keras.Model(inputs, conv_bn(x, top, 1, 1, "head"), name="mini_image")


def teacher_network(weights: dict[str, np.ndarray]) -> keras.Model:
    """The teacher as the same kind of model, its numbers taken by name from a lifted SavedModel.

    Raises:
        ValueError: It is no MobileNetV2 1.0 with these names.
    """
    network = build_network([6 * filters for filters, _ in BLOCKS[:-1]], 1280)
    for variable in network.variables:
        layer, _, kind = variable.path.rpartition("/")
        name = f"{layer.removesuffix('_bn')}.bn.{kind}" if layer.endswith("_bn") else f"{layer}.kernel"
        if name not in weights or weights[name].shape != tuple(variable.shape):
            raise ValueError(
                f"make_mini_image: the teacher has no weight '{name}' of shape {tuple(variable.shape)}. Expected a "
                f"MobileNetV2 1.0; its names begin {sorted(weights)[:3]}."
            )
        variable.assign(weights[name])
    return network


def choose_channels(hidden: np.ndarray, answers: np.ndarray, keep: int) -> tuple[np.ndarray, np.ndarray]:
    """The channels of `hidden` that stand in best for all, and the weights that make `answers` of them.

    Args:
        hidden: `(rows, channels)`, centred.
        answers: `(rows, outputs)`, centred: what the block made of all channels.
        keep: How many channels to keep.

    Returns:
        Their sorted indices, `(keep,)`, and the least-squares weights, `(keep, outputs)`.
    """
    gram, cross = hidden.T @ hidden, hidden.T @ answers
    left, against = gram.copy(), cross.copy()
    tiny = 1e-6 * np.diag(gram).max()
    chosen: list[int] = []
    for _ in range(keep):
        variance = np.diag(left)
        explained = np.where(variance > tiny, np.square(against).sum(1) / np.maximum(variance, tiny), 0.0)
        explained[chosen] = -1.0
        best = int(explained.argmax())
        chosen.append(best)
        if variance[best] > tiny:  # take out of the others what the chosen one says
            share = left[best] / variance[best]
            against = against - np.outer(share, against[best])
            left = left - np.outer(share, left[best])
    rows = np.sort(chosen)
    ridge = tiny * np.eye(keep)
    return rows, np.linalg.solve(gram[np.ix_(rows, rows)] + ridge, cross[rows])


def cut(
    teacher: keras.Model, hidden: list[int], top: int, images: np.ndarray, seed: int
) -> tuple[keras.Model, list[float]]:
    """The teacher's first blocks with fewer hidden channels; the top is new.

    Args:
        images: What the channels are chosen on, `(N, H, W, 3)`, pixels in [0, 1].

    Returns:
        The student, and for each block the share of its answer's variance that the kept channels can make.
    """
    student = build_network(hidden, top)
    for layer in student.layers:  # all that keeps its shape
        theirs = teacher.get_layer(layer.name).get_weights() if layer.weights else []
        if [w.shape for w in theirs] == [tuple(w.shape) for w in layer.weights] and not layer.name.startswith("head"):
            layer.set_weights(theirs)
    rng, shares = np.random.default_rng(seed), []
    for index, keep in enumerate(hidden, 2):
        expand, depthwise, project = (f"block{index}_{part}" for part in ("expand", "depthwise", "project"))
        probe = keras.Model(
            teacher.input, [teacher.get_layer(f"{depthwise}_relu").output, teacher.get_layer(project).output]
        )
        h, y = (maps.reshape(-1, maps.shape[-1]) for maps in probe.predict(images, batch_size=32, verbose=0))
        rows = rng.permutation(len(h))[:20_000]  # twenty for each of at most 960 channels
        h, y = h[rows].astype(np.float64), y[rows].astype(np.float64)
        chosen, weights = choose_channels(h - h.mean(0), y - y.mean(0), keep)
        offset = y.mean(0) - h.mean(0)[chosen] @ weights
        shares.append(1 - np.square(y - h[:, chosen] @ weights - offset).sum() / np.square(y - y.mean(0)).sum())
        print(f"block {index}: {keep} of {h.shape[1]} channels keep {shares[-1]:.1%} of the variance", flush=True)
        for name in (expand, f"{expand}_bn", f"{depthwise}_bn"):  # output channels come last
            student.get_layer(name).set_weights([w[..., chosen] for w in teacher.get_layer(name).get_weights()])
        student.get_layer(depthwise).set_weights([teacher.get_layer(depthwise).get_weights()[0][:, :, chosen]])
        student.get_layer(project).set_weights([weights[None, None]])
        gamma, beta, mean, variance = teacher.get_layer(f"{project}_bn").get_weights()
        student.get_layer(f"{project}_bn").set_weights([gamma, beta, mean - offset, variance])
    return student, shares


def write_saved_model(student: keras.Model, view_size: int, folder: pathlib.Path) -> None:
    """Write the student in TF-Hub's Reusable SavedModel form: `obj(images, training=False) -> (N, top)`.

    The forward pass is written out in TensorFlow's own operations: with one operation for BatchNorm and short names the
    file holds half the bytes that Keras's layers would take.
    """
    variables = {v.path: tf.Variable(v.numpy(), trainable=v.trainable, name=v.path) for v in student.variables}

    def normalise(x, name, training):
        gamma, beta, mean, variance = (
            variables[f"{name}_bn/{kind}"] for kind in ("gamma", "beta", "moving_mean", "moving_variance")
        )
        if not training:
            return tf.compat.v1.nn.fused_batch_norm(x, gamma, beta, mean, variance, EPSILON, is_training=False)[0]
        x, batch_mean, batch_variance = tf.compat.v1.nn.fused_batch_norm(x, gamma, beta, epsilon=EPSILON)
        for moving, batch in ((mean, batch_mean), (variance, batch_variance)):
            moving.assign_sub(0.01 * (moving - batch))  # 0.99, Keras's default momentum
        return x

    def apply(x, name, stride, training, relu=True):
        kernel = variables[f"{name}/kernel"]
        convolve = tf.nn.depthwise_conv2d if name.endswith("depthwise") else tf.nn.conv2d
        x = normalise(convolve(x, kernel, [1, stride, stride, 1], "SAME"), name, training)
        return tf.nn.relu6(x) if relu else x

    def forward(images, training):
        x = apply(images * 2.0 - 1.0, "stem", 2, training)
        for index, (_, stride) in enumerate(BLOCKS, 1):
            if f"block{index}_project/kernel" not in variables:
                break
            before = x
            if index > 1:
                x = apply(x, f"block{index}_expand", 1, training)
            x = apply(x, f"block{index}_depthwise", stride, training)
            x = apply(x, f"block{index}_project", 1, training, relu=False)
            x = before + x if x.shape[-1] == before.shape[-1] and stride == 1 else x
        return tf.reduce_mean(apply(x, "head", 1, training), (1, 2))

    call = tf.function(lambda images, training=False: forward(images, training), autograph=False)
    any_size = tf.TensorSpec((None, None, None, 3), tf.float32, "images")
    # The first tells a loader the model's own size.
    call.get_concrete_function(tf.TensorSpec((None, view_size, view_size, 3), tf.float32, "images"), training=False)
    call.get_concrete_function(any_size, training=True)
    module = tf.train.Checkpoint(
        variables=list(variables.values()),
        trainable_variables=[v for v in variables.values() if v.trainable],
        regularization_losses=[],
    )
    module.__call__ = call
    call.get_concrete_function(any_size, training=False)
    tf.saved_model.save(module, str(folder))
