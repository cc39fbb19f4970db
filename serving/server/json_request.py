"""JSON of a predict, classify or regress request to the tensors and examples of a model, as TensorFlow Serving does it.

A well-formed request is converted a whole tensor at a time; anything else is walked value by value, in TF Serving's
order, to name the first fault in TF Serving's words.
"""

from __future__ import annotations

import base64
import binascii
import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np

from serving.bundle.example_features import Example, Feature
from serving.errors import ServingError, invalid
from serving.server.json_parser import RepeatedKeys, show_json
from serving.server.json_response import decimal

# NumPy's limit on dimensions, through which every tensor passes.
MAX_RANK = 32

_DTYPES: dict[str, Any] = {
    "float": np.float32,
    "double": np.float64,
    "int8": np.int8,
    "int16": np.int16,
    "int32": np.int32,
    "int64": np.int64,
    "uint8": np.uint8,
    "uint32": np.uint32,
    "uint64": np.uint64,
    "bool": np.bool_,
    "string": np.object_,
}
# Narrow integers travel in 32 bits to the model and are cut there, as in TF Serving.
_INTEGER_RANGE = {
    **dict.fromkeys(("int8", "int16", "uint8", "int32"), (-(2**31), 2**31 - 1)),
    "int64": (-(2**63), 2**63 - 1),
    "uint32": (0, 2**32 - 1),
    "uint64": (0, 2**64 - 1),
}


def signature_name(document: Any) -> str:
    """The request's `signature_name`, or "" for the default one.

    Raises:
      ServingError: the document is not an object, or the name is not a string.
    """
    if not isinstance(document, dict):
        raise invalid(f"JSON Value: {_show(document)} Is not object")
    name = document.get("signature_name", "")
    if not isinstance(name, str):
        raise invalid(
            f"JSON Value: {_show(document)} not formatted correctly. 'signature_name' key must be a string value."
        )
    return name


def predict_inputs(document: dict[str, Any], kinds: Mapping[str, str]) -> tuple[dict[str, np.ndarray], bool]:
    """The input tensors of a predict request, and whether it is in row format (`instances`).

    Args:
      document: the parsed body.
      kinds: input name to TensorFlow's name of its type (`float`, `int64`, `string`, ...).

    Raises:
      ServingError: the request doesn't fit the signature.
    """
    if "instances" in document:
        if "inputs" in document:
            raise invalid(
                f"JSON Value: {_show(document)} Not formatted correctly expecting only one of 'inputs' or "
                "'instances' keys to exist "
            )
        instances = document["instances"]
        if not isinstance(instances, list):
            raise invalid(f"JSON Value: {_show(document)} Expecting 'instances' to be an list/array")
        if not instances:
            raise invalid(f"JSON Value: {_show(document)} No values in 'instances' array")
        return _from_rows(instances, kinds), True
    if "inputs" in document:
        return _from_columns(document["inputs"], kinds), False
    raise invalid("Missing 'inputs' or 'instances' key")


def examples(document: dict[str, Any]) -> list[Example]:
    """The examples of a classify or regress request: feature name to (`bytes` | `float` | `int64` | "", values).

    Raises:
      ServingError: `examples` is missing or holds something that is not a tf.Example.
    """
    context = _example(document["context"]) if "context" in document else {}
    if "examples" not in document:
        raise invalid(
            f"JSON Value: {_show(document)} When method is classify, key 'examples' is expected and was not found"
        )
    values = document["examples"]
    if not isinstance(values, list):
        raise invalid(f"JSON Value: {_show(document)} Expecting 'examples' value to be an list/array")
    if not values:
        raise invalid(f"JSON Value: {_show(document)} 'examples' value is an empty array")
    return [{**context, **_example(value)} for value in values]


def _from_rows(instances: list[Any], kinds: Mapping[str, str]) -> dict[str, np.ndarray]:
    named = isinstance(instances[0], dict) and not _is_base64(instances[0])
    if not named and len(kinds) > 1:
        raise invalid(
            "instances is a plain list, but expecting list of objects as multiple input tensors required as per "
            "tensorinfo_map"
        )
    if not named:
        ((name, kind),) = kinds.items()
        tensor = _whole_tensor(instances, kind)
        return {name: _row_by_row(instances, kinds, named)[name] if tensor is None else tensor}
    if all(isinstance(row, dict) and row.keys() == kinds.keys() for row in instances):
        tensors = {name: _whole_tensor([row[name] for row in instances], kind) for name, kind in kinds.items()}
        if all(tensor is not None for tensor in tensors.values()):
            return {name: tensor for name, tensor in tensors.items() if tensor is not None}
    return _row_by_row(instances, kinds, named)


