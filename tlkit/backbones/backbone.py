"""The Backbone layer: a lifted model as an ordinary Keras layer with stages."""

from __future__ import annotations

import dataclasses
import functools
import warnings
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tlkit.backbones.graph import ProgramGraph
from tlkit.backbones.initial import random_values
from tlkit.backbones.inputs import Inputs, as_tensor
from tlkit.backbones.program import Program
from tlkit.backbones.runner import ProgramRunner
from tlkit.backbones.texts import TextInput
from tlkit.errors import UserError


@dataclasses.dataclass(frozen=True)
class Stage:
    """A group of a backbone's weights that opens and closes as one.

    Attributes:
        name: Such as "stride_16": its maps are 1/16 of the input's height.
        weights: The Keras variables, in the order in which the model uses them.
        num_parameters: Numbers in them.
        is_open: Whether the stage trains.
    """

    name: str
    weights: tuple[keras.Variable, ...]
    num_parameters: int
    is_open: bool


@keras.saving.register_keras_serializable("tlkit")
class Backbone(keras.layers.Layer):
    """A pretrained model as one Keras layer whose stages open from the top.

    Made by `load_backbone`, born frozen. Its weights are ordinary Keras weights, so `fit`, `summary`, `.keras` files
    and `tf.distribute` see them; the layer's config holds the model's graph, so a saved model needs nothing else.

    Args:
        program: `Program` or its config: the lifted model.
        stages: Pairs of a name and the indices of the program's parameters, input first.
        endpoints: Name of the tensor, or a dict of names, that the layer returns.
        outputs: "pooled", "spatial", "pyramid" or "sequence": what `endpoints` is.
        input_shape: Shape of one input, such as `[224, 224, 3]`; None where any size will do.
        native_shape: As `input_shape`, with the size that the model was trained on.
        input_range: Pair of numbers that pixels 0 and 1 are mapped to, or None where it is not known and `(0, 1)` is
            assumed.
        num_open: Int. How many stages train, counted from the top.
        training_program: As `program`: the model's own graph for training, used while every stage is open; None to
            stay with inference.
        training_endpoints: As `endpoints`, in that graph.
        text: `TextInput` or its values in a dict: what it does with texts first; None of a model of images.
        handle: String. Where the model came from, for messages.
        why_whole: Why the weights could not be lifted, or None. Such a layer has no stages and stays frozen.

    Input shape: `(batch, height, width, 3)`, float, pixels in [0, 1]. Text models: `(batch,)`, strings.

    Output shape: "pooled": `(batch, features)`. "spatial": `(batch, height / 32, width / 32, channels)` for most
        models. "pyramid": a dict "P3", "P4", "P5" of maps at strides 8, 16 and 32. "sequence": `(batch, tokens,
        features)`.

    Raises:
        UserError: When the input has another rank, size or number of channels than the model takes, or is no image
            with pixels in [0, 1]; or is no string where the model takes texts.

    Example:
        >>> backbone = tlkit.load_backbone("tlkit:mini-image")
        >>> backbone(np.zeros((1, 128, 128, 3), "float32")).shape
        TensorShape([1, 320])
        >>> backbone.unfreeze(last=1)
        >>> [stage.name for stage in backbone.stages if stage.is_open]
        ['stride_32']

    Notes:
        BatchNorm runs in inference mode, in open stages too: its statistics never move, its scale and offset train.
        Loaded with `training_mode=True`, a wholly open backbone runs the model's training graph instead: dropout, and
        BatchNorm on the batch's statistics, which update the moving ones. A model without such statistics, as
        transformers are, runs it from the first open stage on.
        Opening a stage during `fit` needs a retrace and an optimizer that knows the weights: use
        `tlkit.callbacks.ProgressiveUnfreezing`. Setting `trainable` leaves the choice of stages as it is:
        `trainable = False` stops all, `True` lets the open ones train again.
        The model's regularization losses count in training, while one of their weights trains.
        In mixed precision the layer computes in float32 and casts its output.
        Texts are cut into tokens inside, which XLA cannot compile: a model with such a layer runs without. On several
        devices, Keras 3.15 averages the first batch, which texts cannot be
        (https://github.com/tensorflow/tensorflow/issues/80951): the strategies of `choose_strategy` know of it. Under
        another one make the layers inside `strategy.scope()`, the `keras.Model` outside, and call `compile` and `fit`
        inside.
    """

    def __init__(
        self,
        program: Program | dict[str, Any],
        stages: Sequence[tuple[str, Sequence[int]]],
        endpoints: str | dict[str, str],
        *,
        outputs: str = "pooled",
        input_shape: Sequence[int | None],
        native_shape: Sequence[int | None],
        input_range: tuple[float, float] | None = None,
        num_open: int = 0,
        training_program: Program | dict[str, Any] | None = None,
        training_endpoints: str | dict[str, str] | None = None,
        text: TextInput | dict[str, Any] | None = None,
        handle: str = "",
        why_whole: str | None = None,
        values: Sequence[np.ndarray] | None = None,
        shared: Sequence[keras.Variable] | None = None,
        **kwargs: Any,
    ):
        kwargs["autocast"] = False  # or the input would reach `call` already rounded to 16 bits
        super().__init__(**kwargs)
        self.program = _as_program(program)
        self.training_program = None if training_program is None else _as_program(training_program)
        self.outputs = outputs
        self.handle = handle
        self.native_shape = tuple(native_shape)
        self.input_range = tuple(input_range) if input_range else None
        self.text = TextInput(**text) if isinstance(text, dict) else text
        self.why_whole = why_whole
        self.supports_jit = self.program.input_dtype != tf.string
        self._stage_indices = tuple((name, tuple(indices)) for name, indices in stages)
        self._endpoints = endpoints
        self._training_endpoints = training_endpoints
        self._input_shape = tuple(input_shape)
        self._num_open = num_open
        self._values = values
        self._shared = None if shared is None else tuple(shared)
        self._parameters: list[keras.Variable] = []
        options = {"pool": outputs == "pooled", "input_range": self.input_range}
        self._inference = ProgramRunner(self.program, endpoints, **options)
        self._counter = None
        self._training = None
        if self.training_program is not None:
            self._training = ProgramRunner(self.training_program, training_endpoints, **options)
            # Of what it changes nothing is read in inference: it has dropout (and its seeds), but no moving statistics.
            read = {parameter.placeholder for parameter in self.program.upto(self.program.output).parameters}
            self._only_drops = read.isdisjoint(name for name, _ in self.training_program.updates)
        # Held by the layer, so that a SavedModel exported from it has them.
        self._tables = [*self._inference.tables, *(self._training.tables if self._training else ())]
        # A cache of functions, out of reach of Keras' and TensorFlow's tracking of attributes.
        self._loss_function = functools.lru_cache(maxsize=None)(self.program.loss_function)

    # Weights and stages

    def build(self, input_shape: Sequence[int | None]) -> None:
        if self._shared is not None:
            self._parameters = list(self._shared)
        else:
            values = self._values if self._values is not None else random_values(self.program)
            self._parameters = [
                self.add_weight(
                    name=parameter.name.replace("/", "."),
                    shape=parameter.shape,
                    dtype=parameter.dtype,
                    initializer=lambda shape, dtype=None, value=value: tf.constant(value, dtype),
                    trainable=parameter.trainable,
                    autocast=False,
                    # Seeds are whole numbers, of which there is no mean over the replicas.
                    aggregation="mean" if tf.as_dtype(parameter.dtype).is_floating else "only_first_replica",
                )
                for parameter, value in zip(self.program.parameters, values, strict=True)
            ]
        self._values = self._shared = None  # the weights live in the variables now
        self._apply_open_stages()
        self.built = True

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The stages, input first."""
        first_open = len(self._stage_indices) - self._num_open
        return tuple(
            Stage(
                name=name,
                weights=tuple(self._parameters[i] for i in indices),
                num_parameters=sum(int(np.prod(self.program.parameters[i].shape)) for i in indices),
                is_open=position >= first_open,
            )
            for position, (name, indices) in enumerate(self._stage_indices)
        )

    def freeze(self) -> None:
        """Close every stage."""
        self._num_open = 0
        self._apply_open_stages()

    def unfreeze(self, last: int | None = None) -> None:
        """Open the last stages and close those before them.

        Args:
            last: Int from 0 to the number of stages, counted from the output. None opens all.

        Raises:
            UserError: When there are not that many stages, or the model could only be kept whole.
        """
        count = len(self._stage_indices)
        if self.why_whole and last != 0:
            raise UserError(
                f"Backbone: '{self.handle}' cannot train: {self.why_whole}, so they are constants of its graph. Train "
                f"the head on its features, or take a model in the format of TensorFlow 2 without that."
            )
        if last is not None and not 0 <= last <= count:
            raise UserError(
                f"Backbone.unfreeze: `last` is out of range. Expected a number from 0 to {count}, the stages of "
                f"'{self.handle}'. Received: last={last!r}. Call `summary()` to see them."
            )
        self._num_open = count if last is None else last
        self._apply_open_stages()

    def _apply_open_stages(self) -> None:
        """Write the choice of stages into the weights' own flags, which is what optimizers read."""
        if not self._parameters:
            return
        first_open = len(self._stage_indices) - self._num_open
        opened = {i for _, indices in self._stage_indices[first_open:] for i in indices}
        for index, (parameter, variable) in enumerate(zip(self.program.parameters, self._parameters, strict=True)):
            variable.trainable = self._trainable and parameter.trainable and index in opened

    @property
    def trainable(self) -> bool:
        return self._trainable

    @trainable.setter
    def trainable(self, value: bool) -> None:
        # Keras writes its value into every weight; the closed stages are closed again.
        keras.layers.Layer.trainable.fset(self, value)
        self._apply_open_stages()

    def __setattr__(self, name: str, value: Any) -> None:
        # Not in the property's setter: Keras does not call it when the value is the same as before.
        if name == "trainable" and value and not getattr(self, "_num_open", 1) and self._stage_indices:
            warnings.warn(
                f"Backbone: `trainable = True` opens no stage of '{self.handle}', so nothing of it trains. Call "
                f"`unfreeze(last=2)` for the upper two of its {len(self._stage_indices)} stages, `unfreeze()` for all.",
                stacklevel=2,
            )
        super().__setattr__(name, value)

    # Computing

    def __call__(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        # Keras would take a list of texts for a list of inputs.
        return super().__call__(as_tensor(inputs) if self._inputs.kind == "texts" else inputs, *args, **kwargs)

    def call(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor | dict[str, tf.Tensor]:
        self._inputs.check(inputs)
        if sentence := self._inputs.wrong_pixels(inputs):
            warnings.warn(sentence, stacklevel=2)  # no error: an augmentation may have its reasons
        if training:
            self._inputs.stop_at_wrong_pixels(inputs)
        values = {
            parameter.placeholder: tf.convert_to_tensor(variable)
            for parameter, variable in zip(self.program.parameters, self._parameters, strict=True)
        }
        if training:  # a loss of the validation would jump with every stage that opens
            self._add_regularization(list(values.values()))
        runner = self._training if training and self._runs_training_graph else self._inference
        tensors, updates = runner.run(inputs, values)
        for parameter, variable in zip(self.program.parameters, self._parameters, strict=True):
            if parameter.placeholder in updates:
                variable.assign(updates[parameter.placeholder])
        return tf.nest.map_structure(self._finish, tensors)

    @property
    def _runs_training_graph(self) -> bool:
        """Statistics of the batch are for a wholly open backbone: they would change what closed stages compute."""
        if self._training is None or not self.trainable:
            return False
        return self._num_open >= (1 if self._only_drops else len(self._stage_indices))

    def _finish(self, tensor: tf.Tensor) -> tf.Tensor:
        if not self._num_open:
            tensor = tf.stop_gradient(tensor)
        return tf.cast(tensor, self.compute_dtype) if tensor.dtype.is_floating else tensor

    def _add_regularization(self, values: list[tf.Tensor]) -> None:
        """Pass on the model's losses that a trainable weight takes part in; of the others only a constant is left."""
        trainable = {index for index, variable in enumerate(self._parameters) if variable.trainable}
        wanted = tuple(i for i, used in enumerate(self._loss_parameters) if used & trainable)
        if wanted:
            for loss in self._loss_function(wanted)(*values):
                self.add_loss(loss)

    @functools.cached_property
    def _loss_parameters(self) -> list[set[int]]:
        """For each regularization loss, the indices of the parameters it reads."""
        index_of = {p.placeholder: i for i, p in enumerate(self.program.parameters)}
        return [{index_of[p.placeholder] for p in self.program.upto(loss).parameters} for loss in self.program.losses]

    def compute_output_spec(self, inputs: keras.KerasTensor, training: bool | None = None) -> Any:
        self._inputs.check(inputs)

        def symbolic(spec: tf.TensorSpec) -> keras.KerasTensor:
            dtype = self.compute_dtype if spec.dtype.is_floating else spec.dtype.name
            return keras.KerasTensor((inputs.shape[0], *spec.shape[1:]), dtype)

        return tf.nest.map_structure(symbolic, self._inference.specs(inputs.shape[1:]))

    def check_images(self, images: Any) -> None:
        """Raise when a batch is not what the backbone takes: worth a look at the first batch before `fit`.

        Inside `fit` only shape and type can be looked at; a batch outside of it shows its pixels, too.

        Args:
            images: `(batch, height, width, 3)`, expected in [0, 1].

        Raises:
            UserError: When shape, type or range are others, saying how to mend it.
        """
        if self._inputs.kind == "texts":
            raise UserError(
                f"Backbone.check_images: '{self.handle}' takes texts. Expected a backbone of images. `count_tokens` "
                f"tells how long texts are for it."
            )
        images = tf.convert_to_tensor(images)
        self._inputs.check(images)
        if sentence := self._inputs.wrong_pixels(images):
            raise UserError(sentence)

    def count_tokens(self, texts: Any) -> np.ndarray:
        """How many tokens each text has for this model, its marks of start and end included, before it is cut.

        Args:
            texts: Sequence of strings.

        Returns:
            An integer array of shape `(batch,)`. Those above `backbone.text.sequence_length` are cut, so that
            `np.mean(counts > backbone.text.sequence_length)` is the share of them.

        Raises:
            UserError: When the model does not tell: it takes texts of any length, or cuts them unseen.
        """
        if "num_tokens" not in self.program.endpoints:
            raise UserError(
                f"Backbone.count_tokens: '{self.handle}' does not tell how many tokens a text has. Expected an encoder "
                f"with a preprocessor of two halves, `tokenize` and `bert_pack_inputs`, or 'kerashub:…'."
            )
        if self._counter is None:
            tensor = self.program.endpoints["num_tokens"]
            self._counter = ProgramRunner(self.program.upto(tensor), tensor, pool=False, input_range=None)
        counts, _ = self._counter.run(as_tensor(texts), {})
        return counts.numpy()

    # Cutting

    def split(self, num_frozen: int) -> tuple[Backbone, Backbone]:
        """Cut the model after its first stages: `suffix(prefix(x))` equals `backbone(x)`.

        The prefix's output can be kept and the suffix trained on it. Both share this layer's weights; the prefix is
        frozen, the suffix has the remaining stages, open as they are now.

        Args:
            num_frozen: Int. How many stages the prefix holds, from 1 to the number of stages less one.

        Returns:
            Two `Backbone` layers; the prefix returns the one tensor through which everything flows.

        Raises:
            UserError: When the number is out of range, or no single tensor separates the stages.
        """
        count = len(self._stage_indices)
        if count < 2:
            reason = self.why_whole or "all its weights are in one stage; load it with other `stages`"
            raise UserError(f"Backbone.split: '{self.handle}' has nothing to be split between: {reason}.")
        if not 1 <= num_frozen < count:
            raise UserError(
                f"Backbone.split: `num_frozen` is out of range. Expected a number from 1 to {count - 1}, since "
                f"'{self.handle}' has {count} stages. Received: num_frozen={num_frozen!r}."
            )
        graph = ProgramGraph(self.program, (None, *self.native_shape))
        before, after = self._stage_indices[:num_frozen], self._stage_indices[num_frozen:]
        cut = graph.cut_after([i for _, indices in before for i in indices])
        endpoints = tf.nest.flatten(self._endpoints)
        if cut is None or any(graph.position[graph.graph.get_tensor_by_name(n).op] <= cut.position for n in endpoints):
            raise UserError(
                f"Backbone.split: no single tensor of '{self.handle}' separates stage '{before[-1][0]}' from "
                f"'{after[0][0]}' and lies before all outputs. Expected such a tensor. Split after another stage, or "
                f"load the backbone with other `stages`."
            )
        if not self.built:
            self.build((None, *self._input_shape))
        tensor = graph.graph.get_tensor_by_name(cut.tensor)
        first = self.program.upto(tensor.name)
        taken = {"input_range": self.input_range, "text": self.text}
        prefix = self._part(first, before, tensor.name, "map", "prefix", self._input_shape, **taken)
        suffix_program = self.program.starting_at(tensor, endpoints)
        native = tuple(tensor.shape[1:])
        # A map has another size for images of another size, where any will do.
        any_size = None in self._input_shape[:2] and len(native) == 3
        shape = (None, None, native[2]) if any_size else native
        suffix = self._part(suffix_program, after, self._endpoints, self.outputs, "suffix", shape)
        prefix.native_shape, suffix.native_shape = self.native_shape, native
        suffix.unfreeze(last=min(self._num_open, len(after)))
        self._apply_open_stages()  # the parts were born frozen and closed the shared weights
        return prefix, suffix

    def _part(self, program, stages, endpoints, outputs, name, input_shape, **taken) -> Backbone:
        """A backbone over a piece of the graph, with this layer's own variables."""
        variable_of = {p.placeholder: v for p, v in zip(self.program.parameters, self._parameters, strict=True)}
        new_index = {p.placeholder: i for i, p in enumerate(program.parameters)}
        renumbered = [
            (stage, [new_index[self.program.parameters[i].placeholder] for i in indices]) for stage, indices in stages
        ]
        part = Backbone(
            program,
            renumbered,
            endpoints,
            outputs=outputs,
            input_shape=input_shape,
            native_shape=input_shape,
            **taken,
            handle=self.handle,
            shared=[variable_of[p.placeholder] for p in program.parameters],
            name=f"{self.name}_{name}",
            dtype=self.dtype_policy,
        )
        part.build((None, *input_shape))
        return part

    # Seeing and saving

    def summary(self) -> None:
        """Print the stages as a table (name, weights, parameters, open or frozen) and what goes in."""
        from rich.console import Console
        from rich.table import Table

        table = Table("stage", "weights", "parameters", "trains", title=f"{self.name}: {self.handle}")
        for stage in self.stages:
            table.add_row(
                stage.name, str(len(stage.weights)), f"{stage.num_parameters:,}", "yes" if stage.is_open else "no"
            )
        frozen = (
            f". Called whole and frozen for good, without stages and cuts: {self.why_whole}" if self.why_whole else ""
        )
        is_one = len(self._stage_indices) == 1
        advice = "`unfreeze()` opens its one stage" if is_one else "`unfreeze(last=2)` opens the upper two stages"
        closed = "" if self._num_open or frozen else f". {advice}"
        table.caption = f"{self.input_in_words}{frozen}{closed}"
        Console().print(table)

    @property
    def input_in_words(self) -> str:
        """What goes in: size and range of images, case and length of texts."""
        return self._inputs.in_words

    @property
    def _inputs(self) -> Inputs:
        return Inputs(self.handle, self.program, self._input_shape, self.native_shape, self.input_range, self.text)

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        config.pop("autocast", None)
        return {
            **config,
            "program": self.program.get_config(),
            "stages": [[name, list(indices)] for name, indices in self._stage_indices],
            "endpoints": _plain(self._endpoints),
            "training_program": None if self.training_program is None else self.training_program.get_config(),
            "training_endpoints": _plain(self._training_endpoints),
            "outputs": self.outputs,
            "input_shape": list(self._input_shape),
            "native_shape": list(self.native_shape),
            "input_range": None if self.input_range is None else list(self.input_range),
            "num_open": self._num_open,
            "text": None if self.text is None else dataclasses.asdict(self.text),
            "handle": self.handle,
            "why_whole": self.why_whole,
        }

    def save_own_variables(self, store: Any) -> None:
        for index, variable in enumerate(self._parameters):
            store[str(index)] = variable.numpy()

    def load_own_variables(self, store: Any) -> None:
        for index, variable in enumerate(self._parameters):
            variable.assign(store[str(index)])


def _as_program(program: Program | dict[str, Any]) -> Program:
    return program if isinstance(program, Program) else Program.from_config(program)


def _plain(endpoints: Any) -> Any:
    # Keras wraps dicts that are set as attributes.
    return dict(endpoints) if isinstance(endpoints, dict) else endpoints
