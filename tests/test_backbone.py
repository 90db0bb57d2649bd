"""The Backbone layer: stages, flags, outputs, cuts, files."""

import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf

import tlkit


@pytest.fixture
def backbone(image_model):
    return tlkit.load_backbone(str(image_model))


@pytest.fixture
def images():
    return tf.random.stateless_uniform((4, 32, 32, 3), [1, 2])


def open_names(backbone):
    return [stage.name for stage in backbone.stages if stage.is_open]


def classifier(backbone, size=32):
    inputs = keras.Input((size, size, 3))
    return keras.Model(inputs, keras.layers.Dense(2, name="head")(backbone(inputs)))


class TestStages:
    def test_born_frozen(self, backbone):
        assert open_names(backbone) == [] and backbone.trainable_weights == []
        assert len(backbone.non_trainable_weights) == 30

    def test_opens_from_the_top(self, backbone):
        backbone.unfreeze(last=1)
        assert open_names(backbone) == ["stride_16"]
        # down3 and top: kernel, gamma, beta; the moving statistics never train.
        assert len(backbone.trainable_weights) == 6
        backbone.unfreeze()
        assert len(backbone.trainable_weights) == 18
        backbone.unfreeze(last=2)
        assert open_names(backbone) == ["stride_8", "stride_16"]
        backbone.freeze()
        assert backbone.trainable_weights == []

    def test_trainable_alone_opens_nothing_and_says_so(self, backbone):
        with pytest.warns(
            UserWarning, match=r"`trainable = True` opens no stage of .* Call `unfreeze\(last=2\)` for the"
        ):
            backbone.trainable = True
        backbone.unfreeze(last=1)
        backbone.trainable = False
        backbone.trainable = True
        assert open_names(backbone) == ["stride_16"] and len(backbone.trainable_weights) == 6

    @pytest.mark.parametrize(
        ("arguments", "sentence"),
        [
            ({"handle": None}, "`handle` is no handle. Expected a string or a path"),
            ({"weights": None}, "Received: weights=None. Write weights='random'"),
            ({"weights": "imagenet"}, "Received: weights='imagenet'. Write weights='pretrained'"),
        ],
    )
    def test_arguments_as_elsewhere_in_keras(self, image_model, arguments, sentence):
        with pytest.raises(tlkit.UserError, match=sentence):
            tlkit.load_backbone(**({"handle": str(image_model)} | arguments))

    def test_a_path_will_do(self, image_model):
        assert tlkit.load_backbone(image_model).handle == str(image_model)

    def test_num_parameters(self, backbone):
        # stem: 3*3*3*4 kernel and four vectors of 4
        assert backbone.stages[0].num_parameters == 3 * 3 * 3 * 4 + 4 * 4
        assert sum(stage.num_parameters for stage in backbone.stages) == backbone.count_params()

    def test_out_of_range(self, backbone):
        with pytest.raises(tlkit.UserError, match="Expected a number from 0 to 4, .* Received: last=5"):
            backbone.unfreeze(last=5)

    def test_trainable_stops_all_and_gives_back_the_open_ones(self, backbone):
        model = classifier(backbone)
        backbone.unfreeze(last=1)
        model.trainable = False
        assert model.trainable_weights == []
        model.trainable = True
        assert open_names(backbone) == ["stride_16"] and len(model.trainable_weights) == 6 + 2

    def test_summary_shows_each_stage(self, backbone, capsys):
        backbone.unfreeze(last=1)
        backbone.summary()
        printed = capsys.readouterr().out
        for stage in backbone.stages:
            assert stage.name in printed and f"{stage.num_parameters:,}" in printed
        assert printed.count("yes") == 1 and printed.count(" no ") == 3


