"""Training on kept features is the same training as `fit`, only cheaper."""

import contextlib
import io
import re

import keras
import numpy as np
import pytest
import tensorflow as tf

import tlkit
from tlkit.callbacks import ExactResume, LearningRateLogger, ProgressiveUnfreezing
from tlkit.data import epochs
from tlkit.distribution import choose_strategy
from tlkit.features import FeatureStore, cut_model, fit_on_features, list_features
from tlkit.features.plan import Plan
from tlkit.finetune import LayerwiseLearningRates, add_starting_point_penalty, prepare_unfreezing

ROWS, BATCH, SEED = 40, 8, 7  # five steps an epoch
SCHEDULE = {0: 0, 2: 1, 4: 2}
EPOCHS = 5


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


def build(
    image_model,
    optimizer=None,
    *,
    dropout=0.5,
    augment=False,
    hidden=False,
    strategy=None,
    layerwise=False,
    prepare=True,
    **options,
):
    with (strategy or tf.distribute.get_strategy()).scope():
        keras.utils.set_random_seed(3)
        x = inputs = keras.Input((32, 32, 3))
        if augment:
            x = keras.Sequential([keras.layers.RandomFlip(), keras.layers.RandomTranslation(0.2, 0.2)])(x)
        x = tlkit.load_backbone(str(image_model))(x)
        if hidden:
            x = keras.layers.Dense(8, activation="tanh", name="hidden")(x)
        x = keras.layers.Dropout(dropout)(x)
        outputs = keras.layers.Dense(2, activation="softmax", dtype="float32", name="head")(x)
        model = keras.Model(inputs, outputs)
        optimizer = optimizer or keras.optimizers.SGD(0.01, momentum=0.9)
        if layerwise:
            optimizer = LayerwiseLearningRates(optimizer, model, layer_decay=0.5)
        options = {"jit_compile": False, "metrics": ["accuracy"], **options}
        model.compile(optimizer, "sparse_categorical_crossentropy", **options)
        if prepare:
            prepare_unfreezing(model)
    return model


def unfreezing(schedule=SCHEDULE):
    return ProgressiveUnfreezing(schedule=schedule, learning_rate_multiplier=0.5, warmup_steps=2, verbose=0)


def fit_plainly(model, data, callbacks=(), num_epochs=EPOCHS, schedule=SCHEDULE, **options):
    return model.fit(
        epochs(epoch_of(data), seed=SEED),
        steps_per_epoch=ROWS // BATCH,
        validation_data=in_order(data, 20),
        epochs=num_epochs,
        callbacks=[unfreezing({e: n for e, n in schedule.items() if e < num_epochs}), *callbacks],
        shuffle=False,
        verbose=0,
        **options,
    )


def fit_on_kept(model, data, folder, callbacks=(), num_epochs=EPOCHS, opener=None, schedule=SCHEDULE, **options):
    options = {"precision": "float32", "verbose": 0, "fingerprint": "noise", **options}
    used = [opener or unfreezing({e: n for e, n in schedule.items() if e < num_epochs}), *callbacks]
    train, validation = in_order(data), in_order(data, 20)
    try:
        return fit_on_features(
            model, train, validation, epochs=num_epochs, seed=SEED, callbacks=used, folder=folder, **options
        )
    finally:
        for callback in used:
            if isinstance(callback, keras.callbacks.CSVLogger) and callback.csv_file:
                callback.csv_file.close()


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


@pytest.fixture(scope="module")
def kept(image_model, data, tmp_path_factory):
    """The same on kept features, what was said, and where they lie."""
    folder, output = tmp_path_factory.mktemp("features"), io.StringIO()
    model, opener = build(image_model), unfreezing()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(output):
        patch.setattr("tlkit.features.plan._seconds_to_read", lambda features, folder: 0.0)
        history = fit_on_kept(model, data, folder, opener=opener, verbose=2)
    return model, history, opener, output.getvalue(), folder


