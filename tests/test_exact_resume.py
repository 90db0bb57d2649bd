"""A training that stopped in the middle ends in the same weights; what has changed is refused."""

import copy
import os
import signal
import threading

import keras
import numpy as np
import pytest
import resumed_training as training
from resumed_training import EPOCHS, STEPS, build, callbacks, everything, examples, fit

import tlkit
from tlkit.callbacks import ExactResume, ProgressiveUnfreezing
from tlkit.callbacks.checkpoint_folder import list_checkpoints
from tlkit.distribution import choose_strategy
from tlkit.finetune import LayerwiseLearningRates


class StopError(Exception):
    """Stands for a kill: `fit` ends in the middle of a batch, and the model is thrown away."""


class Stop(keras.callbacks.Callback):
    def __init__(self, after, action=None):
        super().__init__()
        self.remaining, self.action = after, action

    def on_train_batch_end(self, batch, logs=None):
        self.remaining -= 1
        if self.remaining == 0:
            if self.action is None:
                raise StopError
            self.action()

    def get_state(self):
        return None

    def set_state(self, state):
        pass


def stop_and_go_on(folder, make, after, **options):
    """Trains until the batch, then with a new model to the end; returns the model and its history."""
    with pytest.raises(StopError):
        fit(make(), folder, extra=[Stop(after)], **options)
    model = make()
    # The same callbacks, or they would be others than those saved.
    history = fit(model, folder, extra=[Stop(-1)], **options)
    return model, history


def assert_same_end(tmp_path, make, after, **options):
    left_alone = make()
    history = fit(left_alone, tmp_path / "left_alone", extra=[Stop(-1)], **options)
    model, resumed = stop_and_go_on(tmp_path / "stopped", make, after, **options)
    assert everything(model) == everything(left_alone)
    assert resumed.epoch == history.epoch and resumed.history == history.history
    assert [layer.trainable for layer in model.layers] == [layer.trainable for layer in left_alone.layers]
    logs = [(tmp_path / name / "log.csv") for name in ("left_alone", "stopped")]
    if logs[0].exists():
        assert logs[0].read_bytes() == logs[1].read_bytes()


@pytest.fixture(autouse=True)
def folders(tmp_path):
    for name in ("left_alone", "stopped"):
        (tmp_path / name).mkdir()


# Stopped and gone on with ---------------------------------------------------------------------------


