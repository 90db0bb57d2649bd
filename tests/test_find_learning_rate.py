"""The range test finds a rate, and nothing shows afterwards that it ran."""

import random

import keras
import numpy as np
import pytest
import tensorflow as tf

import tlkit
from tlkit.callbacks import ProgressiveUnfreezing
from tlkit.distribution import choose_strategy
from tlkit.finetune import (
    LayerwiseLearningRates,
    LearningRateCurve,
    SlantedTriangular,
    find_learning_rate,
    known_variables,
    prepare_unfreezing,
)
from tlkit.finetune.find_learning_rate import suggest_rate

GENERATOR = np.random.default_rng(0)
X = GENERATOR.normal(size=(64, 4)).astype("float32")
Y = (X @ GENERATOR.normal(size=(4, 1))).astype("float32")
BATCHES = tf.data.Dataset.from_tensor_slices((X, Y)).batch(8)


def regressor(optimizer, **compile_arguments):
    """A model with everything that a training step changes."""
    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(8, activation="relu", name="first"),
            keras.layers.BatchNormalization(name="norm"),
            keras.layers.Dropout(0.2),
            keras.layers.Dense(1, name="last"),
        ]
    )
    model.compile(optimizer, "mse", metrics=["mae"], **compile_arguments)
    return model


def state(model):
    """Every number that the next training depends on, of each device."""
    strategy = model.distribute_strategy
    variables = [*model.variables, *model.optimizer.variables, *model.metrics_variables]
    return [
        part.numpy().tobytes() for variable in variables for part in strategy.experimental_local_results(variable.value)
    ]


def fit(model, epochs=2):
    return model.fit(BATCHES, epochs=epochs, shuffle=False, verbose=0).history


def adam():
    return keras.optimizers.Adam(0.01)


def settings():
    """Each optimizer, and how its model is compiled."""
    return {
        "adam": (adam, {}),
        "sgd with momentum and a schedule": (
            lambda: keras.optimizers.SGD(SlantedTriangular(0.1, 50), momentum=0.9),
            {},
        ),
        "a function as rate": (lambda: keras.optimizers.SGD(lambda: 0.01), {}),
        "clipping and decay": (lambda: keras.optimizers.AdamW(0.01, global_clipnorm=1.0), {}),
        "averages": (lambda: keras.optimizers.Adam(0.01, use_ema=True), {}),
        "accumulation": (lambda: keras.optimizers.Adam(0.01, gradient_accumulation_steps=3), {}),
        "loss scale": (lambda: keras.optimizers.LossScaleOptimizer(adam()), {}),
        "several steps at once": (adam, {"steps_per_execution": 4}),
        "eager": (adam, {"run_eagerly": True}),
        "xla": (adam, {"jit_compile": True}),
    }


SLOW = ("clipping and decay", "several steps at once", "xla")


@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.slow] * (n in SLOW)) for n in settings()])
def test_everything_is_as_it_was_and_so_is_the_next_training(name):
    make, arguments = settings()[name]
    tested, other = (regressor(make(), **arguments) for _ in range(2))
    for _ in range(2):  # before the first training, and between two
        before, optimizer, built = state(tested), tested.optimizer, tested.optimizer.built
        find_learning_rate(tested, BATCHES, num_steps=12)
        assert tested.optimizer is optimizer and optimizer.built == built
        # The metrics that Keras makes at the first batch are new, and 0.
        assert state(tested)[: len(before)] == before
        assert fit(tested) == fit(other)
        assert state(tested) == state(other)


def test_the_moments_of_the_optimizer_take_part():
    # The copy of a trained Adam goes on with its moments: at the same rate its first steps are those of `fit`.
    model = regressor(adam())
    fit(model)
    curve = find_learning_rate(model, BATCHES, start_rate=0.01, end_rate=0.010000001, num_steps=10)
    losses = []
    batches = [batch for _ in range(2) for batch in BATCHES][:10]
    for x, y in batches:
        losses.append(model.fit(x, y, batch_size=8, shuffle=False, verbose=0).history["loss"][0])
    np.testing.assert_allclose(curve.losses, losses, rtol=1e-5)


def test_two_devices():
    strategy = choose_strategy("mirrored")
    with strategy.scope():
        tested, other = regressor(adam()), regressor(adam())
    for _ in range(2):  # BatchNorm's statistics differ between the devices the second time
        before = state(tested)
        curve = find_learning_rate(tested, BATCHES, num_steps=12)
        assert len(curve.losses) == 12 and state(tested)[: len(before)] == before
        assert fit(tested) == fit(other)
        assert state(tested) == state(other)


