"""Detectors that grow by class name, and dense classifiers as convolutions."""

import keras
import numpy as np
import pytest
from detectors import SIZE, small_backbone

from tlkit import UserError
from tlkit.detection import build_detector, classifier_to_convolution, warm_start_detector


def detector(num_classes, width=8):
    return build_detector(small_backbone(), num_classes, image_size=SIZE, width=width, num_convolutions=1)


IMAGES = np.random.default_rng(0).uniform(size=(1, SIZE, SIZE, 3)).astype("float32")


def test_old_classes_answer_as_before_and_new_ones_start_fresh():
    old, new = detector(3), detector(3)
    fresh = [weight.copy() for weight in new.get_layer("head").class_logits.get_weights()]
    assert warm_start_detector(new, ["fox", "cat", "ant"], old, ["ant", "bee", "cat"]) == ("fox",)
    before, after = old(IMAGES), new(IMAGES)
    np.testing.assert_array_equal(after["class"][..., 1:], before["class"].numpy()[..., [2, 0]])
    for name in ("box", "centerness"):
        np.testing.assert_array_equal(after[name], before[name])
    for weight, first in zip(new.get_layer("head").class_logits.get_weights(), fresh, strict=True):
        np.testing.assert_array_equal(weight[..., 0], first[..., 0])


def test_one_class_more():
    old, new = detector(1), detector(2)
    assert warm_start_detector(new, ["ant", "bee"], old, ["ant"]) == ("bee",)
    np.testing.assert_array_equal(new(IMAGES)["class"][..., :1], old(IMAGES)["class"])


def test_a_detector_that_does_not_fit_leaves_all_as_it_was():
    new = detector(2)
    before = new.get_weights()
    with pytest.raises(UserError, match="Expected 2 different names, .*Received: class_names=\\['ant'\\]"):
        warm_start_detector(new, ["ant"], detector(2), ["ant", "bee"])
    with pytest.raises(UserError, match="`from_class_names` are not the names .*Expected 1 different names"):
        warm_start_detector(new, ["ant", "bee"], detector(1), ["ant", "bee"])
    with pytest.raises(UserError, match="differ in 'feature_pyramid/.*Expected shape .*8\\).*Received: .*16\\)"):
        warm_start_detector(new, ["ant", "bee"], detector(2, width=16), ["ant", "bee"])
    with pytest.raises(UserError, match="the model 'backbone' is no detector"):
        warm_start_detector(new, ["ant", "bee"], small_backbone(), ["ant", "bee"])
    for weight, value in zip(new.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, value)


@pytest.mark.parametrize("options", [{"activation": "softmax"}, {"use_bias": False}])
def test_a_convolution_of_a_constant_map_is_the_dense_classifier(options):
    dense = keras.layers.Dense(3, **options)
    features = np.random.default_rng(0).normal(size=(2, 5)).astype("float32")
    answer = dense(features)
    convolution = classifier_to_convolution(dense)
    maps = convolution(np.tile(features[:, None, None], (1, 4, 6, 1)))
    np.testing.assert_allclose(maps, np.tile(np.asarray(answer)[:, None, None], (1, 4, 6, 1)), rtol=1e-5)
    convolution.set_weights([np.zeros_like(weight) for weight in convolution.get_weights()])
    np.testing.assert_array_equal(dense(features), answer)  # copies


def test_what_is_no_dense_classifier():
    for layer in (keras.layers.Dense(3), keras.layers.Conv2D(3, 1)):
        with pytest.raises(UserError, match="Expected a Dense layer that was called once. Received: '(dense|conv2d)"):
            classifier_to_convolution(layer)
