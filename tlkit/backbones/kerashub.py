"""`kerashub:PRESET`: KerasHub's text models with their tokenizers, from texts to vectors, and the door to KerasHub.

Its image models are lifted by `kerashub_images`.

A preset is one of KerasHub's own names, an address that it knows (`hf://…`, `kaggle://…`), or a folder: one that
KerasHub saved, or a model in the format of Hugging Face. Its code is KerasHub's; a folder holds settings, words and
weights.
"""

from __future__ import annotations

import difflib
import importlib
import json
import pathlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import tensorflow as tf

from tlkit.backbones.interface import NUM_TOKENS, OUTPUT, SEQUENCE, Interface, Weight
from tlkit.backbones.kerashub_images import lift_images, takes_images
from tlkit.backbones.lift import Lifted, lift
from tlkit.backbones.safety import scan_graph
from tlkit.backbones.texts import (
    USUAL_LENGTH,
    TextInput,
    check_length,
    count_ragged,
    find_lower_case,
    pad_to_length,
    trim_padding,
)
from tlkit.errors import UserError

PREFIX = "kerashub:"
_INPUTS = {"token_ids", "padding_mask", "segment_ids"}  # of an encoder of single texts

# Of the vectors of the tokens and of what is a token and what padding: how sentence-transformers names a way to make
# one vector of them in `1_Pooling/config.json`, that way, and in words.
_Pooling = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
_POOLINGS: dict[str, tuple[_Pooling, str]] = {
    "pooling_mode_mean_tokens": (
        lambda x, mask: tf.reduce_sum(x * mask, 1) / tf.maximum(tf.reduce_sum(mask, 1), 1.0),
        "the mean over its tokens",
    ),
    "pooling_mode_cls_token": (lambda x, mask: x[:, 0], "that of its first token"),
    "pooling_mode_max_tokens": (
        lambda x, mask: tf.reduce_max(tf.where(mask > 0, x, x.dtype.min), 1),
        "the largest over its tokens in each feature",
    ),
    "pooling_mode_mean_sqrt_len_tokens": (
        lambda x, mask: tf.reduce_sum(x * mask, 1) / tf.sqrt(tf.maximum(tf.reduce_sum(mask, 1), 1.0)),
        "the sum over its tokens, by the root of their number",
    ),
}


def lift_kerashub(
    name: str, *, load_weights: bool = True, sequence_length: int | None = None, image_size: int | None = None
) -> Lifted:
    """Open a model of KerasHub: of texts, its tokenizer included, or of images, with what it does to pixels first.

    The vector of a text is pooled as the folder's `1_Pooling/config.json` says (sentence-transformers), or else the
    mean over its tokens. A length of one that sentence-transformers give it at last is left out: an angle between two
    vectors does not know it, and a head learns faster without.

    Args:
        name: The preset: a name, an address or a folder.
        load_weights: Whether to load its weights.
        sequence_length: Tokens after which texts are cut, marks of start and end included. None takes 128, or fewer
            where the model knows no more positions.
        image_size: Height and width of images in pixels. None takes the preset's.

    Raises:
        UserError: When KerasHub is not installed, there is no such preset, it cannot be fetched, it is no encoder of
            texts or images, or does not take what was given.
    """
    hub = _import_hub(name)
    preset = _find(hub, name)
    # Policies, names and a strategy's scope belong to a thread: a fresh one has none of the caller's.
    with ThreadPoolExecutor(1) as thread:
        lifted = thread.submit(_lift, hub, name, preset, load_weights, sequence_length, image_size).result()
    # A folder's settings choose layers; what they amount to is looked at here, as it is when a file is loaded.
    scan_graph(lifted.program.graph_def, f"The model '{PREFIX}{name}'")
    return lifted


def _import_hub(name: str) -> Any:
    try:
        for package in ("tensorflow_text", "safetensors"):  # KerasHub imports without them and fails later
            importlib.import_module(package)
        return importlib.import_module("keras_hub")
    except Exception as error:  # missing, or built for another TensorFlow, which raises several types
        raise UserError(
            f"load_backbone: '{PREFIX}{name}' needs KerasHub, which does not import here ({type(error).__name__}: "
            f"{error}). Expected the packages keras-hub, tensorflow-text and safetensors. Type "
            f"`pip install 'tlkit[kerashub]'`."
        ) from error


