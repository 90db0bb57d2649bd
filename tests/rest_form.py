"""TensorFlow Serving's REST form around a signature in this process, for want of a server.

Written after its documentation (https://www.tensorflow.org/tfx/serving/api_rest) and its `util/json_tensor.cc`.
"""

import base64
import json
import pathlib
import re

import tensorflow as tf


def ask(signature, body):
    """What TensorFlow Serving answers to the body of `POST /v1/models/NAME:predict`, parsed."""
    given, specs = json.loads(body), signature.structured_input_signature[1]
    by_rows = "instances" in given
    assert by_rows != ("inputs" in given), "one of 'instances' and 'inputs'"
    outputs = signature(
        **{
            name: tf.constant(_decoded(values), specs[name].dtype)
            for name, values in (
                _by_rows(given["instances"], specs) if by_rows else _by_columns(given["inputs"], specs)
            )
        }
    )
    if not by_rows:
        return {"outputs": {name: _encoded(name, value.numpy().tolist()) for name, value in outputs.items()}}
    sizes = {name: value.shape.as_list()[0] for name, value in outputs.items()}  # a scalar has none
    assert len(set(sizes.values())) == 1, f"inconsistent batch size: {sizes}"
    columns = {name: _encoded(name, value.numpy().tolist()) for name, value in outputs.items()}
    assert len(columns) > 1  # of a single output the name is left out
    return {"predictions": [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]}


def _by_rows(rows, specs):
    assert rows, "no values in 'instances'"
    if _is_object(rows[0]):
        assert all(row.keys() == specs.keys() for row in rows), f"keys must be equal to: {[*specs]}"
        return [(name, [row[name] for row in rows]) for name in specs]
    assert len(specs) == 1 and not any(map(_is_object, rows)), "a plain list is for a single input"
    return [(*specs, rows)]


def _by_columns(columns, specs):
    if _is_object(columns):
        return [(name, columns[name]) for name in specs]
    assert len(specs) == 1, "a plain value is for a single input"
    return [(*specs, columns)]


def _is_object(value):
    return isinstance(value, dict) and value.keys() != {"b64"}


def _decoded(value):
    if isinstance(value, list):
        return [_decoded(each) for each in value]
    return base64.b64decode(value["b64"], validate=True) if isinstance(value, dict) else value


def _encoded(name, value):
    """Strings are written as they are; those of outputs whose names end with `_bytes` in base64."""
    if isinstance(value, list):
        return [_encoded(name, each) for each in value]
    if not isinstance(value, bytes):
        return value
    return {"b64": base64.b64encode(value).decode()} if name.endswith("_bytes") else value.decode()


def documented():
    """What docs/serving.md says to send: the Python that writes the body for photos, and the bodies for texts."""
    page = pathlib.Path(__file__).parents[1] / "docs" / "serving.md"
    text = page.read_text(encoding="utf-8")
    (block,) = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return block, re.findall(r"^curl -d '(\{.*\})' http://127.0.0.1:8501/v1/models/\w+:predict$", text, re.MULTILINE)
