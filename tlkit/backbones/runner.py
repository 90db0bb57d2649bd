"""Running a program inside a Keras layer."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf

from tlkit.backbones.program import Program


class ProgramRunner:
    """Runs a program on batches of any shape that it takes, with one TensorFlow function a shape.

    Args:
        program: The lifted model.
        endpoints: Name of the tensor, or a dict of names, to return.
        pool: Whether maps are averaged over height and width.
        input_range: What pixels 0 and 1 are mapped to, or None for `(0, 1)`.

    Attributes:
        tables: The program's lookup tables; the layer must hold them, so that an exported model has them.
    """

    def __init__(
        self,
        program: Program,
        endpoints: str | dict[str, str],
        *,
        pool: bool,
        input_range: tuple[float, float] | None,
    ):
        self.program = program
        self.endpoints = endpoints
        self.pool = pool
        self.input_range = input_range
        self.tables = program.make_tables()
        self._function = functools.lru_cache(maxsize=None)(self._make_function)

    def _make_function(self, input_shape: tuple[int | None, ...]) -> tuple[Any, list[tf.TensorSpec]]:
        """The TensorFlow function for inputs of this shape, and what its endpoints are."""
        names = tf.nest.flatten(self.endpoints)
        updates = [tensor for _, tensor in self.program.updates]
        function = self.program.function((None, *input_shape), [*names, *updates])
        # Read now: once a gradient was taken, a function lists its intermediates among its outputs.
        specs = [tf.TensorSpec(tensor.shape, tensor.dtype) for tensor in function.outputs[: len(names)]]
        if self.endpoints == self.program.output and specs[0].shape.rank is None:
            specs = [tf.TensorSpec(self.program.output_shape, specs[0].dtype)]
        return function, specs

    def specs(self, input_shape: Sequence[int | None]) -> Any:
        """What `run` returns for inputs of this shape (without the batch), in the structure of the endpoints."""
        _, specs = self._function(tuple(input_shape))
        pooled = [
            tf.TensorSpec((None, spec.shape[-1]), spec.dtype) if self.pool and spec.shape.rank == 4 else spec
            for spec in specs
        ]
        return tf.nest.pack_sequence_as(self.endpoints, pooled)

    def run(self, inputs: tf.Tensor, values: Mapping[str, tf.Tensor]) -> tuple[Any, dict[str, tf.Tensor]]:
        """Compute the endpoints, and the new values of the parameters that the program changes.

        Args:
            inputs: A batch.
            values: The value of each parameter by its placeholder.
        """
        function, specs = self._function(tuple(inputs.shape[1:]))
        if self.program.input_dtype.is_floating:
            inputs = tf.cast(inputs, self.program.input_dtype)
            if self.input_range not in (None, (0, 1)):
                low, high = self.input_range
                inputs = inputs * (high - low) + low
        parameters = [values[parameter.placeholder] for parameter in self.program.parameters]
        outputs = function(inputs, *parameters, *(table.resource_handle for table in self.tables))
        tensors = [tf.ensure_shape(tensor, spec.shape) for tensor, spec in zip(outputs, specs, strict=False)]
        if self.pool:
            tensors = [tf.reduce_mean(t, (1, 2)) if t.shape.rank == 4 else t for t in tensors]
        updates = {name: value for (name, _), value in zip(self.program.updates, outputs[len(specs) :], strict=True)}
        return tf.nest.pack_sequence_as(self.endpoints, tensors), updates
