"""A model cut in two, and its frozen part run once: equal outputs, keys of everything they depend on, and kills."""

import keras
import numpy as np
import pytest
import saved_models
import tensorflow as tf

import tlkit
from tlkit.distribution import choose_strategy
from tlkit.features import cache_features, cut_model, list_features

ROWS, BATCH = 14, 4
INFERENCE = {"training": False}  # an augmentation of Keras that is not told draws


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).uniform(size=(ROWS, 32, 32, 3)).astype("float32")


@pytest.fixture(scope="module")
def batches(images):
    return tf.data.Dataset.from_tensor_slices((images, np.arange(ROWS) % 2)).batch(BATCH)


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    monkeypatch.setattr("tlkit.features.feature_store._SHARD_ROWS", 3)  # no multiple of the batch size


def build(folder, augment=True, **options):
    x = inputs = keras.Input((32, 32, 3))
    if augment:
        x = keras.Sequential([keras.layers.RandomFlip(), keras.layers.RandomBrightness(0.2, (0, 1))], name="augment")(x)
    features = tlkit.load_backbone(str(folder), **options)(x)
    label = keras.layers.Dense(3, activation="softmax", dtype="float32", name="label")(features)
    domain = keras.layers.Dense(1, dtype="float32", name="domain")(keras.layers.Dropout(0.5)(features))
    return keras.Model(inputs, {"label": label, "domain": domain})


@pytest.fixture(scope="module")
def model(image_model):
    return build(image_model)


# Cutting ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", ["float32", "mixed_float16"])
def test_prefix_and_tail_are_the_model(image_model, images, policy):
    keras.mixed_precision.set_global_policy(policy)
    model = build(image_model)
    whole = model(images, **INFERENCE)
    shapes = []
    for num_frozen in (1, 3, 4):
        prefix, tail = cut_model(model, num_frozen)
        parts = tail(prefix(images, **INFERENCE), **INFERENCE)
        for name in whole:
            np.testing.assert_array_equal(parts[name], whole[name])
        shapes.append(prefix.output.shape[1:])
    assert shapes == [(16, 16, 4), (4, 4, 8), (12,)]


def test_the_parts_share_weights_and_draws(model, image_model):
    _, tail = cut_model(model, 4)
    own = {id(weight) for weight in model.weights}
    assert {id(weight) for weight in tail.weights} <= own and len(tail.weights) == 4
    [dropout] = [layer for layer in tail.layers if isinstance(layer, keras.layers.Dropout)]
    assert dropout in model.layers


def test_open_stages_are_open_in_the_tail(image_model):
    model = build(image_model, augment=False)
    model.get_layer("backbone").unfreeze(last=2)
    prefix, tail = cut_model(model, 1)
    assert not prefix.trainable_weights
    opened = [w for stage in model.get_layer("backbone").stages[2:] for w in stage.weights if w.trainable]
    assert {id(w) for w in opened} < {id(w) for w in tail.trainable_weights}
    assert len(tail.trainable_weights) == len(opened) + 4 == len(model.trainable_weights)
    with pytest.raises(tlkit.UserError, match="Expected a number from 1 to 2, the frozen ones of the 4 stages"):
        cut_model(model, 3)


def test_the_model_is_saved_as_ever(model, images, tmp_path):
    cut_model(model, 2)
    model.save(tmp_path / "model.keras")
    loaded = tlkit.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(images, **INFERENCE)["label"], model(images, **INFERENCE)["label"])


def test_a_sequential_model(image_model, images):
    layers = [keras.Input((32, 32, 3)), tlkit.load_backbone(str(image_model)), keras.layers.Dense(2)]
    model = keras.Sequential(layers)
    prefix, tail = cut_model(model, 2)
    np.testing.assert_array_equal(tail(prefix(images)), model(images))


def test_a_backbone_that_is_kept_whole(tmp_path):
    saved_models.save_loop(tmp_path)
    inputs = keras.Input((4,))
    model = keras.Model(inputs, keras.layers.Dense(2)(tlkit.load_backbone(str(tmp_path))(inputs)))
    prefix, tail = cut_model(model, 0)  # it has no stages
    x = np.random.default_rng(0).normal(size=(3, 4)).astype("float32")
    np.testing.assert_array_equal(tail(prefix(x)), model(x))


def nested(folder):
    inputs = keras.Input((32, 32, 3))
    encoder = keras.Model(inputs, tlkit.load_backbone(str(folder))(inputs), name="encoder")
    return keras.Sequential([keras.Input((32, 32, 3)), encoder])


