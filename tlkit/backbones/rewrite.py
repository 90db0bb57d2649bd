"""Rewriting an inlined graph: variables become inputs, lookup tables become constants."""

from __future__ import annotations

import hashlib
import re
from typing import Any

import numpy as np
import tensorflow as tf

from tlkit.backbones.program import Parameter, Table, make_placeholder
from tlkit.errors import UserError

_LOOKUPS = {"LookupTableFindV2", "LookupTableSizeV2"}
_WORDPIECE = "WordpieceTokenizeWithOffsets"  # looks words up itself: strings to 64-bit numbers
_SENTENCEPIECE = re.compile(r"Sentencepiece\w*Op$")


class CannotLift(Exception):
    """A variable is used in a way that a pure function cannot express."""


def make_constant(node: Any, value: np.ndarray) -> None:
    """Turn a node into a constant, in place."""
    node.op = "Const"
    node.attr.clear()
    tensor = tf.make_tensor_proto(value)
    node.attr["dtype"].type = tensor.dtype
    node.attr["value"].tensor.CopyFrom(tensor)


def export_table(graph_def: tf.compat.v1.GraphDef, name: str, handle: tf.Tensor, index: int) -> Table:
    """Write a captured lookup table's contents into the graph as two constants."""
    aliases = _aliases(graph_def, {name: name})
    finds = [n for n in graph_def.node if n.op in _LOOKUPS and n.input[0].split(":")[0] in aliases and "Tin" in n.attr]
    keys_type, values_type = tf.string.as_datatype_enum, tf.int64.as_datatype_enum
    if finds:
        keys_type, values_type = finds[0].attr["Tin"].type, finds[0].attr["Tout"].type
    elif not any(n.op == _WORDPIECE and _source(n.input[1]) in aliases for n in graph_def.node):
        raise UserError(
            f"The SavedModel reads a resource that is neither a variable nor a lookup table ('{name}'). Expected a "
            f"model of operations, variables and lookup tables. Export it without iterators, queues and the like."
        )
    keys, contents = tf.raw_ops.LookupTableExportV2(table_handle=handle, Tkeys=keys_type, Tvalues=values_type)
    order = np.argsort(keys.numpy())  # a hash table has no order; sorted, the same table gives the same file
    table = Table(name, f"table_{index}_keys", f"table_{index}_values")
    for node_name, value in ((table.keys, keys.numpy()[order]), (table.values, contents.numpy()[order])):
        make_constant(graph_def.node.add(name=node_name), value)
    return table


def hold_sentencepiece(graph_def: tf.compat.v1.GraphDef, node: Any, model: bytes) -> bool:
    """Put a model of SentencePiece where its handle was captured, in place; false when the handle is another's."""
    aliases = _aliases(graph_def, {node.name: node.name})
    readers = [n for n in graph_def.node if any(_source(name) in aliases for name in n.input) and n.name not in aliases]
    if not readers or not all(_SENTENCEPIECE.match(reader.op) for reader in readers):
        return False
    node.op = "SentencepieceOp"
    node.attr.clear()
    node.attr["model"].s = model
    # A resource is known by its name, in all graphs of a process: the same model may be shared, another not.
    node.attr["shared_name"].s = hashlib.sha256(model).hexdigest().encode()
    return True


def _aliases(graph_def: tf.compat.v1.GraphDef, handles: dict[str, Any]) -> dict[str, Any]:
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