class TestOutputs:
    def test_spatial_averaged_equals_pooled(self, image_model, backbone, images):
        spatial = tlkit.load_backbone(str(image_model), outputs="spatial")
        maps = spatial(images)
        assert maps.shape == (4, 2, 2, 12)
        np.testing.assert_allclose(maps.numpy().mean((1, 2)), backbone(images), atol=1e-6)

    def test_pyramid(self, image_model):
        pyramid = tlkit.load_backbone(str(image_model), outputs="spatial", image_size=64)
        assert pyramid.compute_output_spec(keras.KerasTensor((None, 64, 64, 3))).shape == (None, 4, 4, 12)
        with pytest.raises(tlkit.UserError, match="no maps at all of the strides 8, 16 and 32. Found: P3, P4"):
            tlkit.load_backbone(str(image_model), outputs="pyramid")

    def test_pyramid_of_the_embedded_backbone(self):
        pyramid = tlkit.load_backbone("tlkit:mini-image", outputs="pyramid")
        maps = pyramid(np.zeros((1, 128, 128, 3), np.float32))
        assert {name: tuple(m.shape[1:3]) for name, m in maps.items()} == {"P3": (16, 16), "P4": (8, 8), "P5": (4, 4)}

    def test_symbolic_shapes_equal_real_ones(self, image_model, images):
        for outputs in ("pooled", "spatial"):
            backbone = tlkit.load_backbone(str(image_model), outputs=outputs)
            assert backbone.compute_output_spec(keras.KerasTensor((4, 32, 32, 3))).shape == backbone(images).shape

    def test_unknown(self, image_model):
        with pytest.raises(tlkit.UserError, match="'pyramid', 'sequence'. Received: outputs='map'"):
            tlkit.load_backbone(str(image_model), outputs="map")

    def test_input_range(self, image_model, backbone, images):
        shifted = tlkit.load_backbone(str(image_model), input_range=(0.25, 0.75))
        np.testing.assert_allclose(shifted(images), backbone(images / 2 + 0.25), atol=1e-6)

    def test_mixed_precision_casts_the_output_alone(self, image_model, backbone, images):
        keras.mixed_precision.set_global_policy("mixed_bfloat16")
        mixed = tlkit.load_backbone(str(image_model))
        features = mixed(images)
        assert features.dtype == tf.bfloat16 and {w.dtype for w in mixed.weights} == {"float32"}
        np.testing.assert_array_equal(features, tf.cast(backbone(images), tf.bfloat16))

    def test_xla_gives_the_same(self, backbone, images):
        compiled = tf.function(backbone, jit_compile=True)
        np.testing.assert_allclose(compiled(images), backbone(images), rtol=1e-5, atol=1e-5)


class TestWeights:
    def test_random_weights_are_seeded_and_carry_no_knowledge(self, image_model, backbone):
        first, second = (tlkit.load_backbone(str(image_model), weights="random") for _ in range(2))
        for a, b, pretrained in zip(first.weights, second.weights, backbone.weights, strict=True):
            np.testing.assert_array_equal(a.numpy(), b.numpy())
            if a.name.endswith("kernel"):
                assert abs(np.corrcoef(a.numpy().ravel(), pretrained.numpy().ravel())[0, 1]) < 0.5

    def test_random_statistics_are_settled(self, image_model):
        """With statistics of its own noise pictures, BatchNorm gives mean 0 and variance 1 to each channel."""
        from tlkit.backbones.initial import _noise_pictures

        backbone = tlkit.load_backbone(str(image_model), weights="random")
        weights = {w.name: w.numpy() for w in backbone.weights}
        pictures = _noise_pictures(32, 32, 32, 3, seed=0) * 2.0 - 1.0
        stem = tf.nn.conv2d(pictures, weights["stem.kernel"], 2, "SAME").numpy()
        np.testing.assert_allclose(weights["stem.moving_mean"], stem.mean((0, 1, 2)), atol=1e-4)
        np.testing.assert_allclose(weights["stem.moving_variance"], stem.var((0, 1, 2)), rtol=1e-3)
        np.testing.assert_array_equal(weights["stem.gamma"], np.ones(4))

    def test_weights_of_a_saved_model(self, image_model, backbone, images, tmp_path):
        model = classifier(backbone)
        for weight in backbone.weights:
            weight.assign(weight * 1.5)
        model.save(tmp_path / "tuned.keras")
        again = tlkit.load_backbone(str(image_model), weights=str(tmp_path / "tuned.keras"))
        np.testing.assert_array_equal(again(images), backbone(images))

    def test_weights_that_do_not_fit(self, image_model, tmp_path):
        inputs = keras.Input((4,))
        keras.Model(inputs, keras.layers.Dense(1)(inputs)).save(tmp_path / "other.keras")
        with pytest.raises(tlkit.UserError, match="holds no backbone with the weights of"):
            tlkit.load_backbone(str(image_model), weights=str(tmp_path / "other.keras"))
        with pytest.raises(tlkit.UserError, match="Expected 'pretrained', 'random' or the path"):
            tlkit.load_backbone(str(image_model), weights="imagenet")