def test_it_is_the_same_training(plain, kept):
    model, history, opener, said, _ = kept
    assert_same(model, plain[0], 1e-5)
    assert history.history.keys() == plain[1].history.keys()
    for name, values in plain[1].history.items():
        np.testing.assert_allclose(history.history[name], values, atol=1e-5, err_msg=name)
    assert history.epoch == list(range(EPOCHS))
    assert opener.openings == [(2, 1), (4, 2)]  # and ProgressiveUnfreezing saw every opened stage move
    assert [list(groups) for _, groups in opener.movements][-1] == ["stride_8", "stride_16", "other layers"]
    assert [stage.is_open for stage in model.get_layer("backbone").stages] == [False, False, True, True]
    assert "Features, epoch 1: features after the backbone are kept: about" in said
    assert "Features, epoch 3: features after its stage 'stride_8' are kept: about" in said
    # One epoch is left: keeping features would cost what it saves.
    assert "Features, epoch 5: 1 epoch trains end to end: the frozen part would run over 60 rows" in said
    assert said.count(": 40 training and 20 validation examples") == 2
    assert "Epoch 5/5" in said and "5/5" in said


def test_a_second_run_computes_no_features(image_model, data, kept, monkeypatch):
    monkeypatch.setattr("tlkit.features.caching.runner_of", None)
    monkeypatch.setattr("tlkit.features.plan.runner_of", None)
    model = build(image_model)
    fit_on_kept(model, data, kept[-1], num_epochs=2)
    assert len(list_features(kept[-1])) == 4  # two cuts, training and validation


def test_given_labels_spare_a_pass(image_model, data, kept, no_measuring):
    unreadable = in_order(data).skip(1).map(lambda x, y: (tf.debugging.check_numerics(x / 0, "unreadable"), y))
    train = in_order(data).take(1).concatenate(unreadable)
    model = build(image_model)
    options = {"epochs": EPOCHS, "seed": SEED, "fingerprint": "noise", "folder": kept[-1], "precision": "float32"}
    labels = (data[1], data[1][:20])
    train_epoch = epoch_of(data)  # of the last epoch, which trains end to end
    fit_on_features(
        model,
        train,
        in_order(data, 20),
        labels=labels,
        train_epoch=train_epoch,
        callbacks=[unfreezing()],
        verbose=0,
        **options,
    )
    assert_same(model, kept[0], 0)


def test_float16_and_adam_give_the_same_loss_curve(image_model, data, tmp_path, no_measuring):
    models = [build(image_model, keras.optimizers.Adam(1e-3)) for _ in range(2)]
    options = {"num_epochs": 4, "schedule": {0: 1}}
    exact = fit_plainly(models[0], data, **options)
    rounded = fit_on_kept(models[1], data, tmp_path, precision="float16", **options)
    for name in ("loss", "val_loss"):
        np.testing.assert_allclose(rounded.history[name], exact.history[name], atol=1e-2)


def test_callbacks_see_the_whole_model(image_model, data, tmp_path, no_measuring):
    model = build(image_model, layerwise=True)
    assert_unmoved = [w.numpy() for w in model.get_layer("backbone").stages[2].weights]
    seen = []
    callbacks = [
        LearningRateLogger(),
        keras.callbacks.ModelCheckpoint(tmp_path / "model.keras", "val_accuracy"),  # which is better when larger
        keras.callbacks.CSVLogger(tmp_path / "log.csv"),
        keras.callbacks.TensorBoard(tmp_path / "tensorboard"),
        keras.callbacks.EarlyStopping("loss", patience=0, start_from_epoch=2, mode="max", restore_best_weights=True),
        keras.callbacks.LambdaCallback(
            on_train_begin=lambda logs: seen.append("begin"),
            on_train_batch_end=lambda batch, logs: seen.append(batch),
            on_test_batch_end=lambda batch, logs: seen.append(f"test {batch}"),
            on_train_end=lambda logs: seen.append("end"),
        ),
    ]
    history = fit_on_kept(model, data, tmp_path / "features", callbacks, num_epochs=9)
    assert len(history.epoch) == 4  # EarlyStopping asked for a loss that rises
    epoch = [0, 1, 2, 3, 4, "test 0", "test 1", "test 2"]
    assert seen == ["begin", *epoch * 4, "end"]
    # Rate 0.01, halved at the opening; the opened stage has half of that.
    rates = history.history["learning_rate/stride_16"]
    np.testing.assert_allclose(rates, [0, 0, 0.0025, 0.0025], rtol=1e-5)
    for weight, value in zip(model.get_layer("backbone").stages[2].weights, assert_unmoved, strict=True):
        np.testing.assert_array_equal(weight.numpy(), value)
    rows = (tmp_path / "log.csv").read_text().splitlines()
    assert len(rows) == 5 and rows[0].startswith("epoch,accuracy,learning_rate")
    loaded = tlkit.load_model(tmp_path / "model.keras")
    assert loaded.input_shape == (None, 32, 32, 3)
    assert [stage.is_open for stage in loaded.get_layer("backbone").stages] == [False, False, False, True]


