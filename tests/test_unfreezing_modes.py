"""ProgressiveUnfreezing beyond a schedule: by a metric, on layers of any model, warm-up, the best epoch, the proof."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tlkit
from tlkit.callbacks import ProgressiveUnfreezing
from tlkit.distribution import choose_strategy
from tlkit.finetune import prepare_unfreezing
from tlkit.finetune.best_epoch import BestEpoch
from tlkit.finetune.groups import LayerGroups
from tlkit.finetune.movement import relative_movement
from tlkit.finetune.rate_ramp import RateRamp

GROUPS = [["first"], ["second", "norm"], ["third"]]


def build(optimizer=None, strategy=None, nested=False, **options):
    """Three groups of layers, closed, and a head."""
    with (strategy or tf.distribute.get_strategy()).scope():
        keras.utils.set_random_seed(1)
        inputs = keras.Input((4,))
        layers = [
            keras.layers.Dense(8, activation="tanh", name="first"),
            keras.layers.Dense(8, activation="tanh", name="second"),
            keras.layers.BatchNormalization(name="norm"),
            keras.layers.Dense(8, activation="tanh", name="third"),
        ]
        body = keras.Sequential([keras.Input((4,)), *layers], name="body")
        x = body(inputs) if nested else inputs
        if not nested:
            for layer in layers:
                x = layer(x)
        model = keras.Model(inputs, keras.layers.Dense(1, name="head")(x), name="net")
        for layer in [body] if nested else layers:
            layer.trainable = False
        model.compile(
            optimizer() if callable(optimizer) else optimizer or keras.optimizers.Adam(1e-2), "mse", **options
        )
        prepare_unfreezing(model, GROUPS)
    return model


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(32, 4)).astype("float32")
    return x, np.sin(x.sum(1, keepdims=True)).astype("float32")


def fit(model, data, callbacks, epochs=4, **options):
    return model.fit(*data, batch_size=8, epochs=epochs, shuffle=False, verbose=0, callbacks=callbacks, **options)


def values(model):
    names = {"first": GROUPS[0], "second…norm": GROUPS[1], "third": GROUPS[2]}
    layers = {layer.name: layer for layer in model.layers}
    if "body" in layers:
        layers |= {layer.name: layer for layer in layers["body"].layers}
    return {
        title: [keras.ops.convert_to_numpy(w) for name in group for w in layers[name].weights if "moving" not in w.path]
        for title, group in names.items()
    }


class TestLayersOfAnyModel:
    @pytest.mark.parametrize("nested", [False, True])
    @pytest.mark.parametrize("strategy", ["one-device", "mirrored"])
    def test_groups_open_from_the_top(self, data, nested, strategy):
        model = build(strategy=choose_strategy(strategy), nested=nested)
        moved = []

        class Witness(keras.callbacks.Callback):
            def on_epoch_begin(self, epoch, logs=None):
                self.before = values(self.model)

            def on_epoch_end(self, epoch, logs=None):
                after = values(self.model)
                moved.append(
                    [
                        name
                        for name in after
                        if any(np.any(a != b) for a, b in zip(after[name], self.before[name], strict=True))
                    ]
                )

        unfreezing = ProgressiveUnfreezing(groups=GROUPS, schedule={0: 0, 1: 1, 2: 3}, verbose=0)
        fit(model, data, [Witness(), unfreezing], epochs=3)
        assert moved == [[], ["third"], ["first", "second…norm", "third"]]
        assert unfreezing.openings == [(1, 1), (2, 3)]

    def test_norms_of_closed_layers_stand_still(self, data):
        model = build()
        norm = model.get_layer("norm")
        fit(model, data, [ProgressiveUnfreezing(groups=GROUPS, schedule={0: 1}, verbose=0)], epochs=2)
        np.testing.assert_array_equal(norm.moving_mean.numpy(), np.zeros(8))
        fit(model, data, [ProgressiveUnfreezing(groups=GROUPS, schedule={0: 2}, verbose=0)], epochs=2)
        assert np.any(norm.moving_mean.numpy() != 0)

    def test_groups_by_name(self, data, capsys):
        model = build()
        groups = {"early": ["first", "second", "norm"], "late": ["third"]}
        fit(model, data, [ProgressiveUnfreezing(groups=groups, schedule={0: 0, 1: 1})], epochs=2)
        assert "Epoch 2: opened late of the model 'net'; 81 of" in capsys.readouterr().out  # 8*8 + 8 and 8 + 1

    @pytest.mark.parametrize(
        ("groups", "sentence"),
        [
            ([["frist"]], "the model 'net' has no layer 'frist'. Did you mean 'first'?"),
            ([["first"], ["first", "third"]], "the layer 'first' is named twice. Expected each layer in one group."),
            ([[]], r"\[\] is no group. Expected lists of layer names, input first."),
            ([], "has no stage to open: `groups` is empty"),
        ],
    )
    def test_wrong_groups(self, data, groups, sentence):
        with pytest.raises(tlkit.UserError, match=sentence):
            fit(build(), data, [ProgressiveUnfreezing(groups=groups)])

    def test_a_nested_model_that_is_closed_is_opened_as_far_as_needed(self):
        model = build(nested=True)
        LayerGroups(model, GROUPS).open(1)
        assert [layer.trainable for layer in model.get_layer("body").layers] == [False, False, False, True]
        assert [v.path for v in model.get_layer("body").trainable_variables] == ["body/third/kernel", "body/third/bias"]


class Scripted(keras.callbacks.Callback):
    """Puts numbers into the logs, before the callbacks that follow it see them."""

    def __init__(self, **metrics):
        super().__init__()
        self.metrics = metrics

    def on_epoch_end(self, epoch, logs=None):
        logs.update({name: numbers[epoch] for name, numbers in self.metrics.items()})


class TestByMetric:
    def test_opens_when_it_no_longer_improves(self, data):
        # best at epoch 1; 2 and 3 are no better: opened before 4. Then 4 is best, 5 and 6 are not: opened before 7.
        script = Scripted(val_loss=[5, 4, 4, 4.5, 3, 3, 3.2, 3])
        unfreezing = ProgressiveUnfreezing(groups=GROUPS, monitor="val_loss", patience=2, verbose=0)
        fit(build(), data, [script, unfreezing], epochs=8)
        assert unfreezing.openings == [(4, 1), (7, 2)]

    def test_improvements_must_exceed_min_delta(self, data):
        script = Scripted(score=[0.5, 0.55, 0.58, 0.7])
        unfreezing = ProgressiveUnfreezing(
            groups=GROUPS, monitor="score", mode="max", patience=2, min_delta=0.1, verbose=0
        )
        fit(build(), data, [script, unfreezing], epochs=4)
        assert unfreezing.openings == [(3, 1)]

    def test_a_second_fit_goes_on_from_what_is_open(self, data):
        model = build()
        unfreezing = ProgressiveUnfreezing(groups=GROUPS, monitor="score", patience=1, verbose=0)
        fit(model, data, [Scripted(score=[1, 1, 1]), unfreezing], epochs=3)
        assert unfreezing.openings == [(2, 1)]
        fit(model, data, [Scripted(score=[1, 1, 1]), unfreezing], epochs=3)
        assert unfreezing.openings == [(2, 2)]

    def test_a_metric_that_is_not_there(self, data):
        with pytest.raises(
            tlkit.UserError, match="'val_loss' is not among those of this training. Expected one of: loss"
        ):
            fit(build(), data, [ProgressiveUnfreezing(groups=GROUPS, monitor="val_loss")])

    @pytest.mark.parametrize(
        ("name", "higher"), [("val_accuracy", True), ("acc", True), ("val_pr_auc", True), ("val_loss", False)]
    )
    def test_auto_knows_which_way_is_up(self, name, higher):
        tracker = BestEpoch(name)
        tracker.update({name: 0.5})
        assert tracker.update({name: 0.6}) is higher

    def test_unknown_mode(self):
        with pytest.raises(tlkit.UserError, match="`mode` is unknown. Expected 'min', 'max' or 'auto'"):
            ProgressiveUnfreezing(monitor="loss", mode="down")


class TestBestEpoch:
    def test_each_stage_and_the_end_go_back_to_it(self, data):
        model, seen = build(), []

        class Watch(keras.callbacks.Callback):
            def on_epoch_begin(self, epoch, logs=None):
                seen.append(self.model.get_layer("head").kernel.numpy())

            def on_epoch_end(self, epoch, logs=None):
                seen.append(self.model.get_layer("head").kernel.numpy())

        script = Scripted(score=[3.0, 1.0, 2.0, 1.5])  # the second epoch is best
        unfreezing = ProgressiveUnfreezing(
            groups=GROUPS, schedule={0: 0, 3: 1}, restore_best="score", mode="min", verbose=0
        )
        fit(model, data, [script, unfreezing, Watch()], epochs=4)
        best = seen[3]
        np.testing.assert_array_equal(seen[6], best)  # the fourth epoch, the first of the new stage, began there
        assert np.any(seen[5] != best)
        np.testing.assert_array_equal(model.get_layer("head").kernel.numpy(), best)


class TestWarmUp:
    def test_the_rate_rises_in_a_straight_line_after_each_opening(self, data):
        rates = []
        model = build(keras.optimizers.SGD(0.08))

        class Watch(keras.callbacks.Callback):
            def on_train_batch_begin(self, batch, logs=None):
                rates.append(float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate)))

        unfreezing = ProgressiveUnfreezing(
            groups=GROUPS, schedule={0: 0, 1: 1}, learning_rate_multiplier=0.5, warmup_steps=5, verbose=0
        )
        fit(model, data, [unfreezing, Watch()], epochs=3)  # four steps an epoch
        warm = [0.04 * k / 5 for k in (1, 2, 3, 4, 5)]
        assert rates == pytest.approx([0.08] * 4 + warm + [0.04] * 3)

    def test_a_rate_that_another_callback_sets_is_the_whole_one(self):
        optimizer = keras.optimizers.SGD(1.0)
        ramp = RateRamp(optimizer, steps=4)
        ramp.set_rate()
        assert float(optimizer.learning_rate) == 0.25
        optimizer.learning_rate = 0.1
        ramp.set_rate()
        assert float(optimizer.learning_rate) == pytest.approx(0.1 / 4)  # no step was taken: still the first
        ramp.finish()
        assert float(optimizer.learning_rate) == pytest.approx(0.1)

    def test_a_training_that_ends_in_it_leaves_the_whole_rate(self, data):
        model = build(keras.optimizers.SGD(0.08))
        fit(
            model,
            data,
            [ProgressiveUnfreezing(groups=GROUPS, schedule={0: 0, 1: 1}, warmup_steps=99, verbose=0)],
            epochs=2,
        )
        assert float(model.optimizer.learning_rate) == pytest.approx(0.08)

    def test_adam_opens_late_with_a_large_step(self, data):
        """What the warm-up is for: (1 - beta_1) / sqrt(1 - beta_2) = .1 / sqrt(.001) = 3.16 times the rate."""
        model = build(keras.optimizers.Adam(1e-3))
        model.optimizer.iterations.assign(2400)  # as after so many steps: the bias correction is over
        before = model.get_layer("third").kernel.numpy()
        LayerGroups(model, GROUPS).open(1)
        model.make_train_function(force=True)
        model.train_on_batch(data[0][:8], data[1][:8])
        step = np.abs(model.get_layer("third").kernel.numpy() - before)
        assert np.median(step) == pytest.approx(3.16e-3, rel=0.06)  # 1 - .999^2401 is .91


class TestProof:
    def test_each_phase_says_how_far_its_groups_moved(self, data, capsys):
        model = build(keras.optimizers.SGD(0.05))
        starts = {}

        class Watch(keras.callbacks.Callback):
            def on_epoch_begin(self, epoch, logs=None):
                starts[epoch] = {
                    "third": values(self.model)["third"],
                    "head": self.model.get_layer("head").get_weights(),
                }

        unfreezing = ProgressiveUnfreezing(groups=GROUPS, schedule={0: 0, 2: 1})
        fit(model, data, [unfreezing, Watch()], epochs=3)
        assert [epoch for epoch, _ in unfreezing.movements] == [1, 2]
        first, second = (movement for _, movement in unfreezing.movements)
        assert list(first) == ["other layers"] and list(second) == ["third", "other layers"]
        ends = {"third": values(model)["third"], "head": model.get_layer("head").get_weights()}
        moved = np.concatenate([(b - a).ravel() for a, b in zip(starts[2]["third"], ends["third"], strict=True)])
        size = np.concatenate([a.ravel() for a in starts[2]["third"]])
        assert second["third"] == pytest.approx(np.linalg.norm(moved) / np.linalg.norm(size), rel=1e-5)
        assert (
            f"Moved by the end of epoch 3, relative to their size: third {second['third']:.2g}, "
            in capsys.readouterr().out
        )

    def test_by_hand(self):
        # ||(0, .5, 0)|| / ||(3, 4, 0)||
        assert relative_movement([np.array([3.0, 4.0]), np.zeros(1)], [np.array([3.0, 4.5]), np.zeros(1)]) == 0.1
        assert relative_movement([np.zeros(2)], [np.array([3.0, 4.0])]) == 5.0

    def test_a_group_that_stands_still_is_an_error(self, data):
        class Halt(keras.callbacks.Callback):
            """Another callback that undoes what the third layer learns."""

            def on_train_batch_end(self, batch, logs=None):
                self.model.get_layer("third").set_weights(self.kept)

            def on_train_begin(self, logs=None):
                self.kept = self.model.get_layer("third").get_weights()

        with pytest.raises(tlkit.UserError, match="stage 'third' was opened but none of its 2 trainable weights moved"):
            fit(build(), data, [Halt(), ProgressiveUnfreezing(groups=GROUPS, schedule={0: 0, 1: 1}, verbose=0)])

    def test_weights_that_early_stopping_puts_back_are_no_error(self, data):
        stopping = keras.callbacks.EarlyStopping("score", patience=2, restore_best_weights=True, mode="min")
        unfreezing = ProgressiveUnfreezing(groups=GROUPS, schedule={0: 0, 1: 1}, verbose=0)
        fit(build(), data, [Scripted(score=[1, 2, 3, 4]), stopping, unfreezing])
        assert unfreezing.openings == [(1, 1)]


class TestWhatKerasCannotDo:
    def test_moving_averages_with_closed_stages(self, data):
        model = build(keras.optimizers.Adam(use_ema=True))
        with pytest.raises(
            tlkit.UserError, match="cannot end a training with moving averages .* all 3 stages to be open"
        ):
            fit(model, data, [ProgressiveUnfreezing(groups=GROUPS, schedule={0: 0, 1: 1}, verbose=0)])

    def test_moving_averages_with_all_open_at_the_end(self, data):
        model = build(keras.optimizers.Adam(use_ema=True))
        fit(model, data, [ProgressiveUnfreezing(groups=GROUPS, schedule={0: 0, 1: 3}, verbose=0)])

    def test_accumulated_gradients_on_two_devices(self, data):
        model = build(lambda: keras.optimizers.Adam(gradient_accumulation_steps=2), choose_strategy("mirrored"))
        with pytest.raises(tlkit.UserError, match="cannot accumulate gradients on 2 devices"):
            fit(model, data, [ProgressiveUnfreezing(groups=GROUPS, verbose=0)])

    def test_accumulated_gradients_on_one(self, data):
        model = build(keras.optimizers.Adam(gradient_accumulation_steps=3))
        unfreezing = ProgressiveUnfreezing(groups=GROUPS, schedule={0: 0, 1: 1}, verbose=0)
        fit(model, data, [unfreezing])
        assert unfreezing.movements[-1][1]["third"] > 0


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"schedule": {0: 1}, "monitor": "loss"}, "`schedule` and `monitor` both say when to open"),
        ({"backbone": "b", "groups": GROUPS}, "`backbone` and `groups` both say what to open"),
        ({"patience": 0}, "`patience` is too small. Expected at least 1. Received: patience=0"),
        ({"warmup_steps": -1}, "`warmup_steps` is too small. Expected at least 0"),
    ],
)
def test_arguments(arguments, sentence):
    with pytest.raises(tlkit.UserError, match=sentence):
        ProgressiveUnfreezing(**arguments)


def test_a_schedule_that_is_longer_than_training(data):
    with pytest.warns(
        UserWarning, match="opens stages in epoch 6, but the training ends after 3 epochs, so that they stay closed"
    ):
        fit(build(), data, [ProgressiveUnfreezing(groups=GROUPS, schedule={0: 1, 5: 2}, verbose=0)], epochs=3)


def test_a_warm_up_of_a_scheduled_rate(data):
    optimizer = keras.optimizers.SGD(keras.optimizers.schedules.CosineDecay(0.1, 10))
    with pytest.raises(tlkit.UserError, match="`warmup_steps` cannot change a learning rate that follows a schedule"):
        fit(build(optimizer), data, [ProgressiveUnfreezing(groups=GROUPS, warmup_steps=3)])
