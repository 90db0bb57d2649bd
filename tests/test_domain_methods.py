"""DANN, CDAN, DAN, Deep CORAL and MCC: ordinary Keras models that train, distribute, save and are taken apart again."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

import tlkit
from tlkit.callbacks import ProgressiveUnfreezing
from tlkit.distribution import choose_strategy
from tlkit.domain import (
    CorrelationAlignment,
    DomainDiscriminator,
    DomainLoss,
    GradientReversal,
    MaximumMeanDiscrepancy,
    MinimumClassConfusion,
    build_cdan,
    build_coral,
    build_dan,
    build_dann,
    build_mcc,
    label_classifier,
)
from tlkit.finetune import prepare_unfreezing


def small(build, **options):
    def method(backbone, **more):
        return build(backbone, 2, discriminator=DomainDiscriminator((16,), name="discriminator"), **options, **more)

    return method


METHODS = {
    "dann": (small(build_dann), DomainLoss),
    "cdan": (small(build_cdan), DomainLoss),
    "cdan+e": (small(build_cdan, entropy_weighted=True), DomainLoss),
    "cdan random": (small(build_cdan, random_dim=32), DomainLoss),
    "dan": (lambda backbone, **more: build_dan(backbone, 2, **more), MaximumMeanDiscrepancy),
    "dan linear-time": (
        lambda backbone, **more: build_dan(backbone, 2, **more),
        lambda: MaximumMeanDiscrepancy(estimator="linear_time"),
    ),
    "coral": (lambda backbone, **more: build_coral(backbone, 2, **more), CorrelationAlignment),
    "mcc": (lambda backbone, **more: build_mcc(backbone, 2, **more), MinimumClassConfusion),
}
# One of each kind in `make test`; all of them in `make test-all`.
QUICK = ("dann", "cdan+e", "dan", "coral", "mcc")


def some(names, quick=QUICK):
    return [name if name in quick else pytest.param(name, marks=pytest.mark.slow) for name in names]


ROW_WISE = some(["dann", "cdan", "cdan random"])
BATCH_STATISTICS = some(["cdan+e", "dan", "dan linear-time", "coral", "mcc"], quick=("cdan+e", "dan"))


@pytest.fixture(params=some(METHODS))
def method(request):
    return request.param


def encoder():
    inputs = keras.Input((2,), name="x")
    hidden = keras.layers.Dense(16, activation="relu", name="low")(inputs)
    return keras.Model(inputs, keras.layers.Dense(8, activation="relu", name="top")(hidden))


def compiled(method, strategy=None, optimizer=None, jit_compile=False, seed=0):
    build, loss = METHODS[method]
    keras.utils.set_random_seed(seed)
    with (strategy or tf.distribute.get_strategy()).scope():
        model = build(encoder())
        model.compile(
            keras.optimizers.SGD(0.05, momentum=0.9) if optimizer is None else optimizer(),
            {"label": "sparse_categorical_crossentropy", "domain": loss()},
            weighted_metrics={"label": ["accuracy"]},
            jit_compile=jit_compile,
        )
    return model


def blobs(count, shift, seed):
    """Two classes of points around (-1, 0) and (1, 0), the whole moved by `shift`."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, 2, count)
    points = np.stack([2.0 * labels - 1, np.zeros(count)], axis=1) + random.normal(scale=0.25, size=(count, 2))
    return (points + shift).astype("float32"), labels


