"""Focal loss and GIoU against arithmetic, tensorflow-addons and Keras, and where 16 bits or empty boxes are hard."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tlkit import UserError, addons
from tlkit.detection import generalized_iou_loss, sigmoid_focal_loss

needs_addons = pytest.mark.skipif(not addons.is_offered(), reason="no tensorflow-addons for this Python or machine")


def gradient(function, x):
    x = tf.Variable(x)
    with tf.GradientTape() as tape:
        loss = function(x)
    return np.asarray(tape.gradient(loss, x), "float64")


# Focal loss -----------------------------------------------------------------------------------------


def test_focal_loss_of_lin_and_others():
    """-alpha_t (1 - p_t)^gamma log(p_t) at p = .8, the sigmoid of log 4."""
    logits = np.full((2, 2), np.log(4.0))
    labels = np.array([[1, 0], [0, 1]])
    here, absent = -0.25 * 0.2**2 * np.log(0.8), -0.75 * 0.8**2 * np.log(0.2)
    np.testing.assert_allclose(sigmoid_focal_loss(labels, logits), [[here, absent], [absent, here]], rtol=1e-6)
    here, absent = -0.6 * 0.2**0.5 * np.log(0.8), -0.4 * 0.8**0.5 * np.log(0.2)
    np.testing.assert_allclose(sigmoid_focal_loss(labels[0], logits[0], 0.6, 0.5), [here, absent], rtol=1e-6)


def test_focal_loss_with_gamma_0_is_weighted_cross_entropy():
    logits, labels = np.linspace(-3, 3, 7), np.arange(7) % 2
    p = 1 / (1 + np.exp(-logits))
    expected = np.where(labels, -0.25 * np.log(p), -0.75 * np.log(1 - p))
    np.testing.assert_allclose(sigmoid_focal_loss(labels, logits, gamma=0.0), expected, rtol=1e-6)


RANDOM = np.random.default_rng(0)
LABELS, LOGITS = RANDOM.integers(0, 2, (40, 5)), RANDOM.normal(size=(40, 5), scale=4).astype("float32")


@needs_addons
@pytest.mark.parametrize("gamma", [1.0, 1.5, 2.0, 5.0])
def test_focal_loss_is_that_of_tensorflow_addons(gamma):
    """There it is summed over the last axis."""
    theirs = addons.tfa.losses.sigmoid_focal_crossentropy(LABELS, LOGITS, 0.3, gamma, from_logits=True)
    np.testing.assert_allclose(np.sum(sigmoid_focal_loss(LABELS, LOGITS, 0.3, gamma), -1), theirs, rtol=1e-5)


@pytest.mark.parametrize("gamma", [1.0, 2.0, 5.0])
def test_focal_loss_is_that_of_keras(gamma):
    """There it is averaged over the last axis."""

    def theirs(logits):
        return keras.losses.binary_focal_crossentropy(
            LABELS[..., None], logits[..., None], apply_class_balancing=True, gamma=gamma, from_logits=True
        )

    def ours(logits):
        return sigmoid_focal_loss(LABELS, logits, gamma=gamma)

    np.testing.assert_allclose(ours(LOGITS), theirs(LOGITS), rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(gradient(ours, LOGITS), gradient(theirs, LOGITS), rtol=1e-4, atol=1e-6)


FAR = np.array([-1000, -100, -20, 0, 20, 100, 1000.0])


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("label", [0, 1])
@pytest.mark.parametrize("jit_compile", [False, True])
def test_focal_loss_is_finite_and_right_far_out(dtype, gamma, label, jit_compile):
    @tf.function(jit_compile=jit_compile)
    def loss(logits):
        return sigmoid_focal_loss(tf.fill([7], label), logits, gamma=gamma)

    logits = tf.cast(FAR, dtype)
    side = FAR if label else -FAR
    weight = 0.25 if label else 0.75
    # In 64 bits: log(p_t) = -log(1 + exp(-side)), 1 - p_t = exp(-log(1 + exp(side))).
    expected = weight * np.exp(-gamma * np.logaddexp(0, side)) * np.logaddexp(0, -side)
    assert loss(logits).dtype == dtype
    np.testing.assert_allclose(np.asarray(loss(logits), "float64"), expected, rtol=1e-2, atol=1e-6)
    assert np.isfinite(gradient(loss, logits)).all()


def test_keras_loses_the_gradient_there():
    """Why there is one of our own: when this fails, `keras.losses.binary_focal_crossentropy` is enough."""

    def theirs(logits):
        return keras.losses.binary_focal_crossentropy(tf.ones_like(logits), logits, gamma=0.5, from_logits=True)

    assert np.isnan(gradient(theirs, tf.constant([[20.0]]))).all()


@pytest.mark.parametrize("arguments", [{"alpha": 1.5}, {"alpha": -0.1}, {"gamma": -1.0}, {"gamma": float("nan")}])
def test_focal_loss_out_of_range(arguments):
    [(name, value)] = arguments.items()
    with pytest.raises(UserError, match=f"Expected `alpha` from 0 to 1 and `gamma` from 0. Received: .*{name}={value}"):
        sigmoid_focal_loss(np.ones(2), np.ones(2), **arguments)


# GIoU -----------------------------------------------------------------------------------------------

PAIRS = {
    "the same": ([1, 2, 4, 6], [1, 2, 4, 6], 0.0),
    "overlapping": ([0, 0, 2, 2], [1, 1, 3, 3], 1 - (1 / 7 - 2 / 9)),  # share 1 of 4 + 4 - 1, in a hull of 3 x 3
    "inside": ([0, 0, 4, 2], [1, 0, 3, 1], 1 - 2 / 8),  # the hull is the outer one: GIoU is IoU
    "touching": ([0, 0, 1, 1], [1, 0, 2, 1], 1.0),  # share nothing; union and hull are both 2
    "apart": ([0, 0, 1, 1], [3, 0, 4, 1], 1 + (4 - 2) / 4),
    "far apart": ([0, 0, 1, 1], [99, 99, 100, 100], 1 + (10_000 - 2) / 10_000),
    "a point in a box": ([0, 0, 2, 2], [1, 1, 1, 1], 1.0),
    "a line beside a box": ([0, 0, 2, 2], [4, 0, 4, 2], 1 + (8 - 4) / 8),
    "swapped corners": ([0, 0, 2, 2], [2, 2, 0, 0], 1.0),  # empty, and in the box
    "two points": ([1, 1, 1, 1], [1, 1, 1, 1], 1.0),
    "two points apart": ([0, 0, 0, 0], [2, 3, 2, 3], 2.0),
}
FIRST, SECOND = (np.array([pair[i] for pair in PAIRS.values()], "float32") for i in (0, 1))
EXPECTED = np.array([pair[2] for pair in PAIRS.values()])


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16"])
@pytest.mark.parametrize("jit_compile", [False, True])
def test_generalized_iou_of_rezatofighi_and_others(dtype, jit_compile):
    function = tf.function(generalized_iou_loss, jit_compile=jit_compile)
    loss = function(tf.cast(FIRST, dtype), tf.cast(SECOND, dtype))
    assert loss.dtype == dtype
    accuracy = {"float16": 1e-3, "bfloat16": 8e-3}.get(dtype, 1e-6)
    np.testing.assert_allclose(np.asarray(loss, "float64"), EXPECTED, atol=accuracy)


def test_generalized_iou_is_symmetric_and_knows_no_order_of_axes_and_no_unit():
    other_axes = [1, 0, 3, 2]
    np.testing.assert_allclose(generalized_iou_loss(SECOND, FIRST), EXPECTED, atol=1e-6)
    np.testing.assert_allclose(generalized_iou_loss(FIRST[:, other_axes], SECOND[:, other_axes]), EXPECTED, atol=1e-6)
    np.testing.assert_allclose(generalized_iou_loss(FIRST / 512, SECOND / 512), EXPECTED, atol=1e-6)


def random_boxes(*shape):
    corners = RANDOM.uniform(0, 100, (*shape, 2, 2))
    return np.concatenate([corners.min(-2), corners.max(-2)], -1).astype("float32")


@needs_addons
def test_generalized_iou_is_that_of_tensorflow_addons():
    theirs = addons.tfa.losses.giou_loss
    np.testing.assert_allclose(generalized_iou_loss(FIRST, SECOND), theirs(FIRST, SECOND), atol=1e-6)
    true, predicted = random_boxes(6, 7), random_boxes(6, 7)
    np.testing.assert_allclose(generalized_iou_loss(true, predicted), theirs(true, predicted), atol=1e-6)
    np.testing.assert_allclose(
        gradient(lambda boxes: generalized_iou_loss(true, boxes), predicted),
        gradient(lambda boxes: theirs(true, boxes), predicted),
        atol=1e-6,
    )


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_gradients_of_empty_boxes_are_finite(dtype):
    true = tf.cast(FIRST, dtype)
    assert np.isfinite(gradient(lambda boxes: generalized_iou_loss(true, boxes), tf.cast(SECOND, dtype))).all()


def test_a_box_that_misses_grows_towards_the_other():
    """GIoU = union / hull - 1 of two boxes 2 high that share nothing; the predicted one lies to the left.

    union = 4 + 2 (x_max - x_min) = 8, hull = 2 (12 - x_min) = 24. So x_max rises with slope 2 / 24, and x_min falls
    by less, -2 / 24 + 8 * 2 / 24^2: each the other way round in the loss.
    """
    slope = gradient(lambda boxes: generalized_iou_loss([[10.0, 0, 12, 2]], boxes), np.array([[0.0, 0, 2, 2]]))
    np.testing.assert_allclose(slope[0, [0, 2]], [2 / 24 - 8 * 2 / 24**2, -2 / 24], rtol=1e-6)


def test_a_large_box_in_float16():
    """Its area, 2^18, is infinite there. The halves share half: IoU 1/3; union 3 of 4 halves: 1 - (1/3 - 0)."""
    boxes = tf.constant([[0, 0, 512, 512], [256, 0, 768, 512]], "float16")
    assert float(generalized_iou_loss(boxes[0], boxes[1])) == pytest.approx(2 / 3, abs=1e-3)


def test_whole_numbers_are_taken():
    assert float(generalized_iou_loss([0, 0, 2, 2], [1, 1, 3, 3])) == pytest.approx(EXPECTED[1])


def test_what_is_no_box():
    with pytest.raises(
        UserError, match=r"`boxes_predicted` holds no boxes. .* Received: boxes_predicted of shape \(3,"
    ):
        generalized_iou_loss(np.zeros((3, 4)), np.zeros((3, 5)))
    with pytest.raises(UserError, match=r"`boxes_true` holds no boxes"):
        generalized_iou_loss(1.0, np.zeros((3, 4)))


def test_both_train_a_model():
    """A head that learns one box and one class from a constant."""
    inputs = keras.Input((1,))
    boxes = keras.layers.Dense(4, name="box")(inputs)
    logits = keras.layers.Dense(3, name="class")(inputs)
    model = keras.Model(inputs, {"box": boxes, "class": logits})
    model.compile(keras.optimizers.Adam(0.2), {"box": generalized_iou_loss, "class": sigmoid_focal_loss})
    x = np.ones((8, 1))
    y = {"box": np.tile([2.0, 3, 6, 9], (8, 1)), "class": np.tile([0.0, 1, 0], (8, 1))}
    model.get_layer("box").set_weights([np.array([[0.0, 0, 2, 2]]), np.zeros(4)])
    losses = model.fit(x, y, epochs=80, verbose=0).history
    assert losses["box_loss"][-1] < 0.1 < losses["box_loss"][0]
    assert losses["class_loss"][-1] < 0.01 < losses["class_loss"][0]