def test_mixed_precision():
    keras.mixed_precision.set_global_policy("mixed_float16")
    tested, other = regressor(adam()), regressor(adam())
    assert isinstance(tested.optimizer, keras.optimizers.LossScaleOptimizer)
    for _ in range(2):
        find_learning_rate(tested, BATCHES, num_steps=12)
        assert fit(tested) == fit(other) and state(tested) == state(other)


def backbone_model(image_model):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((32, 32, 3))
    return keras.Model(inputs, keras.layers.Dense(1)(tlkit.load_backbone(str(image_model))(inputs)))


IMAGES = tf.data.Dataset.from_tensor_slices(
    (GENERATOR.uniform(size=(8, 32, 32, 3)).astype("float32"), np.ones((8, 1), "float32"))
).batch(4)


@pytest.mark.parametrize("prepared", [pytest.param(True, marks=pytest.mark.slow), False])
def test_unfreezing_after_it(image_model, prepared):
    histories = []
    for finds in (True, False):
        model = backbone_model(image_model)
        model.compile(adam(), "mse")
        if prepared:
            prepare_unfreezing(model)
        if finds:
            find_learning_rate(model, IMAGES, num_steps=10)
            assert model.optimizer.built == prepared  # or the unfreezing would find an optimizer of the head alone
        unfreezing = ProgressiveUnfreezing(schedule={0: 0, 1: 2}, verbose=0)
        history = model.fit(IMAGES, epochs=2, callbacks=[unfreezing], shuffle=False, verbose=0).history
        histories.append((history, state(model)))
        assert len(known_variables(model.optimizer)) == 20
    assert histories[0] == histories[1]


def test_averages_with_a_frozen_backbone(image_model):
    # At the end of `fit` Keras would write the averages of all weights into the few that train.
    model = backbone_model(image_model)
    model.compile(keras.optimizers.Adam(0.01, use_ema=True), "mse")
    prepare_unfreezing(model)
    before = state(model)
    find_learning_rate(model, IMAGES, num_steps=10)
    assert state(model)[: len(before)] == before


def test_layer_wise_rates():
    groups = {"below": ["first", "norm"], "top": ["last"]}
    tested, other = regressor("sgd"), regressor("sgd")
    for model in (tested, other):
        model.compile(LayerwiseLearningRates(keras.optimizers.Adam(0.01), model, groups=groups), "mse")
    for _ in range(2):
        curve = find_learning_rate(tested, BATCHES, num_steps=30)
        assert fit(tested) == fit(other) and state(tested) == state(other)
    assert not np.array_equal(curve.losses, find_learning_rate(regressor(adam()), BATCHES, num_steps=30).losses)


def test_generators_of_python_and_numpy():
    class Noisy(keras.utils.PyDataset):
        def __len__(self):
            return 4

        def __getitem__(self, index):
            return X[:8] + np.random.normal() + random.random(), Y[:8]

    model = regressor(adam())
    before = random.getstate(), np.random.get_state()[1].tobytes()
    find_learning_rate(model, Noisy(), num_steps=10)
    assert (random.getstate(), np.random.get_state()[1].tobytes()) == before


def test_what_fit_leaves_behind_is_taken_away():
    model = regressor(adam(), steps_per_execution=2)
    find_learning_rate(model, BATCHES, num_steps=10)
    assert not hasattr(model, "history") and model.train_function is None and model.steps_per_execution == 2
    fit(model)
    history, function = model.history, model.train_function
    find_learning_rate(model, BATCHES, num_steps=10)
    assert model.history is history and model.train_function is function and not model.stop_training


def test_an_error_inside_puts_everything_back_too():
    def broken():
        yield X[:8], Y[:8]
        raise RuntimeError("disk gone")

    model = regressor(adam())
    before, optimizer = state(model), model.optimizer
    signature = (tf.TensorSpec((None, 4)), tf.TensorSpec((None, 1)))
    with pytest.raises(Exception, match="disk gone"):
        find_learning_rate(model, tf.data.Dataset.from_generator(broken, output_signature=signature), num_steps=10)
    assert state(model)[: len(before)] == before and model.optimizer is optimizer