@pytest.mark.slow
def test_two_devices_train_as_one(image_model, data, tmp_path, no_measuring):
    models = [build(image_model, strategy=strategy, dropout=0.0) for strategy in (choose_strategy("mirrored"), None)]
    options = {"num_epochs": 3, "schedule": {0: 1}}
    histories = [fit_on_kept(model, data, tmp_path / str(i), **options) for i, model in enumerate(models)]
    np.testing.assert_allclose(histories[0].history["loss"], histories[1].history["loss"], rtol=1e-4)
    assert_same(*models, 1e-4)
    assert len(list(tmp_path.glob("*/*/00000-*.npy"))) == 4


class Kill(keras.callbacks.Callback):
    """Ends the process, as far as a test can."""

    def __init__(self, epoch, batch):
        super().__init__()
        self.moment, self.epoch = (epoch, batch), 0

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if (self.epoch, batch) == self.moment:
            raise KeyboardInterrupt

    def get_state(self):
        return None

    def set_state(self, state):
        pass


def test_a_training_that_was_killed_ends_in_the_same_weights(
    image_model, data, kept, tmp_path, no_measuring, monkeypatch, capsys
):
    with pytest.raises(KeyboardInterrupt):
        fit_on_kept(build(image_model), data, kept[-1], [Kill(3, 1), ExactResume(tmp_path)])
    resume, model = ExactResume(tmp_path), build(image_model)
    assert resume.initial_epoch == 3
    never = Kill(99, 0)
    # What was decided holds, though the features are gone and reading them would now take longer than the backbone.
    monkeypatch.setattr("tlkit.features.plan._seconds_to_read", lambda features, folder: 1e6)
    options = {"initial_epoch": resume.initial_epoch, "verbose": 1}
    history = fit_on_kept(model, data, tmp_path / "anew", [never, resume], **options)
    assert "1 epoch trains on features after its stage 'stride_8', as was decided before" in capsys.readouterr().out
    assert_same(model, kept[0], 0)
    assert history.history == kept[1].history


def test_augmented_copies(image_model, data, tmp_path, no_measuring, capsys):
    model, by_hand = (build(image_model, augment=True, dropout=0.0) for _ in range(2))
    fit_on_kept(model, data, tmp_path, num_epochs=4, copies=2, verbose=1, schedule={0: 0})
    said = capsys.readouterr().out
    assert "Augmentation: 2 versions of each example for 4 epochs (`copies`)." in said
    assert "Features after the backbone: 2 versions of 40 training and 20 validation examples" in said
    stores = {store.made_of["made_of"].get("copy"): store.folder for store in list_features(tmp_path)}
    assert stores.keys() == {0, 1, None}  # None: the validation, which is not augmented
    # Epoch e trains on version e % 2, in the order of epoch e.
    _, tail = cut_model(by_hand, 4)
    tail.compile(by_hand.optimizer, "sparse_categorical_crossentropy")
    for epoch in range(4):
        features = FeatureStore(stores[epoch % 2], num_rows=ROWS, row_shape=(12,), precision="float32")
        assert features.missing() == []
        order = order_of([SEED, epoch]).numpy()
        tail.fit(features.read(order), data[1][order], BATCH, shuffle=False, verbose=0)
    assert_same(model, by_hand, 1e-5)


