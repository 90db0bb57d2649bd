"""What goes into a backbone: checked, and told in words."""

from __future__ import annotations

import dataclasses
from typing import Any

import tensorflow as tf

from tlkit.backbones import input_check
from tlkit.backbones.program import INPUT, Program
from tlkit.backbones.texts import TextInput, check_texts


@dataclasses.dataclass(frozen=True)
class Inputs:
    """What a backbone takes; the attributes are those of `Backbone`, `shape` is its `input_shape`."""

    handle: str
    program: Program
    shape: tuple[int | None, ...]
    native_shape: tuple[int | None, ...]
    input_range: tuple[float, float] | None
    text: TextInput | None

    @property
    def kind(self) -> str:
        """One of "texts", "pixels" and "features": what else a model takes, and the suffix of a `split`."""
        if self.program.input_dtype == tf.string:
            return "texts"
        is_whole = self.program.input == INPUT
        return "pixels" if len(self.shape) == 3 and is_whole and self.program.input_dtype.is_floating else "features"

    def check(self, inputs: Any) -> None:
        """Raise when shape or type are others.

        Raises:
            UserError: When they are, saying how to mend it.
        """
        input_check.check_shape(inputs.shape[1:], self.shape, self.handle)
        if self.kind == "pixels":
            input_check.check_type(inputs.dtype, self.handle)
        elif self.kind == "texts":
            check_texts(inputs.dtype, self.handle)

    def wrong_pixels(self, inputs: Any) -> str | None:
        """The sentence about pixels far beyond [0, 1], or None."""
        return input_check.wrong_pixels(inputs, self.handle) if self.kind == "pixels" else None

    def stop_at_wrong_pixels(self, inputs: tf.Tensor) -> None:
        """Inside a `tf.function`, let it fail at such pixels."""
        if self.kind == "pixels":
            input_check.stop_at_wrong_pixels(inputs, self.handle)

    @property
    def in_words(self) -> str:
        """Size and range of images, case and length of texts."""
        if self.text is not None:
            return self.text.in_words
        if self.kind != "pixels":
            return f"Takes {self.program.input_dtype.name} of shape {('batch', *self.shape)}"
        height, width, channels = self.native_shape
        size = f"{height} x {width} pixels" + (" or any other size" if None in self.shape[:2] else "")
        given = {None: " (assumed, as TF-Hub's models take them)", (0, 1): ""}
        scaled = self.input_range and f", brought to [{self.input_range[0]:g}, {self.input_range[1]:g}] for the model"
        return f"Takes images of {size}, {channels} channels, values in [0, 1]{given.get(self.input_range, scaled)}"


def as_tensor(texts: Any) -> Any:
    """Texts in a list, a tuple or an array as a tensor; a tensor as it is."""
    return texts if hasattr(texts, "dtype") and not hasattr(texts, "tolist") else tf.constant(texts, tf.string)
