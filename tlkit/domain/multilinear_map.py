"""How CDAN shows the discriminator features and predictions together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from tlkit.errors import UserError


@keras.saving.register_keras_serializable("tlkit")
class MultilinearMap(keras.layers.Layer):
    """Every product of a feature and a class probability, as one vector.

    A discriminator that sees it compares the domains class by class: each class has its own copy of the features,
    weighed with how much the classifier believes in it. `build_cdan` uses it.

        T(f, g) = g (x) f:   T[c * F + j] = g[c] * f[j]
        f = features, F of them; g = class probabilities, C of them; T = F * C numbers, class after class

    Call arguments: a list of two tensors, features and probabilities.

    Input shape: `[(batch, F), (batch, C)]`, float.    Output shape: `(batch, F * C)`.

    Example:
        >>> features, probabilities = np.array([[1.0, 2.0]]), np.array([[0.75, 0.25]])
        >>> MultilinearMap()([features, probabilities]).numpy().tolist()
        [[0.75, 1.5, 0.25, 0.5]]

    Notes:
        The gradient reaches both inputs; `build_cdan` detaches the probabilities, as the authors do. For many features
        or classes take `RandomizedMultilinearMap`.

    Reference: Long, Cao, Wang and Jordan, 2018, "Conditional Adversarial Domain Adaptation", NeurIPS,
        https://arxiv.org/abs/1705.10667, section on multilinear conditioning; order of the numbers as in
        https://github.com/thuml/CDAN. Differs from it in: nothing.
    """

    def call(self, inputs: Sequence[Any]) -> Any:
        features, probabilities = inputs
        products = ops.expand_dims(probabilities, 2) * ops.expand_dims(features, 1)
        return ops.reshape(products, (-1, features.shape[-1] * probabilities.shape[-1]))

    def compute_output_shape(self, input_shape: Sequence[Sequence[int | None]]) -> tuple[int | None, ...]:
        features, probabilities = input_shape
        return (features[0], features[-1] * probabilities[-1])


@keras.saving.register_keras_serializable("tlkit")
class RandomizedMultilinearMap(keras.layers.Layer):
    """A short stand-in for `MultilinearMap`: products of random sums of features and probabilities.

    Its inner products are those of the whole map on average, at a length of your choice. The paper takes it where
    features times classes are above 4,096.

        T(f, g) = (R_f f) * (R_g g) / sqrt(d)        * = element by element
        f = features, F of them; g = class probabilities, C of them; d = random_dim
        R_f, R_g = fixed random matrices (d x F and d x C), drawn once from the normal distribution of variance 1

    Args:
        random_dim: Int above 0, length of the result. Defaults to `1024`, as in the authors' code.
        seed: Int or None. Draws the matrices; None: from Keras' global seed (`keras.utils.set_random_seed`).

    Call arguments: a list of two tensors, features and probabilities.

    Input shape: `[(batch, F), (batch, C)]`, float.    Output shape: `(batch, random_dim)`.

    Raises:
        UserError: When `random_dim` is not a whole number above 0.

    Example:
        >>> layer = RandomizedMultilinearMap(random_dim=16, seed=0)
        >>> layer([np.ones((4, 500), "float32"), np.ones((4, 10), "float32")]).shape
        TensorShape([4, 16])

    Notes:
        The matrices are non-trainable weights, so a `.keras` file has them and a reloaded model goes on with the same
        ones.

    Reference: Long, Cao, Wang and Jordan, 2018, "Conditional Adversarial Domain Adaptation", NeurIPS,
        https://arxiv.org/abs/1705.10667, section on multilinear conditioning; normal matrices as in
        https://github.com/thuml/CDAN, `RandomLayer`. Differs from it in: nothing.
    """

    def __init__(self, random_dim: int = 1024, seed: int | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        if not isinstance(random_dim, int) or random_dim < 1:
            raise UserError(
                f"RandomizedMultilinearMap: `random_dim` is the length of the result. Expected a whole number above 0. "
                f"Received: random_dim={random_dim!r}. Type `random_dim=1024`."
            )
        self.random_dim = random_dim
        self.seed = seed

    def build(self, input_shape: Sequence[Sequence[int | None]]) -> None:
        self.feature_matrix, self.class_matrix = (
            self.add_weight(
                name=name,
                shape=(shape[-1], self.random_dim),
                initializer=keras.initializers.RandomNormal(
                    stddev=1.0, seed=None if self.seed is None else self.seed + position
                ),
                trainable=False,
            )
            for position, (name, shape) in enumerate(zip(("features", "classes"), input_shape, strict=True))
        )
        self.built = True

    def call(self, inputs: Sequence[Any]) -> Any:
        features, probabilities = inputs
        # Divided before the product: in float16 the sums are large.
        random_features = ops.matmul(features, self.feature_matrix) / math.sqrt(self.random_dim)
        return random_features * ops.matmul(probabilities, self.class_matrix)

    def compute_output_shape(self, input_shape: Sequence[Sequence[int | None]]) -> tuple[int | None, ...]:
        return (input_shape[0][0], self.random_dim)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "random_dim": self.random_dim, "seed": self.seed}
