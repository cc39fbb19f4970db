"""Every row is an event or a reject with one reason: the first that holds, in the order written here."""

from __future__ import annotations

import dataclasses
import re

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from components.span_example_gen.casts import cast_or_null, shortened, text_of
from components.span_example_gen.errors import SpanError
from components.span_example_gen.readers.raw_batch import RawBatch
from components.span_example_gen.settings import Rule, Settings
from components.span_example_gen.times import to_milliseconds
from components.suppression_list import FORGOTTEN, SuppressionList

MALFORMED, NO_KEY, NO_ITEM, NO_TIME = "malformed_row", "no_key", "no_item", "no_time"
OUTSIDE_SPAN, BAD_WEIGHT = "outside_span", "bad_weight"
# What tools write for a value that is not there: pandas, Spark, SQL dumps, JSON by hand.
NOTHING = ("", "null", "none", "nan", "\\n")


@dataclasses.dataclass(frozen=True)
class Reject:
    """A row that can't be used: its line or row, the reason and the value at fault."""

    row: int
    reason: str
    value: str


def check(
    raw: RawBatch, settings: Settings, window: tuple[int, int] | None, forgotten: SuppressionList | None = None
) -> tuple[pa.RecordBatch, list[Reject]]:
    """Splits rows into events and rejects. Of a row of somebody who is `forgotten` no value is kept.

    Returns:
      The events: `key`, `item` string, `timestamp` int64 (unix milliseconds), `weight` float32, then the context
      columns as binary (numbers as text); and the rejects in the order of the file.

    Raises:
      SpanError: ids are of a type that has no one way to be written.
    """
    n = len(raw.rows)
    marks = _Marks(n)
    key, item = _ids(raw, settings.key), _ids(raw, settings.item)
    if forgotten is not None:
        # Before all other reasons, whose values may be the id.
        marks.add(FORGOTTEN, settings.key, forgotten.among(key))
    for rule in settings.reject:
        marks.add(rule.reason, rule.column, _matches(raw.columns[rule.column], rule))
    marks.add(NO_KEY, settings.key, _missing(key))
    marks.add(NO_ITEM, settings.item, _missing(item))
    millis, readable = to_milliseconds(
        raw.columns[settings.timestamp], settings.timestamp_unit, settings.timestamp_format
    )
    marks.add(NO_TIME, settings.timestamp, ~readable)
    if window is not None:
        marks.add(OUTSIDE_SPAN, settings.timestamp, (millis < window[0]) | (millis >= window[1]))
    weight = np.ones(n, dtype=np.float32)
    if settings.weight is not None:
        weight, usable = _weights(raw.columns[settings.weight], settings.weight_above)
        marks.add(BAD_WEIGHT, settings.weight, ~usable)
    context = {name: _context(raw.columns[name], settings.format) for name in settings.context}
    events = pa.RecordBatch.from_pydict(
        {"key": key, "item": item, "timestamp": pa.array(millis), "weight": pa.array(weight), **context}
    )
    rejects = [
        Reject(row, MALFORMED, "" if forgotten is not None and forgotten.mentioned(text) else shortened(text))
        for row, text in raw.malformed
    ]
    if marks.any:
        rejects += marks.rejects(raw)
        events = events.filter(pa.array(marks.clean))
    return events, sorted(rejects, key=lambda reject: reject.row)


class _Marks:
    """The first reason found for each row."""

    def __init__(self, rows: int) -> None:
        self._reason = np.full(rows, -1, dtype=np.int16)
        self._found: list[tuple[str, str]] = []

    def add(self, reason: str, column: str, mask: np.ndarray) -> None:
        self._reason[mask & (self._reason < 0)] = len(self._found)
        self._found.append((reason, column))

    @property
    def clean(self) -> np.ndarray:
        return self._reason < 0

    @property
    def any(self) -> bool:
        return bool((self._reason >= 0).any())

    def rejects(self, raw: RawBatch) -> list[Reject]:
        rejected = []
        for number, (reason, column) in enumerate(self._found):
            at = np.flatnonzero(self._reason == number)
            if reason == FORGOTTEN:
                rejected += [Reject(int(row), reason, "") for row in raw.rows[at]]
                continue
            values = text_of(raw.columns[column].take(pa.array(at))).to_pylist()
            rejected += [
                Reject(int(row), reason, shortened(value)) for row, value in zip(raw.rows[at], values, strict=True)
            ]
        return rejected


def _matches(column: pa.Array, rule: Rule) -> np.ndarray:
    text = text_of(column).fill_null("")
    if re.escape(rule.matches) == rule.matches:
        return pc.starts_with(text, rule.matches).to_numpy(zero_copy_only=False)
    # Python's own expressions, as the settings promise: Arrow's know neither look-around nor Unicode's digits.
    encoded = pc.dictionary_encode(text)
    pattern = re.compile(rule.matches)
    hits = np.array([pattern.match(value) is not None for value in encoded.dictionary.to_pylist()], dtype=bool)
    return hits[encoded.indices.to_numpy(zero_copy_only=False)] if len(hits) else np.zeros(len(column), dtype=bool)


def _ids(raw: RawBatch, name: str) -> pa.Array:
    column = raw.columns[name]
    kind = column.type
    if pa.types.is_floating(kind) or pa.types.is_boolean(kind) or pa.types.is_temporal(kind):
        raise SpanError(
            f"Column {name!r} holds ids, which must be strings or integers. Received: type {kind}. "
            "Write the column as strings in your export: a number with a fraction has no one way to be written."
        )
    return text_of(column)


def _missing(ids: pa.Array) -> np.ndarray:
    """Null, blank, or a word that stands for nothing, whatever its capitals and the space around it."""
    missing = pc.fill_null(pc.utf8_is_space(ids), True).to_numpy(zero_copy_only=False).copy()
    short = np.flatnonzero(pc.less_equal(pc.binary_length(ids), 8).fill_null(False).to_numpy(zero_copy_only=False))
    words = pc.utf8_lower(pc.utf8_trim_whitespace(ids.take(pa.array(short))))
    missing[short] |= pc.is_in(words, value_set=pa.array(NOTHING)).to_numpy(zero_copy_only=False)
    return missing


def _weights(column: pa.Array, above: float | None) -> tuple[np.ndarray, np.ndarray]:
    if pa.types.is_string(column.type):
        column = pc.utf8_ltrim(pc.ascii_trim_whitespace(column), characters="+")
    numbers = cast_or_null(column, pa.float64()).fill_null(np.nan).to_numpy(zero_copy_only=False)
    with np.errstate(over="ignore"):
        weights = numbers.astype(np.float32)
    usable = np.isfinite(weights)
    if above is not None:
        usable &= numbers > above
    return weights, usable


def _context(column: pa.Array, format: str) -> pa.Array:
    if pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type):
        return column.cast(pa.binary())
    if pa.types.is_boolean(column.type):
        column = column.cast(pa.int8())
    text = text_of(column).cast(pa.binary())
    if format == "csv":
        # An empty field is how CSV writes a missing value.
        text = pc.if_else(pc.equal(pc.binary_length(text), 0), pa.scalar(None, pa.binary()), text)
    return text
