"""Rows of JSON lines, numbers kept as the text that stands in the file."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from components.span_example_gen.readers.line_chunks import BOM, cut_at_lines, line_chunks
from components.span_example_gen.readers.raw_batch import (
    BATCH_ROWS,
    BOOLEAN,
    LONGEST_INT,
    NESTED,
    FilePiece,
    Kind,
    RawBatch,
)


class _Int(str):
    """The text of a JSON number without a fraction."""


class _Float(str):
    """The text of any other JSON number."""


# Numbers stay text: an id 0017850.0 or a 20-digit one would not survive a float.
_DECODER = json.JSONDecoder(parse_int=_Int, parse_float=_Float, parse_constant=_Float)


def plan(path: str, name: str, columns: Sequence[str]) -> list[FilePiece]:
    """Cuts the file into pieces. Which columns it has is told by each of its lines."""
    return cut_at_lines(FilePiece(path, name))


def read(piece: FilePiece, columns: Sequence[str]) -> Iterator[RawBatch]:
    """Yields the piece's rows; lines that are no JSON object are malformed, blank lines are passed over."""
    values: dict[str, list[Any]] = {name: [] for name in columns}
    rows: list[int] = []
    malformed: list[tuple[int, str]] = []
    present: set[str] = set()
    number = piece.first_row - 1
    for chunk in line_chunks(piece):
        if number == 0:
            chunk = chunk.removeprefix(BOM)
        for line in chunk.removesuffix(b"\n").split(b"\n"):
            number += 1
            if not line.strip():
                continue
            try:
                record = _DECODER.decode(line.decode("utf-8"))
                cells = [record.get(name) for name in columns]
                "".join(value for value in cells if isinstance(value, str)).encode("utf-8")
            except (ValueError, AttributeError, RecursionError):
                malformed.append((number, line.rstrip(b"\r").decode("utf-8", "replace")))
                continue
            rows.append(number)
            present.update(record)
            for name, value in zip(columns, cells, strict=True):
                values[name].append(value)
            if len(rows) == BATCH_ROWS:
                yield _batch(values, rows, malformed, present)
                values, rows, malformed, present = {name: [] for name in columns}, [], [], set()
    if rows or malformed:
        yield _batch(values, rows, malformed, present)


def _batch(
    values: dict[str, list[Any]], rows: list[int], malformed: list[tuple[int, str]], present: set[str]
) -> RawBatch:
    columns = {name: pa.array([_text(value) for value in column], pa.string()) for name, column in values.items()}
    kinds = {name: _kind(column) for name, column in values.items()}
    shapes = {name: shape for name, column in values.items() if (shape := _shape(column)) is not None}
    return RawBatch(columns, np.asarray(rows, dtype=np.int64), malformed, kinds, shapes, present=frozenset(present))


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)


def _shape(values: list[Any]) -> np.ndarray | None:
    of_type = {bool: BOOLEAN, list: NESTED, dict: NESTED}
    shape = np.array([of_type.get(type(value), 0) for value in values], np.uint8)
    return shape if shape.any() else None


def _kind(values: list[Any]) -> Kind:
    types = {type(value) for value in values} - {type(None)}
    if not types:
        return None
    if types == {_Int} and all(len(value) <= LONGEST_INT for value in values if value is not None):
        return "int"
    return "float" if types <= {_Int, _Float} else "bytes"