def no_backbone(_):
    return keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])


def with_skip(folder):
    inputs = keras.Input((32, 32, 3))
    skip = keras.layers.GlobalAveragePooling2D()(inputs)
    return keras.Model(inputs, keras.layers.Concatenate()([tlkit.load_backbone(str(folder))(inputs), skip]))


def trains_before(folder):
    inputs = keras.Input((32, 32, 3))
    return keras.Model(inputs, tlkit.load_backbone(str(folder))(keras.layers.Conv2D(3, 1)(inputs)))


def of_its_own_class(folder):
    class Own(keras.Model):
        pass

    inputs = keras.Input((32, 32, 3))
    return Own(inputs, tlkit.load_backbone(str(folder))(inputs))


def with_pyramid(_):
    inputs = keras.Input((128, 128, 3))
    maps = tlkit.load_backbone("tlkit:mini-image", outputs="pyramid")(inputs)
    return keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(maps["P3"]))


def of_any_size(folder):
    inputs = keras.Input((None, None, 3))
    features = tlkit.load_backbone(str(folder), outputs="spatial")(inputs)
    return keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(features))


def of_training_mode(folder):
    inputs = keras.Input((32, 32, 3))
    return keras.Model(inputs, tlkit.load_backbone(str(folder), training_mode=True)(inputs))


@pytest.mark.parametrize(
    ("make", "num_frozen", "message"),
    [
        (nested, 4, "has 0 backbones among its layers. Expected one. The nested model 'encoder' holds one"),
        (no_backbone, 1, "has 0 backbones among its layers. Expected one. Make it with `load_backbone`"),
        (with_skip, 4, "outputs do not follow from what comes out of the backbone alone"),
        (trains_before, 4, "2 weights train, the first 'conv2d/kernel'. Expected frozen ones"),
        (of_its_own_class, 4, "is a Own with 1 inputs. Expected a functional model with one"),
        (with_pyramid, 5, "'backbone' returns 3 maps. Expected one tensor to keep. Load it with outputs='spatial'"),
        (of_any_size, 4, r"has the shape \(None, None, 12\) and the type float32. Expected numbers of one size"),
        (of_training_mode, 3, "loaded with `training_mode=True`"),
        (build, 0, "Expected a number from 1 to 4, the frozen ones of the 4 stages of 'backbone'. Received: .*=0"),
        (build, 5, "Expected a number from 1 to 4"),
    ],
)
def test_what_cannot_be_cut(image_model, make, num_frozen, message):
    with pytest.raises(tlkit.UserError, match=message):
        cut_model(make(image_model), num_frozen)


def test_a_network_without_a_single_tensor_to_keep(tmp_path):
    saved_models.save_dense_skips(tmp_path)
    inputs = keras.Input((16, 16, 3))
    model = keras.Model(inputs, tlkit.load_backbone(str(tmp_path))(inputs))
    with pytest.raises(tlkit.UserError, match="no single tensor of"):
        cut_model(model, 1)


# Caching ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def parts(model):
    return cut_model(model, 4)


def cache(prefix, batches, folder, **options):
    options = {"fingerprint": "noise", "precision": "float32", **options}
    return cache_features(prefix, batches, ROWS, folder=folder, **options)


def test_features_are_what_the_prefix_returns(parts, batches, images, tmp_path, capsys):
    store = cache(parts[0], batches, tmp_path, title="Features")
    expected = parts[0](images, **INFERENCE).numpy()
    np.testing.assert_allclose(store.read(range(ROWS)), expected, rtol=1e-6)
    assert "Features" in capsys.readouterr().out
    half = cache(parts[0], batches, tmp_path, precision="float16")
    np.testing.assert_array_equal(half.read(range(ROWS)), store.read(range(ROWS)).astype("float16"))
    assert capsys.readouterr().out == ""  # without a title nothing is said


class Counted:
    """Counts the batches that are computed, and can be killed after some."""

    def __init__(self, monkeypatch, last=None):
        self.calls, self.last = 0, last
        original = tlkit.features.caching.runner_of

        def runner_of(prefix, training):
            run = original(prefix, training=training)

            def counted(x):
                if self.calls == self.last:
                    raise KeyboardInterrupt
                self.calls += 1
                return run(x)

            return counted

        monkeypatch.setattr("tlkit.features.caching.runner_of", runner_of)


