"""The lift: a SavedModel opened into a pure function over its weights.

A SavedModel closes over its variables, so nothing can be frozen, cut or read from inside. The lift inlines
every call, replaces each read of a variable by an input, and keeps the graph: see `Program`.

Private TensorFlow names are used here alone: grappler's function inliner
(https://github.com/tensorflow/tensorflow/blob/v2.21.0/tensorflow/python/framework/convert_to_constants.py shows
the same call) and the conversion of variables to constants. `tests/test_savedmodel.py` fails when they move.
"""

from __future__ import annotations

import dataclasses
import pathlib
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import config_pb2, meta_graph_pb2, rewriter_config_pb2
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2
from tensorflow.python.grappler import tf_optimizer
from tensorflow.python.training.saver import export_meta_graph

from tlkit.backbones.program import Parameter, Program, Table, make_placeholder, prune
from tlkit.errors import UserError

# Attributes that keep a call from being inlined, or that name a gradient function the graph no longer holds:
# without them plain differentiation of the inlined operations is right.
_OPAQUE_ATTRIBUTES = ("_noinline", "_XlaMustCompile", "api_implements", "_gradient_op_type")
_CONTROL_FLOW = {"While", "StatelessWhile", "If", "StatelessIf", "Case", "StatelessCase"}
_LOOKUPS = {"LookupTableFindV2", "LookupTableSizeV2"}


@dataclasses.dataclass(frozen=True)
class Lifted:
    """What a SavedModel was opened into.

    Attributes:
        program: The pure function.
        values: One array for each of the program's parameters.
        sizes: Height and width of each fixed-size signature; empty when the model takes any size only.
        any_size: Whether it takes images of any size.
        why_whole: Why its weights could not be lifted and stay constants, or None.
    """

    program: Program
    values: tuple[np.ndarray, ...]
    sizes: tuple[tuple[int, int], ...]
    any_size: bool
    why_whole: str | None


def lift_saved_model(folder: str | pathlib.Path) -> Lifted:
    """Open the SavedModel in `folder`.

    A model whose weights are read inside a loop or a conditional cannot be lifted: it is kept whole, its weights
    as constants of the graph, and stays frozen.

    Raises:
        UserError: When `folder` holds no SavedModel of TensorFlow 2, or none that can be called on one batch.
    """
    folder = pathlib.Path(folder)
    if not (folder / "saved_model.pb").is_file():
        found = ", ".join(sorted(p.name for p in folder.iterdir())[:5]) if folder.is_dir() else "no such folder"
        raise UserError(
            f"'{folder}' is not a SavedModel. Expected a folder with the file 'saved_model.pb'. Found: {found}. "
            f"Give the folder that TensorFlow's `tf.saved_model.save` or `model.export` wrote."
        )
    # A strategy's scope belongs to a thread: in a fresh one the model's variables are plain ones that can be read.
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(_lift, folder).result()


def _lift(folder: pathlib.Path) -> Lifted:
    try:
        model = tf.saved_model.load(str(folder))
    except (OSError, ValueError, RuntimeError, tf.errors.OpError) as error:
        first_line = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(
            f"The SavedModel in '{folder}' cannot be loaded: {first_line} Expected a complete model of TensorFlow 2. "
            f"Save or download it again."
        ) from error
    call, specs = _find_call(model, folder)
    free = [spec for spec in specs if spec.shape.rank == 4 and None in spec.shape.as_list()[1:3]]
    sizes = [tuple(spec.shape.as_list()[1:3]) for spec in specs if spec.shape.rank == 4 and spec not in free]
    spec = (free or specs)[0]
    losses = list(getattr(model, "regularization_losses", None) or [])

    @tf.function(autograph=False, input_signature=[tf.TensorSpec(spec.shape, spec.dtype, "input")])
    def whole(x):
        return _main_output(call(x), folder), [loss() for loss in losses]

    concrete = whole.get_concrete_function()
    variables = {id(v.handle): v for v in [*concrete.variables, *getattr(model, "variables", [])]}
    trainable = getattr(model, "trainable_variables", None)
    trainable = {id(v.handle) for v in trainable} if trainable is not None else None
    why_whole = None
    try:
        program, values = _open(concrete, _inline(concrete), variables, trainable)
    except _CannotLift as reason:
        why_whole = str(reason)
        frozen = convert_variables_to_constants_v2(concrete, lower_control_flow=False)
        program, values = _open(frozen, frozen.graph.as_graph_def(), {}, None)
    return Lifted(program, values, tuple(dict.fromkeys(sizes)), bool(free) or spec.shape.rank != 4, why_whole)


class _CannotLift(Exception):
    """A variable is used in a way that a pure function cannot express."""


