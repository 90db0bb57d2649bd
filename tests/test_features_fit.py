"""Training on kept features is the same training as `fit`, only cheaper."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tlkit
from tlkit.callbacks import ProgressiveUnfreezing
from tlkit.data import epochs
from tlkit.features import fit_on_features
from tlkit.finetune import LayerwiseLearningRates, prepare_unfreezing

ROWS, BATCH, SEED = 40, 8, 7  # five steps an epoch
SCHEDULE = {0: 0, 3: 1, 5: 2}
EPOCHS = 6
STAGES = ["stride_2", "stride_4", "stride_8", "stride_16"]


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    return rng.uniform(size=(ROWS, 32, 32, 3)).astype("float32"), rng.integers(0, 2, ROWS)


def in_order(data, rows=ROWS):
    return tf.data.Dataset.from_tensor_slices(tuple(array[:rows] for array in data)).batch(BATCH)


def order_of(pair):
    return tf.random.experimental.stateless_shuffle(tf.range(ROWS, dtype=tf.int64), seed=pair)


def epoch_of(data):
    x, y = map(tf.constant, data)

    def epoch(pair):
        order = order_of(pair)
        return tf.data.Dataset.from_tensor_slices((tf.gather(x, order), tf.gather(y, order))).batch(BATCH)

    return epoch


def build(image_model, optimizer=None, *, dropout=0.5, augment=False, strategy=None, layerwise=False, **options):
    with (strategy or tf.distribute.get_strategy()).scope():
        keras.utils.set_random_seed(3)
        x = inputs = keras.Input((32, 32, 3))
        if augment:
            x = keras.Sequential([keras.layers.RandomFlip(), keras.layers.RandomTranslation(0.2, 0.2)])(x)
        x = tlkit.load_backbone(str(image_model))(x)
        x = keras.layers.Dropout(dropout)(x)
        outputs = keras.layers.Dense(2, activation="softmax", dtype="float32", name="head")(x)
        model = keras.Model(inputs, outputs)
        optimizer = optimizer or keras.optimizers.SGD(0.01, momentum=0.9)
        if layerwise:
            optimizer = LayerwiseLearningRates(optimizer, model, layer_decay=0.5)
        options = {"jit_compile": False, "metrics": ["accuracy"], **options}
        model.compile(optimizer, "sparse_categorical_crossentropy", **options)
        prepare_unfreezing(model)
    return model


def unfreezing(schedule=SCHEDULE):
    return ProgressiveUnfreezing(schedule=schedule, learning_rate_multiplier=0.5, warmup_steps=2, verbose=0)


def fit_plainly(model, data, callbacks=(), num_epochs=EPOCHS, **options):
    return model.fit(
        epochs(epoch_of(data), seed=SEED),
        steps_per_epoch=ROWS // BATCH,
        validation_data=in_order(data, 20),
        epochs=num_epochs,
        callbacks=[unfreezing(), *callbacks],
        shuffle=False,
        verbose=0,
        **options,
    )


def fit_on_kept(model, data, folder, callbacks=(), num_epochs=EPOCHS, **options):
    options = {"precision": "float32", "verbose": 0, "fingerprint": "noise", **options}
    return fit_on_features(
        model,
        in_order(data),
        in_order(data, 20),
        epochs=num_epochs,
        seed=SEED,
        callbacks=[unfreezing(), *callbacks],
        folder=folder,
        **options,
    )


def weights(model):
    return [keras.ops.convert_to_numpy(variable) for variable in model.weights]


def assert_same(first, second, tolerance):
    for a, b in zip(weights(first), weights(second), strict=True):
        np.testing.assert_allclose(a, b, atol=tolerance)


@pytest.fixture(scope="module")
def plain(image_model, data):
    """What `fit` makes of it: the model and its history."""
    model = build(image_model)
    return model, fit_plainly(model, data)


@pytest.fixture
def no_measuring(monkeypatch):
    """The models here are so small that reading a file takes longer than they do: features are kept all the same."""
    monkeypatch.setattr("tlkit.features.plan._seconds_to_read", lambda features, folder: 0.0)


def test_it_is_the_same_training(image_model, data, plain, tmp_path, no_measuring, capsys):
    model = build(image_model)
    opener = unfreezing()
    kept = fit_on_features(
        model,
        in_order(data),
        in_order(data, 20),
        epochs=EPOCHS,
        seed=SEED,
        fingerprint="noise",
        callbacks=[opener],
        folder=tmp_path,
        precision="float32",
        verbose=2,
    )
    assert_same(model, plain[0], 1e-5)
    for name, values in plain[1].history.items():
        np.testing.assert_allclose(kept.history[name], values, atol=1e-5, err_msg=name)
    assert kept.history.keys() == plain[1].history.keys()
    assert kept.epoch == list(range(EPOCHS))
    assert opener.openings == [(3, 1), (5, 2)]
    assert [stage.is_open for stage in model.get_layer("backbone").stages] == [False, False, True, True]
    said = capsys.readouterr().out
    assert "Features, epoch 1: features after the backbone are kept: about" in said
    assert "Features, epoch 4: features after its stage 'stride_8' are kept: about" in said
    # One epoch is left: keeping features would cost what it saves.
    assert "Features, epoch 6: 1 epoch trains end to end: the frozen part would run over 60 rows" in said
    assert "Epoch 6/6" in said


def test_float16_and_adam_give_the_same_loss_curve(image_model, data, tmp_path, no_measuring):
    histories = []
    for train, place in ((fit_plainly, ()), (fit_on_kept, (tmp_path,))):
        options = {"precision": "float16"} if place else {}
        model = build(image_model, keras.optimizers.Adam(1e-3))
        histories.append(train(model, data, *place, **options).history)
    for name in ("loss", "val_loss"):
        np.testing.assert_allclose(histories[0][name], histories[1][name], atol=1e-2)
