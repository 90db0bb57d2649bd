"""One table: every public layer, loss, callback, optimizer and schedule keeps what Keras promises of its own.

Config round trip, `.keras` reload, `tf.function`, XLA, mixed precision and two devices, for each row.
"""

import copy
import dataclasses
import math
from collections.abc import Callable
from itertools import zip_longest

import keras
import numpy as np
import pytest
import tensorflow as tf

import tlkit
import tlkit.backbones
import tlkit.callbacks
import tlkit.detection
import tlkit.domain
import tlkit.finetune
from tlkit.distribution import choose_strategy


@dataclasses.dataclass(frozen=True)
class Row:
    make: Callable  # folder of a small image model -> the object
    inputs: tuple[tuple[int, ...], ...] = ((32, 32, 3),)  # shapes without the batch
    float32: bool = False  # whether the output stays in float32 in mixed precision
    names: tuple[str, ...] = ()  # of several inputs, where the layer takes them in a dict
    xla: bool = True  # whether XLA can compile it
    rounding: float = 1 / 256  # of an output of about 1 in bfloat16, which keeps 8 bits


PAIR = ((6,), (3,))  # features and class probabilities
MAPS = ((5, 5, 8), (3, 3, 8))  # of an image of 40 x 40 pixels at strides 8 and 16
DETECTIONS = ((34, 3), (34, 4), (34, 1))  # of these maps and three classes
LAYERS = {
    "Backbone": Row(lambda folder: tlkit.load_backbone(str(folder))),
    "DetectionDecoder": Row(
        lambda _: tlkit.detection.DetectionDecoder(40, (8, 16), max_detections=4, iou_threshold=0.5),
        DETECTIONS,
        float32=True,
        names=("class", "box", "centerness"),
        xla=False,  # it does not know TensorFlow's non-maximum suppression
    ),
    "DetectionHead": Row(lambda _: tlkit.detection.DetectionHead(3, 8, 1, (8, 16)), MAPS, float32=True),
    "DomainDiscriminator": Row(lambda _: tlkit.domain.DomainDiscriminator((8,), dropout=0.5), ((6,),), float32=True),
    "EntropyConditioning": Row(lambda _: tlkit.domain.EntropyConditioning(), ((1,), (3,))),
    "FeaturePyramid": Row(lambda _: tlkit.detection.FeaturePyramid(4), MAPS, rounding=1 / 64),
    "GradientReversal": Row(lambda _: tlkit.domain.GradientReversal(0.5), ((6,),)),
    "GradientScaling": Row(lambda _: tlkit.domain.GradientScaling(0.5), ((6,),)),
    "MultilinearMap": Row(lambda _: tlkit.domain.MultilinearMap(), PAIR),
    "RandomizedMultilinearMap": Row(lambda _: tlkit.domain.RandomizedMultilinearMap(16, seed=0), PAIR),
}
DOMAINS = np.tile([[0.0], [1.0]], (6, 1)).astype("float32")
PLACES = {  # of twelve images with five locations, two of them with an object
    "class": np.tile([-1, 2, 0, -1, -1], (12, 1)),
    "box": np.tile([[0] * 4, [1, 2, 3, 4], [2, 2, 9, 1], [0] * 4, [0] * 4], (12, 1, 1)).astype("float32"),
    "centerness": np.tile([[0.0], [0.4], [0.3], [0.0], [0.0]], (12, 1, 1)).astype("float32"),
}
LOSSES = {  # the loss, the shape of the output that it takes, and targets for it
    "CenternessLoss": (lambda: tlkit.detection.CenternessLoss(), (5, 1), PLACES["centerness"]),
    "CorrelationAlignment": (lambda: tlkit.domain.CorrelationAlignment(), (4,), DOMAINS),
    "DetectionBoxLoss": (lambda: tlkit.detection.DetectionBoxLoss(), (5, 4), PLACES["box"]),
    "DetectionClassLoss": (lambda: tlkit.detection.DetectionClassLoss(0.3, 1.5), (5, 3), PLACES["class"]),
    "DomainLoss": (lambda: tlkit.domain.DomainLoss(), (1,), DOMAINS),
    "MaximumMeanDiscrepancy": (
        lambda: tlkit.domain.MaximumMeanDiscrepancy("linear", estimator="biased"),
        (4,),
        DOMAINS,
    ),
    "MinimumClassConfusion": (lambda: tlkit.domain.MinimumClassConfusion(1.5), (3,), DOMAINS),
}


class OneBox(keras.layers.Layer):
    """Finds the same box in every image."""

    def call(self, images):
        rows = keras.ops.zeros_like(images[:, 0, :1, 0])
        box = rows[:, None] + keras.ops.array([1.0, 1, 5, 5])
        return {"boxes": box, "scores": rows + 0.9, "labels": keras.ops.cast(rows, "int32")}


