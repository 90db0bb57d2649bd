"""Two domains in one data set: which rows, which weights, whatever the input, and the same again after a kill."""

import re

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import tlkit
from tlkit.callbacks import ExactResume
from tlkit.data import epochs, load_image_folder
from tlkit.data.texts import split_texts
from tlkit.distribution import choose_strategy
from tlkit.domain import (
    SOURCE_DOMAIN,
    TARGET_DOMAIN,
    DomainLoss,
    build_dann,
    check_different_files,
    check_different_texts,
    check_paired,
    check_same_classes,
    one_domain,
    pair_domains,
)


def labelled(number=6, width=1):
    """Row i is i + 1 in every column, with the label i % 3."""
    rows = np.repeat(np.arange(1.0, number + 1, dtype="float32")[:, None], width, axis=1)
    return tf.data.Dataset.from_tensor_slices((rows, np.arange(number) % 3))


def unlabelled(number=4, width=1):
    """Row i is -(i + 1)."""
    return labelled(number, width).map(lambda x, _: -x)


def rows_of(pairs):
    return [x.numpy()[:, 0].tolist() for x, _, _ in pairs]


# Rows, targets and weights ---------------------------------------------------------------------------


def test_a_batch_by_hand():
    x, y, weights = next(iter(pair_domains(labelled(), unlabelled(), global_batch_size=6)))
    assert x.numpy().ravel().tolist() == [1, -1, 2, -2, 3, -3]
    assert y["label"].numpy().tolist() == [0, 0, 1, 0, 2, 0]
    assert y["domain"].numpy().tolist() == [[0], [1], [0], [1], [0], [1]]
    # n / n_source = 6 / 3 on source rows.
    assert weights["label"].numpy().tolist() == [2, 0, 2, 0, 2, 0]
    assert weights["domain"].numpy().tolist() == [1, 1, 1, 1, 1, 1]


def test_keras_mean_over_all_rows_is_the_mean_over_source_rows():
    losses = np.array([0.5, 9.0, 1.0, 9.0, 3.0, 9.0])  # of target rows, 9
    _, _, weights = next(iter(pair_domains(labelled(), unlabelled(), global_batch_size=6)))
    assert np.mean(losses * weights["label"].numpy()) == (0.5 + 1 + 3) / 3


def test_an_epoch_is_one_pass_over_the_longer_whose_last_batch_is_filled():
    # 5 source rows, 2 a batch: 3 batches, the last filled with row 1; 3 target rows begin anew after -3.
    pairs = pair_domains(labelled(5), unlabelled(3), global_batch_size=4)
    assert len(pairs) == 3
    for _ in range(2):
        assert rows_of(pairs) == [[1, -1, 2, -2], [3, -3, 4, -1], [5, -2, 1, -3]]
    assert rows_of(pair_domains(labelled(1), unlabelled(3), global_batch_size=4)) == [[1, -1, 1, -2], [1, -3, 1, -1]]


def test_steps_are_the_batches_of_an_epoch():
    pairs = pair_domains(labelled(3), unlabelled(3), global_batch_size=2, steps=5)
    assert len(pairs) == 5 and rows_of(pairs) == [[1, -1], [2, -2], [3, -3], [1, -1], [2, -2]]
    endless = pair_domains(labelled(3).repeat(), unlabelled(3).repeat(), global_batch_size=2, steps=2)
    assert rows_of(endless) == [[1, -1], [2, -2]]


@pytest.mark.parametrize("of_source", [None, 2, 3, 7])
@pytest.mark.parametrize("of_target", [None, 2, 5])
@pytest.mark.parametrize("drop_remainder", [False, True])
def test_batches_of_any_size_are_the_rows_in_them(of_source, of_target, drop_remainder):
    source, target = labelled(6), unlabelled(4)
    if drop_remainder:
        source, target = source.repeat(7), target.repeat(5)  # so that nothing is dropped of batches of 2, 3, 7 and 5
    expected = rows_of(pair_domains(source, target, global_batch_size=4, steps=9))
    if of_source:
        source = source.batch(of_source, drop_remainder=drop_remainder)
    if of_target:
        target = target.batch(of_target, drop_remainder=drop_remainder)
    assert rows_of(pair_domains(source, target, global_batch_size=4, steps=9)) == expected


