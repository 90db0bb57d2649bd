"""The losses of domain adaptation: numbers worked out by hand, other implementations, finite differences."""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf
from sklearn.metrics.pairwise import rbf_kernel

import tlkit
from tlkit.domain import (
    CorrelationAlignment,
    DomainLoss,
    MaximumMeanDiscrepancy,
    MinimumClassConfusion,
    correlation_alignment,
    maximum_mean_discrepancy,
    minimum_class_confusion,
)

SOURCE, TARGET = np.array([[0.0], [1.0], [2.0]]), np.array([[4.0], [5.0], [6.0]])
# |x - y|^2 of the 15 pairs of different rows: 1, 4, 1 in each domain, and these between them. Their mean is
# (6 + 6 + 156) / 15 = 11.2.
BETWEEN = [16, 25, 36, 9, 16, 25, 4, 9, 16]
MEAN = 11.2


def random_rows(rows=6, features=3, shift=0.0, seed=0):
    return np.random.default_rng(seed).normal(size=(rows, features)) + shift


def mixed(source, target):
    """Both domains in one batch: rows of either in their order, the domains shuffled."""
    domain = np.random.default_rng(1).permutation([0.0] * len(source) + [1.0] * len(target))
    rows = np.empty((len(domain), source.shape[1]))
    rows[domain == 0], rows[domain == 1] = source, target
    return domain, rows


def gradient(function, *arrays):
    variables = [tf.Variable(array) for array in arrays]
    with tf.GradientTape() as tape:
        value = function(*variables)
    return [tf.convert_to_tensor(g).numpy() for g in tape.gradient(value, variables)]


def difference(function, x, step=1e-6):
    """The gradient of a NumPy function of one array, by finite differences."""
    result = np.empty_like(x)
    for index in np.ndindex(x.shape):
        bump = np.zeros_like(x)
        bump[index] = step
        result[index] = (function(x + bump) - function(x - bump)) / (2 * step)
    return result


# The discriminator's loss -------------------------------------------------------------------------


def test_equation_l_d_of_section_4_1():
    """Probabilities of "target" 1/4, 1/2, 3/4 for rows of the domains 0, 1, 1."""
    logits = np.array([[-math.log(3)], [0.0], [math.log(3)]])
    losses = DomainLoss(reduction=None)(np.array([[0.0], [1.0], [1.0]]), logits)
    np.testing.assert_allclose(losses, [math.log(4 / 3), math.log(2), math.log(4 / 3)], rtol=1e-6)
    mean = DomainLoss()(np.array([0.0, 1.0, 1.0]), logits)
    np.testing.assert_allclose(mean, (2 * math.log(4 / 3) + math.log(2)) / 3, rtol=1e-6)


def test_weights_have_a_mean_of_1_in_each_domain():
    """Source weights 2 and 1 become 4/3 and 2/3; the one target row counts 1 whatever its weight."""
    outputs = np.array([[0.0, 2.0], [0.0, 1.0], [math.log(3), 1.5]])
    losses = DomainLoss(reduction=None)(np.array([[0.0], [0.0], [1.0]]), outputs)
    expected = [4 / 3 * math.log(2), 2 / 3 * math.log(2), math.log(4 / 3)]
    np.testing.assert_allclose(losses, expected, rtol=1e-6)


def test_weights_as_the_authors_normalise_them():
    """thuml/CDAN pytorch/loss.py: weights of each domain divided by their sum, the whole by the sum of all."""
    random = np.random.default_rng(0)
    logits, weights, domain = random.normal(size=8), random.uniform(1, 2, size=8), np.array([0.0] * 4 + [1.0] * 4)
    losses = np.log1p(np.exp(logits)) - domain * logits
    normalised = np.where(domain == 0, weights / weights[:4].sum(), weights / weights[4:].sum())
    expected = np.sum(normalised * losses) / normalised.sum()
    actual = DomainLoss()(domain[:, None], np.stack([logits, weights], axis=1))
    np.testing.assert_allclose(actual, expected, rtol=1e-6)


def test_domain_loss_gradient_is_the_finite_difference():
    domain, logits = np.array([0.0, 1.0, 1.0]), np.array([[0.3, 1.2], [-1.0, 1.9], [2.0, 1.5]])

    def loss(logits):
        losses = np.log1p(np.exp(logits[:, 0])) - domain * logits[:, 0]
        return np.mean(losses * logits[:, 1] / np.array([1.2, 1.7, 1.7]))

    (actual,) = gradient(lambda z: DomainLoss(dtype="float64")(domain, z), logits)
    np.testing.assert_allclose(actual[:, 0], difference(loss, logits)[:, 0], atol=1e-8)