def test_measuring_leaves_the_draws_of_an_augmentation_alone(image_model, data, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("tlkit.features.plan._seconds_to_read", lambda features, folder: 1e6)
    models = [build(image_model, augment=True) for _ in range(2)]
    options = {"num_epochs": 2, "schedule": {0: 0}}
    fit_plainly(models[0], data, **options)
    fit_on_kept(models[1], data, tmp_path, verbose=1, **options)
    assert re.search("2 epochs train end to end: .* would cost .*, and reading them", capsys.readouterr().out)
    assert_same(*models, 1e-5)


def test_nothing_is_kept_beyond_the_budget(image_model, data, plain, tmp_path, capsys):
    model, numbers = build(image_model), []

    def train_epoch(pair):
        numbers.append(tuple(pair.numpy()))
        return epoch_of(data)(pair)

    history = fit_on_kept(model, data, tmp_path, num_epochs=3, budget=1000, train_epoch=train_epoch, verbose=2)
    # 60 rows of 12 numbers, then of 4 x 4 x 8 numbers, of 4 bytes each.
    said = capsys.readouterr().out
    assert "2 epochs train end to end: the features after the backbone would take 2.88 kB, more than the 1 kB" in said
    assert numbers == [(SEED, 0), (SEED, 1), (SEED, 2)]
    np.testing.assert_allclose(history.history["loss"], plain[1].history["loss"][:3], atol=1e-5)
    assert not list(tmp_path.glob("*/*.npy"))


def test_sample_weights_and_moving_averages(image_model, data, tmp_path, no_measuring):
    x, y, weight = *data, np.linspace(0, 2, ROWS, dtype="float32")
    optimizers = [keras.optimizers.SGD(0.02, use_ema=True, ema_momentum=0.9) for _ in range(2)]
    models = [build(image_model, optimizer, dropout=0.0, prepare=False) for optimizer in optimizers]
    order = np.concatenate([order_of([SEED, epoch]) for epoch in range(3)])
    models[0].fit(x[order], y[order], BATCH, sample_weight=weight[order], shuffle=False, verbose=0)
    train = tf.data.Dataset.from_tensor_slices((x, y, weight)).batch(BATCH)
    options = {"seed": SEED, "fingerprint": "noise", "folder": tmp_path, "precision": "float32", "verbose": 0}
    fit_on_features(models[1], train, epochs=3, **options)
    assert_same(*models, 1e-5)


def test_a_pull_to_the_start(image_model, data, tmp_path, no_measuring):
    models = [build(image_model) for _ in range(2)]
    for model in models:
        add_starting_point_penalty(model, alpha=10.0)
    expected = fit_plainly(models[0], data, num_epochs=2, schedule={0: 1})
    history = fit_on_kept(models[1], data, tmp_path, num_epochs=2, schedule={0: 1})
    assert_same(*models, 1e-5)
    np.testing.assert_allclose(history.history["loss"], expected.history["loss"], rtol=1e-5)
    without = build(image_model)
    fit_plainly(without, data, num_epochs=2, schedule={0: 1})
    moved = np.abs(without.weights[-1].numpy() - models[1].weights[-1].numpy()).max()
    assert moved > 1e-4  # the penalty is strong enough to be seen


def test_class_weights_in_mixed_precision(image_model, data, tmp_path, no_measuring):
    keras.mixed_precision.set_global_policy("mixed_float16")
    models = [build(image_model) for _ in range(2)]
    options = {"num_epochs": 2, "class_weight": {0: 0.2, 1: 3.0}}
    fit_plainly(models[0], data, **options)
    fit_on_kept(models[1], data, tmp_path, **options)
    assert_same(*models, 1e-5)


@pytest.mark.slow
def test_a_stage_opens_when_a_metric_stands_still(image_model, data, tmp_path, no_measuring):
    model = build(image_model)
    opener = ProgressiveUnfreezing(monitor="val_accuracy", min_delta=1.0, patience=1, verbose=0)
    fit_on_kept(model, data, tmp_path, opener=opener, num_epochs=4)
    assert opener.openings == [(2, 1)]


def test_layers_behind_the_cut_open_too(image_model, data, tmp_path, no_measuring):
    """The tail is traced again, or they would silently stay as they are."""
    model = build(image_model, hidden=True, prepare=False)
    opener = ProgressiveUnfreezing(groups=[["hidden"]], schedule={0: 0, 2: 1}, verbose=0)
    prepare_unfreezing(model, [["hidden"]])
    fit_on_kept(model, data, tmp_path, opener=opener, num_epochs=4)
    assert opener.movements[-1][1]["hidden"] > 0
    assert len(list_features(tmp_path)) == 2  # the same features as before


def test_a_callback_ends_the_training_in_the_middle_of_an_epoch(image_model, data, tmp_path, no_measuring):
    model, batches = build(image_model), []

    class Stop(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            batches.append(batch)
            self.model.stop_training = batch == 1

    fit_on_kept(model, data, tmp_path, [Stop()])
    assert batches == [0, 1]


def test_texts(tmp_path, no_measuring, capsys):
    texts = np.array([f"number {i} is {'good' if i % 2 else 'bad'}" for i in range(12)])
    train = tf.data.Dataset.from_tensor_slices((texts, np.arange(12) % 2)).batch(4)
    inputs = keras.Input((), dtype="string")
    model = keras.Model(inputs, keras.layers.Dense(2)(tlkit.load_backbone("tlkit:mini-text")(inputs)))
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    options = {"precision": "bfloat16", "verbose": 2}
    history = fit_on_features(model, train, epochs=3, seed=0, fingerprint="texts", folder=tmp_path, **options)
    assert "are kept" in capsys.readouterr().out
    assert history.history["loss"][-1] < history.history["loss"][0]


def untellable(y_true, y_pred):
    return tf.reduce_mean(y_pred)


def test_what_cannot_be_cut_trains_end_to_end(image_model, data, plain, tmp_path, capsys):
    model = build(image_model, metrics=[untellable])
    history = fit_on_kept(model, data, tmp_path, num_epochs=2, verbose=2)
    said = capsys.readouterr().out
    assert "Features, epoch 1: it trains end to end, since the metrics of" in said
    np.testing.assert_allclose(history.history["loss"], plain[1].history["loss"][:2], atol=1e-5)


# What is wrong with arguments ---------------------------------------------------------------------


def test_arguments(image_model, data, tmp_path):
    model, good = build(image_model), in_order(data)
    options = {"epochs": 1, "seed": 0, "fingerprint": "noise", "folder": tmp_path}
    bare, backup = keras.Model(model.inputs[0], model.outputs[0]), keras.callbacks.BackupAndRestore(tmp_path / "b")
    for chosen, train, more, message in [
        (bare, good, {}, "has no optimizer. Expected a compiled model"),
        (model, good, {"copies": 0}, "Expected at least 1. Received: copies=0"),
        (model, good, {"callbacks": [backup]}, r"Expected `tlkit.callbacks.ExactResume\(directory\)`"),
        (model, good, {"precision": "int8"}, "Expected one of 'float16', 'bfloat16', 'float32'"),
        (model, data, {}, r"of batches \(x, y\) or \(x, y, sample_weight\). Received: tuple"),
        (model, good.map(lambda x, y: x), {}, "Received: TensorSpec"),
        (model, good.repeat(), {}, "`train` never ends. Expected each example once"),
        (model, good.take(0), {}, "`train` holds no example"),
        (model, good, {"labels": (data[1][:32], None)}, "labels of `train` .* Received: 32 for 5 batches of 8"),
    ]:
        with pytest.raises(tlkit.UserError, match=message):
            fit_on_features(chosen, train, **{**options, **more})
    with pytest.raises(tlkit.UserError, match="`validation` holds no example"):
        fit_on_features(model, good, good.take(0), **options)


# The arithmetic of the decision -------------------------------------------------------------------


def plan(**options):
    values = {"epochs": 4, "rows_an_epoch": 150, "rows_missing": 150, "row_bytes": 2000, "budget": 1e6}
    return Plan(**{**values, "prefix_seconds": 0.02, "read_seconds": 0.001, **options})


@pytest.mark.parametrize(
    ("options", "keeps", "sentence"),
    [
        # 150 x 0.02 = 3 s once and 4 x 150 x 0.001 = 0.6 s of reading, against 4 x 150 x 0.02 = 12 s.
        ({}, True, "features after X are kept: about 3.0 s and 300 kB once, against 12.0 s of the frozen part in 4"),
        # 3 s and 9.6 s of reading against 12 s.
        ({"read_seconds": 0.016}, False, "would cost 3.0 s and 300 kB once, against 12.0 s .*, and reading them"),
        # On eight devices 12 / 8 = 1.5 s.
        ({"devices": 8}, False, "4 epochs train end to end: the frozen part would run over 150 rows"),
        ({"devices": 3}, True, "against 4.0 s"),
        ({"epochs": 1}, False, "1 epoch trains end to end"),
        (
            {"rows_missing": 600, "budget": 1e9},
            False,
            "would run over 600 rows to keep their features, and no more than that without",
        ),
        ({"rows_missing": 0, "epochs": 1}, True, "the features after X are on disk already; 1 epoch trains on them"),
        # What was decided before an interruption holds, whatever it would cost now.
        ({"decided": True, "read_seconds": 0.016}, True, "4 epochs train on features after X, as was decided"),
        ({"decided": False}, False, "4 epochs train end to end, as was decided before"),
        ({"decided": True, "budget": 299_999}, False, "would take 300 kB, more than"),
        ({"budget": 299_999}, False, "would take 300 kB, more than the 300 kB of `budget`"),
    ],
)
def test_features_are_kept_when_that_is_cheaper(options, keeps, sentence):
    assert plan(**options).keeps is keeps
    assert re.search(sentence, plan(**options).sentence("X"))
