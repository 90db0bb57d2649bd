"""A training that is interrupted while it writes its best model leaves the one before."""

import keras
import numpy as np
import pytest

import tlkit
from tlkit.callbacks import AtomicModelCheckpoint

ROWS = np.random.default_rng(0).normal(size=(16, 4)).astype("float32")


def make_model():
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    return model


class Weights(keras.callbacks.Callback):
    """Keeps what the model weighed at the end of each epoch."""

    def __init__(self):
        super().__init__()
        self.after = []

    def on_epoch_end(self, epoch, logs=None):
        self.after.append(self.model.get_weights())


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, OSError])
def test_interrupted_while_writing_the_last_one_stays(interruption, tmp_path, monkeypatch):
    model, weights = make_model(), Weights()
    save, calls = keras.Sequential.save, []

    def torn(self, filepath, **options):
        save(self, filepath, **options)
        calls.append(filepath)
        if len(calls) == 2:
            with open(filepath, "r+b") as file:  # half of it is there
                file.truncate(1000)
            raise interruption("in the middle")

    monkeypatch.setattr(keras.Sequential, "save", torn)
    with pytest.raises(interruption):
        model.fit(
            ROWS, ROWS[:, :1], epochs=3, verbose=0, callbacks=[weights, AtomicModelCheckpoint(tmp_path / "m.keras")]
        )
    assert [file.name for file in tmp_path.iterdir()] == ["m.keras"]
    for kept, expected in zip(tlkit.load_model(tmp_path / "m.keras").get_weights(), weights.after[0], strict=True):
        np.testing.assert_array_equal(kept, expected)


def test_only_the_best_is_kept(tmp_path):
    model, weights = make_model(), Weights()
    best = AtomicModelCheckpoint(tmp_path / "m.keras", monitor="val_loss", save_best_only=True)
    # A rate at which each epoch is worse than the one before: the first is the best.
    model.optimizer.learning_rate = 2.0
    data = {"validation_data": (ROWS, ROWS[:, :1]), "epochs": 3, "verbose": 0}
    history = model.fit(ROWS, ROWS[:, :1], callbacks=[weights, best], **data).history["val_loss"]
    assert history[0] < history[1] < history[2]
    for kept, expected in zip(tlkit.load_model(tmp_path / "m.keras").get_weights(), weights.after[0], strict=True):
        np.testing.assert_array_equal(kept, expected)


def test_a_name_for_each_epoch_is_refused(tmp_path):
    with pytest.raises(tlkit.UserError, match="Expected the name of one file, without the number of the epoch"):
        AtomicModelCheckpoint(tmp_path / "{epoch:02d}.keras")
