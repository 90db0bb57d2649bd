"""Unfreezing in a real `fit`: what moves, what does not, and what is refused."""

import copy

import keras
import numpy as np
import pytest
import tensorflow as tf

import tlkit
from tlkit.callbacks import ProgressiveUnfreezing
from tlkit.distribution import choose_strategy
from tlkit.finetune import prepare_unfreezing


def build(image_model, strategy=None, optimizer=None, prepare=True, **compile_options):
    with (strategy or tf.distribute.get_strategy()).scope():
        keras.utils.set_random_seed(3)
        inputs = keras.Input((32, 32, 3))
        features = tlkit.load_backbone(str(image_model))(inputs)
        outputs = keras.layers.Dense(2, activation="softmax", dtype="float32", name="head")(features)
        model = keras.Model(inputs, outputs)
        model.compile(optimizer or keras.optimizers.Adam(1e-2), "sparse_categorical_crossentropy", **compile_options)
        if prepare:
            prepare_unfreezing(model)
    return model


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    return rng.uniform(size=(32, 32, 32, 3)).astype("float32"), rng.integers(0, 2, 32)


class Witness(keras.callbacks.Callback):
    """Records which stages' trainable weights changed in each epoch, and the first moment of the head's kernel."""

    def __init__(self):
        super().__init__()
        self.moved, self.moments_before, self.moments_after = [], [], []

    def values(self):
        stages = self.model.get_layer("backbone").stages
        return {stage.name: [keras.ops.convert_to_numpy(w) for w in stage.weights] for stage in stages}

    def head_moment(self):
        inner = getattr(self.model.optimizer, "inner_optimizer", self.model.optimizer)
        [moment] = [v for v in inner.variables if "head_kernel_momentum" in v.path]
        return keras.ops.convert_to_numpy(moment)

    def on_epoch_begin(self, epoch, logs=None):
        self.before = self.values()
        self.moments_before.append(self.head_moment())

    def on_epoch_end(self, epoch, logs=None):
        after = self.values()
        self.moved.append(
            [
                name
                for name in after
                if any(not np.array_equal(a, b) for a, b in zip(self.before[name], after[name], strict=True))
            ]
        )
        self.moments_after.append(self.head_moment())


SCHEDULE = {0: 0, 1: 1, 2: 3}
EXPECTED = [[], ["stride_16"], ["stride_4", "stride_8", "stride_16"]]


def fit(model, data, callbacks, epochs=3):
    return model.fit(*data, batch_size=16, epochs=epochs, shuffle=False, verbose=0, callbacks=callbacks)


@pytest.mark.parametrize("devices", [1, 2])
@pytest.mark.parametrize("policy", ["float32", "mixed_float16"])
def test_opened_stages_move_and_frozen_ones_stay_bit_equal(image_model, data, devices, policy):
    keras.mixed_precision.set_global_policy(policy)
    strategy = choose_strategy("mirrored") if devices == 2 else None
    witness = Witness()
    model = build(image_model, strategy)
    unfreezing = ProgressiveUnfreezing(schedule=SCHEDULE, verbose=0)
    history = fit(model, data, [witness, unfreezing])
    assert witness.moved == EXPECTED
    assert unfreezing.openings == [(1, 1), (2, 3)]
    assert all(np.isfinite(history.history["loss"]))
    # The head's moments go on through each opening.
    for after, before in zip(witness.moments_after, witness.moments_before[1:], strict=False):
        assert np.abs(after).max() > 0
        np.testing.assert_array_equal(after, before)


@pytest.mark.slow
def test_two_devices_train_as_one(image_model, data):
    losses = []
    for strategy in (None, choose_strategy("mirrored")):
        model = build(image_model, strategy)
        losses.append(fit(model, data, [ProgressiveUnfreezing(schedule=SCHEDULE, verbose=0)]).history["loss"])
        keras.utils.clear_session()
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-4)


@pytest.mark.parametrize("options", [{"jit_compile": True}, {"steps_per_execution": 2}])
def test_compile_options(image_model, data, options):
    witness = Witness()
    fit(build(image_model, **options), data, [witness, ProgressiveUnfreezing(schedule=SCHEDULE, verbose=0)])
    assert witness.moved == EXPECTED


@pytest.mark.parametrize("optimizer", [keras.optimizers.SGD(0.1, momentum=0.9), keras.optimizers.AdamW(1e-2)])
def test_optimizers(image_model, data, optimizer):
    model = build(image_model, optimizer=optimizer)
    before = [w.numpy() for w in model.get_layer("backbone").stages[0].weights]
    fit(model, data, [ProgressiveUnfreezing(schedule=SCHEDULE, verbose=0)])
    for weight, value in zip(model.get_layer("backbone").stages[0].weights, before, strict=True):
        np.testing.assert_array_equal(weight.numpy(), value)  # no weight decay on frozen weights either


def test_forgotten_preparation_is_made_up_for_on_one_device(image_model, data):
    witness = Witness()
    model = build(image_model, prepare=False)
    witness.head_moment = lambda: np.zeros(1)  # before the first epoch there is no optimizer to look at
    fit(model, data, [witness, ProgressiveUnfreezing(schedule=SCHEDULE, verbose=0)])
    assert witness.moved == EXPECTED


