"""One table: every public layer, callback, optimizer and schedule keeps what Keras promises of its own.

Config round trip, `.keras` reload, `tf.function`, XLA, mixed precision and two devices, for each row.
"""

import copy
import dataclasses
from collections.abc import Callable

import keras
import numpy as np
import pytest
import tensorflow as tf

import tlkit
import tlkit.backbones
import tlkit.callbacks
import tlkit.finetune
from tlkit.distribution import choose_strategy


@dataclasses.dataclass(frozen=True)
class Row:
    make: Callable  # folder of a small image model -> the object
    input_shape: tuple[int, ...] = (32, 32, 3)


LAYERS = {"Backbone": Row(lambda folder: tlkit.load_backbone(str(folder)))}
CALLBACKS = {
    "ProgressiveUnfreezing": Row(lambda _: tlkit.callbacks.ProgressiveUnfreezing(verbose=0)),
    "ExactResume": Row(lambda folder: tlkit.callbacks.ExactResume(folder.with_name("resume"))),
    "LearningRateLogger": Row(lambda _: tlkit.callbacks.LearningRateLogger()),
}
# model with the layers "low" and "top" -> the optimizer, or one that follows the schedule
OPTIMIZERS = {
    "LayerwiseLearningRates": lambda model: tlkit.finetune.LayerwiseLearningRates(
        keras.optimizers.AdamW(0.01), model, layer_decay=0.5, groups=[["low"]]
    ),
    "OneCycle": lambda _: keras.optimizers.Adam(tlkit.finetune.OneCycle(0.01, total_steps=8)),
    "SlantedTriangular": lambda _: keras.optimizers.Adam(tlkit.finetune.SlantedTriangular(0.01, total_steps=8)),
}


def test_every_public_name_is_in_the_table():
    modules = (tlkit.backbones, tlkit.callbacks, tlkit.finetune)
    classes = [c for c in (getattr(m, name) for m in modules for name in m.__all__) if isinstance(c, type)]

    def public(*kinds):
        return {c.__name__ for c in classes if issubclass(c, kinds)}

    assert public(keras.layers.Layer) == set(LAYERS)
    assert public(keras.callbacks.Callback) == set(CALLBACKS)
    assert public(keras.optimizers.Optimizer, keras.optimizers.schedules.LearningRateSchedule) == set(OPTIMIZERS)


@pytest.fixture(params=LAYERS)
def row(request):
    return LAYERS[request.param]


def batch(row):
    return np.random.default_rng(0).uniform(size=(4, *row.input_shape)).astype("float32")


def test_config_round_trip(row, image_model):
    layer, x = row.make(image_model), batch(row)
    again = type(layer).from_config(layer.get_config())
    again(x)
    again.set_weights(layer.get_weights())
    np.testing.assert_array_equal(again(x), layer(x))
    assert again.get_config() == layer.get_config()


def test_keras_file(row, image_model, tmp_path):
    inputs = keras.Input(row.input_shape)
    model = keras.Model(inputs, row.make(image_model)(inputs))
    model.save(tmp_path / "model.keras")
    np.testing.assert_array_equal(tlkit.load_model(tmp_path / "model.keras")(batch(row)), model(batch(row)))


@pytest.mark.parametrize("jit_compile", [False, True])
def test_function(row, image_model, jit_compile):
    layer = row.make(image_model)
    expected = layer(batch(row))
    actual = tf.function(layer, jit_compile=jit_compile)(batch(row))
    np.testing.assert_allclose(actual, expected, atol=1e-5)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision(row, image_model, policy):
    expected = row.make(image_model)(batch(row))
    keras.mixed_precision.set_global_policy(policy)
    actual = row.make(image_model)(batch(row))
    assert actual.dtype == policy.removeprefix("mixed_")
    # bfloat16 keeps 8 bits: one part in 256.
    np.testing.assert_allclose(tf.cast(actual, tf.float32), expected, rtol=1 / 128, atol=1e-3)


def test_two_devices(row, image_model):
    strategy = choose_strategy("mirrored")
    expected = row.make(image_model)(batch(row))
    with strategy.scope():
        inputs = keras.Input(row.input_shape)
        model = keras.Model(inputs, row.make(image_model)(inputs))
    np.testing.assert_allclose(model.predict(batch(row), batch_size=4, verbose=0), expected, atol=1e-5)


@pytest.mark.parametrize("name", CALLBACKS)
def test_callbacks_can_be_copied_and_used_twice(name, image_model):
    callback = copy.deepcopy(CALLBACKS[name].make(image_model))
    inputs = keras.Input((32, 32, 3))
    model = keras.Model(inputs, keras.layers.Dense(1)(tlkit.load_backbone(str(image_model))(inputs)))
    model.compile(keras.optimizers.SGD(1e-4), "mse")
    for _ in range(2):
        first = getattr(callback, "initial_epoch", 0)
        history = model.fit(
            np.ones((4, 32, 32, 3)),
            np.ones((4, 1)),
            initial_epoch=first,
            epochs=first + 2,
            verbose=0,
            callbacks=[callback],
        )
        assert np.isfinite(history.history["loss"]).all()


def two_layers(make, strategy=None, **compile_options):
    with (strategy or tf.distribute.get_strategy()).scope():
        keras.utils.set_random_seed(0)
        inputs = keras.Input((3,))
        outputs = keras.layers.Dense(1, dtype="float32", name="top")(keras.layers.Dense(8, name="low")(inputs))
        model = keras.Model(inputs, outputs)
        model.compile(make(model), "mse", **compile_options)
    return model


def trained(model):
    """The model's weights after four steps more."""
    x = np.random.default_rng(0).uniform(size=(16, 3)).astype("float32")
    model.fit(x, x.sum(axis=1, keepdims=True), batch_size=4, shuffle=False, verbose=0)
    return [keras.ops.convert_to_numpy(weight) for weight in model.weights]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizer_config_round_trip(name):
    model = two_layers(OPTIMIZERS[name])
    config = model.optimizer.get_config()
    again = two_layers(lambda _: type(model.optimizer).from_config(copy.deepcopy(config)))  # Keras writes into it
    assert again.optimizer.get_config() == config
    for a, b in zip(trained(again), trained(model), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("load", [keras.saving.load_model, tlkit.load_model], ids=["keras", "tlkit"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_training_goes_on_from_a_keras_file(name, load, tmp_path):
    model = two_layers(OPTIMIZERS[name])
    trained(model)
    model.save(tmp_path / "model.keras")
    for a, b in zip(trained(load(tmp_path / "model.keras")), trained(model), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizer_under_xla(name):
    expected = trained(two_layers(OPTIMIZERS[name]))
    for a, b in zip(trained(two_layers(OPTIMIZERS[name], jit_compile=True)), expected, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizer_in_mixed_precision(name, policy, tmp_path):
    expected = trained(two_layers(OPTIMIZERS[name]))
    keras.mixed_precision.set_global_policy(policy)
    # The scale that `compile` begins with overflows at first and skips steps.
    model = two_layers(lambda model: keras.optimizers.LossScaleOptimizer(OPTIMIZERS[name](model), initial_scale=256.0))
    for a, b in zip(trained(model), expected, strict=True):
        np.testing.assert_allclose(a, b, atol=2e-3)  # in four steps of about 0.01
    model.save(tmp_path / "model.keras")
    for a, b in zip(trained(tlkit.load_model(tmp_path / "model.keras")), trained(model), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizer_on_two_devices(name):
    expected = trained(two_layers(OPTIMIZERS[name]))
    for a, b in zip(trained(two_layers(OPTIMIZERS[name], choose_strategy("mirrored"))), expected, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)
