"""Numbers to compute in, by the device."""

from __future__ import annotations

import functools

import tensorflow as tf

from tlkit.distribution.together import from_chief
from tlkit.errors import UserError

PRECISIONS = ("auto", "float32", "mixed_float16", "mixed_bfloat16")

# Compute capabilities from which NVIDIA's cards have units for these numbers ("Mixed precision",
# https://www.tensorflow.org/guide/mixed_precision, and CUDA's list of capabilities).
_FLOAT16, _BFLOAT16 = (7, 0), (8, 0)


def choose_precision(name: str = "auto") -> str:
    """The policy for `keras.config.set_dtype_policy`; "auto" chooses by the device, and says what and why.

    Args:
        name: "float32", "mixed_float16" or "mixed_bfloat16", which are taken as they are, or "auto":
            "mixed_bfloat16" on a TPU and on GPUs of compute capability 8.0 and more, "mixed_float16" from 7.0,
            "float32" on older GPUs and on a CPU. Of several GPUs the oldest decides, of several workers the chief.

    Returns:
        One of the other three.

    Raises:
        UserError: When `name` is unknown.

    Example:
        >>> choose_precision("float32")
        'float32'
    """
    if name not in PRECISIONS:
        raise UserError(
            f"choose_precision: there is no precision {name!r}. Expected one of {', '.join(map(repr, PRECISIONS))}."
        )
    return _by_device() if name == "auto" else name


@functools.cache  # said once
def _by_device() -> str:
    policy, why = from_chief(_policy_and_reason)
    print(f"Precision: {policy}, since {why}.")
    return policy


def _policy_and_reason() -> tuple[str, str]:
    if tf.config.list_logical_devices("TPU"):
        return "mixed_bfloat16", "a TPU computes in it"
    details = [tf.config.experimental.get_device_details(gpu) for gpu in tf.config.list_physical_devices("GPU")]
    known = [detail for detail in details if detail.get("compute_capability")]
    if not details:
        return "float32", "there is no GPU, and a CPU gains nothing from 16 bits"
    if len(known) < len(details):
        return "float32", "the GPU does not say what it can do"
    oldest = min(known, key=lambda detail: detail["compute_capability"])
    capability = oldest["compute_capability"]
    what = f"{oldest.get('device_name', 'the GPU')} has compute capability {capability[0]}.{capability[1]}"
    if capability >= _BFLOAT16:
        return "mixed_bfloat16", what
    if capability >= _FLOAT16:
        return "mixed_float16", what
    return "float32", f"{what}, too old to gain from 16 bits"
