"""The lift: a model opened into a pure function over its weights.

A SavedModel closes over its variables, so nothing can be frozen, cut or read from inside. The lift inlines
every call, replaces each read of a variable by an input, and keeps the graph: see `Program`. Keras models go the same
way, so that whatever the source one layer holds them all.

Private TensorFlow names are used here alone: grappler's function inliner
(https://github.com/tensorflow/tensorflow/blob/v2.21.0/tensorflow/python/framework/convert_to_constants.py shows
the same call) and the conversion of variables to constants. `tests/test_savedmodel.py` fails when they move.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import config_pb2, meta_graph_pb2, rewriter_config_pb2
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2
from tensorflow.python.grappler import tf_optimizer
from tensorflow.python.training.saver import export_meta_graph

from tlkit.backbones.interface import OUTPUT, Interface, Weight
from tlkit.backbones.program import INPUT, Parameter, Program, Table, prune
from tlkit.backbones.rewrite import (
    CannotLift,
    drop_control_edges,
    export_table,
    feed_parameters,
    hold_sentencepiece,
    make_constant,
)
from tlkit.backbones.texts import TextInput
from tlkit.errors import UserError

# Attributes that keep a call from being inlined, or that name a gradient function the graph no longer holds:
# without them plain differentiation of the inlined operations is right.
_OPAQUE_ATTRIBUTES = ("_noinline", "_XlaMustCompile", "api_implements", "_gradient_op_type")
_CONTROL_FLOW = {"While", "StatelessWhile", "If", "StatelessIf", "Case", "StatelessCase"}


@dataclasses.dataclass(frozen=True)
class Lifted:
    """What a model was opened into.

    Attributes:
        program: The pure function, in inference.
        training_program: The same in training (dropout, BatchNorm on batch statistics), with the new values of the
            moving statistics as its updates; None where the model has no such graph or it cannot be lifted.
        values: The value of every weight, by the placeholder of its parameter.
        sizes: Height and width of each fixed-size signature; empty when the model takes any size only.
        any_size: Whether it takes images of any size.
        why_whole: Why its weights could not be lifted and stay constants, or None.
        text: What it does with texts first; None of a model of images.
    """

    program: Program
    training_program: Program | None
    values: dict[str, np.ndarray]
    sizes: tuple[tuple[int, int], ...]
    any_size: bool
    why_whole: str | None
    text: TextInput | None = None


def lift(interface: Interface) -> Lifted:
    """Open a model that can be called into a pure function over its weights.

    A model whose weights are read inside a loop or a conditional cannot be opened: it is kept whole, its weights as
    constants of the graph, and stays frozen.

    Raises:
        UserError: When its output does not depend on its input, or it reads what is neither a weight nor a table.
    """
    images = [spec for spec in interface.specs if spec.shape.rank == 4]
    free = [spec for spec in images if None in spec.shape.as_list()[1:3]]
    sizes = [tuple(spec.shape.as_list()[1:3]) for spec in images if spec not in free]
    spec = (free or interface.specs)[0]

    concrete, names = _trace(interface, spec, training=False)
    weights = {id(weight.variable.handle): weight for weight in map(Weight.of, concrete.variables)}
    weights |= {id(weight.variable.handle): weight for weight in interface.weights}
    parameters = _name_parameters(weights)
    training_program, why_whole = None, None
    try:
        program = _open(concrete, _inline(concrete), parameters, names, interface.sentencepiece)
        if program.updates:
            raise CannotLift(f"calling it changes the weight '{program.updates[0][0]}'")
        training_program = _lift_training(interface, spec, parameters)
    except CannotLift as reason:
        why_whole = str(reason)
        frozen = convert_variables_to_constants_v2(concrete, lower_control_flow=False)
        program = _open(frozen, frozen.graph.as_graph_def(), {}, names, interface.sentencepiece)
    if why_whole is None and not program.parameters:
        why_whole = "it has no weights that are variables of TensorFlow 2"
    values = {parameters[handle].placeholder: weight.variable.numpy() for handle, weight in weights.items()}
    any_size = bool(free) or not images
    return Lifted(program, training_program, values, tuple(dict.fromkeys(sizes)), any_size, why_whole, interface.text)


def _trace(interface: Interface, spec: tf.TensorSpec, training: bool) -> tuple[Any, list[str]]:
    """The model's call and its regularization losses as one concrete function, and the names of its endpoints."""
    names: list[str] = []

    @tf.function(autograph=False, input_signature=[tf.TensorSpec(spec.shape, spec.dtype, INPUT)])
    def whole(x):
        outputs = interface.call(x, training)
        outputs = dict(outputs) if isinstance(outputs, dict) else {OUTPUT: outputs}
        output = outputs.pop(OUTPUT)
        names[:] = outputs
        return output, list(outputs.values()), [loss() for loss in interface.losses]

    return whole.get_concrete_function(), names


