"""What a model makes of rows: the probabilities of its classes, and the features that its head is given."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tlkit.domain.label_free_scores import DomainOutputs
from tlkit.errors import UserError


def class_reader(model: keras.Model, features: str | None = None) -> tuple[keras.Model, bool]:
    """A model of the same weights that gives {"label": probabilities, "features": ...}, and whether features are there.

    The features are the output of the layer named `features`; without a name, what the last layer with weights on the
    way to the label is given. A subclassed model is read as it is, without features.

    Raises:
        UserError: When the model has several outputs and none is called "label", or there is no such layer.
    """
    if not isinstance(model, keras.Model) or not model.built:
        raise UserError(
            f"AdaptationScores: expected a built `keras.Model`. Received: {type(model).__name__}. Begin it with "
            f"`keras.Input(shape)`, or call it on a batch first."
        )
    if not getattr(model, "inputs", None) or not getattr(model, "outputs", None):
        if features is not None:
            raise UserError(
                f"AdaptationScores: the features of '{model.name}' cannot be had, since it has a `call` of its own."
                f" Expected a functional model. Received: features={features!r}. Leave it out."
            )
        return model, False
    label = _label_of(model)
    if features is None:
        return _with_input_of_head(model, label)
    return keras.Model(model.inputs, {"label": label, "features": _output_of(model, features)}), True


def _label_of(model: keras.Model) -> Any:
    if len(model.outputs) == 1:
        return model.outputs[0]
    named = model.output if isinstance(model.output, dict) else {}
    if "label" not in named:
        raise UserError(
            f"AdaptationScores: it is not known which of the {len(model.outputs)} outputs of '{model.name}' is the "
            f"class. Expected one output, or a dict with 'label'. Received: {', '.join(named) or 'a list'}."
        )
    return named["label"]


def _output_of(model: keras.Model, name: str) -> Any:
    names = [layer.name for layer in model.layers]
    if name not in names:
        raise UserError(
            f"AdaptationScores: '{model.name}' has no layer of that name. Expected one of: {', '.join(names)}. "
            f"Received: features={name!r}."
        )
    return model.get_layer(name).output


def _with_input_of_head(model: keras.Model, label: Any) -> tuple[keras.Model, bool]:
    """Walks the graph from the label back to the first layer with weights, whatever lies behind (a softmax)."""
    calls: dict[int, tuple[keras.layers.Layer, Any]] = {}

    def note(layer: Any, *args: Any, **kwargs: Any) -> Any:
        result = layer(*args, **kwargs)
        calls.update({id(tensor): (layer, args[0]) for tensor in keras.tree.flatten(result) if args})
        return result

    # The same layers, called once more; the public way to see what each is given.
    bare = keras.Model(model.inputs, label)
    graph = keras.models.clone_model(bare, clone_function=lambda layer: layer, call_function=note)
    tensor = graph.output
    while id(tensor) in calls:
        layer, tensor = calls[id(tensor)]
        if not keras.tree.is_nested(tensor) and getattr(layer, "weights", None):
            return keras.Model(graph.inputs, {"label": graph.output, "features": tensor}), True
    return keras.Model(model.inputs, {"label": label}), False


def read(reader: keras.Model, data: Any, batch_size: int) -> tuple[dict[str, np.ndarray], np.ndarray | None]:
    """Outputs for all rows of the data, with their labels where they have any: both in one pass, hence in one order."""
    outputs: list[dict[str, np.ndarray]] = []
    labels: list[np.ndarray] = []
    for x, y in batches(data, batch_size):
        predicted = reader.predict_on_batch(x)
        outputs.append(predicted if isinstance(predicted, dict) else {"label": predicted})
        if y is not None:
            labels.append(y)
    joined = {name: np.concatenate([o[name] for o in outputs]).astype(np.float64) for name in outputs[0]}
    if "features" in joined:
        joined["features"] = joined["features"].reshape(len(joined["features"]), -1)
    if joined["label"].ndim == 2 and joined["label"].shape[1] == 1:  # one sigmoid
        joined["label"] = np.hstack([1 - joined["label"], joined["label"]])
    return joined, np.concatenate(labels) if labels else None


def read_domains(reader: keras.Model, source: Any, target: Any, batch_size: int) -> DomainOutputs:
    """Outputs for labelled source rows and for target rows, whose labels are not read."""
    of_source, labels = read(reader, source, batch_size)
    of_target, _ = read(reader, target, batch_size)
    return DomainOutputs(
        labels, of_source["label"], of_target["label"], of_source.get("features"), of_target.get("features")
    )


def batches(data: Any, batch_size: int) -> Iterator[tuple[Any, np.ndarray | None]]:
    """(inputs, class numbers or None) of each batch of a data set, or of arrays cut into batches."""
    if isinstance(data, (tf.data.Dataset, keras.utils.PyDataset)):
        items = data if isinstance(data, tf.data.Dataset) else (data[index] for index in range(len(data)))
        for item in items:
            x, y = (item[0], item[1]) if isinstance(item, tuple) and len(item) > 1 else (item, None)
            yield x[0] if isinstance(x, tuple) else x, _class_numbers(y)
        return
    x, y = data if isinstance(data, tuple) else (data, None)
    y = _class_numbers(y)
    num_rows = len(keras.tree.flatten(x)[0])
    for first in range(0, num_rows, batch_size):
        rows = slice(first, first + batch_size)
        yield keras.tree.map_structure(lambda a, rows=rows: a[rows], x), None if y is None else y[rows]


def check_rows(caller: str, name: str, data: Any, with_labels: bool) -> None:
    """Refuse what holds no rows, never ends, or lacks labels.

    Raises:
        UserError: Saying which.
    """
    if isinstance(data, tf.data.Dataset) and data.cardinality() == tf.data.INFINITE_CARDINALITY:
        raise UserError(
            f"{caller}: `{name}` never ends. Expected a finite data set. Take away its `.repeat()`, or end it with "
            f"`.take(number of batches)`."
        )
    first = next(iter(batches(data, 1)), None)
    if first is None:
        raise UserError(f"{caller}: `{name}` is empty. Expected at least one row.")
    if with_labels and first[1] is None:
        raise UserError(
            f"{caller}: `{name}` has no labels. Expected `(x, y)`, or a data set of such batches. "
            f"Received: {type(data).__name__} without labels."
        )


def _class_numbers(labels: Any) -> np.ndarray | None:
    """Class numbers from numbers, from one column of them, from one-hot rows, or from {"label": any of these}."""
    if isinstance(labels, dict):
        labels = labels.get("label")
    if labels is None:
        return None
    labels = np.asarray(labels)
    if labels.ndim == 2:
        labels = labels[:, 0] if labels.shape[1] == 1 else labels.argmax(axis=1)
    return labels.astype(np.int64)