def coco_metrics():
    images = np.zeros((2, 8, 8, 3), "float32")
    boxes = {"boxes": np.array([[[1.0, 1, 5, 5]]] * 2, "float32"), "labels": np.zeros((2, 1), "int32")}
    data = tf.data.Dataset.from_tensors((images, boxes))
    input_of_its_own = keras.Input((8, 8, 3))
    finder = keras.Model(input_of_its_own, OneBox()(input_of_its_own))
    return tlkit.detection.CocoMetrics(data, ["cell"], predict_model=lambda model: finder)


CALLBACKS = {
    "ProgressiveUnfreezing": Row(lambda _: tlkit.callbacks.ProgressiveUnfreezing(verbose=0)),
    "ExactResume": Row(lambda folder: tlkit.callbacks.ExactResume(folder.with_name("resume"))),
    "LearningRateLogger": Row(lambda _: tlkit.callbacks.LearningRateLogger()),
    "AtomicModelCheckpoint": Row(lambda folder: tlkit.callbacks.AtomicModelCheckpoint(folder.with_name("best.keras"))),
    "RunRecord": Row(lambda folder: tlkit.callbacks.RunRecord(folder.parent)),
    "AdaptationRamp": Row(lambda _: tlkit.callbacks.AdaptationRamp()),
    "AdaptationScores": Row(lambda _: tlkit.domain.AdaptationScores((FEATURES, np.arange(32) % 2), FEATURES)),
    "CocoMetrics": Row(lambda _: coco_metrics()),
    "DiscriminatorWatch": Row(lambda _: tlkit.callbacks.DiscriminatorWatch(two_domains(), rows=32, verbose=0)),
}
ON_TWO_DOMAINS = ("AdaptationRamp", "AdaptationScores", "DiscriminatorWatch")
FEATURES = np.random.default_rng(0).normal(size=(32, 4)).astype("float32")
# model with the layers "low" and "top" -> the optimizer, or one that follows the schedule
OPTIMIZERS = {
    "LayerwiseLearningRates": lambda model: tlkit.finetune.LayerwiseLearningRates(
        keras.optimizers.AdamW(0.01), model, layer_decay=0.5, groups=[["low"]]
    ),
    "InversePowerDecay": lambda _: keras.optimizers.Adam(tlkit.finetune.InversePowerDecay(0.01, total_steps=8)),
    "OneCycle": lambda _: keras.optimizers.Adam(tlkit.finetune.OneCycle(0.01, total_steps=8)),
    "SlantedTriangular": lambda _: keras.optimizers.Adam(tlkit.finetune.SlantedTriangular(0.01, total_steps=8)),
}


def test_every_public_name_is_in_the_table():
    modules = (tlkit.backbones, tlkit.callbacks, tlkit.detection, tlkit.domain, tlkit.finetune)
    classes = [c for c in (getattr(m, name) for m in modules for name in m.__all__) if isinstance(c, type)]

    def public(*kinds):
        return {c.__name__ for c in classes if issubclass(c, kinds)}

    assert public(keras.layers.Layer) == set(LAYERS)
    assert public(keras.losses.Loss) == set(LOSSES)
    assert public(keras.callbacks.Callback) == set(CALLBACKS)
    assert public(keras.optimizers.Optimizer, keras.optimizers.schedules.LearningRateSchedule) == set(OPTIMIZERS)


@pytest.fixture(params=LAYERS)
def row(request):
    return LAYERS[request.param]


def batch(row):
    arrays = [np.random.default_rng(0).uniform(size=(4, *shape)).astype("float32") for shape in row.inputs]
    return together(arrays, row)


def together(inputs, row):
    """One input, a list of several, or a dict: as the layer takes them."""
    if row.names:
        return dict(zip(row.names, inputs, strict=True))
    return inputs if len(inputs) > 1 else inputs[0]


def model_of(layer, row):
    inputs = together([keras.Input(shape, name=name) for shape, name in zip_longest(row.inputs, row.names)], row)
    return keras.Model(inputs, layer(inputs))


