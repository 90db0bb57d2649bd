"""Opening a saved model in a fresh process."""

from __future__ import annotations

import io
import json
import os
import pathlib
import zipfile
import zlib
from typing import Any

import h5py
import keras

# Keras finds a layer of another package by its registered name, so the modules that register must be imported.
import tlkit.detection  # noqa: F401
import tlkit.domain  # noqa: F401
from tlkit.backbones import Backbone
from tlkit.backbones.safety import trusting
from tlkit.errors import UserError
from tlkit.finetune.groups import find_backbones
from tlkit.finetune.layer_wise_rates import layerwise_rates_of


def load_model(path: str | os.PathLike[str], *, compile: bool = True, trust: bool = False) -> keras.Model:
    """Open a `.keras` file that may hold layers of tlkit, in Keras' safe mode.

    The file is complete: the SavedModel that a backbone came from is not needed any more. The graph of a backbone in it
    is scanned before anything of it runs, which Keras' safe mode does not do.

    Args:
        path: Path of the `.keras` file.
        compile: Bool. Whether to restore optimizer and losses as well, to go on training.
        trust: Bool. Skips the scan, for a backbone that was loaded with `trust=True`.

    Returns:
        The model; the stages of its backbone are open or closed as they were when it was saved.

    Raises:
        UserError: When the file does not exist, is not a complete `.keras` file, or holds a backbone that would reach
            outside the model.

    Example:
        >>> model = tlkit.load_model("model.keras")
        >>> model.get_layer("backbone").handle
        'tlkit:mini-image'
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise UserError(f"load_model: there is no file '{path}'. Expected a '.keras' file that `model.save` wrote.")
    if not zipfile.is_zipfile(path):
        raise UserError(
            f"load_model: '{path}' is not a complete '.keras' file. Expected the archive that `model.save` writes; "
            f"this one is damaged, cut off or of another format. Save or copy it again."
        )
    try:
        with trusting(trust):
            model = keras.saving.load_model(path, compile=False, safe_mode=True)
    except TypeError as error:
        # Keras wraps what a layer raises, once a level, and prints the whole config with it.
        reason: BaseException | None = error
        while reason is not None and not isinstance(reason, UserError):
            reason = reason.__context__
        raise reason or error from None
    except (ValueError, KeyError, OSError) as error:
        if isinstance(error, UserError) or _is_whole(path):
            raise
        raise UserError(
            f"load_model: '{path}' is not a complete '.keras' file: its weights are missing or damaged, as when the "
            f"writing was interrupted. Save or copy it again."
        ) from error
    if compile:
        with zipfile.ZipFile(path) as archive:
            config = json.loads(archive.read("config.json")).get("compile_config")
        if config:
            _restore_training(model, path, config)
    return model


def _is_whole(path: pathlib.Path) -> bool:
    """Whether a `.keras` file has a config and weights that can be opened."""
    try:
        with zipfile.ZipFile(path) as archive, h5py.File(io.BytesIO(archive.read("model.weights.h5"))):
            return "config.json" in archive.namelist()
    except (zipfile.BadZipFile, zlib.error, KeyError, OSError):
        return False


def _restore_training(model: keras.Model, path: pathlib.Path, config: dict[str, Any]) -> None:
    """Compile the model as it was and load its optimizer's state.

    Keras would build the optimizer on the weights that train now and, with a mere warning, drop state that was saved
    for others: an optimizer that `prepare_unfreezing` built knows the frozen stages too.
    """
    backbones = find_backbones(model)
    opened = [sum(stage.is_open for stage in backbone.stages) for backbone in backbones]
    everything = [len(backbone.stages) for backbone in backbones]
    num_saved = _num_optimizer_variables(path)
    for stages in (everything, opened):
        _compile(model, config)
        _open(backbones, stages)
        variables = model.trainable_variables
        _open(backbones, opened)
        try:
            model.optimizer.build(variables)
        except UserError:  # layer-wise rates without a rule for some of these weights: it was built on others
            continue
        if len(model.optimizer.variables) == num_saved:
            model.load_weights(path)
            return
    # Saved before its first step: there is no state, and `prepare_unfreezing` can still choose the weights.
    _compile(model, config)


def _compile(model: keras.Model, config: dict[str, Any]) -> None:
    model.compile(**keras.saving.deserialize_keras_object(config))
    if (rates := layerwise_rates_of(model)) is not None:
        rates.bind(model)


def _open(backbones: list[Backbone], stages: list[int]) -> None:
    for backbone, count in zip(backbones, stages, strict=True):
        backbone.unfreeze(last=count)


def _num_optimizer_variables(path: pathlib.Path) -> int:
    """How many arrays of the optimizer a `.keras` file holds."""
    with zipfile.ZipFile(path) as archive:
        weights = io.BytesIO(archive.read("model.weights.h5"))
    with h5py.File(weights) as file:
        # In mixed precision "optimizer/inner_optimizer" holds most of them a second time.
        return len(file["optimizer/vars"]) if "optimizer/vars" in file else 0