def test_the_length_of_batched_data_is_counted_by_its_first_batch():
    # 3 batches of at most 4 rows stand for 12: 6 batches of 2 + 2. With `drop_remainder` 2 batches of 4: 4.
    assert len(pair_domains(labelled(10).batch(4), unlabelled(1), global_batch_size=4)) == 6
    assert len(pair_domains(labelled(10).batch(4, drop_remainder=True), unlabelled(1), global_batch_size=4)) == 4


def test_one_hot_labels():
    source = labelled().map(lambda x, y: (x, tf.one_hot(y, 3)))
    for dataset in (source, source.batch(4), source.batch(3, drop_remainder=True)):
        _, y, weights = next(iter(pair_domains(dataset, unlabelled(), global_batch_size=4)))
        assert y["label"].numpy().tolist() == [[1, 0, 0], [0, 0, 0], [0, 1, 0], [0, 0, 0]]
        assert weights["label"].numpy().tolist() == [2, 0, 2, 0]
        # Their loss is 0 on target rows without a weight, and never NaN.
        loss = keras.losses.categorical_crossentropy(y["label"], tf.fill((4, 3), 1 / 3))
        np.testing.assert_allclose(loss, [np.log(3), 0, np.log(3), 0], rtol=1e-6)


def test_a_column_of_labels():
    source = labelled().batch(4).map(lambda x, y: (x, y[:, None]))
    _, y, weights = next(iter(pair_domains(source, unlabelled(), global_batch_size=4)))
    assert y["label"].numpy().tolist() == [[0], [0], [1], [0]] and weights["label"].shape == (4,)


def test_labels_of_the_target_are_dropped():
    expected = rows_of(pair_domains(labelled(), unlabelled(), global_batch_size=4))
    for target in (
        unlabelled().map(lambda x: (x,)),
        unlabelled().map(lambda x: (x, 7)),
        unlabelled().map(lambda x: (x, tf.zeros(9), 2.0)),
        unlabelled().map(lambda x: (x, 7)).batch(3),
    ):
        pairs = pair_domains(labelled(), target, global_batch_size=4)
        assert rows_of(pairs) == expected
        assert not any(y["label"].numpy()[1::2].any() for _, y, _ in pairs)


def test_weights_of_the_source_are_kept():
    source = labelled().map(lambda x, y: (x, y, x[0] / 2))
    for dataset in (source, source.batch(4)):
        weights = next(iter(pair_domains(dataset, unlabelled(), global_batch_size=4)))[2]
        assert weights["label"].numpy().tolist() == [2 * 0.5, 0, 2 * 1.0, 0]


def test_texts():
    source = tf.data.Dataset.from_tensor_slices((["a good book", "a bad one"], [1, 0]))
    target = tf.data.Dataset.from_tensor_slices(["a good pan", "it broke"])
    for pairs in (
        pair_domains(source, target, global_batch_size=4),
        pair_domains(source.batch(2), target.batch(2), global_batch_size=4),
    ):
        x, y, _ = next(iter(pairs))
        assert x.numpy().tolist() == [b"a good book", b"a good pan", b"a bad one", b"it broke"]
        assert y["label"].numpy().tolist() == [1, 0, 0, 0]


def test_several_inputs():
    def both(x):
        return {"image": tf.reshape(tf.repeat(x, 12), (2, 2, 3)), "note": tf.strings.as_string(x[0], 0)}

    source, target = labelled().map(lambda x, y: (both(x), y)), unlabelled().map(both)
    for pairs in (
        pair_domains(source, target, global_batch_size=4),
        pair_domains(source.batch(5), target.batch(3), global_batch_size=4),
    ):
        x, _, _ = next(iter(pairs))
        assert x["image"].shape == (4, 2, 2, 3) and x["image"].numpy()[:, 0, 0, 0].tolist() == [1, -1, 2, -2]
        assert x["note"].numpy().tolist() == [b"1", b"-1", b"2", b"-2"]


