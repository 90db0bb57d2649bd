"""What a loaded SavedModel offers: how it is called, on which inputs, with which losses.

TF-Hub's Reusable SavedModel interface (https://www.tensorflow.org/hub/reusable_saved_models), or else a plain
signature.
"""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf

from tlkit.backbones.texts import TextInput, find_lower_case
from tlkit.errors import UserError

# What a call returns several tensors under.
OUTPUT, SEQUENCE, NUM_TOKENS, SPATIAL = "output", "sequence", "num_tokens", "spatial"

# What TF-Hub's models call their feature vector among several outputs.
_OUTPUT_NAMES = ("default", "pooled_output", "feature_vector")
# What its encoders of texts call the vectors of the single tokens.
_SEQUENCE_NAME = "sequence_output"
# What TF-Hub, Keras and older code call the flag.
_TRAINING_NAMES = ("training", "is_training", "train")
# Signatures to fall back on: TensorFlow's own default, and that of models converted from TF-Hub's first format.
_SIGNATURES = ("serving_default", "default")


@dataclasses.dataclass(frozen=True)
class Weight:
    """A variable of a model, the name it goes by, and whether its maker meant it to train."""

    variable: tf.Variable
    name: str
    trainable: bool

    @classmethod
    def of(cls, variable: tf.Variable) -> Weight:
        return cls(variable, variable.name.split(":")[0], variable.trainable)


@dataclasses.dataclass(frozen=True)
class Interface:
    """How to call a model.

    Attributes:
        call: `(input, training) -> output`; `training` is a Python bool, ignored by models that know none. Models of
            texts may return a dict of `OUTPUT`, `SEQUENCE` (a vector a token) and `NUM_TOKENS` (before cutting);
            Transformers of images one of `OUTPUT` and `SPATIAL`, their patches as a map.
        specs: The inputs that the inference call takes, one for each signature.
        has_training_graph: Whether `training=True` computes something else.
        losses: Functions without arguments, the regularization losses.
        weights: The variables that the model lists; its call may read others.
        form: How it is called, in words, as in "model(inputs, training)".
        text: What it does with texts first; None of a model of images.
        sentencepiece: The one model of SentencePiece that its tokenizer holds in a resource, or None.
    """

    call: Callable[[tf.Tensor, bool], tf.Tensor | dict[str, tf.Tensor]]
    specs: tuple[tf.TensorSpec, ...]
    has_training_graph: bool
    losses: tuple[Callable[[], tf.Tensor], ...]
    weights: tuple[Weight, ...]
    form: str
    text: TextInput | None = None
    sentencepiece: bytes | None = None


def read_interface(model: Any, folder: pathlib.Path, arguments: Mapping[str, Any]) -> Interface:
    """Find out how to call what `tf.saved_model.load(folder)` returned.

    Args:
        model: What was loaded.
        folder: Where from, for messages.
        arguments: Arguments of the call besides the input and `training`, such as `batch_norm_momentum`.

    Raises:
        UserError: When the model cannot be called on one batch, knows an argument not, lacks one, or returns several
            tensors with none to prefer.
    """
    losses = tuple(getattr(model, "regularization_losses", None) or ())
    weights = listed_weights(model)
    functions = model.__call__.concrete_functions if callable(model) else []
    forms = [form for form in map(Form.of, functions) if form is not None and form.spec is not None]
    inference = [form for form in forms if form.training is not True]
    if inference:
        first = inference[0]
        first.check_arguments(arguments, folder)

        def call(x, training):
            return name_outputs(first.apply(model, x, training, arguments, folder), folder)

        return Interface(
            call=call,
            specs=tuple(form.spec for form in inference),
            has_training_graph=any(form.training is True or form.is_tensor for form in forms),
            losses=losses,
            weights=weights,
            form=first.words,
            text=_text_input(call, first.spec),
        )
    if arguments:
        raise UserError(
            f"load_backbone: the SavedModel in '{folder}' takes no `arguments`, since it is called by a signature. "
            f"Expected none. Received: {', '.join(arguments)}."
        )
    name, key, spec = _plain_signature(model, folder)
    signature = model.signatures[name]

    def call_signature(x, training):
        return name_outputs(signature(**{key: x}), folder)

    spec = _as_batch(spec)
    return Interface(
        call=call_signature,
        specs=(spec,),
        has_training_graph=False,
        losses=losses,
        weights=weights,
        form=f"signature '{name}' ({key})",
        text=_text_input(call_signature, spec),
    )


def _as_batch(spec: tf.TensorSpec) -> tf.TensorSpec:
    """Without its name; texts of an unknown shape are a batch of them."""
    is_unknown = spec.dtype == tf.string and spec.shape.rank is None
    return tf.TensorSpec((None,) if is_unknown else spec.shape, spec.dtype)


def _text_input(call: Callable[..., Any], spec: tf.TensorSpec) -> TextInput | None:
    if spec.dtype != tf.string or spec.shape.rank != 1:
        return None
    outputs = (lambda texts: call(texts, False)[OUTPUT]) if spec.shape[0] is None else None
    return TextInput(lower_case=find_lower_case(outputs) if outputs else None)


def listed_weights(model: Any) -> tuple[Weight, ...]:
    """The variables that a loaded model lists, those that it says train among them."""
    listed = getattr(model, "variables", None) or ()
    trains = getattr(model, "trainable_variables", None)
    if trains is None:
        return tuple(map(Weight.of, listed))
    handles = {id(variable.handle) for variable in trains}
    found = {id(v.handle): v for v in [*listed, *trains]}
    return tuple(
        dataclasses.replace(Weight.of(variable), trainable=handle in handles) for handle, variable in found.items()
    )


