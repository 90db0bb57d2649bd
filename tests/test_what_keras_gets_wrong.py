"""Ten things that go wrong without a word in Keras and around it, and the same done with tlkit.

Each test shows first what happens without tlkit, so that it fails on the day on which Keras mends it: then see whether
tlkit still needs what it does about it.
"""

import importlib.metadata
import sys
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

import tlkit
from tlkit.callbacks import ExactResume, ProgressiveUnfreezing
from tlkit.data import epochs
from tlkit.distribution import choose_strategy
from tlkit.domain.adversarial import build_dann
from tlkit.domain.domain_loss import DomainLoss
from tlkit.domain.pair_domains import pair_domains
from tlkit.finetune import LayerwiseLearningRates, prepare_unfreezing

GROUPS = [["low"]]
X = np.random.default_rng(0).normal(size=(16, 4)).astype("float32")
Y = X @ np.array([[1.0], [2.0], [-1.0], [0.5]], "float32")


def build(optimizer=None, *, units=3, prepare=False, dropout=0.0):
    """A closed layer "low" and a head; with `prepare`, the optimizer knows both."""
    keras.utils.set_random_seed(1)
    low = keras.layers.Dense(units, name="low")
    drop = keras.layers.Dropout(dropout)
    model = keras.Sequential([keras.Input((4,)), low, drop, keras.layers.Dense(1, name="head")])
    low.trainable = False
    model.compile(optimizer or keras.optimizers.Adam(0.01), "mse")
    if prepare:
        prepare_unfreezing(model, GROUPS)
    return model


def fit(model, *callbacks, num_epochs=2, **options):
    options = {"batch_size": 8, "epochs": num_epochs, "shuffle": False, "verbose": 0, **options}
    return model.fit(X, Y, callbacks=list(callbacks), **options)


def unfreezing(schedule=None):
    return ProgressiveUnfreezing(groups=GROUPS, schedule=schedule or {0: 0, 1: 1}, verbose=0)


class Open(keras.callbacks.Callback):
    """What people write: opens the layer before the second epoch, and then does one thing more."""

    def __init__(self, then=lambda model: None):
        super().__init__()
        self.then = then

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 1:
            self.model.get_layer("low").trainable = True
            self.then(self.model)


def retrace(model):
    model.make_train_function(force=True)


def kernel(model, name="low"):
    return model.get_layer(name).kernel.numpy()


def test_1_setting_trainable_in_a_callback_trains_nothing():
    model = build()
    before = kernel(model)
    fit(model, Open())  # and no warning, which would be an error here
    assert len(model.trainable_variables) == 4  # as if all were well
    np.testing.assert_array_equal(kernel(model), before)

    model = build()
    fit(model, unfreezing())
    assert np.all(kernel(model) != before)


def test_2_an_opening_needs_an_optimizer_that_knows_the_weights_beforehand():
    with pytest.raises(ValueError, match="Unknown variable"):
        fit(build(), Open(retrace))
    with pytest.raises(TypeError):
        fit(build(), Open(lambda model: model.compile("adam", "mse")))

    def compile_and_retrace(model):
        model.compile(keras.optimizers.Adam(0.01), "mse")
        retrace(model)

    model = build()
    fit(model, Open(compile_and_retrace))
    assert model.optimizer.iterations == 2  # of 4: the moments of the head are lost with them

    model, steps = build(), []
    watch = keras.callbacks.LambdaCallback(on_epoch_begin=lambda *_: steps.append(len(model.optimizer.variables)))
    fit(model, unfreezing(), watch)
    assert model.optimizer.iterations == 4
    # Rate and steps, and two moments for each of four weights: all there from the beginning.
    assert steps == [2 + 2 * 4] * 2


class Stop(keras.callbacks.Callback):
    """Stands for a kill as an epoch begins."""

    def __init__(self, epoch=None):
        super().__init__()
        self.epoch = epoch

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == self.epoch:
            raise KeyboardInterrupt

    def get_state(self):
        return None

    def set_state(self, state):
        pass


