"""Run in a process of its own: import TensorFlow and try it, one line of JSON for each stage that was reached.

A crash, a hang or an error ends this process, not the one that asked; the lines before it say how far it came.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any

MARK = "tlkit-probe "  # tells these lines from what TensorFlow prints
STAGES = ("tensorflow", "keras", "devices", "compute", "tensorflow_hub")


def _tensorflow() -> dict[str, Any]:
    import tensorflow as tf

    build = tf.sysconfig.get_build_info()
    return {
        "version": tf.__version__,
        "file": tf.__file__,
        "is_cuda_build": bool(build.get("is_cuda_build")),
        "cuda": build.get("cuda_version", ""),
        "cudnn": build.get("cudnn_version", ""),
        "capabilities": list(build.get("cuda_compute_capabilities", ())),
    }


def _keras() -> dict[str, Any]:
    import keras

    return {"version": keras.__version__, "backend": keras.backend.backend()}


def _devices() -> dict[str, Any]:
    import tensorflow as tf

    gpus = []
    for gpu in tf.config.list_physical_devices("GPU"):
        tf.config.experimental.set_memory_growth(gpu, True)  # take what the trial needs, not the whole card
        details = tf.config.experimental.get_device_details(gpu)
        capability = ".".join(map(str, details.get("compute_capability", ())))
        gpus.append({"name": details.get("device_name", gpu.name), "capability": capability})
    return {"gpus": gpus}


def _compute() -> dict[str, Any]:
    """A convolution and its gradient on the CPU and on each card: what training does all day."""
    import tensorflow as tf

    errors = {}
    for device in tf.config.list_logical_devices():
        if device.device_type not in ("CPU", "GPU"):
            continue
        try:
            with tf.device(device.name), tf.GradientTape() as tape:
                kernel = tf.Variable(tf.ones((3, 3, 3, 8)))
                value = tf.reduce_mean(tf.nn.conv2d(tf.ones((2, 32, 32, 3)), kernel, 1, "SAME"))
            tape.gradient(value, kernel).numpy()
        except Exception as error:
            errors[f"{device.device_type}:{device.name.rsplit(':', 1)[-1]}"] = _describe(error)
    return {"errors": errors}


def _tensorflow_hub() -> dict[str, Any]:
    import importlib

    return {"version": importlib.import_module("tensorflow_hub").__version__}  # only to see that it can be imported


def _describe(error: BaseException) -> str:
    lines = str(error).strip().splitlines() or [""]
    # TensorFlow wraps an ImportError's traceback in another's text: the last line that names an error says it.
    line = next((line for line in reversed(lines) if "Error" in line), lines[0])
    return f"{type(error).__name__}: {line.strip()}"[:400]


def main() -> None:
    """Go through the stages; stop where going on makes no sense."""
    stages: dict[str, Callable[[], dict[str, Any]]] = {
        "tensorflow": _tensorflow,
        "keras": _keras,
        "devices": _devices,
        "compute": _compute,
        "tensorflow_hub": _tensorflow_hub,
    }
    failed = set()
    for stage in STAGES:
        if stage == "tensorflow_hub" and "keras" in failed:
            break  # it imports Keras: the same error again
        started = time.perf_counter()
        try:
            result = stages[stage]()
        except BaseException as error:
            result = {"error": _describe(error)}
            failed.add(stage)
        result |= {"stage": stage, "seconds": round(time.perf_counter() - started, 2)}
        print(MARK + json.dumps(result), flush=True)
        if "tensorflow" in failed:
            sys.exit(1)


if __name__ == "__main__":
    main()
