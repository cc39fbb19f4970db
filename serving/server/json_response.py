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
from collections.abc import Mapping, Sequence

import numpy as np

from serving.errors import invalid

_ESCAPED = re.compile(rb'[\x01-\x1f"\\]')
# As RapidJSON writes them: letters of a code in capitals.
_ESCAPES = {code: f"\\u{code:04X}" for code in range(0x20)}
_ESCAPES |= {ord(mark): f"\\{letter}" for mark, letter in zip('\b\f\n\r\t"\\', 'bfnrt"\\', strict=True)}
_UNWRITABLE = {"float16": "half"}
# By the type itself: to ask NumPy for its name takes longer than to write a number.
_DIGITS = {np.dtype(np.float32): 9, np.dtype(np.float64): 17}


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
        _check_batch(outputs)
    cells = {name: _nest(_tokens(name, tensor), tensor.shape, 1 if rows else 0) for name, tensor in outputs.items()}
    if not rows:
        columns = {name: column[0] for name, column in cells.items()}
        body = next(iter(columns.values())) if len(columns) == 1 else _object(columns, 4)
        return _encode(f'{{\n    "outputs": {body}\n}}')
    if len(cells) == 1:
        body = ", ".join(next(iter(cells.values())))
    else:
        names = list(cells)
        body = ",".join(
            f"\n        {_object(dict(zip(names, row, strict=True)), 8)}" for row in zip(*cells.values(), strict=True)
        )
    return _encode(f'{{\n    "predictions": [{body}\n    ]\n}}')


def classifications(labels: np.ndarray | None, scores: np.ndarray | None) -> bytes:
    """The body of a classify answer: for each example, pairs of label and score.

    Args:
      labels: [batch, classes] bytes, or None: every label is "".
      scores: [batch, classes] float32, or None: every score is 0.
    """
    shape = (scores if labels is None else labels).shape  # type: ignore[union-attr]
    names = ['""'] * math.prod(shape) if labels is None else _strings(labels.ravel().tolist())
    numbers = ["0.0"] * math.prod(shape) if scores is None else _decimals(scores.ravel())
    pairs = [f"[{name}, {number}]" for name, number in zip(names, numbers, strict=True)]
    return _results(_nest(pairs, shape, 1))


def regressions(values: np.ndarray) -> bytes:
    """The body of a regress answer, from a [batch] float32 tensor."""
    return _results(_decimals(values))


def error_body(message: str) -> bytes:
    """The body of every answer that is not a success."""
    return _encode(f'{{\n    "error": {json.dumps(message, ensure_ascii=False)}\n}}')


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


def _results(items: Sequence[str]) -> bytes:
    return _encode(f'{{\n    "results": [{", ".join(items)}\n    ]\n}}')


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


def _tokens(name: str, tensor: np.ndarray) -> list[str]:
    flat = tensor.ravel()
    if tensor.dtype == object:
        if name.endswith("_bytes"):
            return [f'{{"b64": "{base64.b64encode(value).decode()}"}}' for value in flat]
        return _strings(flat.tolist())
    if tensor.dtype in _DIGITS:
        return _decimals(flat)
    if tensor.dtype == np.bool_:
        return ["true" if value else "false" for value in flat.tolist()]
    kind = tensor.dtype.name
    if kind in ("int8", "int16", "int32", "int64", "uint8", "uint32", "uint64"):
        return [str(value) for value in flat.tolist()]
    raise invalid(f"Failed to write JSON value for tensor type: {_UNWRITABLE.get(kind, kind)}")


def _decimals(flat: np.ndarray) -> list[str]:
    """The tokens of a flat float32 or float64 array."""
    digits = _DIGITS[flat.dtype]
    values = flat.tolist()
    texts = [f"{value:.6g}" for value in values]
    same = (np.array(list(map(float, texts))).astype(flat.dtype) == flat).tolist()
    tokens = []
    for value, text, exact in zip(values, texts, same, strict=True):
        if not exact:
            text = f"{value:.{digits}g}"
        if text in ("nan", "inf", "-inf"):
            text = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}[text]
        elif "." not in text and "e" not in text:
            text += ".0"
        tokens.append(text)
    return tokens


def _strings(values: list[bytes]) -> list[str]:
    """The tokens of many strings: at once where none has a character to be escaped, as ids and titles seldom do."""
    joined = b"\0".join(values)
    if not values or _ESCAPED.search(joined) or joined.count(0) != len(values) - 1:
        return [_string(value) for value in values]
    return [f'"{text}"' for text in joined.decode("utf-8", "surrogateescape").split("\0")]


def _string(value: bytes) -> str:
    return f'"{value.decode("utf-8", "surrogateescape").translate(_ESCAPES)}"'


def _nest(tokens: list[str], shape: tuple[int, ...], outer: int) -> list[str]:
    """Groups the tokens of a tensor into lists: one text for each element of its first `outer` dimensions."""
    for axis in range(len(shape) - 1, outer - 1, -1):
        size = shape[axis]
        starts = (at * size for at in range(math.prod(shape[:axis])))
        tokens = ["[" + ", ".join(tokens[at : at + size]) + "]" for at in starts]
    return tokens


def _object(members: Mapping[str, str], indent: int) -> str:
    lines = (f"\n{' ' * (indent + 4)}{json.dumps(name)}: {text}" for name, text in members.items())
    return "{" + ",".join(lines) + f"\n{' ' * indent}}}"


def _encode(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
