"""Output tensors to the JSON that TensorFlow Serving prints.

A float is written with six significant digits when those give the same number back, else with as many as its type
needs; it always keeps a point or an exponent; NaN and infinities are bare tokens. A string goes out as its bytes; one
whose output name ends in `_bytes` as base64.
"""

from __future__ import annotations

import base64
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from serving.errors import invalid
from serving.server.batch_outputs import BatchShare

_ESCAPED = re.compile(rb'[\x01-\x1f"\\]')
# As RapidJSON writes them: letters of a code in capitals.
_ESCAPES = {code: f"\\u{code:04X}" for code in range(0x20)}
_ESCAPES |= {ord(mark): f"\\{letter}" for mark, letter in zip('\b\f\n\r\t"\\', 'bfnrt"\\', strict=True)}
_UNWRITABLE = {"float16": "half"}
# By the type itself: to ask NumPy for its name takes longer than to write a number.
_DIGITS: Mapping[Any, int] = {np.dtype(np.float32): 9, np.dtype(np.float64): 17}
_NOT_FINITE = {b"nan": b"NaN", b"inf": b"Infinity", b"-inf": b"-Infinity"}


def predictions(outputs: Mapping[str, np.ndarray], rows: bool) -> bytes:
    """The body of a predict answer, in row format (`predictions`) or column format (`outputs`).

    Args:
      outputs: output name to tensor. In row format all have the same first dimension.
      rows: the format.

    Raises:
      ServingError: an output has a type without a JSON form, or no batch dimension in row format.
    """
    if not outputs:
        raise invalid("Cannot convert empty tensor map to JSON")
    if rows:
        # Of a batch all rows are written at once: each request's text is a slice of them.
        texts = outputs.of_batch(row_texts) if isinstance(outputs, BatchShare) else row_texts(outputs)
        return b'{\n    "predictions": [' + (b", " if len(outputs) == 1 else b",").join(texts) + b"\n    ]\n}"
    columns = {name: _nest(_tokens(name, tensor), tensor.shape, 0)[0] for name, tensor in outputs.items()}
    if len(columns) == 1:
        return b'{\n    "outputs": ' + next(iter(columns.values())) + b"\n}"
    return b'{\n    "outputs": ' + _object_form(columns, 4) % tuple(columns.values()) + b"\n}"


def row_texts(outputs: Mapping[str, np.ndarray]) -> list[bytes]:
    """The elements of `predictions`, one for each row of [rows, ...] tensors by output name.

    Raises:
      ServingError: as `predictions`.
    """
    _check_batch(outputs)
    cells = [_nest(_tokens(name, tensor), tensor.shape, 1) for name, tensor in outputs.items()]
    if len(cells) == 1:
        return cells[0]
    form = b"\n        " + _object_form(outputs, 8)
    return [form % row for row in zip(*cells, strict=True)]


def classifications(labels: np.ndarray | None, scores: np.ndarray | None) -> bytes:
    """The body of a classify answer: for each example, pairs of label and score.

    Args:
      labels: [batch, classes] bytes, or None: every label is "".
      scores: [batch, classes] float32, or None: every score is 0.
    """
    shape = (scores if labels is None else labels).shape  # type: ignore[union-attr]
    names = [b'""'] * math.prod(shape) if labels is None else _strings(labels.ravel().tolist())
    numbers = [b"0.0"] * math.prod(shape) if scores is None else _decimals(scores.ravel())
    pairs = [b"[%b, %b]" % pair for pair in zip(names, numbers, strict=True)]
    return _results(_nest(pairs, shape, 1))


def regressions(values: np.ndarray) -> bytes:
    """The body of a regress answer, from a [batch] float32 tensor."""
    return _results(_decimals(values))


def error_body(message: str) -> bytes:
    """The body of every answer that is not a success."""
    text = f'{{\n    "error": {json.dumps(message, ensure_ascii=False)}\n}}'
    return text.encode("utf-8", "surrogateescape")


