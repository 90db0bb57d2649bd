"""The ramp: the paper's numbers by hand, and the scale that each step of a real training has."""

import copy
import re

import keras
import numpy as np
import pytest
import tensorflow as tf

import tlkit
from tlkit.callbacks import AdaptationRamp, ProgressiveUnfreezing
from tlkit.distribution import choose_strategy
from tlkit.domain import CorrelationAlignment, DomainDiscriminator, DomainLoss, build_coral, build_dann, pair_domains
from tlkit.finetune import prepare_unfreezing


def encoder():
    inputs = keras.Input((2,))
    low = keras.layers.Dense(4, activation="tanh", name="low")(inputs)
    return keras.Model(inputs, keras.layers.Dense(4, activation="tanh", name="high")(low))


def dann(strategy=None, reversal_scale=0.0, **options):
    with (strategy or tf.distribute.get_strategy()).scope():
        keras.utils.set_random_seed(1)
        model = build_dann(encoder(), 2, discriminator=DomainDiscriminator((4,)), reversal_scale=reversal_scale)
        model.compile(
            keras.optimizers.SGD(0.1),
            {"label": "sparse_categorical_crossentropy", "domain": DomainLoss()},
            **options,
        )
    return model


def pairs(steps=4, **options):
    random = np.random.default_rng(0)
    x, y = random.normal(size=(16, 2)).astype("float32"), random.integers(0, 2, 16)
    source, target = tf.data.Dataset.from_tensor_slices((x, y)), tf.data.Dataset.from_tensor_slices(x + 1)
    return pair_domains(source, target, global_batch_size=8, steps=steps, **options)


class Scales(keras.callbacks.Callback):
    """The scale that each step finds, on every device."""

    def __init__(self, layer="reversal"):
        super().__init__()
        self.layer, self.seen = layer, []

    def on_train_batch_begin(self, batch, logs=None):
        value = self.model.get_layer(self.layer).scale.value
        local = self.model.distribute_strategy.experimental_local_results(value)
        assert len({float(v) for v in local}) == 1
        self.seen.append(float(local[0]))


def fit(model, *callbacks, data=None, layer="reversal", **options):
    scales = Scales(layer)
    options = {"epochs": 2, "shuffle": False, "verbose": 0, **options}
    history = model.fit(pairs() if data is None else data, callbacks=[*callbacks, scales], **options)
    return scales.seen, history.history


# 2 / (1 + exp(-10 p)) - 1 = tanh(5 p) at p = 0, 1/8, 2/8 … 7/8, of two epochs of four steps.
EIGHTHS = [0, 0.554600, 0.848284, 0.954045, 0.986614, 0.996146, 0.998894, 0.999683]


def test_lambda_p_of_section_5_2_2():
    ramp = AdaptationRamp()
    # p = .1: exp(-1) = .367879, 2 / 1.367879 - 1 = .462117. p = .5: exp(-5) = .006738, 2 / 1.006738 - 1 = .986614.
    assert [ramp.scale_at(p) for p in (0, 0.1, 0.5)] == pytest.approx([0, 0.462117, 0.986614], abs=1e-6)
    assert ramp.scale_at(1) == pytest.approx(0.999909, abs=1e-6)
    # gamma = ln 3: exp(-gamma) = 1/3, 2 / (4/3) - 1 = 1/2.
    assert AdaptationRamp(np.log(3)).scale_at(1) == pytest.approx(0.5)


def test_warm_start_and_maximum():
    ramp = AdaptationRamp(np.log(3), warm_start=0.25, maximum=0.8)
    # (p - 1/4) / (3/4): p = 1/4 -> 0, p = 1 -> 1; at p = 5/8 exp(-ln 3 / 2) = .57735, 2 / 1.57735 - 1 = .267949.
    expected = [0, 0, 0.8 * 0.267949, 0.8 * 0.5]
    assert [ramp.scale_at(p) for p in (0, 0.25, 0.625, 1)] == pytest.approx(expected, abs=1e-6)


