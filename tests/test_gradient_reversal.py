"""The identity whose gradient is reversed or scaled: forwards exact, backwards as its equation says."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

import tlkit
from tlkit.domain import DomainLoss, GradientReversal, GradientScaling, build_dann, scale_gradient

SCALES = [0.0, 0.1, 1.0, 10.0]
DTYPES = ["float16", "bfloat16", "float32", "float64"]
SIGN = {GradientReversal: -1, GradientScaling: 1}


@pytest.fixture(params=SIGN, ids=lambda layer: layer.__name__)
def layer_class(request):
    return request.param


def rows(dtype):
    return tf.cast(np.random.default_rng(0).normal(size=(64, 3), scale=100.0), dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_equation_16_forwards_the_identity_to_the_last_bit(layer_class, dtype):
    x = rows(dtype)
    y = layer_class(0.3, dtype=dtype)(x)
    assert y.dtype == x.dtype
    np.testing.assert_array_equal(tf.cast(y, tf.float64), tf.cast(x, tf.float64))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("scale", SCALES)
def test_equation_17_backwards_the_scale_times_the_gradient_without_the_layer(layer_class, scale, dtype):
    x = tf.Variable([[1.0, -2.0, 4.0]], dtype=dtype)
    layer = layer_class(scale, dtype=dtype)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(x) ** 2)
    # Without the layer the gradient of sum(x^2) is 2 x = (2, -4, 8).
    expected = SIGN[layer_class] * scale * np.array([[2.0, -4.0, 8.0]])
    tolerance = {"float16": 1e-3, "bfloat16": 8e-3}.get(dtype, 1e-7)
    np.testing.assert_allclose(tf.cast(tape.gradient(loss, x), tf.float64), expected, rtol=tolerance)


@pytest.mark.parametrize("scale", SCALES)
def test_gradient_is_the_scale_times_a_finite_difference(layer_class, scale):
    x, step = np.array([0.3, -1.2, 2.0]), 1e-6

    def loss(x):
        return np.sum(np.sin(x) * x)

    difference = [(loss(x + d) - loss(x - d)) / (2 * step) for d in step * np.eye(3)]
    layer, variable = layer_class(scale, dtype="float64"), tf.Variable(x)
    with tf.GradientTape() as tape:
        y = layer(variable)
        value = tf.reduce_sum(tf.sin(y) * y)
    np.testing.assert_allclose(
        tape.gradient(value, variable), SIGN[layer_class] * scale * np.array(difference), atol=1e-7
    )


@pytest.mark.parametrize("jit_compile", [False, True])
def test_a_new_scale_counts_at_once_without_tracing_again(layer_class, jit_compile):
    layer, traces = layer_class(1.0), []

    @tf.function(jit_compile=jit_compile)
    def gradient(x):
        traces.append(1)
        with tf.GradientTape() as tape:
            tape.watch(x)
            loss = tf.reduce_sum(3.0 * layer(x))
        return tape.gradient(loss, x)

    x = tf.ones((2,))
    for scale in (1.0, 0.25, 0.0):
        layer.scale.assign(scale)
        np.testing.assert_array_equal(gradient(x), np.full(2, SIGN[layer_class] * scale * 3.0))
    assert len(traces) == 1


def test_the_scale_does_not_train_and_is_saved(layer_class, tmp_path):
    inputs = keras.Input((3,))
    model = keras.Model(inputs, layer_class(1.0, name="reversal")(inputs))
    model.get_layer("reversal").scale.assign(0.125)
    assert model.trainable_weights == []
    model.save(tmp_path / "model.keras")
    assert float(tlkit.load_model(tmp_path / "model.keras").get_layer("reversal").scale) == 0.125


@pytest.mark.parametrize("scale", [-1.0, float("nan"), float("inf")])
def test_a_scale_that_is_no_strength_is_refused(layer_class, scale):
    with pytest.raises(tlkit.UserError, match=f"{layer_class.__name__}: `scale` is the strength.*Received: scale="):
        layer_class(scale)


def test_scale_gradient_takes_any_sign():
    x = tf.Variable([1.0, 2.0])
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(scale_gradient(x, -0.5) * [3.0, 4.0])
    assert float(loss) == 11.0
    np.testing.assert_array_equal(tape.gradient(loss, x), [-1.5, -2.0])


def test_equations_13_to_15_one_step_of_dann():
    """One step of SGD at rate mu on two rows, with every number worked out.

    f = w x, label = softmax(V f), z = u f. Rows: source x = 1 of class 0, target x = 3. w = 2, V = (1, 0), u = 0.5.
    """
    mu, scale = 0.1, 0.25
    inputs = keras.Input((1,))
    encoder = keras.Model(inputs, keras.layers.Dense(1, use_bias=False, name="encoder")(inputs))
    head = keras.layers.Dense(2, use_bias=False, activation="softmax", name="head")
    discriminator = keras.layers.Dense(1, use_bias=False, name="discriminator")
    model = build_dann(encoder, 2, head=head, discriminator=discriminator, reversal_scale=scale)
    model.get_layer("encoder").set_weights([np.array([[2.0]])])
    head.set_weights([np.array([[1.0, 0.0]])])
    discriminator.set_weights([np.array([[0.5]])])
    model.compile(
        keras.optimizers.SGD(mu),
        {"label": "sparse_categorical_crossentropy", "domain": DomainLoss()},
        jit_compile=False,
    )
    model.fit(
        np.array([[1.0], [3.0]]),
        {"label": np.array([0, 0]), "domain": np.array([[0.0], [1.0]])},
        sample_weight={"label": np.array([2.0, 0.0]), "domain": np.ones(2)},
        batch_size=2,
        shuffle=False,
        verbose=0,
    )
    # f = (2, 6). Label: p = softmax(2, 0) for the source row; dL_y/dlogits = p - (1, 0).
    p = np.exp(2) / (np.exp(2) + 1)
    label_gradient = np.array([p - 1, 1 - p])  # times f for V; times V for f
    # Domain: z = (1, 3); dL_d/dz = (sigmoid(z) - d) / 2.
    z_gradient = (1 / (1 + np.exp(-np.array([1.0, 3.0]))) - np.array([0.0, 1.0])) / 2
    domain_on_w = np.sum(z_gradient * 0.5 * np.array([1.0, 3.0]))  # dz/df = u, df/dw = x
    new_w = 2 - mu * ((p - 1) * 1.0 - scale * domain_on_w)  # equation 13; df/dw of the source row is 1
    new_v = np.array([1.0, 0.0]) - mu * label_gradient * 2.0  # equation 14
    new_u = 0.5 - mu * np.sum(z_gradient * np.array([2.0, 6.0]))  # equation 15, at weight 1
    for name, expected in {"encoder": [[new_w]], "head": [new_v], "discriminator": [[new_u]]}.items():
        np.testing.assert_allclose(ops.convert_to_numpy(model.get_layer(name).kernel), expected, atol=1e-6)