@pytest.mark.parametrize("training", [False, True])
def test_a_killed_run_goes_on_where_it_stopped(parts, batches, tmp_path, monkeypatch, training):
    options = {"training": training, "seed": 3}
    whole = cache(parts[0], batches, tmp_path / "whole", **options)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        Counted(patch, last=2)
        cache(parts[0], batches, tmp_path / "killed", **options)
    with monkeypatch.context() as patch:
        counted = Counted(patch)
        store = cache(parts[0], batches, tmp_path / "killed", **options)
        # Two batches of 4 filled two shards of 3; row 7 of the second batch belongs to a third one.
        assert counted.calls == 3
        cache(parts[0], batches, tmp_path / "killed", **options)
        assert counted.calls == 3
    np.testing.assert_array_equal(store.read(range(ROWS)), whole.read(range(ROWS)))


def test_a_damaged_shard_alone_is_computed_again(parts, batches, tmp_path, monkeypatch):
    before = cache(parts[0], batches, tmp_path).read(range(ROWS))
    [path] = tmp_path.glob("*/00001-*.npy")
    path.write_bytes(path.read_bytes()[:-1])
    counted = Counted(monkeypatch)
    with pytest.warns(UserWarning, match="shard 1 of .* was damaged and is computed again"):
        store = cache(parts[0], batches, tmp_path)
    assert counted.calls == 2  # rows 3 to 5 are in the first two batches
    np.testing.assert_array_equal(store.read(range(ROWS)), before)


def test_everything_that_features_depend_on_is_in_the_key(image_model, batches, tmp_path):
    def key(model, num_frozen=4, **options):
        return cache(cut_model(model, num_frozen)[0], batches, tmp_path, **options).folder.name

    model = build(image_model)
    first = key(model)
    assert key(build(image_model)) == first  # made anew, with other names of layers
    changed = [
        key(model, num_frozen=3),
        key(model, fingerprint="other files"),
        key(model, precision="float16"),
        key(build(image_model, input_range=(-1, 1))),
        key(build(image_model, augment=False)),
        key(model, training=True),
        key(model, training=True, seed=1),
        key(model, training=True, copy=1),
    ]
    weight = model.get_layer("backbone").stages[0].weights[0]
    weight.assign(weight + 1e-6)
    changed.append(key(model))
    assert len({first, *changed}) == len(changed) + 1 == len(list_features(tmp_path))


def test_augmented_copies_differ_and_come_again(model, parts, batches, tmp_path):
    def copy(number, place="a", **options):
        store = cache(parts[0], batches, tmp_path / place, training=True, copy=number, **options)
        return store.read(range(ROWS))

    seeds = [v for v in model.variables if "seed" in v.path]
    before = [np.array(keras.ops.convert_to_numpy(v)) for v in seeds]
    first, second = copy(0), copy(1)
    assert np.abs(first - second).max(axis=1).min() > 1e-3  # every row is another
    assert np.abs(first - copy(0, seed=1)).max() > 1e-3
    np.testing.assert_array_equal(copy(0, "b"), first)
    for variable, value in zip(seeds, before, strict=True):  # training draws as if nothing had been
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(variable), value)
    assert len(seeds) >= 2


@pytest.mark.parametrize("training", [False, True])
def test_two_devices(image_model, batches, tmp_path, training):
    stores = []
    for strategy in (tf.distribute.get_strategy(), choose_strategy("mirrored")):
        with strategy.scope():
            prefix, _ = cut_model(build(image_model), 3)
        place = tmp_path / str(len(stores))
        stores.append(cache(prefix, batches, place, training=training).read(range(ROWS)))
    np.testing.assert_allclose(stores[0], stores[1], rtol=1e-5, atol=1e-6)


def test_another_number_of_examples_is_an_error(parts, batches, tmp_path):
    for count in (ROWS - 1, ROWS + 1):
        with pytest.raises(tlkit.UserError, match=f"has {ROWS} examples. Expected the {count} of `num_rows`"):
            cache_features(parts[0], batches, count, fingerprint="noise", folder=tmp_path)


def test_what_is_no_number_is_an_error(images, tmp_path):
    inputs = keras.Input((32, 32, 3))  # a network would hide it: the larger of 0 and no number is 0
    prefix = keras.Model(inputs, keras.layers.Flatten()(inputs))
    broken = images.copy()
    broken[5] = np.nan
    batches = tf.data.Dataset.from_tensor_slices(broken).batch(BATCH)
    with pytest.raises(tlkit.UserError, match="make of examples 4 to 7 is not finite"):
        cache(prefix, batches, tmp_path)
