"""The states of the callbacks beside `ExactResume`: where each keeps its own."""

from __future__ import annotations

import pathlib
import warnings
from collections.abc import Iterable, Sequence
from typing import Any

import keras

from tlkit.callbacks.learning_rate_logger import LearningRateLogger
from tlkit.callbacks.run_record import RunRecord
from tlkit.errors import UserError

# Which public attributes hold a callback's state.
_ATTRIBUTES: dict[type, tuple[str, ...]] = {
    keras.callbacks.EarlyStopping: ("best", "wait", "best_weights", "best_epoch", "stopped_epoch"),
    keras.callbacks.ReduceLROnPlateau: ("best", "wait", "cooldown_counter"),
    keras.callbacks.ModelCheckpoint: ("best",),
    keras.callbacks.CSVLogger: ("keys",),  # the columns; the rows are in the file
}
# What these do follows from the epoch, the logs and the optimizer alone.
_STATELESS = (
    keras.callbacks.LambdaCallback,
    keras.callbacks.LearningRateScheduler,
    keras.callbacks.RemoteMonitor,
    keras.callbacks.SwapEMAWeights,
    keras.callbacks.TensorBoard,
    keras.callbacks.TerminateOnNaN,
    LearningRateLogger,
    RunRecord,  # its state is the file that it writes
)
# Keras adds these two after those of the user; the history is kept with the training itself.
_OF_FIT = (keras.callbacks.History, keras.callbacks.ProgbarLogger)


def check_order(callback: keras.callbacks.Callback, callbacks: Sequence[Any]) -> list[Any]:
    """Those whose states are kept.

    Raises:
        UserError: When one comes after `callback`, or a second one resumes the training.
    """
    place = next(i for i, other in enumerate(callbacks) if other is callback)
    resuming = (keras.callbacks.BackupAndRestore, type(callback))
    rivals = [other for other in callbacks if other is not callback and isinstance(other, resuming)]
    if rivals:
        raise UserError(
            f"ExactResume: {type(rivals[0]).__name__} resumes the training as well. Expected one callback that does. "
            f"Leave out the other."
        )
    later = [type(other).__name__ for other in callbacks[place + 1 :] if not isinstance(other, _OF_FIT)]
    if later:
        raise UserError(
            f"ExactResume: {later[0]} comes after it, so its state would be saved before it has seen the epoch. "
            f"Expected ExactResume last. Put it at the end of `callbacks`."
        )
    return [other for other in callbacks[:place] if not isinstance(other, _OF_FIT)]


def warn_of_unknown(callbacks: Iterable[Any]) -> None:
    """Say whose state will be lost."""
    unknown = [type(c).__name__ for c in callbacks if not _keeps_state(c) and not isinstance(c, _STATELESS)]
    if unknown:
        warnings.warn(
            f"ExactResume: after a kill the state of {', '.join(unknown)} starts anew, since it is not known where it "
            f"lies. Give the callback the methods `get_state()` and `set_state(state)`; returning None is enough when "
            f"it has none.",
            stacklevel=2,
        )


def capture_callbacks(callbacks: Iterable[Any]) -> list[tuple[str, Any]]:
    """The class and the state of each callback that has one, in their order."""
    return [(type(c).__name__, _state_of(c)) for c in callbacks if _keeps_state(c)]


def check_same_callbacks(callbacks: Iterable[Any], saved: Sequence[tuple[str, Any]]) -> None:
    """Refuse others than those whose states were saved.

    Raises:
        UserError: Naming both.
    """
    before, now = [name for name, _ in saved], [type(c).__name__ for c in callbacks if _keeps_state(c)]
    if before != now:
        raise UserError(
            f"ExactResume: the callbacks are others than in the saved training. Expected {', '.join(before) or 'none'} "
            f"among those that keep a state. Received: {', '.join(now) or 'none'}. Give the same ones in the same "
            f"order, or begin anew with `resume.clear()`."
        )


def restore_callbacks(callbacks: Iterable[Any], saved: Sequence[tuple[str, Any]]) -> None:
    """Put the states back, after each callback's own `on_train_begin` has reset it."""
    keeping = [c for c in callbacks if _keeps_state(c)]
    for callback, (_, state) in zip(keeping, saved, strict=True):
        if _offers_state(callback):
            callback.set_state(state)
            continue
        for name, value in state["attributes"].items():
            setattr(callback, name, value)
        if isinstance(callback, keras.callbacks.CSVLogger) and state["rows"] is not None:
            _rewrite_log(callback, state["rows"])


def enter_swapped_weights(callbacks: Iterable[Any]) -> None:
    """Tell `SwapEMAWeights(swap_on_epoch=True)` that the model holds the averages, as at the end of every epoch.

    Call it before the weights are restored: it swaps them, too.
    """
    for callback in callbacks:
        if isinstance(callback, keras.callbacks.SwapEMAWeights) and callback.swap_on_epoch:
            callback.on_test_begin()


def _offers_state(callback: Any) -> bool:
    return hasattr(callback, "get_state") and hasattr(callback, "set_state")


def _keeps_state(callback: Any) -> bool:
    return _offers_state(callback) or isinstance(callback, tuple(_ATTRIBUTES))


def _state_of(callback: Any) -> Any:
    if _offers_state(callback):
        return callback.get_state()
    names = next(names for known, names in _ATTRIBUTES.items() if isinstance(callback, known))
    state: dict[str, Any] = {"attributes": {name: getattr(callback, name, None) for name in names}}
    if isinstance(callback, keras.callbacks.CSVLogger):
        path = pathlib.Path(callback.filename)
        state["rows"] = path.read_bytes() if path.is_file() else None  # a file on a server stays as it is
    return state


def _rewrite_log(logger: keras.callbacks.CSVLogger, rows: bytes) -> None:
    """Bring the file to what it was at the saved epoch: the logger has just emptied it, or holds rows of later ones."""
    logger.csv_file.close()
    pathlib.Path(logger.filename).write_bytes(rows)
    logger.csv_file = open(logger.filename, "a", newline="")
    logger.append_header = not rows