def _find(hub: Any, name: str) -> str:
    """What KerasHub calls the preset: its own name, an address, or the path of a folder.

    Raises:
        UserError: When it is none of them.
    """
    folder = pathlib.Path(name).expanduser()
    if folder.is_dir():
        if (folder / "config.json").is_file():
            return str(folder)
        found = ", ".join(sorted(path.name for path in folder.iterdir())[:5]) or "nothing"
        raise UserError(
            f"load_backbone: '{folder}' is no preset of KerasHub. Expected a folder with 'config.json': one that "
            f"`save_to_preset` wrote, or a model in the format of Hugging Face (config.json, model.safetensors, "
            f"vocab.txt). Found: {found}."
        )
    known = hub.models.Backbone.presets
    if name in known or "://" in name:
        return name
    close = difflib.get_close_matches(name, known, n=1)
    advice = f"Did you mean '{PREFIX}{close[0]}'?" if close else "https://keras.io/keras_hub/presets/ lists them."
    raise UserError(
        f"load_backbone: '{PREFIX}{name}' is no preset of KerasHub and no folder. Expected one of its names, or a "
        f"folder with config.json, model.safetensors and vocab.txt. {advice}"
    )


def _lift(
    hub: Any, name: str, preset: str, load_weights: bool, sequence_length: int | None, image_size: int | None
) -> Lifted:
    def load(**options: Any) -> Any:
        return _load(name, lambda: hub.models.Backbone.from_preset(preset, load_weights=load_weights, **options))

    backbone = load()
    is_image = takes_images(backbone)
    what, argument, value = (
        ("images", "sequence_length", sequence_length) if is_image else ("texts", "image_size", image_size)
    )
    if value is not None:
        raise UserError(
            f"load_backbone: '{PREFIX}{name}' reads {what} and takes no `{argument}`. Received: {argument}={value!r}. "
            f"Leave it out, or take a preset of the other kind."
        )
    if is_image:
        _check_converter(name, pathlib.Path(preset))
        converter = _load(name, lambda: hub.layers.ImageConverter.from_preset(preset))
        return lift_images(f"{PREFIX}{name}", backbone, load, converter, image_size)
    return _lift_text(hub, name, preset, backbone, sequence_length)


def _check_converter(name: str, folder: pathlib.Path) -> None:
    """KerasHub's file, or that of Hugging Face."""
    files = ("image_converter.json", "preprocessor_config.json")
    if folder.is_dir() and not any((folder / file).is_file() for file in files):
        raise UserError(
            f"load_backbone: '{PREFIX}{name}' says nothing of what is done to pixels first. Expected the file "
            f"'{files[0]}' in it, which the `save_to_preset` of its preprocessor or whole classifier writes."
        )


def _lift_text(hub: Any, name: str, preset: str, backbone: Any, sequence_length: int | None) -> Lifted:
    wanted = set(backbone.input) if isinstance(backbone.input, dict) else set()
    if "token_ids" not in wanted or not wanted <= _INPUTS:
        raise UserError(
            f"load_backbone: '{PREFIX}{name}' is no encoder of texts or images: it takes "
            f"{', '.join(sorted(wanted)) or 'other'} inputs. Expected a preset such as 'kerashub:bert_tiny_en_uncased' "
            f"or 'kerashub:resnet_18_imagenet'."
        )
    longest = getattr(backbone, "max_sequence_length", None)
    length = min(USUAL_LENGTH, longest or USUAL_LENGTH) if sequence_length is None else sequence_length
    tokenizer = _load(name, lambda: _tokenizer(hub, backbone, preset))
    if isinstance(tokenizer, hub.tokenizers.BytePairTokenizer):
        raise UserError(
            f"load_backbone: '{PREFIX}{name}' cuts texts by byte pairs (as RoBERTa, GPT-2 and BART do), with a table "
            f"inside a loop that cannot be carried in a file. Expected a preset with word pieces or SentencePiece, "
            f"such as BERT, DistilBERT, ELECTRA, ALBERT or DeBERTa."
        )
    pack = _packer(hub, backbone, tokenizer)
    # In a function, or KerasHub takes a way through Python that is no part of the graph. Single letters fit into 8.
    encode = tf.function(lambda texts: pack(tokenizer(texts), 8), autograph=False)
    num_marks = int(np.count_nonzero(encode(tf.constant([""]))["padding_mask"]))
    check_length(length, longest, f"{PREFIX}{name}", fewest=num_marks + 1)
    pool, words = _pooling(name, pathlib.Path(preset))

    def call(texts, training):
        tokens = tokenizer(texts)
        features = pack(tokens, length)
        if "padding_mask" in wanted:  # FNet mixes all tokens, padding too, and knows none
            features = trim_padding(features, "padding_mask")
        outputs = backbone({key: features[key] for key in wanted}, training=training)
        sequence = outputs["sequence_output"] if isinstance(outputs, dict) else outputs
        mask = tf.cast(features["padding_mask"], sequence.dtype)[..., None]
        return {
            OUTPUT: pool(sequence, mask),
            SEQUENCE: pad_to_length(sequence, length),
            NUM_TOKENS: count_ragged(tokens) + num_marks,
        }

    trains = {id(variable) for variable in backbone.trainable_variables}
    interface = Interface(
        call=call,
        specs=(tf.TensorSpec((None,), tf.string),),
        has_training_graph=True,
        losses=(),
        weights=tuple(Weight(v.value, v.path, id(v) in trains) for v in backbone.variables),
        form="model(texts, training)",
        text=TextInput(length, find_lower_case(encode), words),
        sentencepiece=getattr(tokenizer, "proto", None),
    )
    return lift(interface)


