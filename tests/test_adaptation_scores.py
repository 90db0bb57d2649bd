"""Label-free scores in the logs of a real training, from every form of model and data."""

import copy
import math

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy.stats import entropy

from tlkit import UserError
from tlkit.callbacks import ExactResume
from tlkit.distribution import choose_strategy
from tlkit.domain import DomainDiscriminator, build_cdan
from tlkit.domain.adaptation_scores import AdaptationScores
from tlkit.domain.label_free_scores import LABEL_FREE_SCORES, NEED_FEATURES
from tlkit.domain.predictions import class_reader

L = keras.layers
random = np.random.default_rng(0)
Y = np.arange(48) % 3
X = (random.normal(size=(48, 5)) + 2 * np.eye(5)[Y]).astype("float32")
SOURCE, TARGET = (X[:16], Y[:16]), X[16:30] + 0.5


def compiled(model, **options):
    model.compile(keras.optimizers.SGD(0.1), "sparse_categorical_crossentropy", **options)
    return model


def classifier():
    inputs = keras.Input((5,))
    features = L.Dense(4, activation="relu", name="backbone")(inputs)
    return compiled(keras.Model(inputs, L.Dense(3, activation="softmax", name="head")(features)))


def fit(model, *callbacks, epochs=2, **options):
    return model.fit(X, Y, epochs=epochs, batch_size=16, verbose=0, callbacks=list(callbacks), **options).history


def test_the_logs_hold_what_the_model_predicts_after_each_epoch():
    model, scores = classifier(), AdaptationScores(SOURCE, TARGET, target_test=(TARGET, Y[16:30]))
    history = fit(model, scores)
    assert {"loss", "target_accuracy", *LABEL_FREE_SCORES} == set(history)
    assert [epoch["target_snd"] for epoch in scores.epochs] == history["target_snd"]
    of_source, of_target = model.predict(X[:16], verbose=0), model.predict(TARGET, verbose=0)
    last = scores.epochs[-1]
    assert last["source_accuracy"] == (of_source.argmax(axis=1) == Y[:16]).mean()
    assert last["source_score"] == pytest.approx(np.log(of_source[np.arange(16), Y[:16]]).mean(), abs=1e-5)
    assert last["target_entropy_score"] == pytest.approx(-entropy(of_target, axis=1).mean(), abs=1e-5)
    assert last["target_accuracy"] == (of_target.argmax(axis=1) == Y[16:30]).mean()


def test_model_checkpoint_and_early_stopping_follow_a_score(tmp_path):
    best = keras.callbacks.ModelCheckpoint(
        tmp_path / "best.keras", monitor="target_information", mode="max", save_best_only=True
    )
    stop = keras.callbacks.EarlyStopping("target_information", mode="max", patience=3)
    history = fit(classifier(), AdaptationScores(SOURCE, TARGET, scores=["target_information"]), best, stop)
    assert set(history) == {"loss", "target_information"}
    assert best.best == stop.best == max(history["target_information"])
    assert (tmp_path / "best.keras").exists()


def two_outputs():
    inputs = keras.Input((5,))
    features = L.Dense(4, activation="relu", name="backbone")(inputs)
    head = keras.Sequential([keras.Input((4,)), L.Dense(6), L.Dense(3, activation="softmax")], name="head")
    domain = L.Dense(1, name="discriminator")(features)
    return keras.Model(inputs, {"label": head(features), "domain": domain})


def adapted():
    inputs = keras.Input((5,))
    backbone = keras.Model(inputs, L.Dense(4, name="backbone")(inputs))
    return build_cdan(backbone, 3, discriminator=DomainDiscriminator((6,)))


def sequential():
    return keras.Sequential([keras.Input((5,)), L.Dense(4, name="backbone"), L.Dropout(0.5), L.Dense(3), L.Softmax()])


@pytest.mark.parametrize("make", [two_outputs, sequential, classifier, adapted])
def test_features_are_what_the_head_is_given(make):
    model = make()
    reader, has_features = class_reader(model)
    read, whole = reader.predict_on_batch(X), model(X)
    assert has_features
    np.testing.assert_allclose(read["features"], model.get_layer("backbone")(X), atol=1e-6)
    np.testing.assert_allclose(read["label"], whole["label"] if isinstance(whole, dict) else whole, atol=1e-6)
    assert class_reader(model, "backbone")[0].output["features"].shape == (None, 4)


def test_a_model_that_was_read_saves_and_trains_as_before(tmp_path):
    model = classifier()
    class_reader(model)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(again(X), model(X))
    before = [w.numpy() for w in model.weights]
    fit(model)
    assert not any(np.array_equal(a, b) for a, b in zip(before, model.weights, strict=True))


def test_a_model_with_two_outputs_is_judged_at_its_label():
    model = two_outputs()
    losses = {"label": "sparse_categorical_crossentropy", "domain": keras.losses.BinaryCrossentropy(from_logits=True)}
    model.compile("sgd", loss=losses)
    targets = {"label": Y, "domain": (Y > 0).astype("float32")[:, None]}
    scores = AdaptationScores((SOURCE[0], {"label": SOURCE[1], "domain": np.zeros((16, 1))}), TARGET)
    model.fit(X, targets, batch_size=16, verbose=0, callbacks=[scores])
    assert scores.epochs[0]["source_accuracy"] == (model(X[:16])["label"].numpy().argmax(axis=1) == Y[:16]).mean()


class Own(keras.Model):
    def __init__(self):
        super().__init__()
        self.dense = L.Dense(3, activation="softmax")

    def call(self, inputs):
        return self.dense(inputs)


