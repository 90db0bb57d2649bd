"""From a handle to a Backbone."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import keras

from tlkit.backbones import hub
from tlkit.backbones.assemble import assemble
from tlkit.backbones.backbone import Backbone
from tlkit.backbones.catalog import find
from tlkit.backbones.keras_models import lift_keras_model
from tlkit.backbones.kerashub import PREFIX as KERASHUB
from tlkit.backbones.kerashub import lift_kerashub
from tlkit.backbones.lift import Lifted
from tlkit.backbones.safety import trusting
from tlkit.backbones.savedmodel import lift_saved_model
from tlkit.errors import UserError

EMBEDDED_FOLDER = pathlib.Path(__file__).parent / "embedded"
OUTPUTS = ("pooled", "spatial", "pyramid", "sequence")


def load_backbone(
    handle: str | os.PathLike[str],
    *,
    outputs: str = "pooled",
    stages: int | Sequence[tuple[str, str]] | None = None,
    image_size: int | None = None,
    input_range: tuple[float, float] | None = None,
    weights: str | os.PathLike[str] = "pretrained",
    training_mode: bool = False,
    arguments: Mapping[str, Any] | None = None,
    preprocessor: str | os.PathLike[str] | None = None,
    sequence_length: int | None = None,
    trust: bool = False,
    name: str = "backbone",
) -> Backbone:
    """Load a pretrained model as a Keras layer, frozen, with stages that can be opened from the top.

    Images go in as floats in [0, 1], texts as strings; what cuts texts into tokens becomes part of the layer.

    Args:
        handle: String. Where the model comes from:
            - "tlkit:mini-image": the embedded backbone that needs no network.
            - "https://tfhub.dev/…" or "https://www.kaggle.com/models/…": fetched once by tensorflow_hub and kept in its
              cache, `$TFHUB_CACHE_DIR`.
            - "keras:NAME": a network of keras.applications, such as "keras:EfficientNetV2B0".
            - "kerashub:PRESET": a model of KerasHub by its name, such as "kerashub:bert_tiny_en_uncased" or
              "kerashub:resnet_18_imagenet", or by a folder: "kerashub:minilm/" with config.json, model.safetensors and
              vocab.txt in the format of Hugging Face, or a folder that KerasHub saved. Needs
              `pip install 'tlkit[kerashub]'`.
            - the path of a folder that holds a SavedModel of TensorFlow 2.
        outputs: "pooled", one feature vector an image or text; "spatial", the last map of images; "pyramid", a dict
            of their maps at strides 8, 16 and 32; "sequence", a vector for each token of texts. Maps are found in the
            graph, also where the model publishes only the vector.
        stages: None for one stage a resolution, or of texts the embedding and then each block; an int for that many
            of about equal depth; or pairs of a name and a regular expression over the names of the weights, input
            first, where the first match counts.
        image_size: Int. Height and width of the images in pixels. None takes the model's own.
        input_range: Pair of floats that the model expects for black and white. None takes what the catalogue says of
            the handle, or the model's first operations tell (`(0, 255)` where they divide by 255, say), or else
            `(0, 1)`, TF-Hub's convention.
        weights: "pretrained"; "random", freshly initialised with a fixed seed and settled BatchNorm statistics, the
            baseline of every transfer gain; the path of a `.keras` file whose backbone has the same weights; or, for
            "keras:NAME", a file of weights as keras.applications has them (`…_notop.h5`, `….weights.h5`).
        training_mode: Bool. Whether the backbone runs the model's own training graph in `fit` while every stage is
            open: dropout, and BatchNorm on the batch's statistics, which update the moving ones. Small batches make
            those noisy, so the default keeps BatchNorm in inference mode. A model without such statistics (a
            transformer: only dropout) runs it as soon as a stage is open.
        arguments: Dict. What the model is called with besides its images and `training`, such as
            `{"batch_norm_momentum": 0.997}`; `tlkit backbones HANDLE` shows what there is. None takes its defaults.
        preprocessor: String. Of an encoder that takes numbers of tokens (TF-Hub's BERT family): handle or folder of
            the model that makes them of texts, as the encoder's page names it. None takes what the catalogue says.
            Needs `pip install 'tlkit[text]'`.
        sequence_length: Int. Tokens after which texts are cut, marks of start and end included. None takes the
            preprocessor's own, mostly 128; of "kerashub:PRESET" 128 or what the model knows at most. Time and memory
            grow with it; `Backbone.count_tokens` tells how many texts it cuts.
        trust: Bool. A SavedModel is a program; one whose operations reach files, processes, the network or Python is
            refused. True skips that scan: only for models whose maker's code you would run.
        name: String. The layer's name.

    Returns:
        A built `Backbone`. Under `strategy.scope()` its weights are distributed.

    Raises:
        UserError: When the handle leads to no model, or an argument does not fit the model.

    Example:
        >>> backbone = tlkit.load_backbone("tlkit:mini-image", outputs="spatial")
        >>> backbone(np.zeros((2, 128, 128, 3), "float32")).shape
        TensorShape([2, 4, 4, 320])
    """
    handle, weights = _checked_texts(handle, weights)
    if outputs not in OUTPUTS:
        known = ", ".join(map(repr, OUTPUTS))
        raise UserError(f"load_backbone: `outputs` is unknown. Expected one of {known}. Received: outputs={outputs!r}.")
    lifted = open_model(
        handle,
        weights=weights,
        image_size=image_size,
        arguments=arguments,
        preprocessor=preprocessor,
        sequence_length=sequence_length,
        trust=trust,
    )
    backbone = assemble(
        lifted,
        handle,
        outputs=outputs,
        stages=stages,
        image_size=image_size,
        input_range=input_range,
        random=weights == "random",
        training_mode=training_mode,
        name=name,
    )
    if weights not in ("pretrained", "random") and not _is_keras_weights(handle, weights):
        _take_weights(backbone, weights)
    return backbone


def _checked_texts(handle: Any, weights: Any) -> tuple[str, str]:
    """Both as strings; a `Path` will do."""
    if not isinstance(handle, (str, os.PathLike)):
        raise UserError(
            f"load_backbone: `handle` is no handle. Expected a string or a path, such as 'tlkit:mini-image'. "
            f"Received: handle={handle!r}."
        )
    if weights is None or weights == "imagenet":  # as in keras.applications
        word = "random" if weights is None else "pretrained"
        raise UserError(
            f"load_backbone: `weights` is unknown. Expected 'pretrained', 'random' or the path of a file. Received: "
            f"weights={weights!r}. Write weights={word!r}."
        )
    return os.fspath(handle), os.fspath(weights)


def open_model(
    handle: str,
    *,
    weights: str = "pretrained",
    image_size: int | None = None,
    arguments: Mapping[str, Any] | None = None,
    preprocessor: str | os.PathLike[str] | None = None,
    sequence_length: int | None = None,
    trust: bool = False,
) -> Lifted:
    """Lift the model that a handle names; the arguments are those of `load_backbone`."""
    if handle.startswith(("keras:", KERASHUB)):
        is_hub = handle.startswith(KERASHUB)
        not_taken = {"arguments": arguments, "preprocessor": preprocessor}
        not_taken |= {} if is_hub else {"sequence_length": sequence_length}
        for name, value in not_taken.items():
            if value:
                raise UserError(
                    f"load_backbone: '{handle}' takes no `{name}`. Received: {name}={value!r}. Leave it out."
                )
        if is_hub:
            load_weights = weights == "pretrained"
            with trusting(trust):
                return lift_kerashub(
                    handle.removeprefix(KERASHUB),
                    load_weights=load_weights,
                    sequence_length=sequence_length,
                    image_size=image_size,
                )
        file = weights if _is_keras_weights(handle, weights) else None
        if file and not pathlib.Path(file).is_file():
            raise UserError(f"load_backbone: there is no file of weights '{file}'. Expected '…_notop.h5' or '….h5'.")
        given = "imagenet" if weights == "pretrained" else file
        return lift_keras_model(handle.removeprefix("keras:"), given, image_size)
    entry = find(handle)
    preprocessor = preprocessor or (entry.preprocessor if entry else None)
    with trusting(trust):
        return lift_saved_model(
            find_folder(handle),
            arguments,
            preprocessor=find_folder(os.fspath(preprocessor)) if preprocessor else None,
            sequence_length=sequence_length,
        )


def _is_keras_weights(handle: str, weights: str) -> bool:
    return handle.startswith("keras:") and weights.endswith((".h5", ".hdf5"))


def find_folder(handle: str) -> pathlib.Path:
    """The folder of a handle's SavedModel, downloaded where need be.

    Raises:
        UserError: When there is no such embedded backbone, or the handle cannot be fetched.
    """
    if handle.startswith("tlkit:"):
        embedded = {path.name.replace("_", "-"): path for path in EMBEDDED_FOLDER.iterdir() if path.is_dir()}
        embedded = {name: path for name, path in embedded.items() if (path / "saved_model.pb").is_file()}
        name = handle.removeprefix("tlkit:")
        if name not in embedded:
            known = ", ".join(f"'tlkit:{name}'" for name in sorted(embedded))
            raise UserError(f"load_backbone: there is no embedded backbone '{handle}'. Expected one of: {known}.")
        return embedded[name]
    return hub.resolve(handle) if hub.is_address(handle) else pathlib.Path(handle).expanduser()


def _take_weights(backbone: Backbone, path: str) -> None:
    """Copy the weights of the backbone in a `.keras` file."""
    if not pathlib.Path(path).is_file():
        raise UserError(
            f"load_backbone: `weights` is neither a choice nor a file. Expected 'pretrained', 'random' or the path of "
            f"a '.keras' file. Received: weights={path!r}."
        )
    model = keras.saving.load_model(path, compile=False)
    candidates = [layer for layer in model.layers if isinstance(layer, Backbone)]
    shapes = [tuple(v.shape) for v in backbone.weights]
    source = next((c for c in candidates if [tuple(v.shape) for v in c.weights] == shapes), None)
    if source is None:
        raise UserError(
            f"load_backbone: '{path}' holds no backbone with the weights of '{backbone.handle}'. Expected a model "
            f"that was built on the same backbone. Found: {[c.handle for c in candidates] or 'no backbone'}."
        )
    for target, variable in zip(backbone.weights, source.weights, strict=True):
        target.assign(variable.numpy())
