"""Switches that change what Keras and TensorFlow do without a word in the program: the environment, keras.json."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tlkit.environment.finding import Finding

_SWITCHES = (
    "KERAS_BACKEND",
    "KERAS_MAX_EPOCHS",
    "KERAS_MAX_STEPS_PER_EPOCH",
    "PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION",
    "TF_USE_LEGACY_KERAS",
)
# What Keras accepts; it refuses to be imported with anything else (keras/src/backend/config.py).
_FLOATS = ("float16", "float32", "float64")
_FORMATS = ("channels_last", "channels_first")


@dataclass(frozen=True)
class KerasSettings:
    """Facts: the switches that are set, and what keras.json says (None where there is none, or none that reads)."""

    switches: Mapping[str, str]
    path: str
    config: Mapping[str, Any] | None
    is_readable: bool = True


def keras_home(environment: Mapping[str, str]) -> Path:
    """The folder of keras.json and of downloaded weights."""
    if environment.get("KERAS_HOME"):
        return Path(os.path.expanduser(environment["KERAS_HOME"]))
    home = os.path.expanduser("~")  # stays "~" for a user without a home, as in some containers
    return Path(home if os.access(home, os.W_OK) else "/tmp") / ".keras"  # as in keras/src/backend/config.py


def look_at_keras_settings(environment: Mapping[str, str] = os.environ) -> KerasSettings:
    """Gather the facts."""
    switches = {name: environment[name] for name in _SWITCHES if environment.get(name)}
    path = keras_home(environment) / "keras.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return KerasSettings(switches, str(path), None)
    except (OSError, ValueError):
        return KerasSettings(switches, str(path), None, is_readable=False)
    return KerasSettings(switches, str(path), config if isinstance(config, dict) else None, isinstance(config, dict))


def judge_keras_settings(settings: KerasSettings) -> list[Finding]:
    """Judge the switches and the file; one finding that says so when nothing is unusual."""
    findings = [*_judge_backend(settings), *_judge_file(settings), *_judge_switches(settings)]
    return findings or [Finding("Keras settings", "backend tensorflow, channels_last, float32")]


def backend_of(settings: KerasSettings) -> str:
    """The backend that Keras takes: the environment goes before the file."""
    return settings.switches.get("KERAS_BACKEND") or str((settings.config or {}).get("backend", "tensorflow"))


def _judge_backend(settings: KerasSettings) -> list[Finding]:
    backend = backend_of(settings)
    if backend == "tensorflow":
        return []
    found = backend if "KERAS_BACKEND" in settings.switches else f'"backend": "{backend}" in {settings.path}'
    meaning = "tlkit works with Keras on TensorFlow only."
    return [Finding("Keras backend", found, "problem", meaning, ("export KERAS_BACKEND=tensorflow",))]


def _judge_file(settings: KerasSettings) -> list[Finding]:
    remove = (f"rm '{settings.path}'",)
    if not settings.is_readable:
        meaning = "Keras cannot read its settings and takes its defaults. Delete the file: it writes a new one."
        return [Finding("keras.json", settings.path, "warning", meaning, remove)]
    config = settings.config or {}
    floats, image = config.get("floatx", "float32"), config.get("image_data_format", "channels_last")
    wrong = [f'"floatx": {floats!r}'] if floats not in _FLOATS else []
    wrong += [f'"image_data_format": {image!r}'] if image not in _FORMATS else []
    wrong += [f'"epsilon": {config["epsilon"]!r}'] if not isinstance(config.get("epsilon", 1e-7), float) else []
    if wrong:
        meaning = "Keras refuses to be imported with that. Delete the file: it writes a new one."
        return [Finding("keras.json", f"{', '.join(wrong)} in {settings.path}", "problem", meaning, remove)]
    findings = []
    if image == "channels_first":
        meaning = "Images of tlkit have their channels last; layers that you add would take the wrong axis for them."
        findings.append(Finding("image data format", f"channels_first in {settings.path}", "warning", meaning, remove))
    if floats != "float32":
        meaning = {
            # Measured: three epochs of the embedded backbone took 27 s instead of 11 s on two cores.
            "float64": "Everything is computed in float64, which takes more than twice the time for nothing.",
            "float16": "Everything is computed in float16, in which small gradients vanish. For speed on a card, use "
            "mixed precision instead.",
        }[floats]
        findings.append(Finding("floatx", f"{floats} in {settings.path}", "warning", meaning, remove))
    return findings


def _judge_switches(settings: KerasSettings) -> list[Finding]:
    switches, findings = settings.switches, []
    if (legacy := switches.get("TF_USE_LEGACY_KERAS", "")).lower() in ("1", "true"):
        # tlkit imports `keras`, which stays Keras 3; https://github.com/keras-team/keras-tuner/issues/1039
        meaning = "`tf.keras` is Keras 2 now, whose layers and models do not go together with tlkit's. Use `keras`."
        findings.append(Finding("TF_USE_LEGACY_KERAS", legacy, "warning", meaning, ("unset TF_USE_LEGACY_KERAS",)))
    for name, things in (("KERAS_MAX_EPOCHS", "epochs"), ("KERAS_MAX_STEPS_PER_EPOCH", "steps in each epoch")):
        if name in switches:
            meaning = f"Every training ends after {switches[name]} {things} without a word."
            findings.append(Finding(name, switches[name], "warning", meaning, (f"unset {name}",)))
    if switches.get("PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION", "") == "python":
        # Old advice against https://github.com/tensorflow/tensorflow/issues/56266
        name = "PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION"
        meaning = "SavedModels are read by slow Python code, which current versions no longer need."
        findings.append(Finding(name, "python", "warning", meaning, (f"unset {name}",)))
    return findings
