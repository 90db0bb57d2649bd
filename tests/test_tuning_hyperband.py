"""Hyperband over trainings that open stages: what was open stays open and moves, in every later round."""

import keras
import pytest
import resumed_training as training

import tlkit.runs
from tlkit.callbacks import ExactResume, ProgressiveUnfreezing
from tlkit.tuning import tune

EPOCHS, OPENINGS = 9, {0: 0, 1: 1, 4: 2}
OPEN = {"head": 0, "middle": 1, "early": 4}  # layer -> the epoch from which on it trains


class Record(keras.callbacks.Callback):
    """The kernels before and after each epoch of this call of `fit`."""

    def on_train_begin(self, logs=None):
        self.before, self.after = {}, {}

    def kernels(self):
        return {name: self.model.get_layer(name).kernel.numpy() for name in OPEN}

    def on_epoch_begin(self, epoch, logs=None):
        self.before[epoch] = self.kernels()

    def on_epoch_end(self, epoch, logs=None):
        self.after[epoch] = self.kernels()

    def get_state(self):
        return None

    def set_state(self, state):
        pass


def train(settings, folder, pause_after=None):
    model, record = training.build(rate=settings["dropout"]), Record()
    resume = ExactResume(folder / tlkit.runs.STATE, pause_after=pause_after)
    unfreezing = ProgressiveUnfreezing(
        groups=training.GROUPS, schedule=OPENINGS, learning_rate_multiplier=0.5, verbose=0
    )
    history = model.fit(
        training.train_data(resume.initial_epoch), validation_data=training.examples(),
        steps_per_epoch=training.STEPS, epochs=EPOCHS, initial_epoch=resume.initial_epoch, shuffle=False, verbose=0,
        callbacks=[unfreezing, record, resume],
    )  # fmt: skip
    return model, record, history.history


@pytest.mark.slow
def test_what_was_opened_moves_in_every_later_round(tmp_path):
    rounds = []

    def run(settings, folder, epochs):
        model, record, history = train(settings, folder, epochs)
        rounds.append((settings, record))
        (folder / "end").write_bytes(b"".join(training.everything(model)))
        return {"val_loss": min(history["val_loss"])}

    trials = tune(
        run, lambda hp: {"dropout": hp.Float("dropout", 0.0, 0.8)}, num_trials=13, folder=tmp_path / "s",
        objective="val_loss", seed=0, algorithm="hyperband", max_epochs=EPOCHS,
    )  # fmt: skip
    assert [[*record.before] for _, record in rounds] == [[0]] * 9 + [[1, 2]] * 3 + [[3, 4, 5, 6, 7, 8]]
    for _, record in rounds:
        for epoch, before in record.before.items():
            moved = {name for name in OPEN if (record.after[epoch][name] != before[name]).any()}
            assert moved == {name for name, opens in OPEN.items() if epoch >= opens}
    # In three rounds it came to what one training of nine epochs comes to: moments and rates went along, too.
    longest = next(trial for trial in trials if trial.epochs == EPOCHS)
    model, _, history = train(longest.settings, tmp_path / "straight")
    assert (longest.folder / "end").read_bytes() == b"".join(training.everything(model))
    assert longest.score == min(history["val_loss"])
