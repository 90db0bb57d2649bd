"""A wholly open backbone in the model's own training graph: dropout, and BatchNorm that moves."""

import keras
import numpy as np
import pytest
import saved_models
import tensorflow as tf

import tlkit
from tlkit.distribution import choose_strategy


@pytest.fixture
def images():
    return tf.random.stateless_uniform((8, 32, 32, 3), [1, 2])


def load(folder, **options):
    backbone = tlkit.load_backbone(str(folder), training_mode=True, **options)
    backbone.unfreeze()
    return backbone


def statistics(backbone):
    return {w.name: keras.ops.convert_to_numpy(w) for w in backbone.weights if "moving" in w.name}


def test_outputs_and_statistics_are_those_of_the_original(image_model, images):
    backbone, original = load(image_model), tf.saved_model.load(str(image_model))
    for _ in range(2):  # the second call starts from the statistics that the first one left
        expected = original(images, training=True)
        np.testing.assert_allclose(backbone(images, training=True), expected, atol=1e-5)
    moved = statistics(backbone)
    assert len(moved) == 12
    for variable in original.variables:
        name = variable.name.removesuffix(":0").replace("/", ".")
        if name in moved:
            np.testing.assert_allclose(moved[name], variable, atol=1e-6)
    # and inference goes on with them
    np.testing.assert_allclose(backbone(images, training=False), original(images, training=False), atol=1e-5)


def test_spatial_output(image_model, images):
    spatial = load(image_model, outputs="spatial")
    pooled = load(image_model)
    maps = spatial(images, training=True)
    np.testing.assert_allclose(maps.numpy().mean((1, 2)), pooled(images, training=True), atol=1e-5)


@pytest.mark.parametrize("last", [0, 3])
def test_only_when_every_stage_is_open(image_model, images, last):
    backbone = load(image_model)
    backbone.unfreeze(last=last)
    before = statistics(backbone)
    np.testing.assert_array_equal(backbone(images, training=True), backbone(images, training=False))
    for name, value in statistics(backbone).items():
        np.testing.assert_array_equal(value, before[name])


def test_not_unless_asked(image_model, images):
    backbone = tlkit.load_backbone(str(image_model))
    backbone.unfreeze()
    np.testing.assert_array_equal(backbone(images, training=True), backbone(images, training=False))


@pytest.mark.parametrize("strategy", ["one-device", "mirrored"])
def test_statistics_move_in_fit_and_survive_the_file(image_model, images, tmp_path, strategy):
    with choose_strategy(strategy).scope():
        backbone = load(image_model)
        inputs = keras.Input((32, 32, 3))
        model = keras.Model(inputs, keras.layers.Dense(2)(backbone(inputs)))
        model.compile(keras.optimizers.SGD(1e-3), "mse")
    before = statistics(backbone)
    model.fit(images.numpy(), np.ones((8, 2)), batch_size=8, epochs=2, verbose=0)
    after = statistics(backbone)
    assert all(np.abs(after[name] - before[name]).max() > 0 for name in before)
    model.save(tmp_path / "model.keras")
    loaded = tlkit.load_model(tmp_path / "model.keras")
    for name, value in statistics(loaded.get_layer("backbone")).items():
        np.testing.assert_array_equal(value, after[name])
    expected = np.asarray(loaded(images, training=True))
    assert np.abs(expected - loaded(images, training=False)).max() > 1e-3  # the training graph came along


@pytest.mark.parametrize("strategy", ["one-device", "mirrored"])
def test_seeds_of_dropout_are_carried_along(tmp_path, strategy):
    saved_models.save_seeded_dropout(tmp_path / "model")
    x = np.ones((4, 4), "float32")
    with choose_strategy(strategy).scope():
        backbone = load(tmp_path / "model")
        inputs = keras.Input((4,))
        model = keras.Model(inputs, keras.layers.Dense(1)(backbone(inputs)))
        model.compile(keras.optimizers.SGD(1e-3), "mse")
    seed = next(weight for weight in backbone.weights if weight.name == "seed")
    assert seed.dtype == "int64" and not seed.trainable
    model.fit(x, np.ones((4, 1)), batch_size=4, epochs=3, verbose=0)
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(seed), [7, 3])  # one step on each call
    if strategy == "one-device":
        once, twice = (backbone(x, training=True).numpy() for _ in range(2))
        dropped = (once == 0).mean()
        assert 0.35 < dropped < 0.65 and np.any(once != twice)  # 256 draws of 1/2: three deviations are 0.09
        original = tf.saved_model.load(str(tmp_path / "model"))
        original.variables[0].assign(backbone.weights[0].numpy())
        original.variables[1].assign([7, 3])
        np.testing.assert_allclose(once, original(x, training=True), rtol=1e-5)
    model.save(tmp_path / "model.keras")
    again = tlkit.load_model(tmp_path / "model.keras").get_layer("backbone")
    saved = next(weight for weight in again.weights if weight.name == "seed")
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(saved), keras.ops.convert_to_numpy(seed))


def test_inference_knows_no_seeds(tmp_path):
    saved_models.save_seeded_dropout(tmp_path / "model")
    assert [weight.name for weight in tlkit.load_backbone(str(tmp_path / "model")).weights] == ["kernel"]


def test_a_model_without_a_training_graph(tmp_path):
    saved_models.save_embedding(tmp_path / "model")
    with pytest.raises(tlkit.UserError, match="`training_mode` is not to be had: .* no graph for training"):
        tlkit.load_backbone(str(tmp_path / "model"), training_mode=True)