OPTIMIZERS = {
    "momentum": lambda: keras.optimizers.SGD(0.05, momentum=0.9),
    "decay and clipping": lambda: keras.optimizers.AdamW(1e-2, weight_decay=0.1, global_clipnorm=0.5),
    "averages": lambda: keras.optimizers.Adam(1e-2, use_ema=True, ema_momentum=0.9),
    # 4 batches an epoch: it ends with one or two gradients waiting.
    "accumulation": lambda: keras.optimizers.Adam(1e-2, gradient_accumulation_steps=3),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers(tmp_path, name):
    assert_same_end(tmp_path, lambda: build(OPTIMIZERS[name]()), after=3 * STEPS + 1)


@pytest.mark.parametrize(
    "options", [pytest.param({"jit_compile": True}, marks=pytest.mark.slow), {"steps_per_execution": 2}]
)
def test_compile_options(tmp_path, options):
    assert_same_end(tmp_path, lambda: build(**options), after=STEPS + 1)


def test_loss_scale(tmp_path):
    keras.mixed_precision.set_global_policy("mixed_float16")

    def make():
        # Overflows at first, so that the scale falls; rises every 3 steps, not every 2000.
        scaled = keras.optimizers.LossScaleOptimizer(
            keras.optimizers.Adam(1e-2), initial_scale=2.0**30, dynamic_growth_steps=3
        )
        return build(scaled)

    assert_same_end(tmp_path, make, after=3 * STEPS + 1)


def test_a_rate_that_follows_a_schedule(tmp_path):
    schedule = keras.optimizers.schedules.CosineDecay(0.05, EPOCHS * STEPS)
    make = lambda: build(keras.optimizers.SGD(schedule), prepare=False)  # noqa: E731
    assert_same_end(tmp_path, make, after=2 * STEPS + 1, states=False)


def test_layer_wise_rates(tmp_path):
    def make():
        model = build(prepare=False)
        rates = {"early/.*": 0.1, "normalized/.*": 0.1, ".*": 1.0}
        model.compile(LayerwiseLearningRates(keras.optimizers.Adam(1e-2), model, multipliers=rates), "mse")
        tlkit.finetune.prepare_unfreezing(model, training.GROUPS)
        return model

    assert_same_end(tmp_path, make, after=3 * STEPS + 1)


def test_averages_in_the_model_between_epochs(tmp_path):
    make = lambda: build(keras.optimizers.SGD(0.05, use_ema=True, ema_momentum=0.9), prepare=False)  # noqa: E731
    ends = []
    for folder, after in ((tmp_path / "left_alone", -1), (tmp_path / "stopped", 2 * STEPS + 1)):
        for stop in (after, -1):
            model = make()
            try:
                extra = [keras.callbacks.SwapEMAWeights(swap_on_epoch=True), Stop(stop)]
                fit(model, folder, extra=extra, states=False)
            except StopError:
                continue
            ends.append(everything(model))
    assert all(end == ends[0] for end in ends)


@pytest.mark.slow
def test_two_devices(tmp_path):
    # The statistics of BatchNorm differ between the devices, and `everything` compares them on each.
    strategy = choose_strategy("mirrored")
    assert_same_end(tmp_path, lambda: build(strategy=strategy), after=3 * STEPS + 1)


def test_stages_driven_by_a_metric_with_warm_up(tmp_path, monkeypatch):
    def driven(folder, num_epochs):
        return [
            ProgressiveUnfreezing(
                groups=training.GROUPS, monitor="val_loss", patience=1, min_delta=10.0, warmup_steps=6,
                restore_best="val_loss", verbose=0,
            )
        ]  # fmt: skip

    monkeypatch.setattr(training, "callbacks", driven)

    def make():
        model = build()
        for name in ("early", "normalized", "middle"):
            model.get_layer(name).trainable = False
        return model

    assert_same_end(tmp_path, make, after=3 * STEPS + 1)


def test_a_backbone(tmp_path, image_model):
    images = np.random.default_rng(0).uniform(size=(8, 32, 32, 3)).astype("float32")
    labels = np.arange(8) % 2

    def make():
        keras.utils.set_random_seed(3)
        inputs = keras.Input((32, 32, 3))
        features = keras.layers.Dropout(0.5)(tlkit.load_backbone(str(image_model))(inputs))
        model = keras.Model(inputs, keras.layers.Dense(2, activation="softmax")(features))
        model.compile(keras.optimizers.Adam(1e-2), "sparse_categorical_crossentropy")
        tlkit.finetune.prepare_unfreezing(model)
        return model

    def train(model, folder, after=-1):
        resume = ExactResume(folder)
        unfreezing = ProgressiveUnfreezing(schedule={0: 0, 1: 1, 3: 3}, learning_rate_multiplier=0.5, verbose=0)
        model.fit(
            images, labels, batch_size=4, epochs=4, initial_epoch=resume.initial_epoch, shuffle=False, verbose=0,
            callbacks=[unfreezing, Stop(after), resume],
        )  # fmt: skip
        return everything(model), [stage.is_open for stage in model.get_layer("backbone").stages], unfreezing.openings

    expected = train(make(), tmp_path / "left_alone")
    with pytest.raises(StopError):
        train(make(), tmp_path / "stopped", after=2 * 2 + 1)  # the first batch of the third epoch: one stage is open
    assert train(make(), tmp_path / "stopped") == expected


def test_early_stopping_ends_it_for_good(tmp_path):
    folder = tmp_path / "stopped"

    def train():
        model, resume = build(prepare=False), ExactResume(folder / "resume")
        first = resume.initial_epoch
        stopping = keras.callbacks.EarlyStopping("loss", patience=1, min_delta=10.0, restore_best_weights=True)
        history = model.fit(
            *examples(), epochs=9, initial_epoch=first, shuffle=False, verbose=0, callbacks=[stopping, resume]
        )
        return first, history.epoch, everything(model)

    first, epochs, end = train()
    assert (first, epochs) == (0, [0, 1])
    assert train() == (9, epochs, end)


def test_states_are_written_at_the_first_end_of_an_epoch_after_so_many_batches(tmp_path):
    found = []

    class Look(Stop):
        def on_epoch_begin(self, epoch, logs=None):
            found.append(sorted(list_checkpoints(tmp_path / "stopped" / "resume")))

    # 4 batches an epoch: 5 have passed after two.
    fit(build(), tmp_path / "stopped", extra=[Look(-1)], num_epochs=5, save_freq=5)
    assert found == [[], [], [2], [2], [2, 4]]
    assert sorted(list_checkpoints(tmp_path / "stopped" / "resume")) == [4, 5]  # the last one in any case


def test_several_epochs_between_two_states(tmp_path):
    assert_same_end(tmp_path, build, after=4 * STEPS - 1, save_freq=2 * STEPS)


# Two fits, copies -------------------------------------------------------------------------------------


def test_a_second_fit_goes_on_where_the_first_ended(tmp_path):
    at_once = build()
    fit(at_once, tmp_path / "left_alone", num_epochs=6)
    in_two = build()
    for num_epochs in (3, 6):
        fit(in_two, tmp_path / "stopped", num_epochs=num_epochs)
    assert everything(in_two) == everything(at_once)


def test_a_notebook_that_was_interrupted_goes_on_with_the_same_objects(tmp_path):
    left_alone = build()
    fit(left_alone, tmp_path / "left_alone", states=False)
    model, resume = build(), ExactResume(tmp_path / "state")
    for after in (2 * STEPS + 1, -1):
        try:
            model.fit(
                training.train_data(resume.initial_epoch), validation_data=examples(), steps_per_epoch=STEPS,
                epochs=EPOCHS, initial_epoch=resume.initial_epoch, shuffle=False, verbose=0,
                callbacks=[Stop(after), resume],
            )  # fmt: skip
        except StopError:
            pass
    assert resume.initial_epoch == EPOCHS
    assert everything(model) == everything(left_alone)


def test_a_copy_works_by_itself(tmp_path):
    original = ExactResume(tmp_path / "state")
    assert original.initial_epoch == 0
    resume = copy.deepcopy(original)
    build(prepare=False).fit(*examples(), epochs=2, shuffle=False, verbose=0, callbacks=[resume])
    assert resume.initial_epoch == ExactResume(tmp_path / "state").initial_epoch == 2


def test_clear_begins_anew(tmp_path):
    resume = ExactResume(tmp_path / "state")
    for _ in range(2):
        history = build(prepare=False).fit(*examples(), epochs=2, shuffle=False, verbose=0, callbacks=[resume])
        assert history.epoch == [0, 1]
        resume.clear()
        assert resume.initial_epoch == 0
    assert not (tmp_path / "state").exists()


# Damage, a full disk, a signal ---------------------------------------------------------------------------


def test_a_torn_state_falls_back_to_the_one_before(tmp_path):
    left_alone = build()
    fit(left_alone, tmp_path / "left_alone", extra=[Stop(-1)])
    with pytest.raises(StopError):
        fit(build(), tmp_path / "stopped", extra=[Stop(3 * STEPS + 1)])
    arrays = tmp_path / "stopped" / "resume" / "epoch_00003" / "arrays.bin"
    os.truncate(arrays, arrays.stat().st_size - 1)
    model = build()
    with pytest.warns(UserWarning, match="epoch_00003' is damaged"):
        fit(model, tmp_path / "stopped", extra=[Stop(-1)])
    assert everything(model) == everything(left_alone)


def test_a_full_disk_loses_nothing_and_stops_nothing(tmp_path, monkeypatch):
    left_alone = build()
    fit(left_alone, tmp_path / "left_alone", extra=[Stop(-1)])
    with pytest.raises(StopError):
        fit(build(), tmp_path / "stopped", extra=[Stop(2 * STEPS + 1)])
    before = list_checkpoints(tmp_path / "stopped" / "resume")

    def full(*_):
        raise OSError(28, "No space left on device")

    model = build()
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.warns(UserWarning, match=r"could not be written to .* \(No space left on device\).*at epoch 2"):
            fit(model, tmp_path / "stopped", extra=[Stop(-1)])
    assert everything(model) == everything(left_alone)
    assert list_checkpoints(tmp_path / "stopped" / "resume") == before
    model = build()
    fit(model, tmp_path / "stopped", extra=[Stop(-1)])
    assert everything(model) == everything(left_alone)


def send_sigterm():
    os.kill(os.getpid(), signal.SIGTERM)


def test_a_notice_stops_before_the_next_batch_and_puts_the_handler_back(tmp_path, capsys):
    heard = []
    outer = signal.signal(signal.SIGTERM, lambda *_: heard.append("outer"))
    try:
        handler = signal.getsignal(signal.SIGTERM)
        stop = Stop(STEPS + 2, send_sigterm)
        with pytest.raises(SystemExit) as end:
            fit(build(), tmp_path / "stopped", extra=[stop])
        assert end.value.code == 143 and stop.remaining == 0 and heard == ["outer"]
        assert signal.getsignal(signal.SIGTERM) is handler
    finally:
        signal.signal(signal.SIGTERM, outer)
    assert "stopped by SIGTERM with 1 epochs saved. Run the same command again to go on." in capsys.readouterr().out
    assert ExactResume(tmp_path / "stopped" / "resume").initial_epoch == 1


def test_after_an_error_the_signal_does_what_it_did_before(tmp_path):
    heard = []
    outer = signal.signal(signal.SIGTERM, lambda *_: heard.append("outer"))
    try:
        handler = signal.getsignal(signal.SIGTERM)
        with pytest.raises(StopError):
            fit(build(), tmp_path / "stopped", extra=[Stop(1)])
        send_sigterm()
        assert heard == ["outer"] and signal.getsignal(signal.SIGTERM) is handler
    finally:
        signal.signal(signal.SIGTERM, outer)


def test_the_handler_is_put_back_at_the_end(tmp_path):
    before = signal.getsignal(signal.SIGTERM)
    fit(build(), tmp_path / "stopped", num_epochs=1)
    assert signal.getsignal(signal.SIGTERM) is before


def test_in_another_thread(tmp_path):
    thread = threading.Thread(target=lambda: fit(build(), tmp_path / "stopped", num_epochs=1))
    thread.start()
    thread.join()
    assert ExactResume(tmp_path / "stopped" / "resume").initial_epoch == 1


# What is refused ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved")
    fit(build(), folder, num_epochs=2, fingerprint={"seed": 7, "files": {"train": 100}})
    return folder


@pytest.mark.parametrize(
    ("make", "fingerprint", "difference"),
    [
        (build, {"seed": 8, "files": {"train": 100}}, "fingerprint.seed: 7 -> 8"),
        (build, {"seed": 7, "files": {"train": 90}}, "fingerprint.files.train: 100 -> 90"),
        (build, {"seed": 7}, r'fingerprint.files: \{"train": 100\} -> \(absent\)'),
        (build, None, "fingerprint: .* -> null"),
        (lambda: build(units=9), ..., r"model.layers.1 \(Dense\).config.units: 8 -> 9; "),
        (lambda: build(rate=0.4), ..., r"model.layers.3 \(Dropout\).config.rate: 0.5 -> 0.4"),
        (lambda: build(keras.optimizers.Adam(2e-2)), ..., "learning_rate: 0.00999.* -> 0.01999.*"),
        (lambda: build(keras.optimizers.Adam(1e-2, beta_1=0.8)), ..., "optimizer.beta_1: 0.9 -> 0.8"),
        (lambda: build(keras.optimizers.SGD(1e-2)), ..., 'optimizer.class: "Adam" -> "SGD"'),
        (lambda: build(loss_weights=0.5), ..., "compile.loss_weights: null -> 0.5"),
    ],
)
def test_a_changed_run_is_refused_naming_what_differs(saved, make, fingerprint, difference):
    if fingerprint is ...:
        fingerprint = {"seed": 7, "files": {"train": 100}}
    with pytest.raises(tlkit.UserError, match=f"this is not the training saved in .*{difference}.* or begin anew"):
        fit(make(), saved, fingerprint=fingerprint)
    # `CSVLogger` empties its file when a training begins: this one did not.
    assert len((saved / "log.csv").read_text().splitlines()) == 3


def test_more_devices_or_steps_are_refused(tmp_path):
    fit(build(), tmp_path / "stopped", num_epochs=2, states=False)
    with pytest.raises(tlkit.UserError, match="devices: 1 -> 2"):
        fit(build(strategy=choose_strategy("mirrored")), tmp_path / "stopped", states=False)
    resume = ExactResume(tmp_path / "stopped" / "resume")
    with pytest.raises(tlkit.UserError, match="steps_per_epoch: 4 -> 1"):
        build().fit(*examples(), initial_epoch=2, epochs=3, verbose=0, callbacks=[resume])


def test_an_optimizer_on_other_weights_is_refused(tmp_path):
    def make(prepare):
        model = build(prepare=False)
        model.get_layer("early").trainable = False
        if prepare:
            tlkit.finetune.prepare_unfreezing(model, training.GROUPS)
        return model

    fit(make(True), tmp_path / "stopped", num_epochs=1, states=False)
    # Ten variables: three kernels and biases, and BatchNorm's scale and offset, twice each, the rate and the steps.
    with pytest.raises(tlkit.UserError, match="optimizer has 18 variables, this one 14: .* Call `tlkit.finetune.prep"):
        fit(make(False), tmp_path / "stopped", states=False)


def test_other_callbacks_are_refused(tmp_path):
    fit(build(), tmp_path / "stopped", num_epochs=1)
    with pytest.raises(
        tlkit.UserError, match="callbacks are others .* Expected ProgressiveUnfreezing, EarlyStopping, .*"
    ):
        fit(build(), tmp_path / "stopped", states=False)


def test_a_wrong_first_epoch_is_refused(tmp_path):
    fit(build(), tmp_path / "stopped", num_epochs=2, states=False)
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(
        tlkit.UserError, match="goes on at epoch 2, but `fit` starts at 0. .* `initial_epoch=resume.init"
    ):
        build().fit(
            training.train_data(0), steps_per_epoch=STEPS, epochs=3, shuffle=False, verbose=0,
            callbacks=[ExactResume(tmp_path / "stopped" / "resume")],
        )  # fmt: skip
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize(
    ("others", "message"),
    [
        (lambda resume, _: [resume, keras.callbacks.TerminateOnNaN()], "TerminateOnNaN comes after it"),
        (lambda resume, f: [keras.callbacks.BackupAndRestore(f), resume], "BackupAndRestore resumes .* as well"),
        (lambda resume, f: [ExactResume(f), resume], "ExactResume resumes the training as well|comes after it"),
    ],
)
def test_a_list_in_the_wrong_order_is_refused(tmp_path, others, message):
    with pytest.raises(tlkit.UserError, match=message):
        build().fit(*examples(), verbose=0, callbacks=others(ExactResume(tmp_path / "state"), tmp_path / "other"))


def test_history_and_progress_may_come_after_it(tmp_path):
    resume = ExactResume(tmp_path / "state")
    build().fit(*examples(), shuffle=False, verbose=0, callbacks=[resume, keras.callbacks.History()])


def test_a_callback_with_a_state_that_is_not_known_is_named(tmp_path):
    class Counting(keras.callbacks.Callback):
        pass

    with pytest.warns(UserWarning, match="after a kill the state of Counting starts anew"):
        build().fit(*examples(), verbose=0, callbacks=[Counting(), ExactResume(tmp_path / "state")])


def test_a_state_that_cannot_be_written_is_an_error(tmp_path):
    class Strange(Stop):
        def get_state(self):
            return {1, 2}

    with pytest.raises(tlkit.UserError, match="a set cannot be written .* Expected `get_state` to return"):
        build().fit(*examples(), verbose=0, callbacks=[Strange(-1), ExactResume(tmp_path / "state")])


def test_a_model_without_weights_is_refused(tmp_path):
    model = keras.Sequential([keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    with pytest.raises(tlkit.UserError, match="has no weights yet. Expected a built model"):
        model.fit(*examples(), verbose=0, callbacks=[ExactResume(tmp_path / "state")])


def test_a_directory_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "state").write_text("")
    with pytest.raises(tlkit.UserError, match="'.*state' cannot be made .* Expected a folder to write to"):
        build().fit(*examples(), verbose=0, callbacks=[ExactResume(tmp_path / "state")])


def test_called_by_hand(tmp_path):
    resume = ExactResume(tmp_path / "state")
    resume.set_model(build())
    with pytest.raises(tlkit.UserError, match="not part of a `fit`"):
        resume.on_train_begin()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"save_freq": "batch"}, "Expected 'epoch' or a number of batches from 1. Received: save_freq='batch'"),
        ({"save_freq": 0}, "Received: save_freq=0"),
        ({"keep": 0}, "Expected at least 1. Received: keep=0"),
        ({"fingerprint": 3}, "Expected a dict or a string. Received: a int"),
    ],
)
def test_arguments(tmp_path, arguments, message):
    with pytest.raises(tlkit.UserError, match=message):
        ExactResume(tmp_path, **arguments)


