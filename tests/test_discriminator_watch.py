"""Verdicts on scripted numbers, and on trainings made to go wrong in each of the ways."""

import copy
import re

import keras
import numpy as np
import pytest
import tensorflow as tf

import tlkit
from tlkit.callbacks import AdaptationRamp, DiscriminatorWatch, ExactResume
from tlkit.callbacks.domain_game import Game, fresh_accuracy, measure
from tlkit.distribution import choose_strategy
from tlkit.domain import (
    DomainDiscriminator,
    DomainLoss,
    MaximumMeanDiscrepancy,
    build_cdan,
    build_dan,
    build_dann,
    one_domain,
    pair_domains,
)

# Numbers ---------------------------------------------------------------------------------------------


def test_numbers_by_hand():
    # Rows s, t, s, t, s; logits right on s (-1), t (+2), wrong on s (+1), t (-1), right on s (-2).
    game = measure(
        np.array([0, 1, 0, 1, 0]),
        np.array([-1.0, 2, 1, -1, -2]),
        np.array([0, 9, 1, 9, 1]),
        np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.6, 0.4], [0.0, 1.0]]),
    )
    assert game.accuracy == 3 / 5 and game.num_rows == 5
    # log(1 + e^-m) of the margins 1, 2, -1, -1, 2: .313262, .126928, 1.313262, 1.313262, .126928.
    assert game.loss == pytest.approx((0.313262 + 0.126928 + 1.313262 + 1.313262 + 0.126928) / 5, abs=1e-6)
    # Source labels 0, 1, 1: (1/3, 2/3). Target predictions (.7, .3): TV = .7 - 1/3. Source: (.4, .6): .4 - 1/3.
    assert game.target_shift == pytest.approx(0.7 - 1 / 3) and game.source_shift == pytest.approx(0.4 - 1 / 3)
    # Two terms sqrt(2 / pi * 2/9 * (1/3 + 1/2)), halved: one of them.
    assert game.noise == pytest.approx(np.sqrt(2 / np.pi * 2 / 9 * 5 / 6))


def test_noise_is_the_mean_distance_of_two_samples():
    random, shares = np.random.default_rng(0), np.array([0.5, 0.3, 0.15, 0.05])
    labels = np.repeat(np.arange(4), [64, 38, 19, 7])  # 128 rows with about these shares
    domains = np.repeat([0, 1], 128)
    game = measure(domains, np.zeros(256), np.tile(labels, 2), np.full((256, 4), 0.25))
    source, target = random.multinomial(128, shares, (2, 20_000)) / 128
    simulated = np.abs(source - target).sum(axis=1).mean() / 2
    assert game.noise == pytest.approx(simulated, rel=0.03)


def test_who_guesses_and_who_wins():
    def game(accuracy, num_rows=256):
        return Game(accuracy, 0.69, num_rows, 0.0, 0.0, 0.0)

    # Two standard errors of 256 rows are 2 * .5 / 16 = .0625, of 64 rows .125.
    assert game(0.5625).guesses and game(0.3).guesses and not game(0.5626).guesses
    assert game(0.625, 64).guesses and not game(0.63, 64).guesses
    assert game(0.951).wins(0.9) and not game(0.95).wins(1.0) and not game(1.0).wins(0.89)


def test_when_classes_differ():
    def differ(target_shift, source_shift, noise=0.05):
        return Game(0.69, 0.6, 256, target_shift, source_shift, noise).classes_differ

    assert differ(0.26, 0.0) and differ(0.26, 0.15)
    assert not differ(0.25, 0.0)  # 0.2 + noise
    assert not differ(0.9, 0.16)  # above 0.1 + noise: it has not learned the source
    # Class 1 has the share .5 in the source, .9 in the target: TV = .4. To call class 1 "target" is right on
    # (.5 + .9) / 2 = .7 = (1 + .4) / 2 of as many rows of both, and two standard errors of 256 rows are .0625.
    known = Game(0.7625, 0.6, 256, 0.4, 0.0, 0.05)
    assert known.classes_differ and known.explains(0.7) and not known._replace(accuracy=0.7626).classes_differ


