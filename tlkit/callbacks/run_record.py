"""What a run's report needs and no other file holds."""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import os
import platform
import shlex
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

import tlkit
from tlkit.callbacks.neighbours import neighbours
from tlkit.callbacks.progressive_unfreezing import ProgressiveUnfreezing
from tlkit.errors import UserError
from tlkit.runs import RECORD, read_object

_PACKAGES = ("tensorflow", "keras", "numpy")


class RunRecord(keras.callbacks.Callback):
    """Writes `run.json`: the command, versions, device and data of a training, its times, and how far stages moved.

    `tlkit.report.write_report` reads it. It is written anew after every epoch, so that a training that was stopped has
    one, too; one that goes on where it was stopped goes on with its record. List it after `ProgressiveUnfreezing`, of
    which it keeps `openings` and `movements`.

    Args:
        folder: Path of the run. The folder must exist when training begins.
        data: Dict of words that change when the data do, such as `tlkit.data.fingerprint_images` gives.

    Raises:
        UserError: When `ProgressiveUnfreezing` comes after it in `callbacks`.

    Example:
        >>> record = tlkit.callbacks.RunRecord(".", data={"train": "400 images (5f2c09a1b7e4)"})
        >>> history = model.fit(train, epochs=2, shuffle=False, verbose=0, callbacks=[record])
        >>> json.loads(Path("run.json").read_text())["epochs"]
        2
    """

    def __init__(self, folder: str | os.PathLike[str], *, data: Mapping[str, str] | None = None):
        super().__init__()
        self.file = Path(folder) / RECORD
        self.data = dict(data or {})
        self._record: dict[str, Any] | None = None
        self._clock = 0.0

    def set_params(self, params: dict[str, Any]) -> None:
        super().set_params(params)
        others = neighbours(self, sys._getframe()) or []
        if any(isinstance(other, ProgressiveUnfreezing) for other in others[_place(self, others) :]):
            raise UserError(
                "RunRecord: ProgressiveUnfreezing comes after it, so it would not see how far the last stages moved. "
                "Expected it before. Put RunRecord behind it in `callbacks`."
            )

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        self._record = None  # which it is, a new one or one to go on with, the first epoch's number tells
        others = neighbours(self, sys._getframe()) or []
        self._unfreezing = next((other for other in others if isinstance(other, ProgressiveUnfreezing)), None)

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if self._record is None:
            earlier = read_object(self.file) if epoch else None
            self._record = {**self._describe(), **({} if earlier is None else _kept(earlier))}
            self._clock = time.monotonic()
            self._write()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if self._record is not None:
            now = time.monotonic()
            self._record["seconds"] = round(self._record["seconds"] + now - self._clock, 1)
            self._record["epochs"], self._clock = epoch + 1, now
            self._write()

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        if self._record is None:  # it had been killed after its last epoch: nothing was left to train
            self._record = read_object(self.file)
        if self._record is not None:
            self._record["ended"] = _now()
            self._write()

    def _describe(self) -> dict[str, Any]:
        versions = {name: importlib.metadata.version(name) for name in _PACKAGES}
        return {
            "command": _command(),
            "began": _now(),
            "ended": None,
            "seconds": 0.0,  # of training, without what lay between a kill and going on
            "epochs": 0,
            "versions": {"tlkit": tlkit.__version__, **versions, "Python": platform.python_version()},
            "device": _device(),
            "devices": self.model.distribute_strategy.num_replicas_in_sync,
            "weights": self.model.count_params(),
            "data": self.data,
        }

    def _write(self) -> None:
        """Replace the file as a whole, so that a kill leaves the one before."""
        record = dict(self._record or {})
        if self._unfreezing is not None and (self._unfreezing.movements or "movements" not in record):
            record["openings"] = self._unfreezing.openings
            record["movements"] = self._unfreezing.movements
        unfinished = self.file.with_name(f".{self.file.name}.{os.getpid()}")
        unfinished.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        os.replace(unfinished, self.file)


def _place(callback: RunRecord, others: list[Any]) -> int:
    return next((place for place, other in enumerate(others) if other is callback), len(others))


def _kept(earlier: dict[str, Any]) -> dict[str, Any]:
    """What a training that goes on takes from its record."""
    kept = {name: earlier[name] for name in ("began", "command", "openings", "movements") if name in earlier}
    seconds = earlier.get("seconds")
    return kept | ({"seconds": seconds} if isinstance(seconds, int | float) else {})


def _now() -> str:
    return datetime.datetime.now().astimezone().isoformat(timespec="seconds")


def _command() -> str | None:
    """What was typed, to be typed again; None in a notebook, where nothing was."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    if spec is not None:
        name = spec.name.removesuffix(".__main__")
        return shlex.join(["python", "-m", name, *sys.argv[1:]])
    return None if "ipykernel" in sys.modules else shlex.join(["python", *sys.argv])


def _device() -> str:
    """The kind of machine, such as "NVIDIA H200" or "2 CPU cores (x86_64)"."""
    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        details = tf.config.experimental.get_device_details(gpus[0])
        return str(details.get("device_name", "GPU"))
    if tf.config.list_physical_devices("TPU"):
        return "TPU"
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return f"{cores} CPU core{'s' if cores > 1 else ''} ({platform.machine()})"
