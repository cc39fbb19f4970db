"""Cells of a catalogue's files as the typed values of features."""

from __future__ import annotations

import ast
import json
import re

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from components.span_example_gen.casts import cast_or_null, text_of, without_plus
from components.span_example_gen.ids import read_ids, stands_for_nothing
from components.span_example_gen.readers.raw_batch import NESTED, RawBatch
from components.span_example_gen.times import to_milliseconds
from trainer.features.declaration import OF_NUMBERS, Feature


def type_of(feature: Feature) -> pa.DataType:
    """How a feature stands in a catalogue: words, lists of words, numbers or a vector; null where it is missing.

    A vector is little-endian float32, of a type that says its width: what was kept of another width is missing. A time
    is unix milliseconds. A number that can't be read is NaN: not missing, but unknown.
    """
    if feature.kind in OF_NUMBERS:
        return pa.float64()
    if feature.width is not None:
        return pa.binary(4 * feature.width)
    return pa.list_(pa.string()) if feature.kind == "categories" else pa.string()


def read_values(raw: RawBatch, feature: Feature, decimal_ids: str) -> pa.Array:
    """The feature's values `[n]`, of `type_of(feature)`."""
    column, nested = _cells(raw, feature)
    if feature.kind == "categories":
        return _of_each(text_of(column), nested, feature)
    missing = stands_for_nothing(text_of(column))
    if feature.kind == "number":
        return _numbers(column, missing)
    if feature.kind == "time":
        millis, readable = to_milliseconds(column, feature.unit, None)
        return pa.array(np.where(readable, millis, np.nan), pa.float64(), mask=missing)
    if feature.kind == "id":
        text = read_ids(raw, feature.source, decimal_ids).values if feature.pattern is None else column
    else:
        text = text_of(column)
    return pc.if_else(pa.array(missing), pa.scalar(None, pa.string()), pc.utf8_trim_whitespace(text))


def read_vectors(raw: RawBatch, feature: Feature) -> tuple[pa.Array, np.ndarray]:
    """A vector's values `[n]`, of `type_of(feature)`, and which cells are no such vector, bool `[n]`: null too.

    Neither numbers that are not finite nor fewer or more than the declared ones make a vector.
    """
    column, nested = _cells(raw, feature)
    text = text_of(column)
    missing = stands_for_nothing(text) | pc.fill_null(pc.equal(text, "[]"), False).to_numpy(zero_copy_only=False)
    values: list[bytes | None] = []
    for cell, is_list, nothing in zip(text.to_pylist(), nested, missing, strict=True):
        values.append(None if nothing else _vector(cell, is_list, feature))
    unfit = np.array([value is None for value in values], bool) & ~missing
    return pa.array(values, type_of(feature)), unfit


def _cells(raw: RawBatch, feature: Feature) -> tuple[pa.Array, np.ndarray]:
    """The feature's cells, and which of them are lists."""
    column, nested = raw.columns[feature.source], raw.not_scalar(feature.source, NESTED)
    if feature.pattern is None:
        return column, nested
    return _taken_out(text_of(column), re.compile(feature.pattern)), np.zeros(len(column), bool)


def _vector(cell: str, is_list: bool, feature: Feature) -> bytes | None:
    is_list = is_list or cell.lstrip().startswith("[")
    try:
        given = np.array(_list(cell) if is_list else cell.split(feature.separator), np.float32)
    except (ValueError, TypeError, OverflowError):
        return None
    return given.astype("<f4").tobytes() if given.shape == (feature.width,) and np.isfinite(given).all() else None


def _numbers(column: pa.Array, missing: np.ndarray) -> pa.Array:
    if pa.types.is_boolean(column.type):
        column = column.cast(pa.int8())
    if not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
        column = without_plus(pc.utf8_trim_whitespace(text_of(column)))
    numbers = cast_or_null(column, pa.float64()).fill_null(np.nan).to_numpy(zero_copy_only=False)
    return pa.array(np.where(np.isfinite(numbers), numbers, np.nan), pa.float64(), mask=missing)


def _taken_out(text: pa.Array, pattern: re.Pattern[str]) -> pa.Array:
    encoded = text.dictionary_encode()
    matches = [pattern.search(value) for value in encoded.dictionary.to_pylist()]
    values = [None if match is None else match[1] if pattern.groups else match[0] for match in matches]
    return pa.array(values, pa.string()).take(encoded.indices)


def _of_each(text: pa.Array, nested: np.ndarray, feature: Feature) -> pa.Array:
    """Words in the order of the cell, each once, at most `max_values`; null for none."""
    cells = pa.StructArray.from_arrays([text, pa.array(nested)], ["text", "nested"])
    known: dict[tuple[str | None, bool], list[str] | None] = {}
    words = []
    for cell in cells.to_pylist():
        key = cell["text"], cell["nested"]
        if key not in known:
            known[key] = _words(*key, feature)
        words.append(known[key])
    return pa.array(words, pa.list_(pa.string()))


def _words(text: str | None, nested: bool, feature: Feature) -> list[str] | None:
    if text is None:
        return None
    parts = [str(part) for part in _list(text) if part is not None] if nested else text.split(feature.separator)
    given = pa.array([part.strip() for part in parts], pa.string())
    kept = given.filter(pa.array(~stands_for_nothing(given))).to_pylist()
    return list(dict.fromkeys(kept))[: feature.max_values] or None


def _list(text: str) -> list[object]:
    """A list as the readers write it: JSON, or Python's own way."""
    for read in (json.loads, ast.literal_eval):
        try:
            value = read(text)
        except (ValueError, SyntaxError, RecursionError):
            continue
        return list(value) if isinstance(value, list | tuple | set) else [value]
    return [text]
