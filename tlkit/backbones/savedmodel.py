"""SavedModels on the disk: checked, scanned, loaded, and opened by the lift."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import tensorflow as tf

from tlkit.backbones.catalog import most_similar
from tlkit.backbones.interface import read_interface
from tlkit.backbones.lift import Lifted, lift
from tlkit.backbones.safety import scan_saved_model
from tlkit.errors import UserError

# What people give instead of a SavedModel's folder, by the end of the file's name, and what to do about it.
_INSTEAD = {
    (".keras", ".h5", ".hdf5"): "It is a Keras model or its weights: in Keras, write `model.export(folder)`.",
    (".tar", ".tar.gz", ".tgz", ".zip"): "It is an archive: unpack it and give the folder.",
    (".pb", ".pbtxt"): "Give the folder that holds it.",
    (".tflite",): "It is a LiteRT model, which cannot be trained: take the model's SavedModel.",
    (".onnx", ".pt", ".pth", ".safetensors"): "It belongs to another framework: take the model's SavedModel.",
}


def lift_saved_model(folder: str | pathlib.Path, arguments: Mapping[str, Any] | None = None) -> Lifted:
    """Open the SavedModel in `folder`, after a scan of what it would do (`safety.trusting` skips it).

    Args:
        folder: The folder.
        arguments: What to call the model with besides its input and `training`.

    Raises:
        UserError: When `folder` holds no SavedModel of TensorFlow 2, none that can be called on one batch, or one
            that would reach outside the model.
    """
    folder = pathlib.Path(folder)
    check_saved_model(folder)
    scan_saved_model(folder)
    # A strategy's scope belongs to a thread: in a fresh one the model's variables are plain ones that can be read.
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(_lift, folder, dict(arguments or {})).result()


def check_saved_model(folder: pathlib.Path) -> None:
    """Raise when a path does not look like a SavedModel of TensorFlow 2.

    Raises:
        UserError: When it does not, naming what it looks like.
    """
    if folder.is_file():
        advice = next((text for ends, text in _INSTEAD.items() if folder.name.lower().endswith(ends)), "")
        raise UserError(f"'{folder}' is a file. Expected the folder of a SavedModel. {advice}".rstrip())
    if (folder / "tfhub_module.pb").is_file():
        raise UserError(
            f"'{folder}' holds a model in the TF1 Hub format, which cannot be fine-tuned in TensorFlow 2. Expected a "
            f"SavedModel of TensorFlow 2. Take a version of the model whose page says 'TF2 SavedModel'."
        )
    if (folder / "saved_model.pb").is_file():
        return
    if not folder.is_dir():
        close = most_similar(str(folder))
        found, advice = "no such folder", "Check the path, or give a handle: `tlkit backbones` lists well-known ones."
        advice = f"Did you mean '{close}'?" if close else advice
    else:
        found = ", ".join(sorted(path.name for path in folder.iterdir())[:5]) or "nothing"
        deeper = sorted(folder.glob("*/saved_model.pb"))  # versions of a model lie side by side in folders of their own
        advice = "Give the folder that TensorFlow's `tf.saved_model.save` or `model.export` wrote."
        if deeper:
            advice = f"Did you mean '{deeper[-1].parent}'?"
    raise UserError(
        f"'{folder}' is not a SavedModel. Expected a folder with the file 'saved_model.pb'. Found: {found}. {advice}"
    )


def _lift(folder: pathlib.Path, arguments: dict[str, Any]) -> Lifted:
    try:
        model = tf.saved_model.load(str(folder))
    except (OSError, ValueError, RuntimeError, tf.errors.OpError) as error:
        first_line = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(
            f"The SavedModel in '{folder}' cannot be loaded: {first_line} Expected a complete model of TensorFlow 2. "
            f"Save or download it again."
        ) from error
    return lift(read_interface(model, folder, arguments))