# Where Keras' own callback goes wrong (`RECIPES`: facts 3 and 4) -------------------------------------------


def with_backup(model, folder, extra, num_epochs=4):
    model.fit(
        *examples(), batch_size=8, epochs=num_epochs, shuffle=False, verbose=0,
        callbacks=[*extra, keras.callbacks.BackupAndRestore(folder, delete_checkpoint=False)],
    )  # fmt: skip
    return model


def test_keras_resumes_dropout_with_other_masks(tmp_path):
    left_alone = with_backup(build(prepare=False), tmp_path / "left_alone", [])
    with pytest.raises(StopError):
        with_backup(build(prepare=False), tmp_path / "stopped", [Stop(2 * STEPS)])
    keras_resumed = with_backup(build(prepare=False), tmp_path / "stopped", [])
    assert everything(keras_resumed) != everything(left_alone)
    # The seeds lie among the variables, but not among the weights, which is what Keras saves.
    weights = {id(weight) for weight in left_alone.weights}
    seeds = [v.path for v in left_alone.variables if id(v) not in weights]
    assert len(seeds) == 2 and all(path.endswith("/seed_generator_state") for path in seeds)


def test_keras_resumes_after_an_opening_with_all_frozen_for_ever(tmp_path):
    class Unfreeze(keras.callbacks.Callback):
        """What people write, prepared as it should be."""

        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 1:
                self.model.get_layer("early").trainable = True
                self.model.make_train_function(force=True)

    def make():
        model = build()  # its optimizer knows every weight
        model.get_layer("early").trainable = False
        return model

    with pytest.raises(StopError):
        with_backup(make(), tmp_path / "stopped", [Unfreeze(), Stop(2 * STEPS + 1)])
    model = make()
    with_backup(model, tmp_path / "stopped", [Unfreeze()])
    assert not model.get_layer("early").trainable  # the epoch counter is past the opening

    with pytest.raises(StopError):
        fit(build(), tmp_path / "left_alone", extra=[Stop(3 * STEPS + 1)])
    model = build()
    fit(model, tmp_path / "left_alone", extra=[Stop(-1)], num_epochs=4)
    assert [model.get_layer(name).trainable for name in ("early", "middle")] == [False, True]


