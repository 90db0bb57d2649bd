"""Small SavedModels in TF-Hub's form, each with one thing that real ones have."""

import tensorflow as tf


class Model(tf.train.Checkpoint):
    """What TF-Hub's Reusable SavedModel interface asks for: a call, variables, losses."""

    def __init__(self, call, variables, losses=(), **tracked):
        super().__init__(
            variables=list(variables),
            trainable_variables=[v for v in variables if v.trainable],
            regularization_losses=list(losses),
            **tracked,
        )
        self.__call__ = call


def variable(name, *shape, value=None, trainable=True, seed=0):
    initial = value if value is not None else tf.random.stateless_normal(shape, [seed, len(name)], stddev=0.5)
    return tf.Variable(initial, name=name, trainable=trainable)


def save_image_model(folder, sizes=(32, None), losses=True):
    """stem (16 px), down1 (8 px), residual, down2 (4 px), down3 (2 px), top (1x1), pooled to 12 features."""
    variables = []

    def conv(name, size, inputs, outputs):
        kernel = variable(f"{name}/kernel", size, size, inputs, outputs, seed=len(variables))
        norm = [
            variable(f"{name}/gamma", value=tf.linspace(0.5, 1.5, outputs)),
            variable(f"{name}/beta", value=tf.linspace(-0.2, 0.3, outputs)),
            variable(f"{name}/moving_mean", value=tf.linspace(-0.1, 0.1, outputs), trainable=False),
            variable(f"{name}/moving_variance", value=tf.linspace(0.5, 2.0, outputs), trainable=False),
        ]
        variables.extend([kernel, *norm])
        return kernel, norm

    layers = {
        "stem": conv("stem", 3, 3, 4),
        "down1": conv("down1", 3, 4, 6),
        "residual": conv("residual", 3, 6, 6),
        "down2": conv("down2", 3, 6, 8),
        "down3": conv("down3", 3, 8, 10),
        "top": conv("top", 1, 10, 12),
    }

    def apply(x, name, stride, training):
        kernel, (gamma, beta, mean, variance) = layers[name]
        x = tf.nn.conv2d(x, kernel, stride, "SAME")
        if training:
            batch_mean, batch_variance = tf.nn.moments(x, (0, 1, 2))
            mean.assign(0.9 * mean + 0.1 * batch_mean)
            variance.assign(0.9 * variance + 0.1 * batch_variance)
            x = tf.nn.batch_normalization(x, batch_mean, batch_variance, beta, gamma, 1e-3)
        elif name == "top":  # the fused form, as older exports have it
            x, _, _ = tf.compat.v1.nn.fused_batch_norm(x, gamma, beta, mean, variance, 1e-3, is_training=False)
        else:
            x = tf.nn.batch_normalization(x, mean, variance, beta, gamma, 1e-3)
        return tf.nn.relu(x)

    @tf.function
    def call(images, training=False):
        x = apply(images * 2.0 - 1.0, "stem", 2, training)
        x = apply(x, "down1", 2, training)
        x = x + apply(x, "residual", 1, training)
        x = apply(x, "down2", 2, training)
        x = apply(x, "down3", 2, training)
        return tf.reduce_mean(apply(x, "top", 1, training), (1, 2))

    for size in sizes:
        for training in (False, True):
            call.get_concrete_function(tf.TensorSpec((None, size, size, 3), tf.float32), training=training)
    kernels = [kernel for kernel, _ in layers.values()]

    @tf.function(input_signature=[])
    def penalty():
        return 1e-2 * tf.add_n([tf.nn.l2_loss(kernel) for kernel in kernels])

    tf.saved_model.save(Model(call, variables, [penalty] if losses else []), str(folder))


def _save(folder, function, spec, variables, **tracked):
    call = tf.function(function)
    call.get_concrete_function(spec)
    tf.saved_model.save(Model(call, variables, **tracked), str(folder))


_FEATURES = tf.TensorSpec((None, 4), tf.float32)


def save_custom_gradient(folder):
    """swish written with a gradient of its own, as EfficientNet has it."""
    kernel = variable("kernel", 4, 3)

    @tf.custom_gradient
    def swish(x):
        gate = tf.sigmoid(x)
        return x * gate, lambda upstream: upstream * (gate * (1 + x * (1 - gate)))

    _save(folder, lambda x: swish(x @ kernel), _FEATURES, [kernel])


