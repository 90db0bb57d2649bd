"""keras.applications by name, and exported as SavedModels: the same Backbone either way."""

import functools
import http.server
import threading
import warnings

import h5py
import keras
import numpy as np
import pytest
import saved_models
import tensorflow as tf
from keras.src.applications import mobilenet_v2
from keras.src.legacy.saving import legacy_h5_format
from keras.src.utils import file_utils

import tlkit
from tlkit.backbones.keras_models import keras_model_names


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


def images(size, count=2):
    return np.random.default_rng(0).random((count, size, size, 3), "float32")


def build(name, **options):
    """The network itself, with its BatchNorm settled on numbers that are not 0 and 1."""
    keras.utils.set_random_seed(1)
    network = getattr(keras.applications, name)(weights=None, include_top=False, pooling="avg", **options)
    for variable in network.weights:
        if "moving_variance" in variable.path:
            variable.assign(variable * 1.5)
    return network


def preprocess(name, pixels):
    modules = {
        "MobileNetV2": keras.applications.mobilenet_v2,
        "ResNet50": keras.applications.resnet,
        "DenseNet121": keras.applications.densenet,
        "EfficientNetB0": keras.applications.efficientnet,
        "ConvNeXtTiny": keras.applications.convnext,
    }
    return modules[name].preprocess_input(pixels * 255.0)


def check_it_trains(backbone, size, tmp_path):
    """One training step with the upper stage open moves it and nothing below; the file gives the same numbers."""
    inputs = keras.Input((size, size, 3))
    model = keras.Model(inputs, keras.layers.Dense(2)(backbone(inputs)))
    backbone.unfreeze(last=1)
    # Adam without its epsilon moves every weight by the rate, however small its gradient is in a network of noise.
    model.compile(keras.optimizers.Adam(1e-3, epsilon=1e-30), "mse")
    before = {stage.name: [w.numpy() for w in stage.weights] for stage in backbone.stages}
    model.fit(images(size), np.ones((2, 2)), batch_size=2, verbose=0)
    *closed, opened = backbone.stages
    for weight, old in zip(opened.weights, before[opened.name], strict=True):
        assert np.any(weight.numpy() != old) == weight.trainable, weight.name
    for stage in closed:
        for weight, old in zip(stage.weights, before[stage.name], strict=True):
            np.testing.assert_array_equal(weight.numpy(), old)
    model.save(tmp_path / "model.keras")
    loaded = tlkit.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded.predict_on_batch(images(size)), model.predict_on_batch(images(size)))


class TestByName:
    def test_weights_from_a_file(self, tmp_path):
        network = build("MobileNetV2", alpha=1.0, input_shape=(96, 96, 3))
        network.save_weights(tmp_path / "mine.weights.h5")
        backbone = tlkit.load_backbone("keras:MobileNetV2", image_size=96, weights=str(tmp_path / "mine.weights.h5"))
        expected = network.predict_on_batch(preprocess("MobileNetV2", images(96)))
        np.testing.assert_allclose(backbone(images(96)), expected, rtol=1e-4, atol=1e-5)
        with pytest.raises(
            tlkit.UserError, match=r"does not take inputs of shape \(batch, 64, 64, 3\)\. Expected \(batch, 96"
        ):
            backbone(images(64))
        assert [stage.name for stage in backbone.stages] == [f"stride_{2**n}" for n in range(1, 6)]
        check_it_trains(backbone, 96, tmp_path)

    @pytest.mark.slow
    def test_random_weights_are_seeded(self):
        first, second = (
            tlkit.load_backbone("keras:MobileNetV3Small", image_size=64, weights="random") for _ in range(2)
        )
        np.testing.assert_array_equal(first(images(64)), second(images(64)))
        assert np.isfinite(first(images(64))).all()

    @pytest.mark.slow
    def test_dropout_and_batch_norm_in_training(self):
        backbone = tlkit.load_backbone("keras:EfficientNetB0", image_size=64, weights="random", training_mode=True)
        backbone.unfreeze()
        once, twice = (backbone(images(64, 4), training=True).numpy() for _ in range(2))
        assert np.abs(once - twice).max() > 1e-4  # other paths were dropped: the seeds have moved on
        seeds = [weight for weight in backbone.weights if "seed" in weight.name]
        assert seeds and not any(weight.trainable for weight in seeds)
        np.testing.assert_array_equal(backbone(images(64), training=False), backbone(images(64), training=False))

    def test_weights_from_the_network_are_fetched_once(self, tmp_path, monkeypatch):
        """From a server on this machine, in the old HDF5 form in which keras.applications publishes them."""
        network = build("MobileNetV2", alpha=1.0, input_shape=(96, 96, 3))
        name = "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_96_no_top.h5"
        published = tmp_path / "published"
        published.mkdir()
        (tmp_path / "home").mkdir()  # or Keras takes a temporary folder
        with h5py.File(published / name, "w") as file:
            legacy_h5_format.save_weights_to_hdf5_group(file, network)
        handler = functools.partial(QuietHandler, directory=published)
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        monkeypatch.setattr(mobilenet_v2, "BASE_WEIGHT_PATH", f"http://127.0.0.1:{server.server_port}/")
        monkeypatch.setattr(file_utils.config, "keras_home", lambda: str(tmp_path / "home"))
        expected = network.predict_on_batch(preprocess("MobileNetV2", images(96)))
        for _ in range(2):
            backbone = tlkit.load_backbone("keras:MobileNetV2", image_size=96)
            np.testing.assert_allclose(backbone(images(96)), expected, rtol=1e-4, atol=1e-5)
            server.shutdown()  # the second time the file is in Keras's cache
        thread.join()
        server.server_close()
        assert (tmp_path / "home" / "models" / name).is_file()

    def test_no_network_for_the_weights(self, tmp_path, monkeypatch):
        monkeypatch.setenv("KERAS_HOME", str(tmp_path))

        build = keras.applications.MobileNetV2

        @functools.wraps(build)
        def offline(*, weights, **options):
            if weights == "imagenet":  # as Keras words it
                raise Exception(
                    "URL fetch failure on https://example.com/weights.h5: None -- Name or service not known"
                )
            return build(weights=weights, **options)

        monkeypatch.setattr(keras.applications, "MobileNetV2", offline)
        sentence = (
            r"the weights of 'keras:MobileNetV2' cannot be fetched: URL fetch failure on .* not known\. Expected a "
            r"connection, or the file '.*mobilenet_v2_weights.*_no_top\.h5'\. Without a network copy it there"
        )
        with pytest.raises(tlkit.UserError, match=sentence):
            tlkit.load_backbone("keras:MobileNetV2")

    @pytest.mark.slow
    def test_the_size_that_it_was_trained_on(self):
        assert tlkit.load_backbone("keras:MobileNetV2", weights="random").native_shape == (224, 224, 3)

    def test_a_size_that_it_cannot_take(self):
        with pytest.raises(
            tlkit.UserError, match=r"cannot be built for images of 16 x 16 pixels: .* another `image_size`"
        ):
            tlkit.load_backbone("keras:MobileNetV2", image_size=16, weights="random")

    def test_unknown_name(self):
        sentence = "keras.applications has no network 'EfficentNetV2B0'. Did you mean 'keras:EfficientNetV2B0'"
        with pytest.raises(tlkit.UserError, match=sentence):
            tlkit.load_backbone("keras:EfficentNetV2B0")

    def test_no_such_file(self):
        with pytest.raises(tlkit.UserError, match=r"there is no file of weights 'gone\.h5'"):
            tlkit.load_backbone("keras:MobileNetV2", weights="gone.h5")

    def test_weights_of_another_network(self, tmp_path):
        keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]).save_weights(tmp_path / "other.weights.h5")
        with pytest.raises(
            tlkit.UserError, match=r"do not fit 'keras:MobileNetV2': .* Expected those of the same network"
        ):
            tlkit.load_backbone("keras:MobileNetV2", weights=str(tmp_path / "other.weights.h5"))

    def test_arguments(self):
        with pytest.raises(tlkit.UserError, match="takes no `arguments`"):
            tlkit.load_backbone("keras:MobileNetV2", weights="random", arguments={"alpha": 0.5})

    def test_names(self):
        assert {"EfficientNetB0", "ConvNeXtTiny", "DenseNet121", "ResNet50", "NASNetMobile"} <= set(keras_model_names())


