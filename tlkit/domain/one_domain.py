"""A labelled data set in the form that a model for two domains is evaluated on."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from tlkit.domain.domains import SOURCE_DOMAIN, TARGET_DOMAIN
from tlkit.domain.rows import in_words, labelled_rows
from tlkit.errors import UserError


def one_domain(dataset: tf.data.Dataset, domain: int = SOURCE_DOMAIN) -> tf.data.Dataset:
    """Give labelled batches of one domain the two targets of a model with the outputs "label" and "domain".

    For `validation_data` and `evaluate`. The domain's loss on one domain alone says nothing (a discriminator that calls
    everything "source" has a loss of 0), so its weight is 0: `val_loss` is the loss of the label alone.

        y              = {"label": y, "domain": (n, 1)}
        sample_weight  = {"label": ones, or those of the data set, "domain": zeros}
        n = rows of the batch

    Args:
        dataset: Batches `(x, y)` or `(x, y, sample_weight)`.
        domain: `SOURCE_DOMAIN` or `TARGET_DOMAIN`. Defaults to the source, whose labels may be used to choose an epoch.

    Returns:
        A `tf.data.Dataset` of as many batches.

    Raises:
        UserError: When the data set has no labels or is not batched, or the domain is none of the two.

    Example:
        >>> x, y, weights = next(iter(one_domain(train)))
        >>> y["label"].numpy().tolist(), y["domain"].shape, weights["label"].numpy().tolist()
        ([0, 1, 0, 1], TensorShape([4, 1]), [1.0, 1.0, 1.0, 1.0])

    Notes:
        `val_domain_loss` is then 0. What the discriminator makes of both domains `DiscriminatorWatch` shows; for its
        loss on rows that are not trained on, take `pair_domains` of validation rows as `validation_data`.
    """
    if domain not in (SOURCE_DOMAIN, TARGET_DOMAIN):
        raise UserError(
            f"one_domain: `domain` is unknown. Expected SOURCE_DOMAIN ({SOURCE_DOMAIN}) or TARGET_DOMAIN "
            f"({TARGET_DOMAIN}). Received: domain={domain!r}."
        )
    _, is_batched = labelled_rows("one_domain", "dataset", dataset)
    if not is_batched:
        raise UserError(
            f"one_domain: `dataset` is not batched. Expected batches, as `fit` takes them. Received: "
            f"{in_words(dataset.element_spec)}. Type `dataset.batch(32)`."
        )

    def with_domain(x: Any, y: tf.Tensor, weights: tf.Tensor | None = None) -> Any:
        zeros = tf.zeros(tf.shape(y)[:1])
        zeros = tf.ensure_shape(zeros, y.shape[:1])
        label_weights = zeros + 1 if weights is None else weights
        return x, {"label": y, "domain": zeros[:, None] + domain}, {"label": label_weights, "domain": zeros}

    return dataset.map(with_domain, num_parallel_calls=tf.data.AUTOTUNE)