def test_domain_loss_of_one_domain_is_the_ordinary_mean():
    value = DomainLoss()(np.zeros((2, 1)), np.array([[0.0, 1.5], [0.0, 1.5]]))
    np.testing.assert_allclose(value, math.log(2), rtol=1e-6)


def test_domain_loss_wants_a_logit():
    with pytest.raises(tlkit.UserError, match="DomainLoss: the output has 8 columns.*MaximumMeanDiscrepancy"):
        DomainLoss()(np.zeros((2, 1)), np.zeros((2, 8)))


# Maximum mean discrepancy -------------------------------------------------------------------------


def test_gretton_equation_5_with_the_linear_kernel():
    """Means 1 and 5: (1 - 5)^2."""
    value = maximum_mean_discrepancy(SOURCE, TARGET, kernel="linear", estimator="biased")
    np.testing.assert_allclose(value, 16.0, rtol=1e-12)


def test_gretton_equation_5_with_two_gaussian_kernels():
    """9 pairs in each domain, three of a row with itself, and 9 between the domains."""
    expected = 0.0
    for bandwidth in (0.5, 2.0):
        near, far = math.exp(-1 / (bandwidth * MEAN)), math.exp(-4 / (bandwidth * MEAN))
        within = (3 * 1 + 4 * near + 2 * far) / 9
        between = sum(math.exp(-d / (bandwidth * MEAN)) for d in BETWEEN) / 9
        expected += 2 * within - 2 * between
    value = maximum_mean_discrepancy(SOURCE, TARGET, bandwidths=(0.5, 2.0), estimator="biased")
    np.testing.assert_allclose(value, expected, rtol=1e-12)


def test_gretton_equation_3_without_pairs_of_a_row_with_itself():
    near, far = math.exp(-1 / MEAN), math.exp(-4 / MEAN)
    expected = 2 * (4 * near + 2 * far) / 6 - 2 * sum(math.exp(-d / MEAN) for d in BETWEEN) / 9
    value = maximum_mean_discrepancy(SOURCE, TARGET, bandwidths=[1.0], estimator="unbiased")
    np.testing.assert_allclose(value, expected, rtol=1e-12)
    # x . y: in each domain 2 (0 + 0 + 2) / 6 and 2 (20 + 24 + 30) / 6; between them 1 * 5.
    linear = maximum_mean_discrepancy(SOURCE, TARGET, kernel="linear", estimator="unbiased")
    np.testing.assert_allclose(linear, 4 / 6 + 148 / 6 - 2 * 5, rtol=1e-12)


def test_dan_section_3_2_quadruples():
    """The first two rows of each domain make one quadruple, the third have no partner."""
    expected = 2 * math.exp(-1 / MEAN) - math.exp(-25 / MEAN) - math.exp(-9 / MEAN)
    value = maximum_mean_discrepancy(SOURCE, TARGET, bandwidths=[1.0], estimator="linear_time")
    np.testing.assert_allclose(value, expected, rtol=1e-12)
    # x . y: 0 * 1 + 4 * 5 - 0 * 5 - 1 * 4.
    linear = maximum_mean_discrepancy(SOURCE, TARGET, kernel="linear", estimator="linear_time")
    np.testing.assert_allclose(linear, 16.0, rtol=1e-12)


def test_dan_section_3_2_is_the_mean_over_the_quadruples():
    source, target = random_rows(8), random_rows(8, shift=1.0, seed=1)
    rows = np.concatenate([source, target])
    spread = np.mean([np.sum((a - b) ** 2) for i, a in enumerate(rows) for j, b in enumerate(rows) if i != j])

    def k(x, y):
        return sum(np.exp(-np.sum((x - y) ** 2) / (b * spread)) for b in (0.25, 0.5, 1, 2, 4))

    g = [
        k(source[i], source[i + 1])
        + k(target[i], target[i + 1])
        - k(source[i], target[i + 1])
        - k(source[i + 1], target[i])
        for i in (0, 2, 4, 6)
    ]
    value = maximum_mean_discrepancy(source, target, estimator="linear_time")
    np.testing.assert_allclose(value, np.mean(g), rtol=1e-10)


