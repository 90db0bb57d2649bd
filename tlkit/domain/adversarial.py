"""Adversarial domain adaptation, DANN and CDAN, as ordinary Keras models."""

from __future__ import annotations

import keras
from keras import ops

from tlkit.domain.domain_discriminator import DomainDiscriminator
from tlkit.domain.entropy_conditioning import EntropyConditioning
from tlkit.domain.gradient_reversal import GradientReversal
from tlkit.domain.multilinear_map import MultilinearMap, RandomizedMultilinearMap
from tlkit.domain.two_outputs import classify, encode, two_output_model
from tlkit.errors import UserError


def build_dann(
    backbone: keras.layers.Layer,
    num_classes: int,
    *,
    head: keras.layers.Layer | None = None,
    discriminator: keras.layers.Layer | None = None,
    reversal_scale: float = 1.0,
) -> keras.Model:
    """A model for DANN: features from which a discriminator cannot tell the domains.

    The first adversarial method to try: one discriminator on the features. Where classes of one domain are matched with
    other classes of the other, take `build_cdan`.

        minimise  L_y + L_d,   with  label = head(f),  domain = discriminator(R(f)),  f = backbone(x)
        L_y = cross-entropy of the label on source rows; L_d = `DomainLoss` on all rows; R = `GradientReversal`
        so the backbone follows the gradient of  L_y - reversal_scale * L_d,  the discriminator that of L_d

    Args:
        backbone: The encoder, a model or layer from an input to a vector of features: a functional or Sequential model
            with a known input, a layer of `load_backbone` or any layer that was called once. It is part of the new
            model, not copied; the layers of a functional model become layers of the new model.
        num_classes: Int, number of classes.
        head: Layer or model from features to class probabilities. None for one Dense layer with a softmax, "head".
        discriminator: Layer or model from features to one logit. None for `DomainDiscriminator()`.
        reversal_scale: Float, at least 0: the first scale of the `GradientReversal`, "reversal". `AdaptationRamp` sets
            it anew during training; without a schedule it stays. Defaults to `1.0`, where the paper's schedule ends.

    Returns:
        An uncompiled `keras.Model` with the outputs "label", `(batch, num_classes)`, probabilities, and "domain",
        `(batch, 1)`, a logit.

    Raises:
        UserError: When the backbone returns no vectors, or the head or the discriminator do not fit.

    Example:
        >>> from tlkit.domain import DomainLoss, build_dann, label_classifier
        >>> inputs = keras.Input((2,))
        >>> encoder = keras.Model(inputs, keras.layers.Dense(8, activation="relu")(inputs))
        >>> model = build_dann(encoder, num_classes=2)
        >>> model.compile(
        ...     keras.optimizers.SGD(0.01, momentum=0.9),
        ...     loss={"label": "sparse_categorical_crossentropy", "domain": DomainLoss()},
        ...     weighted_metrics={"label": ["accuracy"]},  # "metrics" would count target rows, too
        ... )
        >>> x = np.array([[0.0, 1.0], [2.0, 3.0], [1.0, 0.0], [3.0, 2.0]])  # source, target, source, target
        >>> y = {"label": np.array([0, 0, 1, 0]), "domain": np.array([[0.0], [1.0], [0.0], [1.0]])}
        >>> weights = {"label": np.array([2.0, 0.0, 2.0, 0.0]), "domain": np.ones(4)}
        >>> history = model.fit(x, y, sample_weight=weights, verbose=0)
        >>> sorted(history.history)
        ['domain_loss', 'label_accuracy', 'label_loss', 'loss']

    Notes:
        `pair_domains` makes such batches of two data sets. Adversarial training is the least steady of the methods:
        watch `domain_loss`, which is 0.69 where the discriminator guesses, and compare with training on the source
        alone. BatchNorm in the backbone sees the rows of both domains together. The encoder runs once for each batch.
        The loss is a mean over rows, so training is the same on one device and on several.

    Reference: Ganin et al., 2016, "Domain-Adversarial Training of Neural Networks", JMLR 17(59),
        https://arxiv.org/abs/1505.07818, equations 13 to 18. Differs from it in: the discriminator learns with weight
        1, not with lambda as in equation 15: so the authors trained, too (section 5.2.2).
    """
    inputs, features = encode("build_dann", backbone)
    probabilities = classify("build_dann", features, num_classes, head)
    reversed_features = GradientReversal(reversal_scale, name="reversal")(features)
    logit = _discriminate("build_dann", reversed_features, discriminator)
    return two_output_model("dann", inputs, probabilities, logit)


