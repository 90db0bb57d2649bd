"""Pairs of a preprocessor and an encoder, as TF-Hub's BERT family, called as one model from texts to vectors.

The preprocessor makes a dict of token numbers of a text, `input_word_ids`, `input_mask`, `input_type_ids`; the encoder
takes that dict. https://www.tensorflow.org/text/guide/bert_preprocessing_guide
"""

from __future__ import annotations

import dataclasses
import pathlib
import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from tlkit.backbones.interface import NUM_TOKENS, Form, Interface, Weight, listed_weights, name_outputs
from tlkit.backbones.program import Program
from tlkit.backbones.texts import TextInput, check_length, count_ragged, find_lower_case, pad_to_length, trim_padding
from tlkit.errors import UserError

# Rows of the table of tokens -> the preprocessor with that vocabulary. Its sizes: "vocab_size" in `bert_config.json` of
# https://github.com/google-research/bert#pre-trained-models
_PREPROCESSOR_OF = {
    30522: "https://tfhub.dev/tensorflow/bert_en_uncased_preprocess/3",
    28996: "https://tfhub.dev/tensorflow/bert_en_cased_preprocess/3",
    119547: "https://tfhub.dev/tensorflow/bert_multi_cased_preprocess/3",
}
_MASK = "input_mask"
_TOKEN_TABLE = re.compile(r"(word|token)_?embedding", re.IGNORECASE)
_POSITION_TABLE = re.compile(r"position_?embedding", re.IGNORECASE)


@dataclasses.dataclass(frozen=True)
class Encoder:
    """A model that takes a dict of token numbers.

    Attributes:
        call: `(features, training) -> outputs`.
        specs: The inputs by name.
        has_training_graph: Whether `training=True` computes something else.
        weights: The variables that it lists.
        losses: Functions without arguments, the regularization losses.
        form: How it is called, in words.
    """

    call: Callable[[dict[str, tf.Tensor], bool], dict[str, tf.Tensor]]
    specs: Mapping[str, tf.TensorSpec]
    has_training_graph: bool
    weights: tuple[Weight, ...]
    losses: tuple[Callable[[], tf.Tensor], ...]
    form: str

    def rows(self, table: re.Pattern[str]) -> int | None:
        """How many rows the table with such a name has, of tokens or of positions."""
        found = [w.variable.shape[0] for w in self.weights if table.search(w.name) and w.variable.shape.rank == 2]
        return found[0] if len(found) == 1 else None


def read_encoder(model: Any, folder: pathlib.Path, arguments: Mapping[str, Any]) -> Encoder | None:
    """How to call an encoder of token numbers; None when the model is no such thing.

    Raises:
        UserError: When it knows an argument not.
    """
    losses = tuple(getattr(model, "regularization_losses", None) or ())
    weights = listed_weights(model)
    forms = [Form.of(function) for function in (model.__call__.concrete_functions if callable(model) else [])]
    if any(form is not None and form.spec is not None for form in forms):
        return None
    forms = [form for form in forms if form is not None and _are_numbers(form.structure)]
    inference = [form for form in forms if form.training is not True]
    if inference:
        first = inference[0]
        first.check_arguments(arguments, folder)
        return Encoder(
            call=lambda x, training: name_outputs(first.apply(model, x, training, arguments, folder), folder),
            specs=first.structure,
            has_training_graph=any(form.training is True or form.is_tensor for form in forms),
            weights=weights,
            losses=losses,
            form=first.words,
        )
    signature = getattr(model, "signatures", {}).get("serving_default")
    specs = dict(signature.structured_input_signature[1]) if signature is not None else {}
    if len(specs) < 2 or not _are_numbers(specs):
        return None
    return Encoder(
        call=lambda x, training: name_outputs(signature(**x), folder),
        specs=specs,
        has_training_graph=False,
        weights=weights,
        losses=losses,
        form=f"signature 'serving_default' ({', '.join(sorted(specs))})",
    )


def _are_numbers(specs: Mapping[str, tf.TensorSpec]) -> bool:
    return all(spec.dtype in (tf.int32, tf.int64) for spec in specs.values())


def missing_preprocessor(encoder: Encoder, folder: pathlib.Path) -> UserError:
    """What to say of an encoder without one."""
    rows = encoder.rows(_TOKEN_TABLE)
    known = _PREPROCESSOR_OF.get(rows)
    example = known or _PREPROCESSOR_OF[30522]
    why = f", which has its vocabulary of {rows:,} tokens" if known else " if that is the vocabulary it was trained on"
    inputs = ", ".join(sorted(encoder.specs))
    return UserError(
        f"load_backbone: the model in '{folder}' takes no texts but numbers of tokens: {inputs}. "
        f"Expected `preprocessor`, the model that makes them, as its page names it. Give its handle or folder, such as "
        f"preprocessor='{example}'{why}."
    )


