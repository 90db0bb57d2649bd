"""A model's file that is always whole."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import keras

from tlkit.errors import UserError


class AtomicModelCheckpoint(keras.callbacks.ModelCheckpoint):
    """`keras.callbacks.ModelCheckpoint` at the end of epochs, whose file is the last one or the new one, never a part.

    Keras writes over the file in place: Ctrl-C, a kill or a full disk in the middle leaves neither the best model so
    far nor the new one. Here the new one is written beside it, and takes its place when it is whole.

    Args:
        filepath: Path of the file, ending in ".keras" (".weights.h5" with `save_weights_only`).
        **options: As for `ModelCheckpoint`: `monitor`, `mode`, `save_best_only`, `save_weights_only`,
            `initial_value_threshold`, `verbose`. Not `save_freq`: it saves at the end of epochs.

    Raises:
        UserError: When the name of the file is to be filled in for each epoch.

    Example:
        >>> best = AtomicModelCheckpoint("best.keras", monitor="loss", save_best_only=True)
        >>> model.compile("sgd", "sparse_categorical_crossentropy")
        >>> history = model.fit(train, epochs=2, shuffle=False, verbose=0, callbacks=[best])
        >>> tlkit.load_model("best.keras").name == model.name
        True
    """

    def __init__(self, filepath: str | os.PathLike[str], **options: Any) -> None:
        if "{" in str(filepath):
            raise UserError(
                f"AtomicModelCheckpoint: `filepath` is '{filepath}'. Expected the name of one file, without the number "
                "of the epoch. For a file for each epoch, use `keras.callbacks.ModelCheckpoint`."
            )
        super().__init__(str(filepath), save_freq="epoch", **options)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        final = Path(self.filepath)
        unfinished = final.with_name(f"unfinished.{final.name}")  # with the ending that Keras asks for
        self.filepath = str(unfinished)
        try:
            super().on_epoch_end(epoch, logs)
            if unfinished.exists():
                os.replace(unfinished, final)
        finally:
            self.filepath = str(final)
            unfinished.unlink(missing_ok=True)
