"""CDAN's maps of features and predictions."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tlkit
from tlkit.domain import EntropyConditioning, MultilinearMap, RandomizedMultilinearMap, entropy_weights

FEATURES = np.array([[1.0, 2.0], [3.0, -1.0], [0.5, 0.0]])
PROBABILITIES = np.array([[1.0, 0.0, 0.0], [0.25, 0.5, 0.25], [0.0, 0.5, 0.5]])


def test_multilinear_map_is_each_probability_times_the_features():
    expected = [
        [1.0, 2.0, 0.0, 0.0, 0.0, 0.0],
        [0.75, -0.25, 1.5, -0.5, 0.75, -0.25],
        [0.0, 0.0, 0.25, 0.0, 0.25, 0.0],
    ]
    np.testing.assert_array_equal(MultilinearMap()([FEATURES, PROBABILITIES]), expected)


def test_multilinear_map_is_an_outer_product():
    random = np.random.default_rng(0)
    f, g = random.normal(size=(5, 7)).astype("float32"), random.uniform(size=(5, 3)).astype("float32")
    np.testing.assert_allclose(MultilinearMap()([f, g]), np.einsum("nc,nf->ncf", g, f).reshape(5, 21), rtol=1e-6)


def test_randomized_map_by_hand():
    """T = (R_f f) * (R_g g) / sqrt(4), with matrices of whole numbers."""
    layer = RandomizedMultilinearMap(random_dim=4)
    layer.build([(None, 2), (None, 3)])
    r_f = np.array([[1.0, 0.0, 2.0, 1.0], [0.0, 1.0, 1.0, -1.0]])
    r_g = np.array([[1.0, 2.0, 0.0, 1.0], [4.0, 0.0, 2.0, 2.0], [0.0, 4.0, 2.0, 6.0]])
    layer.set_weights([r_f, r_g])
    # Row 1: R_f f = (1, 2, 4, -1), R_g g = (1, 2, 0, 1). Row 2: (3, -1, 5, 4), (2.25, 1.5, 1.5, 2.75).
    # Row 3: (0.5, 0, 1, 0.5), (2, 2, 2, 4).
    expected = [[0.5, 2.0, 0.0, -0.5], [3.375, -0.75, 3.75, 5.5], [0.5, 0.0, 1.0, 1.0]]
    np.testing.assert_allclose(layer([FEATURES, PROBABILITIES]), expected, rtol=1e-6)


def test_randomized_map_keeps_inner_products_on_average():
    """<T(f, g), T(f', g')> is <f, f'> <g, g'> on average: the reason why it can stand for the whole map."""
    f, g = np.array([[1.0, 2.0], [3.0, 1.0]]), np.array([[0.2, 0.8], [0.5, 0.5]])
    mapped = RandomizedMultilinearMap(random_dim=200_000, seed=1)([f, g]).numpy()
    # <f, f'> = 5 and <g, g'> = 0.5.
    assert abs(mapped[0] @ mapped[1] - 2.5) < 0.1


def test_randomized_map_is_drawn_once_and_saved(tmp_path):
    features, classes = keras.Input((5,)), keras.Input((3,))
    model = keras.Model([features, classes], RandomizedMultilinearMap(random_dim=8)([features, classes]))
    assert model.trainable_weights == []
    x = [np.ones((2, 5), "float32"), np.ones((2, 3), "float32")]
    before = model(x)
    model.save(tmp_path / "model.keras")
    np.testing.assert_array_equal(tlkit.load_model(tmp_path / "model.keras")(x), before)


def test_a_seed_fixes_the_matrices_and_they_differ_from_each_other():
    first, same, other = (RandomizedMultilinearMap(random_dim=6, seed=seed) for seed in (3, 3, 4))
    for layer in (first, same, other):
        layer.build([(None, 5), (None, 5)])
    r_f, r_g = first.get_weights()
    np.testing.assert_array_equal(same.get_weights(), [r_f, r_g])
    assert not np.allclose(other.get_weights()[0], r_f)
    assert not np.allclose(r_f, r_g)


@pytest.mark.parametrize("random_dim", [0, -3, 2.5])
def test_a_length_that_is_none_is_refused(random_dim):
    with pytest.raises(tlkit.UserError, match="RandomizedMultilinearMap: `random_dim`.*random_dim="):
        RandomizedMultilinearMap(random_dim)


def test_entropy_weights_by_hand():
    """w = 1 + exp(-H). H of a sure row is 0, of (1/2, 1/2) log 2, of (1/4, 1/2, 1/4) 1.5 log 2."""
    weights = entropy_weights(tf.constant(PROBABILITIES))
    np.testing.assert_allclose(weights, [2.0, 1 + 2**-1.5, 1.5], rtol=1e-12)


def test_entropy_conditioning_sets_the_weights_beside_the_logits_and_stops_their_gradient():
    logits, probabilities = tf.Variable([[0.5], [-1.0]]), tf.Variable([[1.0, 0.0], [0.5, 0.5]])
    with tf.GradientTape() as tape:
        output = EntropyConditioning()([logits, probabilities])
        loss = tf.reduce_sum(output)
    np.testing.assert_allclose(output, [[0.5, 2.0], [-1.0, 1.5]], rtol=1e-6)
    by_logits, by_probabilities = tape.gradient(loss, [logits, probabilities])
    np.testing.assert_array_equal(by_logits, [[1.0], [1.0]])
    assert by_probabilities is None


def test_the_gradient_of_entropy_weights_is_finite_where_a_class_has_nothing():
    probabilities = tf.Variable([[1.0, 0.0]])
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(entropy_weights(probabilities))
    assert np.isfinite(tape.gradient(loss, probabilities)).all()