def test_the_curve_is_of_batches_and_of_rising_rates():
    # One weight w = 2, always x = 1 and y = 0: loss w^2, step w -> w (1 - 2 rate).
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False)])
    model.set_weights([np.array([[2.0]], "float32")])
    model.compile(keras.optimizers.SGD(0.5), "mse")
    data = tf.data.Dataset.from_tensors((np.ones((1, 1), "float32"), np.zeros((1, 1), "float32")))  # one batch only
    curve = find_learning_rate(model, data, start_rate=1e-4, end_rate=1e3, num_steps=15)
    assert isinstance(curve, LearningRateCurve) and curve.diverged and len(curve.rates) < 15
    # Seven decades in 14 steps: half a decade each.
    np.testing.assert_allclose(curve.rates, 1e-4 * 10 ** (0.5 * np.arange(len(curve.rates))))
    weight, expected = 2.0, []
    for rate in curve.rates:
        expected.append(weight**2)
        weight *= 1 - 2 * rate
    np.testing.assert_allclose(curve.losses, expected, rtol=1e-4)
    # b = .9, two losses: (.9 * l0 + l1) / (.9 + 1).
    assert curve.smoothed_losses[1] == pytest.approx((0.9 * expected[0] + expected[1]) / 1.9, rel=1e-4)
    assert curve.smoothed_losses[-1] > 4 * curve.smoothed_losses.min()


def test_the_suggestion_is_the_middle_of_the_longest_valley():
    rates = 10.0 ** np.arange(-8, 2)
    # 5 > 4 > 3 > 2 > 1 (steps 1, 3, 4, 5, 7) falls five times in a row, with 6 at step 2 and 2.5 at step 6 left out:
    # from step 7, where it ends, (5 + 1) // 2 = 3 steps back is step 4.
    assert suggest_rate(rates, [4.5, 5, 6, 4, 3, 2, 2.5, 1, 3, 9]) == rates[4]
    # All ten fall: 9 - (10 + 1) // 2 = 4. fastai: 9 - 10 + int(10 / 3) + int(10 / 3 / 2) = 3, of thirds instead.
    assert suggest_rate(rates, np.arange(10)[::-1]) == rates[4]
    assert suggest_rate(rates, np.arange(10)) is None and suggest_rate(rates, np.ones(10)) is None


@pytest.mark.parametrize("optimizer, low, high", [("sgd", 3e-3, 0.3), ("adam", 1e-3, 0.3)])
def test_a_useful_rate_is_suggested(optimizer, low, high):
    model = regressor(optimizer)
    curve = find_learning_rate(model, BATCHES)
    assert low < curve.suggestion < high
    losses = {}
    for rate in (curve.suggestion, curve.suggestion / 100):
        model = regressor(keras.optimizers.get({"class_name": optimizer, "config": {"learning_rate": rate}}))
        losses[rate] = fit(model, epochs=5)["loss"][-1]
    assert losses[curve.suggestion] < 0.5 * losses[curve.suggestion / 100]


def test_a_loss_below_zero_ends_the_test_only_when_it_runs_away():
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    model.compile("sgd", keras.losses.CosineSimilarity())  # from -1 to 1: it cannot rise three times as far as it fell
    targets = np.stack([Y[:, 0], -Y[:, 0]], 1)
    data = tf.data.Dataset.from_tensor_slices((X, targets)).batch(8)
    curve = find_learning_rate(model, data)
    assert len(curve.losses) == 100 and curve.smoothed_losses.min() < -0.5


@pytest.mark.parametrize(
    "change, sentence",
    [
        ({"start_rate": 0}, "the rates do not rise. Expected 0 < `start_rate` < `end_rate`. Received: start_rate=0,"),
        ({"end_rate": 1e-9}, "the rates do not rise"),
        ({"num_steps": 9}, "`num_steps` is too small for a curve. Expected at least 10"),
        ({"model": keras.Sequential([keras.layers.Dense(1)])}, "has no optimizer. .* Call `model.compile"),
        ({"dataset": BATCHES.take(0)}, "the data hold no batch"),
        ({"dataset": BATCHES.map(lambda x, y: (x, y * np.nan))}, "the loss is not a number from the first batch on"),
        ({"dataset": (X, Y)}, "`dataset` is no data set. .*from_tensor_slices"),
    ],
)
def test_mistakes(change, sentence):
    arguments = {"model": regressor(adam()), "dataset": BATCHES, **change}
    with pytest.raises(tlkit.UserError, match=sentence):
        find_learning_rate(**arguments)


def test_a_model_without_weights():
    model = keras.Sequential([keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    with pytest.raises(tlkit.UserError, match="has no weights yet, so they cannot be put back"):
        find_learning_rate(model, BATCHES)