def _find_call(model: Any, folder: pathlib.Path) -> tuple[Any, list[tf.TensorSpec]]:
    """The inference call of the model as a function of one tensor, and the specs it takes."""
    functions = model.__call__.concrete_functions if callable(model) else []
    if functions:
        specs, keywords = [], {}
        for function in functions:
            args, kwargs = function.structured_input_signature
            leaves = [leaf for leaf in tf.nest.flatten(args[:1]) if isinstance(leaf, tf.TensorSpec)]
            flags = [leaf for leaf in args[1:] if isinstance(leaf, (bool, tf.TensorSpec))]
            training = flags[0] if flags else kwargs.get("training", False)
            if len(leaves) != 1 or training is True:
                continue
            specs.append(tf.TensorSpec(leaves[0].shape, leaves[0].dtype))
            keywords = (
                {"training": tf.constant(False) if isinstance(training, tf.TensorSpec) else False}
                if "training" in kwargs
                else {"positional": training if flags else None}
            )
        if specs:
            return _caller(model, keywords), specs
    signature = getattr(model, "signatures", {}).get("serving_default")
    if signature is not None:
        kwargs = signature.structured_input_signature[1]
        if len(kwargs) == 1:
            [(name, spec)] = kwargs.items()
            return (lambda x: signature(**{name: x})), [tf.TensorSpec(spec.shape, spec.dtype)]
    raise UserError(
        f"The SavedModel in '{folder}' cannot be called on one batch. Expected a model that is called as "
        f"`model(images)` or a signature 'serving_default' with one input. "
        f"Found signatures: {sorted(getattr(model, 'signatures', {})) or 'none'}. "
        f"Export it with `tf.saved_model.save(module, folder)` from a module with such a `__call__`."
    )


def _caller(model: Any, keywords: dict[str, Any]) -> Any:
    if "training" in keywords:
        return lambda x: model(x, **keywords)
    flag = keywords["positional"]
    if flag is None:
        return lambda x: model(x)
    return lambda x: model(x, tf.constant(False) if isinstance(flag, tf.TensorSpec) else False)


def _main_output(outputs: Any, folder: pathlib.Path) -> tf.Tensor:
    """The one tensor a model returns; of several named ones, TF-Hub's common names for the feature vector."""
    if isinstance(outputs, dict):
        for key in ("default", "pooled_output", "feature_vector"):
            if key in outputs:
                return outputs[key]
        if len(outputs) == 1:
            return next(iter(outputs.values()))
        raise UserError(
            f"The SavedModel in '{folder}' returns several tensors: {sorted(outputs)}. Expected one, or one named "
            f"'default', 'pooled_output' or 'feature_vector'. Export it with one output."
        )
    leaves = tf.nest.flatten(outputs)
    if len(leaves) != 1:
        raise UserError(
            f"The SavedModel in '{folder}' returns {len(leaves)} tensors. Expected one feature vector or map. "
            f"Export it with one output."
        )
    return leaves[0]


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
    concrete: Any, graph_def: tf.compat.v1.GraphDef, variables: dict[int, tf.Variable], trainable: set[int] | None
) -> tuple[Program, tuple[np.ndarray, ...]]:
    """Turn each captured variable into a parameter, each other capture into a constant or a table."""
    nodes = {node.name: node for node in graph_def.node}
    handles: dict[str, int] = {}  # placeholder of a variable's handle -> index of its parameter
    parameters: list[Parameter] = []
    values: list[np.ndarray] = []
    tables: list[Table] = []
    for external, placeholder in concrete.graph.captures:
        name = placeholder.op.name
        if name not in nodes:
            continue
        variable = variables.get(id(external))
        if variable is not None:
            handles[name] = len(parameters)
            is_trainable = variable.trainable if trainable is None else id(external) in trainable
            label = variable.name.split(":")[0]
            shape = tuple(variable.shape.as_list())
            parameters.append(
                Parameter(label, f"parameter_{len(parameters)}", shape, variable.dtype.name, is_trainable)
            )
            values.append(variable.numpy())
        elif external.dtype != tf.resource:
            _make_constant(nodes[name], external.numpy())
        else:
            tables.append(_export_table(graph_def, name, external, len(tables)))
    output, *losses = concrete.outputs
    main, losses = output.name, [loss.name for loss in losses]
    _feed_parameters(graph_def, handles, parameters)
    _drop_control_edges(graph_def)
    keep = [main, *losses, *(name for table in tables for name in (table.keys, table.values))]
    pruned = prune(graph_def, keep)
    [input_name] = [t.op.name for t in concrete.inputs if t.op.name == "input"]
    used = {node.name for node in pruned.node}
    if input_name not in used:
        raise UserError("The SavedModel's output does not depend on its input.")
    kept = [i for i, p in enumerate(parameters) if p.placeholder in used]
    program = Program(
        graph_def=pruned,
        input=input_name,
        output=main,
        output_shape=None if output.shape.rank is None else tuple(output.shape.as_list()),
        losses=tuple(losses),
        parameters=tuple(parameters[i] for i in kept),
        tables=tuple(table for table in tables if table.placeholder in used),
    )
    return program, tuple(values[i] for i in kept)