def _plain_signature(model: Any, folder: pathlib.Path) -> tuple[str, str, tf.TensorSpec]:
    """The name of the signature to call, of its one input, and the input's spec."""
    signatures = dict(getattr(model, "signatures", {}))
    names = [name for name in _SIGNATURES if name in signatures] or (list(signatures) if len(signatures) == 1 else [])
    for name in names:
        inputs = signatures[name].structured_input_signature[1]
        if len(inputs) == 1:
            [(key, spec)] = inputs.items()
            return name, key, spec
    found = {name: sorted(f.structured_input_signature[1]) for name, f in signatures.items()}
    words = "; ".join(f"'{name}' of {', '.join(keys) or 'no input'}" for name, keys in found.items())
    raise UserError(
        f"The SavedModel in '{folder}' cannot be called on one batch. Expected a model that is called as "
        f"`model(images)` or a signature 'serving_default' with one input. Found signatures: {words or 'none'}. "
        f"Export it with `tf.saved_model.save(module, folder)` from a module with such a `__call__`."
    )


@dataclasses.dataclass(frozen=True)
class Form:
    """One way in which a model was traced."""

    structure: Any  # of the first argument; its one leaf is `spec`
    spec: tf.TensorSpec | None  # None where the first argument is a dict of several tensors
    flag: str | None  # name of the argument that tells whether it trains
    training: Any  # what the flag was traced as: False, True, a bool TensorSpec; None without a flag
    others: dict[str, Any]  # the remaining arguments by name: a TensorSpec, or the value that was traced

    @classmethod
    def of(cls, function: Any) -> Form | None:
        args, kwargs = function.structured_input_signature
        names = list(function.function_type.parameters)
        values = dict(zip(names, args, strict=False)) | kwargs
        if not values or len(args) > len(names):  # `*args` has one name for many values
            return None
        first, *_ = values
        structure = values.pop(first)
        inputs = [leaf for leaf in tf.nest.flatten(structure) if isinstance(leaf, tf.TensorSpec)]
        is_dict = isinstance(structure, dict) and len(structure) == len(inputs) > 1
        if len(inputs) != 1 and not is_dict:
            return None
        flag = next((name for name in _TRAINING_NAMES if name in values), None) or next(
            (name for name, value in values.items() if isinstance(value, bool)), None
        )
        training = values.pop(flag) if flag else None
        return cls(structure, None if is_dict else _as_batch(inputs[0]), flag, training, values)

    @property
    def is_tensor(self) -> bool:
        return isinstance(self.training, tf.TensorSpec)

    @property
    def words(self) -> str:
        return f"model({', '.join(['inputs', *([self.flag] if self.flag else []), *self.others])})"

    def check_arguments(self, arguments: Mapping[str, Any], folder: pathlib.Path) -> None:
        for name in arguments:
            if name not in self.others:
                known = ", ".join(map(repr, self.others)) or "none"
                raise UserError(
                    f"load_backbone: `arguments` names {name!r}, which the SavedModel in '{folder}' does not know. "
                    f"Expected one of: {known}. It is called as {self.words}."
                )

    def apply(self, model: Any, x: Any, training: bool, arguments: Mapping[str, Any], folder: pathlib.Path) -> Any:
        """Call the model on a tensor, or on a dict of them.

        What is not in `arguments` takes the value it was traced with, or the model's default.
        """
        keywords = {name: value for name, value in self.others.items() if not isinstance(value, tf.TensorSpec)}
        for name, value in arguments.items():
            spec = self.others[name]
            keywords[name] = tf.constant(value, spec.dtype) if isinstance(spec, tf.TensorSpec) else value
        if self.flag:
            # Traced without a value for inference, it was traced as None.
            keywords[self.flag] = tf.constant(training) if self.is_tensor else (training or self.training)
        try:
            inputs = tf.nest.pack_sequence_as(self.structure, [x]) if self.spec is not None else x
            return model(inputs, **keywords)
        except TypeError as error:  # an argument without a default
            missing = [name for name in self.others if name not in keywords]
            if not missing:
                raise
            raise UserError(
                f"The SavedModel in '{folder}' is called as {self.words} and says no value for "
                f"{', '.join(map(repr, missing))}. Give it: `arguments={{{missing[0]!r}: …}}`."
            ) from error


def name_outputs(outputs: Any, folder: pathlib.Path) -> dict[str, tf.Tensor]:
    """The tensors of a model that are of use, under our own names."""
    found = {OUTPUT: main_output(outputs, folder)}
    if isinstance(outputs, dict) and _SEQUENCE_NAME in outputs:
        found[SEQUENCE] = outputs[_SEQUENCE_NAME]
    return found


def main_output(outputs: Any, folder: pathlib.Path) -> tf.Tensor:
    """The one tensor a model returns; of several named ones, the feature vector."""
    named = outputs if isinstance(outputs, dict) else {}
    for name in _OUTPUT_NAMES:
        if name in named:
            return named[name]
    leaves = tf.nest.flatten(outputs)
    if len(leaves) != 1:
        found = f"named {sorted(named)}" if named else f"{len(leaves)} of them, without names"
        raise UserError(
            f"The SavedModel in '{folder}' returns several tensors, {found}. Expected one feature vector or map, or "
            f"one of the names {', '.join(map(repr, _OUTPUT_NAMES))}. Export it with one output."
        )
    return leaves[0]