@pytest.mark.parametrize("estimator", ["biased", "unbiased"])
def test_five_kernels_as_in_the_authors_code_and_scikit_learn(estimator):
    """thuml/Xlearn pytorch/src/loss.py: bandwidths 2^-2 ... 2^2 times the mean squared distance, values added up."""
    source, target = random_rows(7), random_rows(5, shift=0.5, seed=1)
    rows = np.concatenate([source, target])
    squared = np.sum((rows[:, None] - rows[None]) ** 2, axis=2)
    mean = squared.sum() / (12**2 - 12)
    kernel = sum(rbf_kernel(rows, gamma=1 / (mean * factor)) for factor in (0.25, 0.5, 1, 2, 4))
    if estimator == "unbiased":
        kernel_within = kernel - np.diag(np.diag(kernel))
        pairs = 7 * 6, 5 * 4
    else:
        kernel_within, pairs = kernel, (49, 25)
    expected = kernel_within[:7, :7].sum() / pairs[0] + kernel_within[7:, 7:].sum() / pairs[1]
    expected -= 2 * kernel[:7, 7:].mean()
    np.testing.assert_allclose(maximum_mean_discrepancy(source, target, estimator=estimator), expected, rtol=1e-10)


@pytest.mark.parametrize("kernel", ["gaussian", "linear"])
def test_biased_discrepancy_of_a_set_and_itself_is_0(kernel):
    rows = random_rows(32, 16, shift=50.0)
    for dtype, tolerance in {"float64": 1e-12, "float32": 1e-5}.items():
        value = maximum_mean_discrepancy(
            rows.astype(dtype), rows[::-1].astype(dtype), kernel=kernel, estimator="biased"
        )
        np.testing.assert_allclose(value, 0.0, atol=tolerance)


@pytest.mark.parametrize("kernel", ["gaussian", "linear"])
@pytest.mark.parametrize("estimator", ["unbiased", "linear_time"])
def test_unbiased_estimators_are_right_on_average(estimator, kernel):
    """500 batches of the same distribution: 0, where the biased estimator stays above."""
    random = np.random.default_rng(0)
    batches = random.normal(size=(500, 2, 4, 1))
    function = tf.function(lambda s, t, **options: maximum_mean_discrepancy(s, t, kernel=kernel, **options))
    values = [float(function(s, t, estimator=estimator)) for s, t in batches]
    assert abs(np.mean(values)) < 4 * np.std(values) / math.sqrt(500)
    assert np.mean([float(function(s, t, estimator="biased")) for s, t in batches[:100]]) > 0.1


@pytest.mark.parametrize("estimator", ["biased", "unbiased", "linear_time"])
def test_discrepancy_gradient_is_the_finite_difference_at_a_fixed_bandwidth(estimator):
    source, target = random_rows(4), random_rows(4, shift=0.5, seed=1)
    rows = np.concatenate([source, target])
    squared = np.sum((rows[:, None] - rows[None]) ** 2, axis=2)
    bandwidth = squared.sum() / (8 * 7)  # no gradient goes through it

    def discrepancy(source):
        k = rbf_kernel(np.concatenate([source, target]), gamma=1 / bandwidth)
        s, t, both = k[:4, :4], k[4:, 4:], k[:4, 4:]
        if estimator == "biased":
            return s.mean() + t.mean() - 2 * both.mean()
        if estimator == "unbiased":
            return (s.sum() - 4) / 12 + (t.sum() - 4) / 12 - 2 * both.mean()
        return (s[0, 1] + s[2, 3] + t[0, 1] + t[2, 3] - both[0, 1] - both[1, 0] - both[2, 3] - both[3, 2]) / 2

    actual, _ = gradient(
        lambda s, t: maximum_mean_discrepancy(s, t, bandwidths=[1.0], estimator=estimator), source, target
    )
    np.testing.assert_allclose(actual, difference(discrepancy, source), atol=1e-8)


@pytest.mark.parametrize(
    "argument, value",
    [("kernel", "cubic"), ("estimator", "exact"), ("bandwidths", ()), ("bandwidths", (1.0, -1.0))],
)
def test_an_unknown_choice_is_refused(argument, value):
    with pytest.raises(tlkit.UserError, match=f"MaximumMeanDiscrepancy: .*Received: {argument}="):
        MaximumMeanDiscrepancy(**{argument: value})
    with pytest.raises(tlkit.UserError, match=f"maximum_mean_discrepancy: .*Received: {argument}="):
        maximum_mean_discrepancy(SOURCE, TARGET, **{argument: value})


# Deep CORAL ---------------------------------------------------------------------------------------

PLANE_S, PLANE_T = np.array([[0.0, 0.0], [2.0, 0.0], [1.0, 3.0]]), np.array([[0.0, 1.0], [2.0, 1.0], [4.0, 1.0]])


