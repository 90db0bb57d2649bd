"""The lift against the SavedModel itself: outputs, gradients, and each trap that real models hold."""

import os
import shutil

import numpy as np
import pytest
import saved_models
import tensorflow as tf

import tlkit
from tlkit.backbones.savedmodel import lift_saved_model

FEATURES = np.array([[0.5, -1.0, 2.0, 0.1], [-0.3, 0.4, 0.0, 1.5]], np.float32)


def gradients(call, variables, inputs):
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tf.square(call(inputs)))
    return tape.gradient(loss, variables)


@pytest.fixture
def images():
    return tf.random.stateless_uniform((4, 32, 32, 3), [1, 2])


class TestImageModel:
    def test_output_equals_the_original(self, image_model, images):
        backbone = tlkit.load_backbone(str(image_model))
        original = tf.saved_model.load(str(image_model))
        np.testing.assert_allclose(backbone(images), original(images, training=False), atol=1e-6)

    def test_gradient_of_every_trainable_weight_equals_the_original(self, image_model, images):
        backbone = tlkit.load_backbone(str(image_model))
        backbone.unfreeze()
        original = tf.saved_model.load(str(image_model))
        names = [v.name.removesuffix(":0").replace("/", ".") for v in original.trainable_variables]
        # 6 layers of kernel, gamma, beta
        assert len(names) == 18
        assert sorted(names) == sorted(v.name for v in backbone.trainable_weights)
        expected = gradients(lambda x: original(x, training=False), list(original.trainable_variables), images)
        actual = gradients(backbone, [v.value for v in backbone.trainable_weights], images)
        by_name = dict(zip(names, expected, strict=True))
        for variable, gradient in zip(backbone.trainable_weights, actual, strict=True):
            assert np.abs(gradient).max() > 0
            np.testing.assert_allclose(gradient, by_name[variable.name], rtol=1e-4, atol=1e-6)

    def test_regularization_loss_reaches_keras_while_a_weight_of_it_trains(self, image_model, images):
        backbone = tlkit.load_backbone(str(image_model))
        backbone(images, training=True)
        assert backbone.losses == []
        backbone.unfreeze(last=1)
        backbone(images, training=False)
        assert backbone.losses == []  # nor while it validates
        backbone(images, training=True)
        expected = 0.01 * sum((w.numpy() ** 2).sum() / 2 for w in backbone.weights if w.name.endswith("kernel"))
        [loss] = backbone.losses
        assert float(loss) == pytest.approx(expected, rel=1e-5)

    def test_any_size_is_accepted_when_the_model_accepts_it(self, image_model):
        lifted = lift_saved_model(image_model)
        assert lifted.any_size and lifted.sizes == ((32, 32),)
        original = tf.saved_model.load(str(image_model))
        images = tf.random.stateless_uniform((2, 48, 40, 3), [3, 4])
        backbone = tlkit.load_backbone(str(image_model))
        np.testing.assert_allclose(backbone(images), original(images, training=False), atol=1e-6)

    def test_the_same_model_again_is_not_lifted_again(self, image_model, tmp_path, monkeypatch):
        folder = shutil.copytree(image_model, tmp_path / "model")
        images = tf.random.stateless_uniform((2, 32, 32, 3), [3, 4])
        first = tlkit.load_backbone(str(folder))
        expected = first(images).numpy()
        for weight in first.weights:  # as an optimizer does, in place
            weight.value.assign_add(tf.ones(weight.shape))
        monkeypatch.setattr("tlkit.backbones.savedmodel._load", None)
        np.testing.assert_array_equal(tlkit.load_backbone(str(folder))(images), expected)
        os.utime(folder / "saved_model.pb", (0, 0))  # another model, for all that is known
        with pytest.raises(TypeError, match="'NoneType' object is not callable"):
            tlkit.load_backbone(str(folder))

    def test_fixed_size(self, tmp_path):
        saved_models.save_image_model(tmp_path / "fixed", sizes=(32,))
        assert tlkit.load_backbone(str(tmp_path / "fixed")).native_shape == (32, 32, 3)
        with pytest.raises(tlkit.UserError, match=r"does not take images of 64 x 64 pixels\. Expected 32 x 32\."):
            tlkit.load_backbone(str(tmp_path / "fixed"), image_size=64)


@pytest.mark.parametrize("trap", saved_models.FEATURE_TRAPS)
def test_traps_keep_output_and_gradient(trap, tmp_path):
    saved_models.FEATURE_TRAPS[trap](tmp_path / "model")
    backbone = tlkit.load_backbone(str(tmp_path / "model"))
    original = tf.saved_model.load(str(tmp_path / "model"))
    np.testing.assert_allclose(backbone(FEATURES), original(FEATURES), atol=1e-6)
    backbone.unfreeze()
    [actual] = gradients(backbone, [v.value for v in backbone.trainable_weights], tf.constant(FEATURES))
    numeric = numeric_gradient(backbone, backbone.trainable_weights[0])
    # Finite differences in float32 with step 1e-2: the error of the central difference is of its square.
    np.testing.assert_allclose(actual, numeric, rtol=1e-2, atol=2e-2)