def _row_by_row(instances: list[Any], kinds: Mapping[str, str], named: bool) -> dict[str, np.ndarray]:
    shapes: dict[str, tuple[int, ...]] = {}
    rows: dict[str, list[Any]] = {name: [] for name in kinds}

    def add(name: str, value: Any) -> None:
        if name not in kinds:
            raise invalid(f"JSON object: does not have named input: {name}")
        shape = _shape(value)
        values = _walk(value, kinds[name], shape)
        known = shapes.setdefault(name, shape)
        if len(values) != (size := int(np.prod(known))):
            raise invalid(f"Expecting tensor size: {size} but got: {len(values)}")
        if shape != known:
            raise invalid(f"Expecting shape {_show_shape(known)} but got: {_show_shape(shape)}")
        rows[name].extend(values)

    for index, row in enumerate(instances):
        is_object = isinstance(row, dict) and not _is_base64(row)
        if named and not is_object:
            raise invalid(f"Expecting object but got list at item {index} of input list")
        if not named and is_object:
            raise invalid(f"Expecting value/list but got object at item {index} of input list")
        where = f"Failed to process element: {index}"
        for name, value in row.items() if named else [(next(iter(kinds)), row)]:
            try:
                add(name, value)
            except ServingError as error:
                key = f" key: {name}" if named else ""
                raise invalid(f"{where}{key} of 'instances' list. Error: {error}") from None
        if named and row.keys() != kinds.keys():
            raise invalid(
                f"{where} of 'instances' list. JSON object: {_show(row)} keys must be equal to: "
                + ",".join(sorted(kinds))
            )
    return {name: _array(rows[name], kind, (len(instances), *shapes[name])) for name, kind in kinds.items()}


def _from_columns(inputs: Any, kinds: Mapping[str, str]) -> dict[str, np.ndarray]:
    if isinstance(inputs, dict) and not _is_base64(inputs):
        for name in kinds:
            if name not in inputs:
                raise invalid(f"Missing named input: {name} in 'inputs' object.")
        return {name: _tensor(inputs[name], kind) for name, kind in kinds.items()}
    if len(kinds) > 1:
        raise invalid(
            "inputs is a plain value/list, but expecting an object as multiple input tensors required as per "
            "tensorinfo_map"
        )
    ((name, kind),) = kinds.items()
    return {name: _tensor(inputs, kind)}


def _tensor(value: Any, kind: str) -> np.ndarray:
    tensor = _whole_tensor(value, kind)
    if tensor is None:
        shape = _shape(value)
        tensor = _array(_walk(value, kind, shape), kind, shape)
    return tensor


def _whole_tensor(value: Any, kind: str) -> np.ndarray | None:
    """The tensor of a regular nest of values of the right type, or None when there is a fault to be named."""
    shape = _shape(value)
    items = [value]
    for size in shape:
        if set(map(type, items)) != {list} or set(map(len, items)) != {size}:
            return None
        items = items[0] if len(items) == 1 else list(itertools.chain.from_iterable(items))
    types = set(map(type, items))
    if kind in ("float", "double"):
        fits = types <= {int, float}
    elif kind == "string":
        if types <= {str}:
            return _array([item.encode("utf-8", "surrogateescape") for item in items], kind, shape)
        fits = False
    elif kind == "bool":
        fits = types <= {bool}
    elif kind in _INTEGER_RANGE:
        low, high = _INTEGER_RANGE[kind]
        fits = types <= {int} and (not items or (min(items) >= low and max(items) <= high))
    else:
        fits = not items and kind in _DTYPES
    return _array(items, kind, shape) if fits else None


def _array(values: list[Any], kind: str, shape: tuple[int, ...]) -> np.ndarray:
    dtype = _DTYPES.get(kind)
    if dtype is None:
        raise ServingError("UNIMPLEMENTED", f"Conversion of JSON Value to type: {kind}")
    if kind in ("float", "double"):
        with np.errstate(over="ignore"):
            return np.array(values, np.float64).astype(dtype).reshape(shape)
    if kind in ("int8", "int16", "uint8"):
        return np.array(values, np.int64).astype(dtype).reshape(shape)
    array = np.empty(len(values), dtype)
    array[:] = values
    return array.reshape(shape)