def _make_constant(node: Any, value: np.ndarray) -> None:
    node.op = "Const"
    node.attr.clear()
    tensor = tf.make_tensor_proto(value)
    node.attr["dtype"].type = tensor.dtype
    node.attr["value"].tensor.CopyFrom(tensor)


def _export_table(graph_def: tf.compat.v1.GraphDef, name: str, handle: tf.Tensor, index: int) -> Table:
    """Write a captured lookup table's contents into the graph as two constants."""
    aliases = _aliases(graph_def, {name: 0})
    finds = [n for n in graph_def.node if n.op in _LOOKUPS and n.input[0].split(":")[0] in aliases and "Tin" in n.attr]
    if not finds:
        raise UserError(
            f"The SavedModel reads a resource that is neither a variable nor a lookup table ('{name}'). Expected a "
            f"model of operations, variables and lookup tables. Export it without iterators, queues and the like."
        )
    attributes = finds[0].attr
    keys, contents = tf.raw_ops.LookupTableExportV2(
        table_handle=handle, Tkeys=attributes["Tin"].type, Tvalues=attributes["Tout"].type
    )
    order = np.argsort(keys.numpy())  # a hash table has no order; sorted, the same table gives the same file
    table = Table(name, f"table_{index}_keys", f"table_{index}_values")
    for node_name, value in ((table.keys, keys.numpy()[order]), (table.values, contents.numpy()[order])):
        _make_constant(graph_def.node.add(name=node_name), value)
    return table


def _aliases(graph_def: tf.compat.v1.GraphDef, handles: dict[str, int]) -> dict[str, int]:
    """Every node that only passes one of the handles on, with what the handle stands for."""
    aliases = dict(handles)
    grew = True
    while grew:
        grew = False
        for node in graph_def.node:
            if node.op == "Identity" and node.name not in aliases and node.input[0].split(":")[0] in aliases:
                aliases[node.name] = aliases[node.input[0].split(":")[0]]
                grew = True
    return aliases


def _feed_parameters(graph_def: tf.compat.v1.GraphDef, handles: dict[str, int], parameters: list[Parameter]) -> None:
    """Replace every read of a variable by its parameter, in place."""
    aliases = _aliases(graph_def, handles)
    removed = set(aliases)
    for node in graph_def.node:
        if node.name in removed:
            continue
        sources = [aliases.get(name.split(":")[0]) for name in node.input if not name.startswith("^")]
        if all(source is None for source in sources):
            continue
        parameter = parameters[next(source for source in sources if source is not None)]
        dtype = tf.as_dtype(parameter.dtype).as_datatype_enum
        if node.op == "ReadVariableOp":
            node.op = "Identity"
            node.attr.clear()
            node.attr["T"].type = dtype
            node.input[0] = parameter.placeholder
        elif node.op == "ResourceGather":
            batch_dims = node.attr["batch_dims"].i
            indices = node.attr["Tindices"].type
            node.op = "GatherV2"
            node.attr.clear()
            node.attr["Tparams"].type, node.attr["Tindices"].type = dtype, indices
            node.attr["Taxis"].type, node.attr["batch_dims"].i = tf.int32.as_datatype_enum, batch_dims
            node.input[0] = parameter.placeholder
            node.input.insert(2, f"{node.name}/axis")
        elif node.op == "ResourceGatherNd":
            indices = node.attr["Tindices"].type
            node.op = "GatherNd"
            node.attr.clear()
            node.attr["Tparams"].type, node.attr["Tindices"].type = dtype, indices
            node.input[0] = parameter.placeholder
        elif node.op != "NoOp":
            raise _CannotLift(f"the weight '{parameter.name}' is read inside a {node.op} operation ('{node.name}')")
    for node in [n for n in graph_def.node if n.op == "GatherV2" and n.input[2] == f"{n.name}/axis"]:
        if not any(n.name == node.input[2] for n in graph_def.node):
            # ResourceGather with batch dimensions gathers along the first axis after them.
            _make_constant(graph_def.node.add(name=node.input[2]), np.int32(node.attr["batch_dims"].i))
    kept = [node for node in graph_def.node if node.name not in removed]
    for parameter in parameters:
        shape = tf.TensorShape(parameter.shape)
        kept.append(make_placeholder(parameter.placeholder, tf.as_dtype(parameter.dtype), shape))
    for node in kept:
        for name in [name for name in node.input if name.startswith("^") and name[1:] in removed]:
            node.input.remove(name)
    del graph_def.node[:]
    graph_def.node.extend(kept)


def _drop_control_edges(graph_def: tf.compat.v1.GraphDef) -> None:
    """A pure function needs no order of execution; without it, reads that nothing uses can be pruned.

    Loops in the style of TensorFlow 1 hold their frames together by such edges and keep them.
    """
    if any(node.op in ("Enter", "Switch", "Merge") for node in graph_def.node):
        return
    for node in graph_def.node:
        for name in [name for name in node.input if name.startswith("^")]:
            node.input.remove(name)
