"""Class weights against numbers worked by hand and scikit-learn."""

import numpy as np
import pytest
from sklearn.utils.class_weight import compute_class_weight

from tlkit import UserError
from tlkit.data import class_weights


def test_weights_by_hand():
    # 6 examples, 3 classes: 6 / (3 * 3), 6 / (3 * 2), 6 / (3 * 1)
    assert class_weights([0, 0, 0, 1, 1, 2], 3) == {0: pytest.approx(2 / 3), 1: pytest.approx(1), 2: pytest.approx(2)}


def test_weights_against_scikit_learn_and_their_mean():
    labels = np.random.default_rng(0).choice(5, 300, p=[0.5, 0.3, 0.1, 0.05, 0.05])
    weights = class_weights(labels, 5)
    np.testing.assert_allclose(list(weights.values()), compute_class_weight("balanced", classes=np.arange(5), y=labels))
    assert np.mean([weights[label] for label in labels]) == pytest.approx(1)


def test_mistakes():
    with pytest.raises(UserError, match="class 1 has no example"):
        class_weights([0, 0, 2], 3)
    with pytest.raises(UserError, match="label 3 is out of range"):
        class_weights([0, 1, 3], 3)
    with pytest.raises(UserError, match="label -1 is out of range"):
        class_weights([0, 1, -1], 2)


def test_between_examples_and_classes():
    # 4 and 1 examples, to the power of a half: 1/2 and 1, times 5 / (4/2 + 1/1) = 5/3.
    assert class_weights([0, 0, 0, 0, 1], 2, balance=0.5) == {0: pytest.approx(5 / 6), 1: pytest.approx(5 / 3)}
    assert class_weights([0, 0, 0, 0, 1], 2, balance=0.0) == {0: 1.0, 1: 1.0}
    for wrong in (-0.1, 1.1, float("nan")):
        with pytest.raises(UserError, match=r"`balance` is .*\. Expected a number from 0"):
            class_weights([0, 1], 2, balance=wrong)
