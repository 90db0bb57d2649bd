"""Two runs of the same program are the same; a difference is named where it is."""

import json

import keras
import numpy as np
import pytest

import tlkit
from tlkit.callbacks.run_description import all_layers, describe_run, differences


def build(**options):
    inputs = keras.Input((4,))
    x = keras.layers.Dense(8, **options)(inputs)
    inner = keras.Sequential([keras.Input((8,)), keras.layers.Dropout(0.5), keras.layers.Dense(1)])
    model = keras.Model(inputs, inner(x))
    model.compile(keras.optimizers.SGD(0.1), keras.losses.MeanSquaredError(), metrics=["mae"])
    return model


def described(model, steps=3, fingerprint=None):
    return json.loads(json.dumps(describe_run(model, steps, fingerprint)))


def test_the_same_program_twice_in_a_process():
    # Keras names the second model's layers dense_2 and so on, and its optimizer SGD_1.
    assert differences(described(build()), described(build())) == []


def test_what_training_changes_is_no_difference():
    model = build()
    before = described(model)
    model.layers[1].trainable = False
    model.fit(np.ones((4, 4)), np.ones((4, 1)), verbose=0)
    assert differences(before, described(model)) == []


def test_a_backbone_that_was_loaded_anew(image_model):
    def build_with_backbone():
        inputs = keras.Input((32, 32, 3))
        model = keras.Model(inputs, keras.layers.Dense(2)(tlkit.load_backbone(str(image_model))(inputs)))
        model.compile("sgd", "mse")
        return model

    first, second = build_with_backbone(), build_with_backbone()
    second.get_layer("backbone").unfreeze(last=1)
    assert differences(described(first), described(second)) == []


def test_differences_are_named_where_they_are():
    found = differences(described(build()), described(build(activation="relu"), steps=4))
    assert found == ['model.layers.1 (Dense).config.activation: "linear" -> "relu"', "steps_per_epoch: 3 -> 4"]


def test_a_model_of_the_users_own():
    class Own(keras.Model):
        def __init__(self, units):
            super().__init__()
            self.head = keras.layers.Dense(units)

        def call(self, x):
            return self.head(x)

        def get_config(self):
            raise NotImplementedError

    def make(units):
        model = Own(units)
        model(np.ones((1, 4)))
        model.compile("sgd", lambda y, z: keras.ops.mean(y - z))
        return model

    assert differences(described(make(1)), described(make(1))) == []
    assert 'weights.0: "(4, 1) float32" -> "(4, 2) float32"' in differences(described(make(1)), described(make(2)))


@pytest.mark.parametrize(
    ("fingerprint", "words"),
    [
        ("text", "text"),
        ({"a": (1, 2), 3: np.float32(0.5), "array": np.arange(2)}, {"a": [1, 2], "3": 0.5, "array": [0, 1]}),
        ({"path": np.ones, "thing": object()}, {"path": "numpy.ones", "thing": "object"}),
    ],
)
def test_fingerprints(fingerprint, words):
    assert described(build(), fingerprint=fingerprint)["fingerprint"] == words


def test_long_texts_are_compared_but_not_kept():
    first, second = (described(build(), fingerprint="x" * 1000 + end)["fingerprint"] for end in "ab")
    assert len(first) < 100 and first != second


def test_layers_of_nested_models():
    assert [type(layer).__name__ for layer in all_layers(build())] == [
        "InputLayer", "Dense", "Sequential", "Dropout", "Dense",
    ]  # fmt: skip