def test_3_keras_resumes_after_an_opening_with_the_layer_frozen(tmp_path):
    backup = keras.callbacks.BackupAndRestore(tmp_path / "keras")
    with pytest.raises(KeyboardInterrupt):
        fit(build(prepare=True), Open(retrace), backup, Stop(3), num_epochs=5)
    model = build(prepare=True)
    fit(model, Open(retrace), keras.callbacks.BackupAndRestore(tmp_path / "keras"), num_epochs=5)
    assert not model.get_layer("low").trainable  # the second epoch is past

    expected = build()
    fit(expected, unfreezing(), num_epochs=5)
    with pytest.raises(KeyboardInterrupt):
        fit(build(), unfreezing(), Stop(3), ExactResume(tmp_path / "exact"), num_epochs=5)
    model, resume = build(), ExactResume(tmp_path / "exact")
    assert resume.initial_epoch == 3
    fit(model, unfreezing(), Stop(), resume, num_epochs=5, initial_epoch=3)
    for actual, wanted in zip(model.weights, expected.weights, strict=True):
        np.testing.assert_array_equal(actual.numpy(), wanted.numpy())


def test_4_no_file_of_keras_holds_the_seeds_of_dropout_and_a_shuffle_begins_anew(tmp_path):
    model = build(dropout=0.5)
    fit(model, ExactResume(tmp_path / "state"))
    [seed] = [variable for variable in model.variables if variable.path.endswith("seed_generator_state")]
    assert all(weight is not seed for weight in model.weights)
    model.save_weights(tmp_path / "all.weights.h5")
    again = build(dropout=0.5)
    again.optimizer.build(again.trainable_variables)
    again.load_weights(tmp_path / "all.weights.h5")
    twin = next(v for v in again.variables if v.path.endswith("seed_generator_state"))
    assert np.any(twin.numpy() != seed.numpy())

    again = build(dropout=0.5)
    resume = ExactResume(tmp_path / "state")
    fit(again, resume, initial_epoch=resume.initial_epoch)  # nothing is left to do but to restore
    twin = next(v for v in again.variables if v.path.endswith("seed_generator_state"))
    np.testing.assert_array_equal(twin.numpy(), seed.numpy())

    def orders(dataset, number):
        return [[int(i) for i in epoch] for epoch in ([*dataset] for _ in range(number))]

    shuffled = [tf.data.Dataset.range(8).shuffle(8, seed=7) for _ in range(2)]  # before a kill, and after it
    third = orders(shuffled[0], 3)[2]
    assert orders(shuffled[1], 1)[0] == orders(tf.data.Dataset.range(8).shuffle(8, seed=7), 1)[0] != third

    def epoch(pair):
        return tf.data.Dataset.from_tensor_slices(tf.random.experimental.stateless_shuffle(tf.range(8), seed=pair))

    first, resumed = epochs(epoch, seed=7), epochs(epoch, seed=7, first_epoch=2)
    assert [int(i) for i in resumed.take(8)] == [int(i) for i in first.take(24)][16:]


def test_5_a_smaller_gradient_is_no_smaller_step_under_adam():
    """Adam's first step is the rate times g / |g|, whatever the gradient's size."""

    def step(make_optimizer, gradient):
        model = build()
        model.get_layer("low").trainable = True
        weights = model.get_layer("low").trainable_variables
        before = kernel(model)
        make_optimizer(model).apply([tf.fill(weight.shape, gradient) for weight in weights], weights)
        return np.abs(kernel(model) - before)

    for gradient in (1.0, 0.1):
        np.testing.assert_allclose(step(lambda _: keras.optimizers.Adam(0.01), gradient), 0.01, rtol=1e-4)

    def scaled(model):
        rates = {".*/low/.*": 0.1, ".*/head/.*": 1.0}
        return LayerwiseLearningRates(keras.optimizers.Adam(0.01), model, multipliers=rates)

    np.testing.assert_allclose(step(scaled, 1.0), 0.001, rtol=1e-4)


