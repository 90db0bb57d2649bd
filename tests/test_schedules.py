"""Schedules: the papers' equations worked by hand, exact ends, and all that Keras does with a schedule."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tlkit
import tlkit.finetune
from tlkit.finetune import InversePowerDecay, OneCycle, SlantedTriangular


def rates(schedule, steps):
    return [float(schedule(step)) for step in steps]


def test_slanted_triangular_equation_3_of_ulmfit():
    # T = 20, cut_fraction .25: cut = 5. ratio 4, highest 8: lowest 8 / 4 = 2, and 2 + 6 p in between.
    schedule = SlantedTriangular(8.0, 20, cut_fraction=0.25, ratio=4)
    # p(1) = 1/5, p(5) = 1, p(8) = 1 - 3/15 = .8, p(14) = 1 - 9/15 = .4, p(20) = 0.
    assert rates(schedule, [0, 1, 5, 8, 14, 20]) == pytest.approx([2, 3.2, 8, 6.8, 4.4, 2], rel=1e-6)
    # The paper's own denominator, cut (1 / cut_fraction - 1) = 5 * 3 = 15, is T - cut = 15 here.
    assert rates(schedule, [0, 5, 20]) == [2, 8, 2]


def test_slanted_triangular_takes_the_paper_s_numbers_by_default():
    # cut = floor(1000 * .1) = 100; lowest = .32 / 32 = .01.
    assert rates(SlantedTriangular(0.32, 1000), [0, 100, 550, 1000]) == pytest.approx([0.01, 0.32, 0.165, 0.01])


@pytest.mark.parametrize("total_steps, cut_fraction", [(19, 0.1), (7, 0.1), (2, 0.9), (100, 0.29), (9, 0.999)])
def test_slanted_triangular_ends_at_the_lowest_rate_for_any_length(total_steps, cut_fraction):
    # With T = 19, cut = 1 the paper's denominator is 9: at t = 18 its p = 1 - 17/9 < 0 gives a rate below 0.
    values = rates(SlantedTriangular(1.0, total_steps, cut_fraction=cut_fraction), range(total_steps + 5))
    cut = values.index(1.0)
    assert cut == max(round(total_steps * cut_fraction - 0.499999), 1)
    assert values[0] == 1 / 32 and set(values[total_steps:]) == {1 / 32}
    assert np.all(np.diff(values[: cut + 1]) > 0) and np.all(np.diff(values[cut : total_steps + 1]) < 0)


def test_one_cycle_is_pytorch_s():
    # T = 10, warmup .3: top = 10 * .3 - 1 = 2, last = 9. low = 25 / 25 = 1, end = 1 / 1e4.
    schedule = OneCycle(25.0, 10)
    # t = 1: halfway up, (1 + 25) / 2. t = 5.5: halfway down, (25 + .0001) / 2.
    assert rates(schedule, [0, 1, 2, 5.5, 9, 99]) == pytest.approx([1, 13, 25, 12.50005, 1e-4, 1e-4], rel=1e-6)
    # A third of the way down (top 2, 7 steps to the end: t = 2 + 7/3): cos(pi / 3) = .5, so 3/4 of the way is left.
    assert float(schedule(2 + 7 / 3)) == pytest.approx(0.75 * 25 + 0.25e-4, rel=1e-6)


def test_one_cycle_is_exact_at_its_ends():
    schedule = OneCycle(0.1, 1000, warmup_fraction=0.25, initial_divisor=10, final_divisor=100)
    for step, expected in [(0, 0.01), (249, 0.1), (999, 0.0001), (10**6, 0.0001)]:
        assert np.float32(schedule(step)) == np.float32(expected)


def test_one_cycle_without_room_for_a_rise_starts_at_the_top():
    # 4 * .25 - 1 = 0, and 2 * .1 - 1 < 0: the first step is the top.
    for schedule in (OneCycle(1.0, 4, warmup_fraction=0.25), OneCycle(1.0, 2, warmup_fraction=0.1)):
        values = rates(schedule, range(5))
        assert values[0] == 1 and np.isfinite(values).all() and values[-1] == pytest.approx(4e-6)


def test_keras_has_cosine_with_warm_up():
    # Why there is none here: 0 -> 1 in 4 steps, then 1 -> .1 in 8; halfway down .1 + .9 / 2.
    cosine = keras.optimizers.schedules.CosineDecay(0.0, 8, alpha=0.1, warmup_target=1.0, warmup_steps=4)
    assert rates(cosine, [0, 2, 4, 8, 12, 99]) == pytest.approx([0, 0.5, 1, 0.55, 0.1, 0.1])


def test_inverse_power_decay_of_dann_section_5_2_2():
    # mu_p = .01 / (1 + 10 p)^.75: (1 + 10 * .1)^.75 = 2^.75 = 1.681793, (1 + 10 * .3)^.75 = 4^.75 = 2.828427.
    schedule = InversePowerDecay(0.01, 10)
    assert rates(schedule, [0, 1, 3]) == pytest.approx([0.01, 0.01 / 1.681793, 0.01 / 2.828427], rel=1e-6)
    # 11^.75 = 6.040105 at the end, and from there on.
    assert rates(schedule, [10, 11, 999]) == pytest.approx([0.01 / 6.040105] * 3, rel=1e-6)


def test_inverse_power_decay_is_caffe_s_inv_and_keras_inverse_time():
    # TLlib: lr (1 + gamma t)^-.75 with gamma = .001 is alpha = 10 in 10,000 steps.
    schedule = InversePowerDecay(0.02, 10_000)
    for step in (0, 17, 2500, 9999):
        assert float(schedule(step)) == pytest.approx(0.02 * (1 + 0.001 * step) ** -0.75, rel=1e-6)
    keras_s = keras.optimizers.schedules.InverseTimeDecay(0.02, decay_steps=50, decay_rate=3.0)
    ours = InversePowerDecay(0.02, 50, alpha=3, power=1)
    assert rates(ours, range(51)) == pytest.approx(rates(keras_s, range(51)), rel=1e-6)


SCHEDULES = [
    SlantedTriangular(0.5, 8, cut_fraction=0.25),
    OneCycle(0.5, 8, initial_divisor=3),
    InversePowerDecay(0.5, 8, alpha=3),
]


def test_every_public_schedule_is_here():
    base = keras.optimizers.schedules.LearningRateSchedule
    public = [getattr(tlkit.finetune, name) for name in tlkit.finetune.__all__]
    assert {c for c in public if isinstance(c, type) and issubclass(c, base)} == {type(s) for s in SCHEDULES}


def small_model(schedule):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1, kernel_initializer="ones")])
    model.compile(keras.optimizers.SGD(schedule), "mse")
    return model


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda s: type(s).__name__)
def test_config_round_trip(schedule):
    serialized = keras.optimizers.schedules.serialize(schedule)
    again = keras.optimizers.schedules.deserialize(serialized)
    assert type(again) is type(schedule) and again.get_config() == schedule.get_config()
    assert rates(again, range(10)) == rates(schedule, range(10))


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda s: type(s).__name__)
@pytest.mark.parametrize("jit_compile", [False, True])
def test_functions_and_xla(schedule, jit_compile):
    compiled = tf.function(schedule, jit_compile=jit_compile)
    for step in range(10):
        # int64 is the type of `optimizer.iterations`.
        np.testing.assert_allclose(compiled(tf.constant(step, tf.int64)), float(schedule(step)), rtol=1e-6)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda s: type(s).__name__)
def test_fit_uses_the_rate_and_a_keras_file_keeps_it(schedule, tmp_path):
    model = small_model(schedule)
    x, y = np.ones((1, 3), "float32"), np.zeros((1, 1), "float32")
    expected = 3.0  # the three weights are 1 and stay equal; with the bias the output is 3 w + b
    weight, bias = 1.0, 0.0
    for step in range(3):
        model.fit(x, y, verbose=0)
        rate, slope = float(schedule(step)), 2 * expected
        weight, bias = weight - rate * slope, bias - rate * slope
        expected = 3 * weight + bias
    np.testing.assert_allclose(model(x), [[expected]], rtol=1e-5)
    model.save(tmp_path / "model.keras")
    again = tlkit.load_model(tmp_path / "model.keras")
    assert again.optimizer.get_config() == model.optimizer.get_config()
    assert float(again.optimizer.learning_rate) == float(schedule(3))


@pytest.mark.parametrize(
    "make, sentence",
    [
        (lambda: SlantedTriangular(0, 10), r"SlantedTriangular: `max_learning_rate` .* Expected a number above 0"),
        (lambda: OneCycle(float("nan"), 10), r"OneCycle: `max_learning_rate` .* max_learning_rate=nan"),
        (lambda: OneCycle(1.0, 1), r"OneCycle: `total_steps` .* at least 2: batches an epoch times epochs"),
        (lambda: SlantedTriangular(1.0, 10.5), r"Expected a whole number, .* total_steps=10.5"),
        (lambda: SlantedTriangular(1.0, 10, cut_fraction=1), r"`cut_fraction` .* between 0 and 1"),
        (lambda: OneCycle(1.0, 10, warmup_fraction=0), r"`warmup_fraction` .* between 0 and 1"),
        (lambda: InversePowerDecay(0, 10), r"InversePowerDecay: `initial_learning_rate` .* initial_learning_rate=0"),
        (lambda: InversePowerDecay(1.0, 1), r"InversePowerDecay: `total_steps` .* total_steps=1"),
        (lambda: InversePowerDecay(1.0, 10, alpha=0), r"`alpha` lets the rate fall. Expected a number above 0"),
        (lambda: InversePowerDecay(1.0, 10, power=-1), r"`power` lets the rate fall. .* power=-1"),
        (lambda: SlantedTriangular(1.0, 10, ratio=0.5), r"`ratio` .* Expected at least 1"),
        (lambda: OneCycle(1.0, 10, final_divisor=0), r"OneCycle: `final_divisor` .* final_divisor=0"),
    ],
)
def test_arguments_out_of_range(make, sentence):
    with pytest.raises(tlkit.UserError, match=sentence):
        make()
