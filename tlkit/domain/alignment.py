"""Domain adaptation without an opponent, DAN, Deep CORAL and MCC, as ordinary Keras models."""

from __future__ import annotations

import keras
from keras import ops

from tlkit.domain.gradient_scaling import GradientScaling
from tlkit.domain.two_outputs import classify, encode, two_output_model


def build_dan(
    backbone: keras.layers.Layer,
    num_classes: int,
    *,
    head: keras.layers.Layer | None = None,
    alignment_scale: float = 1.0,
) -> keras.Model:
    """A model for DAN: features whose distributions in both domains are alike, by their maximum mean discrepancy.

    There is no discriminator, so there is nothing to lose its balance: the method to take where DANN will not settle.

        minimise  L_y + lambda * MMD^2(f of source rows, f of target rows),   label = head(f),  f = backbone(x)
        L_y = cross-entropy of the label on source rows; lambda = `loss_weights["domain"]` * alignment_scale;
        MMD^2 = `MaximumMeanDiscrepancy`, the loss of the output "domain", which is f

    Args:
        backbone: The encoder, as in `build_dann`.
        num_classes: Int, number of classes.
        head: Layer or model from features to class probabilities. None for one Dense layer with a softmax, "head".
        alignment_scale: Float, at least 0: the first scale of the `GradientScaling`, "scaling", between the features
            and their loss. `AdaptationRamp` sets it anew during training. Defaults to `1.0`.

    Returns:
        An uncompiled `keras.Model` with the outputs "label", `(batch, num_classes)`, probabilities, and "domain",
        `(batch, features)`, the features.

    Raises:
        UserError: When the backbone returns no vectors, or the head does not fit.

    Example:
        >>> from tlkit.domain import MaximumMeanDiscrepancy, build_dan
        >>> inputs = keras.Input((2,))
        >>> encoder = keras.Model(inputs, keras.layers.Dense(8, activation="relu")(inputs))
        >>> model = build_dan(encoder, num_classes=2)
        >>> model.compile("sgd", {"label": "sparse_categorical_crossentropy", "domain": MaximumMeanDiscrepancy()})
        >>> model.output["domain"].shape
        (None, 8)

    Notes:
        The loss is a statistic of the batch: under `tf.distribute` each replica aligns its own rows. In float32 and
        float16 alike, it is computed in float32.

    Reference: Long et al., 2015, "Learning Transferable Features with Deep Adaptation Networks", ICML,
        https://arxiv.org/abs/1502.02791, equation 4. Differs from it in: the features alone are aligned, not the
        layers after them as well.
    """
    return _align("dan", backbone, num_classes, head, alignment_scale)


def build_coral(
    backbone: keras.layers.Layer,
    num_classes: int,
    *,
    head: keras.layers.Layer | None = None,
    alignment_scale: float = 1.0,
) -> keras.Model:
    """A model for Deep CORAL: features with the same covariances in both domains.

    The simplest and cheapest method, with nothing to tune but one weight; a good first line after the source alone.

        minimise  L_y + lambda * CORAL(f of source rows, f of target rows),   label = head(f),  f = backbone(x)
        L_y = cross-entropy of the label on source rows; lambda = `loss_weights["domain"]` * alignment_scale;
        CORAL = `CorrelationAlignment`, the loss of the output "domain", which is f

    Args:
        backbone: The encoder, as in `build_dann`.
        num_classes: Int, number of classes.
        head: Layer or model from features to class probabilities. None for one Dense layer with a softmax, "head".
        alignment_scale: Float, at least 0, as in `build_dan`.

    Returns:
        An uncompiled `keras.Model` with the outputs "label", `(batch, num_classes)`, probabilities, and "domain",
        `(batch, features)`, the features.

    Raises:
        UserError: When the backbone returns no vectors, or the head does not fit.

    Example:
        >>> from tlkit.domain import CorrelationAlignment, build_coral
        >>> inputs = keras.Input((2,))
        >>> encoder = keras.Model(inputs, keras.layers.Dense(8, activation="relu")(inputs))
        >>> model = build_coral(encoder, num_classes=2)
        >>> model.compile(
        ...     "sgd",
        ...     {"label": "sparse_categorical_crossentropy", "domain": CorrelationAlignment()},
        ...     loss_weights={"label": 1.0, "domain": 10.0},
        ... )

    Notes:
        The paper chooses the weight so that both losses end at about the same value; a small loss of the domain is no
        sign of success. The loss is a statistic of the batch: under `tf.distribute` each replica aligns its own rows.

    Reference: Sun and Saenko, 2016, "Deep CORAL: Correlation Alignment for Deep Domain Adaptation", ECCV workshops,
        https://arxiv.org/abs/1607.01719, equations 1 to 3 and section 3.2. Differs from it in: it aligns the features;
        the paper's network has its last layer, the logits, aligned.
    """
    return _align("coral", backbone, num_classes, head, alignment_scale)


