"""L2-SP and L1-SP: numbers worked by hand, gradients, and training in every way that Keras trains."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tlkit
from tlkit.callbacks import ProgressiveUnfreezing
from tlkit.distribution import choose_strategy
from tlkit.finetune import add_starting_point_penalty, prepare_unfreezing


def two_layers():
    """One input, layer "old" with weight 2, layer "new" with weight 3; neither has a bias."""
    model = keras.Sequential(
        [
            keras.Input((1,)),
            keras.layers.Dense(1, use_bias=False, name="old"),
            keras.layers.Dense(1, use_bias=False, name="new"),
        ]
    )
    model.set_weights([np.array([[2.0]], "float32"), np.array([[3.0]], "float32")])
    return model


def penalty(model):
    return float(sum(model.losses))


def test_l2_sp_of_li_grandvalet_and_davoine():
    model = two_layers()
    add_starting_point_penalty(model, alpha=0.5, beta=0.2, shared=["old"])
    # At the start: .5 / 2 * 0 + .2 / 2 * 3^2 = .9.
    assert penalty(model) == pytest.approx(0.9)
    model.get_layer("old").set_weights([np.array([[6.0]])])
    # .25 * (6 - 2)^2 + .9 = 4.9.
    assert penalty(model) == pytest.approx(4.9)


def test_l1_sp_of_li_grandvalet_and_davoine():
    model = two_layers()
    add_starting_point_penalty(model, alpha=0.5, beta=0.2, p=1, shared=["old"])
    model.get_layer("old").set_weights([np.array([[-1.0]])])
    # .5 * |-1 - 2| + .1 * 3^2 = 2.4: the new weights have the square for either p.
    assert penalty(model) == pytest.approx(2.4)


@pytest.mark.parametrize("p, expected", [(1, [-0.5, 0.5, 0.0]), (2, [-1.5, 0.5, 0.0])])
def test_gradient(p, expected):
    layer = keras.layers.Dense(3, use_bias=False, name="old")
    model = keras.Sequential([keras.Input((1,)), layer])
    model.set_weights([np.array([[1.0, 2.0, 3.0]])])
    add_starting_point_penalty(model, alpha=0.5, p=p, shared=["old"])
    model.set_weights([np.array([[-2.0, 3.0, 3.0]])])  # moved by -3, 1, 0
    with tf.GradientTape() as tape:
        loss = sum(model.losses)
    # p = 2: alpha * moved; p = 1: alpha * sign(moved), 0 at the start.
    np.testing.assert_allclose(tape.gradient(loss, layer.kernel.value), [expected])


def test_proportional_learning_rate_decay():
    """w <- w - rate * gamma(t) * (gradient + alpha * (w - w0)), gamma(t) = 1 / (1 + k t)."""
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False, name="old")])
    model.set_weights([np.array([[2.0]])])
    add_starting_point_penalty(model, alpha=0.5, shared=["old"])
    gamma = keras.optimizers.schedules.InverseTimeDecay(0.1, decay_steps=1, decay_rate=1.0)
    model.compile(keras.optimizers.SGD(gamma), "mse")
    x, y = np.ones((1, 1)), np.zeros((1, 1))
    # t = 0: gradient of w^2 is 4, w - w0 = 0: 2 - .1 * 4 = 1.6.
    # t = 1: 3.2 + .5 * (1.6 - 2) = 3.0, gamma 1/2: 1.6 - .05 * 3 = 1.45.
    # t = 2: 2.9 + .5 * (1.45 - 2) = 2.625, gamma 1/3: 1.45 - .1 / 3 * 2.625 = 1.3625.
    for expected in (1.6, 1.45, 1.3625):
        model.fit(x, y, verbose=0)
        assert model.get_weights()[0][0, 0] == pytest.approx(expected, rel=1e-6)


def backbone_model(image_model):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((32, 32, 3))
    features = tlkit.load_backbone(str(image_model))(inputs)
    return keras.Model(inputs, keras.layers.Dense(1, name="head")(features))


IMAGES = np.random.default_rng(0).uniform(size=(8, 32, 32, 3)).astype("float32")
TARGETS = np.linspace(-1, 1, 8, dtype="float32")[:, None]


def penalised(image_model):
    """Its last two stages are open, and each weight is .1 from its start."""
    model = backbone_model(image_model)
    model.get_layer("backbone").unfreeze(last=2)
    add_starting_point_penalty(model, alpha=3.0, beta=1.0)
    for weight in model.trainable_weights:
        weight.assign(weight + 0.1)
    return model


def train(model, epochs=3, **compile_arguments):
    # The rate is small: the features of this little backbone are large.
    model.compile(keras.optimizers.SGD(1e-6), "mse", **compile_arguments)
    return model.fit(IMAGES, TARGETS, batch_size=4, epochs=epochs, shuffle=False, verbose=0).history["loss"]


@pytest.mark.parametrize("p, strengths", [(1, (0.0, 0.3, 3.0)), (2, (0.0, 1.0, 10.0))])
def test_fit_stays_nearer_to_the_start(p, strengths):
    x = np.random.default_rng(0).normal(size=(32, 3)).astype("float32")
    ways = []
    for alpha in strengths:
        keras.utils.set_random_seed(0)
        layers = [keras.layers.Dense(4, activation="relu", name="old"), keras.layers.Dense(1, name="new")]
        model = keras.Sequential([keras.Input((3,)), *layers])
        start = layers[0].get_weights()
        add_starting_point_penalty(model, alpha=alpha, p=p, shared=["old"])
        model.compile(keras.optimizers.SGD(0.02), "mse")
        model.fit(x, x.sum(1, keepdims=True), epochs=20, shuffle=False, verbose=0)
        ways.append(np.sqrt(sum(np.sum((a - b) ** 2) for a, b in zip(layers[0].get_weights(), start, strict=True))))
    assert ways[0] > 1.1 * ways[1] > 1.1**2 * ways[2] > 0


def test_frozen_stages_cost_nothing_until_they_are_opened(image_model):
    model = backbone_model(image_model)
    backbone = model.get_layer("backbone")
    add_starting_point_penalty(model, beta=0.0)
    assert model.losses == []
    backbone.unfreeze(last=1)
    last = [weight for weight in backbone.stages[-1].weights if weight.trainable]
    assert len(model.losses) == len(last)
    last[0].assign(last[0] + 1.0)
    assert penalty(model) == pytest.approx(0.005 * np.prod(last[0].shape))  # .01 / 2 for each number that moved by 1


def test_compiled_and_traced_before():
    model = two_layers()
    model.compile(keras.optimizers.SGD(0.0), "mse")
    x, y = np.ones((1, 1)), np.ones((1, 1))
    assert model.fit(x, y, verbose=0).history["loss"] == [25.0]  # (2 * 3 - 1)^2
    assert model.evaluate(x, y, verbose=0) == 25.0
    add_starting_point_penalty(model, beta=2.0, shared=["old"])
    assert model.fit(x, y, verbose=0).history["loss"] == [34.0]  # + 2 / 2 * 3^2
    assert model.evaluate(x, y, verbose=0) == 34.0


def test_two_devices_count_it_once(image_model):
    losses = {}
    for name in ("one-device", "mirrored"):
        with choose_strategy(name).scope():
            losses[name] = train(penalised(image_model))
    assert losses["mirrored"] == pytest.approx(losses["one-device"], rel=1e-5)


@pytest.mark.parametrize(
    "arguments", [pytest.param({"jit_compile": True}, marks=pytest.mark.slow), {"steps_per_execution": 2}]
)
def test_ways_to_compile(image_model, arguments):
    expected = train(penalised(image_model))
    assert np.isfinite(expected).all()
    assert train(penalised(image_model), **arguments) == pytest.approx(expected, rel=1e-4)


def test_mixed_precision_with_stages_opened_later(image_model):
    keras.mixed_precision.set_global_policy("mixed_float16")
    model = backbone_model(image_model)
    add_starting_point_penalty(model, alpha=1.0)
    model.compile(keras.optimizers.SGD(1e-6), "mse")
    prepare_unfreezing(model)
    unfreezing = ProgressiveUnfreezing(schedule={0: 0, 1: 2}, verbose=0)
    history = model.fit(IMAGES, TARGETS, batch_size=4, epochs=3, shuffle=False, verbose=0, callbacks=[unfreezing])
    assert np.isfinite(history.history["loss"]).all()


def test_a_keras_file_does_not_hold_it_and_the_start_can_be_given(image_model, tmp_path):
    model = penalised(image_model)
    train(model)
    model(IMAGES)
    expected = penalty(model)
    model.save(tmp_path / "model.keras")
    again = tlkit.load_model(tmp_path / "model.keras")
    again(IMAGES)
    own = penalty(again)  # what came with the SavedModel
    # .1 from the start: 3 / 2 * .01 for each of the backbone's numbers, and about the head's own.
    count = sum(int(np.prod(w.shape)) for w in model.get_layer("backbone").trainable_weights)
    assert expected - own > 0.015 * count
    add_starting_point_penalty(again, alpha=3.0, beta=1.0, start=backbone_model(image_model))
    assert penalty(again) == pytest.approx(expected, rel=1e-5)


def test_called_again_it_replaces_what_it_added():
    model = two_layers()
    add_starting_point_penalty(model, alpha=0.5, beta=0.2, shared=["old"])
    add_starting_point_penalty(model, alpha=0.5, beta=0.0, shared=["old"])
    assert penalty(model) == 0 and model.get_layer("new").kernel.regularizer is None


def test_keras_has_orthogonality_for_heads():
    """Why there is none here: factor * mean of |cos| over all pairs of columns."""
    regularizer = keras.regularizers.OrthogonalRegularizer(factor=0.5, mode="columns")
    # Columns (2, 0), (0, 3) and (3, 4): |cos| is 0, 3 / 5 and 4 / 5 for the three pairs.
    kernel = tf.constant([[2.0, 0, 3], [0, 3, 4]])
    assert float(regularizer(kernel)) == pytest.approx(0.5 * (0 + 3 / 5 + 4 / 5) / 3)
    head = keras.layers.Dense(2, use_bias=False, kernel_regularizer=regularizer, name="new")
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(3, name="old"), head])
    add_starting_point_penalty(model, beta=0.0, shared=["old"])
    assert len(model.losses) == 3  # kernel and bias of "old", kernel of the head

    def cosine():
        first, second = head.kernel.numpy().T
        return abs(first @ second) / np.linalg.norm(first) / np.linalg.norm(second)

    head.set_weights([np.array([[1.0, 1], [1, 2], [0, 1]])])
    assert cosine() == pytest.approx(3 / np.sqrt(2 * 6))
    assert float(sum(model.losses)) == pytest.approx(0.5 * 3 / np.sqrt(2 * 6))  # nothing has moved from its start yet
    model.compile(keras.optimizers.SGD(0.1), "mse")
    model.fit(np.zeros((8, 3)), np.zeros((8, 2)), batch_size=1, epochs=20, verbose=0)  # no gradient but the penalty's
    assert cosine() < 0.05


def regularized_head():
    head = keras.layers.Dense(1, kernel_regularizer="l2", name="new")
    return keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, name="old"), head])


@pytest.mark.parametrize(
    "make, arguments, sentence",
    [
        (two_layers, {}, "has no Backbone, .* Name them: `shared="),
        (two_layers, {"shared": ["odl"]}, "no layer 'odl' with weights. Expected some of 'old', 'new'"),
        (two_layers, {"shared": ["old"], "p": 3}, "`p` chooses the norm. Expected 1 .* or 2 .* Received: p=3"),
        (two_layers, {"shared": ["old"], "alpha": -1}, "numbers of at least 0. Received: alpha=-1"),
        (two_layers, {"shared": ["old"], "beta": float("nan")}, "numbers of at least 0"),
        (regularized_head, {"shared": ["old"]}, "'.*new/kernel' has a regularizer already, L2, .* or set `beta=0`"),
        (regularized_head, {"shared": ["new"]}, "Leave it out where the layer is made.$"),
        (lambda: keras.Sequential([keras.layers.Dense(1)]), {}, "has no weights yet. Expected a built model"),
    ],
)
def test_mistakes(make, arguments, sentence):
    with pytest.raises(tlkit.UserError, match=sentence):
        add_starting_point_penalty(make(), **arguments)


def test_a_start_that_does_not_fit():
    model = two_layers()
    other = keras.Sequential([keras.Input((1,)), keras.layers.Dense(2, use_bias=False, name="old")])
    with pytest.raises(tlkit.UserError, match="layer 'old': it has weights of other shapes there"):
        add_starting_point_penalty(model, shared=["old"], start=other)
    with pytest.raises(tlkit.UserError, match="layer 'new': it has no layer of that name"):
        add_starting_point_penalty(model, shared=["new"], start=other)
