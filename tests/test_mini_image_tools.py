"""What makes `tlkit:mini-image`: channels chosen, a teacher cut, a SavedModel written."""

import pathlib
import sys

import keras
import numpy as np
import pytest
from PIL import Image

import tlkit

sys.path.append(str(pathlib.Path(__file__).parents[1] / "tools"))
import mini_image_model
import mini_image_views


def test_channels_that_say_all_are_chosen_before_those_that_repeat_them():
    random = np.random.default_rng(0)
    said = random.normal(size=(200, 3)) * (1.0, 2.0, 0.5)
    hidden = np.concatenate([said, said @ random.normal(size=(3, 5))], axis=1)  # five repeat what three say
    hidden -= hidden.mean(0)
    answers = hidden @ random.normal(size=(8, 4))
    chosen, weights = mini_image_model.choose_channels(hidden, answers, 3)
    assert len({*chosen.tolist()}) == 3 and chosen.tolist() == sorted(chosen.tolist())
    np.testing.assert_allclose(hidden[:, chosen] @ weights, answers, atol=1e-2)
    one, _ = mini_image_model.choose_channels(hidden, answers, 1)
    left = [np.linalg.lstsq(hidden[:, [c]], answers, rcond=None)[1].sum() for c in range(8)]
    assert one[0] == np.argmin(left)  # the first is the one that leaves the least


def network(hidden):
    """Blocks 1 to 3 with random BatchNorm statistics."""
    keras.utils.set_random_seed(1)
    model, random = mini_image_model.build_network(hidden, 16), np.random.default_rng(1)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.set_weights([random.uniform(0.5, 1.5, weight.shape) for weight in layer.weights])
    return model


def test_cutting_nothing_changes_nothing():
    images = np.random.default_rng(2).uniform(size=(4, 64, 64, 3)).astype("float32")
    teacher = network([6, 8])
    student, shares = mini_image_model.cut(teacher, [6, 8], 16, images, seed=0)
    assert shares == pytest.approx([1.0, 1.0])
    for name in ("block2_project_bn", "block3_add"):
        whole, cut = (keras.Model(m.input, m.get_layer(name).output).predict(images) for m in (teacher, student))
        np.testing.assert_allclose(cut, whole, atol=2e-3)
    fewer, shares = mini_image_model.cut(teacher, [3, 4], 16, images, seed=0)
    assert fewer.count_params() < student.count_params() and all(0.2 < share < 1 for share in shares)


def test_the_saved_model_says_what_the_network_says(tmp_path):
    images = np.random.default_rng(3).uniform(size=(4, 64, 64, 3)).astype("float32")
    model = network([6, 8])
    mini_image_model.write_saved_model(model, 64, tmp_path / "saved")
    backbone = tlkit.load_backbone(tmp_path / "saved", outputs="spatial")
    assert backbone.native_shape == (64, 64, 3)
    np.testing.assert_allclose(backbone(images), model.predict(images), atol=1e-5)
    assert [stage.name for stage in backbone.stages] == ["stride_2", "stride_4"]
    backbone = tlkit.load_backbone(tmp_path / "saved", training_mode=True)
    statistics = {weight.name: weight for weight in backbone.weights if "moving" in weight.name}
    before = {name: weight.numpy() for name, weight in statistics.items()}
    backbone.unfreeze()
    backbone(images, training=True)
    assert len(before) == 2 * 10  # two for each convolution
    assert all(np.abs(weight.numpy() - before[name]).max() > 0 for name, weight in statistics.items())


def test_a_teacher_of_another_kind_is_refused():
    with pytest.raises(ValueError, match=r"no weight 'stem.kernel' of shape \(3, 3, 3, 32\). Expected a MobileNetV2"):
        mini_image_model.teacher_network({"dense.kernel": np.zeros((2, 2))})


def test_views_are_the_same_for_the_same_seed_and_unreadable_files_are_left_out(tmp_path):
    random = np.random.default_rng(0)
    for number in range(3):
        Image.fromarray(random.integers(0, 256, (80, 120, 3), np.uint8)).save(tmp_path / f"{number}.png")
    Image.fromarray(random.integers(0, 2, (70, 70, 4), np.uint8) * 255).save(tmp_path / "thing.png")
    Image.open(tmp_path / "0.png").resize((240, 160)).save(tmp_path / "0_larger.png")  # the same picture again
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    photos, things = mini_image_views.load_photos(tmp_path)
    assert len(photos) == 3 and len(things) == 1
    views = [mini_image_views.make_view(np.random.default_rng(5), 32, tmp_path) for _ in range(2)]
    assert views[0].shape == (32, 32, 3) and views[0].dtype == np.uint8
    np.testing.assert_array_equal(*views)
    (tmp_path / "none").mkdir()
    with pytest.raises(ValueError, match="no photo was found under"):
        mini_image_views.load_photos(tmp_path / "none")