def test_a_fresh_classifier():
    random = np.random.default_rng(0)
    domains = np.tile([0.0, 1.0], 100)
    noise = random.normal(size=(200, 5))
    assert fresh_accuracy(noise + 5 * domains[:, None], domains) == 1.0
    assert abs(fresh_accuracy(noise, domains) - 0.5) < 0.15
    # Of more features than rows, and of which only one tells: what is fitted on four fifths must hold on the last.
    wide = random.normal(size=(200, 2000))
    assert abs(fresh_accuracy(wide, domains) - 0.5) < 0.15
    assert fresh_accuracy(np.hstack([noise, 4 * domains[:, None] - 2]) * 1e4, domains) == 1.0


# Scripted --------------------------------------------------------------------------------------------


def encoder(units=4):
    inputs = keras.Input((2,))
    return keras.Model(inputs, keras.layers.Dense(units, activation="tanh", name="encoder")(inputs))


def compiled(model, rate=0.1):
    model.compile(
        keras.optimizers.SGD(rate, momentum=0.9),
        {"label": "sparse_categorical_crossentropy", "domain": DomainLoss()},
    )
    return model


def dann(rate=0.1, units=4, **options):
    keras.utils.set_random_seed(1)
    return compiled(build_dann(encoder(units), 2, discriminator=DomainDiscriminator((8,)), **options), rate)


def two_classes(number, share=0.5, seed=0):
    """Class 0 about (-2, 0), class 1 about (2, 0)."""
    random = np.random.default_rng(seed)
    y = (random.uniform(size=number) < share).astype(int)
    return (random.normal(size=(number, 2)) + np.stack([4 * y - 2, 0 * y], axis=1)).astype("float32"), y


def paired(target=None, number=64, share=0.5, shift=0.0, **options):
    source = tf.data.Dataset.from_tensor_slices(two_classes(number))
    target = two_classes(number, share, seed=1)[0] + np.float32([0, shift]) if target is None else target
    return pair_domains(source, tf.data.Dataset.from_tensor_slices(target), global_batch_size=32, **options)


class Scripted(DiscriminatorWatch):
    """Sees what the script says in the place of the model's predictions."""

    def __init__(self, games, separable=None, **options):
        super().__init__(paired(), verbose=1, **options)
        self.games, self.separable = iter(games), separable

    def _look(self):
        game, domains = next(self.games), np.repeat([0.0, 1.0], 50)
        separable = game.guesses if self.separable is None else self.separable
        return domains, {"features": domains[:, None] * separable}, game


def drive(watch, model, epochs):
    watch.set_model(model)
    watch.set_params({"epochs": epochs, "steps": 4})
    watch.on_train_begin()
    for epoch in range(epochs):
        watch.on_epoch_end(epoch, {})
    watch.on_train_end()
    return [(verdict.epoch, verdict.state) for verdict in watch.verdicts]


def game(accuracy=0.8, loss=0.5, target_shift=0.1, source_shift=0.02, noise=0.04):
    return Game(accuracy, loss, 256, target_shift, source_shift, noise)


GUESSES, WINS, SHIFTED, WELL = game(0.51, 0.69), game(0.98, 0.041), game(0.7, target_shift=0.41), game()


def test_a_state_is_told_once_it_has_lasted():
    games = [GUESSES, GUESSES, WELL, GUESSES, GUESSES, GUESSES, GUESSES, WELL, GUESSES, GUESSES, GUESSES]
    assert drive(Scripted(games), dann(), len(games)) == [(5, "collapsed")]
    assert drive(Scripted(games, patience=2), dann(), len(games)) == [(1, "collapsed")]
    games = [WINS, WINS, WINS, WINS, SHIFTED, WELL, SHIFTED, SHIFTED, SHIFTED, SHIFTED]
    assert drive(Scripted(games), dann(), len(games)) == [(2, "too strong"), (8, "class priors differ")]
    # The discriminator sees little, but a fresh one sees more than the classes explain.
    assert drive(Scripted([SHIFTED] * 5, separable=True), dann(), 5) == []
    assert drive(Scripted([WELL] * 5), dann(), 5) == []