def test_6_a_model_of_tensorflow_hub_is_refused_or_hides_its_weights(image_model, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of pkg_resources and of tf_keras
        import tensorflow_hub

        layer = tensorflow_hub.KerasLayer(str(image_model), trainable=True)
    with pytest.raises(ValueError, match=r"Only instances of `keras\.Layer` can be added"):
        keras.Sequential([keras.Input((32, 32, 3)), layer])

    def head_on(features):
        model = keras.Sequential([keras.Input((32, 32, 3)), features, keras.layers.Dense(1)])
        model.compile(keras.optimizers.SGD(1e-4), "mse")
        return model

    hidden = head_on(keras.layers.Lambda(lambda images: layer(images), output_shape=(12,)))
    before = [weight.numpy() for weight in layer.trainable_weights]
    hidden.fit(np.ones((2, 32, 32, 3)), np.zeros((2, 1)), verbose=0)
    assert [weight.path.rpartition("/")[2] for weight in hidden.weights] == ["kernel", "bias"]
    for weight, value in zip(layer.trainable_weights, before, strict=True):
        np.testing.assert_array_equal(weight.numpy(), value)

    backbone = tlkit.load_backbone(str(image_model))
    backbone.unfreeze()
    model = head_on(backbone)
    before = [weight.numpy() for weight in backbone.trainable_weights]
    assert len(before) == 18 and len(model.weights) == 2 + 30  # a kernel and four of a norm for each of 6 layers
    model.fit(np.ones((2, 32, 32, 3)), np.zeros((2, 1)), verbose=0)
    assert any(np.any(w.numpy() != value) for w, value in zip(backbone.trainable_weights, before, strict=True))
    model.save(tmp_path / "model.keras")
    assert len(tlkit.load_model(tmp_path / "model.keras").weights) == 32


def test_7_domains_one_after_the_other_leave_each_device_with_one():
    strategy = choose_strategy("mirrored")

    def shares(dataset):
        """Which domains each device gets."""
        [(_, y, _)] = strategy.experimental_distribute_dataset(dataset.take(1))
        return [sorted({*share.numpy().ravel()}) for share in strategy.experimental_local_results(y["domain"])]

    x, label, domain = np.zeros((8, 2)), np.arange(8) % 2, np.repeat([0.0, 1.0], 4)[:, None]
    is_source = 1 - domain[:, 0]
    concatenated = (x, {"label": label, "domain": domain}, {"label": is_source, "domain": np.ones(8)})
    assert shares(tf.data.Dataset.from_tensors(concatenated)) == [[0.0], [1.0]]

    source = tf.data.Dataset.from_tensor_slices((x[:4], label[:4]))
    pairs = pair_domains(source, tf.data.Dataset.from_tensor_slices(x[4:]), global_batch_size=8, num_replicas=2)
    assert shares(pairs) == [[0.0, 1.0], [0.0, 1.0]]

    # Weights 1 and 0 halve the loss, since Keras divides by all rows: log 2 on each of 4 source rows, of 8.
    def label_loss(targets, weights):
        loss = keras.losses.SparseCategoricalCrossentropy()
        return float(loss(targets["label"], np.full((8, 2), 0.5), sample_weight=weights["label"]))

    assert label_loss(*concatenated[1:]) == pytest.approx(np.log(2) / 2)
    [(_, targets, weights)] = pairs
    assert label_loss(targets, weights) == pytest.approx(np.log(2))


class Handwritten(keras.Model):
    """A train step as in many a tutorial."""

    def train_step(self, data):
        x, y = data
        with tf.GradientTape() as tape:
            loss = self.compute_loss(x, y, self(x, training=True))
        self.optimizer.apply(tape.gradient(loss, self.trainable_variables), self.trainable_variables)
        return {"loss": loss}


def test_8_train_steps_written_by_hand_stand_still_in_mixed_precision():
    """They do not scale the loss, but the optimizer divides the gradients by the scale, 2^15 at first."""

    def step(make, data):
        moved = {}
        for policy in ("float32", "mixed_float16"):
            keras.mixed_precision.set_global_policy(policy)
            keras.utils.set_random_seed(1)
            inputs = keras.Input((4,))
            model = make(inputs, keras.layers.Dense(3, name="low")(inputs))
            before = kernel(model)
            model.fit(data, shuffle=False, verbose=0)
            moved[policy] = np.linalg.norm(kernel(model) - before)
        return moved["mixed_float16"] / moved["float32"]

    def handwritten(inputs, features):
        model = Handwritten(inputs, keras.layers.Dense(1, dtype="float32")(features))
        model.compile(keras.optimizers.SGD(0.1), "mse")
        return model

    def adversarial(inputs, features):
        model = build_dann(keras.Model(inputs, features), num_classes=2)
        losses = {"label": "sparse_categorical_crossentropy", "domain": DomainLoss()}
        model.compile(keras.optimizers.SGD(0.1), losses)
        return model

    rows = tf.data.Dataset.from_tensor_slices
    assert step(handwritten, rows((X, Y)).batch(16)) < 2**-14
    pairs = pair_domains(rows((X, np.arange(16) % 2)), rows(X + 1), global_batch_size=32)
    assert step(adversarial, pairs) == pytest.approx(1, abs=0.02)


def test_9_keras_tuner_imports_what_nobody_installs(tmp_path, monkeypatch):
    import keras_tuner

    def wanted_by(package):
        requirements = importlib.metadata.requires(package) or ()
        names = {r.split(";")[0].strip(" ()<>=!~.0123456789,") for r in requirements if "extra ==" not in r}
        return names & {"tensorboard", "scikit-learn", "scipy"}

    assert wanted_by("keras-tuner") | wanted_by("tensorflow") | wanted_by("keras") == set()
    assert wanted_by("tlkit") == {"tensorboard", "scikit-learn", "scipy"}

    def search(name):
        tuner = keras_tuner.RandomSearch(
            lambda hp: build(keras.optimizers.SGD(hp.Float("rate", 0.01, 0.02))), "loss", 1, directory=tmp_path / name
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it asks Python for what is deprecated, and warns of the failure
            tuner.search(X, Y, verbose=0)
        return [trial.status for trial in tuner.oracle.trials.values()]

    with monkeypatch.context() as without:
        for name in [name for name in sys.modules if name.partition(".")[0] == "tensorboard"]:
            without.delitem(sys.modules, name)
        without.setitem(sys.modules, "tensorboard", None)
        assert search("without") == ["FAILED"]
    assert search("with") == ["COMPLETED"]


def test_10_moving_averages_end_in_other_layers_when_one_is_closed():
    def averaging():
        return keras.optimizers.SGD(0.0, use_ema=True)

    with pytest.raises(ValueError):
        fit(build(averaging(), prepare=True))

    # Two layers of the same shape: the head is given the weights of the closed one. The rate is 0.
    keras.utils.set_random_seed(1)
    layers = [keras.layers.Dense(4, name="low"), keras.layers.Dense(4, name="head")]
    model = keras.Sequential([keras.Input((4,)), *layers])
    layers[0].trainable = False
    model.compile(averaging(), "mse")
    prepare_unfreezing(model, GROUPS)
    assert np.all(kernel(model, "head") != kernel(model))
    fit(model)
    np.testing.assert_array_equal(kernel(model, "head"), kernel(model))

    with pytest.raises(tlkit.UserError, match="Keras cannot end a training with moving averages of the weights"):
        fit(build(averaging()), unfreezing({0: 0}))
    model = build(keras.optimizers.SGD(0.01, use_ema=True))
    before = kernel(model), kernel(model, "head")
    fit(model, unfreezing())  # all open at the end
    assert np.all(kernel(model) != before[0]) and np.all(kernel(model, "head") != before[1])