# Stride and channels of the last map before each halving, by the papers: EfficientNet's blocks widen sixfold before
# they halve (40 and 112 channels to 240 and 672), DenseNet's transitions narrow by half (512 and 1024 to 256 and 512).
# NASNet's 1,100 weights take minutes so; `test_stages_and_features_are_those_of_the_backbone` loads it by name.
NETWORKS = {
    "EfficientNetB0": {"P3": (8, 240), "P4": (16, 672), "P5": (32, 1280)},
    "ConvNeXtTiny": {"P3": (8, 192), "P4": (16, 384), "P5": (32, 768)},
    "DenseNet121": {"P3": (8, 256), "P4": (16, 512), "P5": (32, 1024)},
    "ResNet50": {"P3": (8, 512), "P4": (16, 1024), "P5": (32, 2048)},
}


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_a_saved_model_of_it(name, tmp_path):
    """Exported in TF-Hub's form: lift, stages, maps, one training step, save, reload; outputs equal the network's."""
    size = 96
    network = build(name, input_shape=(size, size, 3))
    call = tf.function(lambda x, training=False: network(x, training=training))
    for training in (False, True):
        call.get_concrete_function(tf.TensorSpec((None, size, size, 3), tf.float32), training=training)
    variables = [variable.value for variable in network.variables]
    tf.saved_model.save(saved_models.Model(call, variables), str(tmp_path / "model"))

    pixels = preprocess(name, images(size))
    expected = network.predict_on_batch(pixels)
    backbone = tlkit.load_backbone(str(tmp_path / "model"), input_range=(0, 1))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pixels prepared by hand lie outside [0, 1]
        np.testing.assert_allclose(backbone(pixels), expected, rtol=1e-4, atol=1e-5)
    assert backbone.why_whole is None and len(backbone.stages) >= 4

    maps = tlkit.load_backbone(str(tmp_path / "model"), outputs="pyramid")(images(size))
    for level, (stride, channels) in NETWORKS[name].items():
        assert abs(maps[level].shape[1] - size / stride) <= 1, level
        assert maps[level].shape[-1] == channels, level
    check_it_trains(tlkit.load_backbone(str(tmp_path / "model")), size, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["EfficientNetB0", "ResNet50", "DenseNet121"])  # preprocessing: inside, caffe, torch
def test_by_name_equals_the_network(name, tmp_path):
    network = build(name, input_shape=(96, 96, 3))
    network.save_weights(tmp_path / "mine.weights.h5")
    backbone = tlkit.load_backbone(f"keras:{name}", image_size=96, weights=str(tmp_path / "mine.weights.h5"))
    expected = network.predict_on_batch(preprocess(name, images(96)))
    np.testing.assert_allclose(backbone(images(96)), expected, rtol=1e-4, atol=1e-5)
    check_it_trains(backbone, 96, tmp_path)