def test_a_second_fit_is_told_anew():
    watch = Scripted([GUESSES, GUESSES, GUESSES, GUESSES, GUESSES, GUESSES, GUESSES])
    assert drive(watch, dann(), 3) == [(2, "collapsed")]
    assert drive(watch, dann(), 4) == [(2, "collapsed")]


def test_domains_that_nobody_can_tell_apart_are_aligned():
    assert drive(Scripted([GUESSES] * 5, separable=False), dann(), 5) == []


def test_nobody_is_too_strong_while_the_reversal_is_weak():
    model = dann(reversal_scale=0.0)
    assert drive(Scripted([WINS] * 4), model, 4) == []
    model.get_layer("reversal").scale.assign(0.5)  # without a ramp that is its full scale
    assert drive(Scripted([WINS] * 4), model, 4) == [(2, "too strong")]


def test_the_sentences(capsys):
    games = [GUESSES, WINS, SHIFTED]
    watch = Scripted(games, patience=1)
    drive(watch, dann(), 3)
    assert [verdict.sentence for verdict in watch.verdicts] == [
        "the discriminator has collapsed: for 1 epoch it has guessed, now right on 0.51 of 256 rows (loss 0.69, "
        "guessing has 0.69), though a fresh linear classifier is right on 1.00 with the same features. Nothing is "
        "adapted. Give the ramp a `warm_start`, lower its `maximum`, or let the discriminator learn faster: more "
        "hidden units, a higher learning rate.",
        "the discriminator is too strong: for 1 epoch it has won, now right on 0.98 of 256 rows (loss 0.041) at a "
        "reversal scale of 1.00. The features stay apart. It had collapsed before: the two do not find a balance. "
        "Begin anew with a lower learning rate, a `warm_start` and a lower `maximum`.",
        "the class priors differ: for 1 epoch the classes predicted on target rows have differed from the source's by "
        "a total variation of 0.41 (chance explains 0.04), and little else tells the domains apart. With features made "
        "alike, as many target rows would be given a wrong class. Take `build_cdan` with `entropy_weighted=True` or a "
        "lower `maximum`, balance the source with `balance_classes=True` if the target is balanced, and "
        "label a few target rows to look.",
    ]
    alone = Scripted([WINS], patience=1)
    drive(alone, dann(), 1)
    assert alone.verdicts[0].sentence.endswith(
        " Take BatchNorm out of the discriminator or give it dropout, raise the ramp's `maximum`, and where classes "
        "are unbalanced take `build_cdan`."
    )
    with_hint = Scripted([WINS], patience=1, hint="`maximum` is --weight.")
    drive(with_hint, dann(), 1)
    assert with_hint.verdicts[0].sentence == f"{alone.verdicts[0].sentence} `maximum` is --weight."
    deceived = Scripted([game(0.05, 5.1)], patience=1, separable=True)
    drive(deceived, dann(), 1)
    assert "for 1 epoch it has been deceived, now right on 0.05 of 256 rows (loss 5.10" in deceived.verdicts[0].sentence
    printed = capsys.readouterr().out
    for verdict in watch.verdicts:
        assert f"\nEpoch {verdict.epoch + 1}: {verdict.sentence}\n" in printed


# Real trainings --------------------------------------------------------------------------------------


def watched(model, pairs, epochs=4, callbacks=(), **options):
    watch = DiscriminatorWatch(pairs, rows=64, verbose=0, **options)
    history = model.fit(pairs, epochs=epochs, shuffle=False, verbose=0, callbacks=[*callbacks, watch]).history
    return [(verdict.epoch, verdict.state) for verdict in watch.verdicts], history