def decimal(value: float, digits: int) -> str:
    """`value` with six significant digits, or `digits` when six don't give it back."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "-Infinity" if value < 0 else "Infinity"
    text = f"{value:.6g}"
    if float(text) != value:
        text = f"{value:.{digits}g}"
    return text if "." in text or "e" in text else text + ".0"


def _results(items: Sequence[bytes]) -> bytes:
    return b'{\n    "results": [' + b", ".join(items) + b"\n    ]\n}"


def _check_batch(outputs: Mapping[str, np.ndarray]) -> None:
    batch = 0
    for name, tensor in outputs.items():
        if tensor.ndim == 0:
            raise invalid(f"Tensor name: {name} has no shape information ")
        if tensor.shape[0] < 1:
            raise invalid(f"Tensor name: {name} has invalid batch size: {tensor.shape[0]}")
        if batch not in (0, tensor.shape[0]):
            raise invalid(f"Tensor name: {name} has inconsistent batch size: {tensor.shape[0]} expecting: {batch}")
        batch = tensor.shape[0]


def _tokens(name: str, tensor: np.ndarray) -> list[bytes]:
    flat = tensor.ravel()
    if tensor.dtype == object:
        if name.endswith("_bytes"):
            return [b'{"b64": "%b"}' % base64.b64encode(value) for value in flat]
        return _strings(flat.tolist())
    if tensor.dtype in _DIGITS:
        return _decimals(flat)
    if tensor.dtype == np.bool_:
        return [b"true" if value else b"false" for value in flat.tolist()]
    kind = tensor.dtype.name
    if kind in ("int8", "int16", "int32", "int64", "uint8", "uint32", "uint64"):
        return _formatted(b"%d ", flat.tolist())
    raise invalid(f"Failed to write JSON value for tensor type: {_UNWRITABLE.get(kind, kind)}")


def _decimals(flat: np.ndarray) -> list[bytes]:
    """The tokens of a flat float32 or float64 array."""
    values = flat.tolist()
    tokens = _formatted(b"%.6g ", values)
    same = np.array(list(map(float, tokens)), flat.dtype) == flat
    if not same.all():
        exact = _formatted(b"%%.%dg " % _DIGITS[flat.dtype], values)
        tokens = [short if fits else long for short, long, fits in zip(tokens, exact, same.tolist(), strict=True)]
    return [token if b"." in token or b"e" in token else _NOT_FINITE.get(token, token + b".0") for token in tokens]


def _formatted(form: bytes, values: list[Any]) -> list[bytes]:
    """Each value in the form, which ends in a space: one call for all of them takes half the time of one for each."""
    return (form * len(values) % tuple(values)).split()


def _strings(values: list[bytes]) -> list[bytes]:
    """The tokens of many strings: at once where none has a character to be escaped, as ids and titles seldom do."""
    joined = b"\0".join(values)
    if not values or _ESCAPED.search(joined) or joined.count(0) != len(values) - 1:
        return [_string(value) for value in values]
    return (b'"' + joined.replace(b"\0", b'"\0"') + b'"').split(b"\0")


def _string(value: bytes) -> bytes:
    text = value.decode("utf-8", "surrogateescape").translate(_ESCAPES)
    return b'"' + text.encode("utf-8", "surrogateescape") + b'"'


def _nest(tokens: list[bytes], shape: tuple[int, ...], outer: int) -> list[bytes]:
    """Groups the tokens of a tensor into lists: one text for each element of its first `outer` dimensions."""
    for axis in range(len(shape) - 1, outer - 1, -1):
        size = shape[axis]
        starts = (at * size for at in range(math.prod(shape[:axis])))
        tokens = [b"[" + b", ".join(tokens[at : at + size]) + b"]" for at in starts]
    return tokens


def _object_form(names: Iterable[str], indent: int) -> bytes:
    """An object with these names, and %b for each of the values."""
    before = b"\n" + b" " * (indent + 4)
    members = (before + json.dumps(name).encode().replace(b"%", b"%%") + b": %b" for name in names)
    return b"{" + b",".join(members) + b"\n" + b" " * indent + b"}"