class TestSplit:
    def test_images_of_another_size(self):
        backbone = tlkit.load_backbone("tlkit:mini-image")
        prefix, suffix = backbone.split(3)
        for size in (96, 160):
            images = np.random.default_rng(0).uniform(size=(2, size, size, 3)).astype("float32")
            np.testing.assert_allclose(suffix(prefix(images)), backbone(images), rtol=1e-5, atol=1e-6)

    @pytest.mark.parametrize("num_frozen", [1, 2, 3])
    def test_suffix_of_prefix_equals_the_whole(self, backbone, images, num_frozen):
        prefix, suffix = backbone.split(num_frozen)
        np.testing.assert_allclose(suffix(prefix(images)), backbone(images), atol=1e-6)
        assert [s.name for s in prefix.stages + suffix.stages] == [s.name for s in backbone.stages]

    def test_the_prefix_scales_pixels_as_the_whole(self, image_model, images):
        backbone = tlkit.load_backbone(str(image_model), input_range=(0.25, 0.75))
        prefix, suffix = backbone.split(1)
        np.testing.assert_allclose(suffix(prefix(images)), backbone(images), atol=1e-6)

    def test_suffix_shares_the_weights(self, image_model, images):
        backbone = tlkit.load_backbone(str(image_model))
        backbone.unfreeze(last=1)
        prefix, suffix = backbone.split(2)
        assert prefix.trainable_weights == [] and open_names(suffix) == ["stride_16"]
        assert {id(w) for w in suffix.trainable_weights} == {id(w) for w in backbone.trainable_weights}
        before = backbone(images).numpy()
        suffix.trainable_weights[0].assign_add(tf.ones_like(suffix.trainable_weights[0].value))
        assert np.abs(backbone(images) - before).max() > 0.01

    def test_a_suffix_can_be_saved_and_loaded(self, backbone, images, tmp_path):
        prefix, suffix = backbone.split(2)
        features = prefix(images)
        inputs = keras.Input(features.shape[1:])
        model = keras.Model(inputs, suffix(inputs))
        model.save(tmp_path / "suffix.keras")
        np.testing.assert_allclose(tlkit.load_model(tmp_path / "suffix.keras")(features), backbone(images), atol=1e-6)

    @pytest.mark.parametrize("num_frozen", [0, 4])
    def test_out_of_range(self, backbone, num_frozen):
        with pytest.raises(tlkit.UserError, match="Expected a number from 1 to 3"):
            backbone.split(num_frozen)


class TestKerasFile:
    def test_complete_without_the_saved_model(self, image_model, images, tmp_path):
        folder = tmp_path / "copy"
        shutil.copytree(image_model, folder)
        model = classifier(tlkit.load_backbone(str(folder)))
        model.layers[1].unfreeze(last=2)
        expected = model(images)
        model.save(tmp_path / "model.keras")
        shutil.rmtree(folder)
        loaded = tlkit.load_model(tmp_path / "model.keras")
        np.testing.assert_array_equal(loaded(images), expected)
        assert open_names(loaded.get_layer("backbone")) == ["stride_8", "stride_16"]
        assert len(loaded.trainable_weights) == len(model.trainable_weights) == 9 + 2

    def test_config_round_trip(self, backbone, images):
        again = tlkit.Backbone.from_config(backbone.get_config())
        assert again.get_config() == backbone.get_config()
        again.build((None, 32, 32, 3))
        again.set_weights(backbone.get_weights())
        np.testing.assert_array_equal(again(images), backbone(images))
