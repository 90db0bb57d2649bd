"""Opening a saved model in a fresh process."""

from __future__ import annotations

import json
import os
import pathlib
import zipfile
from typing import Any

import keras

# Keras finds a layer of another package by its registered name, so the modules that register must be imported.
import tlkit.backbones.backbone  # noqa: F401
from tlkit.errors import UserError
from tlkit.finetune.prepare import find_backbones


def load_model(path: str | os.PathLike[str], *, compile: bool = True) -> keras.Model:
    """Open a `.keras` file that may hold layers of tlkit, in Keras' safe mode.

    The file is complete: the SavedModel that a backbone came from is not needed any more.

    Args:
        path: Path of the `.keras` file.
        compile: Bool. Whether to restore optimizer and losses as well, to go on training.

    Returns:
        The model; the stages of its backbone are open or closed as they were when it was saved.

    Raises:
        UserError: When the file does not exist or is not a complete `.keras` file.

    Example:
        >>> model = tlkit.load_model("runs/latest/model.keras")
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise UserError(f"load_model: there is no file '{path}'. Expected a '.keras' file that `model.save` wrote.")
    if not zipfile.is_zipfile(path):
        raise UserError(
            f"load_model: '{path}' is not a complete '.keras' file. Expected the archive that `model.save` writes; "
            f"this one is damaged, cut off or of another format. Save or copy it again."
        )
    model = keras.saving.load_model(path, compile=False, safe_mode=True)
    if compile:
        with zipfile.ZipFile(path) as archive:
            config = json.loads(archive.read("config.json")).get("compile_config")
        if config:
            _restore_training(model, path, config)
    return model


def _restore_training(model: keras.Model, path: pathlib.Path, config: dict[str, Any]) -> None:
    """Compile the model as it was and load its optimizer's state.

    Keras builds the optimizer on the weights that train now and then refuses state that was saved for more: one
    that `prepare_unfreezing` built knows the frozen stages too.
    """
    opened = [(backbone, sum(stage.is_open for stage in backbone.stages)) for backbone in find_backbones(model)]
    for backbone, _ in opened:
        if backbone.stages:
            backbone.unfreeze()
    model.compile_from_config(config)
    for backbone, count in opened:
        backbone.unfreeze(last=count)
    try:
        model.load_weights(path)
    except ValueError:
        model.compile_from_config(config)  # saved without `prepare_unfreezing`: on the open stages alone
        model.load_weights(path)
