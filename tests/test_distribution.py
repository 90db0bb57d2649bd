"""Choosing a strategy."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tlkit
from tlkit.distribution import choose_strategy


@pytest.mark.parametrize(("name", "replicas"), [("auto", 1), ("one-device", 1), ("mirrored", 2)])
def test_replicas_on_two_logical_cpus(name, replicas):
    assert choose_strategy(name).num_replicas_in_sync == replicas


def test_one_mirrored_strategy_a_process():
    """Two of them number their collective operations alike, and the second to train fails on other shapes."""
    assert choose_strategy("mirrored") is choose_strategy("mirrored")


def test_the_scope_can_be_entered():
    with choose_strategy("one-device").scope():
        assert tf.Variable(1.0).numpy() == 1.0


def test_texts_train_on_two_devices_as_on_one():
    """Keras averages the first batch of a model that is made inside the scope, and texts have no mean."""
    texts, labels = np.array(["cat", "dog", "cat", "cow", "dog", "cat"], object), np.array([0.0, 1, 0, 1, 1, 0])
    data = tf.data.Dataset.from_tensor_slices((texts, labels)).batch(4)
    losses = []
    for name in ("one-device", "mirrored"):
        keras.utils.set_random_seed(0)
        with choose_strategy(name).scope():
            inputs = keras.Input((), dtype="string")
            words = keras.layers.StringLookup(vocabulary=["cat", "dog"], output_mode="one_hot")(inputs)
            model = keras.Model(inputs, keras.layers.Dense(1)(words))
            model.compile(keras.optimizers.SGD(0.1), "mse")
        history = model.fit(data, epochs=2, validation_data=data, shuffle=False, verbose=0)
        losses.append(history.history["loss"] + history.history["val_loss"])
        assert model.predict(data, verbose=0).shape == (6, 1)
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-5)


def test_unknown():
    expected = "no strategy 'tpus'. Expected one of 'auto', 'one-device', 'mirrored', 'multi-worker', 'tpu'"
    with pytest.raises(tlkit.UserError, match=expected):
        choose_strategy("tpus")