def build_mcc(
    backbone: keras.layers.Layer,
    num_classes: int,
    *,
    head: keras.layers.Layer | None = None,
    alignment_scale: float = 1.0,
) -> keras.Model:
    """A model for MCC: predictions on the target that do not waver between classes.

    It aligns no distributions, so it also serves where the target lacks some classes or has them in other shares. It
    trusts the classifier's first guesses: take it where training on the source alone is right more often than not.

        minimise  L_y + lambda * MCC(p of target rows),   label = p = head(f),  f = backbone(x)
        L_y = cross-entropy of the label on source rows; lambda = `loss_weights["domain"]` * alignment_scale;
        MCC = `MinimumClassConfusion`, the loss of the output "domain", which is log p

    Args:
        backbone: The encoder, as in `build_dann`.
        num_classes: Int, number of classes.
        head: Layer or model from features to class probabilities. None for one Dense layer with a softmax, "head".
        alignment_scale: Float, at least 0: the first scale of the `GradientScaling`, "scaling", between the predictions
            and their loss. `AdaptationRamp` sets it anew during training. Defaults to `1.0`.

    Returns:
        An uncompiled `keras.Model` with the outputs "label", `(batch, num_classes)`, probabilities, and "domain",
        `(batch, num_classes)`, their logarithms.

    Raises:
        UserError: When the backbone returns no vectors, or the head does not fit.

    Example:
        >>> from tlkit.domain import MinimumClassConfusion, build_mcc
        >>> inputs = keras.Input((2,))
        >>> encoder = keras.Model(inputs, keras.layers.Dense(8, activation="relu")(inputs))
        >>> model = build_mcc(encoder, num_classes=3)
        >>> model.compile("sgd", {"label": "sparse_categorical_crossentropy", "domain": MinimumClassConfusion()})
        >>> model.output["domain"].shape
        (None, 3)

    Notes:
        The loss trains the head as well as the backbone. It is a statistic of the batch: under `tf.distribute` of each
        replica's target rows.

    Reference: Jin, Wang, Long and Wang, 2020, "Minimum Class Confusion for Versatile Domain Adaptation", ECCV,
        https://arxiv.org/abs/1912.03699, section 3. Differs from it in: nothing.
    """
    inputs, features = encode("build_mcc", backbone)
    probabilities = classify("build_mcc", features, num_classes, head)
    # softmax(log p / T) is softmax(logits / T). The least value keeps log 0 and its gradient away.
    log_probabilities = ops.log(ops.maximum(ops.cast(probabilities, "float32"), 1e-30))
    scaled = GradientScaling(alignment_scale, dtype="float32", name="scaling")(log_probabilities)
    return two_output_model("mcc", inputs, probabilities, scaled)


def _align(
    method: str,
    backbone: keras.layers.Layer,
    num_classes: int,
    head: keras.layers.Layer | None,
    alignment_scale: float,
) -> keras.Model:
    """A model whose "domain" output is the features."""
    inputs, features = encode(f"build_{method}", backbone)
    probabilities = classify(f"build_{method}", features, num_classes, head)
    return two_output_model(method, inputs, probabilities, GradientScaling(alignment_scale, name="scaling")(features))
