"""`.keras` files in a fresh process, and their optimizer's state."""

import shutil
import subprocess
import sys
import zipfile

import keras
import numpy as np
import pytest

import tlkit
from tlkit.finetune import prepare_unfreezing


def build(image_model, prepare):
    inputs = keras.Input((32, 32, 3))
    model = keras.Model(inputs, keras.layers.Dense(2, name="head")(tlkit.load_backbone(str(image_model))(inputs)))
    model.compile(keras.optimizers.Adam(1e-2), "mse")
    if prepare:
        prepare_unfreezing(model)
    return model


@pytest.mark.parametrize("prepare", [True, False])
def test_optimizer_state_is_restored(image_model, tmp_path, prepare):
    model = build(image_model, prepare)
    images = np.random.default_rng(0).uniform(size=(8, 32, 32, 3)).astype("float32")
    model.fit(images, np.ones((8, 2)), epochs=2, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = tlkit.load_model(tmp_path / "model.keras")
    saved = [keras.ops.convert_to_numpy(v) for v in model.optimizer.variables]
    # Adam: iterations, rate, and two moments for each of 20 (or the head's 2) weights.
    assert len(saved) == 2 + 2 * (20 if prepare else 2)
    for variable, value in zip(loaded.optimizer.variables, saved, strict=True):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(variable), value)
    assert sum(stage.is_open for stage in loaded.get_layer("backbone").stages) == 0


@pytest.mark.parametrize("prepare", [True, False])
def test_saved_before_its_first_step(image_model, tmp_path, prepare):
    """Nothing to restore: the optimizer of the loaded model can still be prepared."""
    build(image_model, prepare).save(tmp_path / "model.keras")
    loaded = tlkit.load_model(tmp_path / "model.keras")
    prepare_unfreezing(loaded)
    assert float(loaded.optimizer.learning_rate) == pytest.approx(1e-2)


def test_without_compiling(image_model, tmp_path):
    build(image_model, True).save(tmp_path / "model.keras")
    assert not tlkit.load_model(tmp_path / "model.keras", compile=False).compiled


@pytest.mark.slow
def test_a_fresh_process_loads_the_file_after_the_saved_model_is_gone(image_model, tmp_path):
    shutil.copytree(image_model, tmp_path / "hub")
    model = build(tmp_path / "hub", True)
    images = np.random.default_rng(0).uniform(size=(4, 32, 32, 3)).astype("float32")
    np.save(tmp_path / "images.npy", images)
    model.save(tmp_path / "model.keras")
    shutil.rmtree(tmp_path / "hub")
    script = (
        "import sys, numpy, tlkit\n"
        "model = tlkit.load_model(sys.argv[1])\n"
        "numpy.save(sys.argv[3], model.predict(numpy.load(sys.argv[2]), verbose=0))\n"
    )
    arguments = [str(tmp_path / name) for name in ("model.keras", "images.npy", "answer.npy")]
    subprocess.run([sys.executable, "-c", script, *arguments], check=True, timeout=120)
    np.testing.assert_allclose(np.load(tmp_path / "answer.npy"), model.predict(images, verbose=0), atol=1e-6)


def test_missing_file(tmp_path):
    with pytest.raises(tlkit.UserError, match=r"there is no file '.*missing\.keras'"):
        tlkit.load_model(tmp_path / "missing.keras")


def test_damaged_file(tmp_path):
    (tmp_path / "model.keras").write_bytes(b"PK\x03\x04 cut off")
    with pytest.raises(tlkit.UserError, match="is not a complete '.keras' file"):
        tlkit.load_model(tmp_path / "model.keras")


def test_a_file_without_its_weights_is_told(tmp_path):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    model.save(tmp_path / "whole.keras")
    with zipfile.ZipFile(tmp_path / "whole.keras") as whole, zipfile.ZipFile(tmp_path / "torn.keras", "w") as torn:
        for name in ("metadata.json", "config.json"):  # as when the writing stops before the weights
            torn.writestr(name, whole.read(name))
    with pytest.raises(tlkit.UserError, match="torn.keras' is not a complete '.keras' file: its weights are missing"):
        tlkit.load_model(tmp_path / "torn.keras")