def assert_close(actual, expected, rtol=0.0, atol=0.0):
    """Each tensor of both, in dicts and lists, too."""
    tf.nest.assert_same_structure(actual, expected)
    for a, b in zip(tf.nest.flatten(actual), tf.nest.flatten(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=rtol, atol=atol)


def test_config_round_trip(row, image_model):
    layer, x = row.make(image_model), batch(row)
    layer(x)
    again = type(layer).from_config(layer.get_config())
    again(x)
    again.set_weights(layer.get_weights())
    assert_close(again(x), layer(x))
    assert again.get_config() == layer.get_config()


def test_keras_file(row, image_model, tmp_path):
    model = model_of(row.make(image_model), row)
    model.save(tmp_path / "model.keras")
    assert_close(tlkit.load_model(tmp_path / "model.keras")(batch(row)), model(batch(row)))


@pytest.mark.parametrize("jit_compile", [False, True])
def test_function(row, image_model, jit_compile):
    layer = row.make(image_model)
    expected = layer(batch(row))
    assert layer.supports_jit == row.xla
    if not row.xla and jit_compile:
        with pytest.raises(tf.errors.InvalidArgumentError, match="[Uu]nsupported"):  # else the row is out of date
            tf.function(layer, jit_compile=True)(batch(row))
        return
    # A compiler sums in another order: of float32's seven digits the last may differ, and numbers of 40 occur.
    assert_close(tf.function(layer, jit_compile=jit_compile)(batch(row)), expected, rtol=2e-6, atol=1e-5)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision(row, image_model, policy):
    reference = row.make(image_model)
    expected = reference(batch(row))
    keras.mixed_precision.set_global_policy(policy)
    layer = row.make(image_model)
    layer(batch(row))
    layer.set_weights(reference.get_weights())
    actual = layer(batch(row))
    floats = [each.dtype for each in tf.nest.flatten(actual) if each.dtype.is_floating]
    assert set(floats) == {tf.as_dtype("float32" if row.float32 else policy.removeprefix("mixed_"))}
    actual = tf.nest.map_structure(lambda each: tf.cast(each, tf.float32), actual)
    # Where terms cancel, the rounding is that of the terms.
    assert_close(actual, expected, rtol=1 / 128, atol=row.rounding)


def test_two_devices(row, image_model):
    strategy = choose_strategy("mirrored")
    reference = row.make(image_model)
    expected = reference(batch(row))
    with strategy.scope():
        layer = row.make(image_model)
        model = model_of(layer, row)
        layer.set_weights(reference.get_weights())
    assert_close(model.predict(batch(row), batch_size=4, verbose=0), expected, atol=1e-5)


@pytest.fixture(params=LOSSES)
def loss(request):
    make, shape, targets = LOSSES[request.param]
    output = np.random.default_rng(0).normal(size=(12, *shape)).astype("float32")
    return make, targets, output


def test_loss_config_round_trip(loss):
    make, targets, output = loss
    again = type(make()).from_config(make().get_config())
    assert again.get_config() == make().get_config()
    assert keras.losses.deserialize(keras.losses.serialize(make())).get_config() == make().get_config()
    np.testing.assert_array_equal(again(targets, output), make()(targets, output))


@pytest.mark.parametrize("jit_compile", [False, True])
def test_loss_as_a_function(loss, jit_compile):
    make, targets, output = loss
    actual = tf.function(make(), jit_compile=jit_compile)(targets, output)
    np.testing.assert_allclose(actual, make()(targets, output), rtol=1e-5)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_loss_of_a_half_precision_output_is_computed_in_float32(loss, dtype):
    make, targets, output = loss
    keras.mixed_precision.set_global_policy(f"mixed_{dtype}")
    half = tf.cast(output, dtype)
    actual = make()(targets, half)
    assert actual.dtype == tf.float32
    np.testing.assert_array_equal(actual, make()(targets, tf.cast(half, tf.float32)))


def model_with(make, output, strategy=None):
    with (strategy or tf.distribute.get_strategy()).scope():
        keras.utils.set_random_seed(0)
        inputs = keras.Input((3,))
        flat = keras.layers.Dense(math.prod(output.shape[1:]), dtype="float32")(inputs)
        model = keras.Model(inputs, keras.layers.Reshape(output.shape[1:])(flat))
        model.compile(keras.optimizers.SGD(0.1), make())
    return model


def test_loss_comes_back_from_a_keras_file_to_train_on(loss, tmp_path):
    make, targets, output = loss
    x = np.random.default_rng(1).normal(size=(12, 3)).astype("float32")
    model = model_with(make, output)
    model.train_on_batch(x, targets)
    model.save(tmp_path / "model.keras")
    assert tlkit.load_model(tmp_path / "model.keras").train_on_batch(x, targets) == model.train_on_batch(x, targets)


def test_loss_on_two_devices_is_the_mean_of_both(loss):
    make, targets, output = loss
    x = np.random.default_rng(1).normal(size=(12, 3)).astype("float32")
    model = model_with(make, output)
    halves = [float(make()(targets[part], model(x[part]))) for part in (slice(0, 6), slice(6, 12))]
    two = model_with(make, output, choose_strategy("mirrored"))
    data = tf.data.Dataset.from_tensors((x, targets))
    history = two.fit(data, shuffle=False, verbose=0).history
    np.testing.assert_allclose(history["loss"], [np.mean(halves)], rtol=1e-5)


def regression_on_images(folder):
    inputs = keras.Input((32, 32, 3))
    model = keras.Model(inputs, keras.layers.Dense(1)(tlkit.load_backbone(str(folder))(inputs)))
    model.compile(keras.optimizers.SGD(1e-4), "mse")
    return model, tf.data.Dataset.from_tensors((np.ones((4, 32, 32, 3)), np.ones((4, 1))))


def adapting_model():
    inputs = keras.Input((4,))
    encoder = keras.Model(inputs, keras.layers.Dense(6, activation="relu")(inputs))
    model = tlkit.domain.build_dann(encoder, 2, discriminator=tlkit.domain.DomainDiscriminator((8,)))
    loss = {"label": "sparse_categorical_crossentropy", "domain": tlkit.domain.DomainLoss()}
    model.compile(keras.optimizers.SGD(0.01), loss)
    return model


def two_domains():
    targets = {"label": np.arange(32) // 2 % 2, "domain": np.tile([[0.0], [1.0]], (16, 1))}
    weights = {"label": np.tile([2.0, 0.0], 16), "domain": np.ones(32)}
    return tf.data.Dataset.from_tensor_slices((FEATURES, targets, weights)).batch(16)


@pytest.mark.parametrize("name", CALLBACKS)
def test_callbacks_can_be_copied_and_used_twice(name, image_model):
    callback = copy.deepcopy(CALLBACKS[name].make(image_model))
    model, data = (adapting_model(), two_domains()) if name in ON_TWO_DOMAINS else regression_on_images(image_model)
    for _ in range(2):
        first = getattr(callback, "initial_epoch", 0)
        history = model.fit(data, initial_epoch=first, epochs=first + 2, shuffle=False, verbose=0, callbacks=[callback])
        assert np.isfinite(history.history["loss"]).all()


def two_layers(make, strategy=None, **compile_options):
    with (strategy or tf.distribute.get_strategy()).scope():
        keras.utils.set_random_seed(0)
        inputs = keras.Input((3,))
        outputs = keras.layers.Dense(1, dtype="float32", name="top")(keras.layers.Dense(8, name="low")(inputs))
        model = keras.Model(inputs, outputs)
        model.compile(make(model), "mse", **compile_options)
    return model


def trained(model):
    """The model's weights after four steps more."""
    x = np.random.default_rng(0).uniform(size=(16, 3)).astype("float32")
    model.fit(x, x.sum(axis=1, keepdims=True), batch_size=4, shuffle=False, verbose=0)
    return [keras.ops.convert_to_numpy(weight) for weight in model.weights]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizer_config_round_trip(name):
    model = two_layers(OPTIMIZERS[name])
    config = model.optimizer.get_config()
    again = two_layers(lambda _: type(model.optimizer).from_config(copy.deepcopy(config)))  # Keras writes into it
    assert again.optimizer.get_config() == config
    for a, b in zip(trained(again), trained(model), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("load", [keras.saving.load_model, tlkit.load_model], ids=["keras", "tlkit"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_training_goes_on_from_a_keras_file(name, load, tmp_path):
    model = two_layers(OPTIMIZERS[name])
    trained(model)
    model.save(tmp_path / "model.keras")
    for a, b in zip(trained(load(tmp_path / "model.keras")), trained(model), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizer_under_xla(name):
    expected = trained(two_layers(OPTIMIZERS[name]))
    for a, b in zip(trained(two_layers(OPTIMIZERS[name], jit_compile=True)), expected, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizer_in_mixed_precision(name, policy, tmp_path):
    expected = trained(two_layers(OPTIMIZERS[name]))
    keras.mixed_precision.set_global_policy(policy)
    # The scale that `compile` begins with overflows at first and skips steps.
    model = two_layers(lambda model: keras.optimizers.LossScaleOptimizer(OPTIMIZERS[name](model), initial_scale=256.0))
    for a, b in zip(trained(model), expected, strict=True):
        np.testing.assert_allclose(a, b, atol=2e-3)  # in four steps of about 0.01
    model.save(tmp_path / "model.keras")
    for a, b in zip(trained(tlkit.load_model(tmp_path / "model.keras")), trained(model), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizer_on_two_devices(name):
    expected = trained(two_layers(OPTIMIZERS[name]))
    for a, b in zip(trained(two_layers(OPTIMIZERS[name], choose_strategy("mirrored"))), expected, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)