def build_cdan(
    backbone: keras.layers.Layer,
    num_classes: int,
    *,
    head: keras.layers.Layer | None = None,
    discriminator: keras.layers.Layer | None = None,
    reversal_scale: float = 1.0,
    entropy_weighted: bool = False,
    random_dim: int | None = None,
) -> keras.Model:
    """A model for CDAN: as DANN, with a discriminator that also sees what the classifier believes.

    The discriminator compares the domains class by class, so it does not push a class of the target onto another class
    of the source. With `entropy_weighted=True` it is CDAN+E.

        minimise  L_y + L_d,   with  label = p = head(f),  domain = discriminator(R(T(f, p))),  f = backbone(x)
        T = `MultilinearMap`, or with `random_dim` a `RandomizedMultilinearMap`; p is detached in T
        L_y, L_d and R as in `build_dann`; CDAN+E: L_d weighs each row with 1 + exp(-entropy of p), detached

    Args:
        backbone: The encoder, as in `build_dann`.
        num_classes: Int, number of classes.
        head: Layer or model from features to class probabilities. None for one Dense layer with a softmax, "head".
        discriminator: Layer or model from the mapped features, `features * num_classes` or `random_dim` of them, to
            one logit. None for `DomainDiscriminator()`.
        reversal_scale: Float, at least 0, as in `build_dann`.
        entropy_weighted: Bool. CDAN+E: rows count more whose class the classifier is sure of. The "domain" output has
            a second column then, the weight, which `DomainLoss` reads. Defaults to False, plain CDAN.
        random_dim: Int above 0, or None for the whole map. The paper takes the random map where `features *
            num_classes` is above 4,096; its authors' code leaves the choice to the user, whole by default.

    Returns:
        An uncompiled `keras.Model` with the outputs "label", `(batch, num_classes)`, probabilities, and "domain",
        `(batch, 1)`, a logit, or `(batch, 2)`, a logit and a weight.

    Raises:
        UserError: When the backbone returns no vectors, or the head or the discriminator do not fit.

    Example:
        >>> from tlkit.domain import DomainLoss, build_cdan
        >>> inputs = keras.Input((2,))
        >>> encoder = keras.Model(inputs, keras.layers.Dense(8, activation="relu")(inputs))
        >>> model = build_cdan(encoder, num_classes=3, entropy_weighted=True)
        >>> model.compile("sgd", {"label": "sparse_categorical_crossentropy", "domain": DomainLoss()})
        >>> model.output["domain"].shape
        (None, 2)

    Notes:
        The discriminator's first layer has `features * num_classes * 1024` weights: 131 million for 1,280 features and
        100 classes. Take `random_dim=1024` then. With `entropy_weighted` the weights have a mean of 1 in each domain
        of the batch, on several devices of each replica's share.

    Reference: Long, Cao, Wang and Jordan, 2018, "Conditional Adversarial Domain Adaptation", NeurIPS,
        https://arxiv.org/abs/1705.10667. Predictions are detached as in the authors' code,
        https://github.com/thuml/CDAN. Differs from it in: no gradient goes through the entropy weights, as in TLlib;
        the authors' first code reverses it.
    """
    inputs, features = encode("build_cdan", backbone)
    probabilities = classify("build_cdan", features, num_classes, head)
    if random_dim is None:
        product = MultilinearMap(name="multilinear_map")
    else:
        product = RandomizedMultilinearMap(random_dim, name="multilinear_map")
    mapped = product([features, ops.stop_gradient(probabilities)])
    reversed_product = GradientReversal(reversal_scale, name="reversal")(mapped)
    domain = _discriminate("build_cdan", reversed_product, discriminator)
    if entropy_weighted:
        domain = EntropyConditioning(dtype="float32", name="entropy_conditioning")([domain, probabilities])
    return two_output_model("cdan", inputs, probabilities, domain)


def _discriminate(caller: str, features: object, discriminator: keras.layers.Layer | None) -> object:
    logit = (discriminator or DomainDiscriminator(name="discriminator"))(features)
    if tuple(logit.shape[1:]) != (1,):
        raise UserError(
            f"{caller}: `discriminator` must return one logit for each row. Expected the shape (batch, 1). Received: "
            f"the shape {tuple(logit.shape)}. End it with `keras.layers.Dense(1)`."
        )
    return logit