def _load(name: str, load: Callable[[], Any]) -> Any:
    try:
        return load()
    except UserError:
        raise
    except Exception as error:  # KerasHub, kagglehub, huggingface_hub and safetensors raise many types
        line = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
        is_folder = pathlib.Path(name).expanduser().is_dir()
        advice = (
            "Expected a folder that `save_to_preset` wrote, or a complete model in the format of Hugging Face "
            "(config.json, model.safetensors, vocab.txt)."
            if is_folder
            else f"Expected a connection, or its files in the cache. Without a network copy the preset's folder from "
            f"another machine and give it: '{PREFIX}/path/of/the/folder'."
        )
        raise UserError(
            f"load_backbone: '{PREFIX}{name}' cannot be {'loaded' if is_folder else 'fetched'}: "
            f"{type(error).__name__}: {line}. {advice}"
        ) from error


def _tokenizer(hub: Any, backbone: Any, preset: str) -> Any:
    """The preset's tokenizer; of a bare folder of BERT, which does not say its case, one that makes letters small."""
    folder = pathlib.Path(preset)
    settings = folder / "tokenizer_config.json"
    known = json.loads(settings.read_text(encoding="utf-8")) if settings.is_file() else {}
    kind = f"{type(backbone).__name__.removesuffix('Backbone')}Tokenizer"
    is_bare = (folder / "vocab.txt").is_file() and "do_lower_case" not in known
    if is_bare and kind in ("BertTokenizer", "DistilBertTokenizer"):
        # `do_lower_case=True` is the default of Hugging Face's tokenizer, too.
        return getattr(hub.models, kind)(str(folder / "vocab.txt"), lowercase=True)
    return hub.models.Tokenizer.from_preset(preset)


def _packer(hub: Any, backbone: Any, tokenizer: Any) -> Callable[[Any, int], dict[str, tf.Tensor]]:
    """A function of ragged tokens and a length: the marks of start and end around them, padded and cut."""
    is_segmented = "segment_ids" in backbone.input

    def pack(tokens, length):
        options = {
            "sequence_length": length,
            "start_value": tokenizer.start_token_id,
            "end_value": tokenizer.end_token_id,
            "pad_value": tokenizer.pad_token_id,
        }
        if not is_segmented:
            token_ids, mask = hub.layers.StartEndPacker(**options, return_padding_mask=True)(tokens)
            return {"token_ids": token_ids, "padding_mask": mask}
        token_ids, segment_ids = hub.layers.MultiSegmentPacker(**options)((tokens,))
        mask = token_ids != tokenizer.pad_token_id
        return {"token_ids": token_ids, "segment_ids": segment_ids, "padding_mask": mask}

    return pack


def _pooling(name: str, folder: pathlib.Path) -> tuple[_Pooling, str]:
    """How the folder says that one vector is made of the tokens', and in words."""
    file = folder / "1_Pooling" / "config.json"
    if not file.is_file():
        return _POOLINGS["pooling_mode_mean_tokens"]
    settings = json.loads(file.read_text(encoding="utf-8"))
    chosen = [key for key, value in settings.items() if key.startswith("pooling_mode") and value is True]
    if len(chosen) != 1 or chosen[0] not in _POOLINGS:
        raise UserError(
            f"load_backbone: '{PREFIX}{name}' pools its tokens in a way that is not known here. Expected one of "
            f"{', '.join(_POOLINGS)} in '1_Pooling/config.json'. Found: {', '.join(chosen) or 'none'}. Correct that "
            f'file, or take `outputs="sequence"` from a copy of the folder without it.'
        )
    return _POOLINGS[chosen[0]]