def _shape(value: Any) -> tuple[int, ...]:
    shape = []
    while isinstance(value, list):
        shape.append(len(value))
        if len(shape) > MAX_RANK:
            raise invalid(f"A tensor must have at most {MAX_RANK} dimensions. Received: lists nested deeper.")
        if not value:
            break
        value = value[0]
    return tuple(shape)


def _walk(value: Any, kind: str, shape: tuple[int, ...], level: int = 0) -> list[Any]:
    """The values of a nest in order, each checked."""
    if not isinstance(value, list):
        if level != len(shape):
            raise invalid(
                f"JSON Value: {_show(value)} found at incorrect level: {level + 1} in the JSON DOM. Expected at level: "
                f"{len(shape)}"
            )
        return [_leaf(value, kind)]
    if level >= len(shape):
        raise invalid(f"Encountered list at unexpected level: {level} expected < {len(shape)}")
    if len(value) != shape[level]:
        raise invalid(
            f"Encountered list at unexpected size: {len(value)} at level: {level} expected size: {shape[level]}"
        )
    return [leaf for item in value for leaf in _walk(item, kind, shape, level + 1)]


def _leaf(value: Any, kind: str) -> Any:
    if isinstance(value, dict):
        if kind != "string":
            raise _type_error(value, kind)
        return _from_base64(value)
    if kind not in _DTYPES:
        raise ServingError("UNIMPLEMENTED", f"Conversion of JSON Value: {_show(value)} to type: {kind}")
    if kind == "string":
        if not isinstance(value, str):
            raise _type_error(value, kind)
        return value.encode("utf-8", "surrogateescape")
    if kind == "bool":
        if not isinstance(value, bool):
            raise _type_error(value, kind)
        return value
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _type_error(value, kind)
    if kind in _INTEGER_RANGE:
        low, high = _INTEGER_RANGE[kind]
        if not isinstance(value, int) or not low <= value <= high:
            raise _type_error(value, kind)
    return value


def _example(value: Any) -> Example:
    if not isinstance(value, dict):
        raise invalid(f"Example must be JSON object but got JSON {_type_name(value)}")
    members = value.last if isinstance(value, RepeatedKeys) else value
    return {name: _feature(name, content) for name, content in members.items()}


def _feature(name: str, content: Any) -> Feature:
    kind, values = "", []
    for item in content if isinstance(content, list) else [content]:
        item_kind, item_value = _feature_value(name, item)
        if kind and item_kind != kind:
            raise invalid(f"Unexpected element type in feature: {name} expecting type: {kind}")
        kind = item_kind
        values.append(item_value)
    return kind, values


def _feature_value(name: str, item: Any) -> tuple[str, Any]:
    if isinstance(item, bool):
        return "int64", int(item)
    if isinstance(item, str):
        return "bytes", item.encode("utf-8", "surrogateescape")
    if isinstance(item, dict) and _is_base64(item):
        return "bytes", _from_base64(item)
    if isinstance(item, float) or (isinstance(item, int) and not -(2**63) <= item < 2**64):
        return "float", float(item)
    if isinstance(item, int):
        if item >= 2**63:
            raise invalid(f"Feature: {name} has uint64 element. Only int64 is supported.")
        return "int64", item
    raise invalid(f"Feature: {name} has element with unexpected JSON type: {_type_name(item)}")


def _is_base64(value: dict[str, Any]) -> bool:
    size = value.size if isinstance(value, RepeatedKeys) else len(value)
    return size == 1 and isinstance(value.get("b64"), str)


def _from_base64(value: dict[str, Any]) -> bytes:
    if not _is_base64(value):
        raise invalid(f"JSON Value: {_show(value)} not formatted correctly for base64 data")
    # White space between the characters is allowed, and the padding may be left out.
    digits = "".join(value["b64"].split()).rstrip("=")
    try:
        return base64.b64decode(digits.encode("ascii") + b"=" * (-len(digits) % 4), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        raise invalid("Unable to base64 decode") from None


def _type_error(value: Any, kind: str) -> ServingError:
    return invalid(f"JSON Value: {_show(value)} Type: {_type_name(value)} is not of expected type: {kind}")


def _type_name(value: Any) -> str:
    if value is None:
        return "Null"
    if isinstance(value, bool):
        return str(value)
    if isinstance(value, int | float):
        return "Number"
    return "String" if isinstance(value, str) else "Array" if isinstance(value, list) else "Object"


def _show(value: Any) -> str:
    return decimal(value, 17) if isinstance(value, float) else show_json(value)


def _show_shape(shape: tuple[int, ...]) -> str:
    return "[" + ",".join(map(str, shape)) + "]"