def test_the_scale_of_each_step():
    seen, logs = fit(dann(), AdaptationRamp())
    assert seen == pytest.approx(EIGHTHS, abs=1e-6)
    assert logs["reversal_scale"] == pytest.approx([EIGHTHS[3], EIGHTHS[7]], abs=1e-6)


def test_hooks_by_hand():
    model, ramp = dann(), AdaptationRamp(maximum=2.0)
    ramp.set_model(model)
    ramp.set_params({"epochs": 10, "steps": 5})
    ramp.on_train_begin()
    ramp.on_epoch_begin(1)
    ramp.on_train_batch_begin(0)
    logs = {}
    ramp.on_epoch_end(1, logs)
    assert float(model.get_layer("reversal").scale) == pytest.approx(2 * 0.462117, abs=1e-6)  # p = 5 / 50
    assert logs == {"reversal_scale": ramp.value} and ramp.value == pytest.approx(2 * 0.462117, abs=1e-6)


def test_only_the_encoder_feels_it():
    # The first step has the scale 0: the encoder does as if there were no domains, the discriminator learns.
    def after_one_step(*callbacks, **options):
        model = dann(**options)
        before = model.get_weights()
        fit(model, *callbacks, data=pairs(steps=1), epochs=1)
        return list(zip([weight.path for weight in model.weights], before, model.get_weights(), strict=True))

    ramped, without = after_one_step(AdaptationRamp(), reversal_scale=1.0), after_one_step(reversal_scale=0.0)
    full = after_one_step(reversal_scale=1.0)
    encoder_differs = False
    for (name, before, after), (_, _, unadapted), (_, _, adapted) in zip(ramped, without, full, strict=True):
        if "scale" in name:
            continue
        np.testing.assert_array_equal(after, unadapted)
        if "discriminator" in name:
            np.testing.assert_array_equal(after, adapted)
            assert "kernel" not in name or (after != before).any()
        encoder_differs |= name.startswith("low") and (after != adapted).any()
    assert encoder_differs


def test_every_k_steps_with_steps_per_execution():
    seen, _ = fit(dann(steps_per_execution=2), AdaptationRamp())
    assert seen == pytest.approx(EIGHTHS[::2], abs=1e-6)


def test_it_goes_on_where_it_was():
    model, ramp = dann(), AdaptationRamp()
    first, _ = fit(model, ramp, epochs=2)
    later, _ = fit(model, ramp, epochs=2, initial_epoch=1)
    assert later == first[4:]  # p counts from epoch 1 of 2
    again, _ = fit(model, ramp, epochs=2)
    assert again == first  # and a second `fit` begins anew


def test_endless_data_with_steps():
    seen, _ = fit(dann(), AdaptationRamp(), data=pairs().repeat(), steps_per_epoch=4)
    assert seen == pytest.approx(EIGHTHS, abs=1e-6)


def test_arrays():
    x, y, weights = next(iter(pairs()))
    seen, _ = fit(
        dann(),
        AdaptationRamp(),
        data=x.numpy(),
        y={name: value.numpy() for name, value in y.items()},
        sample_weight={name: value.numpy() for name, value in weights.items()},
        batch_size=2,  # 8 rows: 4 steps
    )
    assert seen == pytest.approx(EIGHTHS, abs=1e-6)


def test_alignment_losses_have_the_same_ramp():
    model = build_coral(encoder(), 2)
    model.compile("sgd", {"label": "sparse_categorical_crossentropy", "domain": CorrelationAlignment()})
    seen, _ = fit(model, AdaptationRamp(), layer="scaling")
    assert seen == pytest.approx(EIGHTHS, abs=1e-6)


def test_a_reversal_inside_another_model():
    inner = dann()
    inputs = keras.Input((2,))
    model = keras.Model(inputs, inner(inputs))
    model.compile("sgd", {"label": "sparse_categorical_crossentropy", "domain": DomainLoss()})
    _, logs = fit_plain(model, AdaptationRamp())
    assert float(inner.get_layer("reversal").scale) == pytest.approx(EIGHTHS[7], abs=1e-6)
    assert logs["reversal_scale"] == pytest.approx([EIGHTHS[3], EIGHTHS[7]], abs=1e-6)


