"""Choosing a strategy."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tlkit
from tlkit.distribution import choose_precision, choose_strategy, describe_strategy, precision, seed_replicas


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


def dropped(strategy, seeds):
    """What a dropout of half of 64 ones leaves on each of two devices, in two steps."""
    keras.utils.set_random_seed(3)
    with strategy.scope():
        inputs = keras.Input((64,))
        model = keras.Model(inputs, keras.layers.Dropout(0.5)(inputs))
        model.compile("sgd", "mse")
    if seeds:
        seed_replicas(model)
    step = tf.function(lambda: strategy.run(lambda: model(tf.ones((1, 64)), training=True)))
    return [[np.asarray(mask).ravel() for mask in strategy.experimental_local_results(step())] for _ in range(2)]


def test_devices_draw_otherwise():
    strategy = choose_strategy("mirrored")
    (one, other), (one_next, other_next) = dropped(strategy, seeds=True)
    assert (one != other).any() and (one_next != other_next).any()
    assert (one != one_next).any() and (other != other_next).any()
    np.testing.assert_array_equal(one, dropped(choose_strategy("one-device"), seeds=True)[0][0])  # as it does alone


def test_keras_still_drops_the_same_on_all_devices():
    """When it does not, `seed_replicas` may go."""
    (one, other), _ = dropped(choose_strategy("mirrored"), seeds=False)
    np.testing.assert_array_equal(one, other)


def test_gpus_are_told_to_take_memory_as_needed(monkeypatch):
    told = []

    def set_memory_growth(gpu, grows):
        told.append((gpu, grows))
        if gpu == "GPU:1":
            raise RuntimeError("Physical devices cannot be modified after being initialized")

    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: ["GPU:0", "GPU:1"] if kind == "GPU" else [])
    monkeypatch.setattr(tf.config.experimental, "set_memory_growth", set_memory_growth)
    choose_strategy("one-device")
    assert told == [("GPU:0", True), ("GPU:1", True)]


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("auto", "Strategy 'auto': 1 CPU, since TensorFlow sees no GPU, 32 examples a step."),
        ("mirrored", "Strategy 'mirrored': 2 CPUs, 32 examples a step, 16 on each device."),
    ],
)
def test_what_was_chosen_is_said(name, sentence):
    assert describe_strategy(name, 32) == sentence


A100, T4, P100 = (
    {"device_name": name, "compute_capability": capability}
    for name, capability in {"A100": (8, 0), "T4": (7, 5), "P100": (6, 0)}.items()
)


@pytest.mark.parametrize(
    ("gpus", "policy", "why"),
    [
        ([A100], "mixed_bfloat16", "A100 has compute capability 8.0"),
        ([A100, T4], "mixed_float16", "T4 has compute capability 7.5"),
        ([T4, P100], "float32", "P100 has compute capability 6.0, too old to gain from 16 bits"),
        ([{}], "float32", "the GPU does not say what it can do"),
        ([], "float32", "there is no GPU, and a CPU gains nothing from 16 bits"),
    ],
)
def test_precision_by_device(gpus, policy, why, monkeypatch, capsys):
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: range(len(gpus)) if kind == "GPU" else [])
    monkeypatch.setattr(tf.config.experimental, "get_device_details", lambda number: gpus[number])
    precision._by_device.cache_clear()
    assert [choose_precision("auto"), choose_precision("auto")] == [policy, policy]
    assert capsys.readouterr().out == f"Precision: {policy}, since {why}.\n"  # once
    precision._by_device.cache_clear()


def test_precision_that_is_named():
    assert choose_precision("mixed_float16") == "mixed_float16"
    with pytest.raises(tlkit.UserError, match="no precision 'float16'. Expected one of 'auto', 'float32'"):
        choose_precision("float16")
