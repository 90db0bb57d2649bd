"""`kerashub:` on image presets that KerasHub saved: outputs, stages, maps and training against KerasHub's own model."""

import keras
import numpy as np
import pytest

import tlkit
from tlkit.backbones.describe import describe_backbone
from tlkit.callbacks import ProgressiveUnfreezing
from tlkit.finetune import prepare_unfreezing

keras_hub = pytest.importorskip("keras_hub")

SIZE = 32
SCALE, OFFSET = [1 / 127.5, 1 / 100, 1 / 64], [-1.0, -0.5, 0.25]  # one for each colour


def resnet():
    blocks = {"stackwise_num_filters": [64] * 3, "stackwise_num_blocks": [1] * 3, "stackwise_num_strides": [1, 2, 2]}
    stem = {"input_conv_filters": [64], "input_conv_kernel_sizes": [7]}
    return keras_hub.models.ResNetBackbone(
        **stem, **blocks, block_type="basic_block", use_pre_activation=False, image_shape=(None, None, 3)
    )


def vit():
    sizes = {"patch_size": (8, 8), "num_layers": 3, "num_heads": 2, "hidden_dim": 16, "mlp_dim": 32}
    return keras_hub.models.ViTBackbone(image_shape=(SIZE, SIZE, 3), **sizes, use_class_token=True)


@pytest.fixture(scope="module")
def presets(tmp_path_factory):
    """Name -> (folder, KerasHub's model)."""
    keras.utils.set_random_seed(5)
    found = {}
    for name, build, family in (("resnet", resnet, "ResNet"), ("vit", vit, "ViT")):
        folder, network = tmp_path_factory.mktemp("presets") / name, build()
        for variable in network.variables:  # as if it had been trained: statistics, shifts and class tokens of its own
            if "variance" not in variable.path:
                variable.assign_add(0.05 * keras.random.normal(variable.shape, seed=1))
        converter = getattr(keras_hub.layers, f"{family}ImageConverter")(
            image_size=(SIZE, SIZE), scale=SCALE, offset=OFFSET
        )
        network.save_to_preset(str(folder))
        getattr(keras_hub.models, f"{family}ImageClassifierPreprocessor")(converter).save_to_preset(str(folder))
        found[name] = folder, network
    return found


def images(size=SIZE):
    return np.random.default_rng(0).uniform(size=(2, size, size, 3)).astype("float32")


def by_kerashub(network, pixels):
    return network.predict_on_batch(pixels * 255.0 * np.array(SCALE, "float32") + np.array(OFFSET, "float32"))


def test_a_convolutional_network(presets):
    folder, network = presets["resnet"]
    expected = by_kerashub(network, images())
    backbone = tlkit.load_backbone(f"kerashub:{folder}")
    np.testing.assert_allclose(backbone(images()), expected.mean((1, 2)), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(
        tlkit.load_backbone(f"kerashub:{folder}", outputs="spatial")(images()), expected, rtol=1e-4, atol=1e-5
    )
    # 32 pixels: convolution and pooling halve to 8, then two of three stacks.
    assert [stage.name for stage in backbone.stages] == ["stride_2", "stride_4", "stride_8", "stride_16"]
    larger = tlkit.load_backbone(f"kerashub:{folder}", image_size=64)
    np.testing.assert_allclose(larger(images(64)), by_kerashub(network, images(64)).mean((1, 2)), rtol=1e-4, atol=1e-5)


def test_a_transformer(presets):
    folder, network = presets["vit"]
    expected = by_kerashub(network, images())  # a class token, then 4 x 4 patches
    backbone = tlkit.load_backbone(f"kerashub:{folder}")
    np.testing.assert_allclose(backbone(images()), expected[:, 0], rtol=1e-4, atol=1e-5)
    maps = tlkit.load_backbone(f"kerashub:{folder}", outputs="spatial")(images())
    np.testing.assert_allclose(maps, expected[:, 1:].reshape(2, 4, 4, 16), rtol=1e-4, atol=1e-5)
    assert [stage.name for stage in backbone.stages] == ["embedding", "block_1", "block_2", "block_3"]
    with pytest.raises(tlkit.UserError, match="no maps at all of the strides 8, 16 and 32. Found: none"):
        tlkit.load_backbone(f"kerashub:{folder}", outputs="pyramid")
    with pytest.raises(tlkit.UserError, match="does not take images of 64 x 64 pixels: .* Expected 32 x 32"):
        tlkit.load_backbone(f"kerashub:{folder}", image_size=64)
    told = describe_backbone(f"kerashub:{folder}")
    assert told["features"] == "16" and "block_3" in told["stages"]


@pytest.mark.parametrize("name", ["resnet", "vit"])
def test_stages_open_in_fit_and_the_file_is_whole(presets, name, tmp_path):
    folder, _ = presets[name]
    backbone = tlkit.load_backbone(f"kerashub:{folder}")
    inputs = keras.Input((SIZE, SIZE, 3))
    model = keras.Model(inputs, keras.layers.Dense(2, activation="softmax")(backbone(inputs)))
    model.compile(keras.optimizers.Adam(1e-3), "sparse_categorical_crossentropy")
    prepare_unfreezing(model)
    before = {stage.name: [w.numpy() for w in stage.weights] for stage in backbone.stages}
    model.fit(images(), np.array([0, 1]), epochs=2, verbose=0, callbacks=[ProgressiveUnfreezing(schedule={1: 1})])
    moved = {
        stage.name: any(np.any(w.numpy() != old) for w, old in zip(stage.weights, before[stage.name], strict=True))
        for stage in backbone.stages
    }
    names = [stage.name for stage in backbone.stages]
    assert moved == {**dict.fromkeys(names, False), names[-1]: True}
    model.save(tmp_path / "model.keras")
    loaded = tlkit.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(loaded.predict_on_batch(images()), model.predict_on_batch(images()), atol=1e-6)


def test_fresh_weights(presets):
    folder, _ = presets["resnet"]
    fresh, own = (tlkit.load_backbone(f"kerashub:{folder}", weights=weights) for weights in ("random", "pretrained"))
    assert not np.allclose(fresh(images()), own(images()))


def test_what_is_refused(presets, tmp_path):
    folder, network = presets["resnet"]
    with pytest.raises(tlkit.UserError, match="reads images and takes no `sequence_length`. Received: .* Leave it out"):
        tlkit.load_backbone(f"kerashub:{folder}", sequence_length=8)
    network.save_to_preset(str(tmp_path / "bare"))  # without what is done to pixels first
    with pytest.raises(tlkit.UserError, match="says nothing of what is done to pixels first"):
        tlkit.load_backbone(f"kerashub:{tmp_path / 'bare'}")