def test_a_discriminator_that_is_dead():
    model = dann()
    discriminator = next(layer for layer in model.layers if isinstance(layer, DomainDiscriminator))
    discriminator.set_weights([np.zeros_like(weight) for weight in discriminator.get_weights()])
    discriminator.trainable = False
    compiled(model)
    verdicts, history = watched(model, paired(shift=6.0))
    assert verdicts == [(2, "collapsed")]
    # A logit of 0 calls every row "source": one half is right.
    assert history["discriminator_accuracy"] == [0.5] * 4


def test_an_encoder_that_cannot_follow():
    model = dann(units=16)
    model.get_layer("encoder").trainable = False
    compiled(model)
    verdicts, history = watched(model, paired(shift=6.0), epochs=12, callbacks=[AdaptationRamp()])
    # tanh(5 p) is .9 at p = .294: in the last of the 4 steps of epoch 2 of 12, p = (4 * 2 + 3) / 48 = .229 gives .816,
    # in epoch 3 .3125 gives .9157. Epochs 3, 4, 5 have it.
    assert verdicts == [(5, "too strong")]
    assert min(history["discriminator_accuracy"][3:]) > 0.95


def test_domains_that_are_alike():
    assert watched(dann(), paired(), epochs=5)[0] == []


@pytest.mark.parametrize("share, expected", [(0.95, ["class priors differ"]), (0.5, [])])
def test_other_class_priors(share, expected):
    verdicts, history = watched(dann(reversal_scale=0.0), paired(share=share), epochs=6)
    assert [state for _, state in verdicts] == expected
    # The classifier is right on both domains, so it sees the shares of the 32 rows of each.
    of_source, of_target = two_classes(64)[1][:32].mean(), two_classes(64, share, seed=1)[1][:32].mean()
    assert history["class_shift"][-1] == pytest.approx(abs(of_target - of_source), abs=0.05)


def test_the_numbers_are_those_of_the_model():
    pairs = paired(shift=1.0)
    model = dann()
    _, history = watched(model, pairs, epochs=2)
    batches = list(pairs.take(2))
    x = np.concatenate([x for x, _, _ in batches])
    domains, labels = (np.concatenate([y[name] for _, y, _ in batches]).ravel() for name in ("domain", "label"))
    predicted = model.predict(x, verbose=0)
    right = (predicted["domain"][:, 0] > 0) == domains
    assert history["discriminator_accuracy"][-1] == right.mean()
    shift = abs(predicted["label"][domains == 1, 1].mean() - labels[domains == 0].mean())
    assert history["class_shift"][-1] == pytest.approx(shift, abs=1e-6)


def test_watching_changes_nothing():
    def weights(*callbacks):
        model = dann()
        model.fit(paired(), epochs=2, shuffle=False, verbose=0, callbacks=list(callbacks))
        return model.get_weights()

    for a, b in zip(weights(), weights(DiscriminatorWatch(paired(), rows=32)), strict=True):
        np.testing.assert_array_equal(a, b)


def test_cdan_e_and_one_hot_labels_on_two_devices():
    strategy = choose_strategy("mirrored")
    x, y = two_classes(32)
    source = tf.data.Dataset.from_tensor_slices((x, tf.one_hot(y, 2))).batch(8)
    pairs = pair_domains(source, tf.data.Dataset.from_tensor_slices(x), global_batch_size=16, num_replicas=2)
    with strategy.scope():
        keras.utils.set_random_seed(1)
        model = build_cdan(encoder(), 2, discriminator=DomainDiscriminator((8,)), entropy_weighted=True)
        model.compile("sgd", {"label": "categorical_crossentropy", "domain": DomainLoss()})
    verdicts, history = watched(model, pairs, epochs=2)
    assert verdicts == [] and all(0 <= value <= 1 for value in history["discriminator_accuracy"])


