"""What `tlkit backbones HANDLE` says of a model once it is loaded."""

import pytest
import saved_models
import tensorflow as tf
from test_safety import HOSTILE, save_hostile

import tlkit
from tlkit.backbones.describe import describe_backbone


def test_an_image_model(image_model):
    # Counted by hand from tests/saved_models.py: kernel size^2 * in * out, and four vectors of BatchNorm a layer.
    layers = [(3, 3, 4), (3, 4, 6), (3, 6, 6), (3, 6, 8), (3, 8, 10), (1, 10, 12)]
    counts = [size * size * inputs * outputs + 4 * outputs for size, inputs, outputs in layers]
    stem, down1, residual, down2, down3, top = counts
    told = describe_backbone(str(image_model))
    assert told == {
        "folder": str(image_model),
        "scan": "nothing suspicious",
        "input": "Takes images of 32 x 32 pixels or any other size, 3 channels, values in [0, 1]",
        "features": "12",
        "maps": "the last is 2 x 2 x 12; pyramid: P3 4 x 4 x 8, P4 2 x 2 x 12",
        "parameters": f"{sum(counts):,} in 30 weights",
        "stages": (
            f"4 (name and parameters, input first): stride_2 {stem:,}, stride_4 {down1 + residual:,}, "
            f"stride_8 {down2:,}, stride_16 {down3 + top:,}"
        ),
        "cuts": "split() works after every stage",
        "training": "in inference mode, or with training_mode=True in the model's own (moving BatchNorm, dropout)",
    }


def test_a_model_with_no_cut(tmp_path):
    saved_models.save_dense_skips(tmp_path / "model")
    told = describe_backbone(str(tmp_path / "model"))
    assert told["cuts"] == "split() works after no of the 1 inner stages"
    assert told["training"].startswith("in inference mode only (BatchNorm stands still, no dropout)")


def test_a_model_that_stays_whole(tmp_path):
    saved_models.save_loop(tmp_path / "model")
    told = describe_backbone(str(tmp_path / "model"))
    assert told["input"] == "Takes float32 of shape ('batch', 4)"
    assert told["maps"] == "none, so outputs='spatial' and 'pyramid' are not to be had"
    assert told["stages"] == told["cuts"] == "none"
    assert told["training"].startswith("none: the weight 'kernel' is read inside a ")


def test_a_suspicious_model_is_described_without_being_loaded(tmp_path):
    save_hostile(HOSTILE["WriteFile"], tmp_path)
    told = describe_backbone(str(tmp_path / "model"))
    assert list(told) == ["folder", "scan", "loading"]
    assert told["scan"].startswith("would reach outside the model: WriteFile")
    assert not (tmp_path / "owned").exists()
    assert describe_backbone(str(tmp_path / "model"), trust=True)["features"] == "3"


def test_a_network_of_keras_applications():
    told = describe_backbone("keras:MobileNetV2", weights="random")
    assert "folder" not in told and "scan" not in told  # its code is Keras's own
    assert told["input"] == "Takes images of 224 x 224 pixels, 3 channels, values in [0, 1]"
    assert told["features"] == "1280"  # Sandler et al. 2018, table 2


def test_what_is_not_there(tmp_path):
    with pytest.raises(tlkit.UserError, match="is not a SavedModel"):
        describe_backbone(str(tmp_path))


def test_the_summary_says_what_goes_in(tmp_path, capsys):
    kernel = saved_models.variable("kernel", 3, 3, 3, 4)
    saved_models._save(
        tmp_path / "model",
        lambda x: tf.reduce_mean(tf.nn.conv2d(x / 255, kernel, 2, "SAME"), (1, 2)),
        tf.TensorSpec((None, 16, 16, 3), tf.float32),
        [kernel],
    )
    tlkit.load_backbone(str(tmp_path / "model"), name="eyes").summary()
    said = " ".join(capsys.readouterr().out.split())
    assert "Takes images of 16 x 16 pixels, 3 channels, values in [0, 1], brought to [0, 255] for the model" in said