def test_keras_forgets_what_was_best(tmp_path):
    stopping = keras.callbacks.EarlyStopping("loss", patience=9)
    with_backup(build(prepare=False), tmp_path / "stopped", [stopping], num_epochs=2)
    again = keras.callbacks.EarlyStopping("loss", patience=9)
    with_backup(build(prepare=False), tmp_path / "stopped", [again], num_epochs=2)
    assert stopping.best is not None and again.best is None

    found = callbacks(tmp_path / "left_alone", 2)
    build_and_fit = lambda: build().fit(  # noqa: E731
        *examples(), validation_data=examples(), batch_size=8, epochs=2, shuffle=False, verbose=0,
        initial_epoch=(resume := ExactResume(tmp_path / "state")).initial_epoch, callbacks=[*found, resume],
    )  # fmt: skip
    build_and_fit()
    best = [found[1].best, found[2].best, found[3].best]
    found = callbacks(tmp_path / "left_alone", 2)
    build_and_fit()
    assert [found[1].best, found[2].best, found[3].best] == best and None not in best


# Paused ---------------------------------------------------------------------------------------------


def test_pauses_and_goes_on(tmp_path):
    left_alone = build()
    whole = fit(left_alone, tmp_path / "left_alone")
    for pause_after in (3, 3):
        history = fit(build(), tmp_path / "stopped", pause_after=pause_after)
        assert history.epoch == list(range(pause_after))  # the second time, nothing was left to do
        assert history.history == {name: values[:pause_after] for name, values in whole.history.items()}
    model = build()
    history = fit(model, tmp_path / "stopped")
    assert everything(model) == everything(left_alone)
    assert history.history == whole.history
    assert (tmp_path / "stopped" / "log.csv").read_bytes() == (tmp_path / "left_alone" / "log.csv").read_bytes()


def test_a_pause_does_not_undo_the_end_that_another_callback_wanted(tmp_path):
    def train(pause_after):
        resume = ExactResume(tmp_path / "state", pause_after=pause_after)
        stopping = keras.callbacks.EarlyStopping("loss", patience=1, min_delta=1e3)  # after two epochs
        history = build().fit(
            *examples(), epochs=9, initial_epoch=resume.initial_epoch, shuffle=False, verbose=0,
            callbacks=[stopping, resume],
        )  # fmt: skip
        return history.epoch, resume.initial_epoch

    assert train(1) == ([0], 9)  # paused: nothing is left, this time
    assert train(4) == ([0, 1], 9)  # ended
    assert train(None) == ([0, 1], 9)


def test_a_pause_is_a_number_of_epochs(tmp_path):
    with pytest.raises(tlkit.UserError, match="`pause_after` is not usable. .* Received: pause_after=0"):
        ExactResume(tmp_path, pause_after=0)