def fit_plain(model, *callbacks):
    history = model.fit(pairs(), epochs=2, shuffle=False, verbose=0, callbacks=list(callbacks))
    return model, history.history


def test_with_unfreezing_on_two_devices():
    strategy = choose_strategy("mirrored")
    model = dann(strategy)
    groups = {"low": ["low"], "high": ["high"]}
    prepare_unfreezing(model, groups)
    unfreezing = ProgressiveUnfreezing(groups=groups, schedule={0: 0, 1: 1, 2: 2}, verbose=0)
    before = {name: model.get_layer(name).get_weights()[0] for name in groups}
    seen, logs = fit(model, AdaptationRamp(), unfreezing, data=pairs(num_replicas=2), epochs=3)
    # tanh(5 k / 12): retraced twice, and no step is left out.
    assert seen == pytest.approx(np.tanh(5 * np.arange(12) / 12), abs=1e-6)
    assert unfreezing.openings[-2:] == [(1, 1), (2, 2)]
    for name, kernel in before.items():
        assert (model.get_layer(name).get_weights()[0] != kernel).any()
    assert np.isfinite(logs["loss"]).all()


def test_xla_and_mixed_precision():
    keras.mixed_precision.set_global_policy("mixed_bfloat16")
    seen, logs = fit(dann(jit_compile=True), AdaptationRamp())
    assert seen == pytest.approx(EIGHTHS, abs=1e-6) and np.isfinite(logs["loss"]).all()


def test_a_copy_is_another_ramp(tmp_path):
    model, ramp = dann(), AdaptationRamp(warm_start=0.5)
    seen, _ = fit(model, ramp)
    again, _ = fit(dann(), copy.deepcopy(ramp))
    assert again == seen and seen[:5] == [0] * 5
    # The model's file keeps the last scale.
    model.save(tmp_path / "model.keras")
    assert float(tlkit.load_model(tmp_path / "model.keras").get_layer("reversal").scale) == np.float32(seen[-1])


@pytest.mark.parametrize(
    "make, sentence",
    [
        (
            lambda: AdaptationRamp(0),
            "AdaptationRamp: `gamma` must let the scale rise. Expected a number above 0. Received: gamma=0.",
        ),
        (
            lambda: AdaptationRamp(maximum=float("inf")),
            "AdaptationRamp: `maximum` must let the scale rise. Expected a number above 0. Received: maximum=inf.",
        ),
        (
            lambda: AdaptationRamp(warm_start=1),
            "AdaptationRamp: `warm_start` is the share of the training before the ramp. Expected a number from 0 to "
            "below 1. Received: warm_start=1.",
        ),
        (
            lambda: fit(dann(), AdaptationRamp(), data=pairs().filter(lambda *_: True)),
            "AdaptationRamp: Keras does not know how many steps an epoch has, so it is not known how much of the "
            "training is done. Expected a data set of known length. Give `fit` its `steps_per_epoch` and a data set "
            "that repeats, or `pair_domains` its `steps`.",
        ),
    ],
)
def test_bad_input(make, sentence):
    with pytest.raises(tlkit.UserError, match=f"^{re.escape(sentence)}$"):
        make()


def test_a_model_without_a_scale():
    model = keras.Sequential([keras.Input((2,)), keras.layers.LayerNormalization(), keras.layers.Dense(1)], name="one")
    model.compile("sgd", "mse")
    sentence = (
        "AdaptationRamp: the model 'one' has no layer GradientReversal or GradientScaling. Expected one before the "
        "domain output. Build it with `build_dann` or one of its siblings in `tlkit.domain`."
    )
    with pytest.raises(tlkit.UserError, match=f"^{re.escape(sentence)}$"):
        model.fit(np.ones((2, 2)), np.ones((2, 1)), verbose=0, callbacks=[AdaptationRamp()])
