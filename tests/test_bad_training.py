"""What cannot work in a training, each in a real `fit`, and the sentence that says so, word for word."""

import re

import keras
import numpy as np
import pytest
import saved_models
import tensorflow as tf

import tlkit
from tlkit.callbacks import ExactResume, LearningRateLogger, ProgressiveUnfreezing
from tlkit.distribution import choose_strategy
from tlkit.finetune import prepare_unfreezing

GROUPS = [["low"], ["high"]]
X = np.random.default_rng(0).normal(size=(16, 4)).astype("float32")
Y = X.sum(axis=1, keepdims=True)


def build(optimizer=None, *, strategy=None, prepare=True, **compile_options):
    """Two closed groups of a layer each, and a head: 6 weights."""
    with (strategy or tf.distribute.get_strategy()).scope():
        layers = [keras.layers.Dense(4, name=name) for name in ("low", "high")]
        model = keras.Sequential([keras.Input((4,)), *layers, keras.layers.Dense(1, name="head")], name="net")
        for layer in layers:
            layer.trainable = False
        model.compile(optimizer() if optimizer else "adam", "mse", **compile_options)
        if prepare:
            prepare_unfreezing(model, GROUPS)
    return model


def unfreezing(schedule=None, **options):
    return ProgressiveUnfreezing(groups=GROUPS, schedule=schedule, verbose=0, **options)


def fit(model, *callbacks, epochs=3):
    return model.fit(X, Y, batch_size=8, epochs=epochs, shuffle=False, verbose=0, callbacks=list(callbacks))


def refusal(model, *callbacks, epochs=3):
    with pytest.raises(tlkit.UserError) as caught:
        fit(model, *callbacks, epochs=epochs)
    return str(caught.value)


# Longer than training: it trains, and says what it will not do ---------------------------------------


def warned(sentence):
    return pytest.warns(UserWarning, match=f"^{re.escape(sentence)}$")


def test_a_schedule_longer_than_training():
    model = build()
    with warned(
        "ProgressiveUnfreezing: `schedule` opens stages in epoch 6, but the training ends after 3 epochs, so that they "
        "stay closed. Expected every opening before the end. Received: schedule={0: 0, 1: 1, 5: 2}. Train longer, or "
        "open them earlier."
    ):
        fit(model, unfreezing({0: 0, 1: 1, 5: 2}))
    assert [layer.trainable for layer in model.layers] == [False, True, True]


def test_a_pace_at_which_nothing_opens():
    with warned(
        "ProgressiveUnfreezing: the first stage opens after 3 epochs at the earliest, but the training ends after 3 "
        "epochs, so that the model 'net' stays closed. Expected stages to open. Received: epochs_per_stage=3. Train "
        "longer, or lower `epochs_per_stage`."
    ):
        fit(build(), unfreezing(epochs_per_stage=3))
    fit(build(), unfreezing(epochs_per_stage=2))  # one stage opens: nothing to say


def test_a_patience_in_which_nothing_opens():
    """The first epoch is the best so far, the second the first that can be no better."""
    with warned(
        "ProgressiveUnfreezing: the first stage opens after 2 epochs at the earliest, but the training ends after 1 "
        "epoch, so that the model 'net' stays closed. Expected stages to open. Received: patience=1. Train longer, or "
        "lower `patience`."
    ):
        fit(build(), unfreezing(monitor="loss", patience=1), epochs=1)


# Nothing to open, and an optimizer that does not know it ------------------------------------------------


def test_a_backbone_without_stages(tmp_path):
    saved_models.save_loop(tmp_path / "loop")
    model = keras.Sequential([keras.Input((4,)), tlkit.load_backbone(str(tmp_path / "loop")), keras.layers.Dense(1)])
    model.compile("adam", "mse")
    expected = (
        r"ProgressiveUnfreezing: 'backbone' has no stage to open: the weight 'kernel' is read inside a While operation "
        r"\('.*while'\)\. Expected at least one\. Leave this callback out: the head trains, and the backbone stays as "
        r"it is\."
    )
    assert re.fullmatch(expected, refusal(model, ProgressiveUnfreezing()))
    fit(model)  # the advice holds


BUILT_EARLY = (
    "prepare_unfreezing: the optimizer was built after the backbone was frozen, so it cannot train new stages. "
    "Expected an optimizer built on all 6 variables. Received: one that knows 2 of them. Compile the model again with "
    "a new optimizer, and call `prepare_unfreezing(model)` right after `model.compile`."
)


def test_an_optimizer_that_has_trained_the_frozen_model():
    model = build(prepare=False)
    fit(model)
    assert refusal(model, unfreezing()) == BUILT_EARLY
    model.compile("adam", "mse")  # the advice holds
    prepare_unfreezing(model, GROUPS)
    fit(model, unfreezing())


def test_an_optimizer_built_by_fit_under_a_strategy():
    assert refusal(build(strategy=choose_strategy("mirrored"), prepare=False), unfreezing()) == BUILT_EARLY


# Callbacks that do not go together ------------------------------------------------------------------------


def test_what_stands_after_exact_resume(tmp_path):
    for later in (unfreezing(), keras.callbacks.EarlyStopping("loss"), LearningRateLogger()):
        assert refusal(build(), ExactResume(tmp_path), later) == (
            f"ExactResume: {type(later).__name__} comes after it, so its state would be saved before it has seen the "
            f"epoch. Expected ExactResume last. Put it at the end of `callbacks`."
        )