def test_equations_1_to_3_of_deep_coral():
    """C_S = ((1, 0), (0, 3)), C_T = ((4, 0), (0, 0)): (9 + 9) / (4 * 2^2)."""
    np.testing.assert_allclose(correlation_alignment(PLANE_S, PLANE_T), 18 / 16, rtol=1e-12)


def test_equations_1_to_3_with_numpy():
    source, target = random_rows(7, 4), random_rows(5, 4, seed=1) * [1.0, 2.0, 0.5, 3.0]
    expected = np.sum((np.cov(source.T) - np.cov(target.T)) ** 2) / (4 * 4**2)
    np.testing.assert_allclose(correlation_alignment(source, target), expected, rtol=1e-12)


def test_equations_4_and_5_of_deep_coral():
    """The paper's own gradients: D centred times (C_S - C_T) / (d^2 (n - 1)), with the other sign for the target."""
    difference_of_covariances = np.array([[-3.0, 0.0], [0.0, 3.0]])
    by_source, by_target = gradient(correlation_alignment, PLANE_S, PLANE_T)
    centred_s, centred_t = PLANE_S - [1.0, 1.0], PLANE_T - [2.0, 1.0]
    np.testing.assert_allclose(by_source, centred_s @ difference_of_covariances / (4 * 2), rtol=1e-12)
    np.testing.assert_allclose(by_target, -centred_t @ difference_of_covariances / (4 * 2), rtol=1e-12)


def test_coral_gradient_is_the_finite_difference():
    source, target = random_rows(5), 2 * random_rows(4, seed=1)

    def distance(source):
        return np.sum((np.cov(source.T) - np.cov(target.T)) ** 2) / 36

    by_source, _ = gradient(correlation_alignment, source, target)
    np.testing.assert_allclose(by_source, difference(distance, source), atol=1e-7)


# Minimum class confusion --------------------------------------------------------------------------


def test_minimum_class_confusion_by_hand():
    """P = (1, 0), (1/2, 1/2), (0, 1): H = 0, log 2, 0, so the weights are as 2 : 1.5 : 2.

    M = ((2 + 3/8, 3/8), (3/8, 2 + 3/8)) up to a factor, N has 3/22 off its diagonal, MCC = (2 * 3/22) / 2.
    """
    logits = np.array([[200.0, 0.0], [0.0, 0.0], [0.0, 200.0]])
    np.testing.assert_allclose(minimum_class_confusion(logits, temperature=1.0), 3 / 22, rtol=1e-9)


def test_the_temperature_divides_the_logits():
    """At T = 2, logits 2 log p are log p: P = (3/4, 1/4) in one row. M is its outer product, N has p in each row."""
    logits = 2 * np.log([[0.75, 0.25]])
    # trace N = 3/4 + 1/4, so MCC = (2 - 1) / 2.
    np.testing.assert_allclose(minimum_class_confusion(logits, temperature=2.0), 0.5, rtol=1e-12)


def confusion(logits, weights=None, temperature=2.5):
    """As in the authors' code, thuml/Versatile-Domain-Adaptation, step by step."""
    p = np.exp(logits / temperature)
    p /= p.sum(axis=1, keepdims=True)
    if weights is None:
        weights = 1 + np.exp(np.sum(p * np.log(p), axis=1))
        weights = len(p) * weights / weights.sum()
    matrix = (p * weights[:, None]).T @ p
    matrix = matrix / matrix.sum(axis=1)
    return (matrix.sum() - np.trace(matrix)) / p.shape[1], weights


def test_minimum_class_confusion_as_in_the_authors_code():
    logits = random_rows(9, 5) * 4
    np.testing.assert_allclose(minimum_class_confusion(logits), confusion(logits)[0], rtol=1e-12)


def test_confusion_gradient_is_the_finite_difference_at_fixed_weights():
    logits = random_rows(4, 3) * 3
    _, weights = confusion(logits)
    (actual,) = gradient(minimum_class_confusion, logits)
    np.testing.assert_allclose(actual, difference(lambda z: confusion(z, weights)[0], logits), atol=1e-8)


def test_confusion_is_finite_where_a_class_has_nothing():
    logits = np.array([[0.0, -4000.0], [1.0, -4000.0]], "float32")
    (by_logits,) = gradient(minimum_class_confusion, logits)
    assert np.isfinite(by_logits).all()
    assert np.isfinite(minimum_class_confusion(logits))


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan")])
def test_a_temperature_of_0_is_refused(temperature):
    with pytest.raises(tlkit.UserError, match="MinimumClassConfusion: `temperature`.*Received: temperature="):
        MinimumClassConfusion(temperature)
    with pytest.raises(tlkit.UserError, match="minimum_class_confusion: `temperature`"):
        minimum_class_confusion(np.zeros((2, 2)), temperature=temperature)


