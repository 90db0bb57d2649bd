"""Layer-wise rates against arithmetic, against one plain optimizer for each group, and in a real `fit`."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tlkit
from tlkit.callbacks import ExactResume, LearningRateLogger, ProgressiveUnfreezing
from tlkit.distribution import choose_strategy
from tlkit.finetune import LayerwiseLearningRates, known_variables, prepare_unfreezing

GROUPS = {"low": ["first"], "high": ["second"]}
X = np.random.default_rng(0).uniform(-1, 1, (16, 3)).astype("float32")
Y = X.sum(axis=1, keepdims=True)

# Every class of `keras.optimizers` that takes steps of its own.
KINDS = sorted(
    name
    for name, kind in vars(keras.optimizers).items()
    if isinstance(kind, type)
    and issubclass(kind, keras.optimizers.Optimizer)
    and kind.update_step is not keras.optimizers.Optimizer.update_step
    and kind is not keras.optimizers.LossScaleOptimizer
)


def small_model(strategy=None):
    with (strategy or tf.distribute.get_strategy()).scope():
        keras.utils.set_random_seed(1)
        inputs = keras.Input((3,))
        x = keras.layers.Dense(4, activation="tanh", name="first")(inputs)
        x = keras.layers.Dense(4, activation="tanh", name="second")(x)
        return keras.Model(inputs, keras.layers.Dense(1, name="top", dtype="float32")(x))


def values(model):
    return [np.array(keras.ops.convert_to_numpy(weight)) for weight in model.weights]


def assert_equal(actual, expected):
    for a, e in zip(actual, expected, strict=True):
        np.testing.assert_array_equal(a, e)


def two_weights():
    """A model of two weights, "low/kernel" at 2.0 in the group that has half the rate, and "top/kernel" at 3.0."""
    model = keras.Sequential(
        [keras.Input((1,)), *(keras.layers.Dense(1, use_bias=False, name=n) for n in ("low", "top"))]
    )
    model.set_weights([np.array([[2.0]]), np.array([[3.0]])])
    return model


def step(optimizer, model, *gradients):
    optimizer.apply([tf.constant([[g]]) for g in gradients], model.trainable_variables)
    return [float(v.numpy().item()) for v in model.trainable_variables]


def halved(optimizer, model):
    return LayerwiseLearningRates(optimizer, model, layer_decay=0.5, groups=[["low"]])


# Arithmetic


def test_three_steps_of_sgd():
    model = two_weights()
    optimizer = halved(keras.optimizers.SGD(0.5), model)
    # low: 2 - 0.25 * 1, - 0.25 * 2, + 0.25 * 4;   top: 3 - 0.5 * 1, ...
    assert step(optimizer, model, 1.0, 1.0) == [1.75, 2.5]
    assert step(optimizer, model, 2.0, 2.0) == [1.25, 1.5]
    assert step(optimizer, model, -4.0, -4.0) == [2.25, 3.5]


def test_three_steps_of_momentum():
    model = two_weights()
    optimizer = halved(keras.optimizers.SGD(0.5, momentum=0.5), model)
    # Keras: m = 0.5 * m - rate * gradient, weight += m.  low: m = -0.25, -0.375, -0.4375
    assert step(optimizer, model, 1.0, 1.0) == [1.75, 2.5]
    assert step(optimizer, model, 1.0, 1.0) == [1.375, 1.75]
    assert step(optimizer, model, 1.0, 1.0) == [0.9375, 0.875]


def test_first_step_of_adam_is_the_rate_of_the_group():
    model = two_weights()
    # Adam's first step is rate * g / (|g| + epsilon'), whatever the size of the gradient.
    assert step(halved(keras.optimizers.Adam(0.01), model), model, 7.0, -0.3) == pytest.approx([1.995, 3.01], abs=1e-6)


def test_decoupled_weight_decay_follows_the_rate():
    model = two_weights()
    optimizer = halved(keras.optimizers.AdamW(0.5, weight_decay=0.25), model)
    # A gradient of 0 leaves the decay alone: weight *= 1 - decay * rate, that is 1 - 0.25 * 0.25 = 15/16 and 7/8.
    for count in (1, 2, 3):
        assert step(optimizer, model, 0.0, 0.0) == [2.0 * (15 / 16) ** count, 3.0 * (7 / 8) ** count]


def test_decay_and_step_together():
    model = two_weights()
    optimizer = halved(keras.optimizers.SGD(0.5, weight_decay=0.25), model)
    # low: 2 * 15/16 - 0.25 * 1;   top: 3 * 7/8 - 0.5 * 1
    assert step(optimizer, model, 1.0, 1.0) == [1.625, 2.125]


def test_scaling_the_gradient_is_no_layer_wise_rate_under_adam():
    """Fact 5: a gradient of a tenth moves the weight as far; a rate of a tenth moves it a tenth."""
    moved = {}
    for name, factor, rules in (("plain", 1.0, 1.0), ("gradient", 0.1, 1.0), ("rate", 1.0, 0.1)):
        model = two_weights()
        optimizer = LayerwiseLearningRates(
            keras.optimizers.Adam(0.01), model, multipliers={"low": rules, ".*": 1.0}, groups=[["low"]]
        )
        moved[name] = 2.0 - step(optimizer, model, 0.5 * factor, 0.5)[0]
    assert moved["gradient"] == pytest.approx(moved["plain"], rel=1e-4)
    assert moved["plain"] == pytest.approx(0.01, rel=1e-4)
    assert moved["rate"] == pytest.approx(0.001, rel=1e-3)


# Every optimizer of Keras


def make(kind, rate=0.0625):
    # 1/16 and 1/32 have no rounding.
    return getattr(keras.optimizers, kind)(learning_rate=rate, weight_decay=0.125)


def train(optimizer, model, weights=None):
    random = np.random.default_rng(5)
    for _ in range(3):
        gradients = [tf.constant(random.normal(size=v.shape), tf.float32) for v in model.trainable_variables]
        chosen = [i for i, v in enumerate(model.trainable_variables) if weights is None or v.path.startswith(weights)]
        optimizer.apply([gradients[i] for i in chosen], [model.trainable_variables[i] for i in chosen])


def test_all_optimizers_are_looked_at():
    assert {"SGD", "Adam", "AdamW", "Adafactor", "Lion", "Muon", "Ftrl", "Nadam", "ScheduleFreeAdamW"} <= set(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_multiplier_one_is_the_plain_optimizer_bit_for_bit(kind):
    plain, layer_wise = small_model(), small_model()
    train(make(kind), plain)
    optimizer = LayerwiseLearningRates(make(kind), layer_wise, layer_decay=1, groups=GROUPS)
    assert isinstance(optimizer, getattr(keras.optimizers, kind))
    train(optimizer, layer_wise)
    assert_equal(values(layer_wise), values(plain))


@pytest.mark.parametrize("kind", KINDS)
def test_each_group_trains_as_with_an_optimizer_of_its_own(kind):
    separate, layer_wise = small_model(), small_model()
    before = values(separate)
    train(make(kind, 0.0625), separate, weights="top")
    train(make(kind, 0.03125), separate, weights="second")
    train(make(kind, 0.015625), separate, weights="first")
    train(LayerwiseLearningRates(make(kind), layer_wise, layer_decay=0.5, groups=GROUPS), layer_wise)
    assert_equal(values(layer_wise), values(separate))
    assert not any(np.array_equal(a, b) for a, b in zip(before, values(separate), strict=True))


def test_adafactor_keeps_the_multiplier_above_its_cap():
    # From the fifth step on 1 / sqrt(step) is below 0.5, so both groups would have the same rate.
    model = two_weights()
    optimizer = halved(keras.optimizers.Adafactor(1.0), model)
    for _ in range(8):
        before = step(optimizer, model, 1e-3, 1e-3)
    after = step(optimizer, model, 1e-3, 1e-3)
    # For a steady gradient its step is rate * |weight|: in the ninth step 1/3 for the head, half of that for the group.
    low, top = (abs((a - b) / b) for a, b in zip(after, before, strict=True))
    assert (low, top) == (pytest.approx(1 / 6, rel=1e-4), pytest.approx(1 / 3, rel=1e-4))
    with pytest.raises(tlkit.UserError, match=r"Adafactor caps its own rate, so the multiplier of '.*low/\.\*'"):
        LayerwiseLearningRates(keras.optimizers.Adafactor(), model, multipliers={".*low/.*": 2, ".*": 1})


# Rates that change


def test_a_schedule():
    model = two_weights()
    optimizer = halved(keras.optimizers.SGD(keras.optimizers.schedules.PiecewiseConstantDecay([0], [0.5, 0.25])), model)
    assert step(optimizer, model, 1.0, 1.0) == [1.75, 2.5]
    assert step(optimizer, model, 1.0, 1.0) == [1.625, 2.25]
    assert optimizer.learning_rates == {"low": 0.125, "head": 0.25}


def test_a_callable():
    model = two_weights()
    assert step(halved(keras.optimizers.SGD(lambda: 0.5), model), model, 1.0, 1.0) == [1.75, 2.5]


def test_a_rate_that_is_set():
    model = two_weights()
    optimizer = halved(keras.optimizers.SGD(0.5), model)
    step(optimizer, model, 1.0, 1.0)
    optimizer.learning_rate = 0.25
    assert step(optimizer, model, 1.0, 1.0) == [1.625, 2.25]


def test_reduce_on_plateau_and_the_logs():
    model = small_model()
    model.compile(LayerwiseLearningRates(keras.optimizers.SGD(0.5), model, layer_decay=0.5, groups=GROUPS), "mse")
    model.get_layer("first").trainable = False
    # `min_delta`: nothing is an improvement, so the rate halves after the second and the third epoch.
    plateau = keras.callbacks.ReduceLROnPlateau(monitor="loss", factor=0.5, patience=1, min_delta=100.0)
    history = model.fit(X, Y, epochs=3, verbose=0, callbacks=[plateau, LearningRateLogger()]).history
    assert history["learning_rate"] == [0.5, 0.25, 0.125]
    assert history["learning_rate/head"] == [0.5, 0.25, 0.125]
    assert history["learning_rate/high"] == [0.25, 0.125, 0.0625]
    assert history["learning_rate/low"] == [0.0, 0.0, 0.0]  # frozen


def test_the_logs_of_a_plain_optimizer():
    model = small_model()
    model.compile(keras.optimizers.SGD(0.5), "mse")
    history = model.fit(X, Y, verbose=0, callbacks=[LearningRateLogger()]).history
    assert {key for key in history if "rate" in key} == {"learning_rate"}


def test_the_logs_without_groups():
    model = small_model()
    model.compile(LayerwiseLearningRates(keras.optimizers.SGD(0.5), model, layer_decay=0.5, groups=GROUPS), "mse")
    history = model.fit(X, Y, verbose=0, callbacks=[LearningRateLogger(groups=False)]).history
    assert {key for key in history if "rate" in key} == {"learning_rate"}


# In `fit`, with what Keras does around an optimizer


MODES = {
    "plain": ({}, {}),
    "steps_per_execution": ({}, {"steps_per_execution": 2}),
    "eager": ({}, {"run_eagerly": True}),
    "jit": ({}, {"jit_compile": True}),
    "clipnorm": ({"clipnorm": 0.01}, {}),
    "global_clipnorm": ({"global_clipnorm": 0.01}, {}),
    "clipvalue": ({"clipvalue": 0.001}, {}),
    "loss_scale_factor": ({"loss_scale_factor": 8.0}, {}),
    "accumulation": ({"gradient_accumulation_steps": 2}, {}),
    "average": ({"use_ema": True, "ema_momentum": 0.0}, {}),
    "decay": ({"weight_decay": 0.01}, {}),
    "average and accumulation": ({"use_ema": True, "gradient_accumulation_steps": 2, "weight_decay": 0.01}, {}),
}


def movements(decay, optimizer_options, compile_options, strategy=None, accumulate=1):
    """How far each weight moves in one step of SGD."""
    model = small_model(strategy)
    before = values(model)
    with model.distribute_strategy.scope():
        optimizer = keras.optimizers.SGD(0.5, **optimizer_options)
        optimizer = LayerwiseLearningRates(optimizer, model, layer_decay=decay, groups=GROUPS)
        model.compile(optimizer, "mse", **compile_options)
    steps = max(accumulate, compile_options.get("steps_per_execution", 1))
    model.fit(X, Y, batch_size=16 // steps, shuffle=False, verbose=0)
    return [after - value for value, after in zip(before, values(model), strict=True)]


def assert_scaled(actual, whole, rtol=1e-4):
    assert all(plain.any() for plain in whole[::2])  # the kernels
    for movement, plain, multiplier in zip(actual, whole, [0.25, 0.25, 0.5, 0.5, 1, 1], strict=True):
        np.testing.assert_allclose(movement, multiplier * plain, rtol=rtol, atol=1e-6)


@pytest.mark.parametrize("mode", [mode for mode in MODES if mode != "steps_per_execution"])
def test_the_first_step_is_scaled_in_every_mode(mode):
    accumulate = MODES[mode][0].get("gradient_accumulation_steps", 1)
    assert_scaled(
        movements(0.5, *MODES[mode], accumulate=accumulate), movements(1, *MODES[mode], accumulate=accumulate)
    )


@pytest.mark.parametrize("mode", ["plain", "clipnorm", "decay"])
def test_two_devices(mode):
    strategy = choose_strategy("mirrored")
    assert_scaled(movements(0.5, *MODES[mode], strategy), movements(1, *MODES[mode], strategy))


def test_two_devices_train_as_one():
    for one, two in zip(movements(0.5, {}, {}), movements(0.5, {}, {}, choose_strategy("mirrored")), strict=True):
        np.testing.assert_allclose(one, two, atol=1e-6)


@pytest.mark.parametrize("devices", [1, 2])
@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision(policy, devices):
    strategy = choose_strategy("mirrored") if devices == 2 else None
    keras.mixed_precision.set_global_policy(policy)
    assert_scaled(movements(0.5, {}, {}, strategy), movements(1, {}, {}, strategy), rtol=1e-3)


@pytest.mark.parametrize("mode", ["plain", "steps_per_execution", "jit", "average and accumulation"])
def test_multiplier_one_is_the_plain_optimizer_in_fit(mode):
    optimizer_options, compile_options = MODES[mode]
    results = []
    for layer_wise in (False, True):
        model = small_model()
        optimizer = keras.optimizers.AdamW(0.01, **optimizer_options)
        if layer_wise:
            optimizer = LayerwiseLearningRates(optimizer, model, layer_decay=1, groups=GROUPS)
        model.compile(optimizer, "mse", **compile_options)
        model.fit(X, Y, batch_size=4, epochs=2, shuffle=False, verbose=0)
        results.append(values(model))
    assert_equal(*results)


def test_constraints_and_embeddings():
    """Weights that Keras treats on its own: rows that were not looked up have sparse gradients, norms are bounded."""
    inputs = keras.Input((2,), dtype="int32")
    x = keras.layers.Flatten()(keras.layers.Embedding(5, 2, embeddings_initializer="ones", name="low")(inputs))
    top = keras.layers.Dense(1, use_bias=False, kernel_initializer="ones", kernel_constraint="non_neg", name="top")
    model = keras.Model(inputs, top(x))
    model.compile(halved(keras.optimizers.SGD(0.5), model), lambda y, prediction: prediction)
    model.fit(np.array([[0, 1]]), np.zeros((1, 1)), verbose=0)
    # loss = w . e with all ones: each looked up number falls by 0.25, each of the kernel's by 0.5.
    np.testing.assert_allclose(model.get_layer("low").get_weights()[0], [[0.75] * 2] * 2 + [[1.0] * 2] * 3)
    model.fit(np.array([[0, 1]] * 3), np.zeros((3, 1)), batch_size=1, verbose=0)
    assert (model.get_layer("top").get_weights()[0] == 0).all()


# Stages


def classifier(image_model, strategy=None):
    with (strategy or tf.distribute.get_strategy()).scope():
        keras.utils.set_random_seed(1)
        inputs = keras.Input((32, 32, 3))
        features = tlkit.load_backbone(str(image_model))(inputs)
        return keras.Model(inputs, keras.layers.Dense(2, activation="softmax", name="top", dtype="float32")(features))


def test_stages_of_a_backbone_have_ulmfits_rates(image_model):
    model = classifier(image_model)
    optimizer = LayerwiseLearningRates("sgd", model)
    assert optimizer.learning_rates == pytest.approx(
        {
            "stride_2": 0.01 / 2.6**4,
            "stride_4": 0.01 / 2.6**3,
            "stride_8": 0.01 / 2.6**2,
            "stride_16": 0.01 / 2.6,
            "head": 0.01,
        }
    )
    assert list(optimizer.multipliers) == ["stride_2", "stride_4", "stride_8", "stride_16", "head"]


def test_two_backbones_have_stages_of_their_own(image_model):
    inputs = keras.Input((32, 32, 3))
    branches = [tlkit.load_backbone(str(image_model), name=name)(inputs) for name in ("left", "right")]
    model = keras.Model(inputs, keras.layers.Dense(1)(keras.layers.concatenate(branches)))
    multipliers = LayerwiseLearningRates("sgd", model, layer_decay=0.5).multipliers
    assert multipliers["left/stride_2"] == multipliers["right/stride_2"] == 1 / 16
    assert multipliers["left/stride_16"] == multipliers["right/stride_16"] == 1 / 2


@pytest.mark.parametrize(
    ("policy", "devices"),
    [("float32", 1), ("float32", 2), ("mixed_float16", 1), pytest.param("mixed_float16", 2, marks=pytest.mark.slow)],
)
def test_stages_opened_during_training_have_their_rates(image_model, policy, devices):
    keras.mixed_precision.set_global_policy(policy)
    moved = {}
    for decay in (1, 1 / 8):
        model = classifier(image_model, choose_strategy("mirrored") if devices == 2 else None)
        with model.distribute_strategy.scope():
            optimizer = LayerwiseLearningRates(keras.optimizers.SGD(0.125), model, layer_decay=decay)
            model.compile(optimizer, "sparse_categorical_crossentropy")
        prepare_unfreezing(model)
        assert len(known_variables(model.optimizer)) == 18 + 2
        before = {stage.name: values_of(stage) for stage in model.get_layer("backbone").stages}
        images = np.random.default_rng(0).uniform(size=(8, 32, 32, 3)).astype("float32")
        callbacks = [ProgressiveUnfreezing(schedule={0: 0, 1: 2}, verbose=0), LearningRateLogger()]
        # One step an epoch: the head alone, then the head and two stages, from the same weights for either factor.
        history = model.fit(
            images, np.arange(8) % 2, batch_size=8, epochs=2, shuffle=False, verbose=0, callbacks=callbacks
        )
        moved[decay] = {
            stage.name: values_of(stage) - before[stage.name] for stage in model.get_layer("backbone").stages
        }
    assert history.history["learning_rate/head"] == [1 / 8, 1 / 8]
    assert history.history["learning_rate/stride_16"] == [0.0, 1 / 64]
    assert history.history["learning_rate/stride_8"] == [0.0, 1 / 512]
    assert history.history["learning_rate/stride_4"] == [0.0, 0.0]
    for name, factor in (("stride_2", 0), ("stride_4", 0), ("stride_8", 1 / 64), ("stride_16", 1 / 8)):
        assert bool(moved[1][name].any()) == bool(factor)
        np.testing.assert_allclose(moved[1 / 8][name], factor * moved[1][name], rtol=1e-3, atol=1e-6)


def values_of(stage):
    return np.concatenate([keras.ops.convert_to_numpy(weight).ravel() for weight in stage.weights])


# Rules


def test_the_first_rule_that_matches_counts():
    model = small_model()
    rules = {".*/bias": 2, "first/.*": 0.25, "top": 0.5, ".*": 1}
    model.get_layer("top").name = "top"
    groups = {"top": ["top"]}
    optimizer = LayerwiseLearningRates("sgd", model, multipliers=rules, groups=groups)
    optimizer.build(model.trainable_variables)
    moved = [optimizer._rate_groups.multiplier(i) for i in range(6)]
    assert moved == [0.25, 2, 1, 2, 0.5, 2]


def test_rules_with_names_of_stages(image_model):
    model = classifier(image_model)
    optimizer = LayerwiseLearningRates(
        keras.optimizers.SGD(1.0), model, multipliers={"stride_16": 0.5, "head": 1.0, "backbone/.*": 0.25}
    )
    assert optimizer.learning_rates == {"stride_16": 0.5, "head": 1.0, "backbone/.*": 0.25}


def test_without_a_head_the_last_group_has_the_whole_rate():
    model = small_model()
    optimizer = LayerwiseLearningRates("sgd", model, layer_decay=0.5, groups=[["first"], ["second"], ["top"]])
    assert optimizer.multipliers == {"first": 0.25, "second": 0.5, "top": 1.0}


def test_a_rule_need_not_match_what_never_trains():
    model = keras.Sequential([keras.Input((3,)), keras.layers.BatchNormalization(), keras.layers.Dense(1)])
    rules = {".*/(gamma|beta)": 1.0, ".*/(kernel|bias)": 0.5}
    model.compile(LayerwiseLearningRates("adam", model, multipliers=rules), "mse")
    model.fit(X, Y, verbose=0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"layer_decay": 2.6}, r"`layer_decay` is out of range. .* such as 1 / 2.6. Received: layer_decay=2.6"),
        ({"layer_decay": 0}, "`layer_decay` is out of range"),
        ({"layer_decay": "0.5"}, "`layer_decay` is out of range"),
        ({"layer_decay": 0.5, "multipliers": {".*": 1}}, "`layer_decay` and `multipliers` both say"),
        ({}, "has no backbone with stages. Expected stages or groups of layers"),
        ({"multipliers": {}}, "`multipliers` is not usable"),
        (
            {"multipliers": {"first/.*": 0, ".*": 1}},
            r"multiplier 0, .* Freeze the layers instead: `layer.trainable = F",
        ),
        ({"multipliers": {".*": -1}}, "multiplier of the rule '.*' is not usable. Expected a number above 0"),
        ({"multipliers": {".*": float("nan")}}, "is not usable. Expected a number above 0. Received: nan"),
        ({"multipliers": {".*": "fast"}}, "is not usable. Expected a number above 0. Received: 'fast'"),
        ({"multipliers": {"(": 1}}, r"the rule '\(' is no regular expression"),
        ({"multipliers": {"first/.*": 1}}, "no rule of `multipliers` matches the weight 'second/kernel' and 3 more"),
        (
            {"multipliers": {"first": 1, ".*": 1}},
            "the rule 'first' matches no weight. .* 'first/kernel'. .* 'first/.*'",
        ),
        ({"multipliers": {"hed": 1, ".*": 1}}, "the rule 'hed' matches no weight. .* Did you mean 'head'?"),
        (
            {"multipliers": {".*": 1, "first/.*": 1}},
            "all weights that the rule 'first/.*' matches are taken by rules be",
        ),
        ({"groups": [["fist"]]}, "has no layer 'fist'. Did you mean 'first'?"),
    ],
)
def test_arguments(arguments, message):
    optimizer = keras.optimizers.SGD()
    with pytest.raises(tlkit.UserError, match=message):
        LayerwiseLearningRates(optimizer, small_model(), **arguments)
    assert type(optimizer) is keras.optimizers.SGD  # and can be used again


def test_optimizers_that_cannot_be_used():
    model = small_model()
    layer_wise = LayerwiseLearningRates("sgd", model, layer_decay=1, groups=GROUPS)
    built = keras.optimizers.SGD()
    built.build(model.trainable_variables)
    several = keras.optimizers.MultiOptimizer(keras.optimizers.OptimizerMap(keras.optimizers.SGD()))
    for optimizer, message in [
        ("adamm", "Keras has no optimizer 'adamm'"),
        (3, "is no Keras optimizer. .* Received: 3"),
        (keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD()), "Turn them around"),
        (several, "a MultiOptimizer has no step whose rate could be scaled"),
        (layer_wise, "has layer-wise rates already"),
        (built, "is in use by a model already"),
    ]:
        with pytest.raises(tlkit.UserError, match=message):
            LayerwiseLearningRates(optimizer, model, layer_decay=1, groups=GROUPS)


def test_models_that_cannot_be_used():
    unbuilt = keras.Sequential([keras.layers.Dense(1)])
    with pytest.raises(tlkit.UserError, match="has no weights yet. Expected a built model"):
        LayerwiseLearningRates("sgd", unbuilt, multipliers={".*": 1})
    inputs = keras.Input((3,))
    with pytest.raises(tlkit.UserError, match="the group 'flat' has no weights"):
        LayerwiseLearningRates(
            "sgd",
            keras.Model(inputs, keras.layers.Dense(1)(keras.layers.Flatten(name="flat")(inputs))),
            groups=[["flat"]],
        )


def test_another_model_than_it_was_made_for():
    model, other = small_model(), small_model()
    other.compile(LayerwiseLearningRates("sgd", model, groups=GROUPS), "mse")
    with pytest.raises(
        tlkit.UserError, match="built on the weight 'first/kernel' and 5 more, not of the model that it"
    ):
        other.fit(X, Y, verbose=0)


def test_a_weight_without_a_rule_that_is_opened_later():
    model = small_model()
    model.get_layer("first").trainable = False
    optimizer = LayerwiseLearningRates("sgd", model, multipliers={"second/.*": 0.5, "top/.*": 1})
    model.get_layer("first").trainable = True
    with pytest.raises(tlkit.UserError, match="no rule of `multipliers` matches the weight 'first/kernel' and 1 more"):
        optimizer.build(model.trainable_variables)


# Saving


def fit_once(model):
    model.fit(X, Y, batch_size=4, epochs=1, shuffle=False, verbose=0)


def same_paths():
    """Two weights of each path, in groups with different rates."""

    def inner(name):
        inputs = keras.Input((3,))
        return keras.Model(inputs, keras.layers.Dense(3, name="dense")(inputs), name=name)

    inputs = keras.Input((3,))
    model = keras.Model(inputs, keras.layers.Dense(1, name="top")(inner("two")(inner("one")(inputs))))
    assert len({w.path for w in model.weights}) < len(model.weights)
    return model, {"groups": {"low": ["one"], "high": ["two"]}}


def other_paths():
    """Keras gives the layers of a `Sequential` shorter paths when it opens the file."""
    model = keras.Sequential([keras.layers.Dense(3, name="one"), keras.layers.Dense(1, name="two")])
    model(X)
    return model, {"groups": {"low": ["one"]}}


def rules():
    return small_model(), {"multipliers": {".*/bias": 2.0, "first/kernel": 0.25, ".*": 1.0}}


def one_frozen():
    model = small_model()
    model.get_layer("second").trainable = False
    return model, {"groups": GROUPS}


# Keras itself cannot open a file that was saved before its first step.
@pytest.mark.parametrize(
    ("load", "epochs"),
    [(keras.saving.load_model, 1), (tlkit.load_model, 1), (tlkit.load_model, 0)],
    ids=["keras", "tlkit", "tlkit-unbuilt"],
)
@pytest.mark.parametrize("make_model", [same_paths, other_paths, rules, one_frozen])
def test_training_goes_on_from_a_file_bit_for_bit(make_model, load, epochs, tmp_path):
    model, arguments = make_model()
    schedule = keras.optimizers.schedules.ExponentialDecay(0.1, 2, 0.5)
    model.compile(LayerwiseLearningRates(keras.optimizers.AdamW(schedule, clipnorm=1.0), model, **arguments), "mse")
    for _ in range(epochs):
        fit_once(model)
    model.save(tmp_path / "model.keras")
    loaded = load(tmp_path / "model.keras")
    assert loaded.optimizer.multipliers == model.optimizer.multipliers
    fit_once(model)
    fit_once(loaded)
    assert_equal(values(loaded), values(model))
    assert_equal(*([v.numpy() for v in m.optimizer.variables] for m in (loaded, model)))


@pytest.mark.parametrize("policy", ["float32", "mixed_float16"])
@pytest.mark.parametrize("prepare", [True, False])
@pytest.mark.parametrize("epochs", [0, 1])
def test_a_file_with_a_backbone(image_model, prepare, epochs, policy, tmp_path):
    keras.mixed_precision.set_global_policy(policy)
    model = classifier(image_model)
    model.get_layer("backbone").unfreeze(last=1)
    # No rule for the stages that are closed.
    rules = {"stride_16": 0.25, "head": 1.0} if not prepare else {"stride_16": 0.25, "head": 1.0, "backbone/.*": 0.125}
    model.compile(
        LayerwiseLearningRates(keras.optimizers.Adam(0.01), model, multipliers=rules), "sparse_categorical_crossentropy"
    )
    if prepare:
        prepare_unfreezing(model)
    images, labels = np.random.default_rng(0).uniform(size=(8, 32, 32, 3)).astype("float32"), np.arange(8) % 2
    model.fit(images, labels, epochs=epochs, shuffle=False, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = tlkit.load_model(tmp_path / "model.keras")
    for each in (model, loaded):
        if prepare and epochs:
            each.get_layer("backbone").unfreeze()
            each.make_train_function(force=True)
        each.fit(images, labels, shuffle=False, verbose=0)
    assert_equal(values(loaded), values(model))


def test_other_weights_than_those_in_the_file():
    model = small_model()
    optimizer = LayerwiseLearningRates("sgd", model, groups=GROUPS)
    again = LayerwiseLearningRates.from_config(optimizer.get_config())
    small = two_weights()
    with pytest.raises(tlkit.UserError, match="are not those that the groups were made for. Expected 6 weights"):
        again.bind(small)
    with pytest.raises(tlkit.UserError, match="the weight '.*low/kernel' cannot be told among those in the file"):
        again.build(small.trainable_variables)


def test_paths_serve_where_other_weights_train_than_before():
    model = small_model()
    again = LayerwiseLearningRates.from_config(LayerwiseLearningRates("sgd", model, groups=GROUPS).get_config())
    again.build(model.trainable_variables[2:])
    assert again.training_groups == ("high", "head")


@keras.saving.register_keras_serializable("test_layer_wise_rates")
class PlainSGD(keras.optimizers.Optimizer):
    """An optimizer of a user's, with a setting of its own."""

    def __init__(self, learning_rate=0.5, sign=1.0, **kwargs):
        super().__init__(learning_rate, **kwargs)
        self.sign = sign

    def update_step(self, gradient, variable, learning_rate):
        self.assign_sub(variable, self.sign * gradient * keras.ops.cast(learning_rate, variable.dtype))

    def get_config(self):
        return {**super().get_config(), "sign": self.sign}