def feed_parameters(graph_def: tf.compat.v1.GraphDef, handles: dict[str, Parameter]) -> list[tuple[str, str]]:
    """Replace every read of a variable by its parameter, in place.

    Returns:
        A pair for each assignment to a variable: the parameter's placeholder and the tensor that is its new value.
    """
    aliases = _aliases(graph_def, handles)
    removed, updates = set(aliases), []
    for node in list(graph_def.node):
        parameter = next((aliases[name] for name in map(_source, node.input) if name in aliases), None)
        if parameter is None or node.name in removed or node.op == "NoOp":
            continue
        if node.op in _READS:
            _READS[node.op](graph_def, node, parameter)
        elif node.op in _ASSIGNMENTS:
            updates.append((parameter.placeholder, _new_value(graph_def, node, parameter)))
            removed.add(node.name)
        else:
            raise CannotLift(f"the weight '{parameter.name}' is read inside a {node.op} operation ('{node.name}')")
    kept = [node for node in graph_def.node if node.name not in removed]
    kept += [
        make_placeholder(p.placeholder, tf.as_dtype(p.dtype), tf.TensorShape(p.shape))
        for p in dict.fromkeys(handles.values())
    ]
    for node in kept:
        for name in [name for name in node.input if name.startswith("^") and name[1:] in removed]:
            node.input.remove(name)
    del graph_def.node[:]
    graph_def.node.extend(kept)
    return updates


def _source(name: str) -> str:
    """The node of a data edge; control edges (`^name`) carry no value."""
    return "" if name.startswith("^") else name.split(":")[0]


def _become_identity(graph_def: tf.compat.v1.GraphDef, node: Any, parameter: Parameter) -> None:
    node.op = "Identity"
    node.attr.clear()
    node.attr["T"].type = tf.as_dtype(parameter.dtype).as_datatype_enum
    node.input[0] = parameter.placeholder


def _become_gather(graph_def: tf.compat.v1.GraphDef, node: Any, parameter: Parameter) -> None:
    batch_dims, indices, axis = node.attr["batch_dims"].i, node.attr["Tindices"].type, f"{node.name}/axis"
    node.op = "GatherV2"
    node.attr.clear()
    node.attr["Tparams"].type, node.attr["Tindices"].type = tf.as_dtype(parameter.dtype).as_datatype_enum, indices
    node.attr["Taxis"].type, node.attr["batch_dims"].i = tf.int32.as_datatype_enum, batch_dims
    node.input[0] = parameter.placeholder
    node.input.insert(2, axis)
    # ResourceGather with batch dimensions gathers along the first axis after them.
    make_constant(graph_def.node.add(name=axis), np.int32(batch_dims))


def _become_gather_nd(graph_def: tf.compat.v1.GraphDef, node: Any, parameter: Parameter) -> None:
    indices = node.attr["Tindices"].type
    node.op = "GatherNd"
    node.attr.clear()
    node.attr["Tparams"].type, node.attr["Tindices"].type = tf.as_dtype(parameter.dtype).as_datatype_enum, indices
    node.input[0] = parameter.placeholder


_READS = {
    "ReadVariableOp": _become_identity,
    "ResourceGather": _become_gather,
    "ResourceGatherNd": _become_gather_nd,
}
_ASSIGNMENTS = {"AssignVariableOp": None, "AssignAddVariableOp": "AddV2", "AssignSubVariableOp": "Sub"}


def _new_value(graph_def: tf.compat.v1.GraphDef, node: Any, parameter: Parameter) -> str:
    """The tensor that an assignment writes; for += and -= a node is added that computes it."""
    operation, value = _ASSIGNMENTS[node.op], node.input[1]
    if operation is None:
        return value if ":" in value else f"{value}:0"
    added = graph_def.node.add(name=f"{node.name}/value", op=operation, input=[parameter.placeholder, value])
    added.attr["T"].type = tf.as_dtype(parameter.dtype).as_datatype_enum
    return f"{added.name}:0"


def drop_control_edges(graph_def: tf.compat.v1.GraphDef) -> None:
    """A pure function needs no order of execution; without it, reads that nothing uses can be pruned.

    Loops in the style of TensorFlow 1 hold their frames together by such edges and keep them.
    """
    if any(node.op in ("Enter", "Switch", "Merge") for node in graph_def.node):
        return
    for node in graph_def.node:
        for name in [name for name in node.input if name.startswith("^")]:
            node.input.remove(name)