def test_a_model_with_a_call_of_its_own_is_judged_without_features():
    scores = AdaptationScores(SOURCE, TARGET)
    fit(compiled(Own()), scores)
    assert set(scores.epochs[0]) == set(LABEL_FREE_SCORES) - set(NEED_FEATURES)
    with pytest.raises(UserError, match="target_reverse cannot be had.*Expected a functional model"):
        fit(compiled(Own()), AdaptationScores(SOURCE, TARGET, scores=["target_reverse"]))
    with pytest.raises(UserError, match="it has a `call` of its own"):
        fit(compiled(Own()), AdaptationScores(SOURCE, TARGET, features="dense"))


def test_one_sigmoid_is_two_classes():
    inputs = keras.Input((5,))
    model = keras.Model(inputs, L.Dense(1, activation="sigmoid")(inputs))
    model.compile("sgd", "binary_crossentropy")
    scores = AdaptationScores((X[:16], Y[:16] > 0), TARGET)
    model.fit(X, (Y > 0).astype("float32"), verbose=0, callbacks=[scores])
    assert scores.epochs[0]["source_accuracy"] == ((model(X[:16]).numpy()[:, 0] > 0.5) == (Y[:16] > 0)).mean()


def datasets():
    tensors = tf.data.Dataset.from_tensor_slices
    shuffled = tensors(SOURCE).shuffle(16, seed=1).batch(5)  # rows and labels come in one pass
    return shuffled, tensors((TARGET, np.full(len(TARGET), 7))).batch(6)  # labels of the target are not read


def test_data_sets_one_hot_labels_and_arrays_give_the_same():
    model, forms = classifier(), [datasets(), ((X[:16], np.eye(3)[Y[:16]]), (TARGET, None)), (SOURCE, TARGET)]
    callbacks = [AdaptationScores(*form, batch_size=size) for form, size in zip(forms, (1, 7, 256), strict=True)]
    fit(model, *callbacks, epochs=1)
    first, *others = [callback.epochs[0] for callback in callbacks]
    for other in others:
        assert other == pytest.approx(first, abs=1e-5)


def test_two_devices_score_as_one():
    keras.utils.set_random_seed(0)
    alone = AdaptationScores(SOURCE, TARGET)
    fit(classifier(), alone, shuffle=False)
    with choose_strategy("mirrored").scope():
        keras.utils.set_random_seed(0)
        model = classifier()
    together = AdaptationScores(SOURCE, TARGET)
    model.fit(
        tf.data.Dataset.from_tensor_slices((X, Y)).batch(16), epochs=2, verbose=0, shuffle=False, callbacks=[together]
    )
    for a, b in zip(alone.epochs, together.epochs, strict=True):
        assert a == pytest.approx(b, abs=1e-4)


def test_mixed_precision_is_scored():
    keras.mixed_precision.set_global_policy("mixed_float16")
    scores = AdaptationScores(SOURCE, TARGET)
    fit(classifier(), scores)
    assert all(math.isfinite(value) for value in scores.epochs[-1].values())


def test_a_training_that_diverged_scores_nothing():
    model = classifier()
    model.get_layer("head").kernel.assign(np.full((4, 3), np.nan))
    scores = AdaptationScores(SOURCE, TARGET)
    fit(model, scores)
    assert all(math.isnan(value) for value in scores.epochs[0].values())


def test_a_copy_starts_anew_and_shares_the_rows():
    scores = AdaptationScores(*datasets())
    fit(classifier(), scores)
    fresh = copy.deepcopy(scores)
    assert fresh.epochs == [] and fresh.source is scores.source and len(scores.epochs) == 2
    fit(classifier(), fresh, epochs=1)
    assert len(fresh.epochs) == 1 and len(scores.epochs) == 2


def test_scores_go_on_after_a_resume(tmp_path):
    scores = AdaptationScores(SOURCE, TARGET)
    fit(classifier(), scores, ExactResume(tmp_path), epochs=1, shuffle=False)
    later, resume = AdaptationScores(SOURCE, TARGET), ExactResume(tmp_path)
    fit(classifier(), later, resume, epochs=2, initial_epoch=resume.initial_epoch, shuffle=False)
    assert len(later.epochs) == 2 and later.epochs[0] == scores.epochs[0]


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: AdaptationScores(SOURCE, TARGET, scores=["target_accuracy"]), "no score of that name. Expected some"),
        (lambda: AdaptationScores(X, TARGET), "`source` has no labels"),
        (lambda: AdaptationScores(SOURCE, X[:0]), "`target` is empty"),
        (lambda: AdaptationScores(SOURCE, TARGET, target_test=TARGET), "`target_test` has no labels"),
        (
            lambda: AdaptationScores(SOURCE, tf.data.Dataset.from_tensors(X).repeat()),
            "`target` never ends.*Take away its `.repeat",
        ),
    ],
)
def test_bad_data_are_refused_before_the_training(make, sentence):
    with pytest.raises(UserError, match=sentence):
        make()


def test_outputs_that_are_no_classes_are_refused():
    inputs = keras.Input((5,))
    logits = compiled(keras.Model(inputs, L.Dense(3)(inputs)))
    with pytest.raises(UserError, match="apply softmax first"):
        fit(logits, AdaptationScores(SOURCE, TARGET))
    pair = keras.Model(inputs, {"a": L.Dense(3)(inputs), "b": L.Dense(3)(inputs)})
    with pytest.raises(UserError, match="which of the 2 outputs.*or a dict with 'label'. Received: a, b"):
        class_reader(pair)
    with pytest.raises(UserError, match="no layer of that name. Expected one of: .*backbone, head. Received"):
        class_reader(classifier(), "backbon")
    with pytest.raises(UserError, match="expected a built `keras.Model`"):
        class_reader(keras.Sequential([L.Dense(3)]))