def test_an_optimizer_of_the_users_own(tmp_path):
    model = two_weights()
    optimizer = halved(PlainSGD(sign=-1.0), model)
    assert step(optimizer, model, 1.0, 1.0) == [2.25, 3.5]
    model.compile(optimizer, "mse")
    model.save(tmp_path / "model.keras")
    loaded = tlkit.load_model(tmp_path / "model.keras")
    assert isinstance(loaded.optimizer, PlainSGD) and isinstance(loaded.optimizer, LayerwiseLearningRates)
    assert step(loaded.optimizer, loaded, 1.0, 1.0) == [2.5, 4.0]


def test_settings_that_are_in_no_config_stay():
    model = two_weights()
    optimizer = keras.optimizers.AdamW(0.5, weight_decay=0.25)
    optimizer.exclude_from_weight_decay(var_list=[model.weights[0]])
    assert step(halved(optimizer, model), model, 0.0, 0.0) == [2.0, 3.0 * 7 / 8]


def test_exact_resume(tmp_path):
    """A training that is stopped after an opening goes on to the same weights, bit for bit."""
    groups = [["first"], ["second"]]

    def run(folder, epochs):
        model = small_model()
        model.get_layer("first").trainable = model.get_layer("second").trainable = False
        model.compile(LayerwiseLearningRates(keras.optimizers.AdamW(0.01), model, groups=groups), "mse")
        prepare_unfreezing(model, groups)
        resume = ExactResume(folder)
        callbacks = [ProgressiveUnfreezing(groups=groups, verbose=0), LearningRateLogger(), resume]
        options = {"shuffle": False, "verbose": 0, "callbacks": callbacks}
        return model, model.fit(X, Y, epochs=epochs, initial_epoch=resume.initial_epoch, **options).history

    whole, history = run(tmp_path / "whole", 3)
    run(tmp_path / "parts", 2)
    resumed, resumed_history = run(tmp_path / "parts", 3)
    assert_equal(values(resumed), values(whole))
    assert resumed_history == history