# What they have in common -------------------------------------------------------------------------

ALIGNMENTS = {
    "unbiased": (MaximumMeanDiscrepancy(), maximum_mean_discrepancy),
    "biased": (
        MaximumMeanDiscrepancy(estimator="biased"),
        lambda s, t: maximum_mean_discrepancy(s, t, estimator="biased"),
    ),
    "linear_time": (
        MaximumMeanDiscrepancy(estimator="linear_time"),
        lambda s, t: maximum_mean_discrepancy(s, t, estimator="linear_time"),
    ),
    "linear": (MaximumMeanDiscrepancy("linear"), lambda s, t: maximum_mean_discrepancy(s, t, kernel="linear")),
    "coral": (CorrelationAlignment(), correlation_alignment),
    "mcc": (MinimumClassConfusion(), lambda _, target: minimum_class_confusion(target)),
}


@pytest.fixture(params=ALIGNMENTS)
def alignment(request):
    return ALIGNMENTS[request.param]


@pytest.mark.parametrize("sizes", [(6, 6), (9, 4), (3, 8)])
def test_a_loss_reads_the_domains_and_not_the_order(alignment, sizes):
    loss, function = alignment
    source, target = random_rows(sizes[0]), random_rows(sizes[1], shift=1.0, seed=1)
    domain, rows = mixed(source, target)
    np.testing.assert_allclose(loss(domain[:, None], rows), function(source, target), rtol=2e-5)
    np.testing.assert_allclose(loss(domain, rows), loss(domain[:, None], rows))


def test_a_batch_of_one_domain_costs_0_and_teaches_nothing(alignment):
    loss, _ = alignment
    rows = random_rows(5)
    # Class confusion is a matter of the target alone.
    for domain in (0.0,) if loss.name == "minimum_class_confusion" else (0.0, 1.0):
        domains = np.full((5, 1), domain)
        assert float(loss(domains, rows)) == 0.0
        (by_rows,) = gradient(lambda x, domains=domains: loss(domains, x), rows)
        np.testing.assert_array_equal(by_rows, np.zeros_like(rows))


def test_equal_rows_give_finite_numbers(alignment):
    loss, _ = alignment
    rows, domain = np.zeros((6, 3), "float32"), np.array([0.0, 1.0] * 3)
    (by_rows,) = gradient(lambda x: loss(domain, x), rows)
    assert np.isfinite(by_rows).all()
    assert np.isfinite(float(loss(domain, rows)))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_features_are_computed_in_float32(alignment, dtype):
    """Distances of 300 are 90,000 squared: above what float16 holds, 65,504."""
    loss, _ = alignment
    domain, rows = mixed(random_rows(6), random_rows(6, seed=1))
    half = tf.cast(rows * 300, dtype)
    expected = loss(domain, tf.cast(half, tf.float32))
    assert np.isfinite(float(expected))
    np.testing.assert_array_equal(loss(domain, half), expected)
    (by_half,) = gradient(lambda x: loss(domain, x), half)
    assert by_half.dtype == half.dtype.as_numpy_dtype


def test_a_sample_weight_weighs_the_batch(alignment):
    loss, _ = alignment
    domain, rows = mixed(random_rows(6), random_rows(6, seed=1))
    np.testing.assert_allclose(loss(domain, rows, sample_weight=np.full(12, 0.5)), 0.5 * loss(domain, rows), rtol=1e-6)


def test_maps_are_refused(alignment):
    loss, _ = alignment
    with pytest.raises(tlkit.UserError, match=f"{type(loss).__name__}: these are no rows of features.*Pool"):
        loss(np.zeros(2), np.zeros((2, 4, 4, 8)))


def test_functions_take_tensors_and_graphs_of_unknown_batch_size(alignment):
    loss, _ = alignment
    domain, rows = mixed(random_rows(7), random_rows(5, seed=1))
    specs = [tf.TensorSpec((None,), tf.float64), tf.TensorSpec((None, 3), tf.float64)]
    np.testing.assert_allclose(tf.function(loss, input_signature=specs)(domain, rows), loss(domain, rows), rtol=1e-6)


def test_keras_finds_them_by_name_after_registration():
    for loss, _ in ALIGNMENTS.values():
        again = keras.losses.deserialize(keras.losses.serialize(loss))
        assert again.get_config() == loss.get_config()
