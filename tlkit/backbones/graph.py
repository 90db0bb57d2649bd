"""Reading a lifted graph: feature maps, stages and cuts.

Everything is found from the shapes and edges between the input and the output of a `Program`; names of layers
play no part.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import re
from collections.abc import Sequence

import tensorflow as tf

from tlkit.backbones.interface import SPATIAL
from tlkit.backbones.program import Program
from tlkit.backbones.text_stages import stages_by_block
from tlkit.errors import UserError

_POOLING = {"Mean", "AvgPool"}
_JOINING = {"ConcatV2", "Add", "AddV2", "AddN"}
_PADDING = {"Pad", "PadV2", "MirrorPad"}


@dataclasses.dataclass(frozen=True)
class Cut:
    """A tensor through which everything flows: no edge passes by it.

    Attributes:
        tensor: Its name.
        position: The place of its node among the nodes from input to output.
        size: Numbers it holds for one example.
    """

    tensor: str
    position: int
    size: int


@dataclasses.dataclass(frozen=True)
class Stage:
    """A name and the indices of the parameters that belong to it."""

    name: str
    parameters: tuple[int, ...]


class ProgramGraph:
    """The nodes of a program between its input and its output, in the order in which they run.

    Args:
        program: The lifted model.
        input_shape: A shape with a concrete height and width, so that every map's size is known.
    """

    def __init__(self, program: Program, input_shape: Sequence[int | None]):
        self.program = program
        self.graph = tf.Graph()
        with self.graph.as_default():
            tf.graph_util.import_graph_def(program.shaped(input_shape), name="")
        self.input = self.graph.get_operation_by_name(program.input)
        self.output = self.graph.get_tensor_by_name(program.output)
        self.path = self._find_path()
        self.position = {operation: i for i, operation in enumerate(self.path)}

    def _find_path(self) -> list[tf.Operation]:
        """Operations that depend on the input and that the output depends on, in topological order."""
        needed = self.upstream([self.output.op])
        after: dict[tf.Operation, bool] = {}
        # Graph order is topological for imported nodes but for loops; a stack avoids relying on it.
        stack = [self.input]
        while stack:
            operation = stack.pop()
            if operation in after or operation not in needed:
                continue
            after[operation] = True
            stack.extend(consumer for output in operation.outputs for consumer in output.consumers())
        order: list[tf.Operation] = []
        missing = {op: sum(tensor.op in after for tensor in op.inputs) for op in after}
        # Depth first, so that a branch stays together and cuts are as early as they can be.
        ready = [op for op, count in missing.items() if count == 0]
        while ready:
            operation = ready.pop()
            order.append(operation)
            for output in operation.outputs:
                for consumer in output.consumers():
                    if consumer in missing:
                        missing[consumer] -= 1
                        if missing[consumer] == 0:
                            ready.append(consumer)
        return order

    @staticmethod
    def upstream(operations: Sequence[tf.Operation], stop: frozenset[tf.Operation] = frozenset()) -> set[tf.Operation]:
        """The operations and all that they depend on, up to those in `stop`."""
        found: set[tf.Operation] = set()
        stack = list(operations)
        while stack:
            operation = stack.pop()
            if operation not in found:
                found.add(operation)
                stack.extend(tensor.op for tensor in operation.inputs if tensor.op not in stop)
        return found

    @functools.cached_property
    def parameter_positions(self) -> tuple[int, ...]:
        """For each parameter, the place on the path where it is first used."""
        placeholders = {p.placeholder: i for i, p in enumerate(self.program.parameters)}
        first = [len(self.path)] * len(placeholders)
        on_path = frozenset(self.path)
        for position, operation in enumerate(self.path):
            sources = [tensor.op for tensor in operation.inputs if tensor.op not in on_path]
            for source in self.upstream(sources, on_path):
                index = placeholders.get(source.name)
                if index is not None:
                    first[index] = min(first[index], position)
        return tuple(first)

    @functools.cached_property
    def cuts(self) -> tuple[Cut, ...]:
        """All cuts, input first; the input and the output themselves are none."""
        cuts, farthest = [], 0
        for position, operation in enumerate(self.path[:-1]):
            consumers = [
                self.position[consumer]
                for output in operation.outputs
                for consumer in output.consumers()
                if consumer in self.position
            ]
            is_alone = farthest <= position
            farthest = max(farthest, *consumers) if consumers else farthest
            used = [output for output in operation.outputs if any(c in self.position for c in output.consumers())]
            if position and is_alone and len(used) == 1 and used[0].dtype.is_floating:
                size = used[0].shape[1:].num_elements() if used[0].shape.rank else None
                if size:
                    cuts.append(Cut(used[0].name, position, size))
        return tuple(cuts)

    def level(self, operation: tf.Operation) -> int | None:
        """How often an operation's map was halved: `round(log2(input height / map height))`.

        Rounded, since unpadded convolutions shrink maps by a few pixels more. None when it is no map.
        """
        shape = operation.outputs[0].shape if operation.outputs else None
        if self.input.outputs[0].shape.rank != 4 or shape is None or shape.rank != 4 or not shape[1] or shape[1] == 1:
            return None
        return round(math.log2(self.input.outputs[0].shape[1] / shape[1]))

    @functools.cached_property
    def last_map(self) -> tf.Tensor | None:
        """The last spatial map: what the last pooling over height and width reads; without one, the last map."""
        for operation in reversed(self.path):
            source = operation.inputs[0] if operation.inputs else None
            if operation.type in _POOLING and source.shape.rank == 4 and (source.shape[1] or 0) > 1:
                if operation.type == "Mean" or operation.outputs[0].shape[1] == 1:
                    return source
        maps = [op.outputs[0] for op in self.path[1:] if self.level(op) is not None]
        return maps[-1] if maps else None

    def pyramid(self) -> dict[str, tf.Tensor]:
        """The deepest map at strides 8, 16 and 32, as "P3", "P4", "P5"; strides the model lacks are left out.

        Of each stride the last map through which everything flows, since a later one may be a mere branch; in models
        without such maps (NASNet, whose cells see the last two) the last that branches join in, or else the last of
        all. Padded copies of a map are no maps.
        """
        end = self.position[self.last_map.op] if self.last_map is not None else -1
        maps = [op for op in self.path[: end + 1] if op.type not in _PADDING]
        deepest = {self.level(op): op.outputs[0] for op in maps}
        joins = [op for op in maps if op.type in _JOINING and sum(t.op in self.position for t in op.inputs) > 1]
        deepest |= {self.level(op): op.outputs[0] for op in joins}
        alone = {cut.position for cut in self.cuts}
        deepest |= {self.level(op): op.outputs[0] for op in maps if self.position[op] in alone}
        if self.last_map is not None:
            deepest[self.level(self.last_map.op)] = self.last_map
        return {f"P{level}": deepest[level] for level in (3, 4, 5) if level in deepest}

    def stages(self, wanted: int | Sequence[tuple[str, str]] | None) -> tuple[Stage, ...]:
        """The parameters in groups, input first.

        Args:
            wanted: None for one stage a resolution, or of Transformers the embedding and each block; a number for that
                many stages of about equally many kernels; or pairs (name, regular expression over parameter names),
                where the first match counts.

        Raises:
            UserError: When a parameter matches no expression, an expression no parameter, or a number is out of
                range.
        """
        if not self.program.parameters:
            return ()
        if wanted is None and (self.program.input_dtype == tf.string or SPATIAL in self.program.endpoints):
            return self._stages_by_block()
        if wanted is None:
            return self._stages_by_resolution()
        if isinstance(wanted, int):
            return self._stages_by_count(wanted)
        return self._stages_by_name(wanted)

    def _stages_by_resolution(self) -> tuple[Stage, ...]:
        boundaries, names, level, last = [], [], None, -1
        previous = -1
        for position in self._kernel_positions:
            found = self.level(self.path[position])
            # Maps of 1 x 1 (squeeze and excitation) and vectors belong to the stage they stand in.
            if found is not None and (level is None or found > level):
                if level is not None:
                    halving = next(p for p in range(previous + 1, position + 1) if self._reaches(p, found))
                    last = self._boundary_before(halving, last)
                    boundaries.append(last)
                    names.append(f"stride_{2**level}")
                level = found
            previous = position
        names.append(f"stride_{2**level}" if level is not None else "all")
        return self._grouped(names, boundaries)

    def _stages_by_block(self) -> tuple[Stage, ...]:
        """By the blocks that the names show; without those a stage for each kernel, but for many of them eight."""
        blocks = stages_by_block([parameter.name for parameter in self.program.parameters], self.parameter_positions)
        if blocks is not None:
            return tuple(Stage(name, tuple(indices)) for name, indices in blocks.items())
        stages = self._stages_by_count(min(len(self._kernel_positions) or 1, 8))
        names = ["embedding"] * self._embeds + [f"layer_{number}" for number in range(1, len(stages) + 1)]
        return tuple(Stage(name, stage.parameters) for name, stage in zip(names, stages, strict=False))

    @functools.cached_property
    def _embeds(self) -> bool:
        """Whether the first kernel is a table that rows are taken from."""
        return bool(self._kernel_positions) and "Gather" in self.path[self._kernel_positions[0]].type

    def _reaches(self, position: int, level: int) -> bool:
        found = self.level(self.path[position])
        return found is not None and found >= level

    def _boundary_before(self, position: int, after: int) -> int:
        """Where to end a stage before the node at `position` halves the map.

        The narrowest cut within one kernel of it: an inverted residual first widens and then halves, and caching
        the narrow tensor before costs a fraction of the wide one. Without a cut the stage ends at the node itself.
        """
        first = min((p for p in self.parameter_positions if p > after), default=position)
        cuts = [cut for cut in self.cuts if first <= cut.position < position]
        if not cuts:
            return position - 1
        near = [c for c in cuts if sum(c.position < p < position for p in self._kernel_positions) <= 1]
        return min(near or cuts[-1:], key=lambda cut: (cut.size, -cut.position)).position

    @functools.cached_property
    def _kernel_positions(self) -> list[int]:
        """Where a weight of more than one dimension is first used: the convolutions and dense layers, in order."""
        pairs = zip(self.program.parameters, self.parameter_positions, strict=True)
        return sorted({position for parameter, position in pairs if len(parameter.shape) > 1})

    def _stages_by_count(self, count: int) -> tuple[Stage, ...]:
        kernels = self._kernel_positions or sorted(set(self.parameter_positions))
        if not 1 <= count <= len(kernels):
            raise UserError(
                f"load_backbone: `stages`={count} cannot be made. Expected a number from 1 to {len(kernels)}, the "
                f"kernels of this model, or None for one stage a resolution."
            )
        boundaries, last = [], -1
        for stage in range(1, count):
            target = kernels[round(stage * len(kernels) / count)]
            cuts = [cut for cut in self.cuts if kernels[0] < cut.position < target and cut.position > last]
            # The last cut that leaves something for this stage; without one, right before the kernel.
            cuts = [cut for cut in cuts if any(last < p <= cut.position for p in self.parameter_positions)]
            last = cuts[-1].position if cuts else target - 1
            boundaries.append(last)
        return self._grouped([f"stage_{i}" for i in range(1, count + 1)], boundaries)

    def _stages_by_name(self, rules: Sequence[tuple[str, str]]) -> tuple[Stage, ...]:
        groups: dict[str, list[int]] = {name: [] for name, _ in rules}
        for index, parameter in enumerate(self.program.parameters):
            name = next((name for name, pattern in rules if re.search(pattern, parameter.name)), None)
            if name is None:
                raise UserError(
                    f"load_backbone: the weight '{parameter.name}' matches no rule of `stages`. Expected every weight "
                    f"to match one. Add a rule such as ('rest', '.*') at the end."
                )
            groups[name].append(index)
        for name, pattern in rules:
            if not groups[name]:
                raise UserError(
                    f"load_backbone: the rule ('{name}', '{pattern}') of `stages` matches no weight that is left. "
                    f"Expected at least one, such as '{self.program.parameters[0].name}'. Mend or remove the rule."
                )
        return tuple(Stage(name, tuple(indices)) for name, indices in groups.items())

    def _grouped(self, names: Sequence[str], boundaries: Sequence[int]) -> tuple[Stage, ...]:
        ends = [*boundaries, len(self.path)]
        groups: list[list[int]] = [[] for _ in ends]
        for index in sorted(range(len(self.parameter_positions)), key=self.parameter_positions.__getitem__):
            position = self.parameter_positions[index]
            groups[next(g for g, end in enumerate(ends) if position <= end)].append(index)
        return tuple(Stage(name, tuple(group)) for name, group in zip(names, groups, strict=True) if group)

    def cut_after(self, parameters: Sequence[int]) -> Cut | None:
        """The narrowest cut that has exactly these parameters before it (the last of equals); None without one."""
        inside = set(parameters)
        fitting = [
            cut
            for cut in self.cuts
            if {i for i, p in enumerate(self.parameter_positions) if p <= cut.position} == inside
        ]
        return min(fitting, key=lambda cut: (cut.size, -cut.position), default=None)
