"""`prepare_unfreezing` and the one private name of Keras' optimizers that it reads."""

import keras
import pytest

import tlkit
from tlkit.finetune import known_variables, prepare_unfreezing
from tlkit.finetune.prepare import find_backbones


def classifier(image_model, name="backbone"):
    inputs = keras.Input((32, 32, 3))
    return keras.Model(inputs, keras.layers.Dense(2)(tlkit.load_backbone(str(image_model), name=name)(inputs)))


def test_keras_still_keeps_the_list_of_variables_we_read():
    layer = keras.layers.Dense(1)
    layer.build((None, 2))
    for optimizer in (keras.optimizers.Adam(), keras.mixed_precision.LossScaleOptimizer(keras.optimizers.SGD())):
        optimizer.build(layer.trainable_variables)
        assert known_variables(optimizer) == {id(v) for v in layer.trainable_variables}


def test_builds_on_everything_and_leaves_the_stages_as_they_are(image_model):
    model = classifier(image_model)
    model.get_layer("backbone").unfreeze(last=1)
    model.compile("adam", "mse")
    prepare_unfreezing(model)
    assert len(known_variables(model.optimizer)) == 18 + 2
    assert [s.is_open for s in model.get_layer("backbone").stages] == [False, False, False, True]
    prepare_unfreezing(model)  # twice is once


def test_optimizer_built_too_early(image_model):
    model = classifier(image_model)
    model.compile("adam", "mse")
    model.optimizer.build(model.trainable_variables)
    with pytest.raises(tlkit.UserError, match="built on all 20 variables. .* that knows 2 of them"):
        prepare_unfreezing(model)


def test_backbones_in_nested_models_are_found_once(image_model):
    inner = classifier(image_model)
    inputs = keras.Input((32, 32, 3))
    outer = keras.Model(inputs, inner(inputs) + inner(inputs))
    assert find_backbones(outer) == [inner.get_layer("backbone")]
