"""A training that was killed goes on as if it had not been."""

from __future__ import annotations

import os
import pathlib
import sys
import types
import warnings
from collections.abc import Mapping
from typing import Any

import keras

from tlkit.callbacks.callback_states import (
    capture_callbacks,
    check_order,
    check_same_callbacks,
    enter_swapped_weights,
    restore_callbacks,
    warn_of_unknown,
)
from tlkit.callbacks.checkpoint_folder import delete_checkpoints, read_newest_checkpoint, write_checkpoint
from tlkit.callbacks.neighbours import neighbours
from tlkit.callbacks.run_description import RATE, check_same_run, check_same_workers, describe_run
from tlkit.callbacks.termination import TerminationNotice
from tlkit.callbacks.training_state import build_optimizer, capture_training, restore_training
from tlkit.distribution import from_chief, num_workers, worker_number
from tlkit.errors import UserError
from tlkit.finetune.rate_ramp import number


class ExactResume(keras.callbacks.Callback):
    """Kill the training at any moment, run the same command again: it ends in the same weights, on a CPU bit for bit.

    At the end of an epoch everything the rest depends on is written: weights, the optimizer's variables, seeds of
    dropout, what is frozen and which stages are open, learning rate, loss scale, history, and the states of the other
    callbacks. The next run goes on from there. For the same numbers it must be given the same examples in the same
    order: `tlkit.data.epochs` with `first_epoch=resume.initial_epoch`, or a data set that is not shuffled.

    Args:
        directory: Path. Where the state is kept; one for each `fit`.
        save_freq: "epoch", or an int: batches that must at least have passed, for epochs that are shorter than the
            writing. Either way it is written at the end of an epoch. What came after the last writing is trained again.
        keep: Int, at least 1. How many states are kept; a damaged one falls back to the one before. Defaults to `2`.
        fingerprint: Dict or string that must be the same in every run, such as the config and the number of files.
            Model, losses, optimizer, steps an epoch and number of devices are compared without it.
        pause_after: Int, at least 1. `fit` ends after so many epochs in all, as if it had been killed there: a later
            `fit` with the same `epochs` goes on. Unlike fewer `epochs`, it leaves alone what is spread over them, such
            as `AdaptationRamp`. `None` trains to the end.

    Attributes:
        initial_epoch: For `fit`: how many epochs are done, 0 in a new directory. When another callback ended the
            training, or it was paused where it shall pause, the number of epochs that were planned: nothing is left.

    Raises:
        UserError: When the run differs from the saved one, saying in what; when `fit` does not start at
            `initial_epoch`; when it is not last in `callbacks`; when every kept state is damaged.

    Example:
        >>> resume = tlkit.callbacks.ExactResume("runs/state", fingerprint={"seed": 7})
        >>> history = model.fit(
        ...     train, epochs=2, initial_epoch=resume.initial_epoch, shuffle=False, verbose=0, callbacks=[resume]
        ... )
        >>> resume.initial_epoch
        2

    Notes:
        A state is written beside the others and then renamed; when the disk is full, a warning is given, the earlier
        ones stay, and training goes on.
        SIGTERM (a preempted machine) stops `fit` before the next batch with exit status 143; the last state written
        is the one to go on from. The handler that was there before is called, and put back when `fit` ends.
        Known callbacks are Keras' own and those of tlkit; any other can offer `get_state()` and `set_state(state)`.
        Not part of the state: `keras.random` without a `SeedGenerator` of the layer's own, `tf.random`, how many
        batches `ModelCheckpoint(save_freq=int)` has counted, and what a data set keeps to itself (`Dataset.shuffle`,
        random layers inside `map`, `fit(shuffle=True)`).
        Several workers (`choose_strategy("multi-worker")`): the chief writes and reads, also what differs between the
        workers, such as the statistics of BatchNorm, and tells the others, who need not see its disk. They are
        compared, too: a worker with other data or another model is an error.
    """

    def __init__(
        self,
        directory: str | os.PathLike[str],
        *,
        save_freq: str | int = "epoch",
        keep: int = 2,
        fingerprint: Mapping[str, Any] | str | None = None,
        pause_after: int | None = None,
    ):
        super().__init__()
        if save_freq != "epoch" and (not isinstance(save_freq, int) or isinstance(save_freq, bool) or save_freq < 1):
            raise UserError(
                f"ExactResume: `save_freq` is not usable. Expected 'epoch' or a number of batches from 1. "
                f"Received: save_freq={save_freq!r}."
            )
        if not isinstance(keep, int) or keep < 1:
            raise UserError(f"ExactResume: `keep` is too small. Expected at least 1. Received: keep={keep!r}.")
        if pause_after is not None and (not isinstance(pause_after, int) or pause_after < 1):
            raise UserError(
                f"ExactResume: `pause_after` is not usable. Expected a number of epochs from 1, or None. Received: "
                f"pause_after={pause_after!r}."
            )
        if not isinstance(fingerprint, Mapping | str | None):
            raise UserError(
                f"ExactResume: `fingerprint` is of the wrong type. Expected a dict or a string. "
                f"Received: a {type(fingerprint).__name__}."
            )
        self.directory = pathlib.Path(directory)
        self.save_freq = save_freq
        self.keep = keep
        self.fingerprint = fingerprint
        self.pause_after = pause_after
        self._state: dict[str, Any] | None = None  # read from the directory, until `fit` has taken it over
        self._saved_until: int | None = None  # `initial_epoch` as of the state that lies in the directory
        self._termination = TerminationNotice(self._is_in_fit)
        self._forget_fit()

    def _forget_fit(self) -> None:
        self._others: list[Any] = []
        self._description: dict[str, Any] = {}
        self._history: dict[str, Any] | None = None
        self._batches = 0  # of this epoch
        self._batches_unsaved = 0  # of epochs before it
        self._first_epoch: int | None = None

    @property
    def initial_epoch(self) -> int:
        if self._saved_until is None:
            state = self._read()
            self._saved_until = 0 if state is None else self._until(state)
        return self._saved_until

    def clear(self) -> None:
        """Forget the saved training: the next `fit` begins anew."""
        delete_checkpoints(self.directory)
        self._state, self._saved_until = None, 0

    # Hooks

    def set_params(self, params: dict[str, Any]) -> None:
        # `fit` calls this before any callback begins: a run that is refused has emptied nobody's log.
        super().set_params(params)
        callbacks = neighbours(self, sys._getframe())
        if callbacks is None or self.model is None:
            return
        self._forget_fit()
        self._others = check_order(self, callbacks)
        self._check_model()
        self._make_directory()
        self._description = describe_run(self.model, params.get("steps"), self.fingerprint)
        check_same_workers(self._description)
        state = self._read()
        if state is not None:
            check_same_run(state["description"], self._description, state[RATE], self.directory)
            check_same_callbacks(self._others, state["callbacks"])
        warn_of_unknown(self._others)

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        if not self._description:
            raise UserError("ExactResume: it is not part of a `fit`. Give it to `fit` as the last of `callbacks`.")
        state = self._read()
        if state is not None:
            self._restore(state)
        self._termination.watch()

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if self._first_epoch not in (None, epoch):
            self._termination.release()
            raise UserError(
                f"ExactResume: the training saved in '{self.directory}' goes on at epoch {self._first_epoch}, but "
                f"`fit` starts at {epoch}. Expected the same. Pass `initial_epoch=resume.initial_epoch` to `fit`, or "
                f"begin anew with `resume.clear()` or another directory."
            )
        self._first_epoch = None
        self._batches = 0
        self._restore_history()

    # The beginnings of batches, not their ends: Keras then need not wait for the numbers of each.
    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        self._batches = batch + 1
        self._stop_if_terminated()

    def on_test_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        self._stop_if_terminated()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._batches_unsaved += self._batches
        pauses = self.pause_after is not None and epoch + 1 >= self.pause_after
        is_last = pauses or self.model.stop_training or epoch + 1 >= self.params.get("epochs", 0)
        if is_last or self.save_freq == "epoch" or self._batches_unsaved >= self.save_freq:
            self._save(epoch, logs or {})
        if pauses:  # not before the saving, which takes it for an end that is meant
            self.model.stop_training = True
        self._stop_if_terminated()

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        self._restore_history()  # when there was no epoch left
        self._termination.release()

    # Writing and reading

    def _save(self, epoch: int, logs: dict[str, Any]) -> None:
        # Whoever ended the training meant it: the next run must not go on.
        until = max(epoch + 1, self.params.get("epochs", 0)) if self.model.stop_training else epoch + 1
        state = {
            "initial_epoch": until,
            "planned": self.params.get("epochs", 0),
            "description": self._description,
            RATE: number(self.model.optimizer.learning_rate),
            "training": capture_training(self.model),
            "callbacks": capture_callbacks(self._others),
            "history": self._history_with(epoch, logs),
        }
        try:
            if worker_number() == 0:
                write_checkpoint(self.directory, epoch + 1, state, keep=self.keep)
        except OSError as error:
            warnings.warn(
                f"ExactResume: the state after epoch {epoch + 1} could not be written to '{self.directory}' "
                f"({error.strerror or error}). Training goes on; a run started now would go on at epoch "
                f"{self.initial_epoch}. Make room on the disk.",
                stacklevel=2,
            )
            return
        except TypeError as error:
            raise UserError(
                f"ExactResume: the state of a callback cannot be written: {error}. Expected `get_state` to return "
                f"dicts, lists and tuples of numbers, texts and NumPy arrays."
            ) from None
        self._saved_until, self._batches_unsaved = self._until(state), 0

    def _until(self, state: dict[str, Any]) -> int:
        done = state["initial_epoch"]
        paused = self.pause_after is not None and done >= self.pause_after
        return max(done, state.get("planned", 0)) if paused else done

    def _read(self) -> dict[str, Any] | None:
        if self._state is None:
            self._state = from_chief(lambda: read_newest_checkpoint(self.directory))
        return self._state

    def _restore(self, state: dict[str, Any]) -> None:
        self._first_epoch, self._saved_until = state["initial_epoch"], self._until(state)
        restore_callbacks(self._others, state["callbacks"])
        build_optimizer(self.model)
        enter_swapped_weights(self._others)
        restore_training(self.model, state["training"])
        # The description of the first run is handed on: rates are compared with what the user wrote.
        self._description, self._history, self._state = state["description"], state["history"], None
        if self._saved_until == self._first_epoch:
            print(f"ExactResume: {self._first_epoch} epochs are done; going on from '{self.directory}'.")

    def _history_with(self, epoch: int, logs: dict[str, Any]) -> dict[str, Any]:
        """The history after this epoch, which Keras' own callback writes down only after this one."""
        record = self.model.history
        names = {**record.history, **logs}
        return {
            "epoch": [*record.epoch, epoch],
            "history": {k: [*record.history.get(k, ()), *([logs[k]] if k in logs else ())] for k in names},
        }

    def _restore_history(self) -> None:
        # Not in `on_train_begin`: Keras' callback empties itself there after this one.
        if self._history is not None:
            self.model.history.epoch = self._history["epoch"]
            self.model.history.history = self._history["history"]
            self._history = None

    def _check_model(self) -> None:
        if not self.model.built:
            raise UserError(
                f"ExactResume: the model '{self.model.name}' has no weights yet. Expected a built model. Begin it with "
                f"`keras.Input(shape)`, or call it on a batch before `fit`."
            )
        strategy = self.model.distribute_strategy
        here = len(strategy.experimental_local_results(self.model.weights[0].value)) if self.model.weights else 1
        if here * num_workers() != strategy.num_replicas_in_sync:
            raise UserError(
                f"ExactResume: it knows of {here * num_workers()} devices, but {strategy.num_replicas_in_sync} train. "
                f"Expected several workers to come from `tlkit.distribution.choose_strategy('multi-worker')`. Use that "
                f"strategy."
            )

    def _make_directory(self) -> None:
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(
                f"ExactResume: '{self.directory}' cannot be made ({error.strerror}). Expected a folder to write to. "
                f"Give another `directory`."
            ) from None

    def _is_in_fit(self, frame: types.FrameType | None) -> bool:
        return neighbours(self, frame) is not None

    def _stop_if_terminated(self) -> None:
        if self._termination.received:
            print(
                f"\nExactResume: stopped by SIGTERM with {self.initial_epoch} epochs saved. Run the same command again "
                f"to go on."
            )
            self._termination.exit()