def read_pair(
    encoder: Encoder, folder: pathlib.Path, preprocessor: Any, where: pathlib.Path, sequence_length: int | None
) -> Interface:
    """Join both to one model of texts.

    Args:
        encoder: The second of the pair.
        folder: Its folder, for messages.
        preprocessor: What `tf.saved_model.load(where)` returned.
        where: The preprocessor's folder.
        sequence_length: Tokens after which texts are cut; None takes the preprocessor's own.

    Raises:
        UserError: When the two do not fit, or the length is not to be had.
    """
    tokens = _Tokens.of(preprocessor, where)
    empty = tokens.whole(tf.constant([""]))
    missing = sorted(set(encoder.specs) - set(empty))
    if missing:
        raise UserError(
            f"load_backbone: the preprocessor in '{where}' does not fit the encoder in '{folder}', which also takes "
            f"{', '.join(missing)}. Expected the preprocessor that the encoder's page names. It makes: "
            f"{', '.join(sorted(empty))}."
        )
    own = int(empty[sorted(encoder.specs)[0]].shape[1])
    length = own if sequence_length is None else sequence_length
    num_marks = int(np.max([np.count_nonzero(empty[name]) for name in encoder.specs]))
    check_length(length, encoder.rows(_POSITION_TABLE), str(folder), fewest=num_marks + 1)
    if length != own and tokens.pack is None:
        raise UserError(
            f"load_backbone: the preprocessor in '{where}' cuts texts after {own} tokens only, since it has no "
            f"`tokenize` and `bert_pack_inputs`. Expected no `sequence_length`. Received: "
            f"sequence_length={sequence_length!r}."
        )

    # What says where padding is has this name in all of TF-Hub's encoders.
    takes_any_length = _MASK in encoder.specs and all(spec.shape[1] is None for spec in encoder.specs.values())

    def call(texts, training):
        features, counts = tokens.features(texts, length, num_marks)
        features = {
            name: tf.cast(tf.ensure_shape(features[name], (None, length)), spec.dtype)
            for name, spec in encoder.specs.items()
        }
        outputs = encoder.call(trim_padding(features, _MASK) if takes_any_length else features, training)
        if takes_any_length:
            of_tokens = {name: x for name, x in outputs.items() if x.shape.rank == 3 and x.shape[1] is None}
            outputs |= {name: pad_to_length(x, length) for name, x in of_tokens.items()}
        return {**outputs, **counts}

    lower_case = find_lower_case(lambda texts: [tokens.whole(texts)[name] for name in encoder.specs])
    return Interface(
        call=call,
        specs=(tf.TensorSpec((None,), tf.string),),
        has_training_graph=encoder.has_training_graph,
        losses=encoder.losses,
        weights=encoder.weights,
        form=f"{encoder.form} of what '{where.name}' makes of texts",
        text=TextInput(length, lower_case),
    )


def check_vocabulary(encoder: Encoder, folder: pathlib.Path, program: Program, where: pathlib.Path) -> None:
    """Raise when a vocabulary in a lookup table has more words than the encoder has rows for.

    Raises:
        UserError: When it has: such a word would be an error on a CPU, and silently zeros on a GPU.
    """
    rows = encoder.rows(_TOKEN_TABLE)
    tables = [program.constant(table.values) for table in program.tables]
    largest = max((int(values.max()) for values in tables if values.size and values.dtype.kind == "i"), default=-1)
    if rows is not None and largest >= rows:
        raise UserError(
            f"load_backbone: the vocabulary of the preprocessor in '{where}' does not fit the encoder in '{folder}'. "
            f"Expected numbers below {rows:,}, the rows of its table. Found: {largest:,}. Give the preprocessor that "
            f"the encoder's page names."
        )


@dataclasses.dataclass(frozen=True)
class _Tokens:
    """A preprocessor: `whole` makes features of texts; its two halves, where it has them, to any length."""

    whole: Callable[[tf.Tensor], dict[str, tf.Tensor]]
    tokenize: Callable[[tf.Tensor], tf.RaggedTensor] | None
    pack: Callable[..., dict[str, tf.Tensor]] | None

    @classmethod
    def of(cls, model: Any, where: pathlib.Path) -> _Tokens:
        halves = [getattr(model, name, None) for name in ("tokenize", "bert_pack_inputs")]
        tokenize, pack = halves if all(map(callable, halves)) else (None, None)
        forms = map(Form.of, model.__call__.concrete_functions if callable(model) else [])
        form = next((f for f in forms if f is not None and f.spec is not None and f.spec.dtype == tf.string), None)
        if form is not None:
            return cls(lambda texts: form.apply(model, texts, False, {}, where), tokenize, pack)
        signature = getattr(model, "signatures", {}).get("serving_default")
        specs = dict(signature.structured_input_signature[1]) if signature is not None else {}
        if len(specs) != 1 or next(iter(specs.values())).dtype != tf.string:
            raise UserError(
                f"load_backbone: the model in '{where}' is no preprocessor: it cannot be called on a batch of texts. "
                f"Expected a SavedModel that makes numbers of tokens of texts, as the encoder's page names it."
            )
        [key] = specs
        return cls(lambda texts: dict(signature(**{key: texts})), tokenize, pack)

    def features(
        self, texts: tf.Tensor, length: int, num_marks: int
    ) -> tuple[dict[str, tf.Tensor], dict[str, tf.Tensor]]:
        """What the encoder takes, and where it can be told how many tokens there were before cutting."""
        if self.tokenize is None or self.pack is None:
            return self.whole(texts), {}
        tokens = self.tokenize(texts)
        features = self.pack([tokens], seq_length=tf.constant(length))
        return features, {NUM_TOKENS: count_ragged(tokens) + num_marks}