def test_sequences_of_any_length_are_told_from_batches_by_their_label():
    # A row of unknown length and a number: a row. Two unknown dimensions: a batch of such rows.
    source = tf.data.Dataset.from_tensor_slices(([[1, 2]], [1])).map(
        lambda x, y: (tf.ensure_shape(x, [2]) if tf.executing_eagerly() else tf.boolean_mask(x, x > 0), y)
    )
    target = source.map(lambda x, _: -x)
    assert source.element_spec[0].shape.as_list() == [None]
    for pairs in (
        pair_domains(source, target, global_batch_size=2),
        pair_domains(source.batch(1), target.batch(1), global_batch_size=2),
    ):
        assert next(iter(pairs))[0].numpy().tolist() == [[1, 2], [-1, -2]]


def test_types_are_kept():
    source = labelled().map(lambda x, y: (tf.cast(x, tf.uint8), tf.cast(y, tf.int32)))
    x, y, weights = next(iter(pair_domains(source, source.map(lambda x, _: x + 9), global_batch_size=4)))
    assert (x.dtype, y["label"].dtype, y["domain"].dtype) == (tf.uint8, tf.int32, tf.float32)
    assert weights["label"].dtype == weights["domain"].dtype == tf.float32


# Balance ---------------------------------------------------------------------------------------------


def unbalanced():
    """512 rows: 400 of class 0, 80 of class 1, 32 of class 2; x is the row's number."""
    labels = np.random.default_rng(0).permutation(np.repeat([0, 1, 2], [400, 80, 32]))
    return tf.data.Dataset.from_tensor_slices((np.arange(512.0)[:, None], labels)), labels


@pytest.mark.parametrize("one_hot", [False, True])
@pytest.mark.parametrize("batch", [None, 32])
def test_every_class_gets_as_many_rows(one_hot, batch):
    source, labels = unbalanced()
    if one_hot:
        source = source.map(lambda x, y: (x, tf.one_hot(y, 3)))
    if batch:
        source = source.batch(batch)
    target = tf.data.Dataset.from_tensor_slices(-1.0 - np.arange(504.0)[:, None])
    pairs = pair_domains(source, target, global_batch_size=24, balance_classes=True, seed=3, steps=42)
    seen = []
    for x, y, weights in pairs:
        given = y["label"].numpy()[::2]
        given = given.argmax(axis=1) if one_hot else given
        numbers = x.numpy()[::2, 0].astype(int)
        np.testing.assert_array_equal(labels[numbers], given)  # a row keeps its label
        assert np.bincount(given).tolist() == [4, 4, 4]  # 12 source rows, 3 classes, in turn
        assert weights["label"].numpy()[::2].tolist() == [2.0] * 12
        seen += numbers.tolist()
    # 42 * 12 / 3 = 168 rows of each class: 168 of the 400, each of the 80 two or three times, of the 32 five or six.
    counts = np.bincount(seen, minlength=512)
    assert [set(counts[labels == kind]) for kind in range(3)] == [{0, 1}, {2, 3}, {5, 6}]
    assert [counts[labels == kind].sum() for kind in range(3)] == [168, 168, 168]
    target_rows = [x.numpy()[1::2, 0].tolist() for x, _, _ in pairs]
    assert sum(target_rows, []) == (-1.0 - np.arange(504.0)).tolist()  # as they come


def test_balanced_rows_follow_from_the_seed():
    source, _ = unbalanced()
    target = tf.data.Dataset.from_tensor_slices(-np.ones((5, 1)))

    def order(seed):
        pairs = pair_domains(source, target, global_batch_size=8, balance_classes=True, seed=seed, steps=3)
        return [rows_of(pairs), rows_of(pairs)]

    assert order(3)[0] == order(3)[0] == order(3)[1] != order(4)[0]
    assert order(tf.constant([3, 1], tf.int64))[0] != order(tf.constant([3, 2], tf.int64))[0]
    assert order(3) == order(tf.constant([3, 0], tf.int64))


# In training -----------------------------------------------------------------------------------------


def small_dann(strategy=None, optimizer=None, dropout=0.0):
    with (strategy or tf.distribute.get_strategy()).scope():
        keras.utils.set_random_seed(1)
        inputs = keras.Input((2,))
        features = keras.layers.Dropout(dropout)(keras.layers.Dense(8, activation="tanh")(inputs))
        model = build_dann(
            keras.Model(inputs, features), 3, discriminator=tlkit.domain.DomainDiscriminator((8,)), reversal_scale=0.5
        )
        model.compile(
            optimizer or keras.optimizers.SGD(0.1, momentum=0.9),
            {"label": "sparse_categorical_crossentropy", "domain": DomainLoss()},
            weighted_metrics={"label": ["accuracy"]},
        )
    return model


