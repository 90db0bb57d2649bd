"""From a lifted model to the layer: its shapes, stages, endpoints and values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from tlkit.backbones.backbone import Backbone
from tlkit.backbones.catalog import find
from tlkit.backbones.graph import ProgramGraph
from tlkit.backbones.initial import random_values, settle_batch_norm
from tlkit.backbones.input_range import find_input_range
from tlkit.backbones.interface import SPATIAL
from tlkit.backbones.lift import Lifted
from tlkit.errors import UserError

_DEFAULT_SIZE = 224  # pixels; what most ImageNet models were trained on, used where a model takes any size


def assemble(
    lifted: Lifted,
    handle: str,
    *,
    outputs: str = "pooled",
    stages: int | Sequence[tuple[str, str]] | None = None,
    image_size: int | None = None,
    input_range: tuple[float, float] | None = None,
    random: bool = False,
    training_mode: bool = False,
    name: str = "backbone",
) -> Backbone:
    """Make the layer of a lifted model; the arguments are those of `load_backbone`."""
    if lifted.text is not None:
        for word, value in (("image_size", image_size), ("input_range", input_range)):
            if value is not None:
                raise UserError(
                    f"load_backbone: `{word}` is for images, and '{handle}' takes texts. Expected none. Received: "
                    f"{word}={value!r}. Leave it out."
                )
    shape, native = _shapes(lifted, handle, image_size)
    program, training_program = lifted.program, None
    if training_mode:
        training_program = _training_program(lifted, handle)
        program = program.with_parameters(training_program.parameters)
    graph = ProgramGraph(program, (None, *native))
    groups = graph.stages(stages)
    training_graph = ProgramGraph(training_program, (None, *native)) if training_program else None
    values = [lifted.values[parameter.placeholder] for parameter in program.parameters]
    if random:
        values = random_values(program)
        if len(native) == 3:
            values = settle_batch_norm(graph, values, (None, *native))
    if input_range is None and len(native) == 3:
        input_range = _published_range(handle) or find_input_range(graph)
    backbone = Backbone(
        program,
        [(group.name, group.parameters) for group in groups],
        _endpoints(graph, outputs, handle),
        outputs=outputs,
        input_shape=shape,
        native_shape=native,
        input_range=input_range,
        training_program=training_program,
        training_endpoints=_endpoints(training_graph, outputs, handle) if training_graph else None,
        handle=handle,
        text=lifted.text,
        why_whole=lifted.why_whole,
        values=values,
        name=name,
    )
    backbone.build((None, *shape))
    return backbone


def _training_program(lifted: Lifted, handle: str) -> Any:
    if lifted.training_program is None:
        raise UserError(
            f"load_backbone: `training_mode` is not to be had: '{handle}' has no graph for training that could be "
            f"lifted. Expected a model called with `training=True`. Leave `training_mode` out."
        )
    return lifted.training_program


def _shapes(lifted: Lifted, handle: str, image_size: int | None) -> tuple[tuple, tuple]:
    """The shape of one input as the layer accepts it, and with the size its stages are found at."""
    placeholder = next(node for node in lifted.program.graph_def.node if node.name == lifted.program.input)
    declared = tf.TensorShape(placeholder.attr["shape"].shape).as_list()[1:]
    if len(declared) != 3:
        return tuple(declared), tuple(declared)
    entry = find(handle)
    usual = entry.size if entry and entry.size else _DEFAULT_SIZE
    own = lifted.sizes[0] if lifted.sizes else (usual, usual)
    size = (image_size, image_size) if image_size else own
    if not lifted.any_size and size not in lifted.sizes:
        fixed = " or ".join(f"{height} x {width}" for height, width in lifted.sizes)
        raise UserError(
            f"load_backbone: '{handle}' does not take images of {size[0]} x {size[1]} pixels. Expected {fixed}. "
            f"Set `image_size` to it."
        )
    channels = declared[2] or 3
    free = (None, None) if lifted.any_size else size
    return (*free, channels), (*size, channels)


def _published_range(handle: str) -> tuple[float, float] | None:
    """What the catalogue says that a model expects; of "keras:…" the lift holds the preprocessing already."""
    entry = None if handle.startswith("keras:") else find(handle)
    return entry.input_range if entry else None


def _endpoints(graph: ProgramGraph, outputs: str, handle: str) -> str | dict[str, str]:
    if outputs == "pooled":
        return graph.program.output
    takes_texts = graph.program.input_dtype == tf.string
    if outputs == "sequence":
        if "sequence" in graph.program.endpoints:
            return graph.program.endpoints["sequence"]
        reason = "gives no vectors of single tokens" if takes_texts else "is no model of texts"
        advice = 'Use outputs="pooled".' if takes_texts else 'For images use outputs="spatial".'
        raise UserError(
            f"load_backbone: `outputs='sequence'` is not to be had: '{handle}' {reason}. Expected a model of texts "
            f"that returns 'sequence_output'. {advice}"
        )
    if takes_texts:
        other = ' or "sequence"' if "sequence" in graph.program.endpoints else ""
        raise UserError(
            f"load_backbone: `outputs={outputs!r}` is for images, and '{handle}' takes texts. Expected "
            f'outputs="pooled"{other}.'
        )
    if outputs == "spatial" and SPATIAL in graph.program.endpoints:
        return graph.program.endpoints[SPATIAL]
    if graph.last_map is None:
        raise UserError(
            f"load_backbone: no spatial map was found in '{handle}'. Expected a model of images with convolutions. "
            f'Use outputs="pooled".'
        )
    if outputs == "spatial":
        return graph.last_map.name
    levels = {} if SPATIAL in graph.program.endpoints else graph.pyramid()  # what a Transformer attends with is no map
    pyramid = {level: tensor.name for level, tensor in levels.items()}
    if len(pyramid) < 3:
        raise UserError(
            f"load_backbone: '{handle}' has no maps at all of the strides 8, 16 and 32. Found: "
            f'{", ".join(pyramid) or "none"}. Use outputs="spatial", or a larger `image_size`.'
        )
    return pyramid
