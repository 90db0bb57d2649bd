"""What goes into a backbone of texts: how long, in which case, and how its tokens become one vector."""

from __future__ import annotations

import dataclasses
import string
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tlkit.errors import UserError

# What most published pairs are exported with; a preset of KerasHub takes it, too, where it may be as long.
USUAL_LENGTH = 128


@dataclasses.dataclass(frozen=True)
class TextInput:
    """What a backbone does with a text before it computes.

    Attributes:
        sequence_length: Tokens, its own marks of start and end among them, after which a text is cut; None where it
            takes all of a text.
        lower_case: Whether capitals are made small first; None where that could not be found out.
        pooling: In words, what the one vector of a text is made of; None where the model itself knows alone.
    """

    sequence_length: int | None = None
    lower_case: bool | None = None
    pooling: str | None = None

    @property
    def in_words(self) -> str:
        """Such as "Takes texts, lower-cased, cut after 128 tokens; one vector a text is the mean over its tokens"."""
        case = {True: ", lower-cased", False: ", capitals kept", None: ""}[self.lower_case]
        cut = f", cut after {self.sequence_length} tokens" if self.sequence_length else ""
        pooled = f"; the vector of a text is {self.pooling}" if self.pooling else ""
        return f"Takes texts{case}{cut}{pooled}"


def find_lower_case(encode: Callable[[tf.Tensor], Any]) -> bool | None:
    """Whether single letters come out the same in capitals; None when all letters do, being unknown.

    Args:
        encode: From a batch of texts to tensors whose first dimension is the batch.
    """
    small = list(string.ascii_lowercase)

    def encoded(letters: Sequence[str]) -> np.ndarray:
        tensors = tf.nest.flatten(encode(tf.constant(letters)), expand_composites=False)
        dense = [t.to_tensor() if isinstance(t, tf.RaggedTensor) else t for t in tensors]
        return np.concatenate([np.reshape(tensor, (len(letters), -1)).astype(float) for tensor in dense], axis=1)

    # Together, so that texts of ragged lengths are padded to the same.
    both = encoded([*small, *(letter.upper() for letter in small)])
    if (both == both[0]).all():
        return None
    return bool((both[: len(small)] == both[len(small) :]).all())


def count_ragged(tokens: tf.RaggedTensor | tf.Tensor) -> tf.Tensor:
    """Tokens of each text, whether they are grouped by words or not."""
    if not isinstance(tokens, tf.RaggedTensor):
        tokens = tf.RaggedTensor.from_tensor(tokens)
    while tokens.shape.rank > 2:
        tokens = tokens.merge_dims(1, 2)
    return tf.cast(tokens.row_lengths(), tf.int32)


def trim_padding(features: Mapping[str, tf.Tensor], mask: str) -> dict[str, tf.Tensor]:
    """Token numbers without the columns that are padding in every text of the batch.

    Attention never looks at padding, so the vectors are the same; short texts cost what they are worth, not what the
    longest allowed would.

    Args:
        features: Tensors `(batch, length)`, padded at the end.
        mask: The key of the one that is not 0 where there is a token.
    """
    used = tf.math.count_nonzero(features[mask], axis=1, dtype=tf.int32)
    # Eights are what matrix units compute in, and fewer lengths are fewer programs that a GPU's libraries look for.
    width = 8 * ((tf.maximum(tf.reduce_max(used), 1) + 7) // 8)
    return {name: tensor[:, :width] for name, tensor in features.items()}


def pad_to_length(vectors: tf.Tensor, length: int) -> tf.Tensor:
    """Vectors of tokens `(batch, tokens, features)` with zeros after them, up to `length` tokens."""
    padded = tf.pad(vectors, [[0, 0], [0, length - tf.shape(vectors)[1]], [0, 0]])
    return tf.ensure_shape(padded, (None, length, vectors.shape[-1]))


def check_length(sequence_length: int, longest: int | None, handle: str, fewest: int = 1) -> None:
    """Raise when a model has no positions for so many tokens.

    Raises:
        UserError: When `sequence_length` is no whole number, leaves no room for a token, or is too large.
    """
    is_whole = isinstance(sequence_length, (int, np.integer)) and not isinstance(sequence_length, bool)
    if is_whole and fewest <= sequence_length and (longest is None or sequence_length <= longest):
        return
    end = f"{fewest} to {longest}, the positions that '{handle}' knows" if longest else f"{fewest} on"
    raise UserError(
        f"load_backbone: `sequence_length` is out of range. Expected a whole number of tokens from {end}. Received: "
        f"sequence_length={sequence_length!r}."
    )


def check_texts(dtype: tf.DType, handle: str) -> None:
    """Raise when the input of a backbone of texts is no string.

    Raises:
        UserError: When it is something else, such as the numbers of a vectorization.
    """
    if tf.as_dtype(dtype) != tf.string:
        raise UserError(
            f"Backbone: '{handle}' received {tf.as_dtype(dtype).name}. Expected texts as strings: it cuts them into "
            f"tokens itself. Leave out vectorization, and take `keras.Input((), dtype='string')`."
        )
