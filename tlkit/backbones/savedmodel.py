"""SavedModels on the disk: checked, scanned, loaded, and opened by the lift."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import tensorflow as tf

from tlkit.backbones.catalog import most_similar
from tlkit.backbones.interface import read_interface
from tlkit.backbones.lift import Lifted, lift
from tlkit.backbones.safety import read_saved_model, scan_saved_model
from tlkit.backbones.text_operations import provide_text_operations
from tlkit.backbones.text_pairs import check_vocabulary, missing_preprocessor, read_encoder, read_pair
from tlkit.errors import UserError

# What people give instead of a SavedModel's folder, by the end of the file's name, and what to do about it.
_INSTEAD = {
    (".keras", ".h5", ".hdf5"): "It is a Keras model or its weights: in Keras, write `model.export(folder)`.",
    (".tar", ".tar.gz", ".tgz", ".zip"): "It is an archive: unpack it and give the folder.",
    (".pb", ".pbtxt"): "Give the folder that holds it.",
    (".tflite",): "It is a LiteRT model, which cannot be trained: take the model's SavedModel.",
    (".onnx", ".pt", ".pth", ".safetensors"): "It belongs to another framework: take the model's SavedModel.",
}

# The model lifted last, after what it was lifted from: the trials of a search open the same one again and again. Larger
# ones (a ResNet-50 has 94 MB) would take memory from a training that opens its model once.
_last: list[Any] = []
_KEPT_BYTES = 100 * 2**20


def lift_saved_model(
    folder: str | pathlib.Path,
    arguments: Mapping[str, Any] | None = None,
    *,
    preprocessor: str | pathlib.Path | None = None,
    sequence_length: int | None = None,
) -> Lifted:
    """Open the SavedModel in `folder`, after a scan of what it would do (`safety.trusting` skips it).

    Args:
        folder: The folder.
        arguments: What to call the model with besides its input and `training`.
        preprocessor: Folder of the SavedModel that makes what the model takes of texts; it becomes part of it.
        sequence_length: Tokens after which texts are cut; None takes the preprocessor's own number.

    Raises:
        UserError: When `folder` holds no SavedModel of TensorFlow 2, none that can be called on one batch, or one
            that would reach outside the model; or when the preprocessor does not fit.
    """
    folders = [pathlib.Path(path) for path in (folder, preprocessor) if path is not None]
    for each in folders:
        check_saved_model(each)
        scan_saved_model(each)
    key = (folders, [_state(each) for each in folders], dict(arguments or {}), sequence_length)
    if _last and _last[0] == key:
        return _last[1]
    # A strategy's scope belongs to a thread: in a fresh one the model's variables are plain ones that can be read.
    with ThreadPoolExecutor(1) as thread:
        lifted = thread.submit(_lift, *folders, arguments=dict(arguments or {}), length=sequence_length).result()
    _last[:] = (key, lifted) if sum(value.nbytes for value in lifted.values.values()) <= _KEPT_BYTES else ()
    return lifted


def _state(folder: pathlib.Path) -> list[tuple[str, int, int]]:
    """What changes when a file of a model does."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in files]


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


def _lift(
    folder: pathlib.Path, preprocessor: pathlib.Path | None = None, *, arguments: dict[str, Any], length: int | None
) -> Lifted:
    model, sentencepiece = _load(folder)
    encoder = read_encoder(model, folder, arguments)
    if encoder is None:
        for name, value in (("preprocessor", preprocessor), ("sequence_length", length)):
            if value is not None:
                raise UserError(
                    f"load_backbone: `{name}` is not for the model in '{folder}', which takes its input as it comes. "
                    f"Expected none. Received: {name}={str(value)!r}. Leave it out."
                )
        return lift(dataclasses.replace(read_interface(model, folder, arguments), sentencepiece=sentencepiece))
    if preprocessor is None:
        raise missing_preprocessor(encoder, folder)
    first, sentencepiece = _load(preprocessor)
    interface = read_pair(encoder, folder, first, preprocessor, length)
    lifted = lift(dataclasses.replace(interface, sentencepiece=sentencepiece))
    check_vocabulary(encoder, folder, lifted.program, preprocessor)
    return lifted


def _load(folder: pathlib.Path) -> tuple[Any, bytes | None]:
    """The model, and the one model of SentencePiece in it."""
    graphs = [meta_graph.graph_def for meta_graph in read_saved_model(folder).meta_graphs]
    nodes = [node for graph in graphs for node in graph.node]
    nodes += [node for graph in graphs for function in graph.library.function for node in function.node_def]
    provide_text_operations((node.op for node in nodes), f"The SavedModel in '{folder}'")
    pieces = {node.attr["model"].s for node in nodes if node.op == "SentencepieceOp"}
    try:
        model = tf.saved_model.load(str(folder))
    except (OSError, ValueError, RuntimeError, tf.errors.OpError) as error:
        first_line = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(
            f"The SavedModel in '{folder}' cannot be loaded: {first_line} Expected a complete model of TensorFlow 2. "
            f"Save or download it again."
        ) from error
    return model, pieces.pop() if len(pieces) == 1 else None
