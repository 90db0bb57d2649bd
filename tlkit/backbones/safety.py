"""A SavedModel is a program: what it would do is looked at before any of it runs.

Operations that reach outside the model (files, processes, the network, Python) are refused. Only the saver's own
functions may touch files, and a vocabulary's initialiser may read the file that it is given. `trust=True` skips the
scan; it is never written into a file.
"""

from __future__ import annotations

import contextlib
import contextvars
import pathlib
import re
from collections.abc import Iterable, Iterator
from typing import Any

import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from tlkit.backbones.text_operations import TEXT_OPERATIONS
from tlkit.errors import UserError

# By the words in their names, so that a new version of an operation does not slip through. Three without such a word:
# FixedUnigramCandidateSampler reads a vocabulary file; Abort ends the process; WorkerHeartbeat ends others. The last
# three carry compiled programs that a scan cannot look into.
_OUTSIDE = re.compile(
    r"File|Dataset|Iterator|PyFunc|Summary|Print|Debug|Proto|Remote|Rpc|Session|Collective|Nccl|Checkpoint|Reader|TPU|Tpu"
    r"|Infeed|Outfeed|Host|FixedUnigramCandidateSampler|Abort|Heartbeat|InFdo|TRTEngine|Ifrt|Mlir"
    r"|^(Write|Save|Restore|Load|Import|Record|Send|Recv|_Send|_Recv|DistributedSave|ReadFile|XlaSend|XlaRecv)"
)
_HARMLESS = {"ShardedFilename", "ShardedFilespec"}  # only join strings
_SAVER = {"SaveV2", "RestoreV2", "MergeV2Checkpoints"}
_VOCABULARY = {"InitializeTableFromTextFileV2"}

_trusting: contextvars.ContextVar[bool] = contextvars.ContextVar("tlkit_trusting", default=False)


@contextlib.contextmanager
def trusting(trust: bool) -> Iterator[None]:
    """Within this block, nothing is scanned when `trust` is true."""
    token = _trusting.set(trust)
    try:
        yield
    finally:
        _trusting.reset(token)


def scan_graph(graph_def: tf.compat.v1.GraphDef, where: str) -> None:
    """Refuse a lifted graph that would reach outside the model.

    Args:
        graph_def: The graph, with its function library.
        where: What the graph belongs to, for the message.

    Raises:
        UserError: When it holds such an operation, or one that TensorFlow does not know.
    """
    if not _trusting.get():
        nodes = [*graph_def.node, *(node for function in graph_def.library.function for node in function.node_def)]
        _refuse(_suspicious(nodes), where)


def scan_saved_model(folder: pathlib.Path) -> None:
    """Refuse a SavedModel that would reach outside the model, before it is loaded.

    Args:
        folder: The folder that holds `saved_model.pb`.

    Raises:
        UserError: When it holds such an operation, an operation that TensorFlow does not know, or an asset outside its
            own folder; or when the file is damaged.
    """
    if not _trusting.get():
        _refuse(find_suspicious(folder), f"The SavedModel in '{folder}'")


def read_saved_model(folder: pathlib.Path) -> saved_model_pb2.SavedModel:
    """The SavedModel's graphs as data, of which nothing is run.

    Raises:
        UserError: When the file is damaged.
    """
    try:
        return saved_model_pb2.SavedModel.FromString((folder / "saved_model.pb").read_bytes())
    except Exception as error:  # protobuf's DecodeError has no public name that all its versions share
        raise UserError(
            f"The SavedModel in '{folder}' cannot be loaded: 'saved_model.pb' is damaged. Expected a complete model of "
            f"TensorFlow 2. Save or download it again."
        ) from error


