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

from tlkit.errors import UserError

# What TF-Hub's models call their feature vector among several outputs.
_OUTPUT_NAMES = ("default", "pooled_output", "feature_vector")
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
        call: `(input, training) -> output`; `training` is a Python bool, ignored by models that know none.
        specs: The inputs that the inference call takes, one for each signature.
        has_training_graph: Whether `training=True` computes something else.
        losses: Functions without arguments, the regularization losses.
        weights: The variables that the model lists; its call may read others.
        form: How it is called, in words, as in "model(inputs, training)".
    """

    call: Callable[[tf.Tensor, bool], tf.Tensor]
    specs: tuple[tf.TensorSpec, ...]
    has_training_graph: bool
    losses: tuple[Callable[[], tf.Tensor], ...]
    weights: tuple[Weight, ...]
    form: str


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
    weights = _listed_weights(model)
    functions = model.__call__.concrete_functions if callable(model) else []
    forms = [form for form in map(_Form.of, functions) if form is not None]
    inference = [form for form in forms if form.training is not True]
    if inference:
        first = inference[0]
        first.check_arguments(arguments, folder)
        return Interface(
            call=lambda x, training: _main_output(first.apply(model, x, training, arguments, folder), folder),
            specs=tuple(form.spec for form in inference),
            has_training_graph=any(form.training is True or form.is_tensor for form in forms),
            losses=losses,
            weights=weights,
            form=first.words,
        )
    if arguments:
        raise UserError(
            f"load_backbone: the SavedModel in '{folder}' takes no `arguments`, since it is called by a signature. "
            f"Expected none. Received: {', '.join(arguments)}."
        )
    name, key, spec = _plain_signature(model, folder)
    signature = model.signatures[name]
    return Interface(
        call=lambda x, training: _main_output(signature(**{key: x}), folder),
        specs=(tf.TensorSpec(spec.shape, spec.dtype),),
        has_training_graph=False,
        losses=losses,
        weights=weights,
        form=f"signature '{name}' ({key})",
    )


def _listed_weights(model: Any) -> tuple[Weight, ...]:
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
class _Form:
    """One way in which a model was traced."""

    structure: Any  # of the first argument; its one leaf is `spec`
    spec: tf.TensorSpec
    flag: str | None  # name of the argument that tells whether it trains
    training: Any  # what the flag was traced as: False, True, a bool TensorSpec; None without a flag
    others: dict[str, Any]  # the remaining arguments by name: a TensorSpec, or the value that was traced

    @classmethod
    def of(cls, function: Any) -> _Form | None:
        args, kwargs = function.structured_input_signature
        names = list(function.function_type.parameters)
        values = dict(zip(names, args, strict=False)) | kwargs
        if not values or len(args) > len(names):  # `*args` has one name for many values
            return None
        first, *_ = values
        structure = values.pop(first)
        inputs = [leaf for leaf in tf.nest.flatten(structure) if isinstance(leaf, tf.TensorSpec)]
        if len(inputs) != 1:
            return None
        flag = next((name for name in _TRAINING_NAMES if name in values), None) or next(
            (name for name, value in values.items() if isinstance(value, bool)), None
        )
        training = values.pop(flag) if flag else None
        return cls(structure, tf.TensorSpec(inputs[0].shape, inputs[0].dtype), flag, training, values)

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

    def apply(
        self, model: Any, x: tf.Tensor, training: bool, arguments: Mapping[str, Any], folder: pathlib.Path
    ) -> Any:
        """Call the model; what is not in `arguments` takes the value it was traced with, or the model's default."""
        keywords = {name: value for name, value in self.others.items() if not isinstance(value, tf.TensorSpec)}
        for name, value in arguments.items():
            spec = self.others[name]
            keywords[name] = tf.constant(value, spec.dtype) if isinstance(spec, tf.TensorSpec) else value
        if self.flag:
            # Traced without a value for inference, it was traced as None.
            keywords[self.flag] = tf.constant(training) if self.is_tensor else (training or self.training)
        try:
            return model(tf.nest.pack_sequence_as(self.structure, [x]), **keywords)
        except TypeError as error:  # an argument without a default
            missing = [name for name in self.others if name not in keywords]
            if not missing:
                raise
            raise UserError(
                f"The SavedModel in '{folder}' is called as {self.words} and says no value for "
                f"{', '.join(map(repr, missing))}. Give it: `arguments={{{missing[0]!r}: …}}`."
            ) from error


def _main_output(outputs: Any, folder: pathlib.Path) -> tf.Tensor:
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
