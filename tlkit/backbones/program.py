"""A lifted model: a graph whose weights are inputs, as plain data that a `.keras` file can hold.

`lift.py` makes a `Program`, `graph.py` reads it, `Backbone` runs it.
"""

from __future__ import annotations

import base64
import dataclasses
import functools
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tlkit.backbones.grouped_convolutions import replace_grouped_convolutions
from tlkit.backbones.safety import scan_graph
from tlkit.backbones.text_operations import provide_text_operations

INPUT = "input"  # the placeholder that a whole model's images or texts come in by


@dataclasses.dataclass(frozen=True)
class Parameter:
    """One weight of the lifted model: `placeholder` is the graph node it is fed to."""

    name: str
    placeholder: str
    shape: tuple[int, ...]
    dtype: str
    trainable: bool


@dataclasses.dataclass(frozen=True)
class Table:
    """A lookup table the graph reads (a vocabulary); its contents stand in the graph as two constants."""

    placeholder: str
    keys: str
    values: str


@dataclasses.dataclass(frozen=True)
class Program:
    """A pure function `(input, *parameters, *tables) -> tensors`.

    Attributes:
        graph_def: The graph, with its functions; no variable is left in it.
        input: Name of the placeholder that takes the images or texts.
        output: Name of the tensor that the model itself returns.
        output_shape: Its shape as the model declares it, for where the graph does not tell (after a lookup table).
        losses: Names of the scalars of its regularization losses; they depend on parameters alone.
        updates: For each parameter that a call changes, its placeholder and the tensor of its new value.
        parameters: The weights, in the order in which the model reads them.
        tables: The lookup tables.
        endpoints: Names of further tensors: of a model of texts "sequence" and "num_tokens", of a Transformer of images
            "spatial".
    """

    graph_def: tf.compat.v1.GraphDef
    input: str
    output: str
    output_shape: tuple[int | None, ...] | None
    losses: tuple[str, ...]
    updates: tuple[tuple[str, str], ...]
    parameters: tuple[Parameter, ...]
    tables: tuple[Table, ...]
    endpoints: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @functools.cached_property
    def input_dtype(self) -> tf.DType:
        """What the placeholder of the input takes."""
        return tf.as_dtype(next(node for node in self.graph_def.node if node.name == self.input).attr["dtype"].type)

    def get_config(self) -> dict[str, Any]:
        """The program as JSON-able values; the graph is deflated, so a MobileNetV2 takes about 30 KB."""
        config = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        # Deterministic bytes: the same program gives the same file.
        graph = zlib.compress(self.graph_def.SerializeToString(deterministic=True), 9)
        config["graph_def"] = base64.b64encode(graph).decode("ascii")
        config["output_shape"] = None if self.output_shape is None else list(self.output_shape)
        config["losses"] = list(self.losses)
        config["updates"] = [list(pair) for pair in self.updates]
        config["parameters"] = [{**vars(p), "shape": list(p.shape)} for p in self.parameters]
        config["tables"] = [dict(vars(t)) for t in self.tables]
        config["endpoints"] = dict(self.endpoints)
        return config

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Program:
        """The inverse of `get_config`; what comes from a file is scanned before anything of it can run."""
        graph_def = tf.compat.v1.GraphDef.FromString(zlib.decompress(base64.b64decode(config["graph_def"])))
        scan_graph(graph_def, "The model's backbone")
        nodes = [*graph_def.node, *(node for function in graph_def.library.function for node in function.node_def)]
        provide_text_operations((node.op for node in nodes), "The model's backbone")
        return cls(
            graph_def=graph_def,
            input=config["input"],
            output=config["output"],
            output_shape=None if config["output_shape"] is None else tuple(config["output_shape"]),
            losses=tuple(config["losses"]),
            updates=tuple((placeholder, tensor) for placeholder, tensor in config["updates"]),
            parameters=tuple(Parameter(**{**p, "shape": tuple(p["shape"])}) for p in config["parameters"]),
            tables=tuple(Table(**t) for t in config["tables"]),
            endpoints=dict(config.get("endpoints", {})),  # older files have none
        )

    def shaped(self, input_shape: Sequence[int | None]) -> tf.compat.v1.GraphDef:
        """The graph with the input's shape written into its placeholder, so that shapes below it are static."""
        graph_def = tf.compat.v1.GraphDef()
        graph_def.CopyFrom(self.graph_def)
        node = next(node for node in graph_def.node if node.name == self.input)
        node.attr["shape"].shape.CopyFrom(tf.TensorShape(input_shape).as_proto())
        return graph_def

    def function(self, input_shape: Sequence[int | None], outputs: Sequence[str]) -> Callable[..., list[tf.Tensor]]:
        """A TensorFlow function `(input, *parameters, *table handles) -> [tensors named in outputs]`."""
        key = (tuple(input_shape), tuple(outputs))
        if key not in self._functions:
            self._functions[key] = self._make_function(*key)
        return self._functions[key]

    @functools.cached_property
    def _functions(self) -> dict[tuple[Any, ...], Callable[..., list[tf.Tensor]]]:
        """Those made so far: layers of the same program share them, since they hold no weights."""
        return {}

    def _make_function(self, input_shape: Sequence[int | None], outputs: Sequence[str]) -> Callable[..., Any]:
        graph_def = self.shaped(input_shape)
        # Outside any trace or strategy scope: the function is built once and called from all of them.
        with tf.init_scope():
            wrapped = tf.compat.v1.wrap_function(lambda: tf.graph_util.import_graph_def(graph_def, name=""), [])
            if replace_grouped_convolutions(graph_def, wrapped.graph):
                wrapped = tf.compat.v1.wrap_function(lambda: tf.graph_util.import_graph_def(graph_def, name=""), [])
            feeds = [self.input, *(p.placeholder for p in self.parameters), *(t.placeholder for t in self.tables)]
            element = wrapped.graph.as_graph_element
            return wrapped.prune([element(f"{feed}:0") for feed in feeds], [element(name) for name in outputs])

    def loss_function(self, indices: Sequence[int]) -> Callable[..., list[tf.Tensor]]:
        """A TensorFlow function `(*parameters) -> [losses[i] for i in indices]`."""
        with tf.init_scope():
            wrapped = tf.compat.v1.wrap_function(lambda: tf.graph_util.import_graph_def(self.graph_def, name=""), [])
            element = wrapped.graph.as_graph_element
            feeds = [element(f"{p.placeholder}:0") for p in self.parameters]
            return wrapped.prune(feeds, [element(self.losses[i]) for i in indices])

    def with_parameters(self, wanted: Sequence[Parameter]) -> Program:
        """The same program with these parameters as well, those that it knows already left out.

        A training graph reads state that inference does not (the seeds of its dropout); the layer holds it for both.
        """
        missing = [parameter for parameter in wanted if parameter not in self.parameters]
        graph_def = tf.compat.v1.GraphDef()
        graph_def.CopyFrom(self.graph_def)
        graph_def.node.extend(
            make_placeholder(p.placeholder, tf.as_dtype(p.dtype), tf.TensorShape(p.shape)) for p in missing
        )
        return dataclasses.replace(self, graph_def=graph_def, parameters=(*self.parameters, *missing))

    def upto(self, tensor: str) -> Program:
        """The program that computes `tensor` instead of the output; regularization losses stay with the other part."""
        part = dataclasses.replace(self, output=tensor, output_shape=None, losses=(), updates=(), endpoints={})
        return part._pruned([tensor])

    def starting_at(self, tensor: tf.Tensor, keep: Sequence[str]) -> Program:
        """The program that takes `tensor` as its input and still computes the output and the tensors in `keep`.

        Parameters before the cut that a regularization loss reads stay parameters.
        """
        graph_def = tf.compat.v1.GraphDef()
        graph_def.CopyFrom(self.graph_def)
        cut, plain = "features", tensor.name.removesuffix(":0")
        while any(node.name == cut for node in graph_def.node):
            cut += "_"
        for node in graph_def.node:
            for index, name in enumerate(node.input):
                if name in (plain, tensor.name):
                    node.input[index] = cut
        graph_def.node.append(make_placeholder(cut, tensor.dtype, tensor.shape))
        part = dataclasses.replace(self, graph_def=graph_def, input=cut, updates=(), endpoints={})
        return part._pruned([self.output, *keep, *self.losses])

    def _pruned(self, wanted: Sequence[str]) -> Program:
        tables = self.tables
        graph_def = prune(self.graph_def, [*wanted, *(n for t in tables for n in (t.keys, t.values))])
        used = {node.name for node in graph_def.node}
        return dataclasses.replace(
            self,
            graph_def=graph_def,
            parameters=tuple(p for p in self.parameters if p.placeholder in used),
            tables=tuple(t for t in tables if t.placeholder in used),
        )

    def constant(self, name: str) -> np.ndarray:
        """The value of a constant of the graph."""
        return tf.make_ndarray(next(node for node in self.graph_def.node if node.name == name).attr["value"].tensor)

    def make_tables(self) -> list[tf.lookup.StaticHashTable]:
        """The lookup tables, filled."""
        tables = []
        with tf.init_scope():
            for table in self.tables:
                keys, values = (tf.constant(self.constant(name)) for name in (table.keys, table.values))
                # The graph passes its own default value to every look-up; this one is never read.
                unused = "" if values.dtype == tf.string else tf.constant(0, values.dtype)
                initializer = tf.lookup.KeyValueTensorInitializer(keys, values)
                tables.append(tf.lookup.StaticHashTable(initializer, unused))
        return tables


def make_placeholder(name: str, dtype: tf.DType, shape: tf.TensorShape) -> tf.compat.v1.NodeDef:
    """A graph node that takes a tensor from outside."""
    node = tf.compat.v1.NodeDef(name=name, op="Placeholder")
    node.attr["dtype"].type = dtype.as_datatype_enum
    node.attr["shape"].shape.CopyFrom(shape.as_proto())
    return node


def prune(graph_def: tf.compat.v1.GraphDef, wanted: Sequence[str]) -> tf.compat.v1.GraphDef:
    """The nodes that the wanted tensors need, in their order, with the function library."""
    nodes = {node.name: node for node in graph_def.node}
    needed: set[str] = set()
    stack = [_node_name(name) for name in wanted]
    while stack:
        name = stack.pop()
        if name not in needed:
            needed.add(name)
            stack.extend(_node_name(source) for source in nodes[name].input)
    pruned = tf.compat.v1.GraphDef(versions=graph_def.versions, library=graph_def.library)
    pruned.node.extend(node for node in graph_def.node if node.name in needed)
    return pruned


def _node_name(tensor: str) -> str:
    return tensor.removeprefix("^").split(":")[0]