def find_suspicious(folder: pathlib.Path) -> list[str]:
    """What in a SavedModel would reach outside the model, in words; nothing of it is run.

    Raises:
        UserError: When the file is damaged.
    """
    found: list[str] = []
    for meta_graph in read_saved_model(folder).meta_graphs:
        functions = {function.signature.name: function for function in meta_graph.graph_def.library.function}
        savers = _saver_functions(meta_graph, functions)
        saver_nodes = _saver_nodes(meta_graph)
        found += _suspicious([node for node in meta_graph.graph_def.node if node.name not in saver_nodes])
        for name, function in functions.items():
            nodes = [node for node in function.node_def if not (name in savers and node.op in _SAVER)]
            arguments = {argument.name for argument in function.signature.input_arg}
            found += [f"{op} in '{name}'" for op in _suspicious(nodes, arguments)]
        for asset in meta_graph.asset_file_def:
            path = pathlib.PurePosixPath(asset.filename)
            if path.is_absolute() or ".." in path.parts:
                found.append(f"the asset '{asset.filename}' outside its folder")
    return found


def _suspicious(nodes: Iterable[Any], arguments: set[str] = frozenset()) -> list[str]:
    """Operations that reach outside; a vocabulary's file may be read when it comes in as one of the arguments."""
    found = []
    for node in nodes:
        if node.op in _VOCABULARY and len(node.input) > 1 and node.input[1].split(":")[0] in arguments:
            continue
        if node.op in TEXT_OPERATIONS:
            continue
        is_known = hasattr(tf.raw_ops, node.op) or node.op in ("Placeholder", "_Arg", "_Retval")
        if node.op in _HARMLESS or (is_known and not _OUTSIDE.search(node.op)):
            continue
        # A call of a library function may stand under the function's own name in graphs of TensorFlow 1.
        found.append(node.op if is_known else f"{node.op} (unknown)")
    return list(dict.fromkeys(found))


def _saver_nodes(meta_graph: Any) -> set[str]:
    """In graphs of TensorFlow 1: the saver's own operations, as long as nothing else needs what they compute."""
    nodes = {node.name: node for node in meta_graph.graph_def.node}

    def upstream(names: Iterable[str]) -> set[str]:
        found, stack = set(), [name.removeprefix("^").split(":")[0] for name in names]
        while stack:
            name = stack.pop()
            if name in nodes and name not in found:
                found.add(name)
                stack.extend(source.removeprefix("^").split(":")[0] for source in nodes[name].input)
        return found

    saver = meta_graph.saver_def
    saving, restoring = upstream([saver.save_tensor_name]), upstream([saver.restore_op_name])
    # Loading runs what restores, initialises or computes; only what saves is never run.
    running = restoring | upstream(
        [output.name for signature in meta_graph.signature_def.values() for output in signature.outputs.values()]
        + [name for collection in meta_graph.collection_def.values() for name in collection.node_list.value]
    )
    return {name for name in saving - running if nodes[name].op in _SAVER} | {
        name for name in restoring if nodes[name].op == "RestoreV2"
    }


def _saver_functions(meta_graph: Any, functions: dict[str, Any]) -> set[str]:
    """The functions that save and restore the model's variables, and all that they call."""
    saver = meta_graph.saver_def
    entries = {name.split(":")[0] for name in (saver.save_tensor_name, saver.restore_op_name) if name}
    names, stack = set(), [node for node in meta_graph.graph_def.node if node.name in entries]
    while stack:
        for attribute in stack.pop().attr.values():
            name = attribute.func.name
            if name in functions and name not in names:
                names.add(name)
                stack.extend(functions[name].node_def)
    # Only when nothing but saving needs them: a call to them from elsewhere makes them ordinary code.
    callers = [node for name, function in functions.items() if name not in names for node in function.node_def]
    callers += [node for node in meta_graph.graph_def.node if node.name not in entries]
    shared = {attribute.func.name for node in callers for attribute in node.attr.values()}
    # Nor may the object graph refer to them, as it does to what initialises a table when the model is loaded.
    return names - shared - set(meta_graph.object_graph_def.concrete_functions)


def _refuse(found: list[str], where: str) -> None:
    if found:
        listed = ", ".join(dict.fromkeys(found[:5])) + (f" and {len(found) - 5} more" if len(found) > 5 else "")
        raise UserError(
            f"{where} would reach outside the model: {listed}. Expected a model that only computes. Load it with "
            f"`trust=True` only when you know who made it and would run their code."
        )
