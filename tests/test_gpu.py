"""What a graphics card could do differently: `make test-gpu`. Skipped where TensorFlow sees none."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tlkit
from tlkit.callbacks import ProgressiveUnfreezing
from tlkit.distribution import choose_strategy
from tlkit.finetune import prepare_unfreezing

pytestmark = pytest.mark.gpu


@pytest.fixture(autouse=True)
def card():
    if not tf.config.list_physical_devices("GPU"):
        pytest.skip("TensorFlow sees no graphics card here")


@pytest.fixture
def images():
    return np.random.default_rng(0).uniform(size=(32, 128, 128, 3)).astype("float32")


def test_features_are_those_of_the_cpu(images):
    with tf.device("CPU:0"):
        expected = tlkit.load_backbone("tlkit:mini-image")(images)
    with tf.device("GPU:0"):
        actual = tlkit.load_backbone("tlkit:mini-image")(images)
    # TF32 keeps 10 bits of each factor: about one part in a thousand.
    np.testing.assert_allclose(actual, expected, rtol=2e-2, atol=2e-2)


@pytest.mark.parametrize("policy", ["float32", "mixed_float16", "mixed_bfloat16"])
@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize("strategy", ["one-device", "mirrored"])
def test_stages_open_and_learn(images, policy, jit_compile, strategy):
    keras.mixed_precision.set_global_policy(policy)
    labels = np.arange(32) % 2
    images[labels == 1] *= 0.5  # dark or bright: learnt at once
    with choose_strategy(strategy).scope():
        inputs = keras.Input((128, 128, 3))
        features = tlkit.load_backbone("tlkit:mini-image")(inputs)
        model = keras.Model(inputs, keras.layers.Dense(2, activation="softmax", dtype="float32")(features))
        model.compile(keras.optimizers.Adam(1e-3), "sparse_categorical_crossentropy", jit_compile=jit_compile)
        prepare_unfreezing(model)
    unfreezing = ProgressiveUnfreezing(schedule={0: 0, 2: 1, 4: 5}, verbose=0)
    history = model.fit(images, labels, batch_size=16, epochs=8, verbose=0, callbacks=[unfreezing])
    assert unfreezing.openings == [(2, 1), (4, 5)]
    assert history.history["loss"][-1] < history.history["loss"][0]
