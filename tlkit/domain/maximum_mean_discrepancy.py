"""Maximum mean discrepancy: how far two sets of features are apart, as DAN aligns them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import ops

from tlkit.domain.domains import as_rows, for_each_row, masks, stacked
from tlkit.errors import UserError

# DAN's five kernels: powers of 2 around the mean distance (`kernel_mul=2.0, kernel_num=5` in the authors' code,
# https://github.com/thuml/Xlearn/blob/master/pytorch/src/loss.py).
BANDWIDTHS = (0.25, 0.5, 1.0, 2.0, 4.0)
KERNELS = ("gaussian", "linear")
ESTIMATORS = ("biased", "unbiased", "linear_time")


def maximum_mean_discrepancy(
    source: Any,
    target: Any,
    *,
    kernel: str = "gaussian",
    bandwidths: Sequence[float] = BANDWIDTHS,
    estimator: str = "unbiased",
) -> Any:
    """The squared maximum mean discrepancy between the features of two domains.

    It is 0 where both domains' features are distributed alike. `MaximumMeanDiscrepancy` is this as a loss.

        biased:       MMD^2 = mean k(s, s') + mean k(t, t') - 2 mean k(s, t), over all pairs
        unbiased:     the same without the pairs of a row with itself: 1 / (n (n - 1)) in place of 1 / n^2
        linear_time:  MMD^2 = mean over i of k(s_2i-1, s_2i) + k(t_2i-1, t_2i) - k(s_2i-1, t_2i) - k(s_2i, t_2i-1)
        gaussian:     k(x, y) = sum over b of exp(-|x - y|^2 / (b * m))
        linear:       k(x, y) = x . y, which makes the biased form |mean(s) - mean(t)|^2
        s, t = source and target rows; n = rows of a domain; b = bandwidths; m = mean of |x - y|^2 over all pairs of
        different rows of both domains, through which no gradient goes

    Args:
        source: Float array of shape `(n_source, features)`.
        target: Float array of shape `(n_target, features)`.
        kernel: "gaussian" or "linear". The Gaussian kernel sees every difference between the distributions, the linear
            one that of their means.
        bandwidths: Floats above 0, in multiples of `m`, one Gaussian kernel each; their values are added up, as in the
            authors' code. Defaults to `(0.25, 0.5, 1, 2, 4)`, the authors' own.
        estimator: "unbiased": right on average, so it may be below 0. "biased": never below 0, and 0 between a set and
            itself. "linear_time": right on average, at a cost that grows with the rows and not with their square; rows
            of each domain are paired in their order, so shuffle them. Its variance is higher. Defaults to
            `"unbiased"`, as in the authors' code.

    Returns:
        Scalar tensor, float32 or, for float64 rows, float64. 0 where a domain has no rows (for the second and third
        estimator: fewer than two).

    Raises:
        UserError: When an argument is out of its range or the arrays hold no rows of features.

    Example:
        >>> source, target = np.array([[0.0], [1.0], [2.0]]), np.array([[4.0], [5.0], [6.0]])
        >>> value = maximum_mean_discrepancy(source, target, kernel="linear", estimator="biased")
        >>> round(float(value), 6)  # the means are 1 and 5
        16.0
        >>> round(float(maximum_mean_discrepancy(source, target)), 2)
        4.69

    Reference: Gretton et al., 2012, "A Kernel Two-Sample Test", JMLR 13,
        https://jmlr.org/papers/v13/gretton12a.html, equation 5 (biased, here squared), equation 3 (unbiased) and
        section 6 (linear time). Long et al., 2015, "Learning Transferable Features with Deep Adaptation Networks",
        ICML, https://arxiv.org/abs/1502.02791, equation 1 and the estimator g_k(z_i) of section 3.2. Differs from it
        in: the kernels' weights are 1, as in the authors' code, and not learned (equation 8).
    """
    _check("maximum_mean_discrepancy", kernel, bandwidths, estimator)
    return _discrepancy(*stacked("maximum_mean_discrepancy", source, target), kernel, bandwidths, estimator)


@keras.saving.register_keras_serializable("tlkit")
class MaximumMeanDiscrepancy(keras.losses.Loss):
    """The maximum mean discrepancy between the source and the target rows of a batch, as DAN minimises it.

    The loss of the "domain" output of `build_dan`: called with the domains and the features. There is no discriminator
    to keep in balance; the batch must be large enough to stand for its domain (32 rows of each, better 64).

        loss = MMD^2(source rows, target rows), with the kernels and estimators of `maximum_mean_discrepancy`

    Args:
        kernel: "gaussian" or "linear", as there.
        bandwidths: Floats above 0, as there.
        estimator: "unbiased", "biased" or "linear_time", as there. Defaults to `"unbiased"`, as in the authors' code;
            the paper itself has "linear_time". The biased form keeps rows of one domain apart less than it draws the
            domains together, by 1 / n: with a large weight and small batches all features fall into one point.
        reduction: As in every Keras loss.
        name: As in every Keras loss.
        dtype: As in every Keras loss.

    Call arguments:
        y_true: The domains, `(batch, 1)` or `(batch,)`: 0 for source rows, 1 for target rows, in any order.
        y_pred: The features, `(batch, features)`, float.

    Raises:
        UserError: When an argument is out of its range.

    Example:
        >>> domain, features = np.array([[0.0], [1.0], [0.0], [1.0]]), np.array([[1.0], [3.0], [2.0], [4.0]])
        >>> float(MaximumMeanDiscrepancy(kernel="linear")(domain, features))  # 1 * 2 + 3 * 4 - 2 * 1.5 * 3.5
        3.5

    Notes:
        It computes in float32 in mixed precision, too: kernels overflow in float16. Under `tf.distribute` it is the
        mean of what it is for the rows of each replica, which is not the value for the whole batch: give each replica
        enough rows. A batch of one domain, such as validation data, costs 0.

    Reference: Long et al., 2015, "Learning Transferable Features with Deep Adaptation Networks", ICML,
        https://arxiv.org/abs/1502.02791, equations 1 and 4. Differs from it in: one layer is aligned, not three, and
        the kernels' weights are not learned.
    """

    def __init__(
        self,
        kernel: str = "gaussian",
        *,
        bandwidths: Sequence[float] = BANDWIDTHS,
        estimator: str = "unbiased",
        reduction: str = "sum_over_batch_size",
        name: str = "maximum_mean_discrepancy",
        dtype: Any = None,
    ):
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        _check("MaximumMeanDiscrepancy", kernel, bandwidths, estimator)
        self.kernel = kernel
        self.bandwidths = tuple(float(bandwidth) for bandwidth in bandwidths)
        self.estimator = estimator

    def call(self, y_true: Any, y_pred: Any) -> Any:
        features = as_rows("MaximumMeanDiscrepancy", y_pred)
        return for_each_row(_discrepancy(features, y_true, self.kernel, self.bandwidths, self.estimator), features)

    def get_config(self) -> dict[str, Any]:
        settings = {"kernel": self.kernel, "bandwidths": list(self.bandwidths), "estimator": self.estimator}
        return {**super().get_config(), **settings}


def _discrepancy(features: Any, domain: Any, kernel: str, bandwidths: Sequence[float], estimator: str) -> Any:
    is_source, is_target = masks(domain, features.dtype)
    # Only differences of rows count. Around 0 they keep more digits.
    centered = features - ops.stop_gradient(ops.mean(features, axis=0))
    matrix, pairs = _kernel(centered, kernel, bandwidths)
    if estimator == "linear_time":
        return _linear_time(centered, is_source, is_target, pairs)
    num_source, num_target = ops.sum(is_source), ops.sum(is_target)
    gram = matrix(centered)
    if estimator == "biased":
        weights = is_source / ops.maximum(num_source, 1) - is_target / ops.maximum(num_target, 1)
        value = ops.sum(weights * ops.matmul(gram, weights))
    else:
        towards_source, towards_target = ops.matmul(gram, is_source), ops.matmul(gram, is_target)
        with_itself = ops.diagonal(gram)
        value = (
            _mean_of_pairs(is_source, towards_source - with_itself, num_source * (num_source - 1))
            + _mean_of_pairs(is_target, towards_target - with_itself, num_target * (num_target - 1))
            - 2 * _mean_of_pairs(is_source, towards_target, num_source * num_target)
        )
    fewest = 0 if estimator == "biased" else 1
    return value * ops.cast(ops.minimum(num_source, num_target) > fewest, value.dtype)


def _mean_of_pairs(mask: Any, sums: Any, count: Any) -> Any:
    return ops.sum(mask * sums) / ops.maximum(count, 1)


def _kernel(features: Any, kernel: str, bandwidths: Sequence[float]) -> tuple[Callable, Callable]:
    """The kernel between all rows of a matrix, and between the rows of two matrices one by one."""
    if kernel == "linear":
        return lambda rows: ops.matmul(rows, ops.transpose(rows)), lambda a, b: ops.sum(a * b, axis=1)
    # Over all pairs of n different rows, the mean of |x - y|^2 is 2 / (n - 1) times the sum of |x - mean|^2. The least
    # value keeps a batch of equal rows from a division by 0; their kernel is 1.
    last = ops.cast(ops.shape(features)[0] - 1, features.dtype)
    spread = 2 * ops.sum(ops.square(ops.stop_gradient(features))) / ops.maximum(last, 1)
    spread = ops.maximum(spread, 1e-12)

    def of_distance(squared: Any) -> Any:
        return sum(ops.exp(-squared / (bandwidth * spread)) for bandwidth in bandwidths)

    def matrix(rows: Any) -> Any:
        squares = ops.sum(ops.square(rows), axis=1)
        squared = squares[:, None] + squares[None, :] - 2 * ops.matmul(rows, ops.transpose(rows))
        return of_distance(ops.maximum(squared, 0))  # rounding can leave it below 0

    return matrix, lambda a, b: of_distance(ops.sum(ops.square(a - b), axis=1))


def _linear_time(features: Any, is_source: Any, is_target: Any, kernel: Callable) -> Any:
    """The mean of g_k over quadruples of two source and two target rows."""
    count = ops.shape(features)[0]
    # Source rows first, each domain in its own order. All shapes depend on the batch's size alone, as XLA needs it.
    order = ops.argsort(is_target * ops.cast(count, features.dtype) + ops.cumsum(ops.ones_like(is_target)))
    num_source = ops.cast(ops.sum(is_source), "int32")
    first = 2 * ops.arange(count // 4, dtype="int32")
    is_whole = ops.logical_and(first + 1 < num_source, num_source + first + 1 < count)

    def rows(position: Any) -> Any:
        return ops.take(features, ops.take(order, ops.minimum(position, count - 1)), axis=0)

    s_1, s_2, t_1, t_2 = rows(first), rows(first + 1), rows(num_source + first), rows(num_source + first + 1)
    g = kernel(s_1, s_2) + kernel(t_1, t_2) - kernel(s_1, t_2) - kernel(s_2, t_1)
    is_whole = ops.cast(is_whole, g.dtype)
    return ops.sum(is_whole * g) / ops.maximum(ops.sum(is_whole), 1)


def _check(name: str, kernel: str, bandwidths: Sequence[float], estimator: str) -> None:
    for argument, value, known in (("kernel", kernel, KERNELS), ("estimator", estimator, ESTIMATORS)):
        if value not in known:
            raise UserError(
                f"{name}: there is no {argument} {value!r}. Expected one of {', '.join(map(repr, known))}. "
                f"Received: {argument}={value!r}."
            )
    if not bandwidths or not all(0 < bandwidth < float("inf") for bandwidth in bandwidths):
        raise UserError(
            f"{name}: `bandwidths` are multiples of the mean squared distance. Expected numbers above 0, at least one. "
            f"Received: bandwidths={bandwidths!r}. Type `bandwidths={BANDWIDTHS}`."
        )