def _name_parameters(weights: dict[int, Weight]) -> dict[int, Parameter]:
    """A parameter for each weight, by the `id` of its variable's handle."""
    return {
        handle: Parameter(
            name=weight.name,
            placeholder=f"parameter_{index}",
            shape=tuple(weight.variable.shape.as_list()),
            dtype=weight.variable.dtype.name,
            trainable=weight.trainable,
        )
        for index, (handle, weight) in enumerate(weights.items())
    }


def _lift_training(interface: Interface, spec: tf.TensorSpec, parameters: dict[int, Parameter]) -> Program | None:
    if not interface.has_training_graph:
        return None
    try:
        concrete, names = _trace(interface, spec, training=True)
        return _open(concrete, _inline(concrete), parameters, names, interface.sentencepiece)
    except (CannotLift, ValueError):  # ValueError: no function was traced for this input in training
        return None


def _inline(concrete: Any) -> tf.compat.v1.GraphDef:
    """The function's graph without a call in it, but for loops and conditionals."""
    graph_def = concrete.graph.as_graph_def()
    for node in [*graph_def.node, *(n for f in graph_def.library.function for n in f.node_def)]:
        for attribute in _OPAQUE_ATTRIBUTES:
            node.attr.pop(attribute, None)
        if node.op in _CONTROL_FLOW:
            node.attr["_lower_using_switch_merge"].b = False
    for function in graph_def.library.function:
        for attribute in _OPAQUE_ATTRIBUTES:
            function.attr.pop(attribute, None)
    meta_graph = export_meta_graph(graph_def=graph_def, graph=concrete.graph)
    # Grappler keeps what it is told to fetch.
    fetches = meta_graph_pb2.CollectionDef()
    fetches.node_list.value.extend(tensor.name for tensor in [*concrete.inputs, *concrete.outputs])
    meta_graph.collection_def["train_op"].CopyFrom(fetches)
    config = config_pb2.ConfigProto()
    rewrites = config.graph_options.rewrite_options
    rewrites.min_graph_nodes = -1  # do not skip small graphs
    rewrites.optimizers.append("function")
    rewrites.function_optimization = rewriter_config_pb2.RewriterConfig.AGGRESSIVE
    return tf_optimizer.OptimizeGraph(config, meta_graph)


def _open(
    concrete: Any,
    graph_def: tf.compat.v1.GraphDef,
    parameters: dict[int, Parameter],
    names: list[str],
    sentencepiece: bytes | None,
) -> Program:
    """Turn each captured variable into a parameter, each other capture into a constant or a table.

    Args:
        concrete: The function, as `_trace` made it.
        graph_def: Its graph, inlined.
        parameters: By the `id` of their variables' handles.
        names: Of the endpoints, which come after the output.
        sentencepiece: The tokenizer's model, which is no table.
    """
    nodes = {node.name: node for node in graph_def.node}
    handles: dict[str, Parameter] = {}  # placeholder of a variable's handle -> the parameter
    tables: list[Table] = []
    for external, placeholder in concrete.graph.captures:
        name = placeholder.op.name
        if name not in nodes:
            continue
        if id(external) in parameters:
            handles[name] = parameters[id(external)]
        elif external.dtype != tf.resource:
            make_constant(nodes[name], external.numpy())
        elif sentencepiece is not None and hold_sentencepiece(graph_def, nodes[name], sentencepiece):
            pass
        else:
            tables.append(export_table(graph_def, name, external, len(tables)))
    updates = feed_parameters(graph_def, handles)
    drop_control_edges(graph_def)
    for node in graph_def.node:
        node.attr.pop("_class", None)  # names a node to be placed beside, which pruning may take away
    output, *others = concrete.outputs
    endpoints = {name: tensor.name for name, tensor in zip(names, others, strict=False)}
    loss_names = [loss.name for loss in others[len(names) :]]
    keep = [output.name, *endpoints.values(), *loss_names, *(tensor for _, tensor in updates)]
    pruned = prune(graph_def, [*keep, *(name for table in tables for name in (table.keys, table.values))])
    used = {node.name for node in pruned.node}
    if INPUT not in used:
        raise UserError("The SavedModel's output does not depend on its input. Expected a model of its inputs.")
    return Program(
        graph_def=pruned,
        input=INPUT,
        output=output.name,
        output_shape=None if output.shape.rank is None else tuple(output.shape.as_list()),
        losses=tuple(loss_names),
        updates=tuple(updates),
        parameters=tuple(p for p in dict.fromkeys(handles.values()) if p.placeholder in used),
        tables=tuple(table for table in tables if table.placeholder in used),
        endpoints=endpoints,
    )