def save_opaque_call(folder):
    """A function marked never to be inlined, with a weight inside."""
    kernel = variable("kernel", 4, 3)
    inner = tf.function(lambda x: tf.tanh(x @ kernel), experimental_attributes={"_noinline": True})
    _save(folder, lambda x: inner(x) * 2.0, _FEATURES, [kernel])


def save_compiled_call(folder):
    """A function marked for XLA, with a weight inside."""
    kernel = variable("kernel", 4, 3)
    inner = tf.function(lambda x: tf.tanh(x @ kernel), jit_compile=True)
    _save(folder, lambda x: inner(x) + 1.0, _FEATURES, [kernel])


def save_captured_constant(folder):
    """A tensor that the call closes over, as Normalization layers keep their mean."""
    # Above 128 numbers a constant is captured; below, TensorFlow writes it into the graph.
    kernel, constant = variable("kernel", 4, 3), tf.range(200.0)
    _save(folder, lambda x: (x - constant[1:5]) @ kernel, _FEATURES, [kernel])


def save_embedding(folder):
    """Rows gathered from a variable's handle."""
    table = variable("embeddings", 10, 3)
    _save(folder, lambda ids: tf.gather(table, ids), tf.TensorSpec((None,), tf.int32), [table])


def save_lookup_table(folder):
    """Words looked up in a hash table, then in an embedding."""
    embeddings = variable("embeddings", 4, 3)
    words = tf.lookup.KeyValueTensorInitializer(["ant", "bee", "cat"], tf.constant([1, 2, 3], tf.int64))
    table = tf.lookup.StaticHashTable(words, 0)
    spec = tf.TensorSpec((None,), tf.string)
    _save(folder, lambda text: tf.gather(embeddings, table.lookup(text)), spec, [embeddings], table=table)


def save_loop(folder):
    """A weight read inside a loop: no pure function can be made of it."""
    kernel = variable("kernel", 4, 4)

    def call(x):
        return tf.while_loop(lambda i, _: i < 3, lambda i, y: (i + 1, tf.tanh(y @ kernel)), (0, x))[1]

    _save(folder, call, _FEATURES, [kernel])


def save_plain_loop(folder):
    """A loop that reads no weight lifts like anything else."""
    kernel = variable("kernel", 4, 3)

    def call(x):
        return tf.while_loop(lambda i, _: i < 3, lambda i, y: (i + 1, tf.tanh(y)), (0, x @ kernel))[1]

    _save(folder, call, _FEATURES, [kernel])


def save_dense_skips(folder):
    """Every layer sees all earlier ones: no single tensor separates them."""
    kernels = [variable(f"layer{i}/kernel", 3, 3, 3 + 2 * i, 2, seed=i) for i in range(4)]

    def call(images):
        maps = [images]
        for i, kernel in enumerate(kernels):
            if i == 2:
                maps = [m[:, ::2, ::2] for m in maps]
            maps.append(tf.nn.relu(tf.nn.conv2d(tf.concat(maps, -1), kernel, 1, "SAME")))
        return tf.concat([tf.reduce_mean(m, (1, 2)) for m in maps], -1)

    _save(folder, call, tf.TensorSpec((None, 16, 16, 3), tf.float32), kernels)


def save_seeded_dropout(folder):
    """Dropout whose seed is a variable that inference does not read, as Keras 3 keeps it."""
    kernel = variable("kernel", 4, 64)
    seed = tf.Variable([7, 0], dtype=tf.int64, trainable=False, name="seed")

    @tf.function
    def call(x, training=False):
        features = x @ kernel
        if not training:
            return features
        kept = tf.random.stateless_uniform(tf.shape(features), seed) < 0.5
        seed.assign_add([0, 1])
        return tf.where(kept, 2.0 * features, 0.0)

    for training in (False, True):
        call.get_concrete_function(_FEATURES, training=training)
    tf.saved_model.save(Model(call, [kernel, seed]), str(folder))


FEATURE_TRAPS = {
    "custom gradient": save_custom_gradient,
    "opaque call": save_opaque_call,
    "compiled call": save_compiled_call,
    "captured constant": save_captured_constant,
    "plain loop": save_plain_loop,
}