def pairs(count=64, batch_size=16):
    """Rows source, target, source, target …, with the weights 2 and 0 that `pair_domains` gives them."""
    (source, labels), (target, _) = blobs(count // 2, 0.0, 1), blobs(count // 2, np.array([0.0, 1.5]), 2)
    x = np.stack([source, target], axis=1).reshape(-1, 2)
    label = np.stack([labels, np.zeros_like(labels)], axis=1).reshape(-1)
    domain = np.tile([[0.0], [1.0]], (count // 2, 1))
    weights = {"label": np.tile([2.0, 0.0], count // 2), "domain": np.ones(count)}
    data = tf.data.Dataset.from_tensor_slices((x, {"label": label, "domain": domain}, weights))
    return data.batch(batch_size)


def losses(model, epochs=3, data=None):
    history = model.fit(pairs() if data is None else data, epochs=epochs, shuffle=False, verbose=0).history
    return np.array([history[name] for name in ("loss", "label_loss", "domain_loss")])


def weights(model):
    return [ops.convert_to_numpy(weight) for weight in model.weights]


# What is built ------------------------------------------------------------------------------------


def test_outputs_are_probabilities_and_what_the_domain_loss_takes(method):
    model = METHODS[method][0](encoder())
    columns = {"dann": 1, "cdan": 1, "cdan random": 1, "mcc": 2, "cdan+e": 2}.get(method, 8)
    x = np.random.default_rng(0).normal(size=(5, 2))
    outputs = model(x)
    assert set(outputs) == {"label", "domain"}
    assert outputs["domain"].shape == (5, columns)
    np.testing.assert_allclose(np.sum(outputs["label"], axis=1), np.ones(5), rtol=1e-6)
    assert not model.compiled


def test_layers_of_a_functional_backbone_are_layers_of_the_model(method):
    backbone = encoder()
    model = METHODS[method][0](backbone)
    assert model.get_layer("top") is backbone.get_layer("top")
    assert model.get_layer("head").name == "head"


def test_mcc_carries_log_probabilities():
    outputs = METHODS["mcc"][0](encoder())(np.ones((3, 2)))
    np.testing.assert_allclose(outputs["domain"], np.log(outputs["label"]), atol=1e-6)


def test_it_learns_where_the_source_alone_does_not_see_the_shift(method):
    """A real fit: the source's classes are learned, and the domain loss is a number throughout."""
    model = compiled(method)
    history = model.fit(pairs(256), epochs=8, shuffle=False, verbose=0).history
    assert history["label_accuracy"][-1] > 0.95
    assert np.isfinite(history["domain_loss"]).all()


def gradients(model, by):
    """The gradient of the domain loss by the weights of a layer."""
    x, y, _ = next(iter(pairs()))
    loss = DomainLoss() if model.name == "cdan" else MinimumClassConfusion()
    with tf.GradientTape() as tape:
        value = loss(y["domain"], model(x)["domain"])
    return tape.gradient(value, [weight.value for weight in model.get_layer(by).weights])


@pytest.mark.parametrize("name", ["cdan", "cdan+e", "cdan random"])
def test_cdan_detaches_the_predictions(name):
    model = METHODS[name][0](encoder())
    assert gradients(model, "head") == [None, None]
    assert np.any(gradients(model, "top")[0])


def test_mcc_trains_the_head():
    assert np.any(gradients(METHODS["mcc"][0](encoder()), "head")[0])


@pytest.mark.parametrize("name", some(["dann", "cdan", "dan", "coral", "mcc"], quick=("dann", "dan")))
def test_a_scale_of_0_is_training_on_the_source_alone(name):
    """The encoder and the head move as they do without a domain loss."""
    scaled, plain = compiled(name), compiled(name)
    layer = scaled.get_layer("reversal" if name in ("dann", "cdan") else "scaling")
    layer.scale.assign(0.0)
    plain.compile(
        keras.optimizers.SGD(0.05, momentum=0.9),
        {"label": "sparse_categorical_crossentropy", "domain": METHODS[name][1]()},
        loss_weights={"label": 1.0, "domain": 0.0},
    )
    losses(scaled)
    losses(plain)
    for part in ("low", "top", "head"):
        for a, b in zip(scaled.get_layer(part).weights, plain.get_layer(part).weights, strict=True):
            np.testing.assert_allclose(ops.convert_to_numpy(a), ops.convert_to_numpy(b), atol=1e-6)


def test_validation_on_labelled_rows_of_one_domain(method):
    x, label = blobs(32, 0.0, 3)
    targets = {"label": label, "domain": np.zeros((32, 1))}
    history = compiled(method).fit(pairs(), validation_data=(x, targets), shuffle=False, verbose=0).history
    assert np.isfinite(history["val_loss"]).all()
    if METHODS[method][1] is not DomainLoss:
        assert history["val_domain_loss"] == [0.0]


# Devices, precision, XLA --------------------------------------------------------------------------


@pytest.mark.parametrize("name", ROW_WISE)
def test_row_wise_losses_have_the_same_curve_on_two_devices(name):
    one, two = losses(compiled(name)), losses(compiled(name, choose_strategy("mirrored")))
    np.testing.assert_allclose(two, one, atol=1e-4)


@pytest.mark.parametrize("name", BATCH_STATISTICS)
def test_batch_statistics_are_the_mean_of_the_replicas_losses(name):
    """What `fit` reports for its first batch, beside the loss of each half of that batch."""
    x, y, _ = next(iter(pairs()))
    domain = compiled(name)(x)["domain"].numpy()
    loss = METHODS[name][1]()
    halves = [float(loss(y["domain"][part], domain[part])) for part in (slice(0, 8), slice(8, 16))]
    history = losses(compiled(name, choose_strategy("mirrored")), epochs=1, data=pairs().take(1))
    np.testing.assert_allclose(history[2][0], np.mean(halves), atol=1e-6)


@pytest.mark.parametrize("name", BATCH_STATISTICS)
def test_gradients_on_two_devices_are_those_of_the_mean_of_the_replicas_losses(name):
    x, y, w = next(iter(pairs()))
    model, rate = compiled(name, optimizer=lambda: keras.optimizers.SGD(0.5)), 0.5
    label_loss, loss = keras.losses.SparseCategoricalCrossentropy(), METHODS[name][1]()
    with tf.GradientTape() as tape:
        total = 0.0
        for part in (slice(0, 8), slice(8, 16)):
            outputs = model(x[part], training=True)
            total += 0.5 * label_loss(y["label"][part], outputs["label"], sample_weight=w["label"][part])
            total += 0.5 * loss(y["domain"][part], outputs["domain"])
    kernel = model.get_layer("low").kernel
    expected = ops.convert_to_numpy(kernel) - rate * tape.gradient(total, kernel.value).numpy()
    two = compiled(name, choose_strategy("mirrored"), lambda: keras.optimizers.SGD(rate))
    losses(two, epochs=1, data=pairs().take(1))
    np.testing.assert_allclose(ops.convert_to_numpy(two.get_layer("low").kernel), expected, atol=1e-5)


def test_training_under_xla(method):
    compiled_by_xla, plain = (losses(compiled(method, jit_compile=jit), epochs=1) for jit in (True, False))
    np.testing.assert_allclose(compiled_by_xla, plain, atol=1e-4)


@pytest.mark.slow  # three trainings of each method
def test_float32_and_mixed_precision_agree_within_a_point(method):
    target, labels = blobs(1000, np.array([0.0, 1.5]), 5)
    accuracy = {}
    for policy in ("float32", "mixed_float16", "mixed_bfloat16"):
        keras.mixed_precision.set_global_policy(policy)
        model = compiled(method, optimizer=lambda: keras.optimizers.SGD(0.05))
        losses(model, epochs=20, data=pairs(1024, batch_size=64))
        accuracy[policy] = np.mean(np.argmax(label_classifier(model).predict(target, verbose=0), axis=1) == labels)
    assert accuracy["float32"] > 0.9
    for policy in ("mixed_float16", "mixed_bfloat16"):
        assert abs(accuracy[policy] - accuracy["float32"]) <= 0.01, accuracy


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision_keeps_probabilities_and_logits_in_float32(method, policy):
    keras.mixed_precision.set_global_policy(policy)
    outputs = METHODS[method][0](encoder())(np.ones((2, 2)))
    features = method.startswith(("dan ", "coral")) or method == "dan"
    assert outputs["label"].dtype == "float32"
    assert outputs["domain"].dtype == (policy.removeprefix("mixed_") if features else "float32")


# Files --------------------------------------------------------------------------------------------


def test_saved_reloaded_and_trained_on_it_has_the_same_numbers(method, tmp_path):
    model = compiled(method)
    losses(model)
    scales = [layer for layer in model.layers if layer.name in ("reversal", "scaling")]
    scales[0].scale.assign(0.5)
    model.save(tmp_path / "model.keras")
    again = tlkit.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(losses(again), losses(model))
    for a, b in zip(weights(again), weights(model), strict=True):
        np.testing.assert_array_equal(a, b)


def test_label_classifier_shares_the_weights_and_survives_the_file(method, tmp_path):
    model, x = compiled(method), blobs(6, 0.0, 0)[0]
    classifier = label_classifier(model)
    losses(model)
    np.testing.assert_array_equal(classifier(x), model(x)["label"])
    assert {layer.name for layer in classifier.layers} == {"x", "low", "top", "head"}
    model.save(tmp_path / "model.keras")
    again = label_classifier(tlkit.load_model(tmp_path / "model.keras"))
    np.testing.assert_array_equal(again.predict(x, verbose=0), classifier.predict(x, verbose=0))
    again.save(tmp_path / "classifier.keras")
    np.testing.assert_array_equal(keras.saving.load_model(tmp_path / "classifier.keras")(x), classifier(x))


# Backbones, heads, discriminators -----------------------------------------------------------------


def test_a_tlkit_backbone_stays_a_layer_and_opens_stage_by_stage(image_model):
    backbone = tlkit.load_backbone(str(image_model))
    discriminator = DomainDiscriminator((8,), name="discriminator")
    model = build_dann(backbone, 2, discriminator=discriminator)
    assert model.get_layer("backbone") is backbone
    assert model.input_shape == (None, 32, 32, 3)
    model.compile(keras.optimizers.SGD(0.01), {"label": "sparse_categorical_crossentropy", "domain": DomainLoss()})
    prepare_unfreezing(model)
    x = np.random.default_rng(0).uniform(size=(8, 32, 32, 3)).astype("float32")
    y = {"label": np.arange(8) % 2, "domain": np.tile([[0.0], [1.0]], (4, 1))}
    before = [weight.numpy() for weight in backbone.stages[-1].weights]
    model.fit(x, y, epochs=3, verbose=0, callbacks=[ProgressiveUnfreezing(schedule={1: 1}, verbose=0)])
    assert [stage.is_open for stage in backbone.stages][-1]
    assert any(np.any(a != b.numpy()) for a, b in zip(before, backbone.stages[-1].weights, strict=True))


def sequential():
    return keras.Sequential([keras.Input((2,)), keras.layers.Dense(8, name="top")])


def built_layer():
    layer = keras.layers.Dense(8, name="top")
    layer(np.ones((1, 2)))
    return layer


def nested():
    inputs = keras.Input((2,))
    return keras.Model(inputs, encoder()(inputs))


def two_inputs():
    inputs = {"a": keras.Input((1,), name="a"), "b": keras.Input((1,), name="b")}
    return keras.Model(inputs, keras.layers.Concatenate()([inputs["a"], inputs["b"]]))


@pytest.mark.parametrize("make", [sequential, built_layer, nested, two_inputs])
def test_backbones_of_every_kind(make):
    model = build_dann(make(), 3)
    x = {"a": np.ones((4, 1)), "b": np.ones((4, 1))} if make is two_inputs else np.ones((4, 2))
    assert model(x)["label"].shape == (4, 3)
    assert label_classifier(model)(x).shape == (4, 3)


def test_own_head_and_discriminator():
    head = keras.Sequential([keras.layers.Dropout(0.5), keras.layers.Dense(2, activation="softmax")], name="head")
    discriminator = keras.Sequential([keras.layers.Dense(4, activation="relu"), keras.layers.Dense(1)])
    model = build_cdan(encoder(), 2, head=head, discriminator=discriminator)
    assert model.get_layer("head") is head
    assert model(np.ones((3, 2)))["domain"].shape == (3, 1)
    assert isinstance(model.get_layer("reversal"), GradientReversal)


def maps():
    inputs = keras.Input((8, 8, 3))
    return keras.Model(inputs, keras.layers.Conv2D(4, 3)(inputs))


def softmax(units):
    return keras.layers.Dense(units, activation="softmax")


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"backbone": maps}, r"`backbone` must return one vector.*\(None, 6, 6, 4\).*GlobalAveragePooling2D"),
        ({"backbone": lambda: keras.Sequential([keras.layers.Dense(2)])}, "not known what goes into `backbone`"),
        ({"backbone": lambda: keras.layers.Dense(2)}, "not known what goes into `backbone`"),
        ({"head": lambda: softmax(5)}, r"`head` does not fit.*\(batch, 2\).*\(None, 5\)"),
        ({"head": lambda: keras.layers.Dense(2)}, "returns logits.*softmax"),
        ({"discriminator": lambda: keras.layers.Dense(2)}, "`discriminator` must return one logit"),
        ({"reversal_scale": lambda: -1.0}, "GradientReversal: `scale`"),
    ],
)
def test_what_does_not_fit_is_said(arguments, message):
    chosen = {"backbone": encoder, **arguments}
    chosen = {name: make() for name, make in chosen.items()}
    with pytest.raises(tlkit.UserError, match=message):
        build_dann(chosen.pop("backbone"), 2, **chosen)


def test_label_classifier_of_another_model_is_refused():
    with pytest.raises(tlkit.UserError, match="label_classifier: the model '.*' has no output 'label'"):
        label_classifier(encoder())


@pytest.mark.parametrize(
    "options", [{"hidden_units": (16, 0)}, {"hidden_units": (2.5,)}, {"hidden_units": 16}, {"dropout": 1.0}]
)
def test_a_discriminator_that_cannot_be_is_refused(options):
    name = next(iter(options))
    with pytest.raises(tlkit.UserError, match=f"DomainDiscriminator: `{name}`.*Received: {name}="):
        DomainDiscriminator(**options)


def test_the_discriminator_drops_units_in_training_only():
    layer, x = DomainDiscriminator((64,), dropout=0.5), np.ones((8, 4), "float32")
    np.testing.assert_array_equal(layer(x), layer(x))
    assert np.std(layer(x, training=True)) > 0
