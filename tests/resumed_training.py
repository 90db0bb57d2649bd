"""A small training with everything in it that has a state, for processes that are killed and run again.

`Processes` starts each in a process of its own without importing TensorFlow anew: a server imports it once and forks.
"""

import hashlib
import json
import multiprocessing
import os
import pathlib
import signal

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

import keras
import numpy as np
import tensorflow as tf

from tlkit.callbacks import ExactResume, ProgressiveUnfreezing
from tlkit.data import epochs
from tlkit.distribution import choose_strategy
from tlkit.finetune import prepare_unfreezing

GROUPS = {"early": ["early", "normalized"], "middle": ["middle"]}
SCHEDULE = {0: 0, 2: 1, 4: 2}  # three stages of two epochs
EPOCHS, STEPS, BATCH, SEED = 6, 4, 8, 7


def build(optimizer=None, *, units=8, rate=0.5, strategy=None, prepare=True, **compile_options):
    with (strategy or tf.distribute.get_strategy()).scope():
        keras.utils.set_random_seed(3)
        inputs = keras.Input((6,))
        x = keras.layers.Dense(units, activation="tanh", name="early")(inputs)
        x = keras.layers.BatchNormalization(name="normalized")(x)
        x = keras.layers.Dropout(rate, name="dropped")(x)
        x = keras.layers.Dense(units, activation="tanh", name="middle")(x)
        outputs = keras.layers.Dense(1, dtype="float32", name="head")(keras.layers.Dropout(rate)(x))
        model = keras.Model(inputs, outputs)
        model.compile(optimizer or keras.optimizers.Adam(1e-2), "mse", **compile_options)
        if prepare:
            prepare_unfreezing(model, GROUPS)
    return model


def examples():
    x = np.random.default_rng(0).normal(size=(STEPS * BATCH, 6)).astype("float32")
    return x, x[:, :1] * x[:, 1:2]


def train_data(first_epoch):
    x, y = (tf.constant(array) for array in examples())

    def epoch(pair):
        order = tf.random.experimental.stateless_shuffle(tf.range(len(x)), seed=pair)
        return tf.data.Dataset.from_tensor_slices((tf.gather(x, order), tf.gather(y, order))).batch(BATCH)

    return epochs(epoch, seed=SEED, first_epoch=first_epoch)


def callbacks(folder, num_epochs=EPOCHS):
    schedule = {epoch: stages for epoch, stages in SCHEDULE.items() if epoch < num_epochs}
    return [
        ProgressiveUnfreezing(groups=GROUPS, schedule=schedule, learning_rate_multiplier=0.5, verbose=0),
        keras.callbacks.EarlyStopping("val_loss", patience=EPOCHS, restore_best_weights=True),
        # Lowers the rate again and again: nothing improves by 10.
        keras.callbacks.ReduceLROnPlateau("val_loss", factor=0.9, patience=2, min_delta=10.0),
        keras.callbacks.ModelCheckpoint(folder / "best.weights.h5", save_best_only=True, save_weights_only=True),
        keras.callbacks.CSVLogger(folder / "log.csv"),
    ]


def fit(model, folder, extra=(), num_epochs=EPOCHS, states=True, **options):
    """Trains to the end, or goes on from what lies in the folder."""
    resume = ExactResume(folder / "resume", **options)
    used = [*(callbacks(folder, num_epochs) if states else ()), *extra, resume]
    try:
        return model.fit(
            train_data(resume.initial_epoch),
            validation_data=examples(),
            steps_per_epoch=STEPS,
            epochs=num_epochs,
            initial_epoch=resume.initial_epoch,
            shuffle=False,
            verbose=0,
            callbacks=used,
        )
    finally:  # the end of a process would close it
        for callback in used:
            if isinstance(callback, keras.callbacks.CSVLogger) and callback.csv_file:
                callback.csv_file.close()


def everything(model):
    """Every variable of the model and the optimizer, on every device, as bytes."""
    local = model.distribute_strategy.experimental_local_results
    variables = [*model.variables, *model.optimizer.variables]
    return [value.numpy().tobytes() for variable in variables for value in local(variable.value)]


class Steps(keras.callbacks.Callback):
    """Tells another process of each batch."""

    def __init__(self, pipe):
        super().__init__()
        self.pipe = pipe

    def on_train_batch_end(self, batch, logs=None):
        self.pipe.send(batch)

    def get_state(self):
        return None

    def set_state(self, state):
        pass


def run(folder, devices, pipe):
    """What the command does that is killed and run again."""
    os.dup2(os.open(folder / "stdout.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND), 1)
    if devices > 1:
        cpu = tf.config.list_physical_devices("CPU")[0]
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * devices)
    model = build(strategy=choose_strategy("mirrored") if devices > 1 else None)
    history = fit(model, folder, extra=[Steps(pipe)])
    hashes = [hashlib.sha256(value).hexdigest() for value in everything(model)]
    (folder / "end.json").write_text(json.dumps([hashes, history.epoch, history.history]))


class Processes:
    """Runs the training in a process, to its end or to its death."""

    def __init__(self):
        self.context = multiprocessing.get_context("forkserver")
        # Installed modules only: the server does not know the folder of the tests.
        self.context.set_forkserver_preload(["keras", "tlkit.callbacks", "tlkit.distribution"])

    def start(self, folder, devices):
        receiver, sender = self.context.Pipe(duplex=False)
        process = self.context.Process(target=run, args=(pathlib.Path(folder), devices, sender))
        process.start()
        sender.close()  # or the end of the process would not be seen
        return process, receiver

    def kill_after(self, folder, devices, batches, wait=0.0, with_signal=signal.SIGKILL):
        """Sends the signal `wait` seconds after so many batches; returns the exit code."""
        process, receiver = self.start(folder, devices)
        for _ in range(batches):
            try:
                receiver.recv()
            except EOFError:
                break
        process.join(wait)  # which ends early when the training does
        if process.is_alive():
            os.kill(process.pid, with_signal)
        process.join(120)
        return process.exitcode

    def end(self, folder, devices):
        """Runs to the end; returns the final weights' hashes, the epochs and their logs."""
        process, receiver = self.start(folder, devices)
        try:
            while True:
                receiver.recv()
        except EOFError:
            process.join(120)
        assert process.exitcode == 0, process.exitcode
        return json.loads((pathlib.Path(folder) / "end.json").read_text())