def domains(number=30):
    random = np.random.default_rng(0)
    y = random.integers(0, 3, number)
    x = random.normal(size=(number, 2)).astype("float32") + y[:, None]
    return (x, y), (x[: number // 2] @ np.float32([[0, 1], [1, 0]]) + 1)


def test_loss_and_accuracy_are_those_of_the_source_rows_alone():
    (x, y), target = domains()
    model = small_dann(optimizer=keras.optimizers.SGD(0.0))
    pairs = pair_domains(
        tf.data.Dataset.from_tensor_slices((x, y)), tf.data.Dataset.from_tensor_slices(target), global_batch_size=10
    )
    history = model.fit(pairs, shuffle=False, verbose=0).history
    predicted = model.predict(x, verbose=0)
    p = predicted["label"][np.arange(30), y]
    assert history["label_loss"][0] == pytest.approx(-np.log(p).mean(), rel=1e-5)
    assert history["label_accuracy"][0] == pytest.approx(np.mean(predicted["label"].argmax(axis=1) == y))
    # The 15 target rows come twice. -log sigmoid(-z) = log(1 + e^z) of the source, -log sigmoid(z) of the target.
    z_source, z_target = predicted["domain"][:, 0], model.predict(target, verbose=0)["domain"][:, 0]
    by_hand = (np.log1p(np.exp(z_source)).mean() + np.log1p(np.exp(-z_target)).mean()) / 2
    assert history["domain_loss"][0] == pytest.approx(by_hand, rel=1e-5)


def test_two_devices_train_as_one():
    (x, y), target = domains()
    source, target = tf.data.Dataset.from_tensor_slices((x, y)), tf.data.Dataset.from_tensor_slices(target)
    strategy = choose_strategy("mirrored")
    one, two = small_dann(), small_dann(strategy)
    histories = [
        model.fit(
            pair_domains(source, target, global_batch_size=12, num_replicas=2),
            epochs=2,
            shuffle=False,
            verbose=0,
            validation_data=one_domain(source.batch(10)),
        ).history
        for model in (one, two)
    ]
    assert histories[0].keys() == histories[1].keys() >= {"label_loss", "domain_loss", "val_label_loss"}
    for name, values in histories[0].items():
        np.testing.assert_allclose(histories[1][name], values, atol=1e-4, err_msg=name)


def test_every_device_gets_as_many_rows_of_both():
    strategy = choose_strategy("mirrored")
    pairs = pair_domains(labelled(9), unlabelled(5), global_batch_size=4, num_replicas=2)
    shares = 0
    for _, y, _ in strategy.experimental_distribute_dataset(pairs):
        for domain in strategy.experimental_local_results(y["domain"]):
            assert domain.numpy().tolist() == [[0], [1]]
            shares += 1
    assert shares == 2 * len(pairs) == 10
    check_paired(pairs, num_replicas=2)


class StopError(Exception):
    pass


class Stop(keras.callbacks.Callback):
    def __init__(self, after):
        super().__init__()
        self.remaining = after

    def on_train_batch_end(self, batch, logs=None):
        self.remaining -= 1
        if self.remaining == 0:
            raise StopError

    def get_state(self):
        return None

    def set_state(self, state):
        pass


STEPS = 3


def resumable_fit(model, folder, after=-1):
    (x, y), target = (tuple(map(tf.constant, domains()[0])), tf.constant(domains()[1]))

    def shuffled(parts, pair, batch):
        order = tf.random.experimental.stateless_shuffle(tf.range(len(tf.nest.flatten(parts)[0])), seed=pair)
        return tf.data.Dataset.from_tensor_slices(tf.nest.map_structure(lambda p: tf.gather(p, order), parts)).batch(
            batch
        )

    def epoch(pair):
        return pair_domains(
            shuffled((x, y), pair, 7),
            shuffled(target, pair + 1, 4),
            global_batch_size=8,
            balance_classes=True,
            seed=pair,
            steps=STEPS,
        )

    resume = ExactResume(folder)
    return model.fit(
        epochs(epoch, seed=5, first_epoch=resume.initial_epoch),
        steps_per_epoch=STEPS,
        initial_epoch=resume.initial_epoch,
        epochs=4,
        shuffle=False,
        verbose=0,
        callbacks=[tlkit.callbacks.AdaptationRamp(), Stop(after), resume],
    )


def test_a_training_that_is_killed_ends_in_the_same_weights(tmp_path):
    def everything(model):
        return [keras.ops.convert_to_numpy(v).tobytes() for v in (*model.variables, *model.optimizer.variables)]

    left_alone = small_dann(dropout=0.5)
    history = resumable_fit(left_alone, tmp_path / "left_alone").history
    with pytest.raises(StopError):
        resumable_fit(small_dann(dropout=0.5), tmp_path / "stopped", after=2 * STEPS + 2)
    model = small_dann(dropout=0.5)
    assert resumable_fit(model, tmp_path / "stopped").history == history
    assert everything(model) == everything(left_alone)


def test_image_folders(tmp_path):
    random = np.random.default_rng(0)
    for domain in ("catalogue", "phone"):
        for name in ("ant", "bee"):
            (tmp_path / domain / name).mkdir(parents=True)
            for number in range(5):
                pixels = random.integers(0, 256, (16, 16, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(tmp_path / domain / name / f"{number}.png")
    source, target = (
        load_image_folder(tmp_path / domain, image_size=16, batch_size=3, seed=1) for domain in ("catalogue", "phone")
    )
    check_same_classes(source.class_names, target.class_names)
    check_different_files(source, target)
    pairs = pair_domains(source.train, target.train, global_batch_size=4)
    x, _, _ = next(iter(pairs))
    assert x.shape == (4, 16, 16, 3) and len(pairs) >= len(source.files.train) / 2
    steps = -(-len(source.files.train) // 2)
    chained = epochs(
        lambda pair: pair_domains(source.train_epoch(pair), target.train_epoch(pair), global_batch_size=4, steps=steps),
        seed=3,
    )
    of_epoch = [x.numpy()[::2].tobytes() for x, _, _ in chained.take(2 * steps)]
    assert of_epoch[:steps] != of_epoch[steps:]


# One domain ------------------------------------------------------------------------------------------


def test_validation_loss_is_the_label_s_alone():
    (x, y), target = domains()
    model = small_dann()
    plain = tf.data.Dataset.from_tensor_slices((x, y)).batch(10)  # Keras weighs `label_loss` by batches, not rows
    got = model.evaluate(one_domain(plain), return_dict=True, verbose=0)
    p = model.predict(x, verbose=0)["label"][np.arange(30), y]
    assert got["loss"] == got["label_loss"] == pytest.approx(-np.log(p).mean(), rel=1e-5)
    assert got["domain_loss"] == 0
    x, y, weights = next(iter(one_domain(plain, TARGET_DOMAIN)))
    assert y["domain"].numpy().tolist() == [[1]] * 10 and weights["label"].numpy().tolist() == [1] * 10
    assert next(iter(one_domain(plain, SOURCE_DOMAIN)))[1]["domain"].numpy().tolist() == [[0]] * 10
    assert len(one_domain(plain)) == 3


def test_one_domain_keeps_weights_and_one_hot_labels():
    weighted = labelled(4).batch(4).map(lambda x, y: (x, tf.one_hot(y, 3), x[:, 0]))
    _, y, weights = next(iter(one_domain(weighted)))
    assert y["label"].shape == (4, 3) and weights["label"].numpy().tolist() == [1, 2, 3, 4]
    assert weights["domain"].numpy().tolist() == [0, 0, 0, 0]


# Bad input: one sentence each ------------------------------------------------------------------------


def pair(source=None, target=None, **options):
    source, target = labelled() if source is None else source, unlabelled() if target is None else target
    return pair_domains(source, target, **{"global_batch_size": 4, **options})


EMPTY = "`target` is empty. Expected at least one row. Check its folder, or the filter it went through."


@pytest.mark.parametrize(
    "make, sentence",
    [
        (
            lambda: pair(global_batch_size=6, num_replicas=2),
            "pair_domains: `global_batch_size` cannot be shared out so that every device gets as many rows of both "
            "domains. Expected a multiple of 4, 2 rows for each of 2 devices. Received: global_batch_size=6. "
            "Take 4 or 8.",
        ),
        (
            lambda: pair(global_batch_size=1),
            "pair_domains: `global_batch_size` cannot be shared out so that every device gets as many rows of both "
            "domains. Expected a multiple of 2, 2 rows for each of 1 device. Received: global_batch_size=1. Take 2.",
        ),
        (
            lambda: pair(num_replicas=0),
            "pair_domains: `num_replicas` is no number of rows or devices. Expected a whole number above 0. "
            "Received: num_replicas=0.",
        ),
        (
            lambda: pair(steps=0),
            "pair_domains: `steps` are the batches of an epoch. Expected a whole number above 0. Received: steps=0.",
        ),
        (lambda: pair(target=unlabelled(0)), f"pair_domains: {EMPTY}"),
        (lambda: pair(source=labelled(0)), f"pair_domains: {EMPTY.replace('target', 'source')}"),
        (lambda: pair(target=unlabelled(0).batch(2), steps=3), f"pair_domains: {EMPTY}"),
        (
            lambda: pair(target=unlabelled().filter(lambda x: True)),
            "pair_domains: `target` does not say how long it is, so an epoch has none either. Expected `steps`, or two "
            "data sets of known length. Type `steps=`, the rows of the longer domain divided by 2.",
        ),
        (
            lambda: pair(source=labelled().repeat()),
            "pair_domains: `source` has no end, so an epoch has none either. Expected `steps`, or two data sets of "
            "known length. Type `steps=`, the rows of the longer domain divided by 2.",
        ),
        (
            lambda: (lambda same: pair(same, same))(labelled()),
            "pair_domains: `source` and `target` are the same data set. Expected two domains. Give the unlabelled one "
            "as `target`.",
        ),
        (
            lambda: pair(source=unlabelled()),
            "pair_domains: `source` has no labels. Expected elements (x, y) or (x, y, sample_weight), with one tensor "
            "of labels. Received: (1,) float32. Give the labelled data set.",
        ),
        (
            lambda: pair(target=unlabelled(width=2)),
            "pair_domains: the rows of the two domains differ. Expected the same shape and type in both. Received: "
            "(1,) float32 in `source`, (2,) float32 in `target`. Make them alike with `.map`, or load both with the "
            "same settings.",
        ),
        (
            lambda: pair(target=unlabelled(width=2).batch(3)),
            "pair_domains: the rows of the two domains differ. Expected the same shape and type in both. Received: "
            "(1,) float32 in `source`, (None, 2) float32 in `target`. Make them alike with `.map`, or load both with "
            "the same settings.",
        ),
        (
            lambda: pair(target=unlabelled().map(lambda x: tf.cast(x, tf.uint8))),
            "pair_domains: the rows of the two domains differ. Expected the same shape and type in both. Received: "
            "(1,) float32 in `source`, (1,) uint8 in `target`. Make them alike with `.map`, or load both with the same "
            "settings.",
        ),
        (
            lambda: pair(target=unlabelled().map(lambda x: {"image": x})),
            "pair_domains: the rows of the two domains differ. Expected the same shape and type in both. Received: "
            "(1,) float32 in `source`, {image: (1,) float32} in `target`. Make them alike with `.map`, or load both "
            "with the same settings.",
        ),
        (
            lambda: pair(source=labelled(6, 3).map(lambda x, y: (x, tf.one_hot(y, 3)))),
            "pair_domains: the elements of `source` may be batches with a number as label, or rows with a one-hot "
            "label. Expected one of the two. Received: ((3,) float32, (3,) float32). Batch it with `.batch(size)`, "
            "without `drop_remainder`.",
        ),
        (
            lambda: pair(source=tf.data.Dataset.from_tensor_slices((tf.ragged.constant([[1.0], [2.0, 3.0]]), [0, 1]))),
            "pair_domains: the rows of `source` cannot be put into batches. Expected dense tensors of a known rank. "
            "Received: RaggedTensorSpec. Pad them with `.to_tensor()`, or set the rank with `tf.ensure_shape`.",
        ),
        (
            lambda: pair(balance_classes=True),
            "pair_domains: `balance_classes` draws rows. Expected a seed, or the order would be another one each time. "
            "Received: seed=None. Type `seed=0`.",
        ),
        (
            lambda: one_domain(labelled()),
            "one_domain: `dataset` is not batched. Expected batches, as `fit` takes them. Received: ((1,) float32, () "
            "int64). Type `dataset.batch(32)`.",
        ),
        (
            lambda: one_domain(unlabelled().batch(2)),
            "one_domain: `dataset` has no labels. Expected elements (x, y) or (x, y, sample_weight), with one tensor "
            "of labels. Received: (None, 1) float32. Give the labelled data set.",
        ),
        (
            lambda: one_domain(labelled().batch(2), domain=2),
            "one_domain: `domain` is unknown. Expected SOURCE_DOMAIN (0) or TARGET_DOMAIN (1). Received: domain=2.",
        ),
    ],
)
def test_bad_data(make, sentence):
    with pytest.raises(tlkit.UserError, match=f"^{re.escape(sentence)}$"):
        make()


def test_a_target_that_turns_out_to_be_empty_is_told_by_the_pipeline():
    # Its length is not known before it is read; without the check `epochs` would look for a first row for ever.
    nothing = unlabelled().filter(lambda x: x[0] > 0)
    pairs = pair(target=nothing, steps=3)
    chained = epochs(lambda _: pair(target=nothing, steps=3), seed=1)
    for dataset in (pairs, chained):
        with pytest.raises(tf.errors.InvalidArgumentError, match=re.escape(f"UserError: pair_domains: {EMPTY}")):
            next(iter(dataset))


def stacked(domain, label_weight):
    n = len(domain)
    y = {"label": np.zeros(n), "domain": np.array(domain, "float32")[:, None]}
    return tf.data.Dataset.from_tensors((np.zeros((n, 2)), y, {"label": np.array(label_weight), "domain": np.ones(n)}))


def test_check_paired():
    interleaved = stacked([0, 1, 0, 1], [2.0, 0, 2, 0])
    check_paired(interleaved)
    check_paired(interleaved, num_replicas=2)
    check_paired(stacked([0, 0, 1, 1], [2.0, 2, 0, 0]))
    check_paired(interleaved.concatenate(interleaved).concatenate(stacked([0, 0], [1.0, 1])))  # the third is not read


@pytest.mark.parametrize(
    "dataset, num_replicas, sentence",
    [
        (
            stacked([0, 0, 1, 1], [2.0, 2, 0, 0]),
            2,
            "device 1 of 2 gets no target row of batch 1. Expected rows of both domains on every device. Received: "
            "rows 0 to 1, all of the source. Interleave them, as `pair_domains` does.",
        ),
        (
            stacked([0, 1], [2.0, 0]).concatenate(stacked([1, 1], [0.0, 0])),
            1,
            "device 1 of 1 gets no source row of batch 2. Expected rows of both domains on every device. Received: "
            "rows 0 to 1, all of the target. Interleave them, as `pair_domains` does.",
        ),
        (
            stacked([0, 1], [2.0, 0]),
            3,
            "device 1 of 3 gets no target row of batch 1. Expected rows of both domains on every device. Received: "
            "rows 0 to 0, all of the source. Interleave them, as `pair_domains` does.",
        ),
        (
            stacked([0, 1, 0, 1], [1.0, 0, 1, 1]),
            1,
            "the label of row 3 of batch 1 counts, though it is a target row, whose label is not known. Expected the "
            "weight 0. Received: 1. Make the weights as `pair_domains` does.",
        ),
        (
            labelled().batch(2),
            1,
            "the elements are no pairs of domains. Expected (x, y, sample_weight) with y and sample_weight dicts of "
            "'label' and 'domain'. Received: ((None, 1) float32, (None,) int64). Make them with `pair_domains`.",
        ),
    ],
)
def test_check_paired_says_what_is_wrong(dataset, num_replicas, sentence):
    with pytest.raises(tlkit.UserError, match=f"^{re.escape(f'check_paired: {sentence}')}$"):
        check_paired(dataset, num_replicas)


@pytest.mark.parametrize(
    "source, target, sentence",
    [
        (
            ["ant", "bee", "cat"],
            ["ant", "cat", "bee"],
            "the domains number their classes differently. Expected the source's order in both. Received: class 1 is "
            "'bee' in the source and 'cat' in the target. Sort both the same way.",
        ),
        (
            ["ant", "bee", "cat"],
            ["ant", "cat"],
            "the domains number their classes differently. Expected the source's order in both. Received: class 1 is "
            "'bee' in the source and 'cat' in the target. Number it as if it had 'bee', too.",
        ),
        (
            ["ant", "bee"],
            ["ant", "bee", "Cat", "dog"],
            "the target has classes that the source has not, so they cannot be learned. Expected classes of the "
            "source: 'ant', 'bee'. Received: 'Cat', 'dog'. Leave them out, or label some source rows with them.",
        ),
    ],
)
def test_classes_that_do_not_fit(source, target, sentence):
    with pytest.raises(tlkit.UserError, match=f"^{re.escape(f'check_same_classes: {sentence}')}$"):
        check_same_classes(source, target)


def test_a_target_without_the_last_classes_is_warned_about():
    check_same_classes(["ant", "bee"], ("ant", "bee"))
    sentence = (
        "check_same_classes: the target has no row of 'bee', 'cat'. Expected all classes of the source. Adaptation "
        "pulls target rows onto those classes, too: compare with training on the source alone, or leave them out of "
        "the source."
    )
    with pytest.warns(UserWarning, match=f"^{re.escape(sentence)}$"):
        check_same_classes(["ant", "bee", "cat"], ["ant"])


def test_a_target_that_is_the_source(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder, contents in {"source": ["one", "two!"], "copy": ["two!", "one"], "other": ["one", "six", ""]}.items():
        (tmp_path / folder / "ant").mkdir(parents=True)
        for number, content in enumerate(contents):
            (tmp_path / folder / "ant" / f"{folder}{number}.jpg").write_text(content)
    (tmp_path / "link").symlink_to(tmp_path / "source")
    for same in ("source", "source/../source", "link", tmp_path / "source"):
        sentence = (
            f"check_different_files: source and target are the same folder. Expected two domains. Received: 'source' "
            f"and '{same}'. Give the folder of the unlabelled images as target."
        )
        with pytest.raises(tlkit.UserError, match=f"^{re.escape(sentence)}$"):
            check_different_files("source", same)
    sentence = (
        "check_different_files: every one of the 2 files of the target is in the source, too. Expected two domains. "
        "Received: 'copy/ant/copy1.jpg' and its copy. Give the folder of the unlabelled images as target."
    )
    with pytest.raises(tlkit.UserError, match=f"^{re.escape(sentence)}$"):
        check_different_files("source", "copy")
    sentence = (
        "check_different_files: 1 of the 2 files of the target are in the source, too, such as 'other/ant/other0.jpg'. "
        "Expected none. Take them out of one of the two."
    )
    with pytest.warns(UserWarning, match=f"^{re.escape(sentence)}$"):
        check_different_files("source", "other")
    with pytest.raises(tlkit.UserError, match="there is no folder 'nowhere'. Expected a folder of images."):
        check_different_files("source", "nowhere")
    check_different_files(["source/ant/source1.jpg"], ["other/ant/other0.jpg", "other/ant/other1.jpg"])


def test_a_target_of_the_same_texts(tmp_path):
    def splits(name, texts):
        (tmp_path / name).write_text("\n".join(["text,label", *texts]), encoding="utf-8")
        return split_texts(tmp_path / name, seed=0)

    source = splits("source.csv", ["good day,a", "good night,a", "bye,b", "bye bye,b"])
    same = splits("same.csv", ["Good  Day,b", "bye,b", "GOOD NIGHT,a", "bye bye,a"])
    sentence = (
        "check_different_texts: every one of the 4 texts of the target is in the source, too. Expected two domains. "
        "Give the unlabelled texts as target."
    )
    with pytest.raises(tlkit.UserError, match=f"^{re.escape(sentence)}$"):
        check_different_texts(source, same)
    half = splits("half.csv", ["good day,a", "hello,a", "bye,b", "see you,b"])
    with pytest.warns(UserWarning, match="2 of the 4 texts of the target are in the source, too. Expected two domains"):
        check_different_texts(source, half)
    check_different_texts(source, splits("other.csv", ["good day,a", "hello,a", "so long,b", "see you,b"]))
