"""One table: every public layer and callback keeps what Keras promises of its own.

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
from tlkit.distribution import choose_strategy


@dataclasses.dataclass(frozen=True)
class Row:
    make: Callable  # folder of a small image model -> the object
    input_shape: tuple[int, ...] = (32, 32, 3)


LAYERS = {"Backbone": Row(lambda folder: tlkit.load_backbone(str(folder)))}
CALLBACKS = {"ProgressiveUnfreezing": Row(lambda _: tlkit.callbacks.ProgressiveUnfreezing(verbose=0))}


def test_every_public_name_is_in_the_table():
    public = [getattr(m, name) for m in (tlkit.backbones, tlkit.callbacks) for name in m.__all__]
    layers = {c.__name__ for c in public if isinstance(c, type) and issubclass(c, keras.layers.Layer)}
    callbacks = {c.__name__ for c in public if isinstance(c, type) and issubclass(c, keras.callbacks.Callback)}
    assert layers == set(LAYERS) and callbacks == set(CALLBACKS)


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
        history = model.fit(np.ones((4, 32, 32, 3)), np.ones((4, 1)), epochs=2, verbose=0, callbacks=[callback])
        assert np.isfinite(history.history["loss"]).all()
