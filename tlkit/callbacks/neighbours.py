"""Which callbacks take part in the same `fit`."""

from __future__ import annotations

import types
from typing import Any

import keras


def neighbours(callback: keras.callbacks.Callback, frame: types.FrameType | None) -> list[Any] | None:
    """The callbacks of the running `fit` that a callback takes part in, itself included; None outside of one.

    Keras tells a callback nothing of the others, so the list that calls it is looked up among those who are calling.
    """
    while frame is not None:
        for value in frame.f_locals.values():
            if isinstance(value, keras.callbacks.CallbackList) and any(c is callback for c in value.callbacks):
                return list(value.callbacks)
        frame = frame.f_back
    return None