def numeric_gradient(backbone, variable, step=1e-2):
    value = variable.numpy()
    gradient = np.zeros_like(value)
    for index in np.ndindex(*value.shape):
        sides = []
        for sign in (1, -1):
            changed = value.copy()
            changed[index] += sign * step
            variable.assign(changed)
            sides.append(np.square(backbone(FEATURES).numpy().astype(np.float64)).sum())
        gradient[index] = (sides[0] - sides[1]) / (2 * step)
    variable.assign(value)
    return gradient


def test_embedding_is_a_trainable_weight(tmp_path):
    saved_models.save_embedding(tmp_path / "model")
    backbone = tlkit.load_backbone(str(tmp_path / "model"))
    table = backbone.weights[0].numpy()
    np.testing.assert_array_equal(backbone(tf.constant([7, 0, 7])), table[[7, 0, 7]])
    backbone.unfreeze()
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(backbone(tf.constant([7, 0, 7])))
    [gradient] = tape.gradient(loss, [backbone.weights[0].value])
    expected = np.zeros((10, 3))
    expected[7], expected[0] = 2, 1  # how often each row was read
    np.testing.assert_array_equal(tf.convert_to_tensor(gradient), expected)


def test_lookup_table_travels_in_the_keras_file(tmp_path):
    import keras

    saved_models.save_lookup_table(tmp_path / "model")
    backbone = tlkit.load_backbone(str(tmp_path / "model"))
    words = tf.constant(["cat", "dog", "ant"])
    embeddings = backbone.weights[0].numpy()
    np.testing.assert_array_equal(backbone(words), embeddings[[3, 0, 1]])  # "dog" is unknown: row 0
    text = keras.Input((), dtype="string")
    keras.Model(text, backbone(text)).save(tmp_path / "model.keras")
    shutil.rmtree(tmp_path / "model")
    loaded = tlkit.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(words), embeddings[[3, 0, 1]])


def test_weights_read_in_a_loop_stay_frozen_and_say_so(tmp_path, capsys):
    saved_models.save_loop(tmp_path / "model")
    original = tf.saved_model.load(str(tmp_path / "model"))
    expected = original(FEATURES)
    backbone = tlkit.load_backbone(str(tmp_path / "model"))
    np.testing.assert_allclose(backbone(FEATURES), expected, atol=1e-6)
    assert backbone.stages == () and backbone.weights == []
    with pytest.raises(tlkit.UserError, match="cannot train: the weight 'kernel' is read inside a .*While"):
        backbone.unfreeze()
    with pytest.raises(tlkit.UserError, match="has nothing to be split between: the weight 'kernel' is read inside a "):
        backbone.split(1)
    backbone.summary()
    said = " ".join(capsys.readouterr().out.split())
    assert "Called whole and frozen for good, without stages and cuts: the weight 'kernel' is read" in said


def test_dense_skips_have_stages_but_no_cut(tmp_path):
    saved_models.save_dense_skips(tmp_path / "model")
    backbone = tlkit.load_backbone(str(tmp_path / "model"))
    original = tf.saved_model.load(str(tmp_path / "model"))
    images = tf.random.stateless_uniform((2, 16, 16, 3), [5, 6])
    np.testing.assert_allclose(backbone(images), original(images), atol=1e-6)
    assert [[w.name for w in stage.weights] for stage in backbone.stages] == [
        ["layer0.kernel", "layer1.kernel"],
        ["layer2.kernel", "layer3.kernel"],
    ]
    with pytest.raises(tlkit.UserError, match="no single tensor of .* separates stage 'stride_1' from 'stride_2'"):
        backbone.split(1)


class TestErrors:
    def test_not_a_saved_model(self, tmp_path):
        (tmp_path / "weights.h5").write_bytes(b"x")
        with pytest.raises(tlkit.UserError, match=r"is not a SavedModel\. Expected .*'saved_model\.pb'.*weights\.h5"):
            tlkit.load_backbone(str(tmp_path))

    def test_damaged_saved_model(self, tmp_path):
        (tmp_path / "saved_model.pb").write_bytes(b"not a protocol buffer")
        with pytest.raises(tlkit.UserError, match="cannot be loaded"):
            tlkit.load_backbone(str(tmp_path))

    def test_no_call(self, tmp_path):
        tf.saved_model.save(tf.train.Checkpoint(v=tf.Variable(1.0)), str(tmp_path / "model"))
        with pytest.raises(tlkit.UserError, match="cannot be called on one batch"):
            tlkit.load_backbone(str(tmp_path / "model"))

    def test_unknown_embedded_backbone(self):
        with pytest.raises(tlkit.UserError, match="no embedded backbone 'tlkit:maxi'. Expected one of: 'tlkit:mini-im"):
            tlkit.load_backbone("tlkit:maxi")
