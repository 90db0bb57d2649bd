"""What a training is made of, in words that can be stored and compared."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from typing import Any

import keras

from tlkit.distribution import from_chief
from tlkit.errors import UserError

RATE = "learning_rate"
# What training itself changes (stages open, layers are frozen and opened), and the graph of a `Backbone`, in which
# TensorFlow numbers the names anew each time that it is loaded: handle, stages and weights are compared instead.
_LEFT_OUT = ("trainable", "num_open", "program", "training_program", "endpoints", "training_endpoints")
_LONGEST = 80  # characters: a graph's bytes are compared, not shown


def describe_run(model: keras.Model, steps: int | None, fingerprint: Any) -> dict[str, Any]:
    """The parts of a training that must be the same when it is gone on with.

    Names that Keras made up (`dense_3`) count by their place only: they are others when a notebook's cell runs again.

    Args:
        model: The compiled model.
        steps: Steps an epoch, or None where it is not known.
        fingerprint: What the user wants to be the same.

    Returns:
        Nested dicts of texts and numbers, which survive JSON.
    """
    layers = all_layers(model)
    places = {layer.name: f"{type(layer).__name__} {place}" for place, layer in enumerate(layers)}
    places[model.name] = type(model).__name__
    try:
        structure = model.get_config()
    except Exception:  # a subclassed model without one, or a layer whose config is broken
        structure = [type(layer).__name__ for layer in layers]
    compiled = _compile_config(model)
    optimizer = compiled.get("optimizer") or {}
    settings = dict(optimizer.get("config", {})) if isinstance(optimizer, dict) else {}
    settings.pop("name", None)
    if "layerwise" in settings:  # paths of weights hold the numbers that Keras gives to layers without a name
        layerwise = settings["layerwise"]
        settings["layerwise"] = {**layerwise, "weights": [group for _, _, group in layerwise["weights"]]}
    rate = settings.get(RATE)
    if isinstance(rate, int | float):
        del settings[RATE]  # callbacks change it
    # What only says how often Python is asked does not change a number.
    training = {k: v for k, v in compiled.items() if k not in ("optimizer", "run_eagerly", "steps_per_execution")}
    return {
        "model": _words(structure, places),
        "weights": [f"{tuple(v.shape)} {v.dtype}" for v in model.weights],
        "compile": _words(training, places),
        "optimizer": {"class": type(model.optimizer).__name__, **_words(settings, places)},
        RATE: rate if isinstance(rate, int | float) else None,
        "steps_per_epoch": steps,
        "devices": model.distribute_strategy.num_replicas_in_sync,
        "fingerprint": _words(fingerprint, {}),
    }


def check_same_run(saved: dict[str, Any], now: dict[str, Any], saved_rate: float, directory: os.PathLike[str]) -> None:
    """Refuse to go on with another training.

    Args:
        saved: Description of the run that was saved.
        now: Description of this one.
        saved_rate: The learning rate when it was saved, which callbacks may have lowered; a second `fit` in the same
            process begins with it.
        directory: For the message.

    Raises:
        UserError: Naming the first three differences.
    """
    if now[RATE] == saved_rate:
        now = {**now, RATE: saved[RATE]}
    found = differences(saved, now)
    if found:
        more = f" and {len(found) - 3} more" if len(found) > 3 else ""
        raise UserError(
            f"ExactResume: this is not the training saved in '{directory}'. Expected the same model, optimizer and "
            f"data. Different (saved -> now): {'; '.join(found[:3])}{more}. Set it back to go on, or begin anew with "
            f"`resume.clear()` or another directory."
        )


def check_same_workers(description: dict[str, Any]) -> None:
    """Refuse to train what the chief does not train: several workers take every step together.

    Raises:
        UserError: On another worker than the chief, naming the first three differences.
    """
    found = differences(from_chief(lambda: description), description)
    if found:
        raise UserError(
            f"ExactResume: the workers do not train the same. Expected the same settings, data and model on all of "
            f"them. Different (chief -> here): {'; '.join(found[:3])}. Give all the same command, and the same data."
        )


def differences(before: Any, now: Any, path: str = "") -> list[str]:
    """Each leaf in which two descriptions differ, as `place: before -> now`.

    Example:
        >>> differences({"seed": 1, "layers": [8, 2]}, {"seed": 1, "layers": [8, 3]})
        ['layers.1: 2 -> 3']
    """
    if isinstance(before, dict) and isinstance(now, dict):
        keys = [*before, *(key for key in now if key not in before)]
        pairs = [(key, before.get(key, _ABSENT), now.get(key, _ABSENT)) for key in keys]
    elif isinstance(before, list) and isinstance(now, list):
        length = max(len(before), len(now))
        pairs = [
            (_place(i, before, now), *(side[i] if i < len(side) else _ABSENT for side in (before, now)))
            for i in range(length)
        ]
    else:
        return [] if before == now else [f"{path or 'value'}: {_shown(before)} -> {_shown(now)}"]
    return [line for key, a, b in pairs for line in differences(a, b, f"{path}.{key}" if path else str(key))]


def all_layers(model: keras.Model) -> list[keras.layers.Layer]:
    """The layers of a model, those of nested models after the model that holds them."""
    found: list[keras.layers.Layer] = []
    for layer in model.layers:
        found.append(layer)
        if hasattr(layer, "layers"):
            found.extend(all_layers(layer))
    return found


_ABSENT = "(absent)"


def _place(index: int, *sides: list[Any]) -> str:
    """A layer is told by its class, any other item by its number."""
    for side in sides:
        item = side[index] if index < len(side) else None
        if isinstance(item, dict) and "class_name" in item:
            return f"{index} ({item['class_name']})"
    return str(index)


def _compile_config(model: keras.Model) -> dict[str, Any]:
    try:
        return model.get_compile_config() or {}
    except Exception:  # a loss or an optimizer of the user's that does not say what it is made of
        return {"loss": model.loss}


def _words(value: Any, places: Mapping[str, str]) -> Any:
    """Texts, numbers, lists and dicts only, without what training changes and without chance names."""
    if isinstance(value, Mapping):
        kept = {k: v for k, v in value.items() if k not in _LEFT_OUT}
        words = {places.get(str(k), str(k)): _words(v, places) for k, v in kept.items()}
        name = kept.get("name")
        if isinstance(name, str) and name not in places:
            words["name"] = re.sub(r"_\d+$", "", name)  # of optimizers and losses: Keras numbers them as it does layers
        return words
    if isinstance(value, list | tuple):
        return [_words(item, places) for item in value]
    if isinstance(value, str):
        text = places.get(value, value)
        return text if len(text) <= _LONGEST else f"{text[:20]}… (sha256 {_sha(text)})"
    if value is None or isinstance(value, bool | int | float):
        return value
    if hasattr(value, "tolist"):  # NumPy
        return _words(value.tolist(), places)
    if isinstance(value, bytes):
        return f"{len(value)} bytes (sha256 {_sha(value.hex())})"
    if callable(value) and hasattr(value, "__qualname__"):
        return f"{value.__module__}.{value.__qualname__}"
    return type(value).__name__  # `repr` may show where in memory it is


def _sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _shown(value: Any) -> str:
    text = value if value == _ABSENT else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