def test_texts():
    words = ["good book", "bad book", "long book", "dull book"] * 8
    source = tf.data.Dataset.from_tensor_slices((words, [1, 0, 1, 0] * 8))
    target = tf.data.Dataset.from_tensor_slices([text.replace("book", "pan") for text in words])
    pairs = pair_domains(source, target, global_batch_size=32)
    inputs = keras.Input((), dtype="string")
    vocabulary = keras.layers.TextVectorization(
        output_mode="multi_hot", vocabulary=["good", "bad", "long", "dull", "book", "pan"]
    )
    features = keras.layers.Dense(4, activation="tanh")(vocabulary(inputs))
    model = compiled(build_dann(keras.Model(inputs, features), 2, discriminator=DomainDiscriminator((8,))))
    _, history = watched(model, pairs, epochs=2)
    assert len(history["discriminator_accuracy"]) == 2


def test_it_goes_on_after_a_kill(tmp_path):
    def train(epochs):
        watch, resume = Scripted([GUESSES] * 2), ExactResume(tmp_path)
        dann().fit(
            paired(),
            epochs=epochs,
            initial_epoch=resume.initial_epoch,
            shuffle=False,
            verbose=0,
            callbacks=[watch, resume],
        )
        return watch.verdicts

    assert train(2) == []
    assert [(verdict.epoch, verdict.state) for verdict in train(4)] == [(2, "collapsed")]  # two before, one after


def test_a_copy_shares_the_rows_and_starts_anew():
    watch = Scripted([GUESSES] * 3)
    drive(watch, dann(), 3)
    again = copy.deepcopy(watch)
    assert again._batches is watch._batches and again.verdicts == watch.verdicts and again.model is watch.model
    again.verdicts.clear()
    assert watch.verdicts


# Bad input -------------------------------------------------------------------------------------------


def dan():
    return build_dan(encoder(), 2)


def one_source_domain():
    return one_domain(tf.data.Dataset.from_tensor_slices(two_classes(32)).batch(16))


@pytest.mark.parametrize(
    "make, sentence",
    [
        (
            lambda: DiscriminatorWatch(paired(), rows=19),
            "`rows` is too small. Expected a whole number of at least 20. Received: rows=19.",
        ),
        (
            lambda: DiscriminatorWatch(paired(), patience=0),
            "`patience` is too small. Expected a whole number of at least 1. Received: patience=0.",
        ),
        (
            lambda: DiscriminatorWatch(tf.data.Dataset.from_tensor_slices(two_classes(8)).batch(4)),
            "`pairs` holds no pairs of domains. Expected batches (x, y, sample_weight) with y a dict of 'label' and "
            "'domain'. Make it with `pair_domains`.",
        ),
        (
            lambda: DiscriminatorWatch(one_source_domain()),
            "the first 32 rows of `pairs` are not of both domains. Expected rows of both. Make it with `pair_domains`.",
        ),
        (
            lambda: drive(DiscriminatorWatch(paired()), dan(), 1),
            "the model 'dan' has no layer GradientReversal. Expected one before the domain output. Build it with "
            "`build_dann` or one of its siblings in `tlkit.domain`.",
        ),
    ],
)
def test_bad_input(make, sentence):
    with pytest.raises(tlkit.UserError, match=f"^{re.escape(f'DiscriminatorWatch: {sentence}')}$"):
        make()


def test_a_reversal_before_something_else():
    inputs = keras.Input((2,))
    features = tlkit.domain.GradientReversal()(inputs)
    model = keras.Model(inputs, {"label": keras.layers.Dense(2)(inputs), "domain": keras.layers.Dense(5)(features)})
    model.compile("sgd", {"label": "sparse_categorical_crossentropy", "domain": MaximumMeanDiscrepancy()})
    with pytest.raises(tlkit.UserError, match="is none with a discriminator. Expected a functional model with the out"):
        drive(DiscriminatorWatch(paired()), model, 1)