def test_a_log_that_is_written_before_the_rates_are_in_it(tmp_path):
    table = tmp_path / "log.csv"
    table.write_text("of an earlier training")
    for writer in (keras.callbacks.CSVLogger(table), keras.callbacks.TensorBoard(tmp_path)):
        name = type(writer).__name__
        assert refusal(build(), writer, LearningRateLogger()) == (
            f"LearningRateLogger: {name} comes before it and would not see the rates. Expected it before those that "
            f"write the logs. Put it in front of {name} in `callbacks`."
        )
    assert table.read_text() == "of an earlier training"


def test_two_that_resume(tmp_path):
    resume = ExactResume(tmp_path / "one")
    for other in (keras.callbacks.BackupAndRestore(tmp_path / "other"), ExactResume(tmp_path / "other")):
        for callbacks in ([other, resume], [resume, other]):
            assert refusal(build(), *callbacks) == (
                f"ExactResume: {type(other).__name__} resumes the training as well. Expected one callback that does. "
                f"Leave out the other."
            )


def test_unfreezing_that_keras_resumes(tmp_path):
    backup = keras.callbacks.BackupAndRestore(tmp_path)
    for callbacks in ([unfreezing(), backup], [backup, unfreezing()]):
        assert refusal(build(), *callbacks) == (
            "ProgressiveUnfreezing: BackupAndRestore brings back weights, but not how far the unfreezing has come. "
            "Expected a callback that resumes both. Put `tlkit.callbacks.ExactResume(directory)` at the end of "
            "`callbacks` in its place."
        )


def test_early_stopping_that_comes_before_the_first_opening():
    for stopping in ({"patience": 2}, {"patience": 1, "min_delta": 0.1}):
        stopping = keras.callbacks.EarlyStopping("loss", **stopping)
        assert refusal(build(), stopping, unfreezing(monitor="loss", patience=2), epochs=5) == (
            f"ProgressiveUnfreezing: EarlyStopping ends the training when 'loss' has not improved for "
            f"{stopping.patience} epoch{'s' if stopping.patience > 1 else ''}, before the next stage could open. "
            f"Expected it to be more patient. Received: patience={stopping.patience} there, patience=2 here. Raise "
            f"that of EarlyStopping."
        )


@pytest.mark.parametrize(
    "options", [{"monitor": "loss", "patience": 3}, {"monitor": "loss", "start_from_epoch": 4}, {"monitor": "mae"}]
)
def test_early_stopping_that_leaves_time(options):
    """In either order: Keras puts the best weights back only when all epochs are over."""
    stopping = keras.callbacks.EarlyStopping(**options, restore_best_weights=True)
    for turned in (1, -1):
        callbacks = [stopping, unfreezing(monitor="loss", patience=2)][::turned]
        fit(build(metrics=["mae"]), *callbacks, epochs=4)


def test_a_metric_that_comes_too_late():
    class Score(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            logs["score"] = 1.0

    fit(build(), Score(), unfreezing(monitor="score", patience=1))
    assert refusal(build(), unfreezing(monitor="score", patience=1), Score()) == (
        "ProgressiveUnfreezing: the metric 'score' is not among those of this training. Expected one of: loss. Those "
        "that begin with 'val_' need `validation_data`, and one that another callback computes needs that callback "
        "before this one."
    )


# What ends in a crash, or in wrong weights, in Keras itself ------------------------------------------------


def averages():
    return keras.optimizers.Adam(use_ema=True)


def test_moving_averages_with_closed_stages():
    assert refusal(build(averages), unfreezing({0: 0, 1: 1})) == (
        "ProgressiveUnfreezing: Keras cannot end a training with moving averages of the weights (`use_ema`) while "
        "stages are closed. Expected all 2 stages to be open in the last epoch. Let the schedule open them, or leave "
        "`use_ema` out."
    )


def test_moving_averages_and_an_end_before_the_stages_are_open():
    assert refusal(build(averages), unfreezing({0: 0, 2: 2}), keras.callbacks.EarlyStopping("loss")) == (
        "ProgressiveUnfreezing: EarlyStopping could end the training while stages are closed, when Keras cannot give "
        "the weights their moving averages (`use_ema`). Expected all 2 stages to be open at the end. Use "
        "`EarlyStopping(..., start_from_epoch=2)`."
    )
    # The advice holds: nothing improves by 100, and the third epoch, in which all is open, is the last of four.
    stopping = keras.callbacks.EarlyStopping("loss", min_delta=100, start_from_epoch=2)
    history = fit(build(averages), unfreezing({0: 0, 2: 2}), stopping, epochs=5)
    assert len(history.epoch) == 4


def test_accumulated_gradients_on_two_devices():
    def accumulating():
        return keras.optimizers.Adam(gradient_accumulation_steps=2)

    assert refusal(build(accumulating, strategy=choose_strategy("mirrored")), unfreezing()) == (
        "ProgressiveUnfreezing: Keras cannot accumulate gradients on 2 devices. Expected one device, or an optimizer "
        "without `gradient_accumulation_steps`. Leave it out: several devices hold a larger batch."
    )
    # When this no longer fails, the sentence can go.
    with pytest.raises(RuntimeError, match="merge_call"):
        fit(build(accumulating, strategy=choose_strategy("mirrored")))


def test_xla_on_two_cpu_devices():
    strategy = choose_strategy("mirrored")
    assert refusal(build(strategy=strategy, jit_compile=True), unfreezing()) == (
        "ProgressiveUnfreezing: Keras cannot compile a step with XLA for 2 CPU devices. Expected GPUs, one device, or "
        "no XLA. Received: jit_compile=True. Leave it out of `model.compile`."
    )
    # When this no longer fails, the sentence can go.
    with pytest.raises(tf.errors.InvalidArgumentError):
        fit(build(strategy=strategy, jit_compile=True))