def test_forgotten_preparation_is_an_error_under_a_strategy(image_model, data):
    model = build(image_model, choose_strategy("mirrored"), prepare=False)
    with pytest.raises(tlkit.UserError, match="built on all 20 variables. Received: one that knows 2 of them"):
        fit(model, data, [ProgressiveUnfreezing(schedule=SCHEDULE, verbose=0)])


def test_a_stage_that_does_not_move_is_an_error(image_model, data):
    model = build(image_model, optimizer=keras.optimizers.SGD(0.0))
    with pytest.raises(tlkit.UserError, match="stage 'stride_16' was opened but none of its 6 trainable weights moved"):
        fit(model, data, [ProgressiveUnfreezing(verbose=0)])


def test_learning_rate_falls_at_each_opening(image_model, data):
    model = build(image_model, optimizer=keras.optimizers.SGD(0.08))
    rates = []
    watch = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: rates.append(_rate(model)))
    fit(model, data, [ProgressiveUnfreezing(schedule=SCHEDULE, learning_rate_multiplier=0.5, verbose=0), watch])
    assert rates == pytest.approx([0.08, 0.04, 0.02])


def _rate(model):
    return float(keras.ops.convert_to_numpy(model.optimizer.learning_rate))


def test_start_in_the_middle_opens_all_that_is_due(image_model, data):
    model = build(image_model, optimizer=keras.optimizers.SGD(0.08))
    unfreezing = ProgressiveUnfreezing(schedule=SCHEDULE, learning_rate_multiplier=0.5, verbose=0)
    model.fit(*data, batch_size=16, epochs=4, initial_epoch=3, verbose=0, callbacks=[unfreezing])
    assert unfreezing.openings == [(3, 3)]
    assert _rate(model) == pytest.approx(0.02)  # two openings of the schedule lie behind


def test_one_stage_an_epoch_by_default(image_model):
    unfreezing = ProgressiveUnfreezing(epochs_per_stage=2)
    unfreezing.set_model(build(image_model))
    assert [unfreezing.stages_open_at(epoch) for epoch in range(12)] == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 4, 4]


def test_prints_what_trains(image_model, data, capsys):
    fit(build(image_model), data, [ProgressiveUnfreezing(schedule={0: 0, 1: 1})], epochs=2)
    # down3 (3*3*8*10 + 2*10), top (1*1*10*12 + 2*12) and the head (12*2 + 2)
    trained = 720 + 20 + 120 + 24 + 26
    assert f"Epoch 2: opened stride_16 of 'backbone'; {trained} of " in capsys.readouterr().out


def test_a_copy_opens_the_model_it_is_given(image_model, data):
    """KerasTuner copies callbacks deeply for each trial."""
    model = build(image_model)
    original = ProgressiveUnfreezing(backbone=model.get_layer("backbone"), schedule=SCHEDULE, verbose=0)
    witness = Witness()
    fit(model, data, [witness, copy.deepcopy(original)])
    assert witness.moved == EXPECTED


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"epochs_per_stage": 0}, "`epochs_per_stage` is too small. Expected at least 1. Received: epochs_per_stage=0"),
        ({"schedule": {}}, "`schedule` is not usable"),
        ({"schedule": {0: 2, 3: 1}}, "with the stages rising"),
        ({"schedule": {-1: 2}}, "neither below 0"),
        ({"learning_rate_multiplier": 0}, "Expected a number above 0. Received: learning_rate_multiplier=0"),
    ],
)
def test_arguments(arguments, message):
    with pytest.raises(tlkit.UserError, match=message):
        ProgressiveUnfreezing(**arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"schedule": {0: 5}}, "opens 5 stages. Expected at most 4"),
        ({"backbone": "encoder"}, "has 0 backbones named 'encoder' to choose from. .* Found: 'backbone'"),
    ],
)
def test_what_does_not_fit_the_model(image_model, data, arguments, message):
    with pytest.raises(tlkit.UserError, match=message):
        fit(build(image_model), data, [ProgressiveUnfreezing(**arguments)])


def test_a_scheduled_rate_cannot_be_multiplied(image_model, data):
    rate = keras.optimizers.schedules.CosineDecay(0.1, 10)
    model = build(image_model, optimizer=keras.optimizers.SGD(rate))
    with pytest.raises(tlkit.UserError, match="cannot change a learning rate that follows a schedule"):
        fit(model, data, [ProgressiveUnfreezing(learning_rate_multiplier=0.5)])


def test_open_stages_survive_save_and_reload_and_training_goes_on(image_model, data, tmp_path):
    model = build(image_model)
    fit(model, data, [ProgressiveUnfreezing(schedule=SCHEDULE, verbose=0)])
    model.save(tmp_path / "model.keras")
    loaded = tlkit.load_model(tmp_path / "model.keras")
    assert [s.is_open for s in loaded.get_layer("backbone").stages] == [False, True, True, True]
    np.testing.assert_array_equal(loaded.predict(data[0], verbose=0), model.predict(data[0], verbose=0))
    history = fit(loaded, data, [], epochs=1)
    assert np.isfinite(history.history["loss"][0])


def test_unprepared_model_without_optimizer(image_model):
    model = keras.Sequential([keras.layers.Dense(1)])
    with pytest.raises(tlkit.UserError, match=r"has no optimizer. Expected a compiled model. Call `model.compile"):
        prepare_unfreezing(model)
