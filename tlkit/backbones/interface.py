"""What a loaded SavedModel offers: how it is called, on which inputs, with which losses.

TF-Hub's Reusable SavedModel interface (https://www.tensorflow.org/hub/reusable_saved_models), or else a plain
signature.
"""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from tlkit.errors import UserError

# What TF-Hub's models call their feature vector among several outputs.
_OUTPUT_NAMES = ("default", "pooled_output", "feature_vector")


@dataclasses.dataclass(frozen=True)
class Interface:
    """How to call a model.

    Attributes:
        call: `(input, training) -> output`; `training` is a Python bool, ignored by models that know none.
        specs: The inputs that the inference call takes, one for each signature.
        has_training_graph: Whether `training=True` computes something else.
        losses: Functions without arguments, the regularization losses.
    """

    call: Callable[[tf.Tensor, bool], tf.Tensor]
    specs: tuple[tf.TensorSpec, ...]
    has_training_graph: bool
    losses: tuple[Callable[[], tf.Tensor], ...]


def read_interface(model: Any, folder: pathlib.Path) -> Interface:
    """Find out how to call what `tf.saved_model.load(folder)` returned.

    Raises:
        UserError: When the model cannot be called on one batch, or returns several tensors with none to prefer.
    """
    losses = tuple(getattr(model, "regularization_losses", None) or ())
    functions = model.__call__.concrete_functions if callable(model) else []
    forms = [form for form in map(_Form.of, functions) if form is not None]
    inference = [form for form in forms if form.training is not True]
    if inference:
        first = inference[0]
        return Interface(
            call=lambda x, training: _main_output(first.apply(model, x, training), folder),
            specs=tuple(form.spec for form in inference),
            has_training_graph=any(form.training is True or form.is_tensor for form in forms),
            losses=losses,
        )
    signature = getattr(model, "signatures", {}).get("serving_default")
    keywords = signature.structured_input_signature[1] if signature is not None else {}
    if len(keywords) == 1:
        [(name, spec)] = keywords.items()
        return Interface(
            call=lambda x, training: _main_output(signature(**{name: x}), folder),
            specs=(tf.TensorSpec(spec.shape, spec.dtype),),
            has_training_graph=False,
            losses=losses,
        )
    raise UserError(
        f"The SavedModel in '{folder}' cannot be called on one batch. Expected a model that is called as "
        f"`model(images)` or a signature 'serving_default' with one input. "
        f"Found signatures: {sorted(getattr(model, 'signatures', {})) or 'none'}. "
        f"Export it with `tf.saved_model.save(module, folder)` from a module with such a `__call__`."
    )


@dataclasses.dataclass(frozen=True)
class _Form:
    """One way in which a model was traced: its input, and how it was told whether it trains."""

    spec: tf.TensorSpec
    training: Any  # False, True, a bool TensorSpec, or None where the model knows no such argument
    by_keyword: bool

    @classmethod
    def of(cls, function: Any) -> _Form | None:
        args, kwargs = function.structured_input_signature
        inputs = [leaf for leaf in tf.nest.flatten(args[:1]) if isinstance(leaf, tf.TensorSpec)]
        flags = [flag for flag in args[1:] if isinstance(flag, (bool, tf.TensorSpec))]
        if len(inputs) != 1:
            return None
        training = flags[0] if flags else kwargs.get("training")
        return cls(tf.TensorSpec(inputs[0].shape, inputs[0].dtype), training, by_keyword="training" in kwargs)

    @property
    def is_tensor(self) -> bool:
        return isinstance(self.training, tf.TensorSpec)

    def apply(self, model: Any, x: tf.Tensor, training: bool) -> Any:
        if self.training is None and not self.by_keyword:
            return model(x)
        flag = tf.constant(training) if self.is_tensor else training
        return model(x, training=flag) if self.by_keyword else model(x, flag)


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
