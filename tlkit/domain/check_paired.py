"""A look at the first batches of a data set of two domains."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf

from tlkit.domain.domains import SOURCE_DOMAIN, TARGET_DOMAIN
from tlkit.domain.rows import in_words
from tlkit.errors import UserError

_BATCHES = 2  # an order that is wrong is wrong in the first batch; the second shows one that shifts


def check_paired(dataset: tf.data.Dataset, num_replicas: int = 1) -> None:
    """Make sure that every device gets rows of both domains, and that no label of a target row counts.

    A strategy cuts a batch into as many runs of rows as there are devices: of a batch that holds first the source, then
    the target, one device sees only the one and another only the other, and nothing is adapted. What `pair_domains`
    makes is right; this is for pipelines of your own.

    Args:
        dataset: Batches `(x, {"label", "domain"}, {"label", "domain"})`; the first two are read.
        num_replicas: Int, at least 1: `strategy.num_replicas_in_sync`. Defaults to `1`.

    Raises:
        UserError: Saying which device of which batch lacks what.

    Example:
        >>> x, y = np.zeros((4, 3)), {"label": np.zeros(4), "domain": np.array([[0.0], [0.0], [1.0], [1.0]])}
        >>> weights = {"label": np.array([2.0, 2.0, 0.0, 0.0]), "domain": np.ones(4)}
        >>> stacked = tf.data.Dataset.from_tensors((x, y, weights))
        >>> check_paired(stacked)
        >>> check_paired(stacked, num_replicas=2)
        Traceback (most recent call last):
        ...
        tlkit.errors.UserError: check_paired: device 1 of 2 gets no target row of batch 1. Expected rows of both domains
        on every device. Received: rows 0 to 1, all of the source. Interleave them, as `pair_domains` does.
    """
    spec = dataset.element_spec
    keys = [set(part) if isinstance(part, dict) else None for part in spec[1:]] if isinstance(spec, tuple) else []
    if keys != [{"label", "domain"}] * 2:
        raise UserError(
            f"check_paired: the elements are no pairs of domains. Expected (x, y, sample_weight) with y and "
            f"sample_weight dicts of 'label' and 'domain'. Received: {in_words(spec)}. Make them with `pair_domains`."
        )
    for number, (_, y, weights) in enumerate(dataset.take(_BATCHES), 1):
        domain = keras.ops.convert_to_numpy(y["domain"]).reshape(-1)
        _check_shares(domain, num_replicas, number)
        counted = np.flatnonzero((domain == TARGET_DOMAIN) & (keras.ops.convert_to_numpy(weights["label"]) != 0))
        if counted.size:
            raise UserError(
                f"check_paired: the label of row {counted[0]} of batch {number} counts, though it is a target row, "
                f"whose label is not known. Expected the weight 0. Received: "
                f"{float(weights['label'][counted[0]]):g}. Make the weights as `pair_domains` does."
            )


def _check_shares(domain: np.ndarray, num_replicas: int, number: int) -> None:
    for device, rows in enumerate(np.array_split(np.arange(len(domain)), num_replicas), 1):
        for wanted, name, other in ((SOURCE_DOMAIN, "source", "target"), (TARGET_DOMAIN, "target", "source")):
            if (domain[rows] == wanted).any():
                continue
            received = f"rows {rows[0]} to {rows[-1]}, all of the {other}" if rows.size else "no row at all"
            raise UserError(
                f"check_paired: device {device} of {num_replicas} gets no {name} row of batch {number}. Expected rows "
                f"of both domains on every device. Received: {received}. Interleave them, as `pair_domains` does."
            )
